"""What submission reads from its environment, each name prefixed SUBMISSION_."""

import os
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import SettingsConfigDict

from services.records.artifacts import ArtifactSettings
from services.serving.settings import ServiceSettings
from services.shared.space import SpaceSettings


class CwltoolSettings(BaseModel):
    """The embedded backend: cwltool in a sandbox on this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["cwltool"] = "cwltool"
    runs_dir: Path
    """Where a run keeps its state while it goes on. On a local disk, and the same after a restart."""
    fork_server: bool = True
    """Whether runs start from a warm process, which takes 60 MB and saves a second for each job."""


class LimitSettings(BaseModel):
    """What one job may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cores: Annotated[float, Field(gt=0, le=1024)] = float(os.cpu_count() or 1)
    """Processor cores."""
    memory_mib: Annotated[int, Field(ge=64)] | None = None
    """Memory, in MiB. Absent: four fifths of the machine's, shared by the slots."""
    time: timedelta = timedelta(hours=6)
    """From its launch to its end."""
    output_mib: Annotated[int, Field(ge=1)] = 10_240
    """What it may write, in MiB: what its files take, and what its logs and outputs take in the object store."""
    files: Annotated[int, Field(ge=100)] = 1_000_000
    """Files and directories it may have at a time."""
    processes: Annotated[int, Field(ge=16)] = 512
    """Processes and threads at a time."""
    network_workspaces: tuple[str, ...] = ()
    """The workspaces whose jobs may reach the network when their package asks; `*` for all of them. Public addresses
    only, and only where the program slirp4netns is installed."""
    private_networks: tuple[IPv4Network, ...] = ()
    """Private networks, such as `10.1.0.0/16`, that these jobs may reach all the same."""


class FetchSettings(BaseModel):
    """Where packages and inputs by reference may come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    http_hosts: frozenset[str] = frozenset()
    """Hosts that may be fetched from over plain HTTP, and on any port."""
    private_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Private networks, such as `10.1.0.0/16`, that may be fetched from all the same."""
    inputs_mib: Annotated[int, Field(ge=1)] = 10_240
    """How large the inputs of a job may be together, in MiB."""
    least_rate: Annotated[int, Field(ge=0)] = 1_000
    """How many bytes a second an input must come with, over half a minute; what is slower is given up."""


class DispatchSettings(BaseModel):
    """How jobs are moved to their end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stagings: Annotated[int, Field(ge=1, le=1_000)] = 16
    """For how many jobs at a time inputs are brought, or lie ready for a free slot."""
    stagings_each: Annotated[int, Field(ge=1, le=1_000)] = 4
    """For how many of each workspace."""
    staging_time: timedelta = timedelta(hours=2)
    """How long bringing the inputs of a job may take."""
    publications: Annotated[int, Field(ge=1, le=1_000)] = 8
    """Of how many jobs at a time outputs are stored."""
    publication_time: timedelta = timedelta(hours=2)
    """How long storing what a job left may take, in all attempts together."""
    outage: timedelta = timedelta(hours=6)
    """How long a job waits for a store that is away before it fails."""
    given_up_after: timedelta = timedelta(minutes=10)
    """After what silence of a machine the others end its jobs."""
    unknown_runs_kept: timedelta = timedelta(hours=24)
    """How long a run is kept of which the database knows no job: it may be an older one that was put back."""


class Settings(ServiceSettings):
    """What submission reads from its environment."""

    model_config = SettingsConfigDict(env_prefix="SUBMISSION_")

    artifacts: ArtifactSettings
    """Where packages, logs and outputs are kept."""
    backend: CwltoolSettings
    """Where jobs run."""
    limits: LimitSettings = LimitSettings()
    """What one job may use."""
    space: SpaceSettings = SpaceSettings()
    """How much of the disks is kept free."""
    fetch: FetchSettings = FetchSettings()
    """Where packages and inputs by reference may come from."""
    dispatch: DispatchSettings = DispatchSettings()
    """How jobs are moved to their end."""
    slots: Annotated[int, Field(ge=1, le=10_000)] = max(2, os.cpu_count() or 1)
    """How many jobs run at a time on this machine; the others wait."""
    look_interval: timedelta = timedelta(milliseconds=200)
    """How long a running job is left alone between two looks at its backend."""
    longest_wait: timedelta = timedelta(seconds=30)
    """How long a synchronous execution is waited for; one that takes longer goes on as a job."""
