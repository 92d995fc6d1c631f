"""Preconditions (RFC 9110, 13): the state of a resource that a caller knows, against the one that is.

Nothing here sends a date of its last change, so conditions on one do not count (13.1.3, 13.1.4).
"""

import re
from collections.abc import Mapping
from hashlib import sha256

from services.shared.errors import FailedPrecondition
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_PRECONDITION_FAILED

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\U0010ffff]*")')


def etag_of(*parts: bytes) -> str:
    """The strong entity tag of a representation."""
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return f'"{digest.hexdigest()[:32]}"'


def is_unchanged(headers: Mapping[str, str], etag: str) -> bool:
    """Tells whether a caller who reads has the representation already, so that 304 is the answer.

    Raises PRECONDITION_FAILED. Of a range it is asked before the range is.
    """
    require_match(headers, etag)
    return (known := headers.get("if-none-match")) is not None and _names(known, etag, weakly=True)


def require_unchanged(headers: Mapping[str, str], etag: str) -> None:
    """Raises PRECONDITION_FAILED when a caller who writes knows another state than the one that is."""
    require_match(headers, etag)
    if (known := headers.get("if-none-match")) is not None and _names(known, etag, weakly=True):
        raise _failed("if-none-match")


def require_match(headers: Mapping[str, str], etag: str) -> None:
    """Raises PRECONDITION_FAILED when `If-Match` does not hold."""
    if (wanted := headers.get("if-match")) is not None and not _names(wanted, etag, weakly=False):
        raise _failed("if-match")


def same_range(header: str | None, etag: str) -> bool:
    """Tells whether `If-Range` lets a range be answered."""
    return header is None or (_names(header, etag, weakly=False) and header.strip() != "*")


def _names(header: str, etag: str, *, weakly: bool) -> bool:
    """Whether a list of tags has the one; `*` has any."""
    if header.strip() == "*":
        return True
    return any(tag == etag and (weakly or not weak) for weak, tag in _TAG.findall(header))


def _failed(header: str) -> FailedPrecondition:
    return FailedPrecondition(
        ERROR_REASON_PRECONDITION_FAILED,
        "What is here is not what {header} says. Read it again.",
        http_status=412,
        header=header,
    )
