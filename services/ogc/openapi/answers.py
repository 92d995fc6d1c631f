"""What the contract cannot tell of an operation over REST: the statuses of its success, the media types of what passes
as bytes, and headers. Everything that is not named here is answered with 200 and the JSON of its message.
"""

from dataclasses import dataclass, field

from services.ogc.openapi.contract import Operation
from services.ogc.openapi.documents import TEXT, URI, refer
from services.ogc.openapi.schemas import Schema
from services.ogc.requests import OPENAPI

JSON = "application/json"
ANY = "*/*"
BYTES: Schema = {"type": "string", "format": "binary"}
CWL_TYPES = ("application/cwl", "application/cwl+yaml", "application/yaml", "application/x-yaml", "text/yaml")
PACKAGES: dict[str, Schema] = {
    "application/ogcapppkg+json": refer("applicationPackage"),
    "application/cwl+json": refer("cwl"),
    "application/json": {"anyOf": [refer("applicationPackage"), refer("cwl")]},
    **dict.fromkeys(CWL_TYPES, TEXT),
}
BODIES: dict[str, dict[str, Schema]] = {
    "package": PACKAGES,
    "request": {JSON: refer("execute")},
    "sharing": {JSON: refer("ProcessSharing"), "application/merge-patch+json": refer("ProcessSharing")},
    "message": {JSON: refer("harvest")},
}
"""The media types of bodies, by the field that the body fills."""

LOCATION: Schema = {"description": "The address of what was made.", "schema": URI}
LINK: Schema = {"description": "The job, or the outputs that are answered by reference.", "schema": TEXT}
APPLIED: Schema = {"description": "Which preference was followed (RFC 7240).", "schema": TEXT}


@dataclass(frozen=True)
class Answer:
    """One way in which an operation succeeds."""

    status: int
    description: str
    content: dict[str, Schema] = field(default_factory=dict)
    headers: dict[str, Schema] = field(default_factory=dict)


NOT_MODIFIED = Answer(304, "The caller has it already.", headers={"ETag": {"schema": TEXT}})
RESULTS = {JSON: {}, "multipart/related": BYTES, ANY: BYTES}
ANSWERS: dict[str, tuple[Answer, ...]] = {
    "GetApi": (Answer(200, "The definition.", {OPENAPI: refer("definition")}),),
    "GetProcess": (Answer(200, "The description.", {JSON: refer("processDescription")}),),
    "GetPackage": (
        Answer(
            200,
            "The package as it was deployed.",
            {media_type: {} for media_type in (*PACKAGES, ANY)},
            {"Content-Disposition": {"schema": TEXT}},
        ),
    ),
    "DeployProcess": (
        Answer(201, "The process is deployed.", {JSON: refer("Process")}, {"Location": LOCATION}),
        Answer(200, "What would be deployed, where only that was asked for.", {JSON: refer("processDescription")}),
    ),
    "ReplaceProcess": (
        Answer(204, "The process is replaced.", headers={"Location": LOCATION}),
        Answer(200, "What would be deployed, where only that was asked for.", {JSON: refer("processDescription")}),
    ),
    "UndeployProcess": (Answer(204, "The process is gone."),),
    "ExecuteProcess": (
        Answer(201, "The job.", {JSON: refer("Job")}, {"Location": LOCATION, "Preference-Applied": APPLIED}),
        Answer(
            200,
            "The results of a job that was waited for, as `response` asks for them.",
            RESULTS,
            {"Link": LINK, "Preference-Applied": APPLIED},
        ),
        Answer(204, "The results are where the links lead.", headers={"Link": LINK, "Preference-Applied": APPLIED}),
    ),
    "WatchJob": (Answer(200, "The events, as they happen.", {"text/event-stream": {}}),),
    "ReadLog": (Answer(200, "The log.", {"text/plain": TEXT}),),
    "GetResults": (
        Answer(200, "The results, as the execute request asked for them.", RESULTS, {"Link": LINK}),
        Answer(204, "The results are where the links lead.", headers={"Link": LINK}),
    ),
    "ReadResult": (
        Answer(200, "The output.", {JSON: {}, ANY: BYTES}, {"Accept-Ranges": {"schema": TEXT}}),
        Answer(206, "A part of the output.", {ANY: BYTES}, {"Content-Range": {"schema": TEXT}}),
    ),
}

UNCHANGED = {"If-Match": "The `ETag` that has to be there."}
CONDITIONS = UNCHANGED | {"If-None-Match": "The `ETag` of what need not be sent again."}
HEADERS: dict[str, dict[str, str]] = {
    "ExecuteProcess": {
        "Prefer": "`respond-async` to get the job at once, `wait=N` to wait for its results at most N seconds.",
        "Idempotency-Key": "The same key twice makes one job; kept for 7 days.",
    },
    "WatchJob": {"Last-Event-ID": "Resumes after the event of this id."},
    "GetApi": CONDITIONS,
    "GetProcess": CONDITIONS,
    "GetPackage": CONDITIONS,
    "GetResults": CONDITIONS,
    "ReplaceProcess": UNCHANGED,
    "UndeployProcess": UNCHANGED,
    "ShareProcess": UNCHANGED,
    "ReadResult": {
        **CONDITIONS,
        "Range": "Asks for a part of a file.",
        "If-Range": "The `ETag` that the file must have for that.",
    },
}
"""Headers of requests, and what they ask for."""

REFUSALS = (
    "TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED", "ACTION_NOT_ALLOWED", "AUTHORIZATION_UNAVAILABLE",
    "IDENTITY_UNAVAILABLE", "INVALID_REQUEST", "INVALID_NAME", "INVALID_QUERY_PARAMETER", "INVALID_HEADER",
    "NOT_ACCEPTABLE", "DATABASE_UNAVAILABLE", "DATABASE_BUSY", "OUTCOME_UNKNOWN", "SHUTTING_DOWN", "TOO_MANY_REQUESTS",
    "INTERNAL",
)  # fmt: skip
"""Why any operation may refuse."""
REFUSED_AT_THE_EDGE = {
    404: "There is nothing at this path.",
    414: "The URL is too long.",
    431: "The headers are too large.",
    504: "The service did not answer in time.",
}
BODY_REFUSED_AT_THE_EDGE = {
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The media type of the body is not read here.",
}


def answers(operation: Operation, message: Schema | None) -> tuple[Answer, ...]:
    """The ways in which an operation succeeds; `message` is the schema of the message it answers with."""
    unread = (NOT_MODIFIED,) if "If-None-Match" in HEADERS.get(operation.name, {}) else ()
    if operation.name in ANSWERS:
        return ANSWERS[operation.name] + unread
    if message is None:
        raise ValueError(f"{operation.name} answers bytes, and nothing says of which media type.")
    return (Answer(200, "The answer.", {JSON: message}), *unread)
