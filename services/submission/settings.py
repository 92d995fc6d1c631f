"""What submission reads from its environment, each name prefixed SUBMISSION_."""

import os
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import SettingsConfigDict

from services.shared.artifacts import ArtifactSettings
from services.shared.settings import ServiceSettings
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
    slots: Annotated[int, Field(ge=1, le=10_000)] = max(2, os.cpu_count() or 1)
    """How many jobs the backend runs at a time; the others wait."""
    look_interval: timedelta = timedelta(milliseconds=200)
    """How long a running job is left alone between two looks at its backend."""
    longest_wait: timedelta = timedelta(seconds=30)
    """How long a synchronous execution is waited for; one that takes longer goes on as a job."""
