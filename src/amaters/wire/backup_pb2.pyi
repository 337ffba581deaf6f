from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class MigrationJournal(_message.Message):
    __slots__ = ("format", "installs", "removes")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    INSTALLS_FIELD_NUMBER: _ClassVar[int]
    REMOVES_FIELD_NUMBER: _ClassVar[int]
    format: int
    installs: _containers.RepeatedScalarFieldContainer[str]
    removes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, format: _Optional[int] = ..., installs: _Optional[_Iterable[str]] = ..., removes: _Optional[_Iterable[str]] = ...) -> None: ...
