from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HelloRequest(_message.Message):
    __slots__ = ("protocol", "version", "unsafe_scheme")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UNSAFE_SCHEME_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    version: str
    unsafe_scheme: bool
    def __init__(self, protocol: _Optional[int] = ..., version: _Optional[str] = ..., unsafe_scheme: _Optional[bool] = ...) -> None: ...

class HelloReply(_message.Message):
    __slots__ = ("protocol", "version", "unsafe_scheme", "database_id", "keyset_id", "rotating_to")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UNSAFE_SCHEME_FIELD_NUMBER: _ClassVar[int]
    DATABASE_ID_FIELD_NUMBER: _ClassVar[int]
    KEYSET_ID_FIELD_NUMBER: _ClassVar[int]
    ROTATING_TO_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    version: str
    unsafe_scheme: bool
    database_id: bytes
    keyset_id: bytes
    rotating_to: bytes
    def __init__(self, protocol: _Optional[int] = ..., version: _Optional[str] = ..., unsafe_scheme: _Optional[bool] = ..., database_id: _Optional[bytes] = ..., keyset_id: _Optional[bytes] = ..., rotating_to: _Optional[bytes] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("position",)
    POSITION_FIELD_NUMBER: _ClassVar[int]
    position: int
    def __init__(self, position: _Optional[int] = ...) -> None: ...

class KeyName(_message.Message):
    __slots__ = ("keyset_id", "key_id", "parameter_set", "scheme", "from_key_id")
    KEYSET_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_SET_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    FROM_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    keyset_id: bytes
    key_id: bytes
    parameter_set: str
    scheme: str
    from_key_id: bytes
    def __init__(self, keyset_id: _Optional[bytes] = ..., key_id: _Optional[bytes] = ..., parameter_set: _Optional[str] = ..., scheme: _Optional[str] = ..., from_key_id: _Optional[bytes] = ...) -> None: ...

class HasKeysetReply(_message.Message):
    __slots__ = ("present",)
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    present: bool
    def __init__(self, present: _Optional[bool] = ...) -> None: ...

class PutKeysetRequest(_message.Message):
    __slots__ = ("request_id", "name", "size")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    name: KeyName
    size: int
    def __init__(self, request_id: _Optional[bytes] = ..., name: _Optional[_Union[KeyName, _Mapping]] = ..., size: _Optional[int] = ...) -> None: ...

class SchemaRecord(_message.Message):
    __slots__ = ("table_id", "name", "version", "public_bytes", "sealed_bytes", "mac")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_BYTES_FIELD_NUMBER: _ClassVar[int]
    SEALED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    table_id: bytes
    name: str
    version: int
    public_bytes: bytes
    sealed_bytes: bytes
    mac: bytes
    def __init__(self, table_id: _Optional[bytes] = ..., name: _Optional[str] = ..., version: _Optional[int] = ..., public_bytes: _Optional[bytes] = ..., sealed_bytes: _Optional[bytes] = ..., mac: _Optional[bytes] = ...) -> None: ...

class RekeySegmentRequest(_message.Message):
    __slots__ = ("request_id", "table_id", "schema_version", "segment_id", "key_id", "sealed_object", "canaries", "part_canaries")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SEALED_OBJECT_FIELD_NUMBER: _ClassVar[int]
    CANARIES_FIELD_NUMBER: _ClassVar[int]
    PART_CANARIES_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    table_id: bytes
    schema_version: int
    segment_id: bytes
    key_id: bytes
    sealed_object: bytes
    canaries: bytes
    part_canaries: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, request_id: _Optional[bytes] = ..., table_id: _Optional[bytes] = ..., schema_version: _Optional[int] = ..., segment_id: _Optional[bytes] = ..., key_id: _Optional[bytes] = ..., sealed_object: _Optional[bytes] = ..., canaries: _Optional[bytes] = ..., part_canaries: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SwitchKeysRequest(_message.Message):
    __slots__ = ("request_id", "expected_version", "schema", "tail")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    expected_version: int
    schema: SchemaRecord
    tail: CommitRequest
    def __init__(self, request_id: _Optional[bytes] = ..., expected_version: _Optional[int] = ..., schema: _Optional[_Union[SchemaRecord, _Mapping]] = ..., tail: _Optional[_Union[CommitRequest, _Mapping]] = ...) -> None: ...

class HoldWritesRequest(_message.Message):
    __slots__ = ("table_id", "seconds")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    table_id: bytes
    seconds: float
    def __init__(self, table_id: _Optional[bytes] = ..., seconds: _Optional[float] = ...) -> None: ...

class EndRotationRequest(_message.Message):
    __slots__ = ("request_id", "keyset_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    KEYSET_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    keyset_id: bytes
    def __init__(self, request_id: _Optional[bytes] = ..., keyset_id: _Optional[bytes] = ...) -> None: ...

class CreateTableRequest(_message.Message):
    __slots__ = ("request_id", "schema")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    schema: SchemaRecord
    def __init__(self, request_id: _Optional[bytes] = ..., schema: _Optional[_Union[SchemaRecord, _Mapping]] = ...) -> None: ...

class DropTableRequest(_message.Message):
    __slots__ = ("request_id", "table_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    table_id: bytes
    def __init__(self, request_id: _Optional[bytes] = ..., table_id: _Optional[bytes] = ...) -> None: ...

class UpdateSchemaRequest(_message.Message):
    __slots__ = ("request_id", "expected_version", "schema", "position", "has_position")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    HAS_POSITION_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    expected_version: int
    schema: SchemaRecord
    position: int
    has_position: bool
    def __init__(self, request_id: _Optional[bytes] = ..., expected_version: _Optional[int] = ..., schema: _Optional[_Union[SchemaRecord, _Mapping]] = ..., position: _Optional[int] = ..., has_position: _Optional[bool] = ...) -> None: ...

class AddEncodingsRequest(_message.Message):
    __slots__ = ("request_id", "table_id", "schema_version", "segment_id", "encodings")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    ENCODINGS_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    table_id: bytes
    schema_version: int
    segment_id: bytes
    encodings: _containers.RepeatedCompositeFieldContainer[EncodingObject]
    def __init__(self, request_id: _Optional[bytes] = ..., table_id: _Optional[bytes] = ..., schema_version: _Optional[int] = ..., segment_id: _Optional[bytes] = ..., encodings: _Optional[_Iterable[_Union[EncodingObject, _Mapping]]] = ...) -> None: ...

class ForgetHistoryRequest(_message.Message):
    __slots__ = ("backups",)
    BACKUPS_FIELD_NUMBER: _ClassVar[int]
    backups: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, backups: _Optional[_Iterable[str]] = ...) -> None: ...

class ForgetHistoryReply(_message.Message):
    __slots__ = ("position", "holders")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    position: int
    holders: _containers.RepeatedCompositeFieldContainer[HistoryHolder]
    def __init__(self, position: _Optional[int] = ..., holders: _Optional[_Iterable[_Union[HistoryHolder, _Mapping]]] = ...) -> None: ...

class HistoryHolder(_message.Message):
    __slots__ = ("kind", "name", "position", "created", "seconds")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    position: int
    created: int
    seconds: float
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., position: _Optional[int] = ..., created: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class ListTablesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTablesReply(_message.Message):
    __slots__ = ("tables",)
    TABLES_FIELD_NUMBER: _ClassVar[int]
    tables: _containers.RepeatedCompositeFieldContainer[SchemaRecord]
    def __init__(self, tables: _Optional[_Iterable[_Union[SchemaRecord, _Mapping]]] = ...) -> None: ...

class ReserveRequest(_message.Message):
    __slots__ = ("objects", "table_id", "keys")
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    objects: int
    table_id: bytes
    keys: int
    def __init__(self, objects: _Optional[int] = ..., table_id: _Optional[bytes] = ..., keys: _Optional[int] = ...) -> None: ...

class ReserveReply(_message.Message):
    __slots__ = ("ids", "first_key")
    IDS_FIELD_NUMBER: _ClassVar[int]
    FIRST_KEY_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[bytes]
    first_key: int
    def __init__(self, ids: _Optional[_Iterable[bytes]] = ..., first_key: _Optional[int] = ...) -> None: ...

class UploadRequest(_message.Message):
    __slots__ = ("object_id", "size")
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    object_id: bytes
    size: int
    def __init__(self, object_id: _Optional[bytes] = ..., size: _Optional[int] = ...) -> None: ...

class UploadReply(_message.Message):
    __slots__ = ("size",)
    SIZE_FIELD_NUMBER: _ClassVar[int]
    size: int
    def __init__(self, size: _Optional[int] = ...) -> None: ...

class DiscardRequest(_message.Message):
    __slots__ = ("object_ids",)
    OBJECT_IDS_FIELD_NUMBER: _ClassVar[int]
    object_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, object_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class EncodingObject(_message.Message):
    __slots__ = ("column_id", "encoding", "object_id", "parts", "rekeys")
    COLUMN_ID_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    REKEYS_FIELD_NUMBER: _ClassVar[int]
    column_id: int
    encoding: str
    object_id: bytes
    parts: int
    rekeys: int
    def __init__(self, column_id: _Optional[int] = ..., encoding: _Optional[str] = ..., object_id: _Optional[bytes] = ..., parts: _Optional[int] = ..., rekeys: _Optional[int] = ...) -> None: ...

class SegmentPart(_message.Message):
    __slots__ = ("segment_id", "first_slot", "rows", "row_version", "canaries")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_SLOT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ROW_VERSION_FIELD_NUMBER: _ClassVar[int]
    CANARIES_FIELD_NUMBER: _ClassVar[int]
    segment_id: bytes
    first_slot: int
    rows: int
    row_version: int
    canaries: bytes
    def __init__(self, segment_id: _Optional[bytes] = ..., first_slot: _Optional[int] = ..., rows: _Optional[int] = ..., row_version: _Optional[int] = ..., canaries: _Optional[bytes] = ...) -> None: ...

class NewSegment(_message.Message):
    __slots__ = ("segment_id", "rows", "public_object", "sealed_object", "canaries", "encodings", "first_slot", "open_segment", "lease_id", "parts", "noise")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_OBJECT_FIELD_NUMBER: _ClassVar[int]
    SEALED_OBJECT_FIELD_NUMBER: _ClassVar[int]
    CANARIES_FIELD_NUMBER: _ClassVar[int]
    ENCODINGS_FIELD_NUMBER: _ClassVar[int]
    FIRST_SLOT_FIELD_NUMBER: _ClassVar[int]
    OPEN_SEGMENT_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    segment_id: bytes
    rows: int
    public_object: bytes
    sealed_object: bytes
    canaries: bytes
    encodings: _containers.RepeatedCompositeFieldContainer[EncodingObject]
    first_slot: int
    open_segment: bytes
    lease_id: bytes
    parts: _containers.RepeatedCompositeFieldContainer[SegmentPart]
    noise: float
    def __init__(self, segment_id: _Optional[bytes] = ..., rows: _Optional[int] = ..., public_object: _Optional[bytes] = ..., sealed_object: _Optional[bytes] = ..., canaries: _Optional[bytes] = ..., encodings: _Optional[_Iterable[_Union[EncodingObject, _Mapping]]] = ..., first_slot: _Optional[int] = ..., open_segment: _Optional[bytes] = ..., lease_id: _Optional[bytes] = ..., parts: _Optional[_Iterable[_Union[SegmentPart, _Mapping]]] = ..., noise: _Optional[float] = ...) -> None: ...

class TailRows(_message.Message):
    __slots__ = ("rows", "public_block", "sealed_pack")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_BLOCK_FIELD_NUMBER: _ClassVar[int]
    SEALED_PACK_FIELD_NUMBER: _ClassVar[int]
    rows: int
    public_block: bytes
    sealed_pack: bytes
    def __init__(self, rows: _Optional[int] = ..., public_block: _Optional[bytes] = ..., sealed_pack: _Optional[bytes] = ...) -> None: ...

class KeyVersions(_message.Message):
    __slots__ = ("keys", "versions")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    keys: bytes
    versions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, keys: _Optional[bytes] = ..., versions: _Optional[_Iterable[int]] = ...) -> None: ...

class CommitRequest(_message.Message):
    __slots__ = ("request_id", "table_id", "schema_version", "row_version", "tail", "segments", "removed", "moved", "dropped", "lease_id", "checked")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROW_VERSION_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKED_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    table_id: bytes
    schema_version: int
    row_version: int
    tail: TailRows
    segments: _containers.RepeatedCompositeFieldContainer[NewSegment]
    removed: KeyVersions
    moved: KeyVersions
    dropped: KeyVersions
    lease_id: bytes
    checked: KeyVersions
    def __init__(self, request_id: _Optional[bytes] = ..., table_id: _Optional[bytes] = ..., schema_version: _Optional[int] = ..., row_version: _Optional[int] = ..., tail: _Optional[_Union[TailRows, _Mapping]] = ..., segments: _Optional[_Iterable[_Union[NewSegment, _Mapping]]] = ..., removed: _Optional[_Union[KeyVersions, _Mapping]] = ..., moved: _Optional[_Union[KeyVersions, _Mapping]] = ..., dropped: _Optional[_Union[KeyVersions, _Mapping]] = ..., lease_id: _Optional[bytes] = ..., checked: _Optional[_Union[KeyVersions, _Mapping]] = ...) -> None: ...

class KeyConflict(_message.Message):
    __slots__ = ("new_segment", "new_row", "segment_id", "slot", "version", "part", "index_number")
    NEW_SEGMENT_FIELD_NUMBER: _ClassVar[int]
    NEW_ROW_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    INDEX_NUMBER_FIELD_NUMBER: _ClassVar[int]
    new_segment: int
    new_row: int
    segment_id: bytes
    slot: int
    version: int
    part: int
    index_number: int
    def __init__(self, new_segment: _Optional[int] = ..., new_row: _Optional[int] = ..., segment_id: _Optional[bytes] = ..., slot: _Optional[int] = ..., version: _Optional[int] = ..., part: _Optional[int] = ..., index_number: _Optional[int] = ...) -> None: ...

class CommitReply(_message.Message):
    __slots__ = ("position", "conflicts")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    position: int
    conflicts: _containers.RepeatedCompositeFieldContainer[KeyConflict]
    def __init__(self, position: _Optional[int] = ..., conflicts: _Optional[_Iterable[_Union[KeyConflict, _Mapping]]] = ...) -> None: ...

class BatchRequest(_message.Message):
    __slots__ = ("request_id", "parts")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    parts: _containers.RepeatedCompositeFieldContainer[CommitRequest]
    def __init__(self, request_id: _Optional[bytes] = ..., parts: _Optional[_Iterable[_Union[CommitRequest, _Mapping]]] = ...) -> None: ...

class BatchReply(_message.Message):
    __slots__ = ("position", "conflicts")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    position: int
    conflicts: _containers.RepeatedCompositeFieldContainer[KeyConflict]
    def __init__(self, position: _Optional[int] = ..., conflicts: _Optional[_Iterable[_Union[KeyConflict, _Mapping]]] = ...) -> None: ...

class LeaseRequest(_message.Message):
    __slots__ = ("table_id", "slots", "lease_id")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    table_id: bytes
    slots: int
    lease_id: bytes
    def __init__(self, table_id: _Optional[bytes] = ..., slots: _Optional[int] = ..., lease_id: _Optional[bytes] = ...) -> None: ...

class LeaseReply(_message.Message):
    __slots__ = ("lease_id", "seconds", "open_segment", "first_slot")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    OPEN_SEGMENT_FIELD_NUMBER: _ClassVar[int]
    FIRST_SLOT_FIELD_NUMBER: _ClassVar[int]
    lease_id: bytes
    seconds: float
    open_segment: bytes
    first_slot: int
    def __init__(self, lease_id: _Optional[bytes] = ..., seconds: _Optional[float] = ..., open_segment: _Optional[bytes] = ..., first_slot: _Optional[int] = ...) -> None: ...

class EndLeaseRequest(_message.Message):
    __slots__ = ("table_id", "lease_id")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    table_id: bytes
    lease_id: bytes
    def __init__(self, table_id: _Optional[bytes] = ..., lease_id: _Optional[bytes] = ...) -> None: ...

class SnapshotRequest(_message.Message):
    __slots__ = ("table_id", "schema_version")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    table_id: bytes
    schema_version: int
    def __init__(self, table_id: _Optional[bytes] = ..., schema_version: _Optional[int] = ...) -> None: ...

class EncodingInfo(_message.Message):
    __slots__ = ("column_id", "encoding", "bytes")
    COLUMN_ID_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    column_id: int
    encoding: str
    bytes: int
    def __init__(self, column_id: _Optional[int] = ..., encoding: _Optional[str] = ..., bytes: _Optional[int] = ...) -> None: ...

class SegmentInfo(_message.Message):
    __slots__ = ("segment_id", "rows", "live", "row_version", "sealed_bytes", "public_bytes", "encodings", "parts", "noise", "level", "open_segment", "rekeys", "rekeyed_to", "schema_version")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    ROW_VERSION_FIELD_NUMBER: _ClassVar[int]
    SEALED_BYTES_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_BYTES_FIELD_NUMBER: _ClassVar[int]
    ENCODINGS_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    OPEN_SEGMENT_FIELD_NUMBER: _ClassVar[int]
    REKEYS_FIELD_NUMBER: _ClassVar[int]
    REKEYED_TO_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    segment_id: bytes
    rows: int
    live: int
    row_version: int
    sealed_bytes: int
    public_bytes: int
    encodings: _containers.RepeatedCompositeFieldContainer[EncodingInfo]
    parts: int
    noise: float
    level: int
    open_segment: bytes
    rekeys: int
    rekeyed_to: bytes
    schema_version: int
    def __init__(self, segment_id: _Optional[bytes] = ..., rows: _Optional[int] = ..., live: _Optional[int] = ..., row_version: _Optional[int] = ..., sealed_bytes: _Optional[int] = ..., public_bytes: _Optional[int] = ..., encodings: _Optional[_Iterable[_Union[EncodingInfo, _Mapping]]] = ..., parts: _Optional[int] = ..., noise: _Optional[float] = ..., level: _Optional[int] = ..., open_segment: _Optional[bytes] = ..., rekeys: _Optional[int] = ..., rekeyed_to: _Optional[bytes] = ..., schema_version: _Optional[int] = ...) -> None: ...

class SnapshotReply(_message.Message):
    __slots__ = ("handle", "position", "schema_version", "segments", "tail_rows", "tail_bytes", "lease_seconds", "ready_indexes")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    TAIL_ROWS_FIELD_NUMBER: _ClassVar[int]
    TAIL_BYTES_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    READY_INDEXES_FIELD_NUMBER: _ClassVar[int]
    handle: bytes
    position: int
    schema_version: int
    segments: _containers.RepeatedCompositeFieldContainer[SegmentInfo]
    tail_rows: int
    tail_bytes: int
    lease_seconds: float
    ready_indexes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, handle: _Optional[bytes] = ..., position: _Optional[int] = ..., schema_version: _Optional[int] = ..., segments: _Optional[_Iterable[_Union[SegmentInfo, _Mapping]]] = ..., tail_rows: _Optional[int] = ..., tail_bytes: _Optional[int] = ..., lease_seconds: _Optional[float] = ..., ready_indexes: _Optional[_Iterable[int]] = ...) -> None: ...

