from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from workflow_runner.v1 import job_pb2 as _job_pb2
from workflow_runner.v1 import options_pb2 as _options_pb2
from workflow_runner.v1 import process_pb2 as _process_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeployProcessRequest(_message.Message):
    __slots__ = ("parent", "package", "w", "validate_only")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PACKAGE_FIELD_NUMBER: _ClassVar[int]
    W_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    package: _httpbody_pb2.HttpBody
    w: str
    validate_only: bool
    def __init__(self, parent: _Optional[str] = ..., package: _Optional[_Union[_httpbody_pb2.HttpBody, _Mapping]] = ..., w: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class ReplaceProcessRequest(_message.Message):
    __slots__ = ("name", "package", "w", "validate_only")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PACKAGE_FIELD_NUMBER: _ClassVar[int]
    W_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    name: str
    package: _httpbody_pb2.HttpBody
    w: str
    validate_only: bool
    def __init__(self, name: _Optional[str] = ..., package: _Optional[_Union[_httpbody_pb2.HttpBody, _Mapping]] = ..., w: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class UndeployProcessRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ShareProcessRequest(_message.Message):
    __slots__ = ("name", "sharing")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARING_FIELD_NUMBER: _ClassVar[int]
    name: str
    sharing: ProcessSharing
    def __init__(self, name: _Optional[str] = ..., sharing: _Optional[_Union[ProcessSharing, _Mapping]] = ...) -> None: ...

class ProcessSharing(_message.Message):
    __slots__ = ("visibility", "shared_workspaces", "shared_groups")
    VISIBILITY_FIELD_NUMBER: _ClassVar[int]
    SHARED_WORKSPACES_FIELD_NUMBER: _ClassVar[int]
    SHARED_GROUPS_FIELD_NUMBER: _ClassVar[int]
    visibility: _process_pb2.Process.Visibility
    shared_workspaces: _containers.RepeatedScalarFieldContainer[str]
    shared_groups: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, visibility: _Optional[_Union[_process_pb2.Process.Visibility, str]] = ..., shared_workspaces: _Optional[_Iterable[str]] = ..., shared_groups: _Optional[_Iterable[str]] = ...) -> None: ...

class ExecuteProcessRequest(_message.Message):
    __slots__ = ("name", "request", "inputs", "idempotency_key", "validate_only")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    name: str
    request: _httpbody_pb2.HttpBody
    inputs: _struct_pb2.Struct
    idempotency_key: str
    validate_only: bool
    def __init__(self, name: _Optional[str] = ..., request: _Optional[_Union[_httpbody_pb2.HttpBody, _Mapping]] = ..., inputs: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., idempotency_key: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class ExecuteProcessResponse(_message.Message):
    __slots__ = ("job", "document")
    JOB_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    document: _httpbody_pb2.HttpBody
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ..., document: _Optional[_Union[_httpbody_pb2.HttpBody, _Mapping]] = ...) -> None: ...

class DismissJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...
