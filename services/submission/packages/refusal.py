"""What is wrong with a package, said so that its author can put it right.

The readers of packages run in a child process and know neither gRPC nor the error kinds of the services: they raise
`Refusal`, and `reader.py` makes a `ServiceError` of it on the other side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_OFFENCES = 20


@dataclass(frozen=True)
class Offence:
    """One place in a package and what is wrong there."""

    pointer: str
    message: str


@dataclass
class Refusal(Exception):
    """A package that is not taken. `message` is a template over `metadata`."""

    reason: str
    message: str
    offences: Sequence[Offence] = ()
    http_status: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Gives what crosses the border between the child and the service."""
        return {
            "reason": self.reason,
            "message": self.message,
            "offences": [[offence.pointer, offence.message] for offence in self.offences[:MAX_OFFENCES]],
            "http_status": self.http_status,
            "metadata": dict(self.metadata),
        }


def invalid(message: str, offences: Sequence[Offence] = (), **metadata: Any) -> Refusal:
    """Makes the refusal of a package that is broken."""
    return Refusal("ERROR_REASON_INVALID_PACKAGE", message, offences, None, metadata)
