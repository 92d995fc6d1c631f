"""The tools of a package as cwltool runs them, told to report: each run is a step with its events and its reason."""

# ruff: noqa: N802, N803 - the names of methods and arguments are those of the engine

import contextlib
import functools
import json
import math
import os
import re
import signal
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any, cast

from cwltool.command_line_tool import CommandLineTool, ExpressionJob, ExpressionTool
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.job import CommandLineJob, JobBase
from cwltool.process import Process
from cwltool.utils import normalizeFilesDirs
from schema_salad.avro.schema import NamedSchema, RecordSchema
from schema_salad.exceptions import ValidationException

from services.shared.keys import shown
from services.submission.backends import FailureReason
from services.submission.cwl.names import decoded

from .confinement import limit_address_space
from .declared import ANY, Judged, OutputMisfitError, declaration, declared_outputs, some
from .report import Report, ResourcesRefusedError, reason_of, summary

MIB = 1 << 20
OUTPUT_ERROR = re.compile(r"Error collecting output for parameter '([^'\n]{1,200})':\s*(?:\S*\d+:\d+:\s*)?")
NUL_ARGUMENT = "embedded null byte"
MISSING_PROGRAM = re.compile(r"'(?P<program>[^'\n]{1,200})' not found: ")


class StepJob(CommandLineJob):
    """One run of a command line tool: its own log, its events, its exit code."""

    report: Report
    wanted: str
    declared: RecordSchema
    step: str
    image: str | None = None
    """The container image that the package hints at for this step, and that is not run."""
    exit_code: int | None = None
    began: float = 0.0
    misfit: OutputMisfitError | None = None
    """What of the outputs is not as declared, where that is why the step failed."""

    def run(self, runtimeContext: RuntimeContext, tmpdir_lock: Any = None) -> None:
        report = self.report
        self.began = time.monotonic()
        self.step = report.journal.name(self.wanted)
        report.journal.begin(self.step)
        lines = report.listen(self.step)
        collect, callback = self.collect_outputs, self.output_callback

        def collect_outputs(outdir: str, exit_code: int) -> Any:
            self.exit_code = exit_code if exit_code >= 0 else 128 - exit_code
            report.count_files(self.step, outdir, self.tmpdir, self.exit_code)
            try:
                outputs, others = declared_outputs(self.declared, collect(outdir, exit_code))
            except OutputMisfitError as error:
                self.misfit = error
                raise
            tell_left_out(report, self.step, "cwl.output.json", others)
            return outputs

        def ended(outputs: Any, status: str) -> None:
            if status == "success":
                report.journal.end(self.step, "successful", self.exit_code)
            else:
                self._explain(lines)
                report.journal.end(self.step, "failed", self.exit_code)
            if callback is not None:
                callback(outputs, status)

        self.collect_outputs = cast(Any, collect_outputs)
        self.output_callback = ended
        log = report.journal.open_log(self.step)
        context = runtimeContext.copy()
        context.default_stdout = context.default_stderr = log
        try:
            super().run(context, tmpdir_lock)
        except Exception as error:
            report.fail_with(error, self.step)
            report.journal.end(self.step, "failed")
            raise
        finally:
            log.close()
            report.stop_listening()

    def process_monitor(self, sproc: Any) -> None:
        if self.report.limits_steps:
            limit_address_space(sproc.pid, self.report.memory_mib * MIB)
        sproc.wait()

    def _explain(self, lines: list[str]) -> None:
        text = "\n".join(lines)
        step, code = self.step, self.exit_code
        missing = MISSING_PROGRAM.search(text)
        if code is None and missing:
            message = f"Step {step} could not start: there is no program {os.path.basename(missing['program'])} here."
            self.report.fail(FailureReason.STEP_FAILED, message + self._lacking(), step)
        elif code is None and NUL_ARGUMENT in text:
            message = (
                f"Step {step} could not start: an argument, a variable or a file name of its command line has the "
                "character U+0000, which no program can be given."
            )
            self.report.fail(FailureReason.STEP_FAILED, message, step)
        elif code not in {None, 0, *self.successCodes} and self._overdue:
            message = (
                f"Step {step} was ended after {self.timelimit} s, the longest that the package lets it take "
                "(ToolTimeLimit). Whoever deployed it can allow more."
            )
            self.report.fail(FailureReason.TIME_LIMIT_EXCEEDED, message, step, code)
        elif code is not None and code not in {0, *self.successCodes}:
            message = f"Step {step} ended with exit code {code}."
            if code > 128 and code - 128 in set(signal.Signals):
                message = f"Step {step} was ended by signal {signal.Signals(code - 128).name} (exit code {code})."
            self.report.fail(FailureReason.STEP_FAILED, message + self._lacking(), step, code)
        elif self.misfit is not None:
            self.report.fail(self.misfit.reason, ended_well(step, self.misfit) + self._lacking(), step, code)
        else:
            error = WorkflowException(cause_of(lines).replace(f"[job {self.name}] Job error:", ""))
            reason = reason_of(error)
            if reason is FailureReason.INPUT_UNAVAILABLE and code is not None:
                reason = FailureReason.OUTPUT_REFUSED
            if reason is FailureReason.INVALID_PACKAGE:
                reason = FailureReason.STEP_FAILED if code is None else FailureReason.OUTPUT_REFUSED
            what = "could not be run" if code is None else "ended well, but its outputs could not be collected"
            if reason is FailureReason.OUTPUT_MISSING:
                what = "ended well, but an output is missing"
            self.report.fail(reason, f"Step {step} {what}: {summary(error)}{self._lacking()}", step, code)

    @property
    def _overdue(self) -> bool:
        return bool(self.timelimit) and time.monotonic() - self.began >= cast(int, self.timelimit)

    def _lacking(self) -> str:
        """What the package names for this step and the step did not have, which may be why it failed."""
        lacking = ""
        if self.image is not None:
            lacking += f" The package names the image {self.image} for it, which this installation does not run."
        if self.networkaccess and self.report.network_refused:
            lacking += f" The package asks for the network, and {self.report.network_refused}."
        return lacking


