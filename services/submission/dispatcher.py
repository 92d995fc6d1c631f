"""Moves every accepted job to its end: launches it, looks at it, records what it sees, publishes what it left.

Each step may be repeated after a crash, by this process or another; the fence in every write tells who is too late.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from services.shared.artifacts import ArtifactStore, NoSuchArtifact, job_folder, log_part
from services.shared.errors import InvalidArgument, NotFound, Unavailable
from services.shared.jobs import Job
from services.shared.telemetry import job_duration, job_wait, jobs_ended, link_to, tracer
from services.submission.backends import (
    Backend,
    Execution,
    Failure,
    FailureReason,
    LaunchRefused,
    Limits,
    Observation,
    RunState,
)
from services.submission.jobs import Claim, Ending, JobStore, Progress, StepChange
from services.submission.publication import PublicationRefused, Publisher
from services.submission.revisions import RevisionReader

log = structlog.get_logger()

LEASE = timedelta(seconds=10)
"""How long a job waits when the process that has it in hand dies. Renewed while the process lives."""
MOST_LAUNCH_FAILURES = 12
LONGEST_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How many jobs run at a time, and how often they are looked at."""

    slots: int
    look_interval: timedelta
    batch: int = 16


class Dispatcher:
    """Launches what waits and looks at what runs."""

    def __init__(
        self,
        jobs: JobStore,
        revisions: RevisionReader,
        *,
        backends: Mapping[str, Backend],
        artifacts: ArtifactStore,
        limits: "LimitsPolicy",
        pace: Pace,
    ) -> None:
        """`backends` has the configured backend under the empty name, and the others under theirs."""
        self._jobs = jobs
        self._revisions = revisions
        self._backends = backends
        self._artifacts = artifacts
        self._publisher = Publisher(artifacts)
        self._limits = limits
        self._pace = pace

    async def launch_step(self) -> bool:
        """Launches the job that has waited longest, if there is a free slot."""
        claim = await self._jobs.claim_waiting(slots=self._pace.slots, lease=LEASE)
        if claim is None:
            return False
        async with self._in_hand(claim):
            await self._launch(claim)
        return True

    async def look_step(self) -> bool:
        """Looks at the running jobs that are due, all at once."""
        return await self._do(self._look, await self._jobs.claim_running(limit=self._pace.batch, lease=LEASE))

    async def let_go_step(self) -> bool:
        """Has the backend forget the jobs that have ended, all at once. What takes long here holds up no other job."""
        return await self._do(self._let_go, await self._jobs.claim_ended(limit=self._pace.batch, lease=LEASE))

    async def _do(self, action: Callable[[Claim], Awaitable[None]], claims: list[Claim]) -> bool:
        async def in_hand(claim: Claim) -> None:
            async with self._in_hand(claim):
                await action(claim)

        results = await asyncio.gather(*map(in_hand, claims), return_exceptions=True)
        for claim, result in zip(claims, results, strict=True):
            if isinstance(result, Exception):
                await self._wait_after_failure(claim, result)
            elif isinstance(result, BaseException):
                raise result
        return bool(claims)

    @asynccontextmanager
    async def _in_hand(self, claim: Claim) -> AsyncIterator[None]:
        """Keeps a claim while something that may take long is done about it."""
        renewal = asyncio.create_task(self._renew(claim))
        try:
            yield
        finally:
            renewal.cancel()

    async def _renew(self, claim: Claim) -> None:
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            try:
                await self._jobs.postpone(claim, LEASE, failures=claim.failures)
            except Unavailable:
                log.warning("A claim could not be renewed.", job=str(claim.job_id))

    async def _launch(self, claim: Claim) -> None:
        job = await self._jobs.get(claim.name)
        with tracer.start_as_current_span("launch", links=link_to(job.trace_parent), attributes=_attributes(job)):
            try:
                execution = await self._execution(claim, job)
                handle = await self._backends[claim.backend].launch(execution)
            except LaunchRefused as refusal:
                await self._end(claim, job, None, _failed(refusal.failure))
                return
            except Exception as error:  # noqa: BLE001 - whatever a backend meets, the job is tried again or fails
                await self._wait_after_failure(claim, error, job=job)
                return
            if not await self._jobs.launched(claim, handle):
                # Overtaken: whoever has the job now finds this run, since a launch finds the one before it.
                return
            job_wait.record((datetime.now(UTC) - job.create_time).total_seconds())
            log.info("Launched a job.", job=str(claim.job_id), workspace=claim.workspace, process=job.process_id)

    async def _execution(self, claim: Claim, job: Job) -> Execution:
        revision = await self._revisions.get(job.revision_id)
        inputs: dict[str, Any] = {**(job.request.get("inputs") or {}), **(job.request.get("fetched") or {})}
        package = b""
        if revision.backend != "builtin":
            try:
                package = await self._artifacts.get(revision.package_key)
            except NoSuchArtifact:
                raise LaunchRefused(
                    Failure(
                        reason=FailureReason.BACKEND_FAILED,
                        message="The package of the process is missing from the object store.",
                    )
                ) from None
        return Execution(
            job_id=str(claim.job_id),
            attempt=claim.attempt,
            workspace=claim.workspace,
            process_id=job.process_id,
            package=package,
            workflow_id=revision.workflow_id,
            inputs=await asyncio.to_thread(self._revisions.inputs_of(revision).job_order, inputs),
            limits=self._limits.of(job.calling_workspace),
        )

    async def _look(self, claim: Claim) -> None:
        assert claim.handle is not None
        seen = await self._backends[claim.backend].observe(claim.handle, claim.cursor)
        progress = await self._store_logs(claim, seen)
        if seen.state is RunState.running or not seen.drained:
            due_in = self._pace.look_interval if seen.state is RunState.running else timedelta(0)
            await self._jobs.record(claim, progress, due_in=due_in)
            return
        job = await self._jobs.get(claim.name)
        with tracer.start_as_current_span("end", links=link_to(job.trace_parent), attributes=_attributes(job)):
            await self._end(claim, job, progress, await self._ending(job, seen))

    async def _store_logs(self, claim: Claim, seen: Observation) -> Progress:
        sizes: dict[str, int] = {}
        folder = job_folder(claim.name)
        for chunk in seen.logs:
            # Named by its place, so that storing it twice is storing it once.
            await self._artifacts.put(log_part(folder, chunk.step, chunk.offset), chunk.data)
            sizes[chunk.step] = max(sizes.get(chunk.step, 0), chunk.offset + len(chunk.data))
        return Progress(
            cursor=seen.cursor,
            percent=seen.progress,
            steps=[
                StepChange(step=event.step, state=event.state, time=event.time, exit_code=event.exit_code)
                for event in seen.steps
            ],
            log_sizes=tuple(sizes.items()),
        )

    async def _ending(self, job: Job, seen: Observation) -> Ending:
        match seen.state:
            case RunState.successful:
                try:
                    results = await self._publisher.publish(job.folder, seen.outputs or {}, seen.output_root)
                except PublicationRefused as refusal:
                    return _failed(refusal.failure)
                return Ending(state="successful", message="Done.", results=results)
            case RunState.dismissed:
                return Ending(state="dismissed", message="Dismissed on request.")
            case RunState.lost:
                return _failed(
                    seen.failure
                    or Failure(
                        reason=FailureReason.BACKEND_LOST_JOB,
                        message="The backend has no trace of the job any more; the machine may have been restarted.",
                    )
                )
        return _failed(
            seen.failure
            or Failure(reason=FailureReason.BACKEND_FAILED, message="The backend did not say why the job failed.")
        )

    async def _end(self, claim: Claim, job: Job, progress: Progress | None, ending: Ending) -> None:
        ended = await self._jobs.end(claim, progress, ending)
        if ended is None:
            return
        jobs_ended.add(1, {"workflow_runner.job.state": ended.state})
        if ended.start_time and ended.end_time:
            job_duration.record((ended.end_time - ended.start_time).total_seconds())
        log.info(
            "A job ended.",
            job=str(claim.job_id),
            workspace=claim.workspace,
            process=job.process_id,
            state=ended.state,
            reason=(ended.failure or {}).get("reason"),
        )

    async def _let_go(self, claim: Claim) -> None:
        backend = self._backends[claim.backend]
        handle = claim.handle
        if handle is None and claim.attempt > 0:
            handle = await self._find(claim, backend)
        if handle is not None:
            await backend.dismiss(handle)
        await self._jobs.forget(claim)

    async def _find(self, claim: Claim, backend: Backend) -> str | None:
        """Finds the run of a job that ended while it was being launched: a launch answers the one that is there."""
        try:
            job = await self._jobs.get(claim.name)
            return await backend.launch(await self._execution(claim, job))
        except (LaunchRefused, NotFound):
            return None

    async def _wait_after_failure(self, claim: Claim, error: Exception, *, job: Job | None = None) -> None:
        failures = claim.failures + 1
        if job is not None and failures > MOST_LAUNCH_FAILURES and not isinstance(error, Unavailable):
            log.error("A job could not be launched.", job=str(claim.job_id), exc_info=error)
            failure = Failure(
                reason=FailureReason.BACKEND_FAILED,
                message=f"The job could not be launched in {failures} attempts; the operator finds why in the log.",
            )
            await self._end(claim, job, None, _failed(failure))
            return
        if job is not None and isinstance(error, InvalidArgument):
            # Inputs that passed the check and still make no job order.
            failure = Failure(reason=FailureReason.INPUT_UNAVAILABLE, message=error.message)
            await self._end(claim, job, None, _failed(failure))
            return
        pause = min(timedelta(milliseconds=250) * 2 ** min(failures, 10), LONGEST_PAUSE)
        log.warning(
            "A job will be looked at again.", job=str(claim.job_id), failures=failures, pause=str(pause), exc_info=error
        )
        await self._jobs.postpone(claim, pause, failures=failures)


