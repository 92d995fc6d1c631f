"""The settings of ingestion."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.ingestion.packages import PackageSettings
from services.serving.settings import ServiceSettings


class Settings(ServiceSettings):
    """What ingestion reads from its environment, each name prefixed INGESTION_."""

    model_config = SettingsConfigDict(env_prefix="INGESTION_")

    submission_address: Annotated[str, Field(pattern=r"^(unix:/.+|.+:\d+)$")]
    """Where SubmissionService is: `unix:/path` or `host:port`."""
    token_file: Path
    """The file with the token that ingestion shows to submission; read again whenever it changes."""
    packages: PackageSettings = PackageSettings()
    """Where harvested packages are read from."""
    call_deadline: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(seconds=30)
    """How long one call to submission may take."""
    harvesters: Annotated[int, Field(ge=1, le=32)] = 2
    """How many actions are carried out at the same time, over all workspaces."""
    harvest_interval: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(seconds=2)
    """How often a harvester that has nothing to do looks for what is due; a message that arrives here wakes it."""
    lease: Annotated[timedelta, Field(ge=timedelta(seconds=5))] = timedelta(minutes=1)
    """How long an action is one harvester's alone; after a crash it is tried again when that is over."""
    give_up_after: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(days=1)
    """How long after its arrival an action is tried again while submission or the store is away."""
