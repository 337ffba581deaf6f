"""Blocks of public columns (Arrow IPC) and packs of sealed rows: what client and engine exchange.

A *block* holds columns by id as plain 64-bit integers or text, with validity, compressed when that
makes it smaller; a *pack* holds one opaque blob per row behind an offset table, so that a few rows
can be read without the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail

Values = NDArray[Any]
Valid = NDArray[np.bool_]

ROWS_MAX = 1 << 20
ID_DIGITS_MAX = 10
# A compressed block: magic, bytes of the Arrow stream, LZ4 frame. An Arrow stream starts otherwise.
_LZ4_MAGIC = b"AMZ1"
_LZ4_HEADER = struct.Struct("<4sQ")
_LZ4_RATIO_MAX = 256  # no LZ4 frame holds more; a header that claims more is refused unread
_COMPRESSED_MIN = 512  # smaller ones are not worth a call
_PACK_MAGIC = b"AMP1"
_PACK_HEADER = struct.Struct("<4sI")


@dataclass(frozen=True, slots=True)
class Block:
    """Decoded columns by id: int64, uint64 or object (str) values with their validity."""

    rows: int
    columns: dict[int, tuple[Values, Valid]]


def encode_block(columns: Mapping[int, tuple[Values, Valid | None]]) -> bytes:
    """The Arrow IPC stream of some columns of equal length (storage values; field name = id), as
    it is or compressed.
    """
    import pyarrow as pa

    fields, arrays = [], []
    for column_id, (values, valid) in columns.items():
        mask = None if valid is None or bool(valid.all()) else ~valid
        kind = _arrow_type(pa, values)
        arrays.append(pa.array(values, type=kind, mask=mask))
        fields.append(pa.field(str(column_id), kind))
    batch = pa.record_batch(arrays, schema=pa.schema(fields))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return _compressed(pa, sink.getvalue())


def _compressed(pa: Any, stream: Any) -> bytes:
    if stream.size >= _COMPRESSED_MIN:
        packed = pa.compress(stream, codec="lz4", asbytes=True)
        if _LZ4_HEADER.size + len(packed) < stream.size:
            return _LZ4_HEADER.pack(_LZ4_MAGIC, stream.size) + bytes(packed)
    return stream.to_pybytes()  # type: ignore[no-any-return]


def _plain(pa: Any, data: bytes | bytearray | memoryview) -> Any:
    """The Arrow stream of a block. Raises: AM-3002, OSError."""
    view = memoryview(data)
    if view[:4] != _LZ4_MAGIC or len(view) < _LZ4_HEADER.size:
        return pa.py_buffer(data)
    _, size = _LZ4_HEADER.unpack(view[: _LZ4_HEADER.size])
    packed = view[_LZ4_HEADER.size :]
    if size > _LZ4_RATIO_MAX * len(packed):
        fail("AM-3002", what=f"a block that claims {size} bytes")
    # Not pa.decompress: that leaves the end as it was when there is less than was claimed.
    with pa.CompressedInputStream(pa.BufferReader(pa.py_buffer(packed)), "lz4") as stream:
        plain = stream.read_buffer(size + 1)
    if plain.size != size:
        fail("AM-3002", what="a block of another size than it claims")
    return plain


def _arrow_type(pa: Any, values: Values) -> Any:
    if values.dtype == object:
        return pa.string()
    if values.dtype.kind not in "iub":
        fail("AM-1000", what=f"a public column of dtype {values.dtype}")
    return pa.uint64() if values.dtype.kind == "u" else pa.int64()


def decode_block(data: bytes | bytearray | memoryview) -> Block:
    """The columns of an encoded block; NULLs are 0 or ''.

    Raises: AM-3002 for anything but an ``encode_block`` result.
    """
    import pyarrow as pa

    rows, arrays = _arrays(pa, data)
    return Block(rows, {key: _column(pa, array.type, array) for key, array in arrays.items()})


def _arrays(pa: Any, data: bytes | bytearray | memoryview) -> tuple[int, dict[int, Any]]:
    """Rows and Arrow columns by id. Raises: AM-3002."""
    try:
        with pa.ipc.open_stream(_plain(pa, data)) as reader:
            batch = reader.read_next_batch()
            batch.validate(full=True)
            fields = list(zip(batch.schema.names, batch.columns, strict=True))
    except (pa.ArrowException, StopIteration, OSError, ValueError) as error:
        fail("AM-3002", what=f"not a block of columns ({type(error).__name__})")
    if batch.num_rows > ROWS_MAX:
        fail("AM-3002", what=f"a block of {batch.num_rows} rows")
    arrays: dict[int, Any] = {}
    for name, array in fields:
        if not name.isdecimal() or len(name) > ID_DIGITS_MAX or int(name) in arrays:
            fail("AM-3002", what="a block with a field that is no column id")
        arrays[int(name)] = array
    return batch.num_rows, arrays


class Frame:
    """A decoded block that makes values only of the rows asked for: a row of text costs a Python
    object, and of many rows few are wanted. Raises: AM-3002 like ``decode_block``.
    """

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        import pyarrow as pa

        self._pa = pa
        self.rows, self._columns = _arrays(pa, data)

    @property
    def size(self) -> int:
        """Bytes it takes in memory."""
        return sum(int(array.nbytes) for array in self._columns.values())

    def __contains__(self, column_id: int) -> bool:
        return column_id in self._columns

    def array(self, column_id: int) -> Any:
        """A column as Arrow has it. Raises: AM-3002."""
        array = self._columns.get(column_id)
        if array is None:
            fail("AM-3002", what=f"a block without column {column_id}")
        return array

    def column(self, column_id: int, rows: NDArray[np.int64] | None = None) -> tuple[Values, Valid]:
        """Values and validity of a column, at some rows or all. Raises: AM-3002."""
        array = self.array(column_id)
        taken = array if rows is None else array.take(self._pa.array(rows))
        return _column(self._pa, array.type, taken)


def is_text(array: Any) -> bool:
    """Whether an Arrow column holds texts."""
    import pyarrow as pa

    return bool(array.type == pa.string())


def texts_in(values: Sequence[Any], array: Any) -> Valid:
    """Which of some texts an Arrow column has; no Python object is made of its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found: Valid = pc.is_in(pa.array(values, type=pa.string()), value_set=array).to_numpy(
        zero_copy_only=False
    )
    return found


