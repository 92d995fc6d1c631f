"""Execute requests: what they ask for, whether it fits the process, and the CWL job order they make.

Values come in OGC's shapes — inline, qualified (`{"value": …, "mediaType": …}`), links (`{"href": …}`), base64,
bounding boxes, one value for a list — and are first brought into the shape CWL wants, guided by the type of the input.
One compiled JSON Schema then judges the whole job order, so that every violation is found and none is found twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs
import orjson

from services.shared.errors import InvalidArgument, Violation
from services.submission.job_values import JobValues, Place
from services.submission.outputs import check_outputs
from services.submission.packages.cwl_types import is_optional, members, without_null
from services.submission.packages.document import join
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_INVALID_EXECUTE_REQUEST,
    ERROR_REASON_INVALID_INPUTS,
)

MAX_BYTES = 4 << 20
MAX_DEPTH = 64
MAX_VIOLATIONS = 50

_INTEGERS = {"int": 1 << 31, "long": 1 << 63}


@dataclass(frozen=True, kw_only=True)
class ExecuteRequest:
    """An execute request of OGC API - Processes."""

    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] | None = None
    """Absent means all outputs."""
    response: str | None = None
    """`raw` or `document`, when the caller says."""
    subscriber: dict[str, Any] | None = None


def parse_execute_request(body: bytes) -> ExecuteRequest:
    """Reads an execute request.

    Members it does not know are left alone. Raises InvalidArgument INVALID_EXECUTE_REQUEST.
    """
    if len(body) > MAX_BYTES:
        raise InvalidArgument(
            ERROR_REASON_INVALID_EXECUTE_REQUEST,
            "The request has more than {limit_bytes} bytes. Give large inputs by reference, as an href.",
            http_status=413,
            limit_bytes=MAX_BYTES,
        )
    try:
        request = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError as error:
        raise _invalid_request(
            "", f"The request is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None
    if not isinstance(request, dict):
        raise _invalid_request("", "The request must be a JSON object with inputs.")
    if request.get("inputs", {}) is None:
        raise _invalid_request("/inputs", "inputs must be an object, not null; leave it out where there are none.")
    if _depth(request) > MAX_DEPTH:
        raise _invalid_request("", f"The request is nested deeper than {MAX_DEPTH} levels.")
    for member, wanted in (("inputs", dict), ("outputs", dict), ("response", str), ("subscriber", dict)):
        if request.get(member) is not None and not isinstance(request[member], wanted):
            raise _invalid_request(f"/{member}", f"{member} must be {'a string' if wanted is str else 'an object'}.")
    if request.get("response") not in (None, "raw", "document"):
        raise _invalid_request("/response", "response must be raw or document.")
    return ExecuteRequest(
        inputs=request.get("inputs") or {},
        outputs=request.get("outputs"),
        response=request.get("response"),
        subscriber=request.get("subscriber"),
    )


class InputSchema:
    """What one revision of a process takes. Immutable and dear to make: keep it with the revision."""

    def __init__(self, description: Mapping[str, Any], cwl_inputs: Mapping[str, Any]) -> None:
        """Compiles the inputs of a `Package`."""
        self._inputs = dict(cwl_inputs)
        self._outputs = dict(description.get("outputs", {}))
        self._required = [name for name, parameter in self._inputs.items() if not is_optional(parameter)]
        self._validator = jsonschema_rs.Draft202012Validator(
            {
                "type": "object",
                "properties": {
                    name: job_schema(without_null(parameter["type"])) for name, parameter in self._inputs.items()
                },
            }
        )

    def check(self, inputs: dict[str, Any]) -> None:
        """Raises InvalidArgument INVALID_INPUTS with all violations: missing, unknown, wrong type, not usable."""
        violations = self._order(inputs)[1]
        if violations:
            raise InvalidArgument(
                ERROR_REASON_INVALID_INPUTS,
                "The inputs do not fit the process: {problem}",
                violations=violations[:MAX_VIOLATIONS],
                problem="; ".join(f"{violation.pointer}: {violation.message}" for violation in violations[:3]),
            )

    def job_order(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Makes the CWL job order of inputs that `check` took.

        Inputs left out are absent: their defaults stay with the package.
        """
        return self._order(inputs)[0]

    def check_outputs(self, outputs: Mapping[str, Any] | None) -> None:
        """Raises NO_SUCH_OUTPUT, INVALID_EXECUTE_REQUEST."""
        check_outputs(outputs, self._outputs)

    def takes_links(self, name: str) -> bool:
        """Whether an input takes a link itself, rather than what the link leads to."""
        return name not in self._inputs or _takes_links(self._inputs[name]["type"])

    def _order(self, inputs: dict[str, Any]) -> tuple[dict[str, Any], list[Violation]]:
        values = JobValues()
        violations = []
        for name, given in inputs.items():
            if name not in self._inputs:
                available = ", ".join(self._inputs) or "none"
                violations.append(
                    Violation(join("/inputs", name), f"The process has no such input. It has: {available[:500]}.")
                )
            elif given is not None:
                parameter = self._inputs[name]
                values.add(name, without_null(parameter["type"]), given, parameter.get("format"))
        for name in self._required:
            if inputs.get(name) is None:
                violations.append(Violation(join("/inputs", name), "This input is required."))
        violations.extend(values.violations)
        for violation in self._violations(values):
            if violation not in violations:
                violations.append(violation)
        return values.order, violations

    def _violations(self, values: JobValues) -> Iterator[Violation]:
        for error in self._validator.iter_errors(values.order):
            name, *rest = error.instance_path
            kind = without_null(self._inputs[str(name)]["type"])
            for place, said in explain(kind, values.order[str(name)], (str(name),), rest, error.message):
                yield Violation(values.pointer(place), said)


