"""Whole columns of Python values or text cells to storage values, fast where the values are
plain.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.columns import blobs
from amaters.columns.types import (
    TEXT_BYTES_MAX,
    SqlType,
    Storage,
    TypeKind,
    from_text,
    text_fits,
    to_storage,
)

_EPOCH = datetime.date(1970, 1, 1).toordinal()


class ColumnValues(NamedTuple):
    """``values`` of ``storage_dtype``; where ``valid`` is false: NULL, and the value 0 or ""."""

    values: NDArray[Any]
    valid: NDArray[np.bool_]


def storage_dtype(type_: SqlType) -> np.dtype[Any]:
    """object for TEXT and BLOB, uint64 for UBIGINT, int64 for everything else."""
    if type_.is_text:
        return np.dtype(object)
    if type_.kind is TypeKind.INT and type_.bits == 64 and not type_.signed:
        return np.dtype(np.uint64)
    return np.dtype(np.int64)


def null_filler(type_: SqlType) -> Storage:
    """What stands in ``values`` where a row is NULL."""
    return "" if type_.is_text else 0


def place(column: str, row: int) -> str:
    """How messages name a cell; ``row`` counts from 0 here and from 1 in the message."""
    return f"row {row + 1}, column {column}"


def from_python(type_: SqlType, values: Sequence[object], column: str) -> ColumnValues:
    """Storage values of a column of Python values; None is NULL.

    Raises: AM-2002, AM-2003, AM-2005, AM-2008, naming the first row that does not fit.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "iub":
        return _from_numbers(type_, values, column)
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        values = _whole_microseconds(type_, values, column)
    listed: list[Any] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    kinds = set(map(type, listed))
    has_null = type(None) in kinds
    valid = np.ones(len(listed), dtype=np.bool_)
    if has_null:
        valid = np.array([value is not None for value in listed], dtype=np.bool_)
    kinds.discard(type(None))
    fast = _fast_path(type_, listed, kinds, has_null)
    if fast is None:
        return _by_cell(
            listed, valid, type_, lambda v, where: to_storage(type_, v, where=where), column
        )
    _check_range(type_, fast, column)
    return ColumnValues(fast, valid)


def from_cells(type_: SqlType, cells: Sequence[str | None], column: str) -> ColumnValues:
    """Storage values of a column of text; None is NULL. Raises: as ``from_python``."""
    valid = np.array([cell is not None for cell in cells], dtype=np.bool_)
    return _by_cell(cells, valid, type_, lambda v, where: from_text(type_, v, where=where), column)


def _from_numbers(type_: SqlType, values: NDArray[Any], column: str) -> ColumnValues:
    """A NumPy column of integers or booleans into a type it may be stored in."""
    is_boolean = values.dtype.kind == "b"
    of_numbers = type_.is_numeric or type_.kind is TypeKind.BOOLEAN
    if is_boolean != (type_.kind is TypeKind.BOOLEAN) or not of_numbers:
        if len(values):
            to_storage(type_, values[0], where=place(column, 0))
        return ColumnValues(np.empty(0, storage_dtype(type_)), np.empty(0, np.bool_))
    valid = np.ones(len(values), dtype=np.bool_)
    if type_.kind is TypeKind.DECIMAL or values.dtype.itemsize == 8:
        # Scaling, or a sign that the target lacks, could overflow: Python integers cannot.
        return from_python(type_, values.tolist(), column)
    wide = values.astype(np.int64)
    _check_range(type_, wide, column)
    return ColumnValues(wide.astype(storage_dtype(type_)), valid)


def _whole_microseconds(type_: SqlType, values: NDArray[Any], column: str) -> NDArray[Any]:
    """NumPy's dates and times, in a unit that Python has. Raises: AM-2005."""
    if np.datetime_data(values.dtype)[0] not in ("ns", "ps", "fs", "as"):
        return values
    cut = values.astype("M8[us]")
    inexact = (cut.astype(values.dtype) != values) & ~np.isnat(values)
    if inexact.any():
        where = place(column, int(np.argmax(inexact)))
        fail("AM-2005", where=where, expected=type_.sql_name)
    return cut