class HandleRequest(_message.Message):
    __slots__ = ("handle",)
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    handle: bytes
    def __init__(self, handle: _Optional[bytes] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("handles",)
    HANDLES_FIELD_NUMBER: _ClassVar[int]
    handles: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, handles: _Optional[_Iterable[bytes]] = ...) -> None: ...

class RenewReply(_message.Message):
    __slots__ = ("lease_seconds", "expired")
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    lease_seconds: float
    expired: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, lease_seconds: _Optional[float] = ..., expired: _Optional[_Iterable[bytes]] = ...) -> None: ...

class CanaryRequest(_message.Message):
    __slots__ = ("handle", "segment_ids")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_IDS_FIELD_NUMBER: _ClassVar[int]
    handle: bytes
    segment_ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, handle: _Optional[bytes] = ..., segment_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SegmentCanaries(_message.Message):
    __slots__ = ("segment_id", "canaries", "live", "parts")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    CANARIES_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    segment_id: bytes
    canaries: bytes
    live: bytes
    parts: _containers.RepeatedCompositeFieldContainer[SegmentPart]
    def __init__(self, segment_id: _Optional[bytes] = ..., canaries: _Optional[bytes] = ..., live: _Optional[bytes] = ..., parts: _Optional[_Iterable[_Union[SegmentPart, _Mapping]]] = ...) -> None: ...

