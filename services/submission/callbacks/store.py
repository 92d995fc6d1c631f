"""Tells subscribers of their jobs (OGC API - Processes 1.0, requirement job-creation-callback).

A message is made in the transaction of the change that it tells, and delivered at least once, in the order of the
messages of its job, or given up and kept where it can be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from uuid_utils.compat import uuid7

from services.records.jobs import COLUMNS, FROM, Job
from services.shared.postgres import Connection, Database

LEASE = timedelta(seconds=30)
"""How long a message waits when the process that is sending it dies. Longer than a delivery may take."""
MOST_ATTEMPTS = 12
"""With the pauses below, the last attempt is made some nine hours after the first."""
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=3)

CLAIM = """
UPDATE callbacks SET lease_time = now() + $1, fence = fence + 1, attempts = attempts + 1
WHERE callback_id = (
    SELECT callback_id FROM callbacks AS due
    WHERE state = 'pending' AND due_time <= now() AND (lease_time IS NULL OR lease_time < now())
        AND NOT EXISTS (
            SELECT FROM callbacks AS earlier
            WHERE earlier.job_id = due.job_id AND earlier.callback_id < due.callback_id
                AND earlier.state = 'pending'
        )
        AND NOT EXISTS (
            SELECT FROM callbacks AS other
            WHERE other.destination = due.destination AND other.lease_time > now()
        )
    ORDER BY due_time LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING callback_id, job_id, kind, uri, attempts, fence
"""

URIS = {"progress": "in_progress_uri", "success": "success_uri", "failure": "failed_uri"}


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A message in the hands of one sender until its lease is over."""

    callback_id: UUID
    job: Job
    root: str
    kind: str
    uri: str
    attempts: int
    fence: int


async def announce(connection: Connection, job_id: UUID, kind: str) -> None:
    """Makes the message of a change, if somebody asked for it. A progress that still waits is not told twice: what is
    sent is the job as it stands when it is sent."""
    subscriber: Mapping[str, Any] | None = await connection.fetchval(
        "SELECT subscriber FROM jobs WHERE job_id = $1 AND subscriber IS NOT NULL", job_id
    )
    uri = (subscriber or {}).get(URIS[kind])
    if not uri:
        return
    await connection.execute(
        """
        INSERT INTO callbacks (callback_id, job_id, workspace, kind, uri, destination)
        SELECT $1, $2, workspace, $3, $4, $5 FROM jobs
        WHERE job_id = $2 AND NOT ($3 = 'progress' AND EXISTS (
            SELECT FROM callbacks WHERE job_id = $2 AND kind = 'progress' AND state = 'pending' AND lease_time IS NULL
        ))
        """,
        uuid7(),
        job_id,
        kind,
        uri,
        _destination(uri),
    )


def _destination(uri: str) -> str:
    """Host and port. A URI that has none must not keep its job from changing; sending to it will fail."""
    try:
        return urlsplit(uri).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


async def signing_keys(database: Database) -> list[bytes]:
    """Answers the private keys that sign, newest first; makes one when there is none."""
    async with database.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('callback_keys'))")
        rows = await connection.fetch(
            "SELECT private_key FROM callback_keys WHERE retire_time IS NULL ORDER BY create_time DESC"
        )
        if rows:
            return [bytes(row["private_key"]) for row in rows]
        made = Ed25519PrivateKey.generate()
        await connection.execute(
            "INSERT INTO callback_keys (public_key, private_key) VALUES ($1, $2)",
            made.public_key().public_bytes_raw(),
            made.private_bytes_raw(),
        )
        return [made.private_bytes_raw()]


class CallbackStore:
    """Hands out messages that are due, and records what became of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self) -> Delivery | None:
        """Hands out a message that is due: the first one of its job, to a destination that nothing is under way to."""
        async with self._database.transaction() as connection:
            # Two senders that look at the same moment would both find a destination free.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('callbacks'))")
            row = await connection.fetchrow(CLAIM, LEASE)
        if row is None:
            return None
        job = await self._database.fetchrow(
            f"SELECT {COLUMNS}, subscriber FROM {FROM} WHERE job_id = $1", row["job_id"]
        )
        if job is None:
            return None
        return Delivery(
            callback_id=row["callback_id"],
            job=Job.from_row(job),
            root=job["subscriber"]["root"],
            kind=row["kind"],
            uri=row["uri"],
            attempts=row["attempts"],
            fence=row["fence"],
        )

    async def delivered(self, delivery: Delivery) -> None:
        """Records that the subscriber has taken the message."""
        await self._database.execute(
            """
            UPDATE callbacks SET state = 'delivered', message = NULL, lease_time = NULL, end_time = now()
            WHERE callback_id = $1 AND fence = $2
            """,
            delivery.callback_id,
            delivery.fence,
        )

    async def failed(self, delivery: Delivery, problem: str, *, for_good: bool) -> None:
        """Records an attempt that failed: the next one is due later, or the message is given up."""
        dead = for_good or delivery.attempts >= MOST_ATTEMPTS
        pause = min(FIRST_PAUSE * 2 ** min(delivery.attempts, 12), LONGEST_PAUSE)
        await self._database.execute(
            """
            UPDATE callbacks SET message = $3, lease_time = NULL, due_time = now() + $4,
                state = CASE WHEN $5 THEN 'dead' ELSE 'pending' END,
                end_time = CASE WHEN $5 THEN now() END
            WHERE callback_id = $1 AND fence = $2
            """,
            delivery.callback_id,
            delivery.fence,
            problem[:500],
            pause,
            dead,
        )
