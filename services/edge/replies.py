"""Routes that answer by themselves instead of asking a service."""

from services.edge.messages import Message, regex, typed

BODY_LIMIT = 4 * 1024 * 1024
"""Of any body. Far above what a package may have: the service gives the better answer to one that is too large."""

REQUEST_HEADERS = (
    "accept, accept-language, authorization, content-type, idempotency-key, if-match, if-none-match, if-range, "
    "last-event-id, prefer, range, traceparent, tracestate, x-request-id"
)
"""What a page of another origin may send."""

ANSWERED_HERE: Message = {
    # The transcoder would go its own way with a path that it knows, whatever the route says. Without services it does
    # nothing; a filter that is disabled would be left out by the route of the path that the script has not rewritten.
    "transcoder": typed(
        "extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder", proto_descriptor_bin="", services=[]
    ),
    # The body is read before it is refused: programs that are stopped in the middle of sending miss the answer.
    "buffer": typed("extensions.filters.http.buffer.v3.BufferPerRoute", buffer={"max_request_bytes": BODY_LIMIT}),
}


def method(*verbs: str) -> Message:
    """Matches requests of these methods."""
    if len(verbs) == 1:
        return {"name": ":method", "string_match": {"exact": verbs[0]}}
    return {"name": ":method", "string_match": regex("|".join(verbs))}


def preflight(match: Message, headers: dict[str, str]) -> Message:
    """Answers OPTIONS, which is also how a browser asks whether a page of another origin may call."""
    return {
        "name": "options",
        "match": match,
        "direct_response": {"status": 204},
        "response_headers_to_add": added_headers(
            {
                **headers,
                "access-control-allow-methods": headers["allow"],
                "access-control-allow-headers": REQUEST_HEADERS + ", grpc-timeout, x-grpc-web, x-user-agent",
                "access-control-max-age": "7200",
            }
        ),
        "typed_per_filter_config": dict(ANSWERED_HERE),
    }


def refusal(match: Message, status: int, detail: str, name: str, headers: dict[str, str] | None = None) -> Message:
    """Refuses with a sentence, of which `problems.py` makes a problem document."""
    return {
        "name": name,
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": detail}},
        **({"response_headers_to_add": added_headers(headers)} if headers else {}),
        "typed_per_filter_config": dict(ANSWERED_HERE),
    }


def added_headers(headers: dict[str, str]) -> list[Message]:
    """Headers as a route adds them to what it answers."""
    return [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in headers.items()
    ]
