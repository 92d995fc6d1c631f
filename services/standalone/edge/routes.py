"""Where a request goes, and which requests go nowhere.

Envoy looks twice: at the REST path, and, once the transcoder has made a gRPC call of it, at the path of that call. The
first look only decides whether the request is one of ours; the path is never rewritten, so what is not refused is what
the service receives.
"""

import re
from collections.abc import Iterable

from services.standalone.edge.messages import Message, regex, typed
from services.standalone.edge.operations import Binding, Operation

LONGEST_CALL = "75s"
"""How long anything but a stream may take; a synchronous execution may take a minute."""

PACKAGE_TYPES = (
    "application/cwl",
    "application/cwl+yaml",
    "application/cwl+json",
    "application/ogcapppkg+json",
    "application/json",
    "application/yaml",
    "application/x-yaml",
    "text/yaml",
)
BODY_TYPES = {
    "package": PACKAGE_TYPES,
    "request": ("application/json",),
    "sharing": ("application/json", "application/merge-patch+json"),
    "message": ("application/json",),
}
"""The media types that are read, by the field that the body fills."""

BODY_LIMIT = 4 * 1024 * 1024
"""Of any body. Far above what a package may have: the service gives the better answer to one that is too large."""

READ_BY_HEAD = ("ReadResult",)
"""The streams that HEAD is answered for: they end by themselves."""

