"""Ranges of bytes as HTTP asks for them (RFC 9110, 14): one range, and the whole for whatever else is asked."""

import re
from dataclasses import dataclass

from services.shared.errors import InvalidArgument
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_RANGE_NOT_SATISFIABLE

# Nineteen digits are more than any object has bytes, and few enough to be read safely.
RANGE = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class ByteRange:
    """A part of something that has `size` bytes."""

    start: int
    """The first byte inside."""
    end: int
    """The first byte after it."""
    size: int

    @property
    def content_range(self) -> str:
        """The value of `Content-Range`."""
        return f"bytes {self.start}-{self.end - 1}/{self.size}"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Reads a `Range` header; None when it asks for the whole, for several ranges, or in a way that has to be ignored.

    Raises RANGE_NOT_SATISFIABLE when nothing of the range is there.
    """
    match = RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        raise InvalidArgument(
            ERROR_REASON_RANGE_NOT_SATISFIABLE,
            "The range lies outside of the {size} bytes that there are.",
            http_status=416,
            headers={"content-range": f"bytes */{size}"},
            size=size,
        )
    return ByteRange(start, end, size)
