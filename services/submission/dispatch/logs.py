"""Keeps the logs of steps in the object store, so that they can be read while they are written and fast afterwards.

What a look brings is stored at once, as a part of its own that is named by its place. Small parts that follow each
other are joined once they are large or old enough, into a part that is named by both of its ends; so no part is ever
replaced by another content, whoever else stores the same log. A part that was not joined, since a service was
restarted or the store was away for a moment, is only slower to read.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from services.records.artifacts import ArtifactStore, job_folder, joined_log_part, log_part
from services.shared.errors import Unavailable
from services.shared.storable import readable
from services.submission.backends import Observation
from services.submission.dispatch.queue import Claim

PART_BYTES = 1 << 20
PART_SECONDS = 10.0
MOST_BYTES = 64 << 20
"""What is remembered of all logs together; beyond that parts stay as small as they are."""
PIECE_BYTES = 512
"""What a piece takes beside its content."""


@dataclass(kw_only=True)
class _Small:
    """Parts that follow each other and may be joined."""

    start: int
    since: float
    pieces: list[bytes] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    size: int = 0

    @property
    def end(self) -> int:
        return self.start + self.size

    @property
    def cost(self) -> int:
        return self.size + PIECE_BYTES * len(self.pieces)

    def add(self, place: int, piece: bytes) -> None:
        self.places.append(place)
        self.pieces.append(piece)
        self.size += len(piece)


class LogKeeper:
    """Stores what looks bring of logs, in few parts. Looks at different jobs may go on side by side."""

    def __init__(self, artifacts: ArtifactStore, *, now: Callable[[], float] = time.monotonic) -> None:
        """`now` is a clock in seconds."""
        self._artifacts = artifacts
        self._now = now
        self._jobs: OrderedDict[UUID, dict[str, _Small]] = OrderedDict()
        self._cost = 0

    async def store(self, claim: Claim, seen: Observation) -> dict[str, int]:
        """Stores what a look brought, and returns how large the logs of those steps are now, in bytes.

        May be repeated. Raises STORE_UNAVAILABLE, STORAGE_FULL.
        """
        sizes: dict[str, int] = {}
        folder = job_folder(claim.name)
        for chunk in seen.logs:
            step = readable(chunk.step)
            # Named by its place, so that storing it twice is storing it once.
            await self._artifacts.put(log_part(folder, step, chunk.offset), chunk.data)
            sizes[step] = max(sizes.get(step, 0), chunk.offset + len(chunk.data))
            for small in self._add(claim.job_id, step, chunk.offset, chunk.data):
                await self._join(folder, step, small)
        return sizes

    async def finish(self, claim: Claim) -> None:
        """Joins what is left of the logs of a job, to which nothing is added any more."""
        for step, small in self._forget(claim.job_id).items():
            await self._join(job_folder(claim.name), step, small)

    def _add(self, job_id: UUID, step: str, place: int, data: bytes) -> list[_Small]:
        """Remembers a part, and returns what is to be joined now."""
        steps = self._jobs.setdefault(job_id, {})
        small = steps.get(step)
        if small is not None and place + len(data) <= small.end:
            return []
        complete: list[_Small] = []
        if small is not None and place != small.end:
            complete.append(steps.pop(step))
            small = None
        if small is None:
            small = steps[step] = _Small(start=place, since=self._now())
        small.add(place, data)
        self._cost += len(data) + PIECE_BYTES
        if small.size >= PART_BYTES or self._now() - small.since >= PART_SECONDS:
            complete.append(steps.pop(step))
        if not steps:
            del self._jobs[job_id]
        self._cost -= sum(one.cost for one in complete)
        while self._cost > MOST_BYTES:
            self._forget(next(iter(self._jobs)))
        return complete

    def _forget(self, job_id: UUID) -> dict[str, _Small]:
        steps = self._jobs.pop(job_id, {})
        self._cost -= sum(small.cost for small in steps.values())
        return steps

    async def _join(self, folder: str, step: str, small: _Small) -> None:
        if len(small.pieces) < 2:
            return
        try:
            await self._artifacts.put(joined_log_part(folder, step, small.start, small.end), b"".join(small.pieces))
            await self._artifacts.delete([log_part(folder, step, place) for place in small.places])
        except Unavailable:
            # Every part is there; a job does not fail for what only makes its log faster to read.
            return
