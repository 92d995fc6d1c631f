"""The files that pages need, and the page to sign in: they are the same for everybody and need no service."""

import re

from services.edge.messages import Message, regex
from services.edge.replies import added_headers, method
from services.edge.rest_routes import FOR_A_PAGE
from services.web.assets import LATEST, MEDIA_TYPES, ROOT, assets, checksum

SIGN_IN = "signin.html"
# No script but ours, no frame around it, and no form of it goes anywhere: the token stays in the browser.
SIGN_IN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def asset_routes() -> list[Message]:
    """A route for every file, one for any other checksum of it, and the page to sign in."""
    routes: list[Message] = []
    for asset in assets():
        if asset.name == SIGN_IN:
            headers = {"content-security-policy": SIGN_IN_POLICY, "cache-control": "no-cache"}
            routes += [
                _file({"path": "/signin", "headers": [method("GET")]}, asset.content, headers),
                _file({"path": "/", "headers": [method("GET"), FOR_A_PAGE]}, asset.content, headers),
            ]
            continue
        forever = {"cache-control": "public, max-age=31536000, immutable"}
        exact = {"path": f"{ROOT}/{checksum()}/{asset.name}", "headers": [method("GET")]}
        # For pages that do not know the checksum, and those of a service that is a version ahead or behind.
        other = {**regex(f"{ROOT}/(?:{LATEST}|[0-9a-f]+)/{re.escape(asset.name)}"), "headers": [method("GET")]}
        routes += [_file(exact, asset.content, forever), _file(other, asset.content, {"cache-control": "no-cache"})]
    return routes


def asset_types() -> list[tuple[Message, str]]:
    """The media types of those files, by a header of the request for them."""
    matches: list[tuple[Message, str]] = [
        ({"name": ":path", "string_match": regex(rf"{ROOT}/[^?]*{re.escape(suffix)}(?:\?.*)?")}, media_type)
        for suffix, media_type in MEDIA_TYPES.items()
    ]
    signing_in: Message = {"name": ":path", "string_match": regex(r"/signin(?:\?.*)?")}
    return [*matches, (signing_in, MEDIA_TYPES[".html"]), (FOR_A_PAGE, MEDIA_TYPES[".html"])]


def _file(match: Message, content: str, headers: dict[str, str]) -> Message:
    return {
        "name": "asset",
        "match": match,
        "direct_response": {"status": 200, "body": {"inline_string": content}},
        "response_headers_to_add": added_headers(headers),
    }
