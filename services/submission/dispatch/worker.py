"""Does one kind of step for many jobs at once, each by itself, so that what is slow for one holds up no other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Protocol

import structlog

from services.shared.errors import Unavailable
from services.shared.loop import Loop
from services.submission.dispatch.patience import TimeIsOver, passes, pause_after
from services.submission.dispatch.queue import LEASE, Claim, Overtaken, Queue

log = structlog.get_logger()

SETTLING_SECONDS = 0.25
"""How long work may go on whose claim is gone: it may just be giving the claim back."""
LAST_SECONDS = 2.0
"""How long steps may go on when the service stops."""


class Step(Protocol):
    """What is done for a job in one stage."""

    places: int
    """For how many jobs at a time."""
    time_limit: timedelta
    """How long one attempt may take."""

    async def claim(self, limit: int) -> Sequence[Claim]:
        """Hands out jobs of the stage, at most so many."""

    async def take(self, claim: Claim) -> str | None:
        """Does it, and answers the stage that the job goes to, where that has to be seen to at once."""

    async def give_up(self, claim: Claim, error: Exception) -> bool:
        """Ends the job when this failure was one too many; whether it did."""


class _Hold:
    """A claim that is being worked on."""

    def __init__(self, claim: Claim, time_limit: timedelta) -> None:
        self.claim = claim
        self.overtaken = False
        self.scope = asyncio.timeout(time_limit.total_seconds())

    def lose(self) -> None:
        """Ends the work."""
        if not self.overtaken:
            self.overtaken = True
            self.scope.reschedule(asyncio.get_running_loop().time() + SETTLING_SECONDS)


class Leases:
    """Keeps the claims of this process while they are worked on, and ends the work on those that are gone."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._holds: set[_Hold] = set()
        self.loop = Loop(self.step, name="leases", idle=min(timedelta(seconds=1), LEASE / 3))

    @asynccontextmanager
    async def hold(self, claim: Claim, time_limit: timedelta) -> AsyncIterator[None]:
        """Keeps a claim for the time of the context. Raises Overtaken, TimeIsOver."""
        hold = _Hold(claim, time_limit)
        try:
            async with hold.scope:
                self._holds.add(hold)
                try:
                    yield
                finally:
                    self._holds.discard(hold)
        except TimeoutError:
            if hold.overtaken:
                raise Overtaken from None
            if hold.scope.expired():
                raise TimeIsOver from None
            raise

    async def step(self) -> bool:
        """Renews all leases at once."""
        holds = list(self._holds)
        if holds:
            kept = await self._queue.renew([hold.claim for hold in holds])
            for hold in holds:
                if hold.claim.job_id not in kept and hold in self._holds:
                    hold.lose()
        return False


class Worker:
    """Claims jobs of one stage while it has places free, and takes its step for each."""

    def __init__(
        self, step: Step, queue: Queue, leases: Leases, *, name: str, idle: timedelta, wake: Callable[[str], None]
    ) -> None:
        """`wake` says that a stage has work."""
        self._step = step
        self._queue = queue
        self._leases = leases
        self._name = name
        self._wake = wake
        self._tasks: dict[asyncio.Task[None], Claim] = {}
        self.loop = Loop(self.step, name=name, idle=idle)

    async def step(self) -> bool:
        """Claims what is due, and waits for none of it."""
        free = self._step.places - len(self._tasks)
        if free <= 0:
            return False
        claims = await self._step.claim(free)
        for claim in claims:
            task = asyncio.create_task(self._take(claim))
            self._tasks[task] = claim
            task.add_done_callback(self._ended)
        return bool(claims)

    async def rest(self) -> None:
        """Waits until nothing is being done any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Ends what is being done and puts the jobs back."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_SECONDS)
        left = dict(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if left:
            with suppress(Unavailable):
                await self._queue.put_back(list(left.values()))

    def _ended(self, task: asyncio.Task[None]) -> None:
        if len(self._tasks) >= self._step.places:
            self.loop.wake()
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            # Nothing was recorded: the job is handed out again when its lease is over.
            log.warning("A step of a job came to nothing.", stage=self._name, exc_info=error)

    async def _take(self, claim: Claim) -> None:
        try:
            async with self._leases.hold(claim, self._step.time_limit):
                stage = await self._step.take(claim)
        except Overtaken:
            log.info("A job was taken away in the middle of a step.", stage=self._name, job=str(claim.job_id))
        except Exception as error:  # noqa: BLE001 - whatever a step meets, the job is tried again or fails
            await self._failed(claim, error)
        else:
            if stage is not None:
                self._wake(stage)

    async def _failed(self, claim: Claim, error: Exception) -> None:
        job = str(claim.job_id)
        try:
            if await self._step.give_up(claim, error):
                log.error("A job was given up.", stage=self._name, job=job, exc_info=error)
                self._wake("releasing")
                return
        except Overtaken:
            return
        except Exception as further:
            if passes(further):
                raise
            # What is said of the end must not be what keeps the job from ending.
            log.exception("A job could not be given up.", stage=self._name, job=job)
        pause = pause_after(claim.failures + 1)
        log.warning(
            "A job will be seen to again.",
            stage=self._name,
            job=job,
            failures=claim.failures + 1,
            pause=str(pause),
            exc_info=error,
        )
        await self._queue.postpone(claim, pause, fault=not passes(error))
