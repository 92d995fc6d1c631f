"""Looks at jobs that run, each by itself: a look that takes long is late for its own job only."""

from collections.abc import Sequence
from datetime import timedelta

from services.shared.storable import readable
from services.submission.backends import Backend, Observation, RunState
from services.submission.dispatch.endings import MOST_CODE, Finisher, given_up
from services.submission.dispatch.logs import LogKeeper
from services.submission.dispatch.patience import Patience
from services.submission.dispatch.progress import Progress, StepChange
from services.submission.dispatch.queue import Claim, Lane, Queue


class Observer:
    """Records what running jobs do, and notices that they are over."""

    places = 16
    time_limit = timedelta(minutes=1)

    def __init__(
        self,
        queue: Queue,
        lane: Lane,
        backend: Backend,
        logs: LogKeeper,
        *,
        interval: timedelta,
        patience: Patience,
    ) -> None:
        self._queue = queue
        self._lane = lane
        self._backend = backend
        self._logs = logs
        self._finisher = Finisher(queue)
        self._interval = interval
        self._patience = patience

    async def claim(self, limit: int) -> Sequence[Claim]:
        """Hands out the jobs that are due."""
        return await self._queue.claim(self._lane, "running", limit=limit)

    async def take(self, claim: Claim) -> str | None:
        """Looks at a job."""
        assert claim.handle is not None
        seen = await self._backend.observe(claim.handle, claim.cursor)
        if seen.state is not RunState.running:
            # Its slot is free from now on, however long it takes to record what came of it.
            await self._queue.over(claim)
            return "publishing"
        await self._queue.record(claim, await store_logs(self._logs, claim, seen), due_in=self._interval)
        return None

    async def give_up(self, claim: Claim, error: Exception) -> bool:
        """After some attempts."""
        if not self._patience.is_over(claim, error):
            return False
        await self._finisher.end(claim, given_up("to see what the job does", claim, error))
        return True


async def store_logs(logs: LogKeeper, claim: Claim, seen: Observation) -> Progress:
    """Stores the log lines that a look brought, and returns what is to be recorded of it. May be repeated."""
    sizes = await logs.store(claim, seen)
    return Progress(
        cursor=seen.cursor,
        percent=seen.progress,
        steps=[
            StepChange(
                step=readable(event.step),
                state=event.state,
                time=event.time,
                exit_code=event.exit_code if abs(event.exit_code or 0) <= MOST_CODE else None,
            )
            for event in seen.steps
        ],
        log_sizes=tuple(sizes.items()),
    )
