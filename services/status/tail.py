"""The one look at new events in this process, shared by everybody who watches a job.

However many watch, the database is asked once in a while. A watcher that falls behind loses nothing: its queue is
dropped, and it reads the table from where it stands.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.shared.errors import Unavailable
from services.status.events import Cursor, Event, EventStore
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_SHUTTING_DOWN

ROOM = 256
"""How many events wait for one watcher before its queue is dropped."""
BATCH = 1000


@dataclass(frozen=True)
class News:
    """What came since a watcher looked last."""

    events: list[Event]
    """In any order; may hold events that the watcher has seen already."""
    missed: bool = False
    """There was more than there is room for: the table has it."""


class Subscription:
    """The new events of one job, for one watcher."""

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque()
        self._missed = False
        self._closing = False
        self._woken = asyncio.Event()

    async def take(self, timeout: timedelta) -> News | None:
        """Waits for news; None when the time is over. Raises SHUTTING_DOWN when the service is being stopped."""
        if not self._woken.is_set():
            try:
                async with asyncio.timeout(max(0.0, timeout.total_seconds())):
                    await self._woken.wait()
            except TimeoutError:
                return None
        if self._closing:
            raise Unavailable(
                ERROR_REASON_SHUTTING_DOWN,
                "The service is being stopped; come back with the number of the last event.",
                retry_in=timedelta(seconds=1),
            )
        self._woken.clear()
        news = News(list(self._waiting), self._missed)
        self._waiting.clear()
        self._missed = False
        return news

    def put(self, event: Event) -> None:
        """Adds an event; drops all when there is no room."""
        if len(self._waiting) < ROOM:
            self._waiting.append(event)
        else:
            self.miss()
        self._woken.set()

    def miss(self) -> None:
        """Says that events went by."""
        self._waiting.clear()
        self._missed = True
        self._woken.set()

    def close(self) -> None:
        """Ends the waiting."""
        self._closing = True
        self._woken.set()


class EventTail:
    """Reads new events while somebody watches, and hands them to those whom they concern."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._subscriptions: dict[UUID, set[Subscription]] = {}
        self._cursor: Cursor | None = None
        self._positioning = asyncio.Lock()
        self._closing = False

    @asynccontextmanager
    async def subscribe(self, job_id: UUID) -> AsyncIterator[Subscription]:
        """Hands out every event of a job that a read of the table after this may not show."""
        subscription = Subscription()
        if self._closing:
            subscription.close()
        self._subscriptions.setdefault(job_id, set()).add(subscription)
        try:
            async with self._positioning:
                if self._cursor is None:
                    self._cursor = await self._events.position()
            yield subscription
        finally:
            watching = self._subscriptions[job_id]
            watching.discard(subscription)
            if not watching:
                del self._subscriptions[job_id]
            if not self._subscriptions:
                # The next watcher begins with the present, not with all that happened while nobody watched.
                self._cursor = None

    async def step(self) -> bool:
        """Looks once, if anybody watches. Tells whether there may be more."""
        if (cursor := self._cursor) is None:
            return False
        reading = await self._events.newest(cursor, limit=BATCH)
        if reading.bound < cursor.xid:
            # Transactions count from an earlier number, so the database was restored: the place means nothing there.
            self._move(Cursor(reading.bound, 0))
            for subscription in self._everybody():
                subscription.miss()
            return True
        for event in reading.events:
            for subscription in self._subscriptions.get(event.job_id, ()):
                subscription.put(event)
        self._move(reading.cursor)
        return len(reading.events) == BATCH

    @property
    def watched(self) -> bool:
        """Whether anybody watches."""
        return bool(self._subscriptions)

    def close(self) -> None:
        """Ends every watch, present and future, so that watchers go to a service that stays."""
        self._closing = True
        for subscription in self._everybody():
            subscription.close()

    def _move(self, cursor: Cursor) -> None:
        # Whoever watched may have gone while the database was asked.
        if self._cursor is not None:
            self._cursor = cursor

    def _everybody(self) -> list[Subscription]:
        return [subscription for watching in self._subscriptions.values() for subscription in watching]