def cause_of(lines: list[str]) -> str:
    """What of the engine's lines tells why a step failed: of several about one output, the one that names it."""
    named = [line for line in lines if OUTPUT_ERROR.search(line)]
    kept = named[-1:] or [line for line in lines if not line.endswith(("permanentFail", "temporaryFail"))] or lines
    return OUTPUT_ERROR.sub(r"output \1: ", "\n".join(kept))


def ended_well(step: str, misfit: OutputMisfitError) -> str:
    """Tells that a step did its work, and which of its outputs is not as declared."""
    return f"Step {step} ended well, but {misfit}."


def nowhere(error: ValidationException) -> OutputMisfitError:
    """Tells what is wrong with a file or directory of an output that the engine cannot find a place for."""
    text = summary(error)
    if text.startswith("Anonymous file"):
        return OutputMisfitError("a file in its outputs has neither a location nor contents")
    if text.startswith("Anonymous directory"):
        return OutputMisfitError("a directory in its outputs has no location and lacks a listing or a basename")
    return OutputMisfitError(f"an output cannot be handed out: {text.rstrip('.')}")


def tell_left_out(report: Report, step: str, where: str, names: list[str]) -> None:
    """Tells in the log of a step what it gave beside what its tool declares."""
    if names:
        told = some([shown(name) for name in names])
        line = f"[{where} has what the tool does not declare as an output, and that is left out: {told}]\n"
        with report.journal.open_log(step) as log:
            log.write(line.encode())


