"""Rows on their way in, column by column, as validated storage values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.columns import convert
from amaters.columns.convert import ColumnValues, null_filler, storage_dtype
from amaters.columns.generated import generated_values, readers
from amaters.columns.schema import Column, PublicColumn, Table
from amaters.columns.types import PythonValue, SqlType, Storage, from_storage

__all__ = ["ColumnBatch", "ColumnValues", "storage_dtype"]

Indices = NDArray[np.int64] | NDArray[np.intp] | NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ColumnBatch:
    """Storage values of ``length`` rows by column id: int64 (UBIGINT: uint64, TEXT: object) and
    validity.

    The value at an invalid (NULL) place is 0 or "". The arrays are shared and never written to.
    """

    columns: Mapping[int, ColumnValues]
    length: int

    @classmethod
    def from_rows(
        cls, table: Table, rows: Iterable[object], names: Sequence[str] | None = None
    ) -> ColumnBatch:
        """Validated batch of dictionaries by column name, or of sequences in the order of
        ``names``.

        ``names`` defaults to all visible columns that are not generated; a column that is missing
        is NULL. The hidden ``rowid`` is left out unless it is given: the client assigns it
        (``with_column``).
        Raises: AM-2001 to AM-2011, naming row (counted from 1) and column.
        """
        listed = rows if isinstance(rows, list) else list(rows)
        given: Sequence[str]
        data: Sequence[Sequence[object]]
        if listed and isinstance(listed[0], Mapping):
            given, data = _columns_of_mappings(listed)
        else:
            given = names if names is not None else [c.name for c in table.written_columns]
            data = _columns_of_sequences(listed, len(given))
        return cls._validated(table, given, data, len(listed))

    @classmethod
    def from_columns(cls, table: Table, data: Mapping[str, Sequence[object]]) -> ColumnBatch:
        """Validated batch of whole columns of Python values or NumPy arrays, by name.

        Raises: as ``from_rows``.
        """
        length = len(next(iter(data.values()))) if data else 0
        for name, values in data.items():
            if len(values) != length:
                fail("AM-2010", column=name, got=len(values), expected=length)
        return cls._validated(table, list(data), list(data.values()), length)

    @classmethod
    def from_text(
        cls, table: Table, names: Sequence[str], data: Sequence[Sequence[str | None]]
    ) -> ColumnBatch:
        """Validated batch of columns of text cells (CSV); None is NULL.

        Raises: as ``from_rows``; text that is not a value of the column's type is AM-2002.
        """
        length = len(data[0]) if data else 0
        found: dict[int, ColumnValues] = {}
        for name, cells in zip(names, data, strict=True):
            column = _new_column(table, name, found)
            found[column.id] = convert.from_cells(column.type, cells, _quoted(table, column))
        return cls._complete(table, found, length)

    @classmethod
    def from_arrow(cls, table: Table, source: object) -> ColumnBatch:
        """Validated batch of anything with ``__arrow_c_stream__`` (Arrow, Polars, pandas, DuckDB).

        Raises: as ``from_rows``.
        """
        from amaters.columns import arrow

        names, arrays, length = arrow.read_stream(source)
        found: dict[int, ColumnValues] = {}
        for name, array in zip(names, arrays, strict=True):
            column = _new_column(table, name, found)
            found[column.id] = arrow.to_values(column.type, array, _quoted(table, column))
        return cls._complete(table, found, length)

    @classmethod
    def from_any(
        cls, table: Table, source: object, names: Sequence[str] | None = None
    ) -> ColumnBatch:
        """``from_arrow`` for Arrow streams, ``from_columns`` for one dictionary, else
        ``from_rows``; a batch, which is valid, as it is.
        """
        if isinstance(source, ColumnBatch):
            return source
        if hasattr(source, "__arrow_c_stream__"):
            return cls.from_arrow(table, source)
        if isinstance(source, Mapping):
            return cls.from_columns(table, source)
        if isinstance(source, str | bytes) or not isinstance(source, Iterable):
            fail("AM-2011", got=type(source).__name__)
        return cls.from_rows(table, source, names)

    @classmethod
    def _validated(
        cls, table: Table, names: Sequence[str], data: Sequence[Sequence[object]], length: int
    ) -> ColumnBatch:
        found: dict[int, ColumnValues] = {}
        for name, values in zip(names, data, strict=True):
            column = _new_column(table, name, found)
            found[column.id] = convert.from_python(column.type, values, _quoted(table, column))
        return cls._complete(table, found, length)

    @classmethod
    def _complete(cls, table: Table, found: dict[int, ColumnValues], length: int) -> ColumnBatch:
        """Fill missing columns with their defaults, compute generated ones, and check bounds,
        VALUES and NOT NULL of all.
        """
        for column in table.columns:
            if column.generated is not None:
                continue
            if column.id not in found and not column.hidden:
                found[column.id] = defaults(column, length)
            if column.id in found:
                _check(table, column, found[column.id])
        for column in table.columns:
            if column.generated is not None:
                found[column.id] = generated_values(table, column, found, length)
                _check(table, column, found[column.id])
        return cls(found, length)

    def adapted(self, table: Table) -> ColumnBatch:
        """These rows, validated for an earlier version of ``table``, as rows of this one: new
        columns have their defaults. Raises: as ``from_rows``.
        """
        ids = {column.id for column in table.columns}
        if ids - {column.id for column in table.columns if column.hidden} == self.columns.keys():
            return self
        kept = {key: values for key, values in self.columns.items() if key in ids}
        return self._complete(table, kept, self.length)

    @classmethod
    def replaced(
        cls, table: Table, rows: ColumnBatch, data: Mapping[str, Sequence[object]]
    ) -> ColumnBatch:
        """``rows``, valid ones, with other Python values in some columns, which are validated, and
        with what is generated from those.

        Raises: as ``from_rows``.
        """
        found: dict[int, ColumnValues] = {}
        for name, values in data.items():
            column = _new_column(table, name, found)
            found[column.id] = convert.from_python(column.type, values, _quoted(table, column))
            _check(table, column, found[column.id])
        merged = {**rows.columns, **found}
        for column in dict.fromkeys(c for changed in found for c in readers(table, changed)):
            merged[column.id] = generated_values(table, column, merged, rows.length)
            _check(table, column, merged[column.id])
        return cls(merged, rows.length)

    def with_column(self, column: Column | PublicColumn, values: ColumnValues) -> ColumnBatch:
        """This batch with one column added or exchanged (already valid storage values)."""
        if len(values.values) != self.length:
            got = len(values.values)
            fail("AM-2010", column=column.name, got=got, expected=self.length)
        return ColumnBatch({**self.columns, column.id: values}, self.length)

    def select(self, ids: Iterable[int]) -> ColumnBatch:
        """This batch with the columns ``ids`` only."""
        return ColumnBatch({key: self.columns[key] for key in ids}, self.length)

    def take(self, rows: Indices) -> ColumnBatch:
        """The rows at these indices (or where this boolean mask is true), in that order."""
        taken = {
            key: ColumnValues(column.values[rows], column.valid[rows])
            for key, column in self.columns.items()
        }
        length = int(np.count_nonzero(rows)) if rows.dtype == np.bool_ else len(rows)
        return ColumnBatch(taken, length)

    def slice(self, start: int, stop: int) -> ColumnBatch:
        """Rows start .. stop - 1, without copying."""
        taken = {
            key: ColumnValues(column.values[start:stop], column.valid[start:stop])
            for key, column in self.columns.items()
        }
        return ColumnBatch(taken, len(range(self.length)[start:stop]))

    def rows(self, columns: Sequence[Column] | Sequence[PublicColumn]) -> list[tuple[Any, ...]]:
        """Rows of Python values, in the order of ``columns``."""
        if not columns:
            return [()] * self.length
        lists = [to_python(column.type, self.columns[column.id]) for column in columns]
        return list(zip(*lists, strict=True))

    def __iter__(self) -> Iterator[tuple[int, ColumnValues]]:
        return iter(self.columns.items())

    def __len__(self) -> int:
        return self.length


def concatenate(batches: Sequence[ColumnBatch]) -> ColumnBatch:
    """All rows of batches that have the same columns, at least one batch."""
    if len(batches) == 1:
        return batches[0]
    joined = {
        key: ColumnValues(
            np.concatenate([batch.columns[key].values for batch in batches]),
            np.concatenate([batch.columns[key].valid for batch in batches]),
        )
        for key in batches[0].columns
    }
    return ColumnBatch(joined, sum(batch.length for batch in batches))


def empty(columns: Sequence[Column] | Sequence[PublicColumn]) -> ColumnBatch:
    """A batch of no rows."""
    return ColumnBatch({column.id: nulls(column.type, 0) for column in columns}, 0)


def nulls(type_: SqlType, length: int) -> ColumnValues:
    """``length`` NULLs."""
    filler = np.full(length, null_filler(type_), dtype=storage_dtype(type_))
    return ColumnValues(filler, np.zeros(length, dtype=np.bool_))


def defaults(column: Column | PublicColumn, length: int) -> ColumnValues:
    """The column of ``length`` rows that were written without it: its default, or NULL."""
    if column.default is None:
        return nulls(column.type, length)
    values = np.full(length, column.default, dtype=storage_dtype(column.type))
    return ColumnValues(values, np.ones(length, dtype=np.bool_))


def to_python(type_: SqlType, column: ColumnValues) -> list[PythonValue | None]:
    """The column as Python values (``int``, ``Decimal``, ``date``, ``bool``, ``str``, None)."""
    pairs = zip(column.values.tolist(), column.valid.tolist(), strict=True)
    return [from_storage(type_, value) if ok else None for value, ok in pairs]


def from_storage_list(type_: SqlType, values: Sequence[Storage | None]) -> ColumnValues:
    """A column of storage values that are known to fit the type."""
    valid = np.array([value is not None for value in values], dtype=np.bool_)
    filler = null_filler(type_)
    filled = [filler if value is None else value for value in values]
    return ColumnValues(np.array(filled, dtype=storage_dtype(type_)), valid)


def _columns_of_mappings(rows: list[Any]) -> tuple[list[str], list[list[object]]]:
    """Column names in order of first appearance, and one list of values for each."""
    names: dict[str, None] = dict.fromkeys(rows[0])
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            fail("AM-2002", where=f"row {number}", expected="a dictionary", got=type(row).__name__)
        if row.keys() != names.keys():
            names.update(dict.fromkeys(row))
    return list(names), [[row.get(name) for row in rows] for name in names]


def _columns_of_sequences(rows: list[Any], width: int) -> list[Sequence[object]]:
    for number, row in enumerate(rows, start=1):
        if isinstance(row, str | bytes) or not isinstance(row, Sequence):
            fail("AM-2002", where=f"row {number}", expected="a sequence", got=type(row).__name__)
        if len(row) != width:
            fail("AM-2007", row=number, got=len(row), expected=width)
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _new_column(table: Table, name: str, found: Mapping[int, ColumnValues]) -> Column:
    column = table.column(name)
    if column.generated is not None:
        fail("AM-2211", table=table.name, column=column.name)
    if column.id in found:
        fail("AM-2009", column=f"{table.name}.{column.name}")
    return column


def _quoted(table: Table, column: Column) -> str:
    return f"{table.name}.{column.name}"


def _check(table: Table, column: Column, data: ColumnValues) -> None:
    """Raises: AM-2004 NULL, AM-2003 out of bounds, AM-2006 not a declared value."""
    name = _quoted(table, column)
    if not column.nullable and not data.valid.all():
        row = int(np.argmin(data.valid))
        fail("AM-2004", where=convert.place(name, row))
    if column.categories:
        allowed = set(column.categories)
        for row, value in enumerate(data.values.tolist()):
            if value not in allowed and data.valid[row]:
                fail("AM-2006", where=convert.place(name, row))
    elif column.minimum is not None and column.maximum is not None:
        outside = (data.values < column.minimum) | (data.values > column.maximum)
        outside &= data.valid
        if outside.any():
            row = int(np.argmax(outside))
            fail("AM-2003", where=convert.place(name, row), expected="MIN and MAX")
