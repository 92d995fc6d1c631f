"""Names of the parts of a package: each stands for one part, and comes through the CWL library as it is written."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from services.submission.cwl.names import is_private
from services.submission.packages.cwl_types import defined_types
from services.submission.packages.document import Document, join, offence
from services.submission.packages.refusal import MAX_OFFENCES, invalid
from services.submission.packages.structure import all_processes, entries, last, requirements, short, top_processes

_DOCUMENTS = (".cwl", ".yml", ".yaml", ".json")


def check_names(document: Document) -> None:
    """Refuses names that two parts have, and names that CWL cannot have, with every place."""
    found = []
    for pointer, message in _offences(document.value):
        found.append(offence(document, pointer, message))
        if len(found) >= MAX_OFFENCES:
            break
    if found:
        raise invalid(
            "A name in the package cannot be used at {pointer}: {problem}",
            found,
            pointer=found[0].pointer or "/",
            problem=found[0].message,
        )


def _offences(document: Any) -> Iterator[tuple[str, str]]:
    processes = [(join(pointer, "id"), process.get("id")) for pointer, process in top_processes(document)]
    if "$graph" in document:
        yield from _twice(
            [(pointer, short(identifier)) for pointer, identifier in processes if isinstance(identifier, str)],
            "Another process of this document has the id {name} as well. Give each its own.",
        )
    defined = defined_types(document)
    for pointer, process in all_processes(document):
        for field in ("inputs", "outputs", "steps"):
            yield from _declared(process.get(field), join(pointer, field), "id")
        for field in ("inputs", "outputs"):
            yield from _classes(process.get(field), join(pointer, field), "id")
            for entry, _, parameter in entries(process.get(field), join(pointer, field)):
                yield from _types(parameter, entry)
        for entry, name, content in requirements(process, pointer):
            types = content.get("types")
            if name == "SchemaDefRequirement" and isinstance(types, list):
                yield from _declared(types, join(entry, "types"), "name", optional=True)
                for index, definition in enumerate(types):
                    imported = definition.get("$import") if isinstance(definition, dict) else None
                    if imported is not None and last(imported) not in defined:
                        place = join(entry, "types", index, "$import")
                        yield place, f"No process of this document defines the type {str(imported)[:100]}. Define it."
                    yield from _type(definition, join(entry, "types", index))
        for entry, _, step in entries(process.get("steps"), join(pointer, "steps")):
            if isinstance(step, dict):
                yield from _declared(step.get("in"), join(entry, "in"), "id")
                out = step.get("out")
                named = [one if isinstance(one, dict) else {"id": one} for one in out] if isinstance(out, list) else []
                yield from _declared(named, join(entry, "out"), "id")


def _declared(parts: Any, pointer: str, key: str, *, optional: bool = False) -> Iterator[tuple[str, str]]:
    """Looks at the names of parts, which are keys of a map or members of the entries of a list."""
    names: list[tuple[str, str]] = []
    if isinstance(parts, dict):
        names = [(join(pointer, name), name) for name in parts]
    elif isinstance(parts, list):
        names = [
            (join(pointer, index, key), part[key])
            for index, part in enumerate(parts)
            if isinstance(part, dict) and isinstance(part.get(key), str)
        ]
    for place, name in names:
        problem = _problem(name)
        if problem:
            yield place, problem
    if key == "id" or not optional:
        yield from _twice(
            [(place, last(name)) for place, name in names],
            "Another part beside this one has the name {name} as well. Give each its own.",
        )


def _classes(parts: Any, pointer: str, key: str) -> Iterator[tuple[str, str]]:
    """Looks for the one name that no member of an object can have: the library reads it as what the object is."""
    for entry, name, _ in entries(parts, pointer, key):
        if last(name) == "class":
            yield entry, "The name class says in CWL what an object is. Choose another one."


def _problem(name: str) -> str | None:
    if is_private(name):
        return "The name has characters of the private area U+E000, which have no meaning. Write it without them."
    document, mark, path = name.rpartition("#")
    if mark and document and "://" not in document and not document.endswith(_DOCUMENTS):
        return f"The name {name[:100]} has a #, which begins an id in CWL. Write it without one."
    if not last(name):
        return "The name is empty. Write one."
    if not mark and "/" in path:
        return f"The name {name[:100]} has a /, which CWL writes between a step and its output. Choose another one."
    return None


def _twice(names: list[tuple[str, str]], message: str) -> Iterator[tuple[str, str]]:
    counts = Counter(name for _, name in names)
    seen: set[str] = set()
    for place, name in names:
        if counts[name] > 1 and name in seen:
            yield place, message.format(name=name[:100])
        seen.add(name)


def _types(parameter: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(parameter, dict) and "type" in parameter:
        yield from _type(parameter["type"], join(pointer, "type"))


def _type(written: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(written, list):
        for index, member in enumerate(written):
            yield from _type(member, join(pointer, index))
    elif isinstance(written, dict):
        match written.get("type"):
            case "record":
                fields = join(pointer, "fields")
                yield from _declared(written.get("fields"), fields, "name")
                yield from _classes(written.get("fields"), fields, "name")
                for entry, _, field in entries(written.get("fields"), fields, "name"):
                    yield from _types(field if isinstance(field, dict) else {"type": field}, entry)
            case "enum":
                symbols = written.get("symbols")
                places = [
                    (join(pointer, "symbols", index), str(symbol))
                    for index, symbol in enumerate(symbols if isinstance(symbols, list) else [])
                ]
                yield from ((place, "The symbol is empty. Write a text.") for place, symbol in places if not symbol)
                yield from (
                    (place, "The symbol has characters of the private area U+E000. Write it without them.")
                    for place, symbol in places
                    if is_private(symbol)
                )
                yield from _twice(places, "The symbol {name} is given twice. Write it once.")
            case "array":
                yield from _type(written.get("items"), join(pointer, "items"))
            case dict() | list():
                yield from _type(written["type"], join(pointer, "type"))