class LimitsPolicy:
    """What a job of a workspace may use."""

    def __init__(self, limits: Limits, *, network_workspaces: frozenset[str]) -> None:
        """Jobs of `network_workspaces` may reach the network if their package asks; `*` stands for all."""
        self._limits = limits
        self._network_workspaces = network_workspaces

    def of(self, workspace: str) -> Limits:
        """The limits for a job that a workspace called."""
        allowed = bool(self._network_workspaces & {workspace, "*"})
        return Limits(
            cores=self._limits.cores,
            memory_mib=self._limits.memory_mib,
            time=self._limits.time,
            output_mib=self._limits.output_mib,
            files=self._limits.files,
            processes=self._limits.processes,
            network=allowed,
        )


def _failed(failure: Failure) -> Ending:
    document: dict[str, Any] = {"reason": failure.reason.value, "message": failure.message}
    if failure.step is not None:
        document["step"] = failure.step
    if failure.exit_code is not None:
        document["exit_code"] = failure.exit_code
    if failure.log_tail:
        document["log_tail"] = list(failure.log_tail)
    return Ending(state="failed", message=failure.message, failure=document)


def _attributes(job: Job) -> dict[str, str]:
    return {
        "workflow_runner.workspace": job.workspace,
        "workflow_runner.job.id": str(job.job_id),
        "workflow_runner.process.id": job.process_id,
    }
