"""Execute requests: what they ask for, whether it fits the process, and the CWL job order they make.

Values come in OGC's shapes — inline, qualified (`{"value": …, "mediaType": …}`), links (`{"href": …}`), base64,
bounding boxes, one value for a list — and are first brought into the shape CWL wants, guided by the type of the input.
The same types then judge the job order (`input_types.py`), and stop after the last violation that is told.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from services.shared.errors import InvalidArgument, Violation
from services.submission.execution.input_types import InputType, TooManyTries, Tries
from services.submission.execution.job_values import JobValues
from services.submission.execution.outputs import check_outputs
from services.submission.packages.cwl_types import is_optional, without_null
from services.submission.packages.document import join
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_INVALID_EXECUTE_REQUEST,
    ERROR_REASON_INVALID_INPUTS,
)

MAX_BYTES = 4 << 20
MAX_DEPTH = 64
MAX_VIOLATIONS = 50
MOST_PARTS = 100_000
"""How many values the inputs may be made of: they are judged one by one, beside everybody's requests. The content of a
file is none of them."""


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
        raise too_large()
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
    check_depth(request)
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


def too_large() -> InvalidArgument:
    """Returns the refusal of a request that is too large."""
    return InvalidArgument(
        ERROR_REASON_INVALID_EXECUTE_REQUEST,
        "The request has more than {limit_bytes} bytes. Give large inputs by reference, as an href.",
        http_status=413,
        limit_bytes=MAX_BYTES,
    )


def check_depth(request: dict[str, Any]) -> None:
    """Raises INVALID_EXECUTE_REQUEST for lists and objects that nest deeper than they may."""
    layer: list[Any] = [request]
    for _ in range(MAX_DEPTH):
        layer = [
            inner
            for one in layer
            for inner in (one.values() if type(one) is dict else one)
            if type(inner) is dict or type(inner) is list
        ]
        if not layer:
            return
    raise _invalid_request("", f"The request is nested deeper than {MAX_DEPTH} levels.")


def count_parts(given: Any, most: int, *, files: bool) -> int:
    """Counts the values that one is made of, and stops with the first beyond `most`. With `files` the content of
    qualified values is that of a file, and does not count."""
    count = 0
    waiting = [given] if isinstance(given, list | dict) else []
    while waiting and count <= most:
        one = waiting.pop()
        count += len(one)
        inner = one if isinstance(one, list) else [item for name, item in one.items() if not files or name != "value"]
        waiting += [item for item in inner if isinstance(item, list | dict)]
    return count


class InputSchema:
    """What one revision of a process takes. Immutable and expensive to make: keep it with the revision."""

    def __init__(self, description: Mapping[str, Any], cwl_inputs: Mapping[str, Any]) -> None:
        """Prepares the inputs of a `Package`."""
        self._types = {
            name: InputType(without_null(parameter["type"]), parameter.get("format"))
            for name, parameter in cwl_inputs.items()
        }
        self._prefixes: dict[str, str] = next(
            (parameter["prefixes"] for parameter in cwl_inputs.values() if "prefixes" in parameter), {}
        )
        self._outputs = dict(description.get("outputs", {}))
        self._required = [name for name, parameter in cwl_inputs.items() if not is_optional(parameter)]
        self.width = max((kind.width for kind in self._types.values()), default=1)
        """How many times longer than a list of numbers a value of the same size may take."""

    def job_order(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Returns the CWL job order of inputs. Those left out are absent: their defaults stay with the package.

        Raises InvalidArgument INVALID_INPUTS with the violations: missing, unknown, wrong type, not usable.
        Takes a second for some MiB: call it in a thread then.
        """
        values = JobValues(self._prefixes)
        violations = list(islice(self._violations(inputs, values), MAX_VIOLATIONS))
        if violations:
            raise InvalidArgument(
                ERROR_REASON_INVALID_INPUTS,
                "The inputs do not fit the process: {problem}",
                violations=violations,
                problem="; ".join(f"{violation.pointer}: {violation.message}" for violation in violations[:3]),
            )
        return values.order

    def check_outputs(self, outputs: Mapping[str, Any] | None) -> None:
        """Raises NO_SUCH_OUTPUT, INVALID_EXECUTE_REQUEST."""
        check_outputs(outputs, self._outputs)

    def takes_links(self, name: str) -> bool:
        """Whether an input takes a link itself, rather than what the link leads to."""
        return name not in self._types or self._types[name].is_link

    def _violations(self, inputs: dict[str, Any], values: JobValues) -> Iterator[Violation]:
        """Finds what is wrong, one violation after the other, and fills in the values on the way."""
        for name in inputs:
            if name not in self._types:
                available = ", ".join(self._types) or "none"
                yield Violation(join("/inputs", name), f"The process has no such input. It has: {available[:500]}.")
        for name in self._required:
            if inputs.get(name) is None:
                yield Violation(join("/inputs", name), "This input is required.")
        tries, parts = Tries(), 0
        for name, given in inputs.items():
            if name in self._types and given is not None:
                parts += count_parts(given, MOST_PARTS - parts, files=self._types[name].is_file)
                if parts > MOST_PARTS:
                    yield Violation(
                        join("/inputs", name),
                        f"With this, the inputs are made of more than {MOST_PARTS} values. "
                        "Give it as a file, where one is taken.",
                    )
                    return
                refused = len(values.violations)
                values.add(name, self._types[name], given)
                yield from values.violations[refused:]
                if name in values.order:
                    yield from self._problems(name, values, tries)

    def _problems(self, name: str, values: JobValues, tries: Tries) -> Iterator[Violation]:
        try:
            for place, problem in self._types[name].problems(values.order[name], (name,), tries):
                yield Violation(values.pointer(place), problem)
        except TooManyTries:
            yield Violation(
                join("/inputs", name),
                "This value can be read in too many ways to be checked. Send it in parts, or make its type simpler.",
            )


def _invalid_request(pointer: str, message: str) -> InvalidArgument:
    return InvalidArgument(ERROR_REASON_INVALID_EXECUTE_REQUEST, message, violations=[Violation(pointer, message)])
