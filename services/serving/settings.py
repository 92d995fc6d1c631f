"""What every service reads from its environment, and how a wrong setting stops it with a sentence."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Literal, NoReturn, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from services.access.identity import IdentitySettings
from services.access.policy import Embedded, PolicySettings
from services.serving.server import Serving

FROM_REQUEST = "request"
_PUBLIC_URL = re.compile(r"https?://[^/?#@\s]+(/[^?#\s]*)?")


class ServiceSettings(BaseSettings):
    """The settings that all services have; each service adds a prefix and its own."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", frozen=True, extra="forbid")

    listen: Annotated[str, Field(pattern=r"^(unix:/.+|.+:\d+)$")]
    """Where to serve: `unix:/path` or `host:port`."""
    database: SecretStr
    """The database, `postgresql://user:password@host/name`."""
    database_connections: Annotated[int, Field(ge=2, le=200)] = 10
    """How many connections at most."""
    identity: IdentitySettings
    """Whose tokens are taken."""
    policy: PolicySettings = Embedded()
    """Which engine decides."""
    public_url: Annotated[str, Field(validate_default=True)] = ""
    """What the links in answers, and in what is sent to subscribers, begin with. `request` stands for what each request
    says of itself, which is for whoever sends it to choose; for machines that nobody else reaches."""
    reflection: bool = False
    """Whether the contract can be asked for (grpcurl needs it). It shows no data."""
    drain: timedelta = timedelta(seconds=1)
    """How long calls are taken after SIGTERM while health already says no."""
    grace: timedelta = timedelta(seconds=25)
    """How long calls that are under way may take to end after that."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least severe logs that are written."""
    telemetry: bool = False
    """Whether traces and metrics are sent; where to, OTEL_EXPORTER_OTLP_ENDPOINT says."""

    @field_validator("public_url")
    @classmethod
    def _said(cls, value: str) -> str:
        if value != FROM_REQUEST and not _PUBLIC_URL.fullmatch(value):
            raise ValueError(
                "say what links begin with, such as https://ades.example.org; or `request`, where links may follow "
                "whatever host a request names"
            )
        return value

    @property
    def public_root(self) -> str | None:
        """What links begin with; None where each request says so itself."""
        return None if self.public_url == FROM_REQUEST else self.public_url

    @property
    def serving(self) -> Serving:
        """How to serve."""
        return Serving(listen=self.listen, reflection=self.reflection, drain=self.drain, grace=self.grace)


Loaded = TypeVar("Loaded", bound=ServiceSettings)


def load(kind: type[Loaded], arguments: Sequence[str] | None = None) -> Loaded:
    """Reads the settings from the environment.

    Ends the program with a sentence for each setting that is missing, malformed or unknown; with `--check-config` it
    prints what it read, secrets masked, and ends.
    """
    prefix = kind.model_config["env_prefix"]
    parser = argparse.ArgumentParser(
        description=kind.__doc__,
        epilog="Settings come from the environment:\n"
        + "\n".join(f"  {prefix}{name.upper()}" for name in kind.model_fields),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check-config", action="store_true", help="print the settings, secrets masked, and end")
    chosen = parser.parse_args(arguments)
    known = {f"{prefix}{name}".upper() for name in kind.model_fields}
    faults = [
        f"{name} is not a setting"
        for name in sorted(os.environ)
        if name.startswith(prefix) and name.split("__")[0] not in known
    ]
    try:
        settings = kind()  # type: ignore[call-arg]
    except ValidationError as error:
        faults += [f"{_variable(prefix, fault['loc'])}: {fault['msg']}" for fault in error.errors()]
        _stop(faults)
    except SettingsError as error:
        _stop([*faults, str(error)])
    if faults:
        _stop(faults)
    if chosen.check_config:
        print(settings.model_dump_json(indent=2))
        sys.exit(0)
    return settings


def _variable(prefix: str, location: tuple[int | str, ...]) -> str:
    return prefix + "__".join(str(part).upper() for part in location)


def _stop(faults: list[str]) -> NoReturn:
    for fault in faults:
        print(f"wrong setting: {fault}", file=sys.stderr)
    sys.exit(2)
