"""The worker: runs one job inside its sandbox and leaves the outputs or the failure as a file.

Everything a package contains is first looked at here, where it can hurt nobody but itself.
"""

import contextlib
import functools
import json
import logging
import os
import random
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cwl_utils.sandboxjs import set_js_engine
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.load_tool import default_loader, fetch_document, make_tool, resolve_and_validate_document
from cwltool.loghandler import _logger as cwltool_logger
from cwltool.process import Process, get_schema
from schema_salad.utils import json_dumps

from services.submission.backends import Failure, FailureReason
from services.submission.cwl.names import encoded, protect
from services.submission.cwl.text import decode, package_text

from .access import ConfinedFiles, ConfinedPathMapper, PackageFetcher
from .confinement import drop_privileges, limit_resources
from .engine import Executor, make_process
from .javascript import SECONDS, QuickJs, Watchdog
from .journal import Journal
from .listings import trim_listings
from .outputs import OutputRefusedError, hand_out
from .report import LogOfErrors, Report
from .sandbox import environment
from .workflows import count_steps

SUPPORTED = ("v1.0", "v1.1", "v1.2")
OUTPUTS = "work/outputs"
TEMPORARY = "work/tmp"
STEPS = "work/steps"


def warm() -> None:
    """Loads what every job needs, so that a fork of this process has it; looks at nothing of anybody's."""
    for version in SUPPORTED:
        get_schema(version)


def work(box: str) -> int:
    """Runs the job in the box as the worker user; returns the exit code of the worker."""
    drop_privileges()
    os.umask(0o022)
    os.environ.clear()
    os.environ.update(environment())
    os.chdir(box)
    random.seed()
    directory = Path(box)
    request = json.loads((directory / "request.json").read_bytes())
    shared = json.loads((directory / "shared.json").read_bytes())
    limit_resources(output_bytes=request["output_bytes"], processes=request["processes"])
    if not shared["cores"]:
        usable = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, random.sample(usable, min(len(usable), max(1, round(request["cores"])))))
    leave(directory, run(directory, request, limits_steps=not shared["memory"]))
    return 0


def leave(box: Path, result: str) -> None:
    """Leaves the result of the run."""
    temporary = box / ".result.json"
    temporary.write_text(result)
    temporary.replace(box / "result.json")


def run(box: Path, request: dict[str, Any], *, limits_steps: bool) -> str:
    """Runs the job and returns the text of its result: its outputs, or its failure."""
    report = Report(
        journal=Journal(box, 0),
        cores=request["cores"],
        memory_mib=request["memory_mib"],
        limits_steps=limits_steps,
        allowed_files=request["files"],
    )
    report.network_refused = request["network_refused"]
    _configure_logging(report)

    def overdue(step: str | None) -> None:
        whose = f"An expression of step {step}" if step is not None else "An expression"
        message = f"{whose} took longer than {SECONDS:g} seconds, the longest it may take."
        leave(box, _failed(Failure(reason=FailureReason.EXPRESSION_FAILED, message=message, step=step)))
        os._exit(0)

    set_js_engine(QuickJs(Watchdog(overdue), lambda: getattr(report.local, "step", None)))
    said = report.listen()
    try:
        process = load(box / "package.cwl", request["workflow_id"], report)
        report.journal.expect(count_steps(process))
        trim_listings(process, request["inputs"])
        outputs, status = _executor(report, box)(process, request["inputs"], _context(box))
        if status == "success" and outputs is not None:
            return json_dumps({"outputs": outputs})
    except OutputRefusedError as error:
        report.fail(FailureReason.OUTPUT_REFUSED, str(error))
    except MemoryError:
        report.fail(FailureReason.MEMORY_EXCEEDED, "The engine ran out of memory.")
    except RecursionError:
        report.fail(FailureReason.INVALID_PACKAGE, "The package is nested too deeply.")
    except Exception as error:
        logging.getLogger(__name__).exception("the run failed")
        report.fail_with(error, None)
    if not report.failures:
        if said:
            report.fail_with(WorkflowException(" ".join(said)), None)
        else:
            report.fail(FailureReason.BACKEND_FAILED, "The engine stopped without saying why.")
    return _failed(report.failures[0])


def _failed(failure: Failure) -> str:
    return json.dumps({"failure": asdict(failure)})


def load(package: Path, workflow_id: str, report: Report) -> Process:
    """Reads the process of a package with the library, as it runs."""
    uri = package.as_uri()
    context = LoadingContext(
        {
            "fetcher_constructor": PackageFetcher,
            "construct_tool_object": functools.partial(make_process, report),
            "disable_js_validation": True,
            "skip_schemas": True,
            "strict": False,
            # No name means anything here: command lines are quoted, and what runs is confined.
            "relax_path_checks": True,
        }
    )
    context.loader = default_loader(PackageFetcher)
    context.loader.cache[uri] = package_text(decode(package.read_bytes())).text
    context, document, _ = fetch_document(uri, context)
    protect(document)
    fragment = encoded(workflow_id.removeprefix("#"))
    context, uri = resolve_and_validate_document(context, document, f"{uri}#{fragment}" if fragment else uri)
    return make_tool(uri, context)


def _own(box: Path) -> list[str]:
    """Where the files of the job are."""
    return [str(box / name) for name in ("inputs", "work")]


def _executor(report: Report, box: Path) -> Executor:
    return Executor(report, lambda outputs: hand_out(outputs, box / OUTPUTS, _own(box)))


def _context(box: Path) -> RuntimeContext:
    for directory in (OUTPUTS, TEMPORARY, STEPS):
        (box / directory).mkdir(parents=True, exist_ok=True)
    own = _own(box)
    return RuntimeContext(
        {
            "basedir": str(box / "inputs"),
            # Outputs are handed out by us, so the engine moves none.
            "outdir": None,
            "tmpdir_prefix": f"{box}/{TEMPORARY}/",
            "tmp_outdir_prefix": f"{box}/{STEPS}/",
            "use_container": False,
            "pull_image": False,
            "preserve_environment": ["LANG"],
            "eval_timeout": SECONDS,
            "on_error": "stop",
            "make_fs_access": ConfinedFiles.below(*own),
            "path_mapper": ConfinedPathMapper.below(*own),
        }
    )


def _configure_logging(report: Report) -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s", force=True)
    for handler in list(cwltool_logger.handlers):
        cwltool_logger.removeHandler(handler)
    cwltool_logger.addHandler(LogOfErrors(report))
    cwltool_logger.setLevel(logging.INFO)


def main(arguments: list[str]) -> int:
    """The worker as a program of its own."""
    with contextlib.suppress(BrokenPipeError):
        return work(arguments[0])
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
