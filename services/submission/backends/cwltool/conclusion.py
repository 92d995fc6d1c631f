"""What there is to say about a run: where it stands, what is new, and in the end why it ended as it did."""

import dataclasses
import re
import signal
from pathlib import Path
from typing import Any

from services.submission.backends import Failure, FailureReason, Observation, RunState

from . import reading
from .cgroups import MIB
from .directory import is_locked
from .excess import EXCESSES, OPERATOR_LIMIT, Excess
from .measuring import DEEPEST, LARGEST_LOGS, MOST_DESCRIPTORS, stored_beyond
from .supervisor import Plan, Verdict

INTERRUPTED = "The job was interrupted: the machine was restarted, or its processes were ended from outside."


def observe(run: Path, cursor: reading.Cursor) -> Observation:
    """Looks at a run; see Backend.observe."""
    verdict = Verdict.read(run)
    if verdict is None and not is_locked(run):
        verdict = Verdict.read(run)
        if verdict is None:
            return _lost(run, cursor)
    box = run / "box"
    plan = _plan(run)
    most_logs = min(plan.output_bytes, LARGEST_LOGS) if plan is not None else LARGEST_LOGS
    piece = reading.read_on(box, cursor, final=verdict is not None, most_logs=most_logs)
    state, outputs, failure = RunState.running, None, None
    if verdict is not None:
        state, outputs, failure = conclude(run, plan, verdict, cursor)
        if failure is not None:
            failure = dataclasses.replace(failure, message=without_paths(failure.message, box))
        if state is RunState.successful:
            cursor.progress = 100
    return Observation(
        state=state,
        progress=cursor.progress,
        steps=piece.steps,
        logs=piece.logs,
        outputs=outputs,
        output_root=box / "work" / "outputs" if outputs is not None else None,
        failure=failure,
        cursor=str(cursor),
        drained=piece.drained,
    )


def without_paths(message: str, box: Path) -> str:
    """A message in which files are named as the job knows them, not as this machine does."""
    for place in (box.as_uri(), str(box)):
        message = re.sub(rf"{re.escape(place)}/work/steps/[^/\s]+/", "", message)
        for inner in ("/work/outputs/", "/work/", "/inputs/", "/"):
            message = message.replace(place + inner, "")
    return message


def _lost(run: Path, cursor: reading.Cursor) -> Observation:
    piece = reading.read_on(run / "box", cursor, final=True)
    message = INTERRUPTED if run.exists() else "Nothing is left of the run of this job."
    return Observation(
        state=RunState.lost,
        progress=cursor.progress,
        steps=piece.steps,
        logs=piece.logs,
        outputs=None,
        output_root=None,
        failure=Failure(reason=FailureReason.BACKEND_LOST_JOB, message=message, step=cursor.cut),
        cursor=str(cursor),
        drained=piece.drained,
    )


def _plan(run: Path) -> Plan | None:
    """None when a crash of the machine left none that can be read."""
    try:
        return Plan.read(run)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def conclude(
    run: Path, plan: Plan | None, verdict: Verdict, cursor: reading.Cursor
) -> tuple[RunState, dict[str, Any] | None, Failure | None]:
    """The end of a run, from what was seen from outside and, after that, from what the worker says."""
    if verdict.terminated:
        if (run / "dismissed").exists():
            return RunState.dismissed, None, None
        return RunState.lost, None, Failure(reason=FailureReason.BACKEND_LOST_JOB, message=INTERRUPTED, step=cursor.cut)
    if plan is None:
        message = "What is kept of the run of this job cannot be read; the machine may have been restarted."
        return RunState.lost, None, Failure(reason=FailureReason.BACKEND_LOST_JOB, message=message, step=cursor.cut)
    box = run / "box"
    try:
        result = reading.read_result(box) or {}
        if verdict.exit_code == 0 and verdict.excess is None and "outputs" in result:
            outputs = reading.check_outputs(result["outputs"], box / "work" / "outputs")
            if verdict.written_bytes + stored_beyond(outputs) <= plan.output_bytes:
                return RunState.successful, outputs, None
            message = (
                "The outputs are too large to be stored: with what else the job wrote they take more than the "
                f"{plan.output_bytes // MIB} MiB it may use. {OPERATOR_LIMIT.format(setting='OUTPUT_MIB')}"
            )
            return RunState.failed, None, Failure(reason=FailureReason.OUTPUT_LIMIT_EXCEEDED, message=message)
    except reading.OutputsRefusedError as error:
        return RunState.failed, None, Failure(reason=FailureReason.OUTPUT_REFUSED, message=str(error))
    failure = explain(plan, verdict, reading.failure_from(result.get("failure")), cursor.cut)
    if failure.step is not None:
        failure = with_log(failure, reading.tail(box, failure.step), plan, verdict)
    elif failure.reason is FailureReason.BACKEND_FAILED:
        lines = tuple(without_paths(line, box) for line in reading.tail_of(run, "engine.log"))
        failure = dataclasses.replace(failure, log_tail=lines)
    return RunState.failed, None, failure


