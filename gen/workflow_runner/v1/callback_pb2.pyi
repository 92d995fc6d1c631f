import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Callback(_message.Message):
    __slots__ = ("callback_id", "job", "kind", "uri", "state", "attempts", "message", "create_time", "due_time", "end_time")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        kind_unspecified: _ClassVar[Callback.Kind]
        progress: _ClassVar[Callback.Kind]
        success: _ClassVar[Callback.Kind]
        failure: _ClassVar[Callback.Kind]
    kind_unspecified: Callback.Kind
    progress: Callback.Kind
    success: Callback.Kind
    failure: Callback.Kind
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        state_unspecified: _ClassVar[Callback.State]
        pending: _ClassVar[Callback.State]
        delivered: _ClassVar[Callback.State]
        dead: _ClassVar[Callback.State]
    state_unspecified: Callback.State
    pending: Callback.State
    delivered: Callback.State
    dead: Callback.State
    CALLBACK_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DUE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    callback_id: str
    job: str
    kind: Callback.Kind
    uri: str
    state: Callback.State
    attempts: int
    message: str
    create_time: _timestamp_pb2.Timestamp
    due_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, callback_id: _Optional[str] = ..., job: _Optional[str] = ..., kind: _Optional[_Union[Callback.Kind, str]] = ..., uri: _Optional[str] = ..., state: _Optional[_Union[Callback.State, str]] = ..., attempts: _Optional[int] = ..., message: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., due_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