class CanaryReply(_message.Message):
    __slots__ = ("segments",)
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    segments: _containers.RepeatedCompositeFieldContainer[SegmentCanaries]
    def __init__(self, segments: _Optional[_Iterable[_Union[SegmentCanaries, _Mapping]]] = ...) -> None: ...

class RowBlock(_message.Message):
    __slots__ = ("segment_id", "slots", "rows", "public_block", "sealed_pack", "versions", "canaries")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_BLOCK_FIELD_NUMBER: _ClassVar[int]
    SEALED_PACK_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    CANARIES_FIELD_NUMBER: _ClassVar[int]
    segment_id: bytes
    slots: _containers.RepeatedScalarFieldContainer[int]
    rows: int
    public_block: bytes
    sealed_pack: bytes
    versions: _containers.RepeatedScalarFieldContainer[int]
    canaries: SegmentCanaries
    def __init__(self, segment_id: _Optional[bytes] = ..., slots: _Optional[_Iterable[int]] = ..., rows: _Optional[int] = ..., public_block: _Optional[bytes] = ..., sealed_pack: _Optional[bytes] = ..., versions: _Optional[_Iterable[int]] = ..., canaries: _Optional[_Union[SegmentCanaries, _Mapping]] = ...) -> None: ...

class SlotList(_message.Message):
    __slots__ = ("segment_id", "slots")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    segment_id: bytes
    slots: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, segment_id: _Optional[bytes] = ..., slots: _Optional[_Iterable[int]] = ...) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("handle", "slots", "plan", "all_rows", "column_ids", "sealed", "keys", "table_id", "schema_version", "canaries")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    ALL_ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMN_IDS_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    CANARIES_FIELD_NUMBER: _ClassVar[int]
    handle: bytes
    slots: _containers.RepeatedCompositeFieldContainer[SlotList]
    plan: bytes
    all_rows: bool
    column_ids: _containers.RepeatedScalarFieldContainer[int]
    sealed: bool
    keys: bytes
    table_id: bytes
    schema_version: int
    canaries: bool
    def __init__(self, handle: _Optional[bytes] = ..., slots: _Optional[_Iterable[_Union[SlotList, _Mapping]]] = ..., plan: _Optional[bytes] = ..., all_rows: _Optional[bool] = ..., column_ids: _Optional[_Iterable[int]] = ..., sealed: _Optional[bool] = ..., keys: _Optional[bytes] = ..., table_id: _Optional[bytes] = ..., schema_version: _Optional[int] = ..., canaries: _Optional[bool] = ...) -> None: ...

