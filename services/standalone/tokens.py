"""The issuer of tokens on one machine: a key that never leaves the data directory, and what is signed with it."""

import base64
import getpass
import hashlib
import json
import os
import re
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.shared.names import WORKSPACE
from services.standalone.accounts import program_account
from services.standalone.directory import write_atomically
from services.standalone.refusals import CannotStart

ISSUER = "urn:workflow-runner:standalone"
AUDIENCE = "workflow-runner"
OPERATOR_ROLE = "workflow-runner-operator"

Role = Literal["viewer", "executor", "developer", "owner", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)

_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Issuer:
    """Signs tokens with the key in a directory; makes key and key set when they are missing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = _read_or_make_key(directory / "key.pem")
        public = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        x = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
        # The key's id is its thumbprint (RFC 7638).
        thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
        self._key_id = base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode()
        key = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self._key_id, "alg": "EdDSA", "use": "sig"}
        document = json.dumps({"keys": [key]}, indent=2) + "\n"
        if not self.jwks.exists() or self.jwks.read_text() != document:
            write_atomically(self.jwks, document)

    @property
    def jwks(self) -> Path:
        """Where the services read the public key."""
        return self._directory / "jwks.json"

    @property
    def ingestion_token(self) -> Path:
        """Where ingestion reads the token it shows to submission."""
        return self._directory / "ingestion.jwt"

    def user_token(self, workspace: str, *, role: Role, user: str, lifetime: timedelta) -> str:
        """Signs a token for a person or a program with a role in a workspace; an operator's role holds in all."""
        claims: dict[str, Any] = {"preferred_username": user}
        if role == "operator":
            claims["realm_access"] = {"roles": [OPERATOR_ROLE]}
        else:
            claims["workspaces"] = {workspace: role}
            # On whose behalf the bearer executes what others share.
            claims["workspace"] = workspace
        return self._sign(user, lifetime, claims)

    def write_ingestion_token(self, lifetime: timedelta, *, copy: Path | None = None) -> None:
        """Signs a token that says it is ingestion, and puts it where ingestion reads it.

        A copy is for an ingestion that runs as somebody else and reads nothing here.
        """
        token = self._sign("service:ingestion", lifetime, {"workflow_runner_service": "ingestion"})
        if copy is None:
            write_atomically(self.ingestion_token, token)
        else:
            self.ingestion_token.unlink(missing_ok=True)
            write_atomically(copy, token, owner=program_account("ingestion").user)

    def _sign(self, subject: str, lifetime: timedelta, claims: dict[str, Any]) -> str:
        now = datetime.now(UTC)
        issued = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "nbf": now, "exp": now + lifetime}
        return jwt.encode({**issued, **claims}, self._key, algorithm="EdDSA", headers={"kid": self._key_id})


def parse_workspace(text: str) -> str:
    """Reads the name of a workspace. Raises CannotStart."""
    if not WORKSPACE.fullmatch(text):
        raise CannotStart(
            f"{text!r} is no name of a workspace: it takes 1 to 63 lower-case letters, digits and hyphens, "
            "with no hyphen at either end."
        )
    return text


def parse_user(text: str) -> str:
    """Reads the name of a user. Raises CannotStart."""
    if not 0 < len(text) <= 128 or not text.isprintable() or text != text.strip():
        raise CannotStart(f"{text!r} is no name of a user: it takes 1 to 128 printable characters.")
    return text


def parse_lifetime(text: str) -> timedelta:
    """Reads how long a token lives, such as `8h`. Raises CannotStart."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise CannotStart(f"{text!r} is no duration: write a number and a unit, such as 90s, 30m, 8h or 7d.")
    lifetime = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if lifetime > timedelta(days=366):
        raise CannotStart(f"{text!r} is too long for a token: a year is the most.")
    return lifetime


def current_user() -> str:
    """Names the person at the keyboard."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user-{os.getuid()}"


def _read_or_make_key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        made = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        descriptor, name = tempfile.mkstemp(prefix=".key.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(made)
            file.flush()
            os.fsync(file.fileno())
        try:
            # Two first starts at once: the key that came first is the key.
            os.link(name, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(name)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise CannotStart(f"The key of the token issuer, {path}, cannot be read.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CannotStart(f"The key of the token issuer, {path}, is not an Ed25519 key.")
    return key
