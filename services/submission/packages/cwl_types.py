"""CWL types in one plain form, whichever way the package writes them.

A type is the name of a primitive ("string", "int", "long", "float", "double", "boolean", "File", "Directory", "Any",
"null"), a list of types (a union), or one of `{"type": "enum", "symbols": [...]}`, `{"type": "array", "items": T}` and
`{"type": "record", "fields": {name: {"type": T, ...}}}`. The form is JSON, so it is stored with the process.
"""

from collections.abc import Mapping
from typing import Any

from services.submission.cwl.names import symbol_names
from services.submission.packages.document import join
from services.submission.packages.refusal import Offence, invalid
from services.submission.packages.structure import all_processes, entries, last, requirements

PRIMITIVES = frozenset({"string", "int", "long", "float", "double", "boolean", "File", "Directory", "Any", "null"})

_STREAMS = {"stdin": "File", "stdout": "File", "stderr": "File"}


class CwlTypes:
    """Reads the types of a process, with the types it defines in SchemaDefRequirement."""

    def __init__(self, process: dict[str, Any], pointer: str = "", imported: Mapping[str, Any] | None = None) -> None:
        """`imported` are the types of the document, which the process may import by their names."""
        self._defined: dict[str, Any] = {}
        self._open: list[str] = []
        for entry, name, content in requirements(process, pointer):
            if name == "SchemaDefRequirement":
                for _, defined, definition in entries(content.get("types"), join(entry, "types"), "name"):
                    if isinstance(definition, dict) and "$import" in definition:
                        defined = str(definition["$import"])
                        definition = (imported or {}).get(last(defined))
                    if definition is not None:
                        self._defined[last(defined)] = definition

    def read(self, written: Any, pointer: str) -> Any:
        """Gives a type in its plain form, or refuses what it cannot understand."""
        if isinstance(written, list):
            return union([self.read(member, join(pointer, index)) for index, member in enumerate(written)])
        if isinstance(written, str):
            return self._named(written, pointer)
        if isinstance(written, dict):
            match written.get("type"):
                case "enum":
                    symbols = written.get("symbols")
                    return {"type": "enum", "symbols": symbol_names(symbols if isinstance(symbols, list) else [])}
                case "array":
                    return {"type": "array", "items": self.read(written.get("items"), join(pointer, "items"))}
                case "record":
                    return {"type": "record", "fields": self._fields(written.get("fields"), join(pointer, "fields"))}
                case inner if inner is not None:
                    return self.read(inner, join(pointer, "type"))
        raise self._unknown(written, pointer)

    def _fields(self, fields: Any, pointer: str) -> dict[str, Any]:
        found = {}
        for entry, name, field in entries(fields, pointer, "name"):
            content = field if isinstance(field, dict) and "type" in field else {"type": field}
            found[last(name)] = {"type": self.read(content["type"], entry), **_described(content)}
        return found

    def _named(self, written: str, pointer: str) -> Any:
        if written.endswith("?"):
            return union(["null", self._named(written[:-1], pointer)])
        if written.endswith("[]"):
            return {"type": "array", "items": self._named(written[:-2], pointer)}
        if written in PRIMITIVES:
            return written
        if written in _STREAMS:
            return _STREAMS[written]
        name = last(written)
        if name not in self._defined:
            raise self._unknown(written, pointer)
        if name in self._open:
            raise invalid(
                "The type {type} contains itself. Write it without a circle.",
                [Offence(pointer, "This type contains itself.")],
                type=name[:100],
            )
        self._open.append(name)
        try:
            return self.read(self._defined[name], pointer)
        finally:
            self._open.pop()

    @staticmethod
    def _unknown(written: Any, pointer: str) -> Exception:
        return invalid(
            "The type {type} at {pointer} is not known. "
            "Use a CWL type, or define it in SchemaDefRequirement of the process.",
            [Offence(pointer, "This type is not known.")],
            type=str(written)[:100],
            pointer=pointer,
        )


def defined_types(document: Any) -> dict[str, Any]:
    """Returns the types that the processes of a document define, by name."""
    return {
        last(name): definition
        for pointer, process in all_processes(document)
        for _, kind, content in requirements(process, pointer)
        if kind == "SchemaDefRequirement"
        for _, name, definition in entries(content.get("types"), pointer, "name")
        if name and isinstance(definition, dict)
    }


def read_parameters(
    process: dict[str, Any], field: str, pointer: str = "", imported: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Gives the inputs or outputs of a process by name, in document order: type, default, label, doc, format."""
    types = CwlTypes(process, pointer, imported)
    found: dict[str, Any] = {}
    for entry, name, parameter in entries(process.get(field), join(pointer, field)):
        content = parameter if isinstance(parameter, dict) and "type" in parameter else {"type": parameter}
        if isinstance(content["type"], dict) and "type" not in content["type"]:
            raise CwlTypes._unknown(content["type"], entry)
        found[name] = {"type": types.read(content["type"], join(entry, "type")), **_described(content)}
        if "default" in content:
            found[name]["default"] = content["default"]
    return found


def union(members: list[Any]) -> Any:
    """Joins types to one: flat, without repetition, and without a list around a single one."""
    flat: list[Any] = []
    for member in members:
        for kind in member if isinstance(member, list) else [member]:
            if kind not in flat:
                flat.append(kind)
    return flat[0] if len(flat) == 1 else flat


def members(kind: Any) -> list[Any]:
    """Gives the types of a union, or the one type as a list."""
    return kind if isinstance(kind, list) else [kind]


def without_null(kind: Any) -> Any:
    """Gives a type without its optional part."""
    return union([member for member in members(kind) if member != "null"] or ["null"])


def is_optional(parameter: Mapping[str, Any]) -> bool:
    """Whether an input may be left out."""
    return "default" in parameter or "null" in members(parameter["type"])


def text_of(written: Any) -> str:
    """Gives a `doc`, which may be a list of lines, as text."""
    if isinstance(written, list):
        return "\n".join(str(line) for line in written)
    return "" if written is None else str(written)


def _described(content: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if content.get("label"):
        found["label"] = str(content["label"])
    if content.get("doc"):
        found["doc"] = text_of(content["doc"])
    formats = content.get("format")
    if formats and all(isinstance(item, str) for item in (formats if isinstance(formats, list) else [formats])):
        found["format"] = formats
    return found
