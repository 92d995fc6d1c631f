"""What an execute request asks for: its inputs, and whether to wait for the job."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from services.shared.errors import InvalidArgument
from services.shared.rest import RestRequest
from services.submission.inputs import ExecuteRequest, parse_execute_request
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_INVALID_EXECUTE_REQUEST,
    ERROR_REASON_INVALID_HEADER,
    ERROR_REASON_UNSUPPORTED_MEDIA_TYPE,
)
from workflow_runner.v1.submission_service_pb2 import ExecuteProcessRequest

JSON_TYPES = ("application/json", "application/ogc-execute+json")


@dataclass(frozen=True)
class Mode:
    """How a job is executed."""

    wait: timedelta | None
    """How long the caller waits for the results; None when the caller takes the job."""
    applied: str | None
    """The preference that was followed, for `Preference-Applied` (RFC 7240)."""


def read_request(message: ExecuteProcessRequest) -> ExecuteRequest:
    """Reads the request in either of its forms. Raises INVALID_EXECUTE_REQUEST, UNSUPPORTED_MEDIA_TYPE."""
    if message.HasField("request") and message.HasField("inputs"):
        raise InvalidArgument(ERROR_REASON_INVALID_EXECUTE_REQUEST, "Send either request or inputs, not both.")
    if message.HasField("inputs"):
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

    Callers over gRPC have WatchJob, and never wait. Raises INVALID_HEADER for a `wait` that is no number.
    """
    if rest is None:
        return Mode(None, None)
    preferences = rest.preferences()
    if "sync-execute" not in controls:
        return Mode(None, "respond-async" if "respond-async" in preferences else None)
    if "async-execute" in controls and "respond-async" in preferences:
        return Mode(None, "respond-async")
    wait = preferences.get("wait")
    if wait is None:
        return Mode(longest_wait, None)
    try:
        seconds = int(wait)
        if seconds < 0:
            raise ValueError(wait)
    except ValueError:
        raise InvalidArgument(
            ERROR_REASON_INVALID_HEADER, "Prefer: wait= takes whole seconds, not {value}.", header="prefer", value=wait
        ) from None
    return Mode(min(timedelta(seconds=seconds), longest_wait), f"wait={seconds}")


def _plain(inputs: Struct) -> dict[str, Any]:
    """The JSON of a Struct; its numbers are doubles, so whole ones become integers again."""
    plain: dict[str, Any] = _whole(MessageToDict(inputs))
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