def _takes_links(kind: Any) -> bool:
    match kind:
        case "File" | "Directory" | "Any":
            return True
        case list():
            return any(_takes_links(member) for member in kind)
        case {"type": "array", "items": items}:
            return _takes_links(items)
        case {"type": "record", "fields": fields}:
            return "href" in fields
    return False


def explain(
    kind: Any, value: Any, place: Place, rest: Sequence[str | int], message: str
) -> Iterator[tuple[Place, str]]:
    """Says what is wrong below `place`, where a schema pointed to `rest`."""
    for step in rest:
        value, place = value[step], (*place, step)
        if isinstance(kind, dict):
            inner = kind.get("items") if isinstance(step, int) else kind.get("fields", {}).get(step, {}).get("type")
            kind = without_null(inner) if inner is not None else None
    if isinstance(kind, list):
        # A union says only that nothing fits. Where the value has the shape of one member, that member says more.
        alike = [member for member in kind if _is_alike(member, value)]
        if len(alike) == 1:
            for error in jsonschema_rs.Draft202012Validator(job_schema(alike[0])).iter_errors(value):
                yield from explain(alike[0], value, place, error.instance_path, error.message)
            return
    if isinstance(kind, dict) and kind["type"] == "record" and isinstance(value, dict):
        for name, inner in kind["fields"].items():
            if "null" not in members(inner["type"]) and name not in value:
                yield (*place, name), "This field is required."
        for name in value:
            if name not in kind["fields"]:
                yield (*place, name), f"There is no such field. There are: {', '.join(kind['fields'])[:300]}."
    elif kind is None:
        yield place, message[:300]
    else:
        yield place, f"Expected {phrase(kind)}, got {_got(value)}."


def _is_alike(kind: Any, value: Any) -> bool:
    match value:
        case list():
            return isinstance(kind, dict) and kind["type"] == "array"
        case dict():
            return isinstance(kind, dict) and kind["type"] == "record"
        case _:
            return False


def job_schema(kind: Any) -> dict[str, Any]:
    """Gives the JSON Schema of the job order values of a CWL type."""
    match kind:
        case list():
            return {"anyOf": [job_schema(member) for member in kind]}
        case "string" | "boolean" | "null":
            return {"type": kind}
        case "int" | "long":
            return {"type": "integer", "minimum": -_INTEGERS[kind], "maximum": _INTEGERS[kind] - 1}
        case "float" | "double":
            return {"type": "number"}
        case "File" | "Directory":
            return {"type": "object", "required": ["class"], "properties": {"class": {"const": kind}}}
        case {"type": "enum", "symbols": symbols}:
            return {"enum": symbols}
        case {"type": "array", "items": items}:
            return {"type": "array", "items": job_schema(items)}
        case {"type": "record", "fields": fields}:
            return {
                "type": "object",
                "properties": {name: job_schema(without_null(inner["type"])) for name, inner in fields.items()},
                "required": [name for name, inner in fields.items() if "null" not in members(inner["type"])],
                "additionalProperties": False,
            }
        case _:
            return {"not": {"type": "null"}}


def phrase(kind: Any) -> str:
    """Names a CWL type in words."""
    match kind:
        case list():
            return " or ".join(phrase(member) for member in kind)
        case "string":
            return "a string"
        case "boolean":
            return "true or false"
        case "int":
            return "a 32-bit integer"
        case "long":
            return "a 64-bit integer"
        case "float" | "double":
            return "a number"
        case "null":
            return "null"
        case "File":
            return "a file (an href, or a value with its mediaType)"
        case "Directory":
            return "a directory (an href, or a STAC object)"
        case {"type": "enum", "symbols": symbols}:
            return "one of " + ", ".join(symbols[:20]) + (", …" if len(symbols) > 20 else "")
        case {"type": "array", "items": items}:
            return f"a list, each item {phrase(items)}"
        case {"type": "record", "fields": fields}:
            return f"an object with {', '.join(fields)}"
        case _:
            return "a value"


def _got(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the string {value}" if len(value) <= 40 else f"a string of {len(value)} characters"
        case list():
            return "a list"
        case _:
            return "an object"


def _depth(value: Any) -> int:
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        deepest = max(deepest, depth)
        if isinstance(item, dict):
            waiting.extend((inner, depth + 1) for inner in item.values())
        elif isinstance(item, list):
            waiting.extend((inner, depth + 1) for inner in item)
    return deepest


def _invalid_request(pointer: str, message: str) -> InvalidArgument:
    return InvalidArgument(ERROR_REASON_INVALID_EXECUTE_REQUEST, message, violations=[Violation(pointer, message)])
