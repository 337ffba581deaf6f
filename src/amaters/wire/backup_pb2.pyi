from amaters.wire import commands_pb2 as _commands_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

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

class BackupLink(_message.Message):
    __slots__ = ("name", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: bytes
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[bytes] = ...) -> None: ...

class StateChunk(_message.Message):
    __slots__ = ("holder", "offset", "size", "digest")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    holder: int
    offset: int
    size: int
    digest: bytes
    def __init__(self, holder: _Optional[int] = ..., offset: _Optional[int] = ..., size: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class BackupObject(_message.Message):
    __slots__ = ("ref", "holder", "digest")
    REF_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ref: _commands_pb2.ObjectRef
    holder: int
    digest: bytes
    def __init__(self, ref: _Optional[_Union[_commands_pb2.ObjectRef, _Mapping]] = ..., holder: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class BackupManifest(_message.Message):
    __slots__ = ("version", "name", "database_id", "format", "position", "created", "chain", "state_bytes", "chunks", "objects", "bytes_written")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATABASE_ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    STATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    BYTES_WRITTEN_FIELD_NUMBER: _ClassVar[int]
    version: int
    name: str
    database_id: bytes
    format: int
    position: int
    created: int
    chain: _containers.RepeatedCompositeFieldContainer[BackupLink]
    state_bytes: int
    chunks: _containers.RepeatedCompositeFieldContainer[StateChunk]
    objects: _containers.RepeatedCompositeFieldContainer[BackupObject]
    bytes_written: int
    def __init__(self, version: _Optional[int] = ..., name: _Optional[str] = ..., database_id: _Optional[bytes] = ..., format: _Optional[int] = ..., position: _Optional[int] = ..., created: _Optional[int] = ..., chain: _Optional[_Iterable[_Union[BackupLink, _Mapping]]] = ..., state_bytes: _Optional[int] = ..., chunks: _Optional[_Iterable[_Union[StateChunk, _Mapping]]] = ..., objects: _Optional[_Iterable[_Union[BackupObject, _Mapping]]] = ..., bytes_written: _Optional[int] = ...) -> None: ...
