import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from workflow_runner.v1 import link_pb2 as _link_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Ingestion(_message.Message):
    __slots__ = ("name", "ingestion_id", "message_id", "source", "bucket_name", "state", "message", "actions", "create_time", "end_time", "links")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        state_unspecified: _ClassVar[Ingestion.State]
        accepted: _ClassVar[Ingestion.State]
        successful: _ClassVar[Ingestion.State]
        failed: _ClassVar[Ingestion.State]
    state_unspecified: Ingestion.State
    accepted: Ingestion.State
    successful: Ingestion.State
    failed: Ingestion.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    INGESTION_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    BUCKET_NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    name: str
    ingestion_id: str
    message_id: str
    source: str
    bucket_name: str
    state: Ingestion.State
    message: str
    actions: _containers.RepeatedCompositeFieldContainer[IngestionAction]
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    links: _containers.RepeatedCompositeFieldContainer[_link_pb2.Link]
    def __init__(self, name: _Optional[str] = ..., ingestion_id: _Optional[str] = ..., message_id: _Optional[str] = ..., source: _Optional[str] = ..., bucket_name: _Optional[str] = ..., state: _Optional[_Union[Ingestion.State, str]] = ..., message: _Optional[str] = ..., actions: _Optional[_Iterable[_Union[IngestionAction, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., links: _Optional[_Iterable[_Union[_link_pb2.Link, _Mapping]]] = ...) -> None: ...

class IngestionAction(_message.Message):
    __slots__ = ("key", "verb", "state", "process_id", "revision", "message", "attempts")
    class Verb(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        verb_unspecified: _ClassVar[IngestionAction.Verb]
        deploy: _ClassVar[IngestionAction.Verb]
        undeploy: _ClassVar[IngestionAction.Verb]
        ignore: _ClassVar[IngestionAction.Verb]
    verb_unspecified: IngestionAction.Verb
    deploy: IngestionAction.Verb
    undeploy: IngestionAction.Verb
    ignore: IngestionAction.Verb
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        state_unspecified: _ClassVar[IngestionAction.State]
        pending: _ClassVar[IngestionAction.State]
        successful: _ClassVar[IngestionAction.State]
        failed: _ClassVar[IngestionAction.State]
    state_unspecified: IngestionAction.State
    pending: IngestionAction.State
    successful: IngestionAction.State
    failed: IngestionAction.State
    KEY_FIELD_NUMBER: _ClassVar[int]
    VERB_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    key: str
    verb: IngestionAction.Verb
    state: IngestionAction.State
    process_id: str
    revision: int
    message: str
    attempts: int
    def __init__(self, key: _Optional[str] = ..., verb: _Optional[_Union[IngestionAction.Verb, str]] = ..., state: _Optional[_Union[IngestionAction.State, str]] = ..., process_id: _Optional[str] = ..., revision: _Optional[int] = ..., message: _Optional[str] = ..., attempts: _Optional[int] = ...) -> None: ...
