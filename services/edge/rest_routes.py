"""Which REST requests are ones of ours.

The transcoder makes gRPC calls of the paths that it knows; before it does, a request must have a method, a query and a
content type that its operation has. Only names that are listed are let through: the transcoder would let a query
parameter override a variable of the path.
"""

import re

from services.edge.grpc_routes import lasting
from services.edge.messages import Message, regex, typed
from services.edge.operations import Binding, Operation
from services.edge.replies import method, preflight, refusal

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

READ_BY_HEAD = ("GetResults", "ReadResult")
"""The streams that HEAD is answered for: they end by themselves."""

GRPC_TRAILERS = ("grpc-status", "grpc-message", "grpc-status-details-bin")
ENCODED_CONTENT: Message = {
    "name": "content-encoding",
    "string_match": regex("(?i)(?:identity)?"),
    "treat_missing_header_as_empty": True,
    "invert_match": True,
}


FOR_A_PAGE: Message = {"name": "x-page", "present_match": True}
"""Matches what the script has taken for a request for a page."""


def rest_routes(operations: list[Operation]) -> list[Message]:
    """The routes of every path, in the order in which a request is looked at."""
    paths: dict[str, dict[str, tuple[Operation, Binding]]] = {}
    for operation in operations:
        for binding in () if operation.is_page else operation.bindings:
            methods = paths.setdefault(binding.path_regex, {})
            if binding.verb in methods:
                raise ValueError(f"{operation.name} and {methods[binding.verb][0].name} have the same method and path.")
            methods[binding.verb] = (operation, binding)
    return [route for path, methods in paths.items() for route in _path_routes(path, methods)]


def page_routes(operations: list[Operation]) -> list[Message]:
    """The routes of pages. Their paths are the script's to choose, so nobody else finds anything there."""
    return [
        route
        for operation in operations
        if operation.is_page
        for binding in operation.bindings
        for route in _operation_routes(
            regex(binding.path_regex), [method(binding.verb), FOR_A_PAGE], operation, binding, binding.verb
        )
    ]


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
        preflight({**at, "headers": [method("OPTIONS")]}, headers),
        refusal(
            {**at, "headers": [{**method(*sorted(verbs)), "invert_match": True}]},
            405,
            f"This resource has no such method; it has {allow}.",
            "method-not-allowed",
            headers={"allow": allow},
        ),
    ]
    for verb, (operation, binding) in methods.items():
        here = [method(verb, "HEAD")] if verb == "GET" and "HEAD" in verbs else [method(verb)]
        routes += _operation_routes(at, here, operation, binding, verb)
    return routes


def _operation_routes(
    at: Message, here: list[Message], operation: Operation, binding: Binding, verb: str
) -> list[Message]:
    routes = [
        refusal(
            {**at, "headers": [*here, {"name": ":path", "string_match": regex(_query(binding)), "invert_match": True}]},
            400,
            _query_in_words(binding),
            "query-parameter",
        )
    ]
    if once := [re.escape(parameter.name) for parameter in binding.query if not parameter.repeated]:
        twice = "|".join(rf"{name}=[^&]*&(?:.*&)?{name}=.*" for name in once)
        routes.append(
            refusal(
                {**at, "headers": [*here, {"name": ":path", "string_match": regex(rf"[^?]*\?(?:.*&)?(?:{twice})")}]},
                400,
                "A query parameter is there twice, and it is not known which one is meant.",
                "query-parameter",
            )
        )
    if operation.body:
        types = BODY_TYPES[operation.body]
        listed = ", ".join(types)
        routes += [
            refusal(
                {**at, "headers": [*here, _content_type_is_none_of(types)]},
                415,
                f"The Content-Type of this request must be stated, and be one of: {listed}.",
                "unsupported-media-type",
                headers={f"accept-{verb.lower()}" if verb in ("POST", "PATCH") else "accept": listed},
            ),
            refusal(
                {**at, "headers": [*here, ENCODED_CONTENT]},
                415,
                "The body must not be compressed: send it without Content-Encoding.",
                "unsupported-media-type",
                headers={"accept-encoding": "identity"},
            ),
        ]
    routes.append(
        {
            "name": f"rest-{operation.name}",
            "match": {**at, "headers": here},
            # The transcoder takes the call from here; its second look finds the timeouts and retries.
            "route": lasting(operation.cluster, streams=operation.streams),
            "typed_per_filter_config": {
                "trailers": typed(
                    "extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
                    mutations={"response_trailers_mutations": [{"remove": name} for name in GRPC_TRAILERS]},
                ),
            },
        }
    )
    return routes


def _answers_head(operation: Operation) -> bool:
    return not operation.streams or operation.name in READ_BY_HEAD


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
