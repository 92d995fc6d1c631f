from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Link(_message.Message):
    __slots__ = ("href", "rel", "type", "title")
    HREF_FIELD_NUMBER: _ClassVar[int]
    REL_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    href: str
    rel: str
    type: str
    title: str
    def __init__(self, href: _Optional[str] = ..., rel: _Optional[str] = ..., type: _Optional[str] = ..., title: _Optional[str] = ...) -> None: ...
