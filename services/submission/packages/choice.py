"""Which process of a document a package deploys, and under which id."""

from typing import Any

from services.shared.names import PROCESS_ID
from services.submission.packages.document import Document
from services.submission.packages.refusal import Refusal
from services.submission.packages.structure import all_processes, entries, short, top_processes


def choose_process(document: Document, wanted: str | None) -> tuple[str, str, dict[str, Any], tuple[str, ...]]:
    """Gives the fragment ("" for the document itself), pointer and content of the process to deploy, and warnings.

    Without a wish it is the only Workflow, or the one called main, or the only one that no other uses as a step, or, as
    OGC API - Processes Part 2 has it, the first one of the document.
    """
    processes = [(short(process.get("id", "")), pointer, process) for pointer, process in top_processes(document.value)]
    whole = "$graph" not in document.value
    if wanted:
        for name, pointer, process in processes:
            if name and name == short(wanted):
                return ("" if whole else name), pointer, process, ()
        raise Refusal(
            "ERROR_REASON_WORKFLOW_NOT_FOUND",
            "The package has no workflow {workflow}. It has: {available}.",
            (),
            None,
            {"workflow": wanted[:200], "available": _listed(name for name, _, _ in processes)},
        )
    if whole:
        return "", "", document.value, ()
    named = [found for found in processes if found[0] and found[2].get("class")]
    workflows = [found for found in named if found[2].get("class") == "Workflow"] or named
    if not workflows:
        raise Refusal(
            "ERROR_REASON_WORKFLOW_NOT_FOUND",
            "The $graph of the package has no process with an id. Add a Workflow with id: and steps:.",
            (),
            None,
            {"workflow": "", "available": ""},
        )
    used = _used_as_steps(document.value)
    outermost = [found for found in workflows if found[0] not in used]
    chosen = next((found for found in workflows if found[0] == "main"), None) if len(workflows) > 1 else workflows[0]
    if chosen is None and len(outermost) == 1:
        chosen = outermost[0]
    if chosen is not None:
        return (*chosen, ())
    others = _listed(name for name, _, _ in workflows[1:])
    warning = (
        f"The package has several workflows; {workflows[0][0]} is deployed because it is the first. "
        f"Choose another one with w: {others}."
    )
    return (*workflows[0], (warning,))


def check_process_id(process_id: str) -> str:
    """Gives the id back when it may be the id of a process."""
    if PROCESS_ID.fullmatch(process_id):
        return process_id
    if process_id:
        message = (
            "{process} cannot be the id of a process. Use 1 to 63 letters, digits, dots, hyphens and underscores, "
            "beginning with a letter or digit, without two dots in a row."
        )
    else:
        message = (
            "The workflow has no id, and a process needs one. "
            "Add id: to the workflow, or give an id in the process description."
        )
    raise Refusal("ERROR_REASON_INVALID_PROCESS_ID", message, (), None, {"process": process_id[:200]})


def _used_as_steps(document: Any) -> set[str]:
    return {
        short(step["run"])
        for _, process in all_processes(document)
        for _, _, step in entries(process.get("steps"), "")
        if isinstance(step, dict) and isinstance(step.get("run"), str)
    }


def _listed(names: Any) -> str:
    known = [name for name in names if name]
    return ", ".join(known[:20]) + (", …" if len(known) > 20 else "") or "none with an id"
