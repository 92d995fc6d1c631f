"""Logs of steps: which there are, and their bytes from the object store, while the job runs and after."""

import contextlib
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.records.artifacts import ArtifactStore, NoSuchArtifact, log_part, log_prefix, log_span
from services.records.jobs import ENDED, Job
from services.shared.errors import NotFound, Unavailable
from services.shared.keys import name_problem, shown
from services.shared.postgres import Database
from services.status.tail import EventTail, News, Subscription
from services.status.watch import remaining
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_NO_SUCH_LOG

SETTLE = timedelta(seconds=2)
"""How long the log of an ended step has to stay as it is before it counts as complete: a step that wrote more than a
backend hands over at once is told to have ended before all of its log is there."""

RETRY = timedelta(seconds=1)
"""How long a follower waits for a database or an object store that is away."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """The log of a step."""

    step: str
    size_bytes: int
    state: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a job and one of its steps stand."""

    job_ended: bool
    step_begun: bool
    step_ended: bool
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Bytes of a log that are one object."""

    start: int
    end: int
    key: str


class LogStore:
    """Reads which logs there are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, job_id: UUID) -> list[Log]:
        """The logs of a job, in the order in which the steps began."""
        rows = await self._database.fetch(
            "SELECT step, log_size, state FROM job_steps WHERE job_id = $1 ORDER BY position", job_id
        )
        return [Log(step=row["step"], size_bytes=row["log_size"], state=row["state"]) for row in rows]

    async def standing(self, job_id: UUID, step: str) -> Standing:
        """How a job and a step of it stand. A job that was removed counts as ended."""
        row = await self._database.fetchrow(
            """
            SELECT jobs.state AS job_state, job_steps.state AS step_state, log_size
            FROM jobs LEFT JOIN job_steps ON job_steps.job_id = jobs.job_id AND step = $2
            WHERE jobs.job_id = $1
            """,
            job_id,
            step,
        )
        if row is None:
            return Standing(job_ended=True, step_begun=False, step_ended=False, size_bytes=0)
        return Standing(
            job_ended=row["job_state"] in ENDED,
            step_begun=row["step_state"] is not None,
            step_ended=row["step_state"] not in (None, "running"),
            size_bytes=row["log_size"] or 0,
        )


class LogReader:
    """Reads logs."""

    def __init__(self, logs: LogStore, artifacts: ArtifactStore, tail: EventTail, *, look_again: timedelta) -> None:
        """`look_again` is how long an event may be waited for before the database is asked all the same."""
        self._logs = logs
        self._artifacts = artifacts
        self._tail = tail
        self._look_again = look_again

    async def read(
        self, job: Job, step: str, *, offset: int, follow: bool, until: datetime | None
    ) -> AsyncGenerator[bytes]:
        """Yields the log from an offset, as the bytes that the step wrote. With `follow` it goes on until the step, or
        the job, has ended, and waits for a step that has not begun.

        Raises NO_SUCH_LOG before the first piece, TOKEN_EXPIRED at `until`, SHUTTING_DOWN; DATABASE_UNAVAILABLE and
        STORE_UNAVAILABLE, which a follower that has begun waits out.
        """
        if name_problem(step) is not None:
            raise _no_such_log(job, step)
        async with AsyncExitStack() as stack:
            subscription = await stack.enter_async_context(self._tail.subscribe(job.job_id)) if follow else None
            position, begun, settled = offset, False, False
            while True:
                try:
                    standing = await self._logs.standing(job.job_id, step)
                    if not standing.step_begun and (subscription is None or standing.job_ended):
                        if not begun:
                            raise _no_such_log(job, step)
                        return
                    grew = position < standing.size_bytes
                    async for piece in log_pieces(self._artifacts, job.folder, step, position, standing.size_bytes):
                        position += len(piece)
                        begun = True
                        yield piece
                    if not begun:
                        # Lets the answer begin before there is something to say.
                        begun = True
                        yield b""
                    if subscription is None or standing.job_ended or (settled and not grew):
                        return
                    step_ended = standing.step_ended
                    pause = SETTLE if step_ended else self._look_again
                except Unavailable:
                    # Over HTTP/1.1 a stream that fails cannot be told from a log that ends, so a follower waits.
                    if subscription is None or not begun:
                        raise
                    step_ended, pause = False, RETRY
                news = await self._news_of(step, subscription, pause, until)
                settled = step_ended and news is None

    async def _news_of(
        self, step: str, subscription: Subscription, pause: timedelta, until: datetime | None
    ) -> News | None:
        """Waits for an event that may concern the log of a step."""
        while True:
            news = await subscription.take(remaining(pause, until))
            if news is None or news.missed:
                return news
            if any(event.kind == "state" or event.details.get("step") == step for event in news.events):
                return news


async def log_pieces(artifacts: ArtifactStore, folder: str, step: str, start: int, end: int) -> AsyncGenerator[bytes]:
    """Yields the bytes of a log from `start` to before `end`, as far as they are there."""
    # What is added while somebody reads is a part that begins where the last one ended: no need to look for it.
    parts = [_Part(start=start, end=end, key=log_part(folder, step, start))]
    futile = 0
    while start < end and futile <= 2:
        before = start
        part = next((part for part in parts if part.start <= start < part.end), None)
        if part is not None:
            with contextlib.suppress(NoSuchArtifact):
                async for piece in artifacts.read(part.key, start - part.start, min(end, part.end) - part.start):
                    start += len(piece)
                    yield piece
        futile = 0 if start > before else futile + 1
        if futile:
            # Parts are joined, and go, while this reads.
            parts = await _parts(artifacts, folder, step)


async def _parts(artifacts: ArtifactStore, folder: str, step: str) -> list[_Part]:
    """The parts of a log, those that end last first: of two with the same bytes the longer one is read."""
    parts = []
    for artifact in await artifacts.list(log_prefix(folder, step)):
        start, end = log_span(artifact)
        parts.append(_Part(start=start, end=end, key=artifact.key))
    return sorted(parts, key=lambda part: -part.end)


def _no_such_log(job: Job, step: str) -> NotFound:
    return NotFound(
        ERROR_REASON_NO_SUCH_LOG, "Job {job} has no log of a step {step}.", job=job.job_id, step=shown(step)
    )
