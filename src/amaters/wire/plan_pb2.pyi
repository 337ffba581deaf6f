from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PlanLiteral(_message.Message):
    __slots__ = ("integer", "decimal", "day", "text", "boolean", "null", "moment", "blob")
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    DECIMAL_FIELD_NUMBER: _ClassVar[int]
    DAY_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_FIELD_NUMBER: _ClassVar[int]
    NULL_FIELD_NUMBER: _ClassVar[int]
    MOMENT_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    integer: str
    decimal: str
    day: int
    text: str
    boolean: bool
    null: bool
    moment: int
    blob: bytes
    def __init__(self, integer: _Optional[str] = ..., decimal: _Optional[str] = ..., day: _Optional[int] = ..., text: _Optional[str] = ..., boolean: _Optional[bool] = ..., null: _Optional[bool] = ..., moment: _Optional[int] = ..., blob: _Optional[bytes] = ...) -> None: ...

class PlanScalar(_message.Message):
    __slots__ = ("op", "children", "column_id", "literal")
    OP_FIELD_NUMBER: _ClassVar[int]
    CHILDREN_FIELD_NUMBER: _ClassVar[int]
    COLUMN_ID_FIELD_NUMBER: _ClassVar[int]
    LITERAL_FIELD_NUMBER: _ClassVar[int]
    op: str
    children: _containers.RepeatedCompositeFieldContainer[PlanScalar]
    column_id: int
    literal: PlanLiteral
    def __init__(self, op: _Optional[str] = ..., children: _Optional[_Iterable[_Union[PlanScalar, _Mapping]]] = ..., column_id: _Optional[int] = ..., literal: _Optional[_Union[PlanLiteral, _Mapping]] = ...) -> None: ...

class PlanPredicate(_message.Message):
    __slots__ = ("kind", "op", "column_id", "literals", "negated", "children", "scalars", "escape")
    KIND_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    COLUMN_ID_FIELD_NUMBER: _ClassVar[int]
    LITERALS_FIELD_NUMBER: _ClassVar[int]
    NEGATED_FIELD_NUMBER: _ClassVar[int]
    CHILDREN_FIELD_NUMBER: _ClassVar[int]
    SCALARS_FIELD_NUMBER: _ClassVar[int]
    ESCAPE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    op: str
    column_id: int
    literals: _containers.RepeatedCompositeFieldContainer[PlanLiteral]
    negated: bool
    children: _containers.RepeatedCompositeFieldContainer[PlanPredicate]
    scalars: _containers.RepeatedCompositeFieldContainer[PlanScalar]
    escape: str
    def __init__(self, kind: _Optional[str] = ..., op: _Optional[str] = ..., column_id: _Optional[int] = ..., literals: _Optional[_Iterable[_Union[PlanLiteral, _Mapping]]] = ..., negated: _Optional[bool] = ..., children: _Optional[_Iterable[_Union[PlanPredicate, _Mapping]]] = ..., scalars: _Optional[_Iterable[_Union[PlanScalar, _Mapping]]] = ..., escape: _Optional[str] = ...) -> None: ...

class PlanNode(_message.Message):
    __slots__ = ("kind", "column_id", "form", "negated", "slot", "count", "is_public", "codes", "children", "predicate")
    KIND_FIELD_NUMBER: _ClassVar[int]
    COLUMN_ID_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    NEGATED_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    IS_PUBLIC_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    CHILDREN_FIELD_NUMBER: _ClassVar[int]
    PREDICATE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    column_id: int
    form: str
    negated: bool
    slot: int
    count: int
    is_public: bool
    codes: _containers.RepeatedScalarFieldContainer[bytes]
    children: _containers.RepeatedCompositeFieldContainer[PlanNode]
    predicate: PlanPredicate
    def __init__(self, kind: _Optional[str] = ..., column_id: _Optional[int] = ..., form: _Optional[str] = ..., negated: _Optional[bool] = ..., slot: _Optional[int] = ..., count: _Optional[int] = ..., is_public: _Optional[bool] = ..., codes: _Optional[_Iterable[bytes]] = ..., children: _Optional[_Iterable[_Union[PlanNode, _Mapping]]] = ..., predicate: _Optional[_Union[PlanPredicate, _Mapping]] = ...) -> None: ...