class PutConstantsRequest(_message.Message):
    __slots__ = ("constants_id", "name", "sizes")
    CONSTANTS_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    constants_id: bytes
    name: KeyName
    sizes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, constants_id: _Optional[bytes] = ..., name: _Optional[_Union[KeyName, _Mapping]] = ..., sizes: _Optional[_Iterable[int]] = ...) -> None: ...

class ExecuteRequest(_message.Message):
    __slots__ = ("job_id", "handle", "plan", "constants_id", "threads", "vector_segments")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    CONSTANTS_ID_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    VECTOR_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    job_id: bytes
    handle: bytes
    plan: bytes
    constants_id: bytes
    threads: int
    vector_segments: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, job_id: _Optional[bytes] = ..., handle: _Optional[bytes] = ..., plan: _Optional[bytes] = ..., constants_id: _Optional[bytes] = ..., threads: _Optional[int] = ..., vector_segments: _Optional[_Iterable[bytes]] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: bytes
    def __init__(self, job_id: _Optional[bytes] = ...) -> None: ...

class ProgressEvent(_message.Message):
    __slots__ = ("done", "total")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class GroupsEvent(_message.Message):
    __slots__ = ("groups", "block", "rows")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    groups: int
    block: bytes
    rows: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, groups: _Optional[int] = ..., block: _Optional[bytes] = ..., rows: _Optional[_Iterable[int]] = ...) -> None: ...

