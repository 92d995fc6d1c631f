"""What Envoy says when it answers itself: a problem document (RFC 9457) with a sentence that helps.

A refusal by a route brings its own sentence; what Envoy's filters say is replaced where it only speaks to operators.
"""

from services.edge.asset_routes import asset_types
from services.edge.grpc_routes import GRPC_CONTENT
from services.edge.messages import Message, typed
from services.edge.replies import BODY_LIMIT

SAID = "%LOCAL_REPLY_BODY%"
"""What the route or filter said."""
OGC_EXCEPTIONS = {
    "INVALID_QUERY_PARAMETER": "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/invalid-query-parameter-value",
    "UNSUPPORTED_MEDIA_TYPE": "http://www.opengis.net/def/exceptions/ogcapi-processes-2/1.0/unsupported-media-type",
}
"""The problem types of the reasons in `error_reason.proto` that the edge gives."""

TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    411: "Length Required",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
DETAILS = {
    403: "Connections are not upgraded here: use HTTP/1.1, or HTTP/2 with prior knowledge.",
    408: "The request did not arrive in time.",
    413: f"The body is larger than the {BODY_LIMIT // 1024 // 1024} MiB that are read. A package has at most 1 MiB.",
    414: "The URL is longer than the 8 KiB that are read.",
    429: "Too many requests at once: try again in a moment.",
    431: "The headers of the request, its URL among them, are larger than the 20 KiB that are read.",
    500: "The answer of the service could not be passed on.",
    502: "The answer of the service could not be read.",
    503: (
        "The service that answers this cannot be reached at the moment. Try again in a few seconds; an execution with "
        "an Idempotency-Key may be repeated whatever happened to the first request."
    ),
    504: "The service did not answer in time. What was asked for may still be done.",
}
RETRY_AFTER = {429: "1", 503: "2"}
"""Seconds."""


def local_replies() -> Message:
    """What becomes of an answer of Envoy's own."""
    return {
        "mappers": [
            # Callers over gRPC get the sentence as the message of a status. A transcoded call looks the same by now but
            # for the path that it came with.
            {
                "filter": _all(
                    {"header_filter": {"header": GRPC_CONTENT}},
                    _absent("x-envoy-original-path"),
                ),
                "body_format_override": {"text_format_source": {"inline_string": SAID}},
            },
            *(
                {
                    "filter": _all(_status(200), {"header_filter": {"header": match}}),
                    "body_format_override": {
                        "content_type": media_type,
                        "text_format_source": {"inline_string": SAID},
                    },
                }
                for match, media_type in asset_types()
            ),
            {
                "filter": _status(200),
                "body_format_override": {
                    "content_type": "application/json",
                    "text_format_source": {"inline_string": SAID},
                },
            },
            {
                "filter": _all(_compared("GE", 201), _compared("LE", 399)),
                "body_format_override": {"text_format_source": {"inline_string": SAID}},
            },
            # What is no HTTP has no path.
            {
                "filter": _all(_status(400), _absent(":path")),
                "body_format_override": _problem("Bad Request", "The request cannot be read as HTTP."),
            },
            _reasoned("INVALID_QUERY_PARAMETER", "query-parameter", 400),
            _reasoned("UNSUPPORTED_MEDIA_TYPE", "unsupported-media-type", 415),
            *(_mapper(status, title) for status, title in TITLES.items()),
        ],
        "body_format": _problem("Error", SAID),
    }


def _reasoned(reason: str, route: str, status: int) -> Message:
    """For a refusal that a service gives too: whoever gives it, it reads the same."""
    problem = _problem(TITLES[status], SAID, OGC_EXCEPTIONS[reason])
    problem["json_format"]["reason"] = reason
    by_route = typed(
        "extensions.access_loggers.filters.cel.v3.ExpressionFilter", expression=f"xds.route_name == '{route}'"
    )
    cel = {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": by_route}
    return {"filter": _all(_status(status), {"extension_filter": cel}), "body_format_override": problem}


def _mapper(status: int, title: str) -> Message:
    mapper: Message = {"filter": _status(status), "body_format_override": _problem(title, DETAILS.get(status, SAID))}
    if status in RETRY_AFTER:
        mapper["headers_to_add"] = [
            {
                "header": {"key": "retry-after", "value": RETRY_AFTER[status]},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ]
    return mapper


def _problem(title: str, detail: str, problem_type: str = "about:blank") -> Message:
    return {
        "content_type": "application/problem+json",
        # A request whose headers could not be read has no path.
        "omit_empty_values": True,
        "json_format": {
            "type": problem_type,
            "title": title,
            "status": "%RESPONSE_CODE%",
            "detail": detail,
            # Without the query, which may hold what should not be repeated.
            "instance": "%PATH(NQ:ORIG_OR_PATH):500%",
        },
    }


def _all(*filters: Message) -> Message:
    return {"and_filter": {"filters": list(filters)}}


def _status(status: int) -> Message:
    return _compared("EQ", status)


def _absent(header: str) -> Message:
    return {"header_filter": {"header": {"name": header, "present_match": True, "invert_match": True}}}


def _compared(comparison: str, status: int) -> Message:
    return {
        "status_code_filter": {
            "comparison": {"op": comparison, "value": {"default_value": status, "runtime_key": "edge.none"}}
        }
    }