def _column(pa: Any, kind: Any, array: Any) -> tuple[Values, Valid]:
    valid = (
        np.ones(len(array), dtype=np.bool_)
        if array.null_count == 0
        else array.is_valid().to_numpy(zero_copy_only=False)
    )
    if kind == pa.string():
        filled = array.fill_null("") if array.null_count else array
        return filled.to_numpy(zero_copy_only=False), valid
    if kind not in (pa.int64(), pa.uint64()):
        fail("AM-3002", what=f"a block with a column of type {kind}")
    filled = array.fill_null(0) if array.null_count else array
    return filled.to_numpy(zero_copy_only=True), valid


def select_block(block: Block, rows: NDArray[Any] | None, column_ids: Sequence[int]) -> bytes:
    """The encoded block of some columns at some rows (None: all)."""
    chosen: dict[int, tuple[Values, Valid | None]] = {}
    for column_id in column_ids:
        values, valid = block.columns[column_id]
        chosen[column_id] = (values, valid) if rows is None else (values[rows], valid[rows])
    return encode_block(chosen)


def concat_blocks(blocks: Sequence[Block]) -> Block:
    """Rows of several blocks with the same columns, one after the other."""
    columns = {}
    for column_id in blocks[0].columns:
        parts = [block.columns[column_id] for block in blocks]
        values = np.concatenate([values for values, _ in parts])
        columns[column_id] = (values, np.concatenate([valid for _, valid in parts]))
    return Block(sum(block.rows for block in blocks), columns)


def encode_pack(blobs: Sequence[bytes | bytearray | memoryview]) -> bytes:
    """The pack of one blob per row."""
    sizes = np.fromiter((len(blob) for blob in blobs), dtype=np.uint64, count=len(blobs))
    offsets = np.zeros(len(blobs) + 1, dtype="<u8")
    np.cumsum(sizes, out=offsets[1:])
    return b"".join((_PACK_HEADER.pack(_PACK_MAGIC, len(blobs)), offsets.tobytes(), *blobs))


def pack_table_bytes(rows: int) -> int:
    """Bytes of a pack of ``rows`` blobs before the first blob."""
    return _PACK_HEADER.size + 8 * (rows + 1)


def pack_offsets(head: bytes | bytearray | memoryview, total: int) -> NDArray[np.int64]:
    """Where each blob starts and the last one ends, counted from the start of the pack.

    ``head``: at least the offset table; ``total``: bytes of the whole pack.
    Raises: AM-3002 when the table is not consistent.
    """
    view = memoryview(head)
    if len(view) < _PACK_HEADER.size:
        fail("AM-3002", what="a pack without a header")
    magic, rows = _PACK_HEADER.unpack(view[: _PACK_HEADER.size])
    start = pack_table_bytes(rows)
    if magic != _PACK_MAGIC or rows > ROWS_MAX or len(view) < start:
        fail("AM-3002", what="a pack with a damaged header")
    offsets = np.frombuffer(view, dtype="<u8", count=rows + 1, offset=_PACK_HEADER.size)
    limit = total - start
    if offsets[0] != 0 or offsets[-1] != limit or bool((offsets[1:] < offsets[:-1]).any()):
        fail("AM-3002", what="a pack with damaged offsets")
    return offsets.astype(np.int64) + start


def decode_pack(data: bytes | bytearray | memoryview) -> list[memoryview]:
    """Views of the blobs of a pack, in row order. Raises: AM-3002."""
    view = memoryview(data)
    bounds = pack_offsets(view, len(view)).tolist()
    return [view[a:b] for a, b in pairwise(bounds)]