def explain(plan: Plan, verdict: Verdict, told: Failure | None, cut: str | None) -> Failure:
    """Why a run failed: a limit first, then what the worker says."""
    step = told.step if told is not None and told.step is not None else cut
    subject = f"Step {step}" if step is not None else "The job"
    code = told.exit_code if told is not None else None
    if verdict.timed_out:
        message = f"The job was ended after {_duration(plan.seconds)}, the longest it may take."
        return Failure(reason=FailureReason.TIME_LIMIT_EXCEEDED, message=message, step=step)
    if verdict.excess is not None:
        message = EXCESSES[Excess(verdict.excess)].format(
            mib=plan.output_bytes // MIB, files=plan.files, depth=DEEPEST, descriptors=MOST_DESCRIPTORS
        )
        full = verdict.excess == Excess.disk
        reason = FailureReason.STORAGE_FULL if full else FailureReason.OUTPUT_LIMIT_EXCEEDED
        return Failure(reason=reason, message=message, step=step)
    if verdict.out_of_memory > 0:
        message = f"{subject} needed more than the {plan.memory_bytes // MIB} MiB of memory the job may use."
        return Failure(reason=FailureReason.MEMORY_EXCEEDED, message=message, step=step, exit_code=code)
    if told is not None:
        return told
    if verdict.error is not None:
        return Failure(reason=FailureReason.BACKEND_FAILED, message=f"The sandbox did not start: {verdict.error}.")
    if verdict.stalled:
        message = (
            f"The job was ended since {'step ' + cut if cut else 'it'} stopped the engine that runs the steps, or all "
            "processes of the job (SIGSTOP, or tracing), and nothing would have gone on."
        )
        return Failure(reason=FailureReason.STEP_FAILED, message=message, step=cut)
    number = (verdict.exit_code or 0) - 128
    if number in set(signal.Signals):
        other = "" if verdict.counts_memory else ", or the machine did for want of memory"
        message = (
            f"The engine that runs the steps was ended by signal {signal.Signals(number).name}: "
            f"probably {'step ' + cut if cut else 'a process of the job'} did that{other}."
        )
        return Failure(reason=FailureReason.STEP_FAILED, message=message, step=cut)
    message = f"The engine ended without a result (exit code {verdict.exit_code})."
    return Failure(reason=FailureReason.BACKEND_FAILED, message=message)


def with_log(failure: Failure, lines: tuple[str, ...], plan: Plan, verdict: Verdict) -> Failure:
    """The failure with the last lines of its step, which may tell a limit from an ordinary failure."""
    changed: dict[str, Any] = {"log_tail": lines}
    last = "\n".join(lines[-3:])
    if failure.reason is FailureReason.STEP_FAILED and "MemoryError" in last:
        changed["reason"] = FailureReason.MEMORY_EXCEEDED
        changed["message"] = f"Step {failure.step} ran out of memory (exit code {failure.exit_code})."
    elif failure.reason is FailureReason.STEP_FAILED and (
        failure.exit_code == 128 + signal.SIGXFSZ or "File too large" in last
    ):
        changed["reason"] = FailureReason.OUTPUT_LIMIT_EXCEEDED
        changed["message"] = f"Step {failure.step} wrote a file larger than the output the job may have."
    elif failure.reason is FailureReason.STEP_FAILED and "No space left on device" in last:
        if verdict.disk_full:
            changed["reason"] = FailureReason.STORAGE_FULL
            changed["message"] = f"Step {failure.step} met a full disk. Try again later; the operator can make room."
        else:
            changed["reason"] = FailureReason.OUTPUT_LIMIT_EXCEEDED
            changed["message"] = (
                f"Step {failure.step} found no room left, though the disk has some: /tmp and /dev/shm hold no more "
                f"than the {plan.memory_bytes // MIB} MiB of memory that the job may use. Write to the working "
                "directory."
            )
    return dataclasses.replace(failure, **changed)


def _duration(seconds: float) -> str:
    if seconds >= 120:
        return f"{seconds / 60:g} minutes"
    return "1 second" if seconds == 1 else f"{seconds:g} seconds"
