"""The rows of a join that this client has read, and which of them belong to a row of the fact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.base import errors
from amaters.columns.batch import ColumnBatch, ColumnValues
from amaters.columns.convert import null_filler
from amaters.columns.schema import Table
from amaters.columns.types import SqlType, Storage, from_storage
from amaters.plan.evaluate import matches
from amaters.plan.expressions import Dimension, Join, Predicate, Value, predicate_columns
from amaters.plan.joins import OPEN, Partners, VirtualSource, is_of_fact, offset_of, roots

Mask = NDArray[np.bool_]
Rows = NDArray[np.int64]
NOBODY = -1


@dataclass(frozen=True, slots=True)
class _Known:
    """A dimension with all its rows, and the row of each key."""

    dimension: Dimension
    rows: ColumnBatch
    row_of: Mapping[Any, int]


class JoinedRows:
    """Finds partners. ``table``: the joined table; ``rows``: of each dimension, all there are."""

    def __init__(self, join: Join, table: Table, rows: Sequence[ColumnBatch]) -> None:
        self.join = join
        self.table = table
        self.roots = roots(join)
        self._known = [
            _Known(dimension, batch, _row_of(dimension, batch, table))
            for dimension, batch in zip(join.dimensions, rows, strict=True)
        ]

    @property
    def partners(self) -> Partners:
        """What lowering asks for."""
        return Partners(self._values, self._keys, lambda d: self._of(d).rows.length)

    def partnered(self, rows: ColumnBatch) -> tuple[ColumnBatch, Mask]:
        """Rows of the fact with the columns of their partners, and which have all partners that are
        found by public columns. Partners whose key is not among the columns are left out.
        """
        matched = np.ones(rows.length, dtype=np.bool_)
        columns = dict(rows.columns)
        for known in self._known:
            if all(column_id in columns for column_id in known.dimension.left):
                found = self._found(known, columns, rows.length)
                if self.roots[known.dimension.offset] == OPEN and not known.dimension.is_outer:
                    matched &= found != NOBODY
                self._add(known, found, columns)
        self._add_parts(columns)
        return ColumnBatch(columns, rows.length), matched

    def complete(self, rows: ColumnBatch) -> ColumnBatch:
        """Rows of the fact with their partners, those only that have all of them."""
        whole, matched = self.joined(rows)
        return whole.take(matched)

    def joined(self, rows: ColumnBatch) -> tuple[ColumnBatch, Mask]:
        """Rows of the fact with all their partners, whatever leads to them, and which have them."""
        matched = np.ones(rows.length, dtype=np.bool_)
        columns = dict(rows.columns)
        for known in self._known:
            found = self._found(known, columns, rows.length)
            if not known.dimension.is_outer:
                matched &= found != NOBODY
            self._add(known, found, columns)
        self._add_parts(columns)
        return ColumnBatch(columns, rows.length), matched

    def extended(self, rows: ColumnBatch, sources: Sequence[VirtualSource]) -> ColumnBatch:
        """``partnered`` with virtual columns; rows without the keys stay as they are."""
        if not self._needed(sources).issubset(rows.columns):
            return rows
        whole, matched = self.partnered(rows)
        columns = dict(whole.columns)
        for source in sources:
            if source.copied is not None:
                copied = whole.columns[source.copied]
                columns[source.column.id] = ColumnValues(copied.values, copied.valid & matched)
            else:
                true = matched & matches(source.truth, whole, self.table)
                columns[source.column.id] = ColumnValues(true.astype(np.int64), true)
        return ColumnBatch(columns, rows.length)

    def _needed(self, sources: Sequence[VirtualSource]) -> set[int]:
        """The fact's columns that tell the virtual ones."""
        found = {column_id for s in sources for column_id in predicate_columns(s.truth)}
        for dimension in self.join.dimensions:
            if self.roots[dimension.offset] == OPEN:
                found.update(dimension.left)
        return {column_id for column_id in found if is_of_fact(column_id)}

    # ---- partners ----------------------------------------------------------------------------

    def _found(self, known: _Known, columns: Mapping[int, ColumnValues], length: int) -> Rows:
        """The row of each key, ``NOBODY`` for none; a NULL is nobody's key."""
        keys = [columns[column_id] for column_id in known.dimension.left]
        valid = np.logical_and.reduce([key.valid for key in keys])
        listed = _tuples([key.values for key in keys])
        found = (known.row_of.get(key, NOBODY) for key in listed)
        rows = np.fromiter(found, dtype=np.int64, count=length)
        return np.where(valid, rows, NOBODY)

    def _add(self, known: _Known, found: Rows, columns: dict[int, ColumnValues]) -> None:
        for column in known.dimension.table.columns:
            data = known.rows.columns[column.id]
            columns[known.dimension.offset + column.id] = _taken(data, found, column.type)

    def _add_parts(self, columns: dict[int, ColumnValues]) -> None:
        for part in self.join.parts:
            if part.source in columns:
                columns[part.column_id] = date_part(part.part, columns[part.source])

    def _of(self, dimension: Dimension) -> _Known:
        return next(k for k in self._known if k.dimension.offset == dimension.offset)

    def _values(self, column_id: int) -> list[Storage]:
        """Distinct values of a dimension's column, NULL left out."""
        part = next((p for p in self.join.parts if p.column_id == column_id), None)
        source = column_id if part is None else part.source
        known = next(k for k in self._known if k.dimension.offset == offset_of(source))
        data = known.rows.columns[source - known.dimension.offset]
        if part is not None:
            data = date_part(part.part, data)
        return sorted(set(data.values[data.valid].tolist()))

    def _keys(self, dimension: Dimension, predicate: Predicate) -> list[Value]:
        """The key of every row of a dimension that has its own partners and satisfies a condition
        over itself and them.
        """
        known = self._of(dimension)
        columns = {dimension.offset + key: data for key, data in known.rows.columns.items()}
        # The fact's column holds the same, and other dimensions may hang on it.
        (own,) = dimension.right
        columns[dimension.left[0]] = known.rows.columns[own]
        matched = np.ones(known.rows.length, dtype=np.bool_)
        for other in self._known:
            left = other.dimension.left
            if other is known or not all(column_id in columns for column_id in left):
                continue
            found = self._found(other, columns, known.rows.length)
            matched &= found != NOBODY
            self._add(other, found, columns)
        whole = ColumnBatch(columns, known.rows.length)
        true = matched & matches(predicate, whole, self.table)
        data = known.rows.columns[own]
        type_ = self.join.fact.column(dimension.left[0]).type
        return [from_storage(type_, v) for v in data.values[true & data.valid].tolist()]


