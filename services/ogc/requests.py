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

from workflow_runner.v1.link_pb2 import Link

OGC_RELATIONS = "http://www.opengis.net/def/rel/ogc/1.0/"
OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
"""The media type of the API definition, literally: clients look for it so."""

ALIAS_HEADER = "x-workflow-runner-alias"
"""Where the edge says that a request came by a path of the EO DataHub. It removes what clients write there."""
HEAD_HEADER = "x-workflow-runner-head"
"""Where the edge says that it asks in place of HEAD."""
CATALOG = "/api/catalogue/"
CATALOG_HAS = ("processes", "jobs")
"""What of a workspace the EO DataHub has below its catalog; the rest of it is the catalog's own."""

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
