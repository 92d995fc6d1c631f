"""Resource names: the only place that splits or joins `workspaces/…`, and the one grammar for each segment.

A name of another form, or of what can be no workspace, is an invalid argument. An id that no process or job can have
names one that does not exist, as any other id that nobody has: OGC API - Processes has no third answer.
"""

import re
from dataclasses import dataclass
from uuid import UUID

from services.shared.errors import InvalidArgument, NotFound, ServiceError
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_INVALID_NAME,
    ERROR_REASON_NO_SUCH_INGESTION,
    ERROR_REASON_NO_SUCH_JOB,
    ERROR_REASON_NO_SUCH_PROCESS,
)

WORKSPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A DNS label (RFC 1123), since a workspace becomes a Kubernetes namespace and a host name."""
PROCESS_ID = re.compile(r"[A-Za-z0-9](?!.*\.\.)[A-Za-z0-9._-]{0,62}")
"""What CWL ids look like in practice, without anything that means something to a path or a shell."""


@dataclass(frozen=True)
class WorkspaceName:
    """`workspaces/{workspace}`."""

    workspace: str

    @classmethod
    def parse(cls, name: str) -> "WorkspaceName":
        """Raises INVALID_NAME."""
        match name.split("/"):
            case ["workspaces", workspace]:
                return cls(_workspace(workspace))
        raise _wrong(name, "workspaces/{workspace}")

    def __str__(self) -> str:
        return f"workspaces/{self.workspace}"


@dataclass(frozen=True)
class ProcessName:
    """`workspaces/{workspace}/processes/{process}`."""

    workspace: str
    process_id: str

    @classmethod
    def parse(cls, name: str) -> "ProcessName":
        """Raises INVALID_NAME, NO_SUCH_PROCESS."""
        match name.split("/"):
            case ["workspaces", workspace, "processes", process_id]:
                workspace = _workspace(workspace)
                if not PROCESS_ID.fullmatch(process_id):
                    raise no_such_process(workspace, process_id)
                return cls(workspace, process_id)
        raise _wrong(name, "workspaces/{workspace}/processes/{process}")

    def __str__(self) -> str:
        return f"workspaces/{self.workspace}/processes/{self.process_id}"


@dataclass(frozen=True)
class JobName:
    """`workspaces/{workspace}/jobs/{job}`."""

    workspace: str
    job_id: UUID

    @classmethod
    def parse(cls, name: str) -> "JobName":
        """Raises INVALID_NAME, NO_SUCH_JOB."""
        match name.split("/"):
            case ["workspaces", workspace, "jobs", job]:
                workspace = _workspace(workspace)
                if (job_id := _uuid(job)) is None:
                    raise no_such_job(workspace, job)
                return cls(workspace, job_id)
        raise _wrong(name, "workspaces/{workspace}/jobs/{job}")

    def __str__(self) -> str:
        return f"workspaces/{self.workspace}/jobs/{self.job_id}"


@dataclass(frozen=True)
class IngestionName:
    """`workspaces/{workspace}/ingestions/{ingestion}`."""

    workspace: str
    ingestion_id: UUID

    @classmethod
    def parse(cls, name: str) -> "IngestionName":
        """Raises INVALID_NAME, NO_SUCH_INGESTION."""
        match name.split("/"):
            case ["workspaces", workspace, "ingestions", ingestion]:
                workspace = _workspace(workspace)
                if (ingestion_id := _uuid(ingestion)) is None:
                    raise no_such_ingestion(workspace, ingestion)
                return cls(workspace, ingestion_id)
        raise _wrong(name, "workspaces/{workspace}/ingestions/{ingestion}")

    def __str__(self) -> str:
        return f"workspaces/{self.workspace}/ingestions/{self.ingestion_id}"


Name = WorkspaceName | ProcessName | JobName | IngestionName

KINDS: dict[str, type[ProcessName] | type[JobName] | type[IngestionName]] = {
    "processes": ProcessName,
    "jobs": JobName,
    "ingestions": IngestionName,
}


def parse_name(name: str, form: str = "workspaces/{workspace}/{processes|jobs|ingestions}/{id}") -> Name:
    """Parses a name of any kind; `form` is what a refusal says it should have been.

    Raises INVALID_NAME, NO_SUCH_PROCESS, NO_SUCH_JOB, NO_SUCH_INGESTION.
    """
    segments = name.split("/")
    if len(segments) == 2:
        return WorkspaceName.parse(name)
    if len(segments) == 4 and (kind := KINDS.get(segments[2])):
        return kind.parse(name)
    raise _wrong(name, form)


def no_such(name: Name) -> ServiceError:
    """The refusal for a resource that does not exist, or looks like it."""
    match name:
        case ProcessName(workspace, process_id):
            return no_such_process(workspace, process_id)
        case JobName(workspace, job_id):
            return no_such_job(workspace, str(job_id))
        case IngestionName(workspace, ingestion_id):
            return no_such_ingestion(workspace, str(ingestion_id))
    raise TypeError(name)


def no_such_process(workspace: str, process_id: str) -> NotFound:
    """The refusal for a process that a workspace does not have."""
    return NotFound(
        ERROR_REASON_NO_SUCH_PROCESS,
        "No process {process} in workspace {workspace}.",
        process=_shown(process_id),
        workspace=workspace,
    )


def no_such_job(workspace: str, job_id: str) -> NotFound:
    """The refusal for a job that a workspace does not have."""
    return NotFound(
        ERROR_REASON_NO_SUCH_JOB,
        "No job {job} in workspace {workspace}.",
        job=_shown(job_id),
        workspace=workspace,
    )


def no_such_ingestion(workspace: str, ingestion_id: str) -> NotFound:
    """The refusal for an ingestion that a workspace does not have."""
    return NotFound(
        ERROR_REASON_NO_SUCH_INGESTION,
        "No ingestion {ingestion} in workspace {workspace}.",
        ingestion=_shown(ingestion_id),
        workspace=workspace,
    )


def _shown(identifier: str) -> str:
    """An id as a sentence has it: one that nothing can have is in quotes, and cut."""
    return identifier if PROCESS_ID.fullmatch(identifier) else repr(identifier[:80])


def _workspace(segment: str) -> str:
    if WORKSPACE.fullmatch(segment):
        return segment
    raise InvalidArgument(
        ERROR_REASON_INVALID_NAME,
        "{name} is not the name of a workspace: it must match {grammar}.",
        name=repr(segment[:80]),
        grammar=WORKSPACE.pattern,
    )


def _uuid(segment: str) -> UUID | None:
    try:
        value = UUID(segment)
    except ValueError:
        return None
    # Only the one spelling with hyphens in lower case is a name; UUID() accepts several.
    return value if str(value) == segment else None


def _wrong(name: str, form: str) -> InvalidArgument:
    return InvalidArgument(
        ERROR_REASON_INVALID_NAME, "{name} does not have the form {form}.", name=repr(name[:160]), form=form
    )