class AccumulatorEvent(_message.Message):
    __slots__ = ("output", "group", "part", "ciphertext")
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXT_FIELD_NUMBER: _ClassVar[int]
    output: int
    group: int
    part: int
    ciphertext: bytes
    def __init__(self, output: _Optional[int] = ..., group: _Optional[int] = ..., part: _Optional[int] = ..., ciphertext: _Optional[bytes] = ...) -> None: ...

class MaskEvent(_message.Message):
    __slots__ = ("segment_ids", "ciphertext", "output")
    SEGMENT_IDS_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    segment_ids: _containers.RepeatedScalarFieldContainer[bytes]
    ciphertext: bytes
    output: int
    def __init__(self, segment_ids: _Optional[_Iterable[bytes]] = ..., ciphertext: _Optional[bytes] = ..., output: _Optional[int] = ...) -> None: ...

class StatsEvent(_message.Message):
    __slots__ = ("cpu_seconds", "wall_seconds", "bytes_read", "bytes_cached", "key_switches", "segments")
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WALL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    BYTES_READ_FIELD_NUMBER: _ClassVar[int]
    BYTES_CACHED_FIELD_NUMBER: _ClassVar[int]
    KEY_SWITCHES_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    cpu_seconds: float
    wall_seconds: float
    bytes_read: int
    bytes_cached: int
    key_switches: int
    segments: int
    def __init__(self, cpu_seconds: _Optional[float] = ..., wall_seconds: _Optional[float] = ..., bytes_read: _Optional[int] = ..., bytes_cached: _Optional[int] = ..., key_switches: _Optional[int] = ..., segments: _Optional[int] = ...) -> None: ...

