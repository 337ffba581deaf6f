from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SqlType(_message.Message):
    __slots__ = ("kind", "bits", "is_signed", "precision", "scale")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[SqlType.Kind]
        INT: _ClassVar[SqlType.Kind]
        DECIMAL: _ClassVar[SqlType.Kind]
        DATE: _ClassVar[SqlType.Kind]
        BOOLEAN: _ClassVar[SqlType.Kind]
        TEXT: _ClassVar[SqlType.Kind]
        TIMESTAMP: _ClassVar[SqlType.Kind]
        BLOB: _ClassVar[SqlType.Kind]
    UNSPECIFIED: SqlType.Kind
    INT: SqlType.Kind
    DECIMAL: SqlType.Kind
    DATE: SqlType.Kind
    BOOLEAN: SqlType.Kind
    TEXT: SqlType.Kind
    TIMESTAMP: SqlType.Kind
    BLOB: SqlType.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    IS_SIGNED_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    kind: SqlType.Kind
    bits: int
    is_signed: bool
    precision: int
    scale: int
    def __init__(self, kind: _Optional[_Union[SqlType.Kind, str]] = ..., bits: _Optional[int] = ..., is_signed: _Optional[bool] = ..., precision: _Optional[int] = ..., scale: _Optional[int] = ...) -> None: ...

class EncodingShape(_message.Message):
    __slots__ = ("kind", "slices", "bits", "digits", "bounds", "generation")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[EncodingShape.Kind]
        DIGITS: _ClassVar[EncodingShape.Kind]
        LIMBS: _ClassVar[EncodingShape.Kind]
        ONEHOT: _ClassVar[EncodingShape.Kind]
        NOTNULL: _ClassVar[EncodingShape.Kind]
        PREFIX: _ClassVar[EncodingShape.Kind]
    UNSPECIFIED: EncodingShape.Kind
    DIGITS: EncodingShape.Kind
    LIMBS: EncodingShape.Kind
    ONEHOT: EncodingShape.Kind
    NOTNULL: EncodingShape.Kind
    PREFIX: EncodingShape.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    DIGITS_FIELD_NUMBER: _ClassVar[int]
    BOUNDS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    kind: EncodingShape.Kind
    slices: int
    bits: int
    digits: int
    bounds: _containers.RepeatedCompositeFieldContainer[SliceBounds]
    generation: int
    def __init__(self, kind: _Optional[_Union[EncodingShape.Kind, str]] = ..., slices: _Optional[int] = ..., bits: _Optional[int] = ..., digits: _Optional[int] = ..., bounds: _Optional[_Iterable[_Union[SliceBounds, _Mapping]]] = ..., generation: _Optional[int] = ...) -> None: ...

class SliceBounds(_message.Message):
    __slots__ = ("count", "low", "high")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    count: int
    low: int
    high: int
    def __init__(self, count: _Optional[int] = ..., low: _Optional[int] = ..., high: _Optional[int] = ...) -> None: ...

class PublicColumn(_message.Message):
    __slots__ = ("id", "name", "type", "nullable", "encrypted", "primary_key", "index", "hidden", "queries", "encodings", "altering", "pending", "pending_queries", "pending_nullable", "default")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NULLABLE_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTED_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_KEY_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    ENCODINGS_FIELD_NUMBER: _ClassVar[int]
    ALTERING_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    PENDING_QUERIES_FIELD_NUMBER: _ClassVar[int]
    PENDING_NULLABLE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    type: SqlType
    nullable: bool
    encrypted: bool
    primary_key: bool
    index: bool
    hidden: bool
    queries: _containers.RepeatedScalarFieldContainer[str]
    encodings: _containers.RepeatedCompositeFieldContainer[EncodingShape]
    altering: bool
    pending: _containers.RepeatedCompositeFieldContainer[EncodingShape]
    pending_queries: _containers.RepeatedScalarFieldContainer[str]
    pending_nullable: bool
    default: Value
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., type: _Optional[_Union[SqlType, _Mapping]] = ..., nullable: _Optional[bool] = ..., encrypted: _Optional[bool] = ..., primary_key: _Optional[bool] = ..., index: _Optional[bool] = ..., hidden: _Optional[bool] = ..., queries: _Optional[_Iterable[str]] = ..., encodings: _Optional[_Iterable[_Union[EncodingShape, _Mapping]]] = ..., altering: _Optional[bool] = ..., pending: _Optional[_Iterable[_Union[EncodingShape, _Mapping]]] = ..., pending_queries: _Optional[_Iterable[str]] = ..., pending_nullable: _Optional[bool] = ..., default: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class IndexDefinition(_message.Message):
    __slots__ = ("number", "name", "columns", "unique")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    UNIQUE_FIELD_NUMBER: _ClassVar[int]
    number: int
    name: str
    columns: _containers.RepeatedScalarFieldContainer[int]
    unique: bool
    def __init__(self, number: _Optional[int] = ..., name: _Optional[str] = ..., columns: _Optional[_Iterable[int]] = ..., unique: _Optional[bool] = ...) -> None: ...

