"""What went wrong during a run, in our reasons and in words a person understands."""

import errno
import logging
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from cwl_utils.errors import JavascriptException
from cwltool.errors import UnsupportedRequirement, WorkflowException

from services.submission.backends import Failure, FailureReason
from services.submission.cwl.names import decoded

from .access import OUTSIDE, REFUSALS
from .excess import EXCESSES, Excess
from .journal import Journal
from .measuring import count_entries

MISSING_OUTPUT = "Did not find output file"
MISFIT = "Invalid job input record"
MISFITS = (MISFIT, "Missing required input parameter", "missing required parameter")
KINDS_OF_VALUES = {
    **dict.fromkeys(
        (
            "SingleQuotedScalarString",
            "DoubleQuotedScalarString",
            "LiteralScalarString",
            "FoldedScalarString",
            "PlainScalarString",
            "ScalarString",
        ),
        "string",
    ),
    **dict.fromkeys(("ScalarFloat", "ScalarInt", "HexInt", "OctalInt", "BinaryInt"), "number"),
    "ScalarBoolean": "boolean",
    "CommentedMap": "object",
    "CommentedSeq": "list",
}
"""The classes in which the library that reads YAML keeps values, as a person calls those."""
CLASSES_OF_VALUES = re.compile(rf"\b({'|'.join(KINDS_OF_VALUES)})\b")
EXPRESSION_ERRORS = ("Expression evaluation error", "Syntax error in parameter reference", "does not contain key")


class ResourcesRefusedError(UnsupportedRequirement):
    """A step asks for more than the job may use; the message says of what."""


@dataclass(kw_only=True)
class Report:
    """What the hooks share during one run."""

    journal: Journal
    cores: float
    memory_mib: int
    limits_steps: bool
    """Whether each step must be held to the memory of the job, since the run as a whole is not."""
    allowed_files: int
    """How many files and directories the steps may leave, all together."""
    network_refused: str = ""
    """Why the job has no network although the package asks for it; empty when it has, or does not ask."""
    failures: list[Failure] = field(default_factory=list)
    local: threading.local = field(default_factory=threading.local)
    left_files: int = 0
    """How many files and directories lie in the working directories of the steps that have ended."""
    counting: threading.Lock = field(default_factory=threading.Lock)

    def count_files(self, step: str, directory: str, temporary: str, exit_code: int) -> None:
        """Counts what a step made before its temporary files go; fails the step, and raises, when that is too much.

        Whoever measures the run from outside may be too late for what is made and removed within seconds.
        """
        left, passing = (count_entries(place, self.allowed_files) for place in (directory, temporary))
        with self.counting:
            self.left_files += left
            made = self.left_files + passing
        if made > self.allowed_files:
            message = EXCESSES[Excess.files].format(files=self.allowed_files)
            self.fail(FailureReason.OUTPUT_LIMIT_EXCEEDED, message, step, exit_code)
            raise WorkflowException(message)

    def listen(self, step: str | None = None) -> list[str]:
        """Starts to keep what the engine says on this thread went wrong; from now on it works for that step."""
        lines: list[str] = []
        self.local.lines, self.local.step = lines, step
        return lines

    def stop_listening(self) -> None:
        """The step on this thread is over."""
        self.local.lines = self.local.step = None

    def fail(self, reason: FailureReason, message: str, step: str | None = None, exit_code: int | None = None) -> None:
        """Notes a failure; the first one noted is why the run failed."""
        self.failures.append(Failure(reason=reason, message=message, step=step, exit_code=exit_code))

    def fail_with(self, error: BaseException, step: str | None) -> None:
        """Notes a failure that the engine raised."""
        reason = reason_of(error)
        if reason is FailureReason.INPUT_UNAVAILABLE and step is None and self.journal.ended:
            reason = FailureReason.OUTPUT_REFUSED
        text = summary(error)
        place = f"Step {step}" if step else "The process"
        if isinstance(error, UnsupportedRequirement) and "DockerRequirement" in str(error):
            message = f"{place} requires a container (DockerRequirement), and no container engine is configured."
        elif isinstance(error, ResourcesRefusedError):
            message = f"{place} asks for {text}"
        elif reason is FailureReason.UNSUPPORTED_FEATURE:
            message = f"{place} needs a feature that is not supported: {text}"
        elif reason is FailureReason.EXPRESSION_FAILED:
            message = f"An expression of step {step} failed: {text}" if step else f"An expression failed: {text}"
        elif reason is FailureReason.OUTPUT_REFUSED:
            message = f"The outputs cannot be handed out: {text}"
        elif reason is FailureReason.STORAGE_FULL:
            message = f"{place} met a full disk. Try again later; the operator can make room."
        elif reason is FailureReason.OUTPUT_LIMIT_EXCEEDED:
            message = f"{place} made a file larger than the output the job may have."
        elif any(mark in str(error) for mark in MISFITS):
            message = f"The inputs do not fit: {text}"
        elif step is None:
            message = f"The package cannot be run: {text}"
        else:
            message = f"{place} could not be prepared: {text}"
        self.fail(reason, message, step)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def reason_of(error: BaseException) -> FailureReason:
    """Which of our reasons an error of the engine stands for."""
    texts = [str(one) for one in chain(error)]
    numbers = [one.errno for one in chain(error) if isinstance(one, OSError)]
    if any(number in (errno.ENOSPC, errno.EDQUOT) for number in numbers):
        return FailureReason.STORAGE_FULL
    if errno.EFBIG in numbers:
        return FailureReason.OUTPUT_LIMIT_EXCEEDED
    if fault_of_a_file(error) is not None:
        return FailureReason.OUTPUT_REFUSED
    if any(isinstance(one, UnsupportedRequirement) for one in chain(error)):
        return FailureReason.UNSUPPORTED_FEATURE
    if any(mark in text for text in texts for mark in REFUSALS):
        return FailureReason.OUTPUT_REFUSED
    if any(OUTSIDE in text for text in texts):
        return FailureReason.INPUT_UNAVAILABLE
    if any(isinstance(one, JavascriptException) for one in chain(error)):
        return FailureReason.EXPRESSION_FAILED
    if any(mark in text for text in texts for mark in EXPRESSION_ERRORS):
        return FailureReason.EXPRESSION_FAILED
    if any(MISSING_OUTPUT in text for text in texts):
        return FailureReason.OUTPUT_MISSING
    if any(mark in text for text in texts for mark in MISFITS):
        return FailureReason.INPUT_UNAVAILABLE
    return FailureReason.INVALID_PACKAGE


