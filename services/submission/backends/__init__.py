"""What submission asks of a backend, and the records that travel between the two.

A backend runs jobs somewhere: in this machine's sandbox, in a cluster, on another server. It knows neither gRPC nor
SQL, and whatever it must remember of a run it keeps where the run is, so that any process of the service can go on.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol

StageIn = Callable[[dict[str, Any], Path], Awaitable[dict[str, Any]]]
"""Brings the inputs of a job below a directory and returns the job order that points there; raises LaunchRefused."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one job may use."""

    cores: float = 1.0
    memory_mib: int = 1024
    time: timedelta = timedelta(hours=1)
    output_mib: int = 4096
    files: int = 1_000_000
    processes: int = 256
    network: bool = False


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One attempt of one job."""

    job_id: str
    attempt: int
    workspace: str
    process_id: str
    package: bytes
    """The CWL document as it was deployed."""
    workflow_id: str
    """The part of the document to run; empty when the document is the process."""
    inputs: dict[str, Any]
    """A CWL job order; File and Directory objects have contents (literal) or a location (https URL)."""
    limits: Limits


class RunState(StrEnum):
    """Where a run stands at its backend."""

    running = "running"
    successful = "successful"
    failed = "failed"
    dismissed = "dismissed"
    lost = "lost"
    """Nothing of the run is left, so it will never end by itself."""


@dataclass(frozen=True, kw_only=True)
class StepEvent:
    """A step that began or ended."""

    sequence: int
    """Counts from 1 within a run, without a gap."""
    step: str
    state: Literal["running", "successful", "failed", "skipped"]
    time: datetime
    exit_code: int | None = None


@dataclass(frozen=True, kw_only=True)
class LogChunk:
    """A piece of what a step wrote to its standard output and standard error."""

    step: str
    offset: int
    """In bytes, from the start of the log of this step."""
    data: bytes


class FailureReason(StrEnum):
    """Why a run failed."""

    STEP_FAILED = "STEP_FAILED"
    MEMORY_EXCEEDED = "MEMORY_EXCEEDED"
    TIME_LIMIT_EXCEEDED = "TIME_LIMIT_EXCEEDED"
    OUTPUT_LIMIT_EXCEEDED = "OUTPUT_LIMIT_EXCEEDED"
    OUTPUT_MISSING = "OUTPUT_MISSING"
    OUTPUT_REFUSED = "OUTPUT_REFUSED"
    INPUT_UNAVAILABLE = "INPUT_UNAVAILABLE"
    UNSUPPORTED_FEATURE = "UNSUPPORTED_FEATURE"
    INVALID_PACKAGE = "INVALID_PACKAGE"
    EXPRESSION_FAILED = "EXPRESSION_FAILED"
    BACKEND_LOST_JOB = "BACKEND_LOST_JOB"
    BACKEND_FAILED = "BACKEND_FAILED"
    STORAGE_FULL = "STORAGE_FULL"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a run failed, for the person who asked for it."""

    reason: FailureReason
    message: str
    """One sentence."""
    step: str | None = None
    exit_code: int | None = None
    log_tail: tuple[str, ...] = ()
    """The last lines of the log of the step, at most 20."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a look at a run shows that the cursor had not seen."""

    state: RunState
    progress: int | None
    """In percent; never falls."""
    steps: tuple[StepEvent, ...]
    logs: tuple[LogChunk, ...]
    """At most 1 MiB; what is left comes with the next look."""
    outputs: dict[str, Any] | None
    """The CWL output object of a successful run; each location is a file URL inside `output_root`."""
    output_root: Path | None
    failure: Failure | None
    cursor: str
    """Opaque; belongs into the next call."""
    drained: bool
    """False while more steps or logs wait although the state is final."""


class LaunchRefused(Exception):
    """The job can never start."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class NotStaged(Exception):
    """Nothing is prepared of what is to be launched."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run, or what is prepared of one, that a backend holds."""

    handle: str
    job_id: str
    age: timedelta
    """Since something of it changed last."""


class Backend(Protocol):
    """Runs jobs. Every method may be called again after a crash, from any process of the service."""

    @property
    def directory(self) -> str:
        """The id of the directory that holds the runs, when only who has it can see them; empty when anybody can. Its
        jobs are prepared before they are launched, and take slots."""
        ...

    async def stage(self, execution: Execution) -> str:
        """Prepares an attempt, brings its inputs, and returns what `launch` takes; the second call finds what the first
        has prepared or started. May take long; what a call that is cancelled has brought is removed.

        Raises LaunchRefused when the job can never start; any other error may pass with time.
        """
        ...

    async def launch(self, staged: str) -> str:
        """Starts what was prepared and returns its handle; the second call finds the first.

        Raises NotStaged when nothing is prepared; any other error may pass with time.
        """
        ...

    async def observe(self, handle: str, cursor: str) -> Observation:
        """Tells where a run stands and what has happened since the cursor, which is empty at first. Never waits."""
        ...

    async def dismiss(self, handle: str) -> None:
        """Ends a run if it still goes on and removes everything of it; does nothing for a run that is gone."""
        ...

    async def find(self, job_id: str, attempt: int) -> str | None:
        """The handle of an attempt of which something is here, prepared or started; None when nothing is."""
        ...

    async def runs(self) -> list[Run]:
        """Everything that is here."""
        ...
