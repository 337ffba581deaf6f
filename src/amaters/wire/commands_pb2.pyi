from amaters.wire import service_pb2 as _service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ObjectRef(_message.Message):
    __slots__ = ("object_id", "size", "digest")
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    object_id: bytes
    size: int
    digest: bytes
    def __init__(self, object_id: _Optional[bytes] = ..., size: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class KeysetPut(_message.Message):
    __slots__ = ("name", "object")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    name: _service_pb2.KeyName
    object: ObjectRef
    def __init__(self, name: _Optional[_Union[_service_pb2.KeyName, _Mapping]] = ..., object: _Optional[_Union[ObjectRef, _Mapping]] = ...) -> None: ...

class TableCreate(_message.Message):
    __slots__ = ("schema",)
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    schema: _service_pb2.SchemaRecord
    def __init__(self, schema: _Optional[_Union[_service_pb2.SchemaRecord, _Mapping]] = ...) -> None: ...

class TableDrop(_message.Message):
    __slots__ = ("table_id",)
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    table_id: bytes
    def __init__(self, table_id: _Optional[bytes] = ...) -> None: ...

class SchemaUpdate(_message.Message):
    __slots__ = ("schema",)
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    schema: _service_pb2.SchemaRecord
    def __init__(self, schema: _Optional[_Union[_service_pb2.SchemaRecord, _Mapping]] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("request", "objects", "key_column", "indexed")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    KEY_COLUMN_FIELD_NUMBER: _ClassVar[int]
    INDEXED_FIELD_NUMBER: _ClassVar[int]
    request: _service_pb2.CommitRequest
    objects: _containers.RepeatedCompositeFieldContainer[ObjectRef]
    key_column: int
    indexed: bool
    def __init__(self, request: _Optional[_Union[_service_pb2.CommitRequest, _Mapping]] = ..., objects: _Optional[_Iterable[_Union[ObjectRef, _Mapping]]] = ..., key_column: _Optional[int] = ..., indexed: _Optional[bool] = ...) -> None: ...

class MultiBatch(_message.Message):
    __slots__ = ("parts",)
    PARTS_FIELD_NUMBER: _ClassVar[int]
    parts: _containers.RepeatedCompositeFieldContainer[Batch]
    def __init__(self, parts: _Optional[_Iterable[_Union[Batch, _Mapping]]] = ...) -> None: ...

class SegmentMerge(_message.Message):
    __slots__ = ("table_id", "merged", "key_column", "replaced")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    MERGED_FIELD_NUMBER: _ClassVar[int]
    KEY_COLUMN_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    table_id: bytes
    merged: SegmentManifest
    key_column: int
    replaced: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, table_id: _Optional[bytes] = ..., merged: _Optional[_Union[SegmentManifest, _Mapping]] = ..., key_column: _Optional[int] = ..., replaced: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SegmentEncode(_message.Message):
    __slots__ = ("table_id", "segment_id", "encodings", "objects")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    ENCODINGS_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    table_id: bytes
    segment_id: bytes
    encodings: _containers.RepeatedCompositeFieldContainer[_service_pb2.EncodingObject]
    objects: _containers.RepeatedCompositeFieldContainer[ObjectRef]
    def __init__(self, table_id: _Optional[bytes] = ..., segment_id: _Optional[bytes] = ..., encodings: _Optional[_Iterable[_Union[_service_pb2.EncodingObject, _Mapping]]] = ..., objects: _Optional[_Iterable[_Union[ObjectRef, _Mapping]]] = ...) -> None: ...

class IndexBuild(_message.Message):
    __slots__ = ("table_id", "number", "places", "objects")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    table_id: bytes
    number: int
    places: _containers.RepeatedScalarFieldContainer[int]
    objects: _containers.RepeatedCompositeFieldContainer[ObjectRef]
    def __init__(self, table_id: _Optional[bytes] = ..., number: _Optional[int] = ..., places: _Optional[_Iterable[int]] = ..., objects: _Optional[_Iterable[_Union[ObjectRef, _Mapping]]] = ...) -> None: ...

class IndexRegister(_message.Message):
    __slots__ = ("table_id", "number", "name", "columns", "unique")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    UNIQUE_FIELD_NUMBER: _ClassVar[int]
    table_id: bytes
    number: int
    name: str
    columns: _containers.RepeatedScalarFieldContainer[int]
    unique: bool
    def __init__(self, table_id: _Optional[bytes] = ..., number: _Optional[int] = ..., name: _Optional[str] = ..., columns: _Optional[_Iterable[int]] = ..., unique: _Optional[bool] = ...) -> None: ...

class SegmentRekey(_message.Message):
    __slots__ = ("table_id", "rekeyed", "key_id")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    REKEYED_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    table_id: bytes
    rekeyed: SegmentManifest
    key_id: bytes
    def __init__(self, table_id: _Optional[bytes] = ..., rekeyed: _Optional[_Union[SegmentManifest, _Mapping]] = ..., key_id: _Optional[bytes] = ...) -> None: ...

class KeySwitch(_message.Message):
    __slots__ = ("schema", "key_id", "tail")
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    schema: _service_pb2.SchemaRecord
    key_id: bytes
    tail: Batch
    def __init__(self, schema: _Optional[_Union[_service_pb2.SchemaRecord, _Mapping]] = ..., key_id: _Optional[bytes] = ..., tail: _Optional[_Union[Batch, _Mapping]] = ...) -> None: ...

class RotationEnd(_message.Message):
    __slots__ = ("keyset_id",)
    KEYSET_ID_FIELD_NUMBER: _ClassVar[int]
    keyset_id: bytes
    def __init__(self, keyset_id: _Optional[bytes] = ...) -> None: ...

class HistoryMark(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Command(_message.Message):
    __slots__ = ("request_id", "request_digest", "keyset_put", "table_create", "table_drop", "schema_update", "batch", "multi_batch", "segment_merge", "index_build", "index_register", "segment_encode", "segment_rekey", "key_switch", "rotation_end", "history_mark")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    KEYSET_PUT_FIELD_NUMBER: _ClassVar[int]
    TABLE_CREATE_FIELD_NUMBER: _ClassVar[int]
    TABLE_DROP_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_UPDATE_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    MULTI_BATCH_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_MERGE_FIELD_NUMBER: _ClassVar[int]
    INDEX_BUILD_FIELD_NUMBER: _ClassVar[int]
    INDEX_REGISTER_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_ENCODE_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_REKEY_FIELD_NUMBER: _ClassVar[int]
    KEY_SWITCH_FIELD_NUMBER: _ClassVar[int]
    ROTATION_END_FIELD_NUMBER: _ClassVar[int]
    HISTORY_MARK_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    request_digest: bytes
    keyset_put: KeysetPut
    table_create: TableCreate
    table_drop: TableDrop
    schema_update: SchemaUpdate
    batch: Batch
    multi_batch: MultiBatch
    segment_merge: SegmentMerge
    index_build: IndexBuild
    index_register: IndexRegister
    segment_encode: SegmentEncode
    segment_rekey: SegmentRekey
    key_switch: KeySwitch
    rotation_end: RotationEnd
    history_mark: HistoryMark
    def __init__(self, request_id: _Optional[bytes] = ..., request_digest: _Optional[bytes] = ..., keyset_put: _Optional[_Union[KeysetPut, _Mapping]] = ..., table_create: _Optional[_Union[TableCreate, _Mapping]] = ..., table_drop: _Optional[_Union[TableDrop, _Mapping]] = ..., schema_update: _Optional[_Union[SchemaUpdate, _Mapping]] = ..., batch: _Optional[_Union[Batch, _Mapping]] = ..., multi_batch: _Optional[_Union[MultiBatch, _Mapping]] = ..., segment_merge: _Optional[_Union[SegmentMerge, _Mapping]] = ..., index_build: _Optional[_Union[IndexBuild, _Mapping]] = ..., index_register: _Optional[_Union[IndexRegister, _Mapping]] = ..., segment_encode: _Optional[_Union[SegmentEncode, _Mapping]] = ..., segment_rekey: _Optional[_Union[SegmentRekey, _Mapping]] = ..., key_switch: _Optional[_Union[KeySwitch, _Mapping]] = ..., rotation_end: _Optional[_Union[RotationEnd, _Mapping]] = ..., history_mark: _Optional[_Union[HistoryMark, _Mapping]] = ...) -> None: ...

class SegmentManifest(_message.Message):
    __slots__ = ("segment", "objects", "rekeyed", "rekeyed_to", "schema_version")
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    REKEYED_FIELD_NUMBER: _ClassVar[int]
    REKEYED_TO_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    segment: _service_pb2.NewSegment
    objects: _containers.RepeatedCompositeFieldContainer[ObjectRef]
    rekeyed: _service_pb2.NewSegment
    rekeyed_to: bytes
    schema_version: int
    def __init__(self, segment: _Optional[_Union[_service_pb2.NewSegment, _Mapping]] = ..., objects: _Optional[_Iterable[_Union[ObjectRef, _Mapping]]] = ..., rekeyed: _Optional[_Union[_service_pb2.NewSegment, _Mapping]] = ..., rekeyed_to: _Optional[bytes] = ..., schema_version: _Optional[int] = ...) -> None: ...

class DatabaseFormat(_message.Message):
    __slots__ = ("version", "database_id", "objects_url", "log_url")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DATABASE_ID_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_URL_FIELD_NUMBER: _ClassVar[int]
    LOG_URL_FIELD_NUMBER: _ClassVar[int]
    version: int
    database_id: bytes
    objects_url: str
    log_url: str
    def __init__(self, version: _Optional[int] = ..., database_id: _Optional[bytes] = ..., objects_url: _Optional[str] = ..., log_url: _Optional[str] = ...) -> None: ...
