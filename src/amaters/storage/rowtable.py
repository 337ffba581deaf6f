"""Rows of a table without encrypted columns as tuples, and the blocks that they are stored in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.storage.rows import Key
from amaters.wire import blocks
from amaters.wire import schema_pb2 as sb
from amaters.wire import service_pb2 as pb

Row = tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One column: ``dtype`` of its values as blocks hold them (int64, uint64 or object)."""

    column_id: int
    name: str
    dtype: np.dtype[Any]
    nullable: bool


@dataclass(frozen=True, slots=True)
class RowTable:
    """A table as rows of it are written: its columns in order; ``key`` is an index into them."""

    table_id: bytes
    schema_version: int
    fields: tuple[Field, ...]
    key: int

    @property
    def key_column(self) -> int:
        """The primary key column's id."""
        return self.fields[self.key].column_id

    def encode(self, rows: Sequence[Row]) -> bytes:
        """The block of some rows. Raises: AM-4022."""
        width = len(self.fields)
        if set(map(len, rows)) - {width}:
            fail("AM-4022", what=f"a row of another length than {width} columns")
        columns = zip(*rows, strict=True) if rows else iter([()] * width)
        return blocks.encode_block(
            {
                field.column_id: _column(field, values)
                for field, values in zip(self.fields, columns, strict=True)
            }
        )

    def encode_keys(self, keys: Sequence[Key]) -> bytes:
        """The block of primary keys as the state keeps them."""
        field = self.fields[self.key]
        if field.dtype == object:
            return blocks.encode_block({field.column_id: (_texts(keys), None)})
        values = np.array(keys, dtype=np.int64)
        return blocks.encode_block({field.column_id: (values.view(field.dtype), None)})

    def keys_of(self, rows: Sequence[Row]) -> list[Key]:
        """The keys of some rows as the state keeps them. Raises: AM-4022 for one given twice."""
        if rows and min(map(len, rows)) <= self.key:
            fail("AM-4022", what="a row without a key")
        keys = self.stored_all([row[self.key] for row in rows])
        if len(set(keys)) != len(keys):
            fail("AM-4022", what="a key appears twice")
        return keys

    def stored_all(self, keys: Sequence[int | str | None]) -> list[Key]:
        """``stored`` of each; of many at once it costs little."""
        kinds = set(map(type, keys))
        if self.fields[self.key].dtype == object:
            if kinds == {str}:
                return cast(list[Key], list(keys))
        elif kinds == {int}:
            numbers = cast(Sequence[int], keys)
            low = 0 if self.fields[self.key].dtype == np.uint64 else -(1 << 63)
            if low <= min(numbers) and max(numbers) < 1 << 63:
                return list(numbers)
        return [self.stored(key) for key in keys]

    def stored(self, key: int | str | None) -> Key:
        """A key as the state keeps it: uint64 as its two's complement. Raises: AM-4022."""
        field = self.fields[self.key]
        wanted = str if field.dtype == object else int
        if not isinstance(key, wanted):
            fail("AM-4022", what=f"a key that is not {wanted.__name__}")
        if isinstance(key, str):
            return key
        low, high = (0, 1 << 64) if field.dtype == np.uint64 else (-(1 << 63), 1 << 63)
        if not low <= key < high:
            fail("AM-4022", what="a key beyond 64 bits")
        return key - (1 << 64) if key >= 1 << 63 else key

    def shown(self, key: Key) -> Key:
        """The inverse of ``stored``."""
        unsigned = self.fields[self.key].dtype == np.uint64
        return key + (1 << 64) if unsigned and isinstance(key, int) and key < 0 else key

    def rows_at(self, frame: blocks.Frame, rows: NDArray[np.int64] | None = None) -> list[Row]:
        """Rows of a decoded block."""
        columns = []
        for field in self.fields:
            values, valid = frame.column(field.column_id, rows)
            listed = values.tolist()
            if not bool(valid.all()):
                listed = [
                    value if there else None
                    for value, there in zip(listed, valid.tolist(), strict=True)
                ]
            columns.append(listed)
        return list(zip(*columns, strict=True))


def row_table(schema: pb.SchemaRecord) -> RowTable:
    """How rows of this table are written. Raises: AM-4022 when it has encrypted columns, which
    need a client with keys.
    """
    table = sb.PublicTable.FromString(schema.public_bytes)
    if any(column.encrypted for column in table.columns):
        fail("AM-4022", what=f"table {schema.name} has encrypted columns")
    fields = tuple(
        Field(column.id, column.name, dtype_of(column.type), column.nullable)
        for column in table.columns
    )
    keys = [number for number, column in enumerate(table.columns) if column.primary_key]
    if len(keys) != 1:
        fail("AM-4022", what=f"table {schema.name} has no primary key")
    return RowTable(schema.table_id, schema.version, fields, keys[0])


def dtype_of(kind: sb.SqlType) -> np.dtype[Any]:
    """How blocks hold values of a type."""
    if kind.kind == sb.SqlType.TEXT:
        return np.dtype(object)
    is_wide = kind.kind == sb.SqlType.INT and kind.bits == 64 and not kind.is_signed
    return np.dtype(np.uint64 if is_wide else np.int64)


def _column(field: Field, values: Sequence[Any]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    valid = None
    if None in values:
        if not field.nullable:
            fail("AM-4022", what=f"column {field.name} is NOT NULL")
        valid = np.array([value is not None for value in values], dtype=np.bool_)
        empty = "" if field.dtype == object else 0
        values = [empty if value is None else value for value in values]
    wanted = str if field.dtype == object else int
    if set(map(type, values)) - {wanted} and not all(isinstance(v, wanted) for v in values):
        fail("AM-4022", what=f"column {field.name} takes {wanted.__name__}")
    if field.dtype == object:
        return _texts(values), valid
    try:
        return np.array(values, dtype=field.dtype), valid
    except OverflowError:
        fail("AM-4022", what=f"a value of column {field.name} is beyond 64 bits")


def _texts(values: Sequence[Any]) -> NDArray[Any]:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made
