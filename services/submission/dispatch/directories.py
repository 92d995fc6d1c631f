"""Whose runs are whose: each directory of runs is served by the machine that holds it, and by nobody else.

Who serves a directory says so every few seconds. A directory of which nothing is heard is first left alone, since its
runs go on without the service; after `SUBMISSION_DISPATCH__GIVEN_UP_AFTER` the others end its jobs. They count only the
time during which they could have heard: a database that was away is no sign of a machine that is gone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from services.shared.errors import Unavailable
from services.shared.postgres import Database
from services.submission.backends import Backend, Failure, FailureReason
from services.submission.dispatch.endings import Finisher, failed
from services.submission.dispatch.patience import duration
from services.submission.dispatch.queue import CLAIMED, LEASE, Claim, Lane, Queue

log = structlog.get_logger()

RESTAGED_AFTER = timedelta(minutes=1)
"""What is only prepared in a directory of which nothing is heard is soon prepared elsewhere: nothing is lost then."""
GIVEN_UP_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class Neighbor:
    """A directory as the database knows it."""

    directory: str
    host: str
    seen_time: datetime


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the database says of a job, to whoever finds a run of it."""

    directory: str | None
    """Of its entry in the queue; None when it has none."""
    known: bool
    """Whether there is such a job."""


class DirectoryStore:
    """The directories of runs, and the jobs whose runs they hold."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seen(self, directory: str, host: str) -> list[Neighbor]:
        """Says that a directory is served, and answers all that ever were and still matter."""
        await self._database.execute(
            """
            INSERT INTO run_directories (directory, host) VALUES ($1, $2)
            ON CONFLICT (directory) DO UPDATE SET host = excluded.host, seen_time = now()
            """,
            directory,
            host,
        )
        rows = await self._database.fetch("SELECT directory, host, seen_time FROM run_directories")
        return [Neighbor(**row) for row in rows]

    async def unowned(self, backend: str) -> list[Claim]:
        """Jobs that were launched before it was recorded where; they are not claimed by this."""
        rows = await self._database.fetch(
            f"""
            SELECT {CLAIMED} FROM dispatch
            WHERE backend = $1 AND directory = '' AND stage IN ('launching', 'running', 'publishing')
            """,
            backend,
        )
        return [Claim(**row) for row in rows]

    async def adopt(self, claim: Claim, directory: str) -> None:
        """Says where the run of such a job is."""
        await self._database.execute(
            "UPDATE dispatch SET directory = $2 WHERE job_id = $1 AND directory = ''", claim.job_id, directory
        )

    async def restage(self, directories: Sequence[str]) -> None:
        """Hands jobs out anew that are only prepared in these directories."""
        await self._database.execute(
            """
            UPDATE dispatch SET stage = 'waiting', directory = '', fence = fence + 1, due_time = now()
            WHERE job_id IN (
                SELECT job_id FROM dispatch WHERE directory = ANY($1) AND stage IN ('staging', 'staged')
                FOR UPDATE SKIP LOCKED
            )
            """,
            list(directories),
        )

    async def claim_gone(self, backend: str, directories: Sequence[str]) -> list[Claim]:
        """Hands out jobs whose runs these directories hold, whatever their leases say."""
        rows = await self._database.fetch(
            f"""
            UPDATE dispatch SET fence = fence + 1, due_time = now() + $4
            WHERE job_id IN (
                SELECT job_id FROM dispatch
                WHERE backend = $1 AND directory = ANY($2)
                    AND stage IN ('launching', 'running', 'publishing', 'releasing')
                    AND (directory <> '' OR stage <> 'releasing')
                LIMIT $3
                FOR UPDATE SKIP LOCKED
            )
            RETURNING {CLAIMED}
            """,
            backend,
            list(directories),
            GIVEN_UP_AT_ONCE,
            LEASE,
        )
        return [Claim(**row) for row in rows]

    async def forget(self, job_id: UUID) -> None:
        """Removes the entry of an ended job whose run nobody can release."""
        await self._database.execute("DELETE FROM dispatch WHERE job_id = $1 AND stage = 'releasing'", job_id)

    async def forget_directories(self, directories: Sequence[str]) -> None:
        """Removes directories that hold nothing any more. One that comes back says so again."""
        await self._database.execute(
            """
            DELETE FROM run_directories WHERE directory = ANY($1)
                AND NOT EXISTS (SELECT FROM dispatch WHERE dispatch.directory = run_directories.directory)
            """,
            list(directories),
        )

    async def standings(self, job_ids: Sequence[UUID]) -> Mapping[UUID, Standing]:
        """What is known of jobs."""
        rows = await self._database.fetch(
            """
            SELECT asked.job_id, dispatch.directory, jobs.job_id IS NOT NULL AS known
            FROM unnest($1::uuid[]) AS asked (job_id)
            LEFT JOIN dispatch USING (job_id) LEFT JOIN jobs USING (job_id)
            """,
            list(job_ids),
        )
        return {row["job_id"]: Standing(directory=row["directory"], known=row["known"]) for row in rows}


class Keeper:
    """Keeps the directory of this process known to the others, and gives up the jobs of those that are gone."""

    def __init__(
        self,
        store: DirectoryStore,
        queue: Queue,
        lane: Lane,
        backend: Backend,
        *,
        host: str,
        given_up_after: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._queue = queue
        self._lane = lane
        self._backend = backend
        self._finisher = Finisher(queue)
        self._host = host
        self._given_up_after = given_up_after
        self._clock = clock
        self._heard: dict[str, tuple[Any, float]] = {}
        """When something was heard of each directory last, by the clock of this process."""

    async def step(self) -> bool:
        """Says that this directory is served, and looks after those that are not."""
        try:
            neighbors = await self._store.seen(self._lane.directory, self._host)
            await self._adopt()
            await self._queue.restage()
        except Unavailable:
            # Nothing could be heard, so nothing follows from silence.
            self._heard.clear()
            raise
        hosts = {neighbor.directory: neighbor.host for neighbor in neighbors}
        silent = self._silences(neighbors)
        await self._store.restage([directory for directory, time in silent.items() if time >= RESTAGED_AFTER])
        gone = [directory for directory, time in silent.items() if time >= self._given_up_after]
        if gone:
            await self._give_up(gone, hosts)
            await self._store.forget_directories(gone)
        return False

    def _silences(self, neighbors: Sequence[Neighbor]) -> dict[str, timedelta]:
        now = self._clock()
        # The empty one stands for runs of which nobody has said that they are his.
        seen = {neighbor.directory: neighbor.seen_time for neighbor in neighbors} | {"": None}
        del seen[self._lane.directory]
        for directory, moment in seen.items():
            if directory not in self._heard or self._heard[directory][0] != moment:
                self._heard[directory] = (moment, now)
        return {directory: timedelta(seconds=now - self._heard[directory][1]) for directory in seen}

    async def _adopt(self) -> None:
        for claim in await self._store.unowned(self._lane.backend):
            if await self._backend.find(str(claim.job_id), claim.attempt) is not None:
                await self._store.adopt(claim, self._lane.directory)

    async def _give_up(self, gone: Sequence[str], hosts: Mapping[str, str]) -> None:
        for claim in await self._store.claim_gone(self._lane.backend, gone):
            if claim.stage != "releasing":
                host = hosts.get(claim.directory)
                machine = f"The machine that ran this job ({host})" if host else "The machine that ran this job"
                message = (
                    f"{machine} has not been heard of for {duration(self._given_up_after)}; "
                    "what became of the job is not known. Execute it again."
                )
                log.error("A job was given up with its machine.", job=str(claim.job_id), host=host)
                failure = Failure(reason=FailureReason.BACKEND_LOST_JOB, message=message)
                await self._finisher.end(claim, failed(failure))
            await self._store.forget(claim.job_id)


class RunSweeper:
    """Removes runs that no job has any more."""

    at_once = 16

    def __init__(self, store: DirectoryStore, lane: Lane, backend: Backend, *, kept_for: timedelta) -> None:
        """A run of a job that the database does not know is kept for a while: the database may be an older one that
        was put back."""
        self._store = store
        self._lane = lane
        self._backend = backend
        self._kept_for = kept_for

    async def step(self) -> bool:
        """Looks at the runs that are here."""
        runs = await self._backend.runs()
        standings = await self._store.standings([UUID(run.job_id) for run in runs])
        swept = 0
        for run in runs:
            standing = standings[UUID(run.job_id)]
            if standing.directory in (self._lane.directory, ""):
                continue
            if standing.directory is None and not standing.known and run.age < self._kept_for:
                continue
            if run.age < RESTAGED_AFTER:
                continue
            log.warning("Removing a run that no job has any more.", run=run.handle, known=standing.known)
            await self._backend.dismiss(run.handle)
            swept += 1
            if swept >= self.at_once:
                return True
        return False
