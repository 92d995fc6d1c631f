"""Processes and jobs as pages show them, made of the messages that programs get."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from google.protobuf.timestamp_pb2 import Timestamp

from services.web.words import FAILURES, log_text
from workflow_runner.v1.job_pb2 import Job, JobFailure, JobStep
from workflow_runner.v1.process_pb2 import Process

VISIBILITIES = {
    "private": ("Private", "Only members of this workspace see it."),
    "shared": ("Shared", "Members of this workspace see it, and those it is shared with."),
    "public": ("Public", "Everybody with a token may execute it; a job belongs to the workspace of its caller."),
    "user_service": ("User service", "Everybody with a token may execute it; this workspace pays for the jobs."),
}


@dataclass(frozen=True, kw_only=True)
class ProcessView:
    """A process."""

    process_id: str
    title: str
    description: str
    version: str
    visibility: str
    visibility_note: str
    keywords: tuple[str, ...]
    revision: int
    digest: str
    create_time: datetime | None
    mutable: bool

    @classmethod
    def of(cls, process: Process) -> Self:
        """Reads a message."""
        visibility, note = VISIBILITIES.get(Process.Visibility.Name(process.visibility), ("", ""))
        return cls(
            process_id=process.process_id,
            title=process.title or process.process_id,
            description=process.description.strip(),
            version=process.version,
            visibility=visibility if process.mutable else "Built in",
            visibility_note=note if process.mutable else "It is part of every workspace.",
            keywords=tuple(process.keywords),
            revision=process.revision,
            digest=process.digest,
            create_time=_moment(process, "create_time"),
            mutable=process.mutable,
        )


@dataclass(frozen=True, kw_only=True)
class StepView:
    """A step of a job."""

    step: str
    state: str
    start_time: datetime | None
    end_time: datetime | None
    exit_code: int | None

    @classmethod
    def of(cls, step: JobStep) -> Self:
        """Reads a message."""
        return cls(
            step=step.step,
            state=JobStep.State.Name(step.state),
            start_time=_moment(step, "start_time"),
            end_time=_moment(step, "end_time"),
            exit_code=step.exit_code if step.HasField("exit_code") else None,
        )

    @property
    def lasted(self) -> timedelta | None:
        """How long it took, or has been running for."""
        return _lasted(self.start_time, self.end_time)


@dataclass(frozen=True, kw_only=True)
class FailureView:
    """Why a job failed."""

    title: str
    advice: str
    reason: str
    message: str
    step: str
    exit_code: int | None
    log_tail: str

    @classmethod
    def of(cls, failure: JobFailure) -> Self:
        """Reads a message."""
        reason = JobFailure.Reason.Name(failure.reason)
        title, advice = FAILURES.get(reason, ("The job failed", ""))
        return cls(
            title=title,
            advice=advice,
            reason=reason,
            message=failure.message,
            step=failure.step,
            exit_code=failure.exit_code if failure.HasField("exit_code") else None,
            log_tail=log_text("\n".join(failure.log_tail).encode("utf-8", "replace")),
        )


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job."""

    job_id: str
    process_id: str
    state: str
    message: str
    progress: int | None
    create_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    revision: int
    digest: str
    calling_workspace: str
    owner: str
    attempt: int
    failure: FailureView | None
    steps: tuple[StepView, ...]

    @classmethod
    def of(cls, job: Job) -> Self:
        """Reads a message."""
        return cls(
            job_id=job.job_id,
            process_id=job.process_id,
            state=Job.State.Name(job.state),
            message=job.message,
            progress=job.progress if job.HasField("progress") else None,
            create_time=_moment(job, "create_time"),
            start_time=_moment(job, "start_time"),
            end_time=_moment(job, "end_time"),
            revision=job.revision,
            digest=job.digest,
            calling_workspace=job.calling_workspace,
            owner=job.owner,
            attempt=job.attempt,
            failure=FailureView.of(job.failure) if job.HasField("failure") else None,
            steps=tuple(StepView.of(step) for step in job.steps),
        )

    @property
    def short_id(self) -> str:
        """The end of the id, which tells jobs apart at a glance: ids begin with the time."""
        return self.job_id[-12:]

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("successful", "failed", "dismissed")

    @property
    def lasted(self) -> timedelta | None:
        """How long it took, or has been running for."""
        return _lasted(self.start_time, self.end_time)


def _moment(message: Job | JobStep | Process, field: str) -> datetime | None:
    if not message.HasField(field):
        return None
    timestamp: Timestamp = getattr(message, field)
    return timestamp.ToDatetime(tzinfo=UTC)


def _lasted(start: datetime | None, end: datetime | None) -> timedelta | None:
    return (end or datetime.now(UTC)) - start if start else None
