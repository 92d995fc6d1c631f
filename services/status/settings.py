"""What status reads from its environment, beside what every service reads."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.records.artifacts import ArtifactSettings
from services.serving.settings import ServiceSettings


class Settings(ServiceSettings):
    """What status reads from its environment, each name prefixed STATUS_."""

    model_config = SettingsConfigDict(env_prefix="STATUS_")

    artifacts: ArtifactSettings
    """Where packages, logs and outputs are read."""
    event_interval: Annotated[timedelta, Field(ge=timedelta(milliseconds=10), le=timedelta(seconds=10))] = timedelta(
        milliseconds=150
    )
    """How often new events are looked for while somebody watches."""
    keep_alive: Annotated[timedelta, Field(ge=timedelta(seconds=1), le=timedelta(minutes=5))] = timedelta(seconds=15)
    """How long a stream over REST may be silent before a comment shows that it is alive."""
