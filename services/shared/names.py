"""Resource names: the only place that splits or joins `workspaces/…`, and the one grammar for each segment."""

import re
from dataclasses import dataclass
from uuid import UUID

from services.shared.errors import InvalidArgument
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_NAME

WORKSPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A DNS label (RFC 1123), since a workspace becomes a Kubernetes namespace and a host name."""
PROCESS_ID = re.compile(r"[A-Za-z0-9](?!.*\.\.)[A-Za-z0-9._-]{0,62}")
"""What CWL ids look like in practice, without anything that means something to a path or a shell."""
SEGMENT = re.compile(r"(?!\.{1,2}$)(?!.*\.\.)[A-Za-z0-9_.-]{1,128}")
"""Ids of outputs and steps."""


@dataclass(frozen=True)
class WorkspaceName:
    """`workspaces/{workspace}`."""

    workspace: str

    @classmethod
    def parse(cls, name: str) -> "WorkspaceName":
        """Raises INVALID_NAME."""
        match name.split("/"):
            case ["workspaces", workspace]:
                return cls(_checked(WORKSPACE, workspace, "workspace"))
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
        """Raises INVALID_NAME."""
        match name.split("/"):
            case ["workspaces", workspace, "processes", process_id]:
                return cls(
                    _checked(WORKSPACE, workspace, "workspace"),
                    _checked(PROCESS_ID, process_id, "process"),
                )
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
        """Raises INVALID_NAME."""
        match name.split("/"):
            case ["workspaces", workspace, "jobs", job]:
                return cls(_checked(WORKSPACE, workspace, "workspace"), _uuid(job, "job"))
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
        """Raises INVALID_NAME."""
        match name.split("/"):
            case ["workspaces", workspace, "ingestions", ingestion]:
                return cls(_checked(WORKSPACE, workspace, "workspace"), _uuid(ingestion, "ingestion"))
        raise _wrong(name, "workspaces/{workspace}/ingestions/{ingestion}")

    def __str__(self) -> str:
        return f"workspaces/{self.workspace}/ingestions/{self.ingestion_id}"


Name = WorkspaceName | ProcessName | JobName | IngestionName

KINDS: dict[str, type[ProcessName] | type[JobName] | type[IngestionName]] = {
    "processes": ProcessName,
    "jobs": JobName,
    "ingestions": IngestionName,
}


def parse_name(name: str) -> Name:
    """Parses a name of any kind. Raises INVALID_NAME."""
    segments = name.split("/")
    if len(segments) == 2:
        return WorkspaceName.parse(name)
    if len(segments) == 4 and (kind := KINDS.get(segments[2])):
        return kind.parse(name)
    raise _wrong(name, "workspaces/{workspace}/{processes|jobs|ingestions}/{id}")


def is_segment(text: str) -> bool:
    """Whether the text can be the id of an output or a step."""
    return SEGMENT.fullmatch(text) is not None


def _checked(grammar: re.Pattern[str], segment: str, kind: str) -> str:
    if grammar.fullmatch(segment):
        return segment
    raise InvalidArgument(
        ERROR_REASON_INVALID_NAME,
        "{name} is not the name of a {kind}: it must match {grammar}.",
        name=repr(segment[:80]),
        kind=kind,
        grammar=grammar.pattern,
    )


def _uuid(segment: str, kind: str) -> UUID:
    try:
        value = UUID(segment)
    except ValueError:
        value = None
    # Only the one spelling with hyphens in lower case is a name; UUID() accepts several.
    if value is None or str(value) != segment:
        raise InvalidArgument(
            ERROR_REASON_INVALID_NAME,
            "{name} is not the id of a {kind}: it must be a UUID in lower case.",
            name=repr(segment[:80]),
            kind=kind,
        )
    return value


def _wrong(name: str, form: str) -> InvalidArgument:
    return InvalidArgument(
        ERROR_REASON_INVALID_NAME, "{name} does not have the form {form}.", name=repr(name[:160]), form=form
    )
