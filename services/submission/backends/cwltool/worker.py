"""The worker: runs one job inside its sandbox and leaves the outputs or the failure as a file.

Everything a package contains is first looked at here, where it can hurt nobody but itself.
"""

import contextlib
import functools
import json
import logging
import os
import random
import shutil
import stat
import sys
import urllib.parse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cwl_utils.sandboxjs import set_js_engine
from cwltool.context import LoadingContext, RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.load_tool import default_loader, load_tool
from cwltool.loghandler import _logger as cwltool_logger
from cwltool.process import get_schema
from schema_salad.exceptions import ValidationException
from schema_salad.utils import json_dumps

from services.submission.backends import Failure, FailureReason

from .access import ConfinedFiles, PackageFetcher
from .confinement import drop_privileges, limit_resources
from .engine import Executor, LogOfErrors, Report, count_steps, make_process, reason_of, summary
from .javascript import QuickJs
from .journal import Journal
from .sandbox import environment

SUPPORTED = ("v1.0", "v1.1", "v1.2")
EXPRESSION_SECONDS = 20


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
        os.sched_setaffinity(0, random.sample(usable, min(len(usable), max(1, round(request["cores"])))))  # noqa: S311
    result = run(directory, request, limits_steps=not shared["memory"])
    temporary = directory / ".result.json"
    temporary.write_text(result)
    temporary.replace(directory / "result.json")
    return 0


def run(box: Path, request: dict[str, Any], *, limits_steps: bool) -> str:
    """Runs the job and returns the text of its result: its outputs, or its failure."""
    journal_report: Report | None = None
    try:
        uri = (box / "package.cwl").as_uri()
        text = (box / "package.cwl").read_text("utf-8")
        journal = Journal(box, 0)
        report = journal_report = Report(
            journal=journal, cores=request["cores"], memory_mib=request["memory_mib"], limits_steps=limits_steps
        )
        _configure_logging(report)
        set_js_engine(QuickJs())
        process = load_tool(*_loading(uri, text, request["workflow_id"], report))
        journal.expect(count_steps(process))
        outputs = box / "work" / "outputs"
        for directory in (outputs, box / "work" / "tmp", box / "work" / "steps"):
            directory.mkdir(parents=True, exist_ok=True)
        context = RuntimeContext(
            {
                "basedir": str(box / "inputs"),
                "outdir": str(outputs),
                "tmpdir_prefix": f"{box}/work/tmp/",
                "tmp_outdir_prefix": f"{box}/work/steps/",
                "use_container": False,
                "pull_image": False,
                "rm_tmpdir": True,
                "move_outputs": "move",
                "compute_checksum": True,
                "eval_timeout": EXPRESSION_SECONDS,
                "on_error": "stop",
                "make_fs_access": ConfinedFiles.below(str(box)),
            }
        )
        executor = Executor(report)
        found, status = executor(process, request["inputs"], context)
        if status == "success" and found is not None:
            _settle(outputs, box)
            return json_dumps({"outputs": found})
        if not report.failures:
            report.fail(FailureReason.BACKEND_FAILED, "The engine stopped without saying why.")
        return _failed(report.failures[0])
    except (RecursionError, MemoryError) as error:
        exhausted = isinstance(error, MemoryError)
        reason = FailureReason.MEMORY_EXCEEDED if exhausted else FailureReason.INVALID_PACKAGE
        what = "The engine ran out of memory." if exhausted else "The package is nested too deeply."
        return _failed(Failure(reason=reason, message=what))
    except OutputRefused as error:
        return _failed(Failure(reason=FailureReason.OUTPUT_REFUSED, message=str(error)))
    except (WorkflowException, ValidationException, UnicodeDecodeError, OSError, ValueError) as error:
        logging.getLogger(__name__).exception("the run failed")
        if journal_report is not None and journal_report.failures:
            return _failed(journal_report.failures[0])
        return _failed(Failure(reason=reason_of(error), message=f"The package cannot be run: {summary(error)}"))


def _failed(failure: Failure) -> str:
    return json.dumps({"failure": asdict(failure)})


def _loading(uri: str, text: str, workflow_id: str, report: Report) -> tuple[str, LoadingContext]:
    context = LoadingContext(
        {
            "fetcher_constructor": PackageFetcher,
            "construct_tool_object": functools.partial(make_process, report),
            "disable_js_validation": True,
            "skip_schemas": True,
            "strict": False,
            "do_validate": True,
        }
    )
    context.loader = default_loader(PackageFetcher)
    context.loader.cache[uri] = text
    fragment = workflow_id.removeprefix("#")
    return (f"{uri}#{urllib.parse.quote(fragment)}" if fragment else uri), context


def _configure_logging(report: Report) -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s", force=True)
    for handler in list(cwltool_logger.handlers):
        cwltool_logger.removeHandler(handler)
    cwltool_logger.addHandler(LogOfErrors(report))
    cwltool_logger.setLevel(logging.INFO)


class OutputRefused(Exception):
    """An output cannot be handed out; the message is a sentence."""


def _settle(outputs: Path, box: Path) -> None:
    """Replaces links in the outputs by what they point to, and refuses those that leave the files of the job."""
    waiting = [outputs]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in list(entries):
                name = os.path.relpath(entry.path, outputs)
                if entry.is_symlink():
                    _replace_link(Path(entry.path), name, box)
                    if os.path.isdir(entry.path):
                        waiting.append(Path(entry.path))
                elif entry.is_dir():
                    waiting.append(Path(entry.path))
                elif not stat.S_ISREG(entry.stat().st_mode):
                    raise OutputRefused(f"The output {name} is neither a file nor a directory.")


def _replace_link(link: Path, name: str, box: Path) -> None:
    target = Path(os.path.realpath(link))
    if box not in target.parents:
        raise OutputRefused(f"The output {name} is a link that leaves the files of the job.")
    if target in link.parents or not target.exists():
        raise OutputRefused(f"The output {name} is a link to nothing or to a directory around itself.")
    link.unlink()
    if target.is_dir():
        shutil.copytree(target, link, symlinks=True)
    else:
        shutil.copy2(target, link)


def main(arguments: list[str]) -> int:
    """The worker as a program of its own."""
    with contextlib.suppress(BrokenPipeError):
        return work(arguments[0])
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
