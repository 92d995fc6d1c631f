"""Which policy engine a service asks, as a setting."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from services.access.policy.decision import PolicyEngine
from services.access.policy.embedded import EmbeddedEngine
from services.access.policy.files import policy_directory, read_data, read_modules
from services.access.policy.opa import OpaEngine


class Embedded(BaseModel):
    """The engine inside the process; for one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["embedded"] = "embedded"
    policy_dir: Path | None = None
    """Where the Rego files and data.json lie; the policy that comes with the package when absent."""
    data: Path | None = None
    """A JSON file whose members are laid over those of data.json. Read at the start."""


class Opa(BaseModel):
    """An OPA server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["opa"] = "opa"
    url: Annotated[str, Field(pattern=r"^https?://[^/?#]+/?$")] = "http://127.0.0.1:8181"
    socket: Path | None = None
    """The unix socket OPA listens on; `url` then only names the host in the request."""
    deadline: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(seconds=5))] = timedelta(milliseconds=100)
    """How long a decision may take, connecting included."""
    decision_path: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*$")] = "workflow_runner/authz/decision"
    token: SecretStr | None = None
    """What OPA asks for when it runs with `--authentication=token`."""


PolicySettings = Annotated[Embedded | Opa, Field(discriminator="kind")]


@asynccontextmanager
async def open_policy(settings: Embedded | Opa) -> AsyncIterator[PolicyEngine]:
    """Opens the engine that the settings name. Raises PolicyDataError for a policy or data that cannot be used."""
    match settings:
        case Embedded():
            directory = settings.policy_dir or policy_directory()
            with EmbeddedEngine.open(read_modules(directory), read_data(directory, settings.data)) as embedded:
                yield embedded
        case Opa():
            async with OpaEngine.open(
                settings.url,
                socket=settings.socket,
                decision_path=settings.decision_path,
                deadline=settings.deadline,
                token=settings.token.get_secret_value() if settings.token else None,
            ) as engine:
                yield engine
