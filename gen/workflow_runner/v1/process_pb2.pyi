import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
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

class Process(_message.Message):
    __slots__ = ("name", "process_id", "title", "description", "version", "keywords", "metadata", "job_control_options", "output_transmission", "mutable", "links", "revision", "digest", "visibility", "shared_workspaces", "shared_groups", "create_time", "warnings", "document", "access_reasoning")
    class Visibility(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        visibility_unspecified: _ClassVar[Process.Visibility]
        private: _ClassVar[Process.Visibility]
        shared: _ClassVar[Process.Visibility]
        public: _ClassVar[Process.Visibility]
        user_service: _ClassVar[Process.Visibility]
    visibility_unspecified: Process.Visibility
    private: Process.Visibility
    shared: Process.Visibility
    public: Process.Visibility
    user_service: Process.Visibility
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KEYWORDS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    JOB_CONTROL_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TRANSMISSION_FIELD_NUMBER: _ClassVar[int]
    MUTABLE_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    VISIBILITY_FIELD_NUMBER: _ClassVar[int]
    SHARED_WORKSPACES_FIELD_NUMBER: _ClassVar[int]
    SHARED_GROUPS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    ACCESS_REASONING_FIELD_NUMBER: _ClassVar[int]
    name: str
    process_id: str
    title: str
    description: str
    version: str
    keywords: _containers.RepeatedScalarFieldContainer[str]
    metadata: _containers.RepeatedCompositeFieldContainer[Metadata]
    job_control_options: _containers.RepeatedScalarFieldContainer[str]
    output_transmission: _containers.RepeatedScalarFieldContainer[str]
    mutable: bool
    links: _containers.RepeatedCompositeFieldContainer[_link_pb2.Link]
    revision: int
    digest: str
    visibility: Process.Visibility
    shared_workspaces: _containers.RepeatedScalarFieldContainer[str]
    shared_groups: _containers.RepeatedScalarFieldContainer[str]
    create_time: _timestamp_pb2.Timestamp
    warnings: _containers.RepeatedScalarFieldContainer[str]
    document: _httpbody_pb2.HttpBody
    access_reasoning: str
    def __init__(self, name: _Optional[str] = ..., process_id: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., version: _Optional[str] = ..., keywords: _Optional[_Iterable[str]] = ..., metadata: _Optional[_Iterable[_Union[Metadata, _Mapping]]] = ..., job_control_options: _Optional[_Iterable[str]] = ..., output_transmission: _Optional[_Iterable[str]] = ..., mutable: _Optional[bool] = ..., links: _Optional[_Iterable[_Union[_link_pb2.Link, _Mapping]]] = ..., revision: _Optional[int] = ..., digest: _Optional[str] = ..., visibility: _Optional[_Union[Process.Visibility, str]] = ..., shared_workspaces: _Optional[_Iterable[str]] = ..., shared_groups: _Optional[_Iterable[str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ..., document: _Optional[_Union[_httpbody_pb2.HttpBody, _Mapping]] = ..., access_reasoning: _Optional[str] = ...) -> None: ...

class Metadata(_message.Message):
    __slots__ = ("title", "role", "value", "href")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    HREF_FIELD_NUMBER: _ClassVar[int]
    title: str
    role: str
    value: str
    href: str
    def __init__(self, title: _Optional[str] = ..., role: _Optional[str] = ..., value: _Optional[str] = ..., href: _Optional[str] = ...) -> None: ...
