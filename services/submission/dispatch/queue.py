"""The queue: hands jobs out, one stage at a time, and takes back what was done with them.

Every write carries the fence of its claim and raises it, so that a claim counts once; one that has been overtaken
changes nothing. A claim that nobody renews is over with its lease, and the job is handed out again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.records.jobs import Job, JobReader
from services.shared.errors import NotFound
from services.shared.names import JobName
from services.shared.postgres import Connection, Database, Record
from services.submission.dispatch.progress import Ending, Progress, advance, begin, finish

LEASE = timedelta(seconds=10)
"""How long a job waits when the process that has claimed it dies. Renewed while the process lives."""


@dataclass(frozen=True, kw_only=True)
class Lane:
    """Whose jobs are handed out together: those of one backend, and of one directory of runs where it has any."""

    backend: str
    """As processes name it; empty for the configured one."""
    directory: str = ""
    """Empty for a backend whose runs can be seen from everywhere."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A job in the hands of one process until its lease is over."""

    job_id: UUID
    workspace: str
    backend: str
    directory: str
    stage: str
    in_stage: timedelta
    """How long the job has been in its stage."""
    attempt: int
    fence: int
    handle: str | None
    cursor: str
    failures: int
    """In a row."""
    faults: int
    """Of the failures, those that no waiting cures."""
    failing_for: timedelta | None

    @property
    def name(self) -> JobName:
        """The resource name of the job."""
        return JobName(self.workspace, self.job_id)


CLAIMED = """
    dispatch.job_id, dispatch.workspace, backend, directory, stage, now() - stage_time AS in_stage, attempt, fence,
    handle, cursor, failures, faults, now() - failing_since AS failing_for
"""

# The workspaces with jobs that wait, each found by one step in the index, take turns: the one with the fewest jobs
# under way in this directory comes first. One job more than there are slots is made ready, and one of each workspace
# that has none; what takes longer than some seconds does not count for that. The rest is left to other directories,
# where slots may be free.
_CLAIM_STAGING = f"""
WITH RECURSIVE turns AS (
    (SELECT workspace FROM dispatch WHERE stage = 'waiting' AND backend = $2 ORDER BY workspace LIMIT 1)
    UNION ALL
    SELECT following.workspace FROM turns CROSS JOIN LATERAL (
        SELECT workspace FROM dispatch
        WHERE stage = 'waiting' AND backend = $2 AND workspace > turns.workspace
        ORDER BY workspace LIMIT 1
    ) AS following
), under_way AS (
    SELECT workspace, count(*) FILTER (WHERE stage IN ('staging', 'staged')) AS staged, count(*) AS jobs,
        count(*) FILTER (WHERE stage <> 'staging' OR stage_time > now() - interval '3 seconds') AS ready
    FROM dispatch
    WHERE directory = $1 AND backend = $2 AND stage IN ('staging', 'staged', 'launching', 'running')
    GROUP BY workspace
), chosen AS (
    SELECT first.job_id FROM turns LEFT JOIN under_way USING (workspace) CROSS JOIN LATERAL (
        SELECT job_id FROM dispatch
        WHERE stage = 'waiting' AND backend = $2 AND workspace = turns.workspace AND due_time <= now()
        ORDER BY job_id LIMIT 1
    ) AS first
    WHERE coalesce(staged, 0) < $4 AND (SELECT coalesce(sum(staged), 0) FROM under_way) < $3
        AND (coalesce(ready, 0) = 0 OR (SELECT coalesce(sum(ready), 0) FROM under_way) <= $5)
    ORDER BY coalesce(jobs, 0), first.job_id LIMIT 1
)
UPDATE dispatch
SET stage = 'staging', directory = $1, attempt = greatest(attempt, 1), fence = fence + 1, due_time = now() + $6
WHERE job_id = (SELECT job_id FROM chosen) AND stage = 'waiting' AND due_time <= now()
RETURNING {CLAIMED}
"""

# What is being launched holds its slot, also when it is handed out again.
_CLAIM_LAUNCH = f"""
WITH under_way AS (
    SELECT workspace, count(*) AS jobs FROM dispatch
    WHERE directory = $1 AND backend = $2 AND stage IN ('launching', 'running') GROUP BY workspace
), chosen AS (
    SELECT job_id FROM dispatch LEFT JOIN under_way USING (workspace)
    WHERE directory = $1 AND backend = $2 AND stage IN ('staged', 'launching') AND due_time <= now()
        AND (stage = 'launching' OR (SELECT coalesce(sum(jobs), 0) FROM under_way) < $3)
    ORDER BY stage, coalesce(jobs, 0), job_id LIMIT 1
)
UPDATE dispatch SET stage = 'launching', fence = fence + 1, due_time = now() + $4
WHERE job_id = (SELECT job_id FROM chosen) AND stage IN ('staged', 'launching') AND due_time <= now()
RETURNING {CLAIMED}
"""