class StepExpressionJob(ExpressionJob):
    """One run of an expression tool, which is a step like any other."""

    report: Report
    wanted: str
    declared: RecordSchema
    step: str

    def run(self, runtimeContext: RuntimeContext, tmpdir_lock: Any = None) -> None:
        report = self.report
        self.step = report.journal.name(self.wanted)
        report.journal.begin(self.step)
        report.listen(self.step)
        outputs: dict[str, Any] = {}
        ended = False
        try:
            outputs = self._evaluate()
            ended = True
        except OutputMisfitError as misfit:
            report.fail(misfit.reason, ended_well(self.step, misfit), self.step)
        except WorkflowException as error:
            message = f"An expression of step {self.step} failed: {summary(error)}"
            report.fail(FailureReason.EXPRESSION_FAILED, message, self.step)
        finally:
            report.stop_listening()
        report.journal.end(self.step, "successful" if ended else "failed")
        if self.output_callback is not None:
            self.output_callback(cast(Any, outputs), "success" if ended else "permanentFail")

    def _evaluate(self) -> dict[str, Any]:
        normalizeFilesDirs(cast(Any, self.builder.job))
        outputs, others = declared_outputs(self.declared, self.builder.do_eval(self.script))
        try:
            normalizeFilesDirs(outputs)
        except ValidationException as error:
            raise nowhere(error) from error
        tell_left_out(self.report, self.step, "The value of the expression", others)
        return outputs


@contextlib.contextmanager
def attributed(process: Process, context: RuntimeContext, report: Report) -> Iterator[None]:
    """Notes what keeps a step from being prepared as a failure of that step."""
    noted = len(report.failures)
    try:
        yield
    except (WorkflowException, ValidationException) as error:
        if len(report.failures) == noted:
            step = report.journal.name(context.name or identifier_of(process))
            report.fail_with(error, step)
            report.journal.begin(step)
            report.journal.end(step, "failed")
        raise


