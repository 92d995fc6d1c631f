"""Tokens for tests, from the issuer that standalone has."""

from datetime import timedelta
from pathlib import Path

from services.access.identity import IdentitySettings
from services.standalone.tokens import AUDIENCE, ISSUER, Issuer, Role


class Tokens:
    """Signs tokens that a service accepts which was given `identity`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._issuer = Issuer(directory)
        self.identity = IdentitySettings(issuer=ISSUER, audience=(AUDIENCE,), jwks=str(self._issuer.jwks))

    def user(
        self, workspace: str, role: Role = "owner", *, user: str = "ada", lifetime: timedelta = timedelta(hours=1)
    ) -> str:
        """A token of a person with a role in a workspace."""
        return self._issuer.user_token(workspace, role=role, user=user, lifetime=lifetime)

    def ingestion_file(self) -> Path:
        """A file with the token of ingestion."""
        self._issuer.write_ingestion_token(timedelta(hours=1))
        return self._issuer.ingestion_token
