"""What happened to jobs, as submission recorded it: the events of one job in order, and the newest of all jobs."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Self
from uuid import UUID

import orjson
from google.protobuf.struct_pb2 import Struct

from services.records.jobs import ENDED
from services.shared.messages import to_timestamp
from services.shared.postgres import Database, Record
from workflow_runner.v1.job_pb2 import JobEvent

COLUMNS = "job_id, sequence, kind, event_time, details"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One change of a job."""

    job_id: UUID
    sequence: int
    """Counted from 1 in each job, without gaps."""
    kind: str
    event_time: datetime
    details: dict[str, Any]

    @classmethod
    def from_row(cls, row: Record) -> Self:
        """Reads a row that has COLUMNS."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})

    @property
    def ends_job(self) -> bool:
        """Whether nothing comes after it."""
        return self.kind == "state" and self.details.get("status") in ENDED

    # Made once, however many watch: the tail hands the same event to all of them.
    @cached_property
    def message(self) -> JobEvent:
        """The event for a gRPC caller."""
        details = Struct()
        details.update(self.details)
        return JobEvent(
            sequence=self.sequence, kind=self.kind, event_time=to_timestamp(self.event_time), details=details
        )

    @cached_property
    def json(self) -> bytes:
        """The JSON of the message, with the details as they were recorded."""
        document = {
            "sequence": self.sequence,
            "kind": self.kind,
            "time": self.event_time.isoformat().replace("+00:00", "Z"),
            "details": self.details,
        }
        return orjson.dumps(document)


@dataclass(frozen=True, order=True)
class Cursor:
    """A place in the stream of the events of all jobs."""

    xid: int
    id: int


@dataclass(frozen=True)
class Reading:
    """What a look at the newest events brought."""

    events: list[Event]
    cursor: Cursor
    """Where the next look begins."""
    bound: int
    """The oldest transaction that was under way: every event of an older one had become visible."""


class EventStore:
    """Reads events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def after(self, job_id: UUID, sequence: int, *, limit: int) -> list[Event]:
        """The events of a job that follow one, in order."""
        rows = await self._database.fetch(
            f"SELECT {COLUMNS} FROM job_events WHERE job_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
            job_id,
            sequence,
            limit,
        )
        return [Event.from_row(row) for row in rows]

    async def position(self) -> Cursor:
        """The place before every event that is not visible yet."""
        return Cursor(await self._database.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"), 0)

    async def newest(self, cursor: Cursor, *, limit: int) -> Reading:
        """The events of all jobs that follow a place. Misses none, however transactions overlap; the events of one job
        may come out of order."""
        rows = await self._database.fetch(NEWEST, str(cursor.xid), cursor.id, limit)
        # The bound comes with every row, and alone when there is no event.
        found = [row for row in rows if row["job_id"] is not None]
        if found:
            cursor = Cursor(found[-1]["xid"], found[-1]["id"])
        return Reading([Event.from_row(row) for row in found], cursor, rows[0]["bound"])


# Numbers do not become visible in the order in which they are given out: of two transactions the later may commit
# first. Below the oldest transaction under way no row can appear any more, so up to there the order of (xid, id) is
# final.
NEWEST = f"""
    SELECT oldest.bound::text::bigint AS bound, event.xid::text::bigint AS xid, id, {COLUMNS}
    FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS bound) AS oldest
    LEFT JOIN LATERAL (
        SELECT xid, id, {COLUMNS} FROM job_events
        WHERE (xid, id) > ($1::text::xid8, $2) AND xid < oldest.bound
        ORDER BY xid, id LIMIT $3
    ) AS event ON true
    ORDER BY event.xid, id
"""
