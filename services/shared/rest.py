"""What a service does for callers that come over REST: Envoy transcodes their requests, this is the other half of it.

Envoy turns initial metadata into response headers and `x-http-status` into the status; an error brings its problem
document in trailing metadata (`docs/rest.md` tells the whole agreement).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import grpc.aio
import orjson

from services.shared.errors import PREFIX, ServiceError
from services.shared.trailers import cut
from workflow_runner.v1.error_reason_pb2 import ErrorReason
from workflow_runner.v1.link_pb2 import Link

OGC_EXCEPTIONS = "http://www.opengis.net/def/exceptions/"
OGC_RELATIONS = "http://www.opengis.net/def/rel/ogc/1.0/"
OWN_PROBLEMS = "https://workflow-runner.dev/problems/"
OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
"""The media type of the API definition, literally: clients look for it so."""

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

ALIAS_HEADER = "x-workflow-runner-alias"
"""Where the edge says that a request came by a path of the EO DataHub. It removes what clients write there."""
HEAD_HEADER = "x-workflow-runner-head"
"""Where the edge says that it asks in place of HEAD."""
CATALOG = "/api/catalogue/"
CATALOG_HAS = ("processes", "jobs")
"""What of a workspace the EO DataHub has below its catalog; the rest of it is the catalog's own."""

LARGEST_PROBLEM = 6000
"""In bytes, since it travels as a header. Less where other headers need the room."""
LONGEST_DETAIL = 1500
LONGEST_INSTANCE = 500

PREFERENCE = re.compile(r'(?:[^",;]|"(?:[^"\\]|\\.)*")+')


@dataclass(frozen=True, kw_only=True)
class RestRequest:
    """What is known of the HTTP request behind a call."""

    path: str
    """The path and query as the client sent them."""
    root: str
    """Scheme, host and prefix as the client sees them, without a slash at the end."""
    headers: Mapping[str, str]
    alias: str | None = None
    """The path of the workspace as a client of the EO DataHub knows it: all links begin with it."""

    @classmethod
    def of(cls, metadata: Iterable[tuple[str, str | bytes]], public_url: str | None) -> "RestRequest | None":
        """Reads the metadata of a call; None when it did not come over REST."""
        headers: dict[str, str] = {}
        for key, value in metadata:
            if isinstance(value, str):
                # Several headers of one name are one list (RFC 9110, 5.3).
                headers[key] = f"{headers[key]}, {value}" if key in headers else value
        path = headers.get("x-envoy-original-path")
        if path is None:
            return None
        if public_url is None:
            scheme = headers.get("x-forwarded-proto", "http")
            host = headers.get("x-forwarded-host", "localhost")
            public_url = f"{scheme}://{host}{headers.get('x-forwarded-prefix', '')}"
        return cls(path=path, root=public_url.rstrip("/"), headers=headers, alias=headers.get(ALIAS_HEADER))

    @property
    def head(self) -> bool:
        """Whether HEAD was asked, so that nobody reads the body."""
        return HEAD_HEADER in self.headers

    @property
    def content_type(self) -> str:
        """The `Content-Type` of the request, which the transcoder itself replaces."""
        return self.headers.get("x-original-content-type", "")

    def prefers(self, preference: str) -> bool:
        """Whether a `Prefer` header (RFC 7240) names the preference; parameters after it are not looked at."""
        return preference in self.preferences()

    def preferences(self) -> dict[str, str]:
        """The preferences by name. Separated by commas; a semicolon is taken for one too, since clients send it."""
        found: dict[str, str] = {}
        for part in PREFERENCE.findall(self.headers.get("prefer", "")):
            name, _, value = part.strip().partition("=")
            if name:
                found.setdefault(name.strip().lower(), value.strip().strip('"'))
        return found

    def url(self, name: object, *tail: str) -> str:
        """The URL of a resource."""
        return self.root + self._known("/" + "/".join((str(name), *tail)))

    @property
    def instance(self) -> str:
        """The path of the request as the client knows it, without the query."""
        return self._known(unquote(urlsplit(self.path).path))

    def _known(self, path: str) -> str:
        """A path of ours, `/workspaces/{workspace}/…`, as the client knows it."""
        if self.alias is None:
            return path
        kind, *below = path.split("/")[3:] or [""]
        if self.alias.startswith(CATALOG) and kind not in CATALOG_HAS:
            return path
        return "/".join((self.alias, kind, *below)).rstrip("/")

    def query(self) -> str:
        """The query of the request, without the question mark."""
        return urlsplit(self.path).query

    def page_for_people(self, url: str, query: str = "") -> list[Link]:
        """Links a resource that has a page to it. Under the paths of the EO DataHub there are none."""
        if self.alias is not None:
            return []
        kept = [part for part in query.split("&") if part and part.partition("=")[0] != "f"]
        href = f"{url}?{'&'.join([*kept, 'f=html'])}"
        return [self.link("alternate", href, media_type="text/html", title="As a page for people")]

    def link(
        self, rel: str, href: str, *, media_type: str | None = "application/json", title: str | None = None
    ) -> Link:
        """Makes a link."""
        return Link(href=href, rel=rel, type=media_type, title=title)


async def respond(
    context: "grpc.aio.ServicerContext[Any, Any]", status: int, headers: Mapping[str, str] | None = None
) -> None:
    """Sets the status and headers of an answer over REST. Call it last: an error after it loses its problem."""
    metadata = [("x-http-status", str(status))]
    metadata += [(key.lower(), value) for key, value in (headers or {}).items()]
    await context.send_initial_metadata(tuple(metadata))


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
