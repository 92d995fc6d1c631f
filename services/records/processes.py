"""Processes as both submission and status see them: the record, its message, and reading one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from services.shared.errors import NotFound
from services.shared.messages import to_timestamp
from services.shared.names import ProcessName, no_such
from services.shared.postgres import Database, Record
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_NO_SUCH_REVISION
from workflow_runner.v1.process_pb2 import Metadata
from workflow_runner.v1.process_pb2 import Process as ProcessMessage

EVERYWHERE = "*"
"""The workspace of built-in processes, which are part of every workspace."""

COLUMNS = """
    revision_id, processes.workspace, process_id, revision, digest, media_type, workflow_id, backend, description,
    cwl_inputs, mutable, visibility, shared_workspaces, shared_groups, owner, create_time
"""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A deployed application package in one of its revisions."""

    revision_id: UUID
    workspace: str
    """The workspace that it is seen in; built-in processes are seen in every one."""
    process_id: str
    revision: int
    digest: str
    media_type: str
    workflow_id: str
    backend: str
    """Empty for the backend that is configured, `builtin` for processes of our own."""
    description: dict[str, Any]
    cwl_inputs: dict[str, Any]
    mutable: bool
    visibility: str
    shared_workspaces: tuple[str, ...]
    shared_groups: tuple[str, ...]
    owner: str
    create_time: datetime

    @classmethod
    def from_row(cls, row: Record, workspace: str) -> Self:
        """Reads a row that has COLUMNS, as seen in a workspace."""
        values = {name: row[name] for name in cls.__dataclass_fields__}
        values |= {
            "workspace": workspace,
            "shared_workspaces": tuple(values["shared_workspaces"]),
            "shared_groups": tuple(values["shared_groups"]),
        }
        return cls(**values)

    @property
    def name(self) -> ProcessName:
        """The resource name."""
        return ProcessName(self.workspace, self.process_id)

    @property
    def package_key(self) -> str:
        """Where the object store keeps the package."""
        return package_key(self.digest)

    def to_message(self, *, warnings: tuple[str, ...] = ()) -> ProcessMessage:
        """Returns the message, without links and without the description."""
        about = self.description
        return ProcessMessage(
            name=str(self.name),
            process_id=self.process_id,
            title=about.get("title"),
            description=about.get("description"),
            version=about["version"],
            keywords=about.get("keywords", ()),
            metadata=[Metadata(**_texts(entry)) for entry in about.get("metadata", ())],
            job_control_options=about["jobControlOptions"],
            output_transmission=about["outputTransmission"],
            mutable=self.mutable,
            revision=self.revision,
            digest=self.digest,
            visibility=self.visibility,
            shared_workspaces=self.shared_workspaces,
            shared_groups=self.shared_groups,
            create_time=to_timestamp(self.create_time),
            warnings=warnings,
        )


class ProcessReader:
    """Reads one process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: ProcessName, revision: int | None = None) -> Process:
        """Answers what is deployed now, or a revision of it. Raises NO_SUCH_PROCESS, NO_SUCH_REVISION."""
        row = await self._database.fetchrow(
            f"""
            SELECT {COLUMNS} FROM processes JOIN process_revisions USING (revision_id, process_id)
            WHERE processes.workspace = ANY ($1) AND process_id = $2
            """,
            [name.workspace, EVERYWHERE],
            name.process_id,
        )
        if row is None:
            raise no_such(name)
        process = Process.from_row(row, name.workspace)
        if revision is None or revision == process.revision:
            return process
        return await self._get_revision(process, revision)

    async def _get_revision(self, current: Process, revision: int) -> Process:
        row = await self._database.fetchrow(
            f"""
            SELECT {COLUMNS.replace("revision_id", "r.revision_id", 1)}
            FROM process_revisions r JOIN processes USING (workspace, process_id)
            WHERE workspace = ANY ($1) AND process_id = $2 AND revision = $3
            """,
            [current.workspace, EVERYWHERE],
            current.process_id,
            revision,
        )
        if row is None:
            raise NotFound(
                ERROR_REASON_NO_SUCH_REVISION,
                "Process {process} has no revision {revision}; the current one is {current}.",
                process=current.process_id,
                revision=revision,
                current=current.revision,
            )
        return Process.from_row(row, current.workspace)

    async def facts(self, name: ProcessName) -> dict[str, Any] | None:
        """What the policy needs to know of a process."""
        row = await self._database.fetchrow(
            """
            SELECT visibility, shared_workspaces, shared_groups, owner, mutable FROM processes
            WHERE workspace = ANY ($1) AND process_id = $2
            """,
            [name.workspace, EVERYWHERE],
            name.process_id,
        )
        if row is None:
            return None
        return {
            "visibility": row["visibility"].replace("_", "-"),
            "shared_workspaces": list(row["shared_workspaces"]),
            "shared_groups": list(row["shared_groups"]),
            "owner": row["owner"],
            "mutable": row["mutable"],
        }


def package_key(digest: str) -> str:
    """Where the object store keeps the package of a digest."""
    return f"packages/{digest.replace(':', '/')}"


def _texts(entry: dict[str, Any]) -> dict[str, str]:
    return {key: str(entry[key]) for key in ("title", "role", "value", "href") if entry.get(key) is not None}
