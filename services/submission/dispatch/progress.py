"""Writes what happens to a job into its history: the job's row, its steps, and the events that watchers follow.

Everything here is part of a transaction of the caller, and short: watchers see nothing that is younger than the oldest
transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from services.records.jobs import COLUMNS, FROM, Job
from services.shared.names import JobName
from services.shared.postgres import Connection
from services.submission.callbacks.store import announce

Event = tuple[str, dict[str, Any]]
"""The kind of an event, and what it says."""


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


async def begin(connection: Connection, job_id: UUID, attempt: int) -> None:
    """Writes that a backend runs a job."""
    sequence = await connection.fetchval(
        """
        UPDATE jobs SET state = 'running', message = 'Running.', attempt = $2, start_time = clock_timestamp(),
            update_time = clock_timestamp(), sequence = sequence + 1
        WHERE job_id = $1 AND state = 'accepted' RETURNING sequence
        """,
        job_id,
        attempt,
    )
    if sequence is not None:
        await _add_events(connection, job_id, sequence, [("state", {"status": "running", "message": "Running."})])
        await announce(connection, job_id, "progress")


async def advance(connection: Connection, job_id: UUID, progress: Progress) -> None:
    """Writes what a look brought."""
    before = await connection.fetchrow(
        "SELECT progress, sequence FROM jobs WHERE job_id = $1 AND state = 'running' FOR UPDATE", job_id
    )
    if before is None:
        return
    events: list[Event] = [("step", change.details) for change in progress.steps]
    events += [("log", {"step": step, "size": size}) for step, size in progress.log_sizes]
    # Nothing is done before the job has ended, whatever its backend counts.
    percent = min(progress.percent or 0, 99)
    if percent > (before["progress"] or 0):
        events.append(("progress", {"progress": percent}))
        await announce(connection, job_id, "progress")
    else:
        percent = before["progress"]
    if not events:
        return
    await _change_steps(connection, job_id, before["sequence"] + 1, progress)
    last = before["sequence"] + len(events)
    await connection.execute(
        "UPDATE jobs SET progress = $2, sequence = $3, update_time = clock_timestamp() WHERE job_id = $1",
        job_id,
        percent,
        last,
    )
    await _add_events(connection, job_id, last, events)


async def finish(connection: Connection, name: JobName, ending: Ending) -> Job | None:
    """Writes how a job ended, once and for ever. None when it has ended before."""
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


@dataclass
class _StepRow:
    """What several changes of one step come to."""

    position: int
    start_time: datetime
    state: str = "running"
    end_time: datetime | None = None
    exit_code: int | None = None


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
            SELECT $1, step, $4 + ordinal, 'running', clock_timestamp(), size
            FROM unnest($2::text[], $3::bigint[]) WITH ORDINALITY AS grown (step, size, ordinal)
            ON CONFLICT (job_id, step) DO UPDATE SET log_size = greatest(job_steps.log_size, excluded.log_size)
            """,
            job_id,
            [step for step, _ in progress.log_sizes],
            [size for _, size in progress.log_sizes],
            first + len(progress.steps) - 1,
        )


async def _add_events(connection: Connection, job_id: UUID, last: int, events: Sequence[Event]) -> None:
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