SHARED_SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""Every service answers these for the whole suite."""
HEALTH = "grpc.health.v1.Health"

REQUEST_HEADERS = (
    "accept, accept-language, authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, "
    "prefer, range, traceparent, tracestate, x-request-id"
)
"""What a page of another origin may send."""

# Sent again only while the service cannot have seen it.
UNSEEN = "connect-failure,refused-stream,reset-before-request"
# Sent again whatever happened, since a second time does no harm.
REPEATABLE = f"{UNSEEN},reset,unavailable"

_HEXADECIMAL_UTF8 = (
    "%[0-7][0-9a-f]"
    "|%c[2-9a-f]%[89ab][0-9a-f]|%d[0-9a-f]%[89ab][0-9a-f]"
    "|%e0%[ab][0-9a-f]%[89ab][0-9a-f]|%ed%[89][0-9a-f]%[89ab][0-9a-f]"
    "|%e[1-9a-cef]%[89ab][0-9a-f]%[89ab][0-9a-f]"
    "|%f0%[9ab][0-9a-f]%[89ab][0-9a-f]%[89ab][0-9a-f]|%f[123]%[89ab][0-9a-f]%[89ab][0-9a-f]%[89ab][0-9a-f]"
    "|%f4%8[0-9a-f]%[89ab][0-9a-f]%[89ab][0-9a-f]"
)
UTF8 = f"(?i)(?:[!-$&-~]|{_HEXADECIMAL_UTF8})*"
ILLEGAL_PATH = (
    r"(?i)[^?]*(?://|%2f|%5c|\\|%[01][0-9a-f]|%7f).*"
    r"|(?:[^?]*/)?(?:\.|%2e){1,2}(?:[/?].*)?"
    r"|.*%00.*"
)

ANSWERED_HERE: Message = {
    # The transcoder would go its own way with a path that it knows, whatever the route says.
    "transcoder": typed("config.route.v3.FilterConfig", disabled=True),
    # The body is read before it is refused: programs that are stopped in the middle of sending miss the answer.
    "buffer": typed("extensions.filters.http.buffer.v3.BufferPerRoute", buffer={"max_request_bytes": BODY_LIMIT}),
}

GRPC_CONTENT = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}


def virtual_host(operations: Iterable[Operation]) -> Message:
    """Everything that is served, in the order in which Envoy tries it."""
    served = list(operations)
    return {
        "name": "edge",
        "domains": ["*"],
        "routes": [*_grpc_routes(served), *_malformed_routes(), *_rest_routes(served), *_other_routes(served)],
    }


# gRPC, native and transcoded


def _grpc_routes(operations: list[Operation]) -> list[Message]:
    routes: list[Message] = []
    for operation in operations:
        match: Message = {"path": operation.path, "headers": [GRPC_CONTENT]}
        if operation.name == "ExecuteProcess":
            keyed = {"name": "idempotency-key", "present_match": True}
            routes.append(
                {
                    "name": operation.name,
                    "stat_prefix": operation.name,
                    "match": {**match, "headers": [GRPC_CONTENT, keyed]},
                    "route": _to(operation.cluster, streams=False, retry_on=REPEATABLE),
                }
            )
        routes.append(
            {
                "name": operation.name,
                "stat_prefix": operation.name,
                "match": match,
                "route": _to(
                    operation.cluster, streams=operation.streams, retry_on=REPEATABLE if operation.reads else UNSEEN
                ),
            }
        )
    clusters = {operation.service: operation.cluster for operation in operations}
    for service, cluster in clusters.items():
        # An RPC that this edge does not know: the service says that it is not implemented.
        routes.append(_grpc_service(service, cluster))
        # grpc.health.v1 names the service in the message only; the script copies it into a header.
        asked = {"name": "x-health-service", "string_match": {"exact": service}}
        route = _grpc_service(HEALTH, cluster)
        route["match"]["headers"].append(asked)
        routes.append(route)
    routes.append(_grpc_service(HEALTH, "submission"))
    routes += [_grpc_service(service, "submission") for service in SHARED_SERVICES]
    routes.append(
        _refusal(
            {"prefix": "/", "headers": [GRPC_CONTENT]},
            404,
            "There is no such gRPC service or method here.",
            "unknown-grpc",
        )
    )
    return routes


def _grpc_service(service: str, cluster: str) -> Message:
    return {
        "name": service,
        "stat_prefix": service.replace(".", "_"),
        "match": {"prefix": f"/{service}/", "headers": [GRPC_CONTENT]},
        "route": _to(cluster, streams=True, retry_on=UNSEEN),
    }


def _to(cluster: str, *, streams: bool, retry_on: str) -> Message:
    return {
        **_lasting(cluster, streams=streams),
        "retry_policy": {
            "retry_on": retry_on,
            "num_retries": 2,
            "retry_back_off": {"base_interval": "0.05s", "max_interval": "1s"},
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": typed("extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
                }
            ],
            "host_selection_retry_max_attempts": 3,
        },
    }


def _lasting(cluster: str, *, streams: bool) -> Message:
    if streams:
        return {"cluster": cluster, "timeout": "0s", "idle_timeout": "0s"}
    return {"cluster": cluster, "timeout": LONGEST_CALL}


# REST


def _malformed_routes() -> list[Message]:
    return [
        _refusal(
            {"prefix": "", "headers": [{"name": ":path", "string_match": regex(UTF8), "invert_match": True}]},
            400,
            "The URL holds something that is not percent-encoded UTF-8.",
            "not-utf8",
        ),
        _refusal(
            {"prefix": "", "headers": [{"name": ":path", "string_match": regex(ILLEGAL_PATH)}]},
            400,
            "The path holds an empty segment, the segment '.' or '..', an encoded slash, a backslash or a control "
            "character. No name here has any of them; send the path without them.",
            "illegal-path",
        ),
    ]


def _rest_routes(operations: list[Operation]) -> list[Message]:
    paths: dict[str, dict[str, tuple[Operation, Binding]]] = {}
    for operation in operations:
        for binding in operation.bindings:
            methods = paths.setdefault(binding.path_regex, {})
            if binding.verb in methods:
                raise ValueError(f"{operation.name} and {methods[binding.verb][0].name} have the same method and path.")
            methods[binding.verb] = (operation, binding)
    return [route for path, methods in paths.items() for route in _path_routes(path, methods)]


def _path_routes(path: str, methods: dict[str, tuple[Operation, Binding]]) -> list[Message]:
    at = regex(path)
    verbs = {*methods, "OPTIONS"}
    if "GET" in methods and _answers_head(methods["GET"][0]):
        verbs.add("HEAD")
    allow = ", ".join(sorted(verbs))
    headers = {"allow": allow}
    for verb, (operation, _) in methods.items():
        if operation.body and verb in ("POST", "PATCH"):
            headers[f"accept-{verb.lower()}"] = ", ".join(BODY_TYPES[operation.body])
    routes = [
        _preflight({**at, "headers": [_method("OPTIONS")]}, headers),
        _refusal(
            {**at, "headers": [{**_method(*sorted(verbs)), "invert_match": True}]},
            405,
            f"This resource has no such method; it has {allow}.",
            "method-not-allowed",
            headers={"allow": allow},
        ),
    ]
    for verb, (operation, binding) in methods.items():
        here = [_method(verb, "HEAD")] if verb == "GET" and "HEAD" in verbs else [_method(verb)]
        routes += _operation_routes(at, here, operation, binding, verb)
    return routes


def _operation_routes(
    at: Message, here: list[Message], operation: Operation, binding: Binding, verb: str
) -> list[Message]:
    routes = [
        _refusal(
            {**at, "headers": [*here, {"name": ":path", "string_match": regex(_query(binding)), "invert_match": True}]},
            400,
            _query_in_words(binding),
            "query-parameter",
        )
    ]
    if once := [re.escape(parameter.name) for parameter in binding.query if not parameter.repeated]:
        twice = "|".join(rf"{name}=[^&]*&(?:.*&)?{name}=.*" for name in once)
        routes.append(
            _refusal(
                {**at, "headers": [*here, {"name": ":path", "string_match": regex(rf"[^?]*\?(?:.*&)?(?:{twice})")}]},
                400,
                "A query parameter is there twice, and it is not known which one is meant.",
                "repeated-query-parameter",
            )
        )
    if operation.body:
        types = BODY_TYPES[operation.body]
        listed = ", ".join(types)
        routes += [
            _refusal(
                {**at, "headers": [*here, _content_type_is_none_of(types)]},
                415,
                f"The Content-Type of this request must be stated, and be one of: {listed}.",
                "unsupported-media-type",
                headers={f"accept-{verb.lower()}" if verb in ("POST", "PATCH") else "accept": listed},
            ),
            _refusal(
                {**at, "headers": [*here, ENCODED_CONTENT]},
                415,
                "The body must not be compressed: send it without Content-Encoding.",
                "unsupported-content-encoding",
                headers={"accept-encoding": "identity"},
            ),
        ]
    routes.append(
        {
            "name": f"rest-{operation.name}",
            "match": {**at, "headers": here},
            # The transcoder takes the call from here; its second look finds the timeouts and retries.
            "route": _lasting(operation.cluster, streams=operation.streams),
            "typed_per_filter_config": {
                "trailers": typed(
                    "extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
                    mutations={"response_trailers_mutations": [{"remove": name} for name in GRPC_TRAILERS]},
                ),
            },
        }
    )
    return routes


GRPC_TRAILERS = ("grpc-status", "grpc-message", "grpc-status-details-bin")
ENCODED_CONTENT: Message = {
    "name": "content-encoding",
    "string_match": regex("(?i)(?:identity)?"),
    "treat_missing_header_as_empty": True,
    "invert_match": True,
}


def _answers_head(operation: Operation) -> bool:
    return not operation.streams or operation.name in READ_BY_HEAD


def _method(*verbs: str) -> Message:
    if len(verbs) == 1:
        return {"name": ":method", "string_match": {"exact": verbs[0]}}
    return {"name": ":method", "string_match": regex("|".join(verbs))}


def _query(binding: Binding) -> str:
    one = "|".join(f"{re.escape(parameter.name)}=(?:{parameter.values})" for parameter in binding.query)
    return rf"[^?]*(?:\?(?:{one})?(?:&(?:{one})?)*)?"


def _query_in_words(binding: Binding) -> str:
    if not binding.query:
        return "There are no query parameters here."
    known = (f"{one.name} ({one.kind})" if one.kind else one.name for one in binding.query)
    return f"The query parameters here are {', '.join(known)}, each as name=value."


def _content_type_is_none_of(types: tuple[str, ...]) -> Message:
    return {
        "name": "content-type",
        "string_match": regex(rf"(?i)(?:{'|'.join(map(re.escape, types))})\s*(?:;.*)?"),
        "treat_missing_header_as_empty": True,
        "invert_match": True,
    }


# Everything else

ROOT = """{
  "title": "Workflow Runner",
  "description": "Runs Earth-observation application packages (CWL). Every workspace is an OGC API - Processes \
endpoint of its own. The same port answers gRPC.",
  "links": [
    {"href": "/livez", "rel": "status", "title": "Whether the edge is up"},
    {"href": "/readyz", "rel": "status", "title": "Whether the services behind it can be reached"}
  ],
  "linkTemplates": [
    {"uriTemplate": "/workspaces/{workspace}", "rel": "item", "title": "The landing page of a workspace"}
  ]
}
"""


def _other_routes(operations: list[Operation]) -> list[Message]:
    services = "|".join(
        re.escape(service)
        for service in (*dict.fromkeys(operation.service for operation in operations), HEALTH, *SHARED_SERVICES)
    )
    called = regex(f"/(?:{services})/[^/]+")
    return [
        _preflight({**called, "headers": [_method("OPTIONS")]}, {"allow": "OPTIONS, POST"}),
        _refusal(
            called,
            415,
            "This path speaks gRPC: send application/grpc or application/grpc-web, or use REST at "
            "/workspaces/{workspace}.",
            "not-grpc",
            headers={"accept-post": "application/grpc, application/grpc-web+proto, application/grpc-web-text"},
        ),
        _preflight({"path": "/", "headers": [_method("OPTIONS")]}, {"allow": "GET, HEAD, OPTIONS"}),
        {
            "name": "root",
            "match": {"path": "/", "headers": [_method("GET", "HEAD")]},
            "direct_response": {"status": 200, "body": {"inline_string": ROOT}},
        },
        _refusal(
            {"path": "/"},
            405,
            "This resource has no such method; it has GET, HEAD, OPTIONS.",
            "method-not-allowed",
            headers={"allow": "GET, HEAD, OPTIONS"},
        ),
        _refusal(
            {"prefix": "/"},
            404,
            "There is nothing at this path. A workspace is at /workspaces/{workspace}, its processes at "
            "/workspaces/{workspace}/processes and its jobs at /workspaces/{workspace}/jobs.",
            "not-found",
        ),
        # An asterisk or an authority instead of a path.
        _refusal({"prefix": ""}, 400, "The request names no path.", "no-path"),
    ]


def _preflight(match: Message, headers: dict[str, str]) -> Message:
    """Answers OPTIONS, which is also how a browser asks whether a page of another origin may call."""
    return {
        "name": "options",
        "match": match,
        "direct_response": {"status": 204},
        "response_headers_to_add": _headers(
            {
                **headers,
                "access-control-allow-methods": headers["allow"],
                "access-control-allow-headers": REQUEST_HEADERS + ", grpc-timeout, x-grpc-web, x-user-agent",
                "access-control-max-age": "7200",
            }
        ),
        "typed_per_filter_config": dict(ANSWERED_HERE),
    }


def _refusal(match: Message, status: int, detail: str, name: str, headers: dict[str, str] | None = None) -> Message:
    return {
        "name": name,
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": detail}},
        **({"response_headers_to_add": _headers(headers)} if headers else {}),
        "typed_per_filter_config": dict(ANSWERED_HERE),
    }


def _headers(headers: dict[str, str]) -> list[Message]:
    return [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in headers.items()
    ]
