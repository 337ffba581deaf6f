"""Schemas as bytes: a part the server reads, a part sealed from it, and a MAC over both.

The schema decides what is encrypted, so it is data to authenticate: a server that could claim
"salary is public" would be sent the salaries.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NoReturn, cast

from google.protobuf.message import DecodeError

from amaters.base.errors import AmatersError, InvalidError, fail
from amaters.base.ids import ID_BYTES
from amaters.base.rng import Rng
from amaters.columns.dictionary import DICTIONARY_VALUES_MAX, Dictionary
from amaters.columns.encodings import EncodingShape, Kind
from amaters.columns.expressions import decode_expression, encode_expression
from amaters.columns.indexes import IndexDefinition, check_indexes, default_name
from amaters.columns.rowcodec import padme
from amaters.columns.schema import (
    QUERIES,
    Column,
    Pending,
    PublicColumn,
    PublicTable,
    Query,
    Table,
)
from amaters.columns.sealing import Keys, open_one, seal_one
from amaters.columns.types import SqlType, Storage, TypeKind
from amaters.wire import schema_pb2 as pb

FORMAT = 1
FORMAT_ALTERED = 2  # of tables with what older programs would misread: altered ones, defaults
PUBLIC_BYTES_MAX = 4 << 20
SEALED_BYTES_MAX = 32 << 20
_LABEL = b"amaters.schema.v1"
_SLOT_VALUE_MAX = 1 << 16
_SLICES_MAX = 4096
_GENERATIONS_MAX = (1 << 32) - 1
_COLUMNS_MAX = 1 << 12

_TYPE_KINDS = {
    TypeKind.INT: pb.SqlType.INT,
    TypeKind.DECIMAL: pb.SqlType.DECIMAL,
    TypeKind.DATE: pb.SqlType.DATE,
    TypeKind.BOOLEAN: pb.SqlType.BOOLEAN,
    TypeKind.TEXT: pb.SqlType.TEXT,
    TypeKind.TIMESTAMP: pb.SqlType.TIMESTAMP,
    TypeKind.BLOB: pb.SqlType.BLOB,
}
_TYPE_KINDS_BACK = {number: kind for kind, number in _TYPE_KINDS.items()}
_ENCODING_KINDS: dict[Kind, pb.EncodingShape.Kind] = {
    "digits": pb.EncodingShape.DIGITS,
    "limbs": pb.EncodingShape.LIMBS,
    "onehot": pb.EncodingShape.ONEHOT,
    "notnull": pb.EncodingShape.NOTNULL,
    "prefix": pb.EncodingShape.PREFIX,
}
_ENCODING_KINDS_BACK = {number: kind for kind, number in _ENCODING_KINDS.items()}


@dataclass(frozen=True, slots=True)
class SchemaRecord:
    """A schema as the server stores it; ``mac`` covers the three other fields."""

    version: int
    public_bytes: bytes
    sealed_bytes: bytes
    mac: bytes


def seal_schema(table: Table, keys: Keys, *, rng: Rng) -> SchemaRecord:
    """The record of this version of ``table``."""
    public = encode_public(table.public())
    plain = _encode_sealed(table)
    framed = struct.pack("<I", len(plain)) + plain
    padded = framed.ljust(padme(len(framed)), b"\0")
    sealed = seal_one(keys, _LABEL, padded, _binding(table.id, table.version), rng=rng)
    return SchemaRecord(table.version, public, sealed, _mac(keys, table.version, public, sealed))


def open_schema(
    record: SchemaRecord, keys: Keys, *, seen: Mapping[bytes, int] | None = None
) -> Table:
    """The table of an authentic record. ``seen`` has the newest version seen before, by table id.

    The id that is looked up there is the authenticated one, so the server cannot dodge it.

    Raises: AM-2050 when this keyset did not make it, AM-2051 when it is older, AM-2052 when
    damaged.
    """
    expected = _mac(keys, record.version, record.public_bytes, record.sealed_bytes)
    if not hmac.compare_digest(expected, record.mac):
        fail("AM-2050", table=_claimed_name(record.public_bytes))
    public = decode_public(record.public_bytes)
    if public.version != record.version:
        _damaged("its parts have different versions")
    newest = (seen or {}).get(public.id, 0)
    if record.version < newest:
        fail("AM-2051", table=public.name, got=record.version, expected=newest)
    binding = _binding(public.id, public.version)
    padded = open_one(keys, _LABEL, record.sealed_bytes, binding)
    if padded is None:
        _damaged("the sealed part does not open")
    return _join(public, _decode_sealed(padded))


def encode_public(table: PublicTable) -> bytes:
    """What the server stores and reads of a table."""
    message = pb.PublicTable(
        format=FORMAT_ALTERED if _is_altered(table) else FORMAT,
        id=table.id,
        name=table.name,
        version=table.version,
        parameter_set=table.parameter_set,
        scheme=table.scheme,
        key_id=table.key_id,
        columns=[_column_message(column) for column in table.columns],
        indexes=[
            pb.IndexDefinition(
                number=index.number, name=index.name, columns=index.columns, unique=index.unique
            )
            for index in table.indexes
        ],
        next_column=table.next_column,
        dropped_version=table.dropped_version,
    )
    return message.SerializeToString(deterministic=True)


def _is_altered(table: PublicTable) -> bool:
    return bool(table.next_column) or any(column.default is not None for column in table.columns)


def decode_public(data: bytes) -> PublicTable:
    """The public table in these bytes. Raises: AM-2052 unless every field is possible."""
    if len(data) > PUBLIC_BYTES_MAX:
        _damaged("the public part is too long")
    try:
        message = pb.PublicTable.FromString(data)
    except DecodeError:
        _damaged("the public part cannot be parsed")
    columns = tuple(_column_of(column) for column in message.columns)
    younger = message.next_column or any(column.default is not None for column in columns)
    if message.format != (FORMAT_ALTERED if younger else FORMAT) or message.version < 1:
        _damaged("the public part has another format")
    if len(message.id) != ID_BYTES or len(message.key_id) != ID_BYTES:
        _damaged("an id has the wrong length")
    if message.scheme not in ("bgv", "noop") or not message.name or not message.parameter_set:
        _damaged("scheme, name or parameter set is missing")
    if len({column.id for column in columns}) != len(columns) or not columns:
        _damaged("column ids repeat")
    if message.next_column and message.next_column <= max(column.id for column in columns):
        _damaged("a column has an id that is not given yet")
    if len({column.name.lower() for column in columns}) != len(columns):
        _damaged("column names repeat")
    keys = [column for column in columns if column.primary_key]
    if len(keys) != 1 or keys[0].encrypted or keys[0].nullable:
        _damaged("there must be one public primary key")
    return PublicTable(
        id=message.id,
        name=message.name,
        version=message.version,
        columns=columns,
        parameter_set=message.parameter_set,
        scheme=cast("Literal['bgv', 'noop']", message.scheme),
        key_id=message.key_id,
        indexes=_indexes_of(message, columns),
        next_column=message.next_column,
        dropped_version=message.dropped_version,
    )


def _indexes_of(
    message: pb.PublicTable, columns: tuple[PublicColumn, ...]
) -> tuple[IndexDefinition, ...]:
    """The definitions; old schemas only had a flag on the column, which means one each."""
    flagged = [column for column in message.columns if column.index]
    found = [
        IndexDefinition(item.number, item.name, tuple(item.columns), item.unique)
        for item in message.indexes
    ] or [
        IndexDefinition(
            number, default_name(message.name, [column.name], unique=False), (column.id,)
        )
        for number, column in enumerate(flagged, start=1)
    ]
    public = {column.id for column in columns if not column.encrypted}
    if not all(public.issuperset(index.columns) for index in found):
        _damaged("an index is over columns that are not public")
    if len({index.number for index in found} - {0}) != len(found):
        _damaged("index numbers repeat")
    try:
        check_indexes(message.name, found)
    except AmatersError:
        _damaged("an index has an impossible definition")
    return tuple(found)


def _damaged(what: str) -> NoReturn:
    fail("AM-2052", what=what)


def _claimed_name(public: bytes) -> str:
    """For the message only; nothing else of an unauthentic record is used."""
    try:
        name = pb.PublicTable.FromString(public[:PUBLIC_BYTES_MAX]).name[:128]
    except DecodeError:
        return "a table"
    return name if name.isprintable() and name else "a table"


def _binding(table_id: bytes, version: int) -> bytes:
    return table_id + struct.pack("<Q", version)


def _mac(keys: Keys, version: int, public: bytes, sealed: bytes) -> bytes:
    lengths = struct.pack("<QQQ", version % (1 << 64), len(public), len(sealed))
    message = b"".join((_LABEL, lengths, public, sealed))
    return hmac.new(keys.mac_key, message, hashlib.sha256).digest()


def _column_message(column: PublicColumn) -> pb.PublicColumn:
    type_ = column.type
    message = pb.PublicColumn(
        id=column.id,
        name=column.name,
        type=pb.SqlType(
            kind=_TYPE_KINDS[type_.kind],
            bits=type_.bits,
            is_signed=type_.signed,
            precision=type_.precision,
            scale=type_.scale,
        ),
        nullable=column.nullable,
        encrypted=column.encrypted,
        primary_key=column.primary_key,
        hidden=column.hidden,
        queries=sorted(column.queries),
        encodings=[_shape_message(shape) for shape in column.encodings],
    )
    if column.pending is not None:
        message.altering = True
        message.pending.extend(_shape_message(shape) for shape in column.pending.encodings)
        message.pending_queries.extend(sorted(column.pending.queries))
        message.pending_nullable = column.pending.nullable
    if column.default is not None:
        message.default.CopyFrom(_value_message(column.default))
    return message


def _shape_message(shape: EncodingShape) -> pb.EncodingShape:
    runs = [
        pb.SliceBounds(count=len(list(group)), low=low, high=high)
        for (low, high), group in itertools.groupby(shape.bounds)
    ]
    return pb.EncodingShape(
        kind=_ENCODING_KINDS[shape.kind],
        slices=shape.slices,
        bits=shape.bits,
        digits=shape.digits,
        bounds=runs,
        generation=shape.generation,
    )


def _column_of(message: pb.PublicColumn) -> PublicColumn:
    kind = _TYPE_KINDS_BACK.get(message.type.kind)
    queries = tuple(message.queries)
    if kind is None or not message.name or not 1 <= message.id <= _COLUMNS_MAX:
        _damaged("a column has no type, name or id")
    shapes = [*message.encodings, *message.pending]
    if not {*queries, *message.pending_queries} <= set(QUERIES):
        _damaged("a column has impossible capabilities")
    has_default = message.HasField("default")
    if (shapes and not message.encrypted) or (has_default and message.encrypted):
        _damaged("a column has impossible capabilities")
    if len({(shape.kind, shape.generation) for shape in shapes}) != len(shapes):
        _damaged("an encoding is there twice")
    source = message.type
    try:
        type_ = SqlType(kind, source.bits, source.is_signed, source.precision, source.scale)
    except InvalidError:
        _damaged("a column has an impossible type")
    return PublicColumn(
        id=message.id,
        name=message.name,
        type=type_,
        nullable=message.nullable,
        encrypted=message.encrypted,
        primary_key=message.primary_key,
        hidden=message.hidden,
        queries=frozenset(cast("tuple[Query, ...]", queries)),
        encodings=tuple(_shape_of(shape) for shape in message.encodings),
        pending=_pending_of(message),
        default=_value_of(message.default) if message.HasField("default") else None,
    )


def _pending_of(message: pb.PublicColumn) -> Pending | None:
    if not message.altering:
        return None
    return Pending(
        tuple(_shape_of(shape) for shape in message.pending),
        frozenset(cast("tuple[Query, ...]", tuple(message.pending_queries))),
        message.pending_nullable,
    )


def _shape_of(message: pb.EncodingShape) -> EncodingShape:
    kind = _ENCODING_KINDS_BACK.get(message.kind)
    slices, bits, digits = message.slices, message.bits, message.digits
    possible = {
        "digits": bits in range(2, 65, 2) and digits == bits // 2 and slices == 3 * digits + 1,
        "limbs": bits == 0 and digits == slices and 1 <= slices <= 9,
        "onehot": bits == 0 and digits == 0 and 1 <= slices <= _SLICES_MAX,
        "notnull": bits == 0 and digits == 0 and slices == 1,
        "prefix": bits in range(8, 65, 8) and digits == bits // 2 and slices == 3 * digits + 1,
    }
    if kind is None or not possible[kind]:
        _damaged("an encoding has an impossible shape")
    if message.generation > _GENERATIONS_MAX:
        _damaged("an encoding has an impossible generation")
    if sum(run.count for run in message.bounds) != slices:
        _damaged("an encoding has bounds for another number of slices")
    bounds: list[tuple[int, int]] = []
    for run in message.bounds:
        if not -_SLOT_VALUE_MAX <= run.low <= 0 <= run.high <= _SLOT_VALUE_MAX:
            _damaged("an encoding has impossible bounds")
        bounds.extend([(run.low, run.high)] * run.count)
    return EncodingShape(kind, slices, bits, digits, tuple(bounds), message.generation)


def _encode_sealed(table: Table) -> bytes:
    columns = [_sealed_message(column) for column in table.columns]
    sealed = pb.SealedTable(format=FORMAT, columns=columns)
    return sealed.SerializeToString(deterministic=True)


def _sealed_message(column: Column) -> pb.SealedColumn:
    message = pb.SealedColumn(id=column.id, unready=column.unready)
    if column.minimum is not None and column.maximum is not None:
        message.minimum.CopyFrom(_value_message(column.minimum))
        message.maximum.CopyFrom(_value_message(column.maximum))
    message.categories.extend(_value_message(value) for value in column.categories)
    if column.dictionary is not None:
        message.has_dictionary = True
        message.dictionary.extend(column.dictionary.values)
    if column.default is not None and column.encrypted:
        message.default.CopyFrom(_value_message(column.default))
    if column.generated is not None:
        message.generated.CopyFrom(encode_expression(column.generated))
    if column.target is not None:
        message.target.CopyFrom(_sealed_message(column.target))
    return message


def _value_message(value: Storage) -> pb.Value:
    if isinstance(value, str):
        return pb.Value(text=value)
    return pb.Value(unsigned=value) if value >= 1 << 63 else pb.Value(integer=value)


def _decode_sealed(padded: bytes) -> dict[int, pb.SealedColumn]:
    if not 4 <= len(padded) <= SEALED_BYTES_MAX:
        _damaged("the sealed part has an impossible length")
    (length,) = struct.unpack_from("<I", padded)
    if length > len(padded) - 4:
        _damaged("the sealed part has an impossible length")
    try:
        message = pb.SealedTable.FromString(padded[4 : 4 + length])
    except DecodeError:
        _damaged("the sealed part cannot be parsed")
    if message.format != FORMAT:
        _damaged("the sealed part has another format")
    return {column.id: column for column in message.columns}


def _join(public: PublicTable, sealed: dict[int, pb.SealedColumn]) -> Table:
    if sealed.keys() != {column.id for column in public.columns}:
        _damaged("its parts describe different columns")
    return Table(
        id=public.id,
        name=public.name,
        version=public.version,
        columns=tuple(_joined(column, sealed[column.id]) for column in public.columns),
        parameter_set=public.parameter_set,
        scheme=public.scheme,
        key_id=public.key_id,
        indexes=public.indexes,
        next_column=public.next_column,
        dropped_version=public.dropped_version,
    )


def _joined(public: PublicColumn, sealed: pb.SealedColumn) -> Column:
    column = _one(public, sealed, public.encodings)
    pending = public.pending
    if pending is not None:
        becoming = replace(public, queries=pending.queries, nullable=pending.nullable)
        target = _one(becoming, sealed.target, (*public.encodings, *pending.encodings))
        column = replace(column, target=target)
    if column.public() != public:
        _damaged(f"the encodings of column {public.name} do not fit its bounds")
    return column


def _one(
    public: PublicColumn, sealed: pb.SealedColumn, shapes: tuple[EncodingShape, ...]
) -> Column:
    """The column as it is, or is to be; of two ``shapes`` of one kind the later counts."""
    bounded = sealed.HasField("minimum") and sealed.HasField("maximum")
    if len(sealed.dictionary) > DICTIONARY_VALUES_MAX:
        _damaged("a dictionary is too long")
    default = _value_of(sealed.default) if sealed.HasField("default") else public.default
    generations = {shape.kind: shape.generation for shape in shapes}
    prefixes = [shape.bits // 8 for shape in shapes if shape.kind == "prefix"]
    return Column(
        id=public.id,
        name=public.name,
        type=public.type,
        nullable=public.nullable,
        encrypted=public.encrypted,
        primary_key=public.primary_key,
        hidden=public.hidden,
        queries=public.queries,
        minimum=int(_value_of(sealed.minimum)) if bounded else None,
        maximum=int(_value_of(sealed.maximum)) if bounded else None,
        categories=tuple(_values_of(sealed.categories)),
        dictionary=Dictionary(tuple(sealed.dictionary)) if sealed.has_dictionary else None,
        prefix=prefixes[-1] if prefixes and "prefix" in public.queries else 0,
        default=default,
        generated=decode_expression(sealed.generated) if sealed.HasField("generated") else None,
        unready=sealed.unready,
        generations=tuple((kind, number) for kind, number in generations.items() if number),
    )


def _values_of(messages: Iterable[pb.Value]) -> Iterable[Storage]:
    return (_value_of(message) for message in messages)


def _value_of(message: pb.Value) -> Storage:
    match message.WhichOneof("value"):
        case "integer":
            return int(message.integer)
        case "unsigned":
            return int(message.unsigned)
        case "text":
            return str(message.text)
    _damaged("a value is empty")
