"""Where a request goes, and which requests go nowhere.

Envoy looks twice: at the REST path, and, once the transcoder has made a gRPC call of it, at the path of that call. The
first look only decides whether the request is one of ours; no route rewrites a path, so what is not refused is what
the service receives.
"""

import re

from services.edge.asset_routes import asset_routes
from services.edge.grpc_routes import HEALTH, SHARED_SERVICES, grpc_routes
from services.edge.messages import Message, regex
from services.edge.operations import Operation
from services.edge.replies import method, preflight, refusal
from services.edge.rest_routes import page_routes, rest_routes

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
    r"(?i)[^?]*(?://|%2f|\\).*"
    r"|(?:[^?]*/)?(?:\.|%2e){1,2}(?:[/?].*)?"
    r"|.*%00.*"
)
UNUSUAL_PATH = r"(?i)[^?]*(?:%5c|%[01][0-9a-f]|%7f).*"
_USUAL = r"(?:[^?%/]|%(?:[2-4689a-f][0-9a-f]|5[0-9abd-f]|7[0-9a-e]))"
FILE_OR_LOG = rf"(?i)/(?:{_USUAL}|/)*/jobs/{_USUAL}+/(?:results|logs)/[^?]+(?:\?.*)?"
"""The paths in which a segment is a name that a job gave, with whatever characters a file system takes."""

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


def virtual_host(operations: list[Operation]) -> Message:
    """Everything that is served, in the order in which Envoy tries it."""
    return {
        "name": "edge",
        "domains": ["*"],
        "routes": [
            *grpc_routes(operations),
            *_malformed_routes(),
            *page_routes(operations),
            *rest_routes(operations),
            *asset_routes(),
            *_other_routes(operations),
        ],
    }


def _malformed_routes() -> list[Message]:
    return [
        refusal(
            {"prefix": "", "headers": [{"name": ":path", "string_match": regex(UTF8), "invert_match": True}]},
            400,
            "The URL holds something that is not percent-encoded UTF-8.",
            "not-utf8",
        ),
        *(
            refusal(
                {"prefix": "", "headers": headers},
                400,
                "The path holds an empty segment, the segment '.' or '..', an encoded slash, a backslash or a control "
                "character. No name here has any of them; send the path without them.",
                name,
            )
            for name, headers in (
                ("illegal-path", [{"name": ":path", "string_match": regex(ILLEGAL_PATH)}]),
                (
                    "unusual-path",
                    [
                        {"name": ":path", "string_match": regex(UNUSUAL_PATH)},
                        {"name": ":path", "string_match": regex(FILE_OR_LOG), "invert_match": True},
                    ],
                ),
            )
        ),
    ]


def _other_routes(operations: list[Operation]) -> list[Message]:
    services = "|".join(
        re.escape(service)
        for service in (*dict.fromkeys(operation.service for operation in operations), HEALTH, *SHARED_SERVICES)
    )
    called = regex(f"/(?:{services})/[^/]+")
    return [
        preflight({**called, "headers": [method("OPTIONS")]}, {"allow": "OPTIONS, POST"}),
        refusal(
            called,
            415,
            "This path speaks gRPC: send application/grpc or application/grpc-web, or use REST at "
            "/workspaces/{workspace}.",
            "unsupported-media-type",
            headers={"accept-post": "application/grpc, application/grpc-web+proto, application/grpc-web-text"},
        ),
        preflight({"path": "/", "headers": [method("OPTIONS")]}, {"allow": "GET, HEAD, OPTIONS"}),
        {
            "name": "root",
            "match": {"path": "/", "headers": [method("GET", "HEAD")]},
            "direct_response": {"status": 200, "body": {"inline_string": ROOT}},
        },
        refusal(
            {"path": "/"},
            405,
            "This resource has no such method; it has GET, HEAD, OPTIONS.",
            "method-not-allowed",
            headers={"allow": "GET, HEAD, OPTIONS"},
        ),
        refusal(
            {"prefix": "/"},
            404,
            "There is nothing at this path. A workspace is at /workspaces/{workspace}, its processes at "
            "/workspaces/{workspace}/processes and its jobs at /workspaces/{workspace}/jobs.",
            "not-found",
        ),
        # An asterisk or an authority instead of a path.
        refusal({"prefix": ""}, 400, "The request names no path.", "no-path"),
    ]