class PublicTable(_message.Message):
    __slots__ = ("format", "id", "name", "version", "columns", "parameter_set", "scheme", "key_id", "indexes", "next_column", "dropped_version")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_SET_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    NEXT_COLUMN_FIELD_NUMBER: _ClassVar[int]
    DROPPED_VERSION_FIELD_NUMBER: _ClassVar[int]
    format: int
    id: bytes
    name: str
    version: int
    columns: _containers.RepeatedCompositeFieldContainer[PublicColumn]
    parameter_set: str
    scheme: str
    key_id: bytes
    indexes: _containers.RepeatedCompositeFieldContainer[IndexDefinition]
    next_column: int
    dropped_version: int
    def __init__(self, format: _Optional[int] = ..., id: _Optional[bytes] = ..., name: _Optional[str] = ..., version: _Optional[int] = ..., columns: _Optional[_Iterable[_Union[PublicColumn, _Mapping]]] = ..., parameter_set: _Optional[str] = ..., scheme: _Optional[str] = ..., key_id: _Optional[bytes] = ..., indexes: _Optional[_Iterable[_Union[IndexDefinition, _Mapping]]] = ..., next_column: _Optional[int] = ..., dropped_version: _Optional[int] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("integer", "unsigned", "text")
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    UNSIGNED_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    integer: int
    unsigned: int
    text: str
    def __init__(self, integer: _Optional[int] = ..., unsigned: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class Expression(_message.Message):
    __slots__ = ("op", "children", "column_id", "number")
    OP_FIELD_NUMBER: _ClassVar[int]
    CHILDREN_FIELD_NUMBER: _ClassVar[int]
    COLUMN_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    op: str
    children: _containers.RepeatedCompositeFieldContainer[Expression]
    column_id: int
    number: str
    def __init__(self, op: _Optional[str] = ..., children: _Optional[_Iterable[_Union[Expression, _Mapping]]] = ..., column_id: _Optional[int] = ..., number: _Optional[str] = ...) -> None: ...

class SealedColumn(_message.Message):
    __slots__ = ("id", "minimum", "maximum", "categories", "has_dictionary", "dictionary", "generated", "default", "target", "unready")
    ID_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    HAS_DICTIONARY_FIELD_NUMBER: _ClassVar[int]
    DICTIONARY_FIELD_NUMBER: _ClassVar[int]
    GENERATED_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    UNREADY_FIELD_NUMBER: _ClassVar[int]
    id: int
    minimum: Value
    maximum: Value
    categories: _containers.RepeatedCompositeFieldContainer[Value]
    has_dictionary: bool
    dictionary: _containers.RepeatedScalarFieldContainer[str]
    generated: Expression
    default: Value
    target: SealedColumn
    unready: bool
    def __init__(self, id: _Optional[int] = ..., minimum: _Optional[_Union[Value, _Mapping]] = ..., maximum: _Optional[_Union[Value, _Mapping]] = ..., categories: _Optional[_Iterable[_Union[Value, _Mapping]]] = ..., has_dictionary: _Optional[bool] = ..., dictionary: _Optional[_Iterable[str]] = ..., generated: _Optional[_Union[Expression, _Mapping]] = ..., default: _Optional[_Union[Value, _Mapping]] = ..., target: _Optional[_Union[SealedColumn, _Mapping]] = ..., unready: _Optional[bool] = ...) -> None: ...

class SealedTable(_message.Message):
    __slots__ = ("format", "columns")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    format: int
    columns: _containers.RepeatedCompositeFieldContainer[SealedColumn]
    def __init__(self, format: _Optional[int] = ..., columns: _Optional[_Iterable[_Union[SealedColumn, _Mapping]]] = ...) -> None: ...
