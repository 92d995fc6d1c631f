"""Writes jobs for their callers: accepts and dismisses them. What happens in between is the dispatcher's."""

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from services.records.jobs import COLUMNS, FROM, Job, JobReader
from services.records.processes import Process
from services.shared.errors import FailedPrecondition
from services.shared.names import JobName, no_such
from services.shared.postgres import Connection, Database
from services.submission.dispatch.progress import Ending, finish
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_IDEMPOTENCY_KEY_REUSED

IDEMPOTENCY_KEYS_LAST = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """On whose behalf a job runs."""

    subject: str
    workspace: str
    trace_parent: str | None = None


class JobStore:
    """Everything that a caller does to a job."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reader = JobReader(database)

    async def get(self, name: JobName) -> Job:
        """Raises NO_SUCH_JOB."""
        return await self._reader.get(name)

    async def accept(
        self,
        process: Process,
        request: dict[str, Any],
        caller: Caller,
        *,
        idempotency_key: str | None,
        subscriber: dict[str, str] | None = None,
    ) -> Job:
        """Records a job in one transaction; after this it survives any crash. With an idempotency key the second call
        answers the job of the first. Raises IDEMPOTENCY_KEY_REUSED."""
        job_id = uuid7()
        async with self._database.transaction() as connection:
            if idempotency_key:
                said = _said(process, request, subscriber)
                earlier = await _remember(connection, process, caller, idempotency_key, said, job_id)
                if earlier is not None:
                    row = await connection.fetchrow(f"SELECT {COLUMNS} FROM {FROM} WHERE job_id = $1", earlier)
                    if row is not None:
                        return Job.from_row(row)
                    # The job was removed since; the key is free again.
                    await _rebind(connection, process, caller, idempotency_key, job_id)
            row = await connection.fetchrow(
                f"""
                WITH queued AS (
                    INSERT INTO dispatch (job_id, workspace, backend) VALUES ($1, $2, $9)
                ), told AS (
                    INSERT INTO job_events (job_id, sequence, kind, details) VALUES ($1, 1, 'state', $10)
                ), jobs AS (
                    INSERT INTO jobs (
                        job_id, workspace, process_id, revision_id, calling_workspace, owner, state, message, request,
                        trace_parent, subscriber, sequence
                    ) VALUES ($1, $2, $3, $4, $5, $6, 'accepted', 'Waiting to be launched.', $7, $8, $11, 1)
                    RETURNING *
                )
                SELECT {COLUMNS} FROM {FROM}
                """,
                job_id,
                process.workspace,
                process.process_id,
                process.revision_id,
                caller.workspace,
                caller.subject,
                request,
                caller.trace_parent,
                process.backend,
                {"status": "accepted", "message": "Waiting to be launched."},
                subscriber,
            )
        assert row is not None
        return Job.from_row(row)

    async def dismiss(self, name: JobName) -> Job:
        """Ends a job that has not ended as dismissed, or removes one that has. Raises NO_SUCH_JOB."""
        async with self._database.transaction() as connection:
            # The row of the queue before the row of the job, as the dispatcher takes them: the other way about, each
            # could wait for the other.
            await connection.execute("SELECT FROM dispatch WHERE job_id = $1 FOR UPDATE", name.job_id)
            row = await connection.fetchrow(
                "SELECT state FROM jobs WHERE job_id = $1 AND workspace = $2 FOR UPDATE", name.job_id, name.workspace
            )
            if row is None:
                raise no_such(name)
            dismissed = await finish(connection, name, Ending(state="dismissed", message="Dismissed on request."))
            if dismissed is not None:
                # The fence ends whatever is being done for the job. The lease of a launch is left alone: it must be
                # over before the backend is told.
                await connection.execute(
                    """
                    UPDATE dispatch SET fence = fence + 1, stage = 'releasing',
                        due_time = CASE WHEN stage = 'launching' THEN due_time ELSE now() END
                    WHERE job_id = $1
                    """,
                    name.job_id,
                )
                return dismissed
            return await _remove(connection, name)

    async def sweep(self) -> str | None:
        """Answers a folder of the object store to remove, and forgets old idempotency keys."""
        await self._database.execute(
            "DELETE FROM idempotency_keys WHERE create_time < now() - $1::interval", IDEMPOTENCY_KEYS_LAST
        )
        prefix: str | None = await self._database.fetchval(
            "SELECT prefix FROM artifact_removals ORDER BY create_time LIMIT 1"
        )
        return prefix

    async def swept(self, prefix: str) -> None:
        """Says that a folder is gone."""
        await self._database.execute("DELETE FROM artifact_removals WHERE prefix = $1", prefix)


async def _remove(connection: Connection, name: JobName) -> Job:
    """Removes an ended job, and answers it as it was, but dismissed, as the standard wants it told."""
    row = await connection.fetchrow(f"SELECT {COLUMNS} FROM {FROM} WHERE job_id = $1", name.job_id)
    job = Job.from_row({**row, "state": "dismissed", "failure": None, "message": "Removed with its logs and outputs."})
    await connection.execute("DELETE FROM jobs WHERE job_id = $1", name.job_id)
    await connection.execute("INSERT INTO artifact_removals (prefix) VALUES ($1) ON CONFLICT DO NOTHING", job.folder)
    return job


def _said(process: Process, request: dict[str, Any], subscriber: dict[str, str] | None) -> bytes:
    """The digest of what a caller said. What links led to at the time is no part of it, nor by which address the caller
    came."""
    said: list[Any] = [process.workspace, process.process_id]
    said.append({member: value for member, value in request.items() if member != "fetched"})
    uris = {member: uri for member, uri in (subscriber or {}).items() if member != "root"}
    if uris:
        said.append(uris)
    return sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()


async def _remember(
    connection: Connection, process: Process, caller: Caller, key: str, digest: bytes, job_id: UUID
) -> UUID | None:
    """Binds the key to the new job, or answers the job that it is bound to. A call at the same time is waited for."""
    bound = await connection.fetchval(
        """
        INSERT INTO idempotency_keys (workspace, owner, key, request_digest, job_id) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT ON CONSTRAINT idempotency_keys_pkey DO NOTHING RETURNING job_id
        """,
        process.workspace,
        caller.subject,
        key,
        digest,
        job_id,
    )
    if bound is not None:
        return None
    row = await connection.fetchrow(
        """
        SELECT request_digest, job_id FROM idempotency_keys WHERE workspace = $1 AND owner = $2 AND key = $3 FOR UPDATE
        """,
        process.workspace,
        caller.subject,
        key,
    )
    if row is None or row["request_digest"] != digest:
        raise FailedPrecondition(
            ERROR_REASON_IDEMPOTENCY_KEY_REUSED,
            "This idempotency key was used for another request. Use a new key for a new request.",
            http_status=422,
        )
    earlier: UUID = row["job_id"]
    return earlier


async def _rebind(connection: Connection, process: Process, caller: Caller, key: str, job_id: UUID) -> None:
    await connection.execute(
        """
        UPDATE idempotency_keys SET job_id = $4, create_time = now() WHERE workspace = $1 AND owner = $2 AND key = $3
        """,
        process.workspace,
        caller.subject,
        key,
        job_id,
    )
