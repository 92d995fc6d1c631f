"""Execute requests as clients of the EO DataHub write them (`docs/eodatahub.md` tells who they are)."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.submission.execution.inputs import ExecuteRequest
from services.submission.packages.cwl_types import is_optional, members, without_null

WORKSPACE = "workspace"
"""An input that clients add to every request, whether the process has it or not."""

INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
NUMBER = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,4})?")
INTEGERS = frozenset({"int", "long"})
NUMBERS = frozenset({"float", "double"})
NOT_TEXT = INTEGERS | NUMBERS | {"boolean"}


def read_leniently(
    wanted: ExecuteRequest, description: Mapping[str, Any], cwl_inputs: Mapping[str, Any]
) -> ExecuteRequest:
    """The same request with values of the types that the process wants, where they came as text.

    A text that is no such value stays as it is, and is refused like any other.
    """
    parameters = {name: _parameter(about) for name, about in description.get("inputs", {}).items()} | {**cwl_inputs}
    inputs: dict[str, Any] = {}
    for name, value in wanted.inputs.items():
        parameter = parameters.get(name)
        if parameter is None:
            if name != WORKSPACE:
                inputs[name] = value
        elif value != "" or not is_optional(parameter) or not _is_no_text(parameter["type"]):
            # The other ones are fields of a form that nobody has filled in.
            inputs[name] = coerced(value, parameter["type"])
    return replace(wanted, inputs=inputs)


def coerced(value: Any, kind: Any) -> Any:
    """The value that a text stands for, in a CWL type that takes no text; anything else stays as it is."""
    kind = without_null(kind)
    match value, kind:
        case list(), {"type": "array", "items": items}:
            return [coerced(item, items) for item in value]
        case str(), {"type": "array", "items": items}:
            # One value may stand for a list of one.
            return coerced(value, items)
        case str(), _ if _is_no_text(kind):
            return _value(value.strip(), frozenset(members(kind)), value)
    return value


def _parameter(about: Mapping[str, Any]) -> dict[str, Any]:
    """The type of an input of a built-in process, which has no CWL."""
    kind = _kind(about.get("schema", {}))
    return {"type": kind if about.get("minOccurs", 1) else ["null", kind]}


def _kind(schema: Mapping[str, Any]) -> Any:
    match schema:
        case {"type": "array", "items": items}:
            return {"type": "array", "items": _kind(items)}
        case {"type": "integer" | "number" | "boolean" as name}:
            return {"integer": "long", "number": "double"}.get(name, name)
    return "Any"


def _value(text: str, kinds: frozenset[str], otherwise: str) -> Any:
    if kinds & INTEGERS and INTEGER.fullmatch(text):
        return int(text)
    if kinds & NUMBERS and NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    if "boolean" in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return otherwise


def _is_no_text(kind: Any) -> bool:
    kinds = [member for member in members(kind) if member != "null"]
    return bool(kinds) and all(isinstance(member, str) and member in NOT_TEXT for member in kinds)
