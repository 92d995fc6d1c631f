"""Page tokens and the links between pages.

A token holds the id that its page comes after, and a checksum of the list that it was made for. It is no secret and
opens nothing: every page is filtered anew by the request and the policy, so the best that a forged token can do is to
skip rows.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable

from services.ogc.requests import RestRequest
from services.shared.errors import InvalidArgument
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_PAGE_TOKEN
from workflow_runner.v1.link_pb2 import Link

LARGEST_PAGE = 1000
"""More is taken for this."""
PROCESSES_ON_A_PAGE = 100
JOBS_ON_A_PAGE = 10
CALLBACKS_ON_A_PAGE = 10
INGESTIONS_ON_A_PAGE = 10
CHECKSUM_BYTES = 8
# The transcoder takes a parameter under either of its names.
TOKEN_PARAMETERS = ("pageToken", "page_token")


def page_size(wanted: int | None, default: int) -> int:
    """How many rows a page has."""
    return default if wanted is None else min(wanted, LARGEST_PAGE)


def encode_token(after: str, scope: Iterable[str]) -> str:
    """Makes the token of the page that comes after an id in the list that `scope` describes."""
    return base64.urlsafe_b64encode(_checksum(after, scope) + after.encode()).rstrip(b"=").decode()


def decode_token(token: str, scope: Iterable[str]) -> str | None:
    """Answers the id that the page comes after; None for the first page. Raises INVALID_PAGE_TOKEN."""
    if not token:
        return None
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        after = content[CHECKSUM_BYTES:].decode()
    except (binascii.Error, ValueError) as error:
        raise invalid_page_token() from error
    # Encoding again refuses the other spellings of the same bytes that base64 allows.
    if not after or token != encode_token(after, scope):
        raise invalid_page_token()
    return after


def page_links(rest: RestRequest, url: str, next_token: str | None, prev_token: str | None = None) -> list[Link]:
    """Links a page of the list at `url` to itself and its neighbors; all keep the query as the client spelled it."""
    query = rest.query()
    links = [rest.link("self", f"{url}?{query}" if query else url, title="This page")]
    kept = [part for part in query.split("&") if part and part.partition("=")[0] not in TOKEN_PARAMETERS]
    for rel, title, token in (("next", "The next page", next_token), ("prev", "The page before", prev_token)):
        if token is not None:
            links.append(rest.link(rel, f"{url}?{'&'.join([*kept, f'pageToken={token}'])}", title=title))
    return links


def _checksum(after: str, scope: Iterable[str]) -> bytes:
    digest = hashlib.sha256()
    for text in (after, *scope):
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.digest()[:CHECKSUM_BYTES]


def invalid_page_token() -> InvalidArgument:
    """The refusal for a token that was not made by `encode_token` for the list."""
    return InvalidArgument(
        ERROR_REASON_INVALID_PAGE_TOKEN,
        "The page token was not made for this list. Follow the `next` link, or begin without a token.",
    )
