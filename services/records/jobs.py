"""Jobs as both submission and status see them: the record, its message, and reading one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from services.records.artifacts import job_folder
from services.shared.messages import to_timestamp
from services.shared.names import JobName, no_such
from services.shared.postgres import Database, Record
from workflow_runner.v1.job_pb2 import Job as JobMessage
from workflow_runner.v1.job_pb2 import JobFailure, JobStep

ENDED = frozenset({"successful", "failed", "dismissed"})

COLUMNS = """
    job_id, jobs.workspace, jobs.process_id, revision_id, calling_workspace, jobs.owner, state, message, progress,
    request, jobs.create_time, start_time, end_time, jobs.update_time, attempt, sequence, failure, results,
    trace_parent, revision, digest
"""
FROM = "jobs JOIN process_revisions USING (revision_id)"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One execution of a process."""

    job_id: UUID
    workspace: str
    process_id: str
    revision_id: UUID
    revision: int
    digest: str
    calling_workspace: str
    owner: str
    state: str
    message: str | None
    progress: int | None
    request: dict[str, Any]
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    update_time: datetime
    attempt: int
    sequence: int
    failure: dict[str, Any] | None
    """`reason`, `message`, `step`, `exit_code`, `log_tail`, as in the message JobFailure."""
    results: dict[str, Any] | None
    trace_parent: str | None

    @classmethod
    def from_row(cls, row: Record) -> Self:
        """Reads a row that has COLUMNS."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})

    @property
    def name(self) -> JobName:
        """The resource name."""
        return JobName(self.workspace, self.job_id)

    @property
    def ended(self) -> bool:
        """Whether the job is in a final state."""
        return self.state in ENDED

    @property
    def folder(self) -> str:
        """Where the object store keeps what belongs to the job, with a slash at the end."""
        return job_folder(self.name)

    def to_message(self, *, steps: Sequence[JobStep] = ()) -> JobMessage:
        """Returns the message, without links."""
        return JobMessage(
            name=str(self.name),
            job_id=str(self.job_id),
            id=str(self.job_id),
            process_id=self.process_id,
            type="process",
            state=self.state,
            message=self.message,
            progress=self.progress,
            create_time=to_timestamp(self.create_time),
            start_time=to_timestamp(self.start_time),
            end_time=to_timestamp(self.end_time),
            update_time=to_timestamp(self.update_time),
            revision=self.revision,
            digest=self.digest,
            calling_workspace=self.calling_workspace,
            owner=self.owner,
            attempt=self.attempt,
            failure=JobFailure(**self.failure) if self.failure else None,
            steps=steps,
        )


class JobReader:
    """Reads one job."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: JobName) -> Job:
        """Raises NO_SUCH_JOB."""
        row = await self._database.fetchrow(
            f"SELECT {COLUMNS} FROM {FROM} WHERE job_id = $1 AND jobs.workspace = $2", name.job_id, name.workspace
        )
        if row is None:
            raise no_such(name)
        return Job.from_row(row)

    async def steps(self, name: JobName) -> list[JobStep]:
        """The steps that have begun, in that order; empty for a job that does not exist."""
        rows = await self._database.fetch(
            """
            SELECT step, state, start_time, end_time, exit_code FROM job_steps WHERE job_id = $1 ORDER BY position
            """,
            name.job_id,
        )
        return [
            JobStep(
                step=row["step"],
                state=row["state"],
                start_time=to_timestamp(row["start_time"]),
                end_time=to_timestamp(row["end_time"]),
                exit_code=row["exit_code"],
            )
            for row in rows
        ]

    async def facts(self, name: JobName) -> dict[str, Any] | None:
        """What the policy needs to know of a job."""
        row = await self._database.fetchrow(
            """
            SELECT calling_workspace, jobs.owner, visibility
            FROM jobs LEFT JOIN processes USING (workspace, process_id)
            WHERE job_id = $1 AND jobs.workspace = $2
            """,
            name.job_id,
            name.workspace,
        )
        if row is None:
            return None
        return {
            "calling_workspace": row["calling_workspace"],
            "owner": row["owner"],
            # The job of a process that is gone belongs to its caller alone.
            "visibility": (row["visibility"] or "private").replace("_", "-"),
        }
