"""Judges the outputs and inputs of a tool or a workflow by the types that the package declares for them.

The engine's own check knows command line tools alone, and takes true and false for numbers. Here every process that
ends is held to its declaration, and what does not fit is told in words: which output, where in it, what must be there
and what is.
"""

import json
from collections.abc import Iterator
from typing import Any, cast

from cwltool.builder import Builder
from cwltool.context import RuntimeContext
from cwltool.errors import WorkflowException
from cwltool.process import Process
from schema_salad.avro.schema import (
    ArraySchema,
    EnumSchema,
    NamedUnionSchema,
    RecordSchema,
    Schema,
    UnionSchema,
)

from services.shared.keys import shown
from services.submission.backends import FailureReason

from .report import MISFIT

DEEPEST = 100
MOST_NAMES = 10
"""How many fields or symbols a message names."""
LONGEST_VALUE = 60
RANGES = {"int": 1 << 31, "long": 1 << 63}
PRIMITIVES = {
    "null": "nothing (null)",
    "boolean": "true or false (boolean)",
    "int": "an integer of 32 bits (int)",
    "long": "an integer of 64 bits (long)",
    "float": "a number (float)",
    "double": "a number (double)",
    "string": "text (string)",
}
ANY = ("org.w3id.cwl.salad.Any", "Any")
FILES = {"org.w3id.cwl.cwl.File": "File", "org.w3id.cwl.cwl.Directory": "Directory"}
CONTENTS = {"File": "contents", "Directory": "listing"}
"""What stands for the content of a file or directory that has no place."""

Place = tuple[str, ...]


class OutputMisfitError(WorkflowException):
    """An output is not what the package declares; the message is a clause."""

    def __init__(self, message: str, reason: FailureReason = FailureReason.OUTPUT_REFUSED) -> None:
        super().__init__(message)
        self.reason = reason


def declaration(process: Process) -> RecordSchema:
    """Returns what a process declares of its outputs."""
    return cast(RecordSchema, process.names.get_name("outputs_record_schema", None))


def declared_outputs(declared: RecordSchema, outputs: Any) -> tuple[dict[str, Any], list[str]]:
    """Returns the outputs that are declared, and the names of others that stand beside them.

    An optional output that is left out is null. Raises OutputMisfitError for the first output that does not fit.
    """
    if not isinstance(outputs, dict):
        raise OutputMisfitError(f"its outputs must be an object, and are {described(outputs)}")
    kept = {field.name: outputs.get(field.name) for field in declared.fields}
    for field in declared.fields:
        value = kept[field.name]
        if not fits(field.type, value):
            reason = FailureReason.OUTPUT_MISSING if value is None else FailureReason.OUTPUT_REFUSED
            raise OutputMisfitError(f"output {shown(field.name)} {_problem(field.type, value)}", reason)
    return kept, [name for name in outputs if name not in kept]


class Judged(Process):
    """A process whose inputs are judged as strictly as outputs are: an expression of a step may give anything."""

    def _init_job(self, joborder: Any, runtime_context: RuntimeContext) -> Builder:
        builder = super()._init_job(joborder, runtime_context)
        declared = cast(RecordSchema, self.names.get_name("input_record_schema", None))
        for field in declared.fields:
            value = builder.job.get(field.name)
            if not fits(field.type, value):
                problem = f"input {shown(field.name)} {_problem(field.type, value)}"
                raise WorkflowException(f"{MISFIT}: {problem}")
        return builder


def _problem(declared: Schema, value: Any) -> str:
    """Says in a clause what a parameter must be and what it is."""
    wanted = type_in_words(declared)
    if value is None:
        return f"must be {wanted}, and is missing"
    place, inner, problem = _misfit(declared, value, ())
    if not place:
        return f"must be {wanted}, and is {problem}"
    there = shown("".join(place).removeprefix("."))
    return f"must be {wanted}; its {there} must be {type_in_words(inner)}, and is {problem}"


def fits(declared: Schema, value: Any, depth: int = 0) -> bool:
    """Says whether a value is of a type."""
    if depth > DEEPEST:
        return False
    match declared:
        case UnionSchema() | NamedUnionSchema():
            return any(fits(member, value, depth + 1) for member in _members(declared, value))
        case ArraySchema():
            return isinstance(value, list) and all(fits(declared.items, item, depth + 1) for item in value)
        case RecordSchema():
            return (
                isinstance(value, dict)
                and _lacks(declared, value) is None
                and all(fits(kind, item, depth + 1) for _, kind, item in _fields(declared, value))
            )
        case EnumSchema():
            # CWL's own tests let an output of any type be null; inputs are held to it by the engine's check.
            return declared.name in ANY or (isinstance(value, str) and value in declared.symbols)
    return _is_primitive(str(declared.type), value)


def _is_primitive(kind: str, value: Any) -> bool:
    match kind, value:
        case "null", _:
            return value is None
        case "boolean", _:
            return isinstance(value, bool)
        case "string", _:
            return isinstance(value, str)
        case _, bool():
            return False
        case "int" | "long", int():
            return -RANGES[kind] <= value < RANGES[kind]
        case "float" | "double", int() | float():
            return True
    return False


