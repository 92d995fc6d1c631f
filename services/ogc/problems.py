"""Problem documents (RFC 9457), with the exception types of OGC API - Processes."""

import orjson

from services.ogc.requests import RestRequest
from services.shared.errors import PREFIX, ServiceError
from services.shared.trailers import cut
from workflow_runner.v1.error_reason_pb2 import ErrorReason

OWN_PROBLEMS = "https://workflow-runner.dev/problems/"
OGC_EXCEPTIONS = "http://www.opengis.net/def/exceptions/"
# OGC API - Processes Part 1 (1.0) and Part 2 name these; everything else has a type of our own.
OGC_TYPES = {
    "NO_SUCH_PROCESS": "ogcapi-processes-1/1.0/no-such-process",
    "NO_SUCH_REVISION": "ogcapi-processes-1/1.0/no-such-process",
    "NO_SUCH_JOB": "ogcapi-processes-1/1.0/no-such-job",
    "RESULT_NOT_READY": "ogcapi-processes-1/1.0/result-not-ready",
    "RESULT_NOT_AVAILABLE": "ogcapi-processes-1/1.0/result-not-available",
    "NO_SUCH_OUTPUT": "ogcapi-processes-1/1.0/no-such-output",
    "INVALID_QUERY_PARAMETER": "ogcapi-processes-1/1.0/invalid-query-parameter-value",
    "DUPLICATED_PROCESS": "ogcapi-processes-2/1.0/duplicated-process",
    "IMMUTABLE_PROCESS": "ogcapi-processes-2/1.0/immutable-process",
    "UNSUPPORTED_MEDIA_TYPE": "ogcapi-processes-2/1.0/unsupported-media-type",
    "WORKFLOW_NOT_FOUND": "ogcapi-processes-2/1.0/workflow-not-found",
}

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    406: "Not Acceptable",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}

LARGEST_PROBLEM = 6000
"""In bytes, since it travels as a header. Less where other headers need the room."""
LONGEST_DETAIL = 1500
LONGEST_INSTANCE = 500


def problem_type(reason: int) -> str:
    """The `type` of the problem document for a reason."""
    name = ErrorReason.Name(reason).removeprefix(PREFIX)
    if ogc := OGC_TYPES.get(name):
        return OGC_EXCEPTIONS + ogc
    return OWN_PROBLEMS + name.lower().replace("_", "-")


def problem(
    error: ServiceError,
    *,
    status: int,
    title: str,
    rest: RestRequest,
    trace_id: str | None,
    most: int = LARGEST_PROBLEM,
) -> bytes:
    """Makes the problem document (RFC 9457) of a refusal, as ASCII so that it may travel as a header.

    It has at most so many bytes. What is too long is cut, and `moreErrors` tells how many violations are left out.
    """
    document: dict[str, object] = {
        "type": problem_type(error.reason),
        "title": title,
        "status": status,
        "detail": cut(error.message, LONGEST_DETAIL, _width),
        "instance": cut(rest.instance, LONGEST_INSTANCE, _width),
        "reason": error.reason_name,
    }
    if trace_id:
        document["traceId"] = trace_id
    # Of what follows a count of those that are left out has to find room too.
    room = most - len(_ascii(document)) - len(',"errors":[],"moreErrors":1000000')
    errors: list[dict[str, str]] = []
    for violation in error.violations:
        entry = {"pointer": cut(violation.pointer, 300, _width), "detail": cut(violation.message, 1000, _width)}
        room -= len(_ascii(entry)) + 1
        if room < 0:
            break
        errors.append(entry)
    if errors:
        document["errors"] = errors
    if left_out := len(error.violations) - len(errors):
        document["moreErrors"] = left_out
    return _ascii(document)


def _ascii(document: object) -> bytes:
    # orjson leaves what is not ASCII as it is, and the one control character that JSON allows; no header may hold them.
    text = orjson.dumps(document).decode()
    return "".join(character if " " <= character <= "~" else _escaped(character) for character in text).encode("ascii")


def _width(character: str) -> int:
    return len(_ascii(character)) - 2


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