def date_part(part: str, dates: ColumnValues) -> ColumnValues:
    """Year, quarter, month or day of days since 1970-01-01."""
    days = dates.values.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    found = {
        "year": days.astype("datetime64[Y]").astype(np.int64) + 1970,
        "quarter": months.astype(np.int64) % 12 // 3 + 1,
        "month": months.astype(np.int64) % 12 + 1,
        "day": (days - months.astype("datetime64[D]")).astype(np.int64) + 1,
    }
    return ColumnValues(np.where(dates.valid, found[part], 0), dates.valid)


def _row_of(dimension: Dimension, rows: ColumnBatch, table: Table) -> dict[Any, int]:
    """Row by key. Raises: DataError AM-5012 when the keys of a unique column repeat."""
    keys = [rows.columns[column_id] for column_id in dimension.right]
    own = {dimension.offset + key: data for key, data in rows.columns.items()}
    asked = matches(dimension.only, ColumnBatch(own, rows.length), table)
    valid = np.logical_and.reduce([asked, *(key.valid for key in keys)]).tolist()
    listed = _tuples([key.values for key in keys])
    found = {key: row for row, (key, ok) in enumerate(zip(listed, valid, strict=True)) if ok}
    if len(found) != sum(valid):
        errors.fail("AM-5012", what=f"the keys of {dimension.name} repeat")
    return found


def _tuples(columns: Sequence[NDArray[Any]]) -> list[Any]:
    """One hashable key per row."""
    if len(columns) == 1:
        single: list[Any] = columns[0].tolist()
        return single
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _taken(data: ColumnValues, rows: Rows, type_: SqlType) -> ColumnValues:
    """The values at ``rows``, NULL for ``NOBODY``."""
    there = rows != NOBODY
    if not len(data.values):
        values = np.full(len(rows), null_filler(type_), dtype=data.values.dtype)
        return ColumnValues(values, there)
    values = data.values[np.where(there, rows, 0)]
    values[~there] = null_filler(type_)
    return ColumnValues(values, there & data.valid[np.where(there, rows, 0)])
