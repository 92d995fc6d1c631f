"""Prepares jobs: brings their packages and inputs to where they will run.

Bytes of others are waited for here and nowhere else, for some jobs at a time, and for a few of each workspace, so that
whose inputs are slow waits alone.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

from services.submission.backends import Backend, Failure, FailureReason, LaunchRefused
from services.submission.dispatch.endings import Finisher, failed, given_up
from services.submission.dispatch.executions import Executions
from services.submission.dispatch.patience import Patience, TimeIsOver, duration
from services.submission.dispatch.queue import Claim, Lane, Queue


class Stager:
    """Has the backend prepare jobs."""

    def __init__(
        self,
        queue: Queue,
        lane: Lane,
        backend: Backend,
        executions: Executions,
        *,
        places: int,
        places_each: int,
        slots: int,
        time_limit: timedelta,
        patience: Patience,
        has_room: Callable[[], bool],
    ) -> None:
        """`places` for all workspaces together, `places_each` for each; nothing is brought while there is no room."""
        self._queue = queue
        self._lane = lane
        self._backend = backend
        self._executions = executions
        self._finisher = Finisher(queue)
        self._places_each = places_each
        self._slots = slots
        self._patience = patience
        self._has_room = has_room
        self.places = places
        self.time_limit = time_limit

    async def claim(self, limit: int) -> Sequence[Claim]:
        """Hands out the job of the workspace that has the fewest under way."""
        if not self._has_room():
            return []
        claim = await self._queue.claim_staging(
            self._lane, most=self.places, most_each=self._places_each, slots=self._slots
        )
        return [claim] if claim else []

    async def take(self, claim: Claim) -> str | None:
        """Prepares a job."""
        try:
            execution = await self._executions.of(claim, await self._queue.job(claim))
            handle = await self._backend.stage(execution)
        except LaunchRefused as refusal:
            await self._finisher.end(claim, failed(refusal.failure))
            return "releasing"
        return "staged" if await self._queue.staged(claim, handle) else None

    async def give_up(self, claim: Claim, error: Exception) -> bool:
        """Inputs that take too long are not fetched again from the start."""
        if isinstance(error, TimeIsOver):
            message = f"The inputs were not there after {duration(self.time_limit)}, the longest this may take."
            await self._finisher.end(claim, failed(Failure(reason=FailureReason.INPUT_UNAVAILABLE, message=message)))
            return True
        if not self._patience.is_over(claim, error):
            return False
        await self._finisher.end(claim, given_up("to prepare the job", claim, error))
        return True
