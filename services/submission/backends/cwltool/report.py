"""What went wrong during a run, in our reasons and in words a person understands."""

import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from cwl_utils.errors import JavascriptException
from cwltool.errors import UnsupportedRequirement

from services.submission.backends import Failure, FailureReason

from .access import OUTSIDE, REFUSALS
from .journal import Journal

MISSING_OUTPUT = "Did not find output file"
MISFITS = ("Invalid job input record", "Missing required input parameter", "missing required parameter")
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
    failures: list[Failure] = field(default_factory=list)
    local: threading.local = field(default_factory=threading.local)

    def listen(self) -> list[str]:
        """Starts to keep what the engine says on this thread went wrong."""
        lines: list[str] = []
        self.local.lines = lines
        return lines

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


def summary(error: BaseException) -> str:
    """The gist of an error in one line, without the places of files."""
    text = re.sub(r"\x1b\[[0-9;]*[a-zA-Z]", "", str(error))
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
        if lines is not None and len(lines) < 50:
            lines.append(record.getMessage())
