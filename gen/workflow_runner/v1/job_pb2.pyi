import datetime

from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from workflow_runner.v1 import link_pb2 as _link_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Job(_message.Message):
    __slots__ = ("name", "job_id", "id", "process_id", "type", "state", "message", "progress", "create_time", "start_time", "end_time", "update_time", "links", "revision", "digest", "calling_workspace", "owner", "attempt", "failure", "steps")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        state_unspecified: _ClassVar[Job.State]
        accepted: _ClassVar[Job.State]
        running: _ClassVar[Job.State]
        successful: _ClassVar[Job.State]
        failed: _ClassVar[Job.State]
        dismissed: _ClassVar[Job.State]
    state_unspecified: Job.State
    accepted: Job.State
    running: Job.State
    successful: Job.State
    failed: Job.State
    dismissed: Job.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CALLING_WORKSPACE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    name: str
    job_id: str
    id: str
    process_id: str
    type: str
    state: Job.State
    message: str
    progress: int
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    links: _containers.RepeatedCompositeFieldContainer[_link_pb2.Link]
    revision: int
    digest: str
    calling_workspace: str
    owner: str
    attempt: int
    failure: JobFailure
    steps: _containers.RepeatedCompositeFieldContainer[JobStep]
    def __init__(self, name: _Optional[str] = ..., job_id: _Optional[str] = ..., id: _Optional[str] = ..., process_id: _Optional[str] = ..., type: _Optional[str] = ..., state: _Optional[_Union[Job.State, str]] = ..., message: _Optional[str] = ..., progress: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., links: _Optional[_Iterable[_Union[_link_pb2.Link, _Mapping]]] = ..., revision: _Optional[int] = ..., digest: _Optional[str] = ..., calling_workspace: _Optional[str] = ..., owner: _Optional[str] = ..., attempt: _Optional[int] = ..., failure: _Optional[_Union[JobFailure, _Mapping]] = ..., steps: _Optional[_Iterable[_Union[JobStep, _Mapping]]] = ...) -> None: ...

class JobFailure(_message.Message):
    __slots__ = ("reason", "message", "step", "exit_code", "log_tail")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[JobFailure.Reason]
        STEP_FAILED: _ClassVar[JobFailure.Reason]
        MEMORY_EXCEEDED: _ClassVar[JobFailure.Reason]
        TIME_LIMIT_EXCEEDED: _ClassVar[JobFailure.Reason]
        OUTPUT_LIMIT_EXCEEDED: _ClassVar[JobFailure.Reason]
        OUTPUT_MISSING: _ClassVar[JobFailure.Reason]
        OUTPUT_REFUSED: _ClassVar[JobFailure.Reason]
        INPUT_UNAVAILABLE: _ClassVar[JobFailure.Reason]
        UNSUPPORTED_FEATURE: _ClassVar[JobFailure.Reason]
        INVALID_PACKAGE: _ClassVar[JobFailure.Reason]
        EXPRESSION_FAILED: _ClassVar[JobFailure.Reason]
        BACKEND_LOST_JOB: _ClassVar[JobFailure.Reason]
        BACKEND_FAILED: _ClassVar[JobFailure.Reason]
        STORAGE_FULL: _ClassVar[JobFailure.Reason]
    REASON_UNSPECIFIED: JobFailure.Reason
    STEP_FAILED: JobFailure.Reason
    MEMORY_EXCEEDED: JobFailure.Reason
    TIME_LIMIT_EXCEEDED: JobFailure.Reason
    OUTPUT_LIMIT_EXCEEDED: JobFailure.Reason
    OUTPUT_MISSING: JobFailure.Reason
    OUTPUT_REFUSED: JobFailure.Reason
    INPUT_UNAVAILABLE: JobFailure.Reason
    UNSUPPORTED_FEATURE: JobFailure.Reason
    INVALID_PACKAGE: JobFailure.Reason
    EXPRESSION_FAILED: JobFailure.Reason
    BACKEND_LOST_JOB: JobFailure.Reason
    BACKEND_FAILED: JobFailure.Reason
    STORAGE_FULL: JobFailure.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    LOG_TAIL_FIELD_NUMBER: _ClassVar[int]
    reason: JobFailure.Reason
    message: str
    step: str
    exit_code: int
    log_tail: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, reason: _Optional[_Union[JobFailure.Reason, str]] = ..., message: _Optional[str] = ..., step: _Optional[str] = ..., exit_code: _Optional[int] = ..., log_tail: _Optional[_Iterable[str]] = ...) -> None: ...

class JobStep(_message.Message):
    __slots__ = ("step", "state", "start_time", "end_time", "exit_code")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        state_unspecified: _ClassVar[JobStep.State]
        running: _ClassVar[JobStep.State]
        successful: _ClassVar[JobStep.State]
        failed: _ClassVar[JobStep.State]
        skipped: _ClassVar[JobStep.State]
    state_unspecified: JobStep.State
    running: JobStep.State
    successful: JobStep.State
    failed: JobStep.State
    skipped: JobStep.State
    STEP_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    step: str
    state: JobStep.State
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    exit_code: int
    def __init__(self, step: _Optional[str] = ..., state: _Optional[_Union[JobStep.State, str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., exit_code: _Optional[int] = ...) -> None: ...

class JobEvent(_message.Message):
    __slots__ = ("sequence", "kind", "event_time", "details")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        kind_unspecified: _ClassVar[JobEvent.Kind]
        state: _ClassVar[JobEvent.Kind]
        progress: _ClassVar[JobEvent.Kind]
        step: _ClassVar[JobEvent.Kind]
        log: _ClassVar[JobEvent.Kind]
    kind_unspecified: JobEvent.Kind
    state: JobEvent.Kind
    progress: JobEvent.Kind
    step: JobEvent.Kind
    log: JobEvent.Kind
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    kind: JobEvent.Kind
    event_time: _timestamp_pb2.Timestamp
    details: _struct_pb2.Struct
    def __init__(self, sequence: _Optional[int] = ..., kind: _Optional[_Union[JobEvent.Kind, str]] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., details: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...
