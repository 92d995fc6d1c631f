"""Following one job: how it stands, then everything that happens to it until it ends."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import orjson
from google.api.httpbody_pb2 import HttpBody

from services.ogc.presenters import job_message
from services.ogc.requests import RestRequest
from services.records.jobs import Job, JobReader
from services.shared.errors import ServiceError, Unauthenticated
from services.shared.messages import to_json
from services.shared.names import JobName
from services.status.events import Event, EventStore
from services.status.shared_reads import SharedReads
from services.status.tail import EventTail, News
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_TOKEN_EXPIRED
from workflow_runner.v1.job_pb2 import JobStep
from workflow_runner.v1.status_service_pb2 import WatchJobResponse

BATCH = 200
"""How many events go into one message at most."""


@dataclass(frozen=True, kw_only=True)
class Update:
    """What a watcher learns at once."""

    job: Job | None = None
    """How the job stands; in the first update and in the last."""
    steps: list[JobStep] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    last: bool = False

    @property
    def silent(self) -> bool:
        """Whether it only shows that the stream is alive."""
        return self.job is None and not self.events

    def to_message(self) -> WatchJobResponse:
        """Makes the message for a gRPC caller."""
        return WatchJobResponse(
            job=self.job.to_message(steps=self.steps) if self.job else None,
            events=[event.message for event in self.events],
        )

    def to_event_stream(self, rest: RestRequest) -> WatchJobResponse:
        """Makes the message for a caller over REST: `text/event-stream` (HTML Living Standard, server-sent events)."""
        parts: list[bytes] = []
        if self.job and not self.last:
            parts.append(b"event: job\ndata: %s\n\n" % self._status(rest))
        for event in self.events:
            parts.append(b"id: %d\nevent: %s\ndata: %s\n\n" % (event.sequence, event.kind.encode(), event.json))
        if self.last:
            parts.append(b"event: end\ndata: %s\n\n" % self._status(rest))
        return event_stream(b"".join(parts) or b": still here\n\n")

    def _status(self, rest: RestRequest) -> bytes:
        assert self.job is not None
        message = job_message(self.job, rest, steps=self.steps)
        # As the transcoder prints a job.
        return to_json(message)


class Watcher:
    """Follows jobs."""

    def __init__(
        self, jobs: JobReader, events: EventStore, tail: EventTail, *, reads: SharedReads, keep_alive: timedelta
    ) -> None:
        self._job = reads.reader("job", jobs.get)
        self._steps = reads.reader("steps", jobs.steps)
        self._reads = reads
        self._events = events
        self._tail = tail
        self._keep_alive = keep_alive

    async def watch(self, name: JobName, *, after: int, until: datetime | None) -> AsyncGenerator[Update]:
        """Yields how the job stands, then its events after one, then how it ended; a silent update now and then.

        Raises NO_SUCH_JOB, TOKEN_EXPIRED at `until`, SHUTTING_DOWN, DATABASE_UNAVAILABLE, DATABASE_BUSY. A watcher that
        comes back with the sequence of the last event it saw misses nothing and sees nothing twice.
        """
        async with self._tail.subscribe(name.job_id) as subscription:
            job = await self._job(name)
            yield Update(job=job, steps=await self._steps(name))
            # A number from the future is one from before the database was restored.
            seen = min(after, job.sequence)
            behind = True
            while not (job.ended and seen >= job.sequence):
                if behind:
                    read = partial(self._events.after, name.job_id, seen, limit=BATCH)
                    events = await self._reads.read(("events", name.job_id, seen), read)
                    behind = len(events) == BATCH
                else:
                    news = await subscription.take(remaining(self._keep_alive, until))
                    if news is None:
                        yield Update()
                        continue
                    events = _next(news, seen)
                    behind = not events and (news.missed or any(event.sequence > seen for event in news.events))
                if not events:
                    continue
                seen = events[-1].sequence
                if any(event.ends_job for event in events):
                    job = await self._job(name)
                    yield Update(job=job, steps=await self._steps(name), events=events, last=True)
                    return
                yield Update(events=events)
            yield Update(job=job, steps=await self._steps(name), last=True)


def event_stream(data: bytes) -> WatchJobResponse:
    """A piece of an event stream."""
    return WatchJobResponse(sse=HttpBody(content_type="text/event-stream", data=data))


def interruption(error: ServiceError) -> WatchJobResponse:
    """The last words of a stream that ends before its job."""
    document = {"reason": error.reason_name, "detail": error.message}
    return event_stream(b"event: problem\ndata: %s\n\n" % orjson.dumps(document))


def remaining(longest: timedelta, until: datetime | None) -> timedelta:
    """How long to wait at most, so that a token is not outlived. Raises TOKEN_EXPIRED when its time is over."""
    if until is None:
        return longest
    left = until - datetime.now(UTC)
    if left <= timedelta(0):
        raise Unauthenticated(
            ERROR_REASON_TOKEN_EXPIRED, "The token has expired; come back with another one to see the rest."
        )
    return min(longest, left)


def _next(news: News, seen: int) -> list[Event]:
    """The news in order, if they follow what was seen without a gap; otherwise nothing, and the table has to tell."""
    events = sorted((event for event in news.events if event.sequence > seen), key=lambda event: event.sequence)
    for expected, event in enumerate(events, start=seen + 1):
        if event.sequence != expected or news.missed:
            return []
    return events[:]
