"""Launches jobs that are prepared, as long as slots are free. Nothing slow happens here."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from services.shared.telemetry import job_wait, link_to, tracer
from services.submission.backends import Backend, LaunchRefused, NotStaged
from services.submission.dispatch.endings import Finisher, attributes, failed, given_up
from services.submission.dispatch.executions import Executions
from services.submission.dispatch.patience import Patience
from services.submission.dispatch.queue import Claim, Lane, Queue

log = structlog.get_logger()


class Launcher:
    """Has the backend start jobs."""

    places = 4
    time_limit = timedelta(minutes=2)

    def __init__(
        self,
        queue: Queue,
        lane: Lane,
        backend: Backend,
        *,
        slots: int,
        patience: Patience,
        has_room: Callable[[], bool],
    ) -> None:
        self._queue = queue
        self._lane = lane
        self._backend = backend
        self._finisher = Finisher(queue)
        self._slots = slots
        self._patience = patience
        self._has_room = has_room

    async def claim(self, limit: int) -> Sequence[Claim]:
        """Hands out the job of the workspace that runs the fewest."""
        if not self._has_room():
            return []
        claim = await self._queue.claim_launch(self._lane, slots=self._slots)
        return [claim] if claim else []

    async def take(self, claim: Claim) -> str | None:
        """Starts a job."""
        assert claim.handle is not None
        try:
            return await self._launch(claim, claim.handle)
        except NotStaged as error:
            if self._patience.is_over(claim, error):
                raise
            log.warning("What was prepared of a job is gone.", job=str(claim.job_id))
            await self._queue.unstage(claim)
            return "waiting"

    async def _launch(self, claim: Claim, staged: str) -> str | None:
        job = await self._queue.job(claim)
        with tracer.start_as_current_span("launch", links=link_to(job.trace_parent), attributes=attributes(job)):
            handle = await self._backend.launch(staged)
            if not await self._queue.launched(claim, handle):
                # Overtaken: whoever has the job now finds this run, to look at it or to release it.
                return "releasing"
        job_wait.record((datetime.now(UTC) - job.create_time).total_seconds())
        log.info("Launched a job.", job=str(claim.job_id), workspace=claim.workspace, process=job.process_id)
        return "running"

    async def give_up(self, claim: Claim, error: Exception) -> bool:
        """After some attempts."""
        if not self._patience.is_over(claim, error):
            return False
        await self._finisher.end(claim, given_up("to launch the job", claim, error))
        return True


class ImmediateLauncher(Launcher):
    """Prepares and starts the jobs of a backend to which nothing has to be brought, many at a time."""

    places = 32

    def __init__(
        self, queue: Queue, lane: Lane, backend: Backend, executions: Executions, *, patience: Patience
    ) -> None:
        super().__init__(queue, lane, backend, slots=0, patience=patience, has_room=lambda: True)
        self._executions = executions

    async def claim(self, limit: int) -> Sequence[Claim]:
        """Hands out the jobs that have waited longest."""
        return await self._queue.claim_unstaged(self._lane, limit=limit)

    async def take(self, claim: Claim) -> str | None:
        """Prepares and starts a job."""
        try:
            execution = await self._executions.of(claim, await self._queue.job(claim))
            staged = await self._backend.stage(execution)
        except LaunchRefused as refusal:
            await self._finisher.end(claim, failed(refusal.failure))
            return "releasing"
        return await self._launch(claim, staged)
