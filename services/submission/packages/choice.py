"""Which process of a document a package deploys, and under which id."""

from typing import Any

from services.shared.names import PROCESS_ID
from services.submission.packages.document import Document
from services.submission.packages.refusal import Refusal
from services.submission.packages.structure import PROCESS_CLASSES, all_processes, entries, short, top_processes


def choose_process(document: Document, wanted: str | None) -> tuple[str, str, dict[str, Any], tuple[str, ...]]:
    """Gives the fragment ("" for the document itself), pointer and content of the process to deploy, and warnings.

    Without a wish it is the only Workflow, or the one called main, or the only one that no other uses as a step, or, as
    OGC API - Processes Part 2 has it, the first one of the document.
    """
    processes = [(short(process.get("id", "")), pointer, process) for pointer, process in top_processes(document.value)]
    whole = "$graph" not in document.value
    if wanted and whole and (not own_id(document.value) or is_place(own_id(document.value))):
        # The one process has no name of its own, so it is called as the caller calls it.
        return "", "", document.value, ()
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


def own_id(process: dict[str, Any]) -> str:
    """Returns the id of a process without what stands before it; empty where there is none."""
    written = process.get("id")
    return short(written) if isinstance(written, str) else ""


def is_place(identifier: str) -> bool:
    """Says whether an id is the address of a file or page, which no process is called."""
    return identifier.startswith(("file:", "/")) or "://" in identifier


def check_process_id(process_id: str, process: dict[str, Any]) -> str:
    """Gives the id back when it may be the id of a process."""
    if PROCESS_ID.fullmatch(process_id):
        return process_id
    kind = process.get("class")
    kind = kind if kind in PROCESS_CLASSES else "process"
    elsewhere = "or deploy with w=NAME, or as application/ogcapppkg+json with processDescription.process.id"
    if is_place(process_id):
        message = (
            "The id of the {kind} is the place {process} of a file, which cannot be the id of a process. "
            "Write id: NAME into the {kind}, " + elsewhere + "."
        )
    elif process_id:
        message = (
            "{process} cannot be the id of a process. Use 1 to 63 letters, digits, dots, hyphens and underscores, "
            "beginning with a letter or digit, without two dots in a row."
        )
    elif process.get("id") is not None and not isinstance(process["id"], str):
        message = "The id of the {kind} is no text. Put it in quotes."
    else:
        message = "The {kind} has no id, and a process needs one. Add id: NAME to it, " + elsewhere + "."
    raise Refusal(
        "ERROR_REASON_INVALID_PROCESS_ID", message, (), None, {"process": process_id[:200], "kind": str(kind)}
    )


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
