"""The built-in process `echo`: lets anyone check an installation, and clients find something to try.

OGC API - Processes 1.0 asks for such a process in its abstract tests (`test-process`): every kind of input, and outputs
of the same names.
"""

from base64 import b64decode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import islice
from typing import Any

import jsonschema_rs
import orjson

from services.shared.errors import InvalidArgument, Violation
from services.submission.execution.inputs import MAX_VIOLATIONS
from services.submission.execution.outputs import check_outputs
from services.submission.execution.qualified_values import BESIDE_A_VALUE, UnusableMember, known_encoding
from services.submission.packages.document import join
from services.submission.processes import Deployable
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_INPUTS

ECHO = "echo"
MEDIA = "media"

_STRING: dict[str, Any] = {"type": "string"}
_NUMBERS = {"type": "array", "items": {"type": "integer"}}
# A text too: the official test suite fills an input that is an object with one.
_OBJECT = {"oneOf": [{"type": "string"}, {"type": "object"}]}
_BBOX = {
    "type": "object",
    "required": ["bbox"],
    "format": "ogc-bbox",
    "properties": {
        "bbox": {
            "type": "array",
            "items": {"type": "number"},
            "oneOf": [{"minItems": 4, "maxItems": 4}, {"minItems": 6, "maxItems": 6}],
        },
        "crs": {"type": "string", "format": "uri", "default": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"},
    },
}
_MEDIA = {
    "oneOf": [
        {"type": "string", "contentEncoding": "base64", "contentMediaType": "application/octet-stream"},
        {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/tiff; application=geotiff"},
        {"type": "string", "contentMediaType": "text/plain"},
    ]
}
_PAUSE = {"type": "integer", "minimum": 0, "maximum": 3600, "default": 0}
WORDS = "words"
MOST_WORDS = 10
MOST_SIDES = 6
PIECE = 200

_MEMBERS: tuple[tuple[str, str, str, dict[str, Any], bool], ...] = (
    ("message", "Message", "Any text.", _STRING, True),
    ("object", "Object", 'Any JSON object, or a text; wrap it as {"value": …}.', _OBJECT, False),
    (WORDS, "Words", "Up to ten texts: one, or an array of them.", _STRING, False),
    ("numbers", "Numbers", "Any integers.", _NUMBERS, False),
    ("bbox", "Bounding box", "Four or six numbers and a reference system.", _BBOX, False),
    (MEDIA, "Media", "Bytes or text of a media type, as a qualified value.", _MEDIA, False),
    ("pause", "Pause", "How long the job takes, in seconds.", _PAUSE, False),
)

DESCRIPTION: dict[str, Any] = {
    "id": ECHO,
    "title": "Echo",
    "description": "Answers its inputs as its outputs, after a pause if asked. Use it to check an installation.",
    "version": "1.0.0",
    "keywords": ["test", "echo"],
    "metadata": [],
    "mutable": False,
    "jobControlOptions": ["sync-execute", "async-execute", "dismiss"],
    "outputTransmission": ["value", "reference"],
    "inputs": {
        name: {
            "title": title,
            "description": description,
            "minOccurs": 1 if required else 0,
            "maxOccurs": MOST_WORDS if name == WORDS else 1,
            "valuePassing": ["byValue", "byReference"],
            "schema": schema,
        }
        for name, title, description, schema, required in _MEMBERS
    },
    "outputs": {
        name: {
            "title": title,
            "description": f"The input `{name}`.",
            "schema": {"type": "array", "items": schema} if name == WORDS else schema,
        }
        for name, title, _, schema, _ in _MEMBERS
    },
}


def echo() -> Deployable:
    """What is installed as the process `echo`."""
    digest = sha256(orjson.dumps(DESCRIPTION, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Deployable(
        digest=f"sha256:{digest}",
        media_type="application/json",
        workflow_id="",
        description=DESCRIPTION,
        cwl_inputs={},
        backend="builtin",
    )


class EchoInputs:
    """Judges the inputs of `echo` by the schemas of its description."""

    width = 4
    """A JSON Schema is slower than the types of packages."""

    def __init__(self) -> None:
        self._validators = {name: jsonschema_rs.Draft202012Validator(schema) for name, _, _, schema, _ in _MEMBERS}

    def _check(self, inputs: dict[str, Any]) -> None:
        violations = list(islice(self._violations(inputs), MAX_VIOLATIONS))
        if violations:
            raise InvalidArgument(
                ERROR_REASON_INVALID_INPUTS,
                "The inputs do not fit the process: {problem}",
                violations=violations,
                problem="; ".join(f"{violation.pointer}: {violation.message}" for violation in violations[:3]),
            )

    def _violations(self, inputs: dict[str, Any]) -> Iterator[Violation]:
        for name, _, _, _, required in _MEMBERS:
            if required and name not in inputs:
                yield Violation(f"/inputs/{name}", "This input is required.")
        for name, given in inputs.items():
            validator = self._validators.get(name)
            if validator is None:
                known = ", ".join(self._validators)
                yield Violation(join("/inputs", name[:100]), f"There is no such input. There are: {known}.")
            elif (problem := _encoding_problem(given)) is not None:
                yield Violation(f"/inputs/{name}/encoding", problem)
            elif name == MEDIA:
                yield from _media_violations(given)
            elif name == WORDS and isinstance(given, list):
                if not 0 < len(given) <= MOST_WORDS:
                    yield Violation(f"/inputs/{name}", f"This may be there one to {MOST_WORDS} times.")
                for position, one in enumerate(given[:MOST_WORDS]):
                    yield from _schema_violations(validator, one, f"/inputs/{name}/{position}")
            else:
                yield from _schema_violations(validator, given, f"/inputs/{name}")

    def check_outputs(self, outputs: Mapping[str, Any] | None) -> None:
        """Raises NO_SUCH_OUTPUT, INVALID_EXECUTE_REQUEST."""
        check_outputs(outputs, DESCRIPTION["outputs"])

    def takes_links(self, name: str) -> bool:
        """No input is a file: what a link leads to is the value."""
        return name not in self._validators

    def job_order(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Returns the values themselves; qualified ones stay qualified where they say more than the value.

        Raises INVALID_INPUTS.
        """
        self._check(inputs)
        order = {
            name: given if isinstance(given, dict) and "mediaType" in given else _unqualified(given)
            for name, given in inputs.items()
        }
        if WORDS in order:
            given = inputs[WORDS]
            order[WORDS] = [_unqualified(one) for one in (given if isinstance(given, list) else [given])]
        return order


def _schema_violations(validator: jsonschema_rs.Draft202012Validator, given: Any, place: str) -> Iterator[Violation]:
    """Finds the violations of a value; of a long list in pieces, since a schema finds all of them at once."""
    value = _unqualified(given)
    if isinstance(value, list):
        for start in range(0, max(1, len(value)), PIECE):
            for error in validator.iter_errors(value[start : start + PIECE]):
                index, *rest = error.instance_path or [""]
                tail = [start + index, *rest] if isinstance(index, int) else []
                yield Violation(join(place, *tail), f"{error.message[:300]}.")
    elif isinstance(value, dict) and isinstance(box := value.get("bbox"), list) and len(box) > MOST_SIDES:
        yield Violation(join(place, "bbox"), f"A bounding box has 4 or {MOST_SIDES} numbers.")
    else:
        for error in validator.iter_errors(value):
            yield Violation(join(place, *error.instance_path), f"{error.message[:300]}.")


def _encoding_problem(given: Any) -> str | None:
    try:
        known_encoding(given.get("encoding") if isinstance(given, dict) and "value" in given else None, ())
    except UnusableMember as error:
        return error.problem
    return None


def _media_violations(given: Any) -> list[Violation]:
    """A value of several formats: one that is qualified names one of them, any other is taken as text or as base64."""
    value = _unqualified(given)
    if not isinstance(value, str):
        return [Violation(f"/inputs/{MEDIA}", "This must be a string, or an object with value and mediaType.")]
    formats = {form["contentMediaType"]: form for form in _MEDIA["oneOf"]}
    named = given.get("mediaType") if isinstance(given, dict) else None
    if named is not None and named not in formats:
        return [Violation(f"/inputs/{MEDIA}/mediaType", f"This must be one of {', '.join(formats)}.")]
    encoded = named is not None and formats[named].get("contentEncoding") == "base64"
    if encoded and not _is_base64(value):
        return [Violation(f"/inputs/{MEDIA}/value", f"A value of {named} must be encoded in base64.")]
    return []


def _is_base64(text: str) -> bool:
    try:
        b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def _unqualified(given: Any) -> Any:
    """The value inside a qualified one (`inputValueNoObject` or `qualifiedInputValue` of the standard)."""
    if isinstance(given, dict) and "value" in given and set(given) <= BESIDE_A_VALUE:
        return given["value"]
    return given