class PlanTerm(_message.Message):
    __slots__ = ("kind", "columns", "required", "condition")
    KIND_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    kind: str
    columns: _containers.RepeatedScalarFieldContainer[int]
    required: _containers.RepeatedScalarFieldContainer[int]
    condition: int
    def __init__(self, kind: _Optional[str] = ..., columns: _Optional[_Iterable[int]] = ..., required: _Optional[_Iterable[int]] = ..., condition: _Optional[int] = ...) -> None: ...

class PlanCondition(_message.Message):
    __slots__ = ("public", "filter")
    PUBLIC_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    public: PlanPredicate
    filter: PlanNode
    def __init__(self, public: _Optional[_Union[PlanPredicate, _Mapping]] = ..., filter: _Optional[_Union[PlanNode, _Mapping]] = ...) -> None: ...

class PlanEncoding(_message.Message):
    __slots__ = ("kind", "slices", "lows", "highs")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    LOWS_FIELD_NUMBER: _ClassVar[int]
    HIGHS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    slices: int
    lows: _containers.RepeatedScalarFieldContainer[int]
    highs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, kind: _Optional[str] = ..., slices: _Optional[int] = ..., lows: _Optional[_Iterable[int]] = ..., highs: _Optional[_Iterable[int]] = ...) -> None: ...

class PlanVirtual(_message.Message):
    __slots__ = ("number", "nullable", "encodings")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    NULLABLE_FIELD_NUMBER: _ClassVar[int]
    ENCODINGS_FIELD_NUMBER: _ClassVar[int]
    number: int
    nullable: bool
    encodings: _containers.RepeatedCompositeFieldContainer[PlanEncoding]
    def __init__(self, number: _Optional[int] = ..., nullable: _Optional[bool] = ..., encodings: _Optional[_Iterable[_Union[PlanEncoding, _Mapping]]] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("version", "table_id", "schema_version", "parameter_set", "scheme", "output", "masked", "public_filter", "filter", "public_groups", "encrypted_groups", "terms", "digest", "virtual", "rekeys", "parts", "conditions", "selection", "values")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_SET_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    MASKED_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_FILTER_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_GROUPS_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTED_GROUPS_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    VIRTUAL_FIELD_NUMBER: _ClassVar[int]
    REKEYS_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    version: int
    table_id: bytes
    schema_version: int
    parameter_set: str
    scheme: str
    output: str
    masked: bool
    public_filter: PlanPredicate
    filter: PlanNode
    public_groups: _containers.RepeatedScalarFieldContainer[int]
    encrypted_groups: _containers.RepeatedScalarFieldContainer[int]
    terms: _containers.RepeatedCompositeFieldContainer[PlanTerm]
    digest: bytes
    virtual: _containers.RepeatedCompositeFieldContainer[PlanVirtual]
    rekeys: int
    parts: int
    conditions: _containers.RepeatedCompositeFieldContainer[PlanCondition]
    selection: bool
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, version: _Optional[int] = ..., table_id: _Optional[bytes] = ..., schema_version: _Optional[int] = ..., parameter_set: _Optional[str] = ..., scheme: _Optional[str] = ..., output: _Optional[str] = ..., masked: _Optional[bool] = ..., public_filter: _Optional[_Union[PlanPredicate, _Mapping]] = ..., filter: _Optional[_Union[PlanNode, _Mapping]] = ..., public_groups: _Optional[_Iterable[int]] = ..., encrypted_groups: _Optional[_Iterable[int]] = ..., terms: _Optional[_Iterable[_Union[PlanTerm, _Mapping]]] = ..., digest: _Optional[bytes] = ..., virtual: _Optional[_Iterable[_Union[PlanVirtual, _Mapping]]] = ..., rekeys: _Optional[int] = ..., parts: _Optional[int] = ..., conditions: _Optional[_Iterable[_Union[PlanCondition, _Mapping]]] = ..., selection: _Optional[bool] = ..., values: _Optional[_Iterable[int]] = ...) -> None: ...
