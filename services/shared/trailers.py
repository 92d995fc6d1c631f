"""Fits what a refusal says into the trailing metadata of its call.

The C core of gRPC drops the trailers of a call, the status among them, by chance once they are larger than 8 KiB, and
always above 16 KiB. So all that we write there has one bound, in bytes as they are sent: `grpc-message` is
percent-encoded, `grpc-status-details-bin` is base64, and a problem document is ASCII.
"""

from collections.abc import Callable, Iterable

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from services.shared.errors import ServiceError
from services.shared.storable import readable

LARGEST = 6656
"""All entries together. The edge adds some headers of its own, for about 600 bytes."""
ENTRY = 32
"""What an entry counts beside its name and value (RFC 9113, 6.5.2)."""
LONGEST_MESSAGE = 1200
LONGEST_BESIDE_A_PROBLEM = 300
"""Of the message where a problem document says the same."""
LONGEST_VALUE = 200
LARGEST_METADATA = 900
DOMAIN = "workflow-runner"
LEFT_OUT = "violations_left_out"
"""The entry of the metadata that tells how many violations there was no room for."""


def cut(text: str, most: int, width: Callable[[str], int]) -> str:
    """Returns the text, or as much of it as takes at most so many bytes, cut where a character ends.

    `width` tells how many bytes a character takes as it is sent.
    """
    head = readable(text[: most + 1])
    if len(text) <= most and sum(map(width, head)) <= most:
        return head
    left = most - width("…")
    for place, character in enumerate(head):
        left -= width(character)
        if left < 0:
            return head[:place] + "…"
    return head


def utf8(character: str) -> int:
    """How many bytes a character takes in UTF-8."""
    return len(character.encode())


def percent_encoded(character: str) -> int:
    """How many bytes a character takes in `grpc-message`."""
    return 1 if " " <= character <= "~" and character != "%" else 3 * utf8(character)


def message_of(error: ServiceError, *, beside_a_problem: bool) -> str:
    """The sentence of a refusal, as a status has it."""
    return cut(error.message, LONGEST_BESIDE_A_PROBLEM if beside_a_problem else LONGEST_MESSAGE, percent_encoded)


def details_of(
    code: grpc.StatusCode, error: ServiceError, *, message: str, trace_id: str | None, with_violations: bool
) -> bytes:
    """The `google.rpc.Status` of a refusal. Its message is the one of the call, or clients take it for another's."""
    status = status_pb2.Status(code=code.value[0], message=message)
    info = error_details_pb2.ErrorInfo(reason=error.reason_name, domain=DOMAIN, metadata=_metadata(error, trace_id))
    listed = error_details_pb2.BadRequest()
    if with_violations:
        room = (LARGEST - _entry("grpc-message", sum(map(percent_encoded, message)))) * 3 // 4
        # The rest is for what each detail has around it, for how many are left out, and for the time to wait.
        room -= status.ByteSize() + info.ByteSize() + 300
        for violation in error.violations:
            found = error_details_pb2.BadRequest.FieldViolation(
                field=cut(violation.pointer, LONGEST_VALUE, utf8),
                description=cut(violation.message, 2 * LONGEST_VALUE, utf8),
            )
            room -= found.ByteSize() + 4
            if room < 0:
                break
            listed.field_violations.append(found)
        if left_out := len(error.violations) - len(listed.field_violations):
            info.metadata[LEFT_OUT] = str(left_out)
    status.details.add().Pack(info)
    if listed.field_violations:
        status.details.add().Pack(listed)
    if error.retry_in is not None:
        delay = Duration()
        delay.FromTimedelta(error.retry_in)
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    sent: bytes = status.SerializeToString()
    return sent


def room_for_problem(entries: Iterable[tuple[str, str | bytes]], message: str) -> int:
    """How many bytes are left for a problem document beside the other entries."""
    taken = _entry("grpc-message", sum(map(percent_encoded, message))) + _entry("x-problem", 0)
    for key, value in entries:
        taken += _entry(key, len(value) if isinstance(value, str) else -(-len(value) // 3) * 4)
    return LARGEST - taken


def _entry(key: str, size: int) -> int:
    return len(key) + size + ENTRY


def _metadata(error: ServiceError, trace_id: str | None) -> dict[str, str]:
    kept = {"trace_id": trace_id} if trace_id else {}
    room = LARGEST_METADATA
    for key, value in error.metadata.items():
        short = cut(value, LONGEST_VALUE, utf8)
        room -= len(key) + len(short.encode())
        if room < 0:
            break
        kept[key] = short
    return kept
