"""The parts of a CWL document as it was written: processes, parameters, steps and requirements, in map or list form."""

from collections.abc import Iterator
from typing import Any

from services.submission.packages.document import join

PROCESS_CLASSES = frozenset({"Workflow", "CommandLineTool", "ExpressionTool", "Operation"})


def short(identifier: Any) -> str:
    """Gives an id without `#` and what stands before it."""
    return str(identifier).rpartition("#")[2]


def last(identifier: Any) -> str:
    """Gives the last segment of an id: `#main/size` is `size`."""
    return short(identifier).rpartition("/")[2]


def entries(value: Any, pointer: str, key: str = "id") -> Iterator[tuple[str, str, Any]]:
    """Walks a field which CWL lets be a map or a list, as pointer, name and entry."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield join(pointer, name), last(name) if key == "id" else name, entry
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            name = entry.get(key, "") if isinstance(entry, dict) else ""
            yield join(pointer, index), last(name) if key == "id" else str(name), entry


def top_processes(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Walks the processes at the top of a document: those of `$graph`, or the document itself."""
    if "$graph" in document:
        graph = document["$graph"]
        for index, process in enumerate(graph if isinstance(graph, list) else [graph]):
            if isinstance(process, dict):
                yield join("", "$graph", index), process
    else:
        yield "", document


def all_processes(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Walks every process of a document, also those written inside a step."""
    waiting = list(top_processes(document))
    while waiting:
        pointer, process = waiting.pop()
        yield pointer, process
        for step_pointer, _, step in entries(process.get("steps"), join(pointer, "steps")):
            if isinstance(step, dict) and isinstance(step.get("run"), dict):
                waiting.append((join(step_pointer, "run"), step["run"]))


def requirements(process: dict[str, Any], pointer: str, *fields: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Walks the requirements (and hints) of a process or step, as pointer, class and content."""
    for field in fields or ("requirements", "hints"):
        for entry_pointer, name, entry in entries(process.get(field), join(pointer, field), "class"):
            yield entry_pointer, str(name), entry if isinstance(entry, dict) else {}