def _members(union: Any, value: Any) -> Iterator[Schema]:
    """The members of a union that a value could be of, by its shape. The rest is not tried."""
    for member in union.schemas:
        match member:
            case UnionSchema() | NamedUnionSchema() | EnumSchema():
                yield member
            case ArraySchema():
                if isinstance(value, list):
                    yield member
            case RecordSchema():
                if isinstance(value, dict) and _lacks(member, value) is None:
                    yield member
            case _:
                if not isinstance(value, list | dict):
                    yield member


def _fields(record: RecordSchema, value: dict[str, Any]) -> Iterator[tuple[str, Schema, Any]]:
    for field in record.fields:
        # The class of a file or directory is the engine's word for the type itself.
        if not (record.name in FILES and field.name == "class"):
            yield field.name, field.type, value.get(field.name)


def _lacks(record: RecordSchema, value: dict[str, Any]) -> str | None:
    """What keeps an object from being the file or directory that it must be; None for records of a package."""
    kind = FILES.get(record.name)
    if kind is None:
        return None
    if value.get("class") != kind:
        return described(value)
    if any(value.get(field) is not None for field in ("location", "path", CONTENTS[kind])):
        return None
    return f"{described(value)} with neither a location nor {CONTENTS[kind]}"


def _misfit(declared: Schema, value: Any, place: Place) -> tuple[Place, Schema, str]:
    """Where in a value the first thing is that does not fit, the type it must be of, and what it is."""
    if len(place) > DEEPEST:
        return (), declared, f"nested more than {DEEPEST} levels deep"
    match declared:
        case UnionSchema() | NamedUnionSchema():
            # With one candidate it is plain which member was meant.
            candidates = list(_members(declared, value)) if isinstance(value, list | dict) else []
            if len(candidates) == 1:
                inner = _misfit(candidates[0], value, place)
                if inner[0] != place:
                    return inner
            lacking = [] if candidates or not isinstance(value, dict) else _lacking(declared, value)
            return place, declared, lacking[0] if lacking else described(value)
        case ArraySchema() if isinstance(value, list):
            for index, item in enumerate(value):
                if not fits(declared.items, item):
                    return _misfit(declared.items, item, (*place, f"[{index}]"))
        case RecordSchema() if isinstance(value, dict):
            lacking_content = _lacks(declared, value)
            if lacking_content is not None:
                return place, declared, lacking_content
            for name, kind, item in _fields(declared, value):
                if not fits(kind, item):
                    return _misfit(kind, item, (*place, f".{name}"))
    return place, declared, described(value)


def _lacking(union: Any, value: dict[str, Any]) -> list[str]:
    records = [member for member in union.schemas if isinstance(member, RecordSchema)]
    found = [_lacks(member, value) for member in records if FILES.get(member.name) == value.get("class")]
    return [problem for problem in found if problem is not None]


def type_in_words(declared: Schema) -> str:
    """Says what a type takes."""
    match declared:
        case UnionSchema() | NamedUnionSchema():
            members = list(declared.schemas)
            # What may be nothing is told last.
            members.sort(key=lambda member: member.type == "null")
            told = [type_in_words(member) for member in members]
            return some([f"({words})" if words.startswith("a list") else words for words in told], " or ")
        case ArraySchema():
            return f"a list with each entry {type_in_words(declared.items)}"
        case RecordSchema():
            if declared.name in FILES:
                return "a file (File)" if FILES[declared.name] == "File" else "a directory (Directory)"
            return f"an object with {some([shown(field.name) for field in declared.fields])} (record)"
        case EnumSchema():
            if declared.name in ANY:
                return "anything (Any)"
            return f"one of {some([quoted(symbol) for symbol in declared.symbols])} (enum)"
    return PRIMITIVES.get(str(declared.type), str(declared.type))


def described(value: Any) -> str:
    """Says what a value is."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {quoted(value)}"
        case str():
            return f"the text {quoted(value)}"
        case []:
            return "an empty list"
        case list():
            return f"a list of {len(value)} {'entries' if len(value) > 1 else 'entry'}"
        case {"class": "File" | "Directory" as kind}:
            what, name = "a file" if kind == "File" else "a directory", value.get("basename")
            return f"{what} ({shown(name)})" if isinstance(name, str) and name else what
        case {}:
            return f"an object with {some([shown(str(name)) for name in value])}" if value else "an empty object"
    return "of no type that JSON has"


def some(names: list[str], separator: str = ", ") -> str:
    """Returns the first of several names, and how many more there are."""
    left = len(names) - MOST_NAMES
    return separator.join(names[:MOST_NAMES]) + (f"{separator}{left} more" if left > 0 else "")


def quoted(value: Any) -> str:
    """Returns a text or a number as JSON has it, cut where it is long."""
    text = shown(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
