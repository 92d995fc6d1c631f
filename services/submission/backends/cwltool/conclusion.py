"""What there is to say about a run: where it stands, what is new, and in the end why it ended as it did."""

import dataclasses
import signal
from pathlib import Path
from typing import Any

from services.submission.backends import Failure, FailureReason, Observation, RunState

from . import reading
from .cgroups import MIB
from .directory import is_locked
from .supervisor import Plan, read_record

INTERRUPTED = "The job was interrupted: the machine was restarted, or its processes were ended from outside."


def observe(run: Path, cursor: reading.Cursor) -> Observation:
    """Looks at a run; see Backend.observe."""
    verdict = read_record(run / "verdict.json")
    if verdict is None and not is_locked(run):
        verdict = read_record(run / "verdict.json")
        if verdict is None:
            return _lost(run, cursor)
    box = run / "box"
    piece = reading.read_on(box, cursor, final=verdict is not None)
    state, outputs, failure = RunState.running, None, None
    if verdict is not None:
        state, outputs, failure = conclude(run, verdict, cursor)
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


def conclude(
    run: Path, verdict: dict[str, Any], cursor: reading.Cursor
) -> tuple[RunState, dict[str, Any] | None, Failure | None]:
    """The end of a run, from what was seen from outside and, after that, from what the worker says."""
    if verdict["terminated"]:
        if (run / "dismissed").exists():
            return RunState.dismissed, None, None
        return RunState.lost, None, Failure(reason=FailureReason.BACKEND_LOST_JOB, message=INTERRUPTED, step=cursor.cut)
    box = run / "box"
    try:
        result = reading.read_result(box) or {}
        if verdict["exit_code"] == 0 and "outputs" in result:
            return RunState.successful, reading.check_outputs(result["outputs"], box / "work" / "outputs"), None
    except reading.OutputsRefusedError as error:
        return RunState.failed, None, Failure(reason=FailureReason.OUTPUT_REFUSED, message=str(error))
    failure = explain(Plan.read(run), verdict, reading.failure_from(result.get("failure")), cursor.cut)
    if failure.step is not None:
        failure = with_log(failure, reading.tail(box, failure.step))
    return RunState.failed, None, failure


def explain(plan: Plan, verdict: dict[str, Any], told: Failure | None, cut: str | None) -> Failure:
    """Why a run failed: a limit first, then what the worker says."""
    step = told.step if told is not None and told.step is not None else cut
    subject = f"Step {step}" if step is not None else "The job"
    code = told.exit_code if told is not None else None
    if verdict["timed_out"]:
        message = f"The job was ended after {_duration(plan.seconds)}, the longest it may take."
        return Failure(reason=FailureReason.TIME_LIMIT_EXCEEDED, message=message, step=step)
    if verdict["too_much_output"]:
        message = f"The job was ended since its files take more than the {plan.output_bytes // MIB} MiB it may use."
        return Failure(reason=FailureReason.OUTPUT_LIMIT_EXCEEDED, message=message, step=step)
    if verdict["out_of_memory"] > 0:
        message = f"{subject} needed more than the {plan.memory_bytes // MIB} MiB of memory the job may use."
        return Failure(reason=FailureReason.MEMORY_EXCEEDED, message=message, step=step, exit_code=code)
    if told is not None:
        return told
    if verdict["error"] is not None:
        return Failure(reason=FailureReason.BACKEND_FAILED, message=f"The sandbox did not start: {verdict['error']}.")
    message = f"The engine ended without a result (exit code {verdict['exit_code']})."
    return Failure(reason=FailureReason.BACKEND_FAILED, message=message, step=cut)


def with_log(failure: Failure, lines: tuple[str, ...]) -> Failure:
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
    return dataclasses.replace(failure, **changed)


def _duration(seconds: float) -> str:
    if seconds >= 120:
        return f"{seconds / 60:g} minutes"
    return "1 second" if seconds == 1 else f"{seconds:g} seconds"
