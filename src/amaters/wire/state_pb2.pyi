from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SnapshotManifest(_message.Message):
    __slots__ = ("version", "database_id", "position", "logged", "size", "chunk_bytes", "digests", "packs", "slots", "files")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DATABASE_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    LOGGED_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    version: int
    database_id: bytes
    position: int
    logged: int
    size: int
    chunk_bytes: int
    digests: bytes
    packs: _containers.RepeatedScalarFieldContainer[int]
    slots: _containers.RepeatedScalarFieldContainer[int]
    files: _containers.RepeatedCompositeFieldContainer[PackFile]
    def __init__(self, version: _Optional[int] = ..., database_id: _Optional[bytes] = ..., position: _Optional[int] = ..., logged: _Optional[int] = ..., size: _Optional[int] = ..., chunk_bytes: _Optional[int] = ..., digests: _Optional[bytes] = ..., packs: _Optional[_Iterable[int]] = ..., slots: _Optional[_Iterable[int]] = ..., files: _Optional[_Iterable[_Union[PackFile, _Mapping]]] = ...) -> None: ...

class PackFile(_message.Message):
    __slots__ = ("name", "chunks")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    name: str
    chunks: int
    def __init__(self, name: _Optional[str] = ..., chunks: _Optional[int] = ...) -> None: ...
