"""What an execute request asks for: its inputs, and whether to wait for the job."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from services.ogc.requests import RestRequest
from services.shared.errors import InvalidArgument
from services.submission.execution.inputs import (
    MAX_BYTES,
    ExecuteRequest,
    check_depth,
    parse_execute_request,
    too_large,
)
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_INVALID_EXECUTE_REQUEST,
    ERROR_REASON_UNSUPPORTED_MEDIA_TYPE,
)
from workflow_runner.v1.submission_service_pb2 import ExecuteProcessRequest

LARGE_BYTES = 64 << 10
"""From here on a request is read in a thread."""
JSON_TYPES = ("application/json", "application/ogc-execute+json")


@dataclass(frozen=True)
class Mode:
    """How a job is executed, and which preference that follows (`Preference-Applied` of RFC 7240)."""

    wait: timedelta | None
    """How long the caller waits for the results; None when the caller takes the job."""
    when_done: str | None = None
    """What was followed when the caller gets results."""
    when_accepted: str | None = None
    """What was followed when the caller gets the job."""


async def read_request(message: ExecuteProcessRequest) -> ExecuteRequest:
    """Reads the request in either of its forms, a large one in a thread. Raises INVALID_EXECUTE_REQUEST."""
    if message.ByteSize() > LARGE_BYTES:
        return await asyncio.to_thread(_read, message)
    return _read(message)


def _read(message: ExecuteProcessRequest) -> ExecuteRequest:
    if message.HasField("request") and message.HasField("inputs"):
        raise InvalidArgument(ERROR_REASON_INVALID_EXECUTE_REQUEST, "Send either request or inputs, not both.")
    if message.HasField("inputs"):
        if message.inputs.ByteSize() > MAX_BYTES:
            raise too_large()
        return ExecuteRequest(inputs=_plain(message.inputs))
    return parse_execute_request(message.request.data)


def check_media_type(content_type: str) -> None:
    """Raises UNSUPPORTED_MEDIA_TYPE for anything but JSON."""
    media_type = content_type.split(";")[0].strip().lower()
    if media_type not in JSON_TYPES:
        raise InvalidArgument(
            ERROR_REASON_UNSUPPORTED_MEDIA_TYPE,
            "An execute request is sent as {supported}, not as {media_type}.",
            http_status=415,
            media_type=media_type or "nothing in particular",
            supported=JSON_TYPES[0],
            headers={"accept-post": JSON_TYPES[0]},
        )


def choose_mode(rest: RestRequest | None, controls: list[str], longest_wait: timedelta) -> Mode:
    """Chooses between waiting and not (OGC API - Processes 1.0, requirements process-execute-default-execution-mode and
    process-execute-auto-execution-mode): a process that can do both waits unless the caller prefers otherwise.

    With `respond-async, wait=N` it waits that long, and answers asynchronously then (RFC 7240, 4.3). A preference that
    cannot be read is left alone, as RFC 7240 has it. Callers over gRPC have WatchJob, and never wait.
    """
    if rest is None:
        return Mode(None)
    preferences = rest.preferences()
    asynchronous = "respond-async" if "respond-async" in preferences else None
    if "sync-execute" not in controls:
        return Mode(None, when_accepted=asynchronous)
    wait = preferences.get("wait", "")
    seconds = int(wait[:9]) if wait.isascii() and wait.isdigit() else None
    if seconds is None and asynchronous and "async-execute" in controls:
        return Mode(None, when_accepted=asynchronous)
    if seconds is None:
        return Mode(longest_wait, when_accepted=asynchronous)
    seconds = min(seconds, int(longest_wait.total_seconds()))
    waited = f"wait={seconds}"
    return Mode(timedelta(seconds=seconds), when_done=waited, when_accepted=asynchronous or waited)


def _plain(inputs: Struct) -> dict[str, Any]:
    """The JSON of a Struct; its numbers are doubles, so whole ones become integers again."""
    plain: dict[str, Any] = _whole(MessageToDict(inputs))
    check_depth(plain)
    return plain


def _whole(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and abs(value) <= 2**53:
            return int(value)
        case list():
            return [_whole(item) for item in value]
        case dict():
            return {key: _whole(item) for key, item in value.items()}
    return value
