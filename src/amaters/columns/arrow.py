"""Arrow in and out: user's streams to storage values, and blocks of public columns for the engine.

pyarrow is imported on first use, so that ``import amaters`` stays light.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.columns import convert
from amaters.columns.batch import ColumnBatch
from amaters.columns.convert import ColumnValues, place, storage_dtype
from amaters.columns.schema import Column, PublicColumn
from amaters.columns.types import SqlType, TypeKind


def read_stream(source: object) -> tuple[list[str], list[Any], int]:
    """Names, arrays (one chunk each) and row count of an object with ``__arrow_c_stream__``.

    Raises: AM-2011 when the object gives no table.
    """
    import pyarrow as pa

    try:
        table = pa.RecordBatchReader.from_stream(source).read_all()
    except (TypeError, pa.ArrowException):
        fail("AM-2011", got=type(source).__name__)
    arrays = [_one_chunk(table.column(index)) for index in range(table.num_columns)]
    return list(table.column_names), arrays, int(table.num_rows)


def to_values(type_: SqlType, array: Any, column: str) -> ColumnValues:
    """Storage values of an Arrow array. Raises: as ``convert.from_python``."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    valid = np.asarray(array.is_valid())
    if type_.kind is TypeKind.INT and pa.types.is_integer(kind):
        return _integers(type_, array, valid, column)
    if type_.kind is TypeKind.BOOLEAN and pa.types.is_boolean(kind):
        return ColumnValues(_numpy(array.cast(pa.uint8()), np.int64), valid)
    if type_.kind is TypeKind.DATE and pa.types.is_date32(kind):
        return ColumnValues(
            _checked(type_, _numpy(array.cast(pa.int32()), np.int64), column), valid
        )
    if type_.kind is TypeKind.DECIMAL and pa.types.is_decimal128(kind):
        scaled = _unscaled(type_, array)
        if scaled is not None:
            return ColumnValues(_checked(type_, scaled, column), valid)
    return convert.from_python(type_, array.to_pylist(), column)


def to_ipc(batch: ColumnBatch, columns: Sequence[Column] | Sequence[PublicColumn]) -> bytes:
    """An Arrow IPC stream of storage values; fields are named by column id. Invert with
    ``from_ipc``.
    """
    import pyarrow as pa

    arrays = [_stored(column.type, batch.columns[column.id]) for column in columns]
    names = [str(column.id) for column in columns]
    block = pa.record_batch(arrays, names=names)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, block.schema) as writer:
        writer.write_batch(block)
    return bytes(sink.getvalue())


def from_ipc(data: bytes, columns: Sequence[Column] | Sequence[PublicColumn]) -> ColumnBatch:
    """The batch that ``to_ipc`` wrote. Raises: AM-2055 unless it has exactly these columns and
    types.
    """
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(data) as reader:
            table = reader.read_all()
            table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, MemoryError):
        fail("AM-2055", what="not an Arrow stream")
    if table.column_names != [str(column.id) for column in columns]:
        fail("AM-2055", what="other columns than the table's")
    found: dict[int, ColumnValues] = {}
    for index in range(len(columns)):
        column = columns[index]
        array = _one_chunk(table.column(index))
        if array.type != _arrow_type(column.type):
            fail("AM-2055", what=f"column {column.name} has another type")
        found[column.id] = _loaded(column.type, array)
    return ColumnBatch(found, int(table.num_rows))


def _arrow_type(type_: SqlType) -> Any:
    import pyarrow as pa

    if type_.kind is TypeKind.TEXT:
        return pa.large_string()
    return pa.uint64() if storage_dtype(type_) == np.uint64 else pa.int64()


def _stored(type_: SqlType, column: ColumnValues) -> Any:
    import pyarrow as pa

    mask = None if column.valid.all() else ~column.valid
    return pa.array(column.values, type=_arrow_type(type_), mask=mask)


def _loaded(type_: SqlType, array: Any) -> ColumnValues:
    valid = np.asarray(array.is_valid())
    if type_.kind is TypeKind.TEXT:
        values = np.empty(len(array), dtype=object)
        values[:] = array.fill_null("").to_pylist()
        return ColumnValues(values, valid)
    return ColumnValues(_numpy(array, storage_dtype(type_)), valid)


def _one_chunk(column: Any) -> Any:
    import pyarrow as pa

    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _numpy(array: Any, dtype: Any) -> NDArray[Any]:
    filled = array.fill_null(0) if array.null_count else array
    return np.asarray(filled.to_numpy(zero_copy_only=False)).astype(dtype)


def _integers(type_: SqlType, array: Any, valid: NDArray[np.bool_], column: str) -> ColumnValues:
    source = _numpy(array, np.uint64 if str(array.type) == "uint64" else np.int64)
    checked = _checked(type_, source, column)
    return ColumnValues(checked.astype(storage_dtype(type_)), valid)


def _checked(type_: SqlType, values: NDArray[Any], column: str) -> NDArray[Any]:
    outside = (values < type_.minimum) | (values > type_.maximum)
    if outside.any():
        fail("AM-2003", where=place(column, int(np.argmax(outside))), expected=type_.sql_name)
    return values


def _unscaled(type_: SqlType, array: Any) -> NDArray[np.int64] | None:
    """Integers scaled by the column's scale, or None when digits would be lost or 64 bits pass."""
    import pyarrow as pa

    if array.type.scale != type_.scale or array.type.precision > 18:
        try:
            array = array.cast(pa.decimal128(18, type_.scale))
        except pa.ArrowInvalid:
            return None
    if not len(array):
        return np.empty(0, dtype=np.int64)
    # 18 digits fit into the low one of the two 64-bit words of each value.
    words = np.frombuffer(array.buffers()[1], dtype=np.int64)
    low = words[2 * array.offset : 2 * (array.offset + len(array)) : 2].copy()
    low[~np.asarray(array.is_valid())] = 0
    return low
