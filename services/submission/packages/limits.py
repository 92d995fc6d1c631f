"""How much of a package is looked at, and how long."""

import struct

from services.submission.packages.refusal import Refusal, invalid

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_EVENTS = 50_000
"""YAML events: a scalar is one, a list or mapping is two. Real packages have some thousands."""

CPU_SECONDS = 5
MEMORY_BYTES = 512 << 20
WALL_SECONDS = 30.0
"""A package waits for nothing but the processor, so this is for a machine that is busy, which is no fault of it."""

LENGTHS = struct.Struct("!II")
"""What precedes a request to a child: the lengths of its JSON part and of the package."""


def check_size(content: bytes) -> None:
    """Refuses what is too large, or empty, before anything looks at it."""
    if len(content) > MAX_BYTES:
        raise Refusal(
            "ERROR_REASON_PACKAGE_TOO_LARGE",
            "The package has {size_bytes} bytes; at most {limit_bytes} are taken. Keep data out of the package.",
            (),
            413,
            {"size_bytes": len(content), "limit_bytes": MAX_BYTES},
        )
    if not content.strip():
        raise invalid("The package is empty. Send the CWL document as the body.")
