"""cwltool as a library, told to report every step: its classes with our hooks, and one call that runs a process."""

# ruff: noqa: N802, N803 - the names of methods and arguments are those of the engine

import contextlib
import functools
import logging
import math
import os
import re
import signal
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, cast

from cwltool.command_line_tool import CommandLineTool, ExpressionJob, ExpressionTool
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.executors import MultithreadedJobExecutor
from cwltool.job import CommandLineJob, JobBase
from cwltool.process import Process, compute_checksums
from cwltool.utils import visit_files
from cwltool.workflow import Workflow, default_make_tool
from cwltool.workflow_job import WorkflowJob, WorkflowJobStep
from schema_salad.exceptions import ValidationException

from services.submission.backends import FailureReason
from services.submission.cwl.library import shortname
from services.submission.cwl.names import decoded, unseal

from .confinement import limit_address_space
from .report import Report, ResourcesRefusedError, reason_of, summary

MIB = 1 << 20
OUTPUT_ERROR = re.compile(r"Error collecting output for parameter '([^'\n]{1,200})':\s*(?:\S*\d+:\d+:\s*)?")
MISSING_PROGRAM = re.compile(r"'(?P<program>[^'\n]{1,200})' not found: ")


class StepJob(CommandLineJob):
    """One run of a command line tool: its own log, its events, its exit code."""

    report: Report
    wanted: str
    step: str
    image: str | None = None
    """The container image that the package hints at for this step, and that is not run."""
    exit_code: int | None = None
    began: float = 0.0

    def run(self, runtimeContext: RuntimeContext, tmpdir_lock: Any = None) -> None:
        report = self.report
        self.began = time.monotonic()
        self.step = report.journal.name(self.wanted)
        report.journal.begin(self.step)
        lines = report.listen(self.step)
        collect, callback = self.collect_outputs, self.output_callback

        def collect_outputs(outdir: str, exit_code: int) -> Any:
            self.exit_code = exit_code if exit_code >= 0 else 128 - exit_code
            return collect(outdir, exit_code)

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


class StepExpressionJob(ExpressionJob):
    """One run of an expression tool, which is a step like any other."""

    report: Report
    wanted: str
    step: str

    def run(self, runtimeContext: RuntimeContext, tmpdir_lock: Any = None) -> None:
        report = self.report
        self.step = report.journal.name(self.wanted)
        report.journal.begin(self.step)
        lines = report.listen(self.step)
        callback = self.output_callback

        def ended(outputs: Any, status: str) -> None:
            if status != "success":
                error = WorkflowException(" ".join(lines).replace("Failed to evaluate expression:", ""))
                message = f"An expression of step {self.step} failed: {summary(error)}"
                report.fail(FailureReason.EXPRESSION_FAILED, message, self.step)
            report.journal.end(self.step, "successful" if status == "success" else "failed")
            if callback is not None:
                callback(outputs, status)

        self.output_callback = ended
        try:
            super().run(runtimeContext, tmpdir_lock)
        finally:
            report.stop_listening()


class Step(WorkflowJobStep):
    """A step of a workflow that runs; counts what a scatter makes of it."""

    report: Report
    started = 0

    def job(self, joborder: Any, output_callback: Any, runtimeContext: RuntimeContext) -> Any:
        # Called once for each element of a scatter before the first of them runs, so the width is known early.
        self.started += 1
        if self.started > 1:
            self.report.journal.expect(count_steps(self.step.embedded_tool))
        return super().job(joborder, output_callback, runtimeContext)


class ReportedWorkflowJob(WorkflowJob):
    """A workflow that runs; tells which steps were skipped."""

    def __init__(self, workflow: "ReportedWorkflow", runtimeContext: RuntimeContext, report: Report) -> None:
        super().__init__(workflow, runtimeContext)
        self.report = report
        steps = []
        for step in workflow.steps:
            reported = Step(step)
            reported.report = report
            steps.append(reported)
        self.steps = cast(Any, steps)

    def receive_output(
        self, step: Any, outputparms: Any, final_output_callback: Any, jobout: Any, processStatus: str
    ) -> None:
        if not step.started:
            # Nothing of it ran: its condition did not hold, or it scatters over nothing.
            for _ in range(count_steps(step.step.embedded_tool)):
                self.report.journal.end(self.report.journal.name(shortname(step.id)), "skipped")
        super().receive_output(step, outputparms, final_output_callback, jobout, processStatus)

    def do_output_callback(self, final_output_callback: Any) -> None:
        """Ends the workflow; notes why when its outputs cannot be put together."""
        going_well = self.processStatus == "success"
        lines = getattr(self.report.local, "lines", None)
        said = self.report.listen()
        super().do_output_callback(final_output_callback)
        self.report.local.lines = lines
        if going_well and said and not self.report.failures:
            self.report.fail_with(WorkflowException(re.sub(r"^\[[^]]*\] ", "", said[0])), None)

    def try_make_job(self, step: Any, final_output_callback: Any, runtimeContext: RuntimeContext) -> Any:
        noted = len(self.report.failures)
        missing = None if step.submitted else self._unscattered(step)
        if missing is not None:
            message = f"Step {shortname(step.id)} scatters over {missing}, which has no value. Give it one."
            self.report.fail(FailureReason.INPUT_UNAVAILABLE, message, shortname(step.id))
            raise WorkflowException(message)
        try:
            yield from super().try_make_job(step, final_output_callback, runtimeContext)
        except WorkflowException as error:
            if len(self.report.failures) == noted:
                self.report.fail_with(error, shortname(step.id))
            raise

    def _unscattered(self, step: Any) -> str | None:
        """What a step scatters over that is null, which the engine takes for a list."""
        scatter = step.tool.get("scatter") or []
        given = {one["id"] for one in self.workflow.tool["inputs"]}
        for parameter in step.tool["inputs"]:
            source = parameter.get("source")
            if parameter["id"] in scatter and isinstance(source, str) and parameter.get("default") is None:
                value = self.state.get(source)
                if value is not None and value.success in ("success", "skipped") and value.value is None:
                    kind = "the input" if source in given else "the output"
                    return f"{kind} {shortname(source)}"
        return None