class ReportedTool(Judged, CommandLineTool):
    """A command line tool whose runs report."""

    def __init__(self, toolpath_object: Any, loadingContext: LoadingContext, report: Report) -> None:
        super().__init__(toolpath_object, loadingContext)
        self.report = report
        self.declared = declaration(self)
        # Outputs are judged when they are collected; the engine's own check takes anything, and is told so.
        self.names.names["outputs_record_schema"] = cast(NamedSchema, self.names.get_name(ANY[0], None))

    def make_job_runner(self, runtimeContext: RuntimeContext) -> type[JobBase]:
        super().make_job_runner(runtimeContext)
        return cast(type[JobBase], functools.partial(self._make_job, runtimeContext))

    def _make_job(self, context: RuntimeContext, *arguments: Any) -> StepJob:
        job = StepJob(*arguments)
        job.report = self.report
        job.wanted = context.name or identifier_of(self)
        job.declared = self.declared
        job.image = image_of(self)
        return job

    def job(self, job_order: Any, output_callbacks: Any, runtimeContext: RuntimeContext) -> Any:
        with attributed(self, runtimeContext, self.report):
            yield from super().job(job_order, output_callbacks, runtimeContext)

    def collect_output_ports(self, *arguments: Any, **named: Any) -> Any:
        """Collects the outputs of a step. Raises OutputMisfitError where its cwl.output.json holds none."""
        try:
            return super().collect_output_ports(*arguments, **named)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            what = "is nested too deeply" if isinstance(error, RecursionError) else f"is no JSON ({error})"
            raise OutputMisfitError(f"its cwl.output.json {what}") from error
        except WorkflowException as error:
            cause = error.__cause__
            if not isinstance(cause, ValidationException):
                raise
            if "must be non-null" in str(cause):
                raise OutputMisfitError("its outputs must be an object, and are nothing (null)") from error
            raise nowhere(cause) from error

    def collect_output(self, schema: Any, *arguments: Any, **named: Any) -> Any:
        """Collects one output of a step. What its `outputEval` gives stays as it is.

        The engine would make null of an empty list or object where null may stand, and collect the fields of an empty
        record. Only the one match of a glob stands for a file by itself.
        """
        if "outputEval" not in (schema.get("outputBinding") or {}):
            return super().collect_output(schema, *arguments, **named)
        plain = {**schema, "type": "Any"}
        named_format = schema.get("format")
        if isinstance(named_format, str) and "$(" not in named_format and "${" not in named_format:
            # The engine would give it to whatever comes, and fail where that is nothing.
            del plain["format"]
        else:
            named_format = None
        value = super().collect_output(plain, *arguments, **named)
        if named_format is not None:
            add_format(value, named_format)
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        takes_lists = any(isinstance(kind, dict) and kind.get("type") == "array" for kind in kinds)
        if takes_lists or not {"File", "Directory"} & {kind for kind in kinds if isinstance(kind, str)}:
            return value
        if isinstance(value, list) and len(value) < 2:
            return value[0] if value else None
        return value

    def evalResources(self, builder: Any, runtimeContext: RuntimeContext) -> dict[str, int | float]:
        asked = self.get_requirement("ResourceRequirement")[0] or {}
        report = self.report

        def select(request: dict[str, int | float], context: RuntimeContext) -> dict[str, int | float]:
            most: dict[str, float] = {"cores": max(1.0, report.cores), "ram": report.memory_mib}
            chosen: dict[str, int | float] = {}
            for name, limit in most.items():
                least = request[f"{name}Min"]
                # What the package does not ask for is cwltool's default, and no reason to refuse it.
                if least > limit and (f"{name}Min" in asked or f"{name}Max" in asked):
                    unit = "cores" if name == "cores" else "MiB of memory"
                    setting = "CORES" if name == "cores" else "MEMORY_MIB"
                    raise ResourcesRefusedError(
                        f"at least {least:g} {unit}, and the job may use {limit:g}. "
                        f"The operator can allow more (SUBMISSION_LIMITS__{setting})"
                    )
                chosen[name] = min(max(least, 0), limit)
            # Whole numbers are what the step is told (CWL v1.2, Runtime environment), rounded up.
            chosen["ram"] = math.ceil(chosen["ram"])
            for name in ("tmpdir", "outdir"):
                chosen[f"{name}Size"] = math.ceil(request[f"{name}Min"])
            return chosen

        context = runtimeContext.copy()
        context.select_resources = select
        return super().evalResources(builder, context)


class ReportedExpressionTool(Judged, ExpressionTool):
    """An expression tool whose runs report."""

    def __init__(self, toolpath_object: Any, loadingContext: LoadingContext, report: Report) -> None:
        super().__init__(toolpath_object, loadingContext)
        self.report = report
        self.declared = declaration(self)

    def job(self, job_order: Any, output_callbacks: Any, runtimeContext: RuntimeContext) -> Any:
        with attributed(self, runtimeContext, self.report):
            for plain in super().job(job_order, output_callbacks, runtimeContext):
                job = StepExpressionJob(
                    plain.builder, plain.script, plain.output_callback, plain.requirements, plain.hints
                )
                job.report = self.report
                job.wanted = runtimeContext.name or identifier_of(self)
                job.declared = self.declared
                yield job


def add_format(value: Any, named: str) -> None:
    """Gives the files of an output the format that the package names for it."""
    if isinstance(value, list):
        for item in value:
            add_format(item, named)
    elif isinstance(value, dict) and value.get("class") == "File":
        value["format"] = named


def image_of(process: Process) -> str | None:
    """The container image that a process names, in words for people."""
    container = process.get_requirement("DockerRequirement")[0]
    for field in ("dockerPull", "dockerImageId", "dockerLoad", "dockerImport"):
        if container is not None and isinstance(container.get(field), str):
            return str(container[field])[:200]
    return "of its dockerFile" if container is not None else None


def identifier_of(process: Process) -> str:
    """How the document names a process; `main` when it does not."""
    fragment = urllib.parse.urldefrag(str(process.tool.get("id", "")))[1]
    return decoded(fragment.rpartition("/")[2]) or "main"