def _fast_path(
    type_: SqlType, values: list[Any], kinds: set[type], has_null: bool
) -> NDArray[Any] | None:
    """The column at C speed if all its values have the one plain type, else None."""
    plain, build = _PLAIN[type_.kind]
    if not kinds <= {plain}:
        return None
    filler = plain() if plain in (int, str, bool, bytes) else None
    filled = [filler if value is None else value for value in values] if has_null else values
    return build(type_, filled)


def _fast_integers(type_: SqlType, values: list[Any]) -> NDArray[Any] | None:
    try:
        return np.array(values, dtype=storage_dtype(type_))
    except OverflowError:
        return None


def _fast_dates(_: SqlType, values: list[Any]) -> NDArray[Any]:
    days = [_EPOCH if value is None else value.toordinal() for value in values]
    return np.array(days, dtype=np.int64) - _EPOCH


def _fast_moments(_: SqlType, values: list[Any]) -> NDArray[Any] | None:
    if any(value is not None and value.tzinfo is not None for value in values):
        return None
    found = np.array(values, dtype="M8[us]")
    return np.where(np.isnat(found), 0, found.astype(np.int64))


def _fast_blobs(_: SqlType, values: list[Any]) -> NDArray[Any] | None:
    if any(len(value) > blobs.BYTES_MAX for value in values):
        return None
    return _objects([value.decode(blobs.CODEC) for value in values])


def _fast_booleans(_: SqlType, values: list[Any]) -> NDArray[Any]:
    return np.array(values, dtype=np.int64)


def _fast_texts(_: SqlType, values: list[Any]) -> NDArray[Any] | None:
    whole = "".join(values)
    if len(whole) <= TEXT_BYTES_MAX // 4 and text_fits(whole):
        return _objects(values)
    return _objects(values) if all(map(text_fits, values)) else None


def _fast_decimals(type_: SqlType, values: list[Any]) -> NDArray[Any] | None:
    """Decimals of exactly the column's scale or less; None when one has more digits or does not
    fit.
    """
    scale = type_.scale
    scaled = []
    for value in values:
        if value is None:
            scaled.append(0)
            continue
        sign, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int) or not -scale <= exponent <= 18 or len(digits) > 18:
            return None
        number = int("".join(map(str, digits))) * 10 ** (scale + exponent)
        scaled.append(-number if sign else number)
    try:
        return np.array(scaled, dtype=np.int64)
    except OverflowError:
        return None


_PLAIN: dict[TypeKind, tuple[type, Callable[[SqlType, list[Any]], NDArray[Any] | None]]] = {
    TypeKind.INT: (int, _fast_integers),
    TypeKind.DECIMAL: (Decimal, _fast_decimals),
    TypeKind.DATE: (datetime.date, _fast_dates),
    TypeKind.BOOLEAN: (bool, _fast_booleans),
    TypeKind.TEXT: (str, _fast_texts),
    TypeKind.TIMESTAMP: (datetime.datetime, _fast_moments),
    TypeKind.BLOB: (bytes, _fast_blobs),
}


def _objects(texts: list[str]) -> NDArray[Any]:
    out = np.empty(len(texts), dtype=object)
    out[:] = texts
    return out


def _check_range(type_: SqlType, values: NDArray[Any], column: str) -> None:
    if type_.is_text or not len(values):
        return
    outside = (values < type_.minimum) | (values > type_.maximum)
    if outside.any():
        fail("AM-2003", where=place(column, int(np.argmax(outside))), expected=type_.sql_name)


def _by_cell(
    values: Sequence[Any],
    valid: NDArray[np.bool_],
    type_: SqlType,
    make: Callable[[Any, str], Storage | None],
    column: str,
) -> ColumnValues:
    filler = null_filler(type_)
    made: list[Any] = [
        filler if value is None else make(value, place(column, row))
        for row, value in enumerate(values)
    ]
    if type_.is_text:
        return ColumnValues(_objects(made), valid)
    return ColumnValues(np.array(made, dtype=storage_dtype(type_)), valid)
