"""Arrow streams that users insert, to storage values.

pyarrow is imported on first use, so that ``import amaters`` stays light.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.columns import convert
from amaters.columns.convert import ColumnValues, place, storage_dtype
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
    if type_.kind is TypeKind.TIMESTAMP and pa.types.is_timestamp(kind) and kind.tz is None:
        return _timestamps(type_, array, valid, column)
    return convert.from_python(type_, array.to_pylist(), column)


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


def _timestamps(type_: SqlType, array: Any, valid: NDArray[np.bool_], column: str) -> ColumnValues:
    """Timestamps of any unit. Raises: AM-2005 for nanoseconds, which DuckDB would cut off."""
    import pyarrow as pa

    try:
        micro = array.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:  # nanoseconds are lost, or seconds are far outside
        code = "AM-2005" if array.type.unit == "ns" else "AM-2003"
        fail(code, where=f"column {column}", expected=type_.sql_name)
    values = _numpy(micro.cast(pa.int64()), np.int64)
    return ColumnValues(_checked(type_, values, column), valid)


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
