"""What messages of the contract are made with: moments, and JSON as the transcoder prints it."""

from datetime import datetime
from typing import overload

import orjson
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def to_json(message: Message) -> bytes:
    """The JSON of a message, as the transcoder prints it."""
    return orjson.dumps(MessageToDict(message, always_print_fields_with_no_presence=True))


def json_body(content: bytes) -> HttpBody:
    """JSON as the whole of an answer over REST."""
    return HttpBody(content_type="application/json", data=content)


@overload
def to_timestamp(moment: datetime) -> Timestamp: ...


@overload
def to_timestamp(moment: None) -> None: ...


@overload
def to_timestamp(moment: datetime | None) -> Timestamp | None: ...


def to_timestamp(moment: datetime | None) -> Timestamp | None:
    """The moment as messages carry it; None for one that has not come."""
    if moment is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
