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

    def add(self, place: int, piece: bytes) -> None:
        self.places.append(place)
        self.pieces.append(piece)
        self.size += len(piece)


class LogKeeper:
    """Stores what looks bring of logs, in few parts."""

    def __init__(self, artifacts: ArtifactStore, *, now: Callable[[], float] = time.monotonic) -> None:
        """`now` is a clock in seconds."""
        self._artifacts = artifacts
        self._now = now
        self._small: OrderedDict[tuple[UUID, str], _Small] = OrderedDict()
        self._bytes = 0

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
            await self._add(claim, step, chunk.offset, chunk.data)
        return sizes

    async def finish(self, claim: Claim) -> None:
        """Joins what is left of the logs of a job, to which nothing is added any more."""
        for key in [key for key in self._small if key[0] == claim.job_id]:
            await self._join(claim, key)

    async def _add(self, claim: Claim, step: str, place: int, data: bytes) -> None:
        key = (claim.job_id, step)
        small = self._small.get(key)
        if small is not None and place + len(data) <= small.end:
            return
        if small is not None and place != small.end:
            await self._join(claim, key)
            small = None
        if small is None:
            small = self._small[key] = _Small(start=place, since=self._now())
        small.add(place, data)
        self._bytes += len(data)
        if small.size >= PART_BYTES or self._now() - small.since >= PART_SECONDS:
            await self._join(claim, key)
        while self._bytes > MOST_BYTES:
            self._bytes -= self._small.popitem(last=False)[1].size

    async def _join(self, claim: Claim, key: tuple[UUID, str]) -> None:
        small = self._small.pop(key)
        self._bytes -= small.size
        if len(small.pieces) < 2:
            return
        folder = job_folder(claim.name)
        try:
            await self._artifacts.put(joined_log_part(folder, key[1], small.start, small.end), b"".join(small.pieces))
            await self._artifacts.delete([log_part(folder, key[1], place) for place in small.places])
        except Unavailable:
            # Every part is there; a job does not wait for what only makes its log faster to read.
            return
