"""Defaults of a package, judged at deploy by what judges the values of requests."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from services.submission.execution.input_types import InputType, TooManyTries, Tries
from services.submission.packages.cwl_types import read_parameters
from services.submission.packages.document import Document, join, offence
from services.submission.packages.refusal import MAX_OFFENCES, Refusal, invalid
from services.submission.packages.structure import all_processes, entries, last, short, top_processes


def check_defaults(document: Document, imported: Mapping[str, Any]) -> None:
    """Refuses defaults that their own types do not take: those of processes, of the tools inside, and of steps."""
    found = [
        offence(document, pointer, message)
        for pointer, message in islice(_offences(document.value, imported), MAX_OFFENCES)
    ]
    if found:
        raise invalid(
            "A default in the package cannot be used at {pointer}: {problem}",
            found,
            pointer=found[0].pointer,
            problem=found[0].message,
        )


def _offences(document: Any, imported: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    named = {short(process.get("id", "")): (process, pointer) for pointer, process in top_processes(document)}
    for pointer, process in all_processes(document):
        types = _types(process, pointer, imported)
        for entry, name, parameter in entries(process.get("inputs"), join(pointer, "inputs")):
            if isinstance(parameter, dict) and "default" in parameter:
                yield from _judged(types.get(name, "Any"), parameter["default"], join(entry, "default"))
        for entry, _, step in entries(process.get("steps"), join(pointer, "steps")):
            if isinstance(step, dict):
                run = step.get("run")
                tool, place = (run, join(entry, "run")) if isinstance(run, dict) else named.get(short(run), ({}, ""))
                yield from _step(step, entry, _types(tool, place, imported))


def _step(step: dict[str, Any], pointer: str, types: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    scatter = step.get("scatter")
    scattered = {last(name) for name in (scatter if isinstance(scatter, list) else [scatter] if scatter else [])}
    for entry, name, parameter in entries(step.get("in"), join(pointer, "in")):
        if not isinstance(parameter, dict) or "default" not in parameter:
            continue
        kind = types.get(name, "Any")
        if name in scattered:
            kind = {"type": "array", "items": kind}
        # What valueFrom makes of it is known only when it runs.
        kind = "Any" if "valueFrom" in parameter else kind
        yield from _judged(kind, parameter["default"], join(entry, "default"))


def _types(process: dict[str, Any], pointer: str, imported: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {name: about["type"] for name, about in read_parameters(process, "inputs", pointer, imported).items()}
    except Refusal:
        # Only the types of the process that is deployed have to be known here.
        return {}


def _judged(kind: Any, default: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if default is None:
        # The engine takes null as the value then.
        return
    try:
        for place, problem in InputType(kind).problems(default, (), Tries()):
            yield join(pointer, *place), problem + _advice(problem, default)
    except TooManyTries:
        yield pointer, "This default can be read in too many ways to be checked. Make its type simpler."
    yield from _files(default, pointer)


def _advice(problem: str, default: Any) -> str:
    if problem.startswith("Expected a string, got the number"):
        return " Put it in quotes."
    if problem.startswith("Expected true or false, got the string") and default in ("yes", "no", "on", "off"):
        return " YAML 1.2 has true and false only."
    return ""


def _files(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Looks at the files of a default, which have nothing but what the package holds."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _files(item, join(pointer, index))
    elif isinstance(value, dict):
        kind = value.get("class")
        content = {"File": "contents", "Directory": "listing"}.get(kind) if isinstance(kind, str) else None
        if content is not None and ("location" in value or "path" in value):
            yield pointer, f"A default {kind} is in no package at that place. Give its {content}."
        elif content is not None and not isinstance(value.get(content), str if kind == "File" else list):
            yield pointer, f"A default {kind} needs {content}."
        for name, item in value.items():
            yield from _files(item, join(pointer, name))