class ExecuteEvent(_message.Message):
    __slots__ = ("progress", "groups", "accumulator", "mask", "stats")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    ACCUMULATOR_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    progress: ProgressEvent
    groups: GroupsEvent
    accumulator: AccumulatorEvent
    mask: MaskEvent
    stats: StatsEvent
    def __init__(self, progress: _Optional[_Union[ProgressEvent, _Mapping]] = ..., groups: _Optional[_Union[GroupsEvent, _Mapping]] = ..., accumulator: _Optional[_Union[AccumulatorEvent, _Mapping]] = ..., mask: _Optional[_Union[MaskEvent, _Mapping]] = ..., stats: _Optional[_Union[StatsEvent, _Mapping]] = ...) -> None: ...

class TableStatsRequest(_message.Message):
    __slots__ = ("table_id",)
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    table_id: bytes
    def __init__(self, table_id: _Optional[bytes] = ...) -> None: ...

class TableStatsReply(_message.Message):
    __slots__ = ("segments", "rows", "tail_rows", "segment_bytes", "tail_bytes", "cache_bytes")
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TAIL_ROWS_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    TAIL_BYTES_FIELD_NUMBER: _ClassVar[int]
    CACHE_BYTES_FIELD_NUMBER: _ClassVar[int]
    segments: int
    rows: int
    tail_rows: int
    segment_bytes: int
    tail_bytes: int
    cache_bytes: int
    def __init__(self, segments: _Optional[int] = ..., rows: _Optional[int] = ..., tail_rows: _Optional[int] = ..., segment_bytes: _Optional[int] = ..., tail_bytes: _Optional[int] = ..., cache_bytes: _Optional[int] = ...) -> None: ...

class BuildIndexRequest(_message.Message):
    __slots__ = ("table_id", "number")
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    table_id: bytes
    number: int
    def __init__(self, table_id: _Optional[bytes] = ..., number: _Optional[int] = ...) -> None: ...

class BuildIndexEvent(_message.Message):
    __slots__ = ("done", "total")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class ErrorField(_message.Message):
    __slots__ = ("name", "text", "integer", "real")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    REAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    text: str
    integer: int
    real: float
    def __init__(self, name: _Optional[str] = ..., text: _Optional[str] = ..., integer: _Optional[int] = ..., real: _Optional[float] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "fields")
    CODE_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    code: str
    fields: _containers.RepeatedCompositeFieldContainer[ErrorField]
    def __init__(self, code: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[ErrorField, _Mapping]]] = ...) -> None: ...
