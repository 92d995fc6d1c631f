"""Ends jobs whose runs are over: reads what is left of their logs, publishes their outputs, records the end."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from services.records.artifacts import ArtifactStore
from services.records.jobs import Job
from services.shared.storable import Place, Unstorable, storable
from services.shared.telemetry import link_to, tracer
from services.submission.backends import Backend, Failure, FailureReason, Observation, RunState
from services.submission.dispatch.endings import Finisher, attributes, failed, given_up
from services.submission.dispatch.logs import LogKeeper
from services.submission.dispatch.observe import store_logs
from services.submission.dispatch.patience import Patience, TimeIsOver, duration
from services.submission.dispatch.progress import Ending
from services.submission.dispatch.publication import PublicationRefused, Publisher
from services.submission.dispatch.queue import Claim, Lane, Queue

MANY_CHANGES = 100
DRAIN_INTERVAL = timedelta(milliseconds=100)
"""How long a job is left alone of which many changes are still to be recorded: others want to record theirs."""


class Ender:
    """Publishes what jobs left, and ends them."""

    def __init__(
        self,
        queue: Queue,
        lane: Lane,
        backend: Backend,
        artifacts: ArtifactStore,
        logs: LogKeeper,
        *,
        places: int,
        time_limit: timedelta,
        patience: Patience,
    ) -> None:
        """`time_limit` is for all attempts together."""
        self._queue = queue
        self._lane = lane
        self._backend = backend
        self._logs = logs
        self._publisher = Publisher(artifacts)
        self._finisher = Finisher(queue)
        self._patience = patience
        self.places = places
        self.time_limit = time_limit

    async def claim(self, limit: int) -> Sequence[Claim]:
        """Hands out the jobs that are due."""
        return await self._queue.claim(self._lane, "publishing", limit=limit)

    async def take(self, claim: Claim) -> str | None:
        """Records more of a job, or its end."""
        assert claim.handle is not None
        if claim.in_stage > self.time_limit:
            raise TimeIsOver
        seen = await self._backend.observe(claim.handle, claim.cursor)
        progress = await store_logs(self._logs, claim, seen)
        if not seen.drained:
            due_in = DRAIN_INTERVAL if len(seen.steps) >= MANY_CHANGES else timedelta(0)
            await self._queue.record(claim, progress, due_in=due_in)
            return None if due_in else "publishing"
        await self._logs.finish(claim)
        job = await self._queue.job(claim)
        with tracer.start_as_current_span("end", links=link_to(job.trace_parent), attributes=attributes(job)):
            ending = await self._ending(job, seen)
            discard = outputs_folder(job) if ending.state == "failed" and seen.outputs else None
            await self._finisher.end(claim, ending, progress=progress, discard=discard)
        return "releasing"

    async def _ending(self, job: Job, seen: Observation) -> Ending:
        match seen.state:
            case RunState.successful:
                try:
                    outputs = await asyncio.to_thread(_kept, seen.outputs or {})
                    results = await self._publisher.publish(job.folder, outputs, seen.output_root)
                except PublicationRefused as refusal:
                    return failed(refusal.failure)
                return Ending(state="successful", message="Done.", results=results)
            case RunState.dismissed:
                return Ending(state="dismissed", message="Dismissed on request.")
            case RunState.lost:
                message = "The backend has no trace of the job any more; the machine may have been restarted."
                return failed(seen.failure or Failure(reason=FailureReason.BACKEND_LOST_JOB, message=message))
        message = "The backend did not say why the job failed."
        return failed(seen.failure or Failure(reason=FailureReason.BACKEND_FAILED, message=message))

    async def give_up(self, claim: Claim, error: Exception) -> bool:
        """After some attempts, or when all of them took too long together."""
        late = claim.in_stage > self.time_limit or isinstance(error, TimeIsOver)
        if not late and not self._patience.is_over(claim, error):
            return False
        ending = given_up("to store what the job left", claim, error)
        if late:
            message = f"The outputs were not stored within {duration(self.time_limit)}, the longest this may take."
            ending = failed(Failure(reason=FailureReason.BACKEND_FAILED, message=message))
        job = await self._queue.job(claim)
        await self._finisher.end(claim, ending, discard=outputs_folder(job))
        return True


def outputs_folder(job: Job) -> str:
    """Where the store keeps the outputs of a job."""
    return f"{job.folder}outputs/"


def _kept(outputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs as they can be kept. Raises PublicationRefused."""
    try:
        kept: dict[str, Any] = storable(outputs)
    except Unstorable as refusal:
        name, *place = refusal.place or ("",)
        shown = f"Output {str(name).encode('utf-8', 'replace').decode()}"
        message = f"{shown} cannot be kept: {_at(tuple(place))}{refusal.problem}."
        raise PublicationRefused(Failure(reason=FailureReason.OUTPUT_REFUSED, message=message)) from None
    return kept


def _at(place: Place) -> str:
    if not place:
        return "it "
    path = "".join(f"/{part}" for part in place).encode("utf-8", "replace").decode()
    return f"{path[:500]} "
