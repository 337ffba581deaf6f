"""Rows as bytes, before sealing: self-describing, so that rows outlive changes of the schema.

A row is: format (1 byte), number of columns (u16), per column its id (u16) and form (u8); then the
*fixed part*: NULL bitmap, numbers in their type's width, lengths of texts (u32); then the texts;
then zeros up to the Padme length. Everything is little-endian. A form is 0 for text, else width in
bytes, plus 128 if unsigned.

A text of a ``group`` column takes the room of its longest category, and so does NULL: otherwise the
length of a sealed row would tell the category. Likewise a text of an ``eq`` column takes the room
of the longest in the dictionary, at most ``ROOM_BYTES_MAX``; only longer ones show a padded length.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.columns import blobs
from amaters.columns.batch import ColumnBatch, defaults
from amaters.columns.convert import ColumnValues, null_filler, storage_dtype
from amaters.columns.schema import Column
from amaters.columns.types import SqlType, TypeKind

FORMAT = 1
ROW_BYTES_MAX = 64 << 20
ROOM_BYTES_MAX = 64
_HEAD = struct.Struct("<BH")
_ENTRY = struct.Struct("<HB")
_TEXT_FORM = 0
_UNSIGNED = 128
_LENGTH_BYTES = 4


@lru_cache(maxsize=4096)
def padme(length: int) -> int:
    """The padded length: at most 12 % more, and only O(log log length) bits of it are told.

    Source: Nikitin et al. 2019, algorithm 1.
    """
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    low_bits = exponent - exponent.bit_length()
    mask = (1 << max(low_bits, 0)) - 1
    return (length + mask) & ~mask


@dataclass(frozen=True, slots=True)
class _Layout:
    """Column ids and forms of some rows, and where things are in them."""

    entries: tuple[tuple[int, int], ...]

    @property
    def prefix(self) -> bytes:
        head = _HEAD.pack(FORMAT, len(self.entries))
        return head + b"".join(_ENTRY.pack(*entry) for entry in self.entries)

    @property
    def bitmap_bytes(self) -> int:
        return (len(self.entries) + 7) // 8

    @property
    def fixed_bytes(self) -> int:
        """Bytes before the first text, prefix included."""
        return len(self.prefix) + self.bitmap_bytes + sum(_width(form) for _, form in self.entries)


def _width(form: int) -> int:
    return _LENGTH_BYTES if form == _TEXT_FORM else form & ~_UNSIGNED


def _form(type_: SqlType) -> int:
    match type_.kind:
        case TypeKind.TEXT | TypeKind.BLOB:
            return _TEXT_FORM
        case TypeKind.INT:
            return type_.bits // 8 + (0 if type_.signed else _UNSIGNED)
        case TypeKind.DATE:
            return 4
        case TypeKind.BOOLEAN:
            return 1
        case TypeKind.DECIMAL | TypeKind.TIMESTAMP:
            return 8


def _dtype(form: int) -> np.dtype[Any]:
    return np.dtype(f"<{'u' if form & _UNSIGNED else 'i'}{form & ~_UNSIGNED}")


def encode_rows(columns: Sequence[Column], batch: ColumnBatch) -> list[bytes | memoryview]:
    """The padded bytes of each row of ``batch``, with these columns."""
    layout = _Layout(tuple((column.id, _form(column.type)) for column in columns))
    of_text = [column for column in columns if column.type.is_text]
    texts = [_encoded(column.type, batch.columns[column.id]) for column in of_text]
    size = layout.fixed_bytes
    padded = size if texts else padme(size)
    matrix = np.zeros((batch.length, padded), dtype=np.uint8)
    _fill_fixed(matrix, layout, columns, batch, texts)
    whole = memoryview(matrix.tobytes())
    starts = range(0, len(whole), padded)
    if not texts:
        return [whole[start : start + padded] for start in starts]
    rows: list[bytes | memoryview] = []
    spare = _spare_bytes(of_text, texts)
    for start, more, parts in zip(starts, spare, zip(*texts, strict=True), strict=True):
        row = bytes(whole[start : start + size]) + b"".join(parts)
        rows.append(row.ljust(padme(len(row) + more), b"\0"))
    return rows


def _spare_bytes(columns: Sequence[Column], texts: list[list[bytes]]) -> list[int]:
    """Per row, the room its texts leave to the longest texts of their columns."""
    spare = np.zeros(len(texts[0]), dtype=np.int64)
    for column, encoded in zip(columns, texts, strict=True):
        room = max((len(str(text).encode()) for text in column.categories), default=0)
        if column.dictionary is not None:
            room = min(column.dictionary.longest, ROOM_BYTES_MAX)
        if room:
            lengths = np.array([len(text) for text in encoded], dtype=np.int64)
            spare += np.maximum(room - lengths, 0)
    found: list[int] = spare.tolist()
    return found


def _encoded(type_: SqlType, column: ColumnValues) -> list[bytes]:
    codec = _codec(type_)
    return [text.encode(codec) for text in column.values.tolist()]


def _codec(type_: SqlType) -> str:
    """How texts of a type are written: those of a BLOB as the bytes they stand for."""
    return blobs.CODEC if type_.kind is TypeKind.BLOB else "utf-8"


def _fill_fixed(
    matrix: NDArray[np.uint8],
    layout: _Layout,
    columns: Sequence[Column],
    batch: ColumnBatch,
    texts: list[list[bytes]],
) -> None:
    """Write prefix, NULL bitmap, numbers and lengths of texts into the rows of ``matrix``."""
    prefix = layout.prefix
    matrix[:, : len(prefix)] = np.frombuffer(prefix, dtype=np.uint8)
    at = len(prefix)
    if columns:
        null = np.stack([~batch.columns[column.id].valid for column in columns], axis=1)
        bitmap = np.packbits(null, axis=1, bitorder="little")
        matrix[:, at : at + layout.bitmap_bytes] = bitmap
    at += layout.bitmap_bytes
    remaining = iter(texts)
    for column, (_, form) in zip(columns, layout.entries, strict=True):
        if form == _TEXT_FORM:
            numbers = np.array([len(text) for text in next(remaining)], dtype="<u4")
        else:
            numbers = batch.columns[column.id].values.astype(_dtype(form))
        width = _width(form)
        matrix[:, at : at + width] = numbers[:, None].view(np.uint8)
        at += width


def decode_rows(columns: Sequence[Column], rows: Sequence[bytes]) -> ColumnBatch | None:
    """The batch of these columns, or None when a row is not what ``encode_rows`` writes.

    Columns that a row lacks have their default in it; columns it has beyond these are dropped.
    """
    out = {column.id: defaults(column, len(rows)) for column in columns}
    todo = np.arange(len(rows))
    while len(todo):
        layout = _parse_layout(rows[int(todo[0])])
        if layout is None:
            return None
        prefix = layout.prefix
        same = np.array([rows[index].startswith(prefix) for index in todo.tolist()], dtype=np.bool_)
        chosen = todo[same]
        if not _decode_group(
            columns, layout, [rows[index] for index in chosen.tolist()], chosen, out
        ):
            return None
        todo = todo[~same]
    return ColumnBatch(out, len(rows))


def _parse_layout(row: bytes) -> _Layout | None:
    if not _HEAD.size <= len(row) <= ROW_BYTES_MAX:
        return None
    form, count = _HEAD.unpack_from(row)
    if form != FORMAT or len(row) < _HEAD.size + count * _ENTRY.size:
        return None
    entries = tuple(_ENTRY.iter_unpack(row[_HEAD.size : _HEAD.size + count * _ENTRY.size]))
    known = {_TEXT_FORM, *(w + s for w in (1, 2, 4, 8) for s in (0, _UNSIGNED))}
    if len({number for number, _ in entries}) != count or not known.issuperset(
        form for _, form in entries
    ):
        return None
    return _Layout(entries)


def _decode_group(
    columns: Sequence[Column],
    layout: _Layout,
    rows: list[bytes],
    at_rows: NDArray[np.intp],
    out: dict[int, ColumnValues],
) -> bool:
    """Scatter rows of one layout into ``out``; False when they are damaged."""
    size = layout.fixed_bytes
    if min(map(len, rows)) < size:
        return False
    matrix = np.frombuffer(b"".join(row[:size] for row in rows), dtype=np.uint8).reshape(-1, size)
    at = len(layout.prefix)
    bitmap = matrix[:, at : at + layout.bitmap_bytes]
    null = np.unpackbits(bitmap, axis=1, bitorder="little").astype(np.bool_)
    at += layout.bitmap_bytes
    wanted = {column.id: column for column in columns}
    ends = np.full(len(rows), size, dtype=np.int64)
    for position, (number, form) in enumerate(layout.entries):
        width = _width(form)
        raw = np.ascontiguousarray(matrix[:, at : at + width])
        at += width
        column = wanted.get(number)
        if column is not None and form != _form(column.type):
            return False
        valid = ~null[:, position]
        values: NDArray[Any] | None
        if form == _TEXT_FORM:
            starts, ends = ends, ends + raw.view("<u4")[:, 0]
            values = _texts(rows, (starts, ends), column.type) if column is not None else raw
        else:
            values = raw.view(_dtype(form))[:, 0]
        if values is None:
            return False
        if column is not None and not _store(out[number], column, at_rows, values, valid):
            return False
    return all(
        end <= len(row) == padme(len(row)) for row, end in zip(rows, ends.tolist(), strict=True)
    )


def _texts(
    rows: list[bytes], at: tuple[NDArray[np.int64], NDArray[np.int64]], type_: SqlType
) -> NDArray[Any] | None:
    values = np.empty(len(rows), dtype=object)
    starts, ends = at[0].tolist(), at[1].tolist()
    codec = _codec(type_)
    try:
        values[:] = [
            row[start:end].decode(codec) for row, start, end in zip(rows, starts, ends, strict=True)
        ]
    except UnicodeDecodeError:
        return None
    return values


def _store(
    target: ColumnValues,
    column: Column,
    at_rows: NDArray[np.intp],
    values: NDArray[Any],
    valid: NDArray[np.bool_],
) -> bool:
    """Put decoded values in place; False when one is outside its type."""
    if not column.type.is_text:
        values = values.astype(storage_dtype(column.type))
        outside = (values < column.type.minimum) | (values > column.type.maximum)
        if bool((outside & valid).any()):
            return False
    target.values[at_rows] = np.where(valid, values, null_filler(column.type))
    target.valid[at_rows] = valid
    return True
