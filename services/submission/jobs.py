"""Writes jobs: accepts, hands out to the dispatcher, records, ends, dismisses.

Every write of the dispatcher carries the fence of its claim; a claim that has been overtaken changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from services.shared.errors import FailedPrecondition
from services.shared.jobs import COLUMNS, FROM, Job, JobReader
from services.shared.names import JobName, no_such
from services.shared.postgres import Connection, Database
from services.shared.processes import Process
from services.submission.callbacks import announce
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_IDEMPOTENCY_KEY_REUSED

IDEMPOTENCY_KEYS_LAST = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """On whose behalf a job runs."""

    subject: str
    workspace: str
    trace_parent: str | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A job in the hands of one dispatcher until its lease is over."""

    job_id: UUID
    workspace: str
    backend: str
    attempt: int
    launched: bool
    ended: bool
    fence: int
    handle: str | None
    cursor: str
    failures: int

    @property
    def name(self) -> JobName:
        """The resource name of the job."""
        return JobName(self.workspace, self.job_id)


@dataclass(frozen=True, kw_only=True)
class StepChange:
    """A step that began or ended."""

    step: str
    state: str
    time: datetime
    exit_code: int | None

    @property
    def details(self) -> dict[str, Any]:
        """What the event of the change says."""
        details: dict[str, Any] = {"step": self.step, "status": self.state}
        return details if self.exit_code is None else details | {"exitCode": self.exit_code}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a look at the backend brought."""

    cursor: str
    percent: int | None
    steps: Sequence[StepChange] = ()
    log_sizes: tuple[tuple[str, int], ...] = ()
    """Steps whose logs grew, and how large the logs are now, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a job ends."""

    state: str
    message: str
    failure: dict[str, Any] | None = None
    results: dict[str, Any] | None = None


_CLAIMED = "job_id, workspace, backend, attempt, launched, ended, fence, handle, cursor, failures"


class JobStore:
    """Everything that changes a job."""

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

    async def claim_waiting(self, *, slots: int, lease: timedelta) -> Claim | None:
        """Hands out the job that has waited longest for its launch, and hides it for the lease.

        Jobs of the configured backend are handed out only while fewer than `slots` of them are at the backend.
        """
        row = await self._database.fetchrow(
            f"""
            UPDATE dispatch SET due_time = now() + $2, fence = fence + 1, attempt = greatest(attempt, 1)
            WHERE job_id = (
                SELECT job_id FROM dispatch
                WHERE NOT launched AND NOT ended AND due_time <= now()
                    AND (backend <> ''
                        OR (SELECT count(*) FROM dispatch WHERE launched AND NOT ended AND backend = '') < $1)
                ORDER BY due_time LIMIT 1
                FOR UPDATE SKIP LOCKED
            )
            RETURNING {_CLAIMED}
            """,
            slots,
            lease,
        )
        return Claim(**row) if row else None

    async def claim_running(self, *, limit: int, lease: timedelta) -> list[Claim]:
        """Hands out jobs that a backend runs and that are due for a look, and hides them for the lease."""
        return await self._claim("launched AND NOT ended", limit, lease)

    async def claim_ended(self, *, limit: int, lease: timedelta) -> list[Claim]:
        """Hands out jobs that have ended and that a backend is to forget, and hides them for the lease."""
        return await self._claim("ended", limit, lease)

    async def _claim(self, condition: str, limit: int, lease: timedelta) -> list[Claim]:
        rows = await self._database.fetch(
            f"""
            UPDATE dispatch SET due_time = now() + $2, fence = fence + 1
            WHERE job_id IN (
                SELECT job_id FROM dispatch
                WHERE {condition} AND due_time <= now()
                ORDER BY due_time LIMIT $1
                FOR UPDATE SKIP LOCKED
            )
            RETURNING {_CLAIMED}
            """,
            limit,
            lease,
        )
        return [Claim(**row) for row in rows]

    async def launched(self, claim: Claim, handle: str) -> bool:
        """Records that a backend has the job. False when the claim was overtaken, and nothing changed."""
        async with self._database.transaction() as connection:
            if not await _hold(connection, claim, due_in=timedelta(0)):
                return False
            await connection.execute(
                "UPDATE dispatch SET launched = true, handle = $2, failures = 0 WHERE job_id = $1", claim.job_id, handle
            )
            sequence = await connection.fetchval(
                """
                UPDATE jobs SET state = 'running', message = 'Running.', attempt = $2, start_time = clock_timestamp(),
                    update_time = clock_timestamp(), sequence = sequence + 1
                WHERE job_id = $1 AND state = 'accepted' RETURNING sequence
                """,
                claim.job_id,
                claim.attempt,
            )
            if sequence is not None:
                await _add_events(
                    connection, claim.job_id, sequence, [("state", {"status": "running", "message": "Running."})]
                )
                await announce(connection, claim.job_id, "progress")
        return True

    async def postpone(self, claim: Claim, due_in: timedelta, *, failures: int) -> None:
        """Says when a claimed job is due again, and how often in a row its backend has failed."""
        await self._database.execute(
            "UPDATE dispatch SET due_time = now() + $3, failures = $4 WHERE job_id = $1 AND fence = $2",
            claim.job_id,
            claim.fence,
            due_in,
            failures,
        )

    async def record(self, claim: Claim, progress: Progress, *, due_in: timedelta) -> bool:
        """Records what a look brought. False when the claim was overtaken, and nothing changed."""
        async with self._database.transaction() as connection:
            return await _record(connection, claim, progress, due_in)

    async def end(self, claim: Claim, progress: Progress | None, ending: Ending) -> Job | None:
        """Ends a job, once and for ever; the backend is let go of in a later step. None when the claim was overtaken or
        the job has ended before."""
        async with self._database.transaction() as connection:
            if progress is not None:
                held = await _record(connection, claim, progress, timedelta(0))
            else:
                held = await _hold(connection, claim, due_in=timedelta(0))
            if not held:
                return None
            await connection.execute("UPDATE dispatch SET ended = true WHERE job_id = $1", claim.job_id)
            return await _end(connection, claim.name, ending)

    async def forget(self, claim: Claim) -> None:
        """Removes the queue entry of an ended job, after its backend has let go of it."""
        await self._database.execute(
            "DELETE FROM dispatch WHERE job_id = $1 AND fence = $2 AND ended", claim.job_id, claim.fence
        )

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
            dismissed = await _end(connection, name, Ending(state="dismissed", message="Dismissed on request."))
            if dismissed is not None:
                # A lease that is running is left alone: a launch under way must end before the backend is told.
                await connection.execute("UPDATE dispatch SET ended = true WHERE job_id = $1", name.job_id)
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


async def _hold(connection: Connection, claim: Claim, *, due_in: timedelta) -> bool:
    """Proves that the claim still holds, and lets go of it until it is due again."""
    tag: str = await connection.execute(
        "UPDATE dispatch SET due_time = now() + $3 WHERE job_id = $1 AND fence = $2", claim.job_id, claim.fence, due_in
    )
    return tag != "UPDATE 0"


async def _record(connection: Connection, claim: Claim, progress: Progress, due_in: timedelta) -> bool:
    tag: str = await connection.execute(
        """
        UPDATE dispatch SET due_time = now() + $3, cursor = $4, failures = 0 WHERE job_id = $1 AND fence = $2
        """,
        claim.job_id,
        claim.fence,
        due_in,
        progress.cursor,
    )
    if tag == "UPDATE 0":
        return False
    before = await connection.fetchrow(
        "SELECT progress, sequence FROM jobs WHERE job_id = $1 AND state = 'running' FOR UPDATE", claim.job_id
    )
    if before is None:
        return True
    events = [("step", change.details) for change in progress.steps]
    events += [("log", {"step": step, "size": size}) for step, size in progress.log_sizes]
    # Nothing is done before the job has ended, whatever its backend counts.
    percent = min(progress.percent or 0, 99)
    if percent > (before["progress"] or 0):
        events.append(("progress", {"progress": percent}))
        await announce(connection, claim.job_id, "progress")
    else:
        percent = before["progress"]
    if not events:
        return True
    first = before["sequence"] + 1
    await _change_steps(connection, claim.job_id, first, progress)
    last = before["sequence"] + len(events)
    await connection.execute(
        """
        UPDATE jobs SET progress = $2, sequence = $3, update_time = clock_timestamp() WHERE job_id = $1
        """,
        claim.job_id,
        percent,
        last,
    )
    await _add_events(connection, claim.job_id, last, events)
    return True


async def _change_steps(connection: Connection, job_id: UUID, first: int, progress: Progress) -> None:
    """Brings the table of steps up to date, in one statement for each kind of change. Repeated changes leave it as it
    is. The place of a step among the others is the number of the event that tells of it first."""
    changes: dict[str, _StepRow] = {}
    for position, change in enumerate(progress.steps, start=first):
        row = changes.setdefault(change.step, _StepRow(position, change.time))
        row.state, row.exit_code = change.state, change.exit_code
        row.end_time = None if change.state == "running" else change.time
    if changes:
        await connection.execute(
            """
            INSERT INTO job_steps (job_id, step, position, state, start_time, end_time, exit_code)
            SELECT $1, * FROM unnest($2::text[], $3::int[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::int[])
            ON CONFLICT (job_id, step) DO UPDATE
            SET state = excluded.state, end_time = excluded.end_time, exit_code = excluded.exit_code
            """,
            job_id,
            list(changes),
            [row.position for row in changes.values()],
            [row.state for row in changes.values()],
            [row.start_time for row in changes.values()],
            [row.end_time for row in changes.values()],
            [row.exit_code for row in changes.values()],
        )
    if progress.log_sizes:
        await connection.execute(
            """
            INSERT INTO job_steps (job_id, step, position, state, start_time, log_size)
            SELECT $1, step, $4 + ordinal, 'running', now(), size
            FROM unnest($2::text[], $3::bigint[]) WITH ORDINALITY AS grown (step, size, ordinal)
            ON CONFLICT (job_id, step) DO UPDATE SET log_size = greatest(job_steps.log_size, excluded.log_size)
            """,
            job_id,
            [step for step, _ in progress.log_sizes],
            [size for _, size in progress.log_sizes],
            first + len(progress.steps) - 1,
        )


@dataclass
class _StepRow:
    """What several changes of one step come to."""

    position: int
    start_time: datetime
    state: str = "running"
    end_time: datetime | None = None
    exit_code: int | None = None


async def _add_events(
    connection: Connection, job_id: UUID, last: int, events: Sequence[tuple[str, dict[str, Any]]]
) -> None:
    """Adds events whose numbers end with `last`; the caller holds the row of the job."""
    first = last - len(events) + 1
    await connection.execute(
        """
        INSERT INTO job_events (job_id, sequence, kind, details)
        SELECT $1, sequence, kind, details::json FROM unnest($2::int[], $3::text[], $4::text[])
            AS added (sequence, kind, details)
        """,
        job_id,
        list(range(first, last + 1)),
        [kind for kind, _ in events],
        [orjson.dumps(details).decode() for _, details in events],
    )


async def _end(connection: Connection, name: JobName, ending: Ending) -> Job | None:
    sequence = await connection.fetchval(
        """
        UPDATE jobs SET state = $2, message = $3, failure = $4, results = $5, end_time = clock_timestamp(),
            update_time = clock_timestamp(), sequence = sequence + 1,
            progress = CASE WHEN $2 = 'successful' THEN 100 ELSE progress END
        WHERE job_id = $1 AND state IN ('accepted', 'running') RETURNING sequence
        """,
        name.job_id,
        ending.state,
        ending.message,
        ending.failure,
        ending.results,
    )
    if sequence is None:
        return None
    # A step that was under way ends with its job.
    await connection.execute(
        "UPDATE job_steps SET state = 'failed', end_time = clock_timestamp() WHERE job_id = $1 AND state = 'running'",
        name.job_id,
    )
    details = {"status": ending.state, "message": ending.message}
    await _add_events(connection, name.job_id, sequence, [("state", details)])
    await announce(connection, name.job_id, "success" if ending.state == "successful" else "failure")
    row = await connection.fetchrow(f"SELECT {COLUMNS} FROM {FROM} WHERE job_id = $1", name.job_id)
    return Job.from_row(row)


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