class Overtaken(Exception):
    """The claim is gone: the job was dismissed, or handed out again."""


class Queue:
    """The jobs that have to be seen to."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reader = JobReader(database)

    async def job(self, claim: Claim) -> Job:
        """The job of a claim. Raises Overtaken when it was removed meanwhile."""
        try:
            return await self._reader.get(claim.name)
        except NotFound:
            raise Overtaken from None

    async def claim_staging(self, lane: Lane, *, most: int, most_each: int, slots: int) -> Claim | None:
        """Hands out a job whose inputs are to be brought here, while fewer than `most` are prepared here, and fewer
        than `most_each` of its workspace, and not many more than there are `slots` for."""
        return await self._claim_counted(lane, _CLAIM_STAGING, most, most_each, slots)

    async def claim_launch(self, lane: Lane, *, slots: int) -> Claim | None:
        """Hands out a job that is prepared here, while fewer than `slots` run or are being launched here."""
        return await self._claim_counted(lane, _CLAIM_LAUNCH, slots)

    async def _claim_counted(self, lane: Lane, statement: str, *bounds: int) -> Claim | None:
        async with self._database.transaction() as connection:
            # Two that count at the same moment would both find the last place free. Who is not known to the others yet
            # gets nothing.
            known = await connection.fetchrow(
                "SELECT FROM run_directories WHERE directory = $1 FOR UPDATE", lane.directory
            )
            if known is None:
                return None
            row = await connection.fetchrow(statement, lane.directory, lane.backend, *bounds, LEASE)
        return Claim(**row) if row else None

    async def claim_unstaged(self, lane: Lane, *, limit: int) -> list[Claim]:
        """Hands out jobs of a backend that needs nothing brought and counts no slots."""
        rows = await self._database.fetch(
            f"""
            UPDATE dispatch
            SET stage = 'launching', attempt = greatest(attempt, 1), fence = fence + 1, due_time = now() + $3
            WHERE job_id IN (
                SELECT job_id FROM dispatch
                WHERE stage IN ('waiting', 'launching') AND backend = $1 AND directory = '' AND due_time <= now()
                ORDER BY job_id LIMIT $2
                FOR UPDATE SKIP LOCKED
            )
            RETURNING {CLAIMED}
            """,
            lane.backend,
            limit,
            LEASE,
        )
        return [Claim(**row) for row in rows]

    async def claim(self, lane: Lane, stage: str, *, limit: int) -> list[Claim]:
        """Hands out jobs of a stage that are due."""
        return await self._claim(stage, [lane.directory], lane.backend, limit)

    async def claim_release(self, lane: Lane, *, limit: int) -> list[Claim]:
        """Hands out jobs that have ended: those whose runs are here, and those that no directory has anything of."""
        return await self._claim("releasing", sorted({lane.directory, ""}), lane.backend, limit)

    async def _claim(self, stage: str, directories: list[str], backend: str, limit: int) -> list[Claim]:
        rows = await self._database.fetch(
            f"""
            UPDATE dispatch SET fence = fence + 1, due_time = now() + $5
            WHERE job_id IN (
                SELECT job_id FROM dispatch
                WHERE stage = $1 AND stage <> 'waiting' AND directory = ANY($2) AND backend = $3 AND due_time <= now()
                ORDER BY due_time LIMIT $4
                FOR UPDATE SKIP LOCKED
            )
            RETURNING {CLAIMED}
            """,
            stage,
            directories,
            backend,
            limit,
            LEASE,
        )
        return [Claim(**row) for row in rows]

    async def renew(self, claims: Sequence[Claim]) -> set[UUID]:
        """Renews leases; answers the jobs whose claims still hold."""
        rows = await self._database.fetch(
            """
            UPDATE dispatch SET due_time = now() + $3
            FROM unnest($1::uuid[], $2::bigint[]) AS held (job_id, fence)
            WHERE dispatch.job_id = held.job_id AND dispatch.fence = held.fence
            RETURNING dispatch.job_id
            """,
            [claim.job_id for claim in claims],
            [claim.fence for claim in claims],
            LEASE,
        )
        return {row["job_id"] for row in rows}

    async def staged(self, claim: Claim, handle: str) -> bool:
        """Records that a job is prepared under a handle. False when the claim was overtaken, and nothing changed."""
        async with self._database.connection() as connection:
            return await _settle(connection, claim, "staged", timedelta(0), handle=handle)

    async def launched(self, claim: Claim, handle: str) -> bool:
        """Records that a backend runs a job. False when the claim was overtaken, and nothing changed."""
        async with self._database.transaction() as connection:
            if not await _settle(connection, claim, "running", timedelta(0), handle=handle):
                return False
            await begin(connection, claim.job_id, claim.attempt)
        return True

    async def record(self, claim: Claim, progress: Progress, *, due_in: timedelta) -> bool:
        """Records what a look brought. False when the claim was overtaken, and nothing changed."""
        async with self._database.transaction() as connection:
            if not await _settle(connection, claim, claim.stage, due_in, cursor=progress.cursor):
                return False
            if progress.steps or progress.log_sizes or progress.percent:
                await advance(connection, claim.job_id, progress)
        return True

    async def over(self, claim: Claim) -> bool:
        """Records that a run is over, which frees its slot; what is left is to record what came of it."""
        async with self._database.connection() as connection:
            return await _settle(connection, claim, "publishing", timedelta(0))

    async def end(
        self, claim: Claim, progress: Progress | None, ending: Ending, *, discard: str | None = None
    ) -> Job | None:
        """Ends a job, once and for ever; its backend releases it in a later step. `discard` is a folder of the object
        store to remove. None when the claim was overtaken, or the job has ended before."""
        async with self._database.transaction() as connection:
            if not await _settle(connection, claim, "releasing", timedelta(0)):
                return None
            if progress is not None:
                await advance(connection, claim.job_id, progress)
            if discard is not None:
                await connection.execute(
                    "INSERT INTO artifact_removals (prefix) VALUES ($1) ON CONFLICT DO NOTHING", discard
                )
            return await finish(connection, claim.name, ending)

    async def postpone(self, claim: Claim, pause: timedelta, *, fault: bool) -> None:
        """Puts a job back after a failure. What could not be brought here may be brought anywhere the next time; what
        could not be launched stays where it is, since it may run there."""
        await self._database.execute(
            """
            UPDATE dispatch SET due_time = now() + $3, fence = fence + 1, failures = failures + 1,
                faults = faults + $4::int, failing_since = coalesce(failing_since, now()),
                directory = CASE WHEN stage = 'staging' THEN '' ELSE directory END,
                stage = CASE
                    WHEN stage = 'staging' OR stage = 'launching' AND directory = '' THEN 'waiting'
                    WHEN stage = 'launching' THEN 'staged'
                    ELSE stage END
            WHERE job_id = $1 AND fence = $2
            """,
            claim.job_id,
            claim.fence,
            pause,
            int(fault),
        )

    async def unstage(self, claim: Claim) -> None:
        """Puts a job back of which nothing is prepared any more."""
        await self._database.execute(
            """
            UPDATE dispatch SET stage = 'waiting', directory = '', handle = NULL, due_time = now(), fence = fence + 1,
                failures = failures + 1, faults = faults + 1
            WHERE job_id = $1 AND fence = $2
            """,
            claim.job_id,
            claim.fence,
        )

    async def put_back(self, claims: Sequence[Claim]) -> None:
        """Ends leases early: what this process leaves undone need not wait for their end."""
        await self._database.execute(
            """
            UPDATE dispatch SET due_time = now(), fence = dispatch.fence + 1
            FROM unnest($1::uuid[], $2::bigint[]) AS held (job_id, fence)
            WHERE dispatch.job_id = held.job_id AND dispatch.fence = held.fence
            """,
            [claim.job_id for claim in claims],
            [claim.fence for claim in claims],
        )

    async def restage(self) -> None:
        """Hands jobs out anew whose preparation nobody goes on with."""
        await self._database.execute(
            """
            UPDATE dispatch SET stage = 'waiting', directory = '', fence = fence + 1
            WHERE job_id IN (
                SELECT job_id FROM dispatch WHERE stage = 'staging' AND due_time <= now() FOR UPDATE SKIP LOCKED
            )
            """
        )

    async def forget(self, claim: Claim) -> None:
        """Removes the entry of an ended job, after its backend has released it."""
        await self._database.execute(
            "DELETE FROM dispatch WHERE job_id = $1 AND fence = $2 AND stage = 'releasing'", claim.job_id, claim.fence
        )


async def _settle(
    connection: Connection,
    claim: Claim,
    stage: str,
    due_in: timedelta,
    *,
    handle: str | None = None,
    cursor: str | None = None,
) -> bool:
    """Gives a claim back with the job in a stage. False when it was overtaken."""
    row: Record | None = await connection.fetchrow(
        """
        UPDATE dispatch SET stage = $3, due_time = now() + $4, fence = fence + 1, handle = coalesce($5, handle),
            cursor = coalesce($6, cursor), failing_since = NULL,
            -- A job that is prepared again and again, and never launched, is not going well.
            failures = CASE WHEN $3 = 'staged' THEN failures ELSE 0 END,
            faults = CASE WHEN $3 = 'staged' THEN faults ELSE 0 END
        WHERE job_id = $1 AND fence = $2 RETURNING job_id
        """,
        claim.job_id,
        claim.fence,
        stage,
        due_in,
        handle,
        cursor,
    )
    return row is not None