def fault_of_a_file(error: BaseException) -> str | None:
    """What is wrong with a file that the run left, where that is what an error is about."""
    for one in chain(error):
        if isinstance(one, OSError) and isinstance(one.filename, str) and "/work/" in one.filename:
            if os.path.islink(one.filename) and not os.path.exists(one.filename):
                return f"{one.filename} is a link that leads nowhere."
            return f"{one.filename} cannot be read ({one.strerror})."
    return None


def summary(error: BaseException) -> str:
    """The gist of an error in one line, without the places of files."""
    fault = fault_of_a_file(error)
    if fault is not None:
        return fault
    text = CLASSES_OF_VALUES.sub(lambda found: KINDS_OF_VALUES[found[1]], str(error))
    text = re.sub(r"\x1b\[[0-9;]*[a-zA-Z]", "", decoded(text))
    text = re.sub(r"(?m)^\s*(\S*:)?\d+:\d+:\s*", "", text)
    text = re.sub(r"file://\S*/", "", text)
    text = " ".join(text.split())
    text = text if len(text) <= 400 else text[:400] + "…"
    return text if text.endswith((".", "!", "?", "…")) else text + "."


class LogOfErrors(logging.Handler):
    """Keeps what the engine says went wrong on each thread, for the step that runs there."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        lines: list[str] | None = getattr(self._report.local, "lines", None)
        said = record.getMessage()
        # What the checker finds odd before anything runs is no reason why something failed.
        if lines is not None and len(lines) < 50 and not said.startswith("Workflow checker warning"):
            lines.append(f"{said}: {record.exc_info[1]}" if record.exc_info and record.exc_info[1] else said)
