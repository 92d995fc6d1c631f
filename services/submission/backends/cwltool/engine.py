"""cwltool as a library: one call makes a process of the document, another runs it."""

import functools
import logging
from collections.abc import Callable
from typing import Any, cast

from cwltool.context import LoadingContext, RuntimeContext
from cwltool.executors import MultithreadedJobExecutor
from cwltool.process import Process, compute_checksums
from cwltool.utils import visit_files
from cwltool.workflow import default_make_tool

from services.submission.cwl.names import unseal

from .report import Report
from .tools import ReportedExpressionTool, ReportedTool
from .workflows import ReportedWorkflow


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
