"""The refusals a service can give.

A refusal is raised where it is known and travels as an exception; `grpc_status.py` alone makes a status of it. Whatever
varies in a message is passed by keyword, so that a program never has to read the sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from workflow_runner.v1.error_reason_pb2 import ErrorReason

PREFIX = "ERROR_REASON_"


@dataclass(frozen=True)
class Violation:
    """One thing wrong with a request, and where."""

    pointer: str
    """RFC 6901 pointer into what the caller sent, such as `/inputs/size`; empty for the whole of it."""
    message: str
    """What is wrong there and what would be right."""


class ServiceError(Exception):
    """A refusal with a reason from `error_reason.proto`. Raise one of its kinds, never this class."""

    def __init__(
        self,
        reason: int,
        message: str,
        /,
        *,
        http_status: int | None = None,
        violations: Sequence[Violation] = (),
        retry_in: timedelta | None = None,
        headers: Mapping[str, str] | None = None,
        **metadata: object,
    ) -> None:
        """Formats `message` with `metadata`.

        `http_status` is for the statuses that no gRPC code maps to (406, 413, 415, 416, 422). `retry_in` becomes
        RetryInfo and `Retry-After`. `headers` go with the answer over REST.
        """
        self.reason = reason
        self.metadata = {key: str(value) for key, value in metadata.items()}
        self.message = message.format_map(self.metadata) if metadata else message
        self.http_status = http_status
        self.violations = tuple(violations)
        self.retry_in = retry_in
        self.headers = dict(headers or {})
        super().__init__(self.message)

    @property
    def reason_name(self) -> str:
        """The reason as `ErrorInfo` carries it, such as `NO_SUCH_JOB`."""
        return ErrorReason.Name(self.reason).removeprefix(PREFIX)


class InvalidArgument(ServiceError):
    """The request is wrong whatever the state of the service."""


class Unauthenticated(ServiceError):
    """Nobody knows who is calling."""


class PermissionDenied(ServiceError):
    """The policy does not allow it, whether or not the thing exists."""


class NotFound(ServiceError):
    """There is no such thing, or the caller may not know of it."""


class AlreadyExists(ServiceError):
    """There is such a thing already."""


class FailedPrecondition(ServiceError):
    """The request is right, but not in this state."""


class ResourceExhausted(ServiceError):
    """The caller has used up what is allowed."""


class Unavailable(ServiceError):
    """Something that is needed is away; the same request may succeed later."""


class Unimplemented(ServiceError):
    """The operation does not exist."""