class ReportedWorkflow(Workflow):
    """A workflow whose steps report."""

    def __init__(self, toolpath_object: Any, loadingContext: LoadingContext, report: Report) -> None:
        super().__init__(toolpath_object, loadingContext)
        self.report = report

    def job(self, job_order: Any, output_callbacks: Any, runtimeContext: RuntimeContext) -> Any:
        builder = self._init_job(job_order, runtimeContext)
        job = ReportedWorkflowJob(self, runtimeContext, self.report)
        yield job
        context = runtimeContext.copy()
        context.part_of = f"workflow {job.name}"
        context.toplevel = False
        yield from job.job(builder.job, output_callbacks, context)


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


class ReportedTool(CommandLineTool):
    """A command line tool whose runs report."""

    def __init__(self, toolpath_object: Any, loadingContext: LoadingContext, report: Report) -> None:
        super().__init__(toolpath_object, loadingContext)
        self.report = report

    def make_job_runner(self, runtimeContext: RuntimeContext) -> type[JobBase]:
        super().make_job_runner(runtimeContext)
        return cast(type[JobBase], functools.partial(self._make_job, runtimeContext))

    def _make_job(self, context: RuntimeContext, *arguments: Any) -> StepJob:
        job = StepJob(*arguments)
        job.report = self.report
        job.wanted = context.name or identifier_of(self)
        job.image = image_of(self)
        return job

    def job(self, job_order: Any, output_callbacks: Any, runtimeContext: RuntimeContext) -> Any:
        with attributed(self, runtimeContext, self.report):
            yield from super().job(job_order, output_callbacks, runtimeContext)

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


class ReportedExpressionTool(ExpressionTool):
    """An expression tool whose runs report."""

    def __init__(self, toolpath_object: Any, loadingContext: LoadingContext, report: Report) -> None:
        super().__init__(toolpath_object, loadingContext)
        self.report = report

    def job(self, job_order: Any, output_callbacks: Any, runtimeContext: RuntimeContext) -> Any:
        with attributed(self, runtimeContext, self.report):
            for plain in super().job(job_order, output_callbacks, runtimeContext):
                job = StepExpressionJob(
                    plain.builder, plain.script, plain.output_callback, plain.requirements, plain.hints
                )
                job.report = self.report
                job.wanted = runtimeContext.name or identifier_of(self)
                yield job


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


def count_steps(process: Process) -> int:
    """How many steps a process has, those of nested workflows included and a scatter counted once."""
    if isinstance(process, Workflow):
        return sum(map(count_steps, (step.embedded_tool for step in process.steps)))
    return 1


def make_process(report: Report, toolpath_object: Any, loading_context: LoadingContext) -> Process:
    """What cwltool calls for each process of the document."""
    unseal(toolpath_object)
    match toolpath_object:
        case {"class": "CommandLineTool"}:
            return ReportedTool(toolpath_object, loading_context, report)
        case {"class": "ExpressionTool"}:
            return ReportedExpressionTool(toolpath_object, loading_context, report)
        case {"class": "Workflow"}:
            return ReportedWorkflow(toolpath_object, loading_context, report)
        case _:
            return default_make_tool(toolpath_object, loading_context)


class Executor(MultithreadedJobExecutor):
    """Runs steps side by side as far as the cores and the memory of the job go."""

    def __init__(self, report: Report, hand_out: Callable[[dict[str, Any]], None]) -> None:
        """`hand_out` brings the outputs to where they stay; what else the steps left is removed after that."""
        super().__init__()
        self.max_cores = max(1.0, report.cores)
        self.max_ram = report.memory_mib
        self._hand_out = hand_out

    def run_jobs(
        self, process: Process, job_order_object: Any, logger: logging.Logger, runtime_context: RuntimeContext
    ) -> None:
        super().run_jobs(process, job_order_object, logger, runtime_context)
        if self.final_output and self.final_output[0] is not None and self.final_status[0] == "success":
            outputs = cast(dict[str, Any], self.final_output[0])
            self._hand_out(outputs)
            visit_files(outputs, functools.partial(compute_checksums, runtime_context.make_fs_access("")))
