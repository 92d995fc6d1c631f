"""Has backends forget jobs that have ended."""

from collections.abc import Sequence
from datetime import timedelta

from services.submission.backends import Backend
from services.submission.dispatch.patience import Patience
from services.submission.dispatch.queue import Claim, Lane, Queue


class Releaser:
    """Removes what is left of the runs of jobs that have ended."""

    places = 8
    time_limit = timedelta(minutes=1)

    def __init__(self, queue: Queue, lane: Lane, backend: Backend, *, patience: Patience) -> None:
        self._queue = queue
        self._lane = lane
        self._backend = backend
        self._patience = patience

    async def claim(self, limit: int) -> Sequence[Claim]:
        """Hands out the jobs that are due."""
        return await self._queue.claim_release(self._lane, limit=limit)

    async def take(self, claim: Claim) -> str | None:
        """Removes a run, or what was prepared of one."""
        handle = claim.handle
        if handle is None and claim.attempt > 0:
            handle = await self._backend.find(str(claim.job_id), claim.attempt)
        if handle is not None:
            await self._backend.dismiss(handle)
        await self._queue.forget(claim)
        return None

    async def give_up(self, claim: Claim, error: Exception) -> bool:
        """The job has ended; what is left of its run is swept away later."""
        if not self._patience.is_over(claim, error):
            return False
        await self._queue.forget(claim)
        return True
