"""Ends jobs: what their rows say then, and what is counted and logged."""

from typing import Any

import structlog

from services.records.jobs import Job
from services.shared.errors import Unavailable
from services.shared.storable import readable
from services.shared.telemetry import job_duration, jobs_ended
from services.submission.backends import Failure, FailureReason
from services.submission.dispatch.patience import cause, first_fault
from services.submission.dispatch.progress import Ending, Progress
from services.submission.dispatch.queue import Claim, Queue
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_STORAGE_FULL

log = structlog.get_logger()

LONGEST_MESSAGE = 2_000
LONGEST_LINE = 1_000
MOST_LINES = 20
MOST_CODE = 2**31 - 1


def failed(failure: Failure) -> Ending:
    """The end of a job that failed, in words that can be kept."""
    message = readable(failure.message)[:LONGEST_MESSAGE] or "The job failed."
    document: dict[str, Any] = {"reason": failure.reason.value, "message": message}
    if failure.step is not None:
        document["step"] = readable(failure.step)
    if failure.exit_code is not None and abs(failure.exit_code) <= MOST_CODE:
        document["exit_code"] = failure.exit_code
    if failure.log_tail:
        document["log_tail"] = [readable(line)[:LONGEST_LINE] for line in failure.log_tail[-MOST_LINES:]]
    return Ending(state="failed", message=message, failure=document)


def given_up(what: str, claim: Claim, error: BaseException) -> Ending:
    """The end of a job that something failed once too often for, such as `to store what the job left`."""
    first = first_fault(error)
    full = isinstance(first, Unavailable) and first.reason == ERROR_REASON_STORAGE_FULL
    reason = FailureReason.STORAGE_FULL if full else FailureReason.BACKEND_FAILED
    return failed(Failure(reason=reason, message=f"{what[0].upper()}{what[1:]} {cause(first, claim)}"))


class Finisher:
    """Records the ends of jobs."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def end(
        self, claim: Claim, ending: Ending, *, progress: Progress | None = None, discard: str | None = None
    ) -> Job | None:
        """Ends a job; see Queue.end."""
        job = await self._queue.end(claim, progress, ending, discard=discard)
        if job is None:
            return None
        jobs_ended.add(1, {"workflow_runner.job.state": job.state})
        if job.start_time and job.end_time:
            job_duration.record((job.end_time - job.start_time).total_seconds())
        log.info(
            "A job ended.",
            job=str(claim.job_id),
            workspace=claim.workspace,
            process=job.process_id,
            state=job.state,
            reason=(job.failure or {}).get("reason"),
        )
        return job


def attributes(job: Job) -> dict[str, str]:
    """What a span says of a job."""
    return {
        "workflow_runner.workspace": job.workspace,
        "workflow_runner.job.id": str(job.job_id),
        "workflow_runner.process.id": job.process_id,
    }
