"""What an execute request may say of outputs: which, in which format, by value or by reference."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.shared.errors import InvalidArgument, Violation
from services.submission.execution.qualified_values import UnusableMember, known_encoding
from services.submission.packages.document import join
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_EXECUTE_REQUEST, ERROR_REASON_NO_SUCH_OUTPUT

JSON = "application/json"
UNKNOWN = "application/octet-stream"


def check_outputs(wanted: Mapping[str, Any] | None, described: Mapping[str, Any]) -> None:
    """Raises NO_SUCH_OUTPUT for an output that is not described, INVALID_EXECUTE_REQUEST for an unknown way."""
    for name, asked in (wanted or {}).items():
        pointer = join("/outputs", name)
        if name not in described:
            raise InvalidArgument(
                ERROR_REASON_NO_SUCH_OUTPUT,
                "The process has no output {output}. It has: {available}.",
                violations=[Violation(pointer, "There is no such output.")],
                output=name[:100],
                available=", ".join(described) or "none",
            )
        if not isinstance(asked, dict) or asked.get("transmissionMode", "value") not in ("value", "reference"):
            raise _invalid(pointer, "An output is asked for with an object; transmissionMode is value or reference.")
        form = asked.get("format") or {}
        media_type = form.get("mediaType", "") if isinstance(form, dict) else None
        if not isinstance(media_type, str):
            raise _invalid(join(pointer, "format"), "format is an object; its mediaType is a string.")
        try:
            known_encoding(form.get("encoding"), ("format", "encoding"))
        except UnusableMember as error:
            raise _invalid(join(pointer, *error.place), error.problem) from None
        available = _media_types(described[name].get("schema") or {})
        if media_type and available and media_type.partition(";")[0].strip().lower() not in available:
            raise _invalid(
                join(pointer, "format", "mediaType"), f"This output can be had as {', '.join(sorted(available))}."
            )


def _media_types(schema: Mapping[str, Any]) -> set[str]:
    """What an output can be had as; empty where only the job knows."""
    found: set[str] = set()
    for form in _alternatives(schema):
        if "href" in form.get("properties", ()):
            continue
        media_type = str(form.get("contentMediaType", "")).partition(";")[0].strip().lower()
        if media_type == UNKNOWN or not form:
            return set()
        if media_type:
            found.add(media_type)
        if form.get("type") == "string" and not media_type:
            found |= {"text/plain", JSON}
        elif form.get("type") != "string":
            found.add(JSON)
    return found


def _alternatives(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    forms = schema.get("anyOf") or schema.get("oneOf")
    if not forms:
        yield schema
    for form in forms or ():
        yield from _alternatives(form)


def _invalid(pointer: str, message: str) -> InvalidArgument:
    return InvalidArgument(ERROR_REASON_INVALID_EXECUTE_REQUEST, message, violations=[Violation(pointer, message)])
