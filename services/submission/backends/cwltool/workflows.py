"""The workflows of a package as cwltool runs them, told to report: widths of scatters, skipped steps, outputs."""

# ruff: noqa: N803 - the names of methods and arguments are those of the engine

import re
from typing import Any, cast

from cwltool.context import LoadingContext, RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.process import Process
from cwltool.workflow import Workflow
from cwltool.workflow_job import WorkflowJob, WorkflowJobStep

from services.submission.backends import FailureReason
from services.submission.cwl.library import shortname

from .declared import Judged, OutputMisfitError, declaration, declared_outputs, some
from .report import Report


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
        self.declared = workflow.declared
        self.title = f"workflow {runtimeContext.name}" if runtimeContext.name else "the workflow"
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

        def judged(outputs: Any, status: str) -> None:
            if status == "success":
                try:
                    outputs, _ = declared_outputs(self.declared, outputs)
                except OutputMisfitError as misfit:
                    self._refuse(misfit)
                    outputs, status = {}, self.processStatus
            final_output_callback(outputs, status)

        super().do_output_callback(judged)
        self.report.local.lines = lines
        if going_well and said and not self.report.failures:
            self.report.fail_with(WorkflowException(re.sub(r"^\[[^]]*\] ", "", said[0])), None)

    def _refuse(self, misfit: OutputMisfitError) -> None:
        self.processStatus = "permanentFail"
        skipped = [shortname(step.id) for step in cast(list[Step], self.steps) if not step.started]
        why = f" What was skipped may be why: {some(skipped)}." if skipped else ""
        self.report.fail(misfit.reason, f"The steps of {self.title} ended well, but {misfit}.{why}")

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


class ReportedWorkflow(Judged, Workflow):
    """A workflow whose steps report."""

    def __init__(self, toolpath_object: Any, loadingContext: LoadingContext, report: Report) -> None:
        super().__init__(toolpath_object, loadingContext)
        self.report = report
        self.declared = declaration(self)

    def job(self, job_order: Any, output_callbacks: Any, runtimeContext: RuntimeContext) -> Any:
        builder = self._init_job(job_order, runtimeContext)
        job = ReportedWorkflowJob(self, runtimeContext, self.report)
        yield job
        context = runtimeContext.copy()
        context.part_of = f"workflow {job.name}"
        context.toplevel = False
        yield from job.job(builder.job, output_callbacks, context)


def count_steps(process: Process) -> int:
    """How many steps a process has, those of nested workflows included and a scatter counted once."""
    if isinstance(process, Workflow):
        return sum(map(count_steps, (step.embedded_tool for step in process.steps)))
    return 1
