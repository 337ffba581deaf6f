"""The last steps of a SELECT, on plaintext: totals merged, aggregates, order, limit. Pure.

Totals of the engine (decrypted), of the tail (added) and of canaries (subtracted) meet here per
group and ``Term``. All arithmetic is on Python integers, so nothing wraps around or rounds; an
average is the correctly rounded quotient. NULLs sort as each sort key says (DuckDB: last).
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.client.having import truth
from amaters.columns.batch import ColumnBatch, ColumnValues, to_python
from amaters.columns.schema import Column, Table
from amaters.columns.types import SqlType, Storage, TypeKind, from_storage
from amaters.plan.expressions import (
    Aggregate,
    ColumnRef,
    Literal,
    OrderItem,
    OutputItem,
    Select,
    having_id,
)
from amaters.plan.prepare import aggregate_terms, terms_for
from amaters.plan.spec import Term

GroupKey = tuple[Storage | None, ...]
Value = Any  # int, float, Decimal, str, bool, date or None

ROWS = Term("count")
_EXACT = decimal.Context(prec=400)
_LOW_BITS = 31
_PRODUCT_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished result: names and SQL types of the columns, and their Python values."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    columns: tuple[list[Value], ...]


@dataclass(slots=True)
class Totals:
    """Exact totals by group (storage values in the order of ``Select.group_by``) and term."""

    groups: dict[GroupKey, dict[Term, int]] = field(default_factory=dict)

    def add(self, key: GroupKey, term: Term, amount: int) -> None:
        """Add to one total."""
        terms = self.groups.setdefault(key, {})
        terms[term] = terms.get(term, 0) + amount

    def merge(self, other: Totals, sign: int = 1) -> None:
        """Add ``sign`` times all totals of ``other``."""
        for key, terms in other.groups.items():
            for term, amount in terms.items():
                self.add(key, term, sign * amount)


def category_value(column: Column, index: int) -> Storage | None:
    """The storage value of a category by its index; the index after the last one is NULL."""
    return column.categories[index] if index < len(column.categories) else None


def totals_of(select: Select, batch: ColumnBatch, terms: Sequence[Term] | None = None) -> Totals:
    """Totals of plaintext rows that match already, for ``terms`` or all that ``select`` needs."""
    totals = Totals()
    if batch.length == 0:
        return totals
    keys, member = _groups(select, batch)
    for term in aggregate_terms(select) if terms is None else terms:
        amounts = _totals(term, batch, member, len(keys))
        for key, amount in zip(keys, amounts, strict=True):
            totals.add(key, term, amount)
    return totals


def _groups(select: Select, batch: ColumnBatch) -> tuple[list[GroupKey], NDArray[np.intp]]:
    """The distinct group keys of ``batch`` and, per row, the index of its key."""
    member = np.zeros(batch.length, dtype=np.intp)
    for column_id in select.group_by:
        ranks = _ranks(batch.columns[column_id], nulls_first=False)
        member = np.unique(member * (int(ranks.max()) + 1) + ranks, return_inverse=True)[1]
    first = np.unique(member, return_index=True)[1]
    rows = batch.take(first)
    lists = [_storage_list(rows.columns[column_id]) for column_id in select.group_by]
    keys: list[GroupKey] = list(zip(*lists, strict=True)) if lists else [()]
    return keys, member


def _storage_list(column: ColumnValues) -> list[Storage | None]:
    pairs = zip(column.values.tolist(), column.valid.tolist(), strict=True)
    return [value if ok else None for value, ok in pairs]


def _ranks(column: ColumnValues, *, nulls_first: bool) -> NDArray[np.intp]:
    """Dense ranks of the values, smallest 1 or 0; NULLs share the lowest or the highest."""
    distinct, ranks = np.unique(column.values, return_inverse=True)
    null_rank = 0 if nulls_first else len(distinct) + 1
    shifted = ranks.astype(np.intp) + 1
    return np.where(column.valid, shifted, null_rank)


def _totals(term: Term, batch: ColumnBatch, member: NDArray[np.intp], groups: int) -> list[int]:
    """One total per group over the rows where no column of the term is NULL."""
    valid = np.ones(batch.length, dtype=np.bool_)
    for column_id in term.columns:
        valid = valid & batch.columns[column_id].valid
    inside = member[valid]
    if term.kind == "count":
        counts: list[int] = np.bincount(inside, minlength=groups).tolist()
        return counts
    values = batch.columns[term.columns[0]].values[valid]
    for column_id in term.columns[1:]:
        values = _multiplied(values, batch.columns[column_id].values[valid])
    return _sums(values, inside, groups)


def _multiplied(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Exact products; Python integers where 64 bits might not hold them."""
    narrow = left.dtype == right.dtype == np.int64 and len(left) > 0
    if narrow and _magnitude(left) * _magnitude(right) < _PRODUCT_LIMIT:
        small: NDArray[Any] = left * right
        return small
    product: NDArray[Any] = left.astype(object) * right.astype(object)
    return product


def _magnitude(values: NDArray[Any]) -> int:
    return max(abs(int(values.min())), abs(int(values.max())))


def _sums(values: NDArray[Any], member: NDArray[np.intp], groups: int) -> list[int]:
    """Exact sums: high and low halves add up in 64 bits for any number of rows that fits memory."""
    if values.dtype == object:
        exact = np.zeros(groups, dtype=object)
        np.add.at(exact, member, values)
        return [int(total) for total in exact]
    unit = values.dtype.type
    high, low = np.zeros(groups, np.int64), np.zeros(groups, np.int64)
    np.add.at(high, member, (values >> unit(_LOW_BITS)).astype(np.int64))
    np.add.at(low, member, (values & unit((1 << _LOW_BITS) - 1)).astype(np.int64))
    return [(int(h) << _LOW_BITS) + int(x) for h, x in zip(high, low, strict=True)]


# ---- aggregates ------------------------------------------------------------------------------


def finish_totals(select: Select, totals: Totals) -> Answer:
    """The answer of an aggregate SELECT; groups without rows do not appear."""
    groups = totals.groups
    if select.group_by:
        groups = {key: terms for key, terms in groups.items() if terms.get(ROWS, 0) > 0}
    elif not groups:
        groups = {(): {}}
    rows = [_Row(key, _outputs(select, key, terms)) for key, terms in groups.items()]
    rows = [row for row in rows if _passes(select, row)]
    visible = len(select.items) - select.hidden
    if select.distinct:
        rows = list({row.values[:visible]: row for row in reversed(rows)}.values())[::-1]
    for order in reversed(select.order_by):
        rows = _sorted(select, rows, order)
    kept = rows[select.offset : _stop(select)]
    shown = select.items[:visible]
    columns = tuple([row.values[index] for row in kept] for index in range(len(shown)))
    return _answer(select.table, shown, columns)


@dataclass(frozen=True, slots=True)
class _Row:
    key: GroupKey
    values: tuple[Value, ...]


def _passes(select: Select, row: _Row) -> bool:
    """Whether HAVING is TRUE for a group."""
    if select.having is None:
        return True
    by_id = dict(zip(select.group_by, row.key, strict=True))

    def value_of(column_id: int) -> Value:
        if column_id < 0:
            return row.values[having_id(column_id)]
        return from_storage(select.table.column(column_id).type, by_id[column_id])

    return truth(select.having, value_of) is True


def _stop(select: Select) -> int | None:
    return None if select.limit is None else select.offset + select.limit


def _outputs(select: Select, key: GroupKey, terms: Mapping[Term, int]) -> tuple[Value, ...]:
    by_id = dict(zip(select.group_by, key, strict=True))
    return tuple(_output(select.table, item, by_id, terms) for item in select.items)


def _output(
    table: Table,
    item: OutputItem,
    key: Mapping[int, Storage | None],
    terms: Mapping[Term, int],
) -> Value:
    match item.expression:
        case Literal(value=value):
            return value
        case ColumnRef(column_id=column_id):
            return from_storage(table.column(column_id).type, key[column_id])
    return _aggregate(table, item.expression, terms)


def _aggregate(table: Table, aggregate: Aggregate, terms: Mapping[Term, int]) -> Value:
    *summed, counted = terms_for(aggregate)
    count = terms.get(counted, 0)
    if not summed:
        return count
    if count == 0:
        return None
    total = terms.get(summed[0], 0)
    scale = _scale(table, aggregate)
    if aggregate.function == "avg":
        return total / (count * 10**scale)
    return Decimal(total).scaleb(-scale, _EXACT) if _is_decimal(table, aggregate) else total


def _scale(table: Table, aggregate: Aggregate) -> int:
    return sum(table.column(column_id).type.scale for column_id in aggregate.columns)


def _is_decimal(table: Table, aggregate: Aggregate) -> bool:
    kinds = [table.column(column_id).type.kind for column_id in aggregate.columns]
    return TypeKind.DECIMAL in kinds


def _sorted(select: Select, rows: list[_Row], order: OrderItem) -> list[_Row]:
    """Rows by one sort key, stable; a column key that is no output is a group column."""
    keyed: list[tuple[Any, _Row]]
    if isinstance(order.key, ColumnRef):
        place = select.group_by.index(order.key.column_id)
        keyed = [(row.key[place], row) for row in rows]
    else:
        keyed = [(row.values[order.key], row) for row in rows]
    nulls = [row for value, row in keyed if value is None]
    rest = [pair for pair in keyed if pair[0] is not None]
    rest.sort(key=lambda pair: pair[0], reverse=order.descending)
    values = [row for _, row in rest]
    return nulls + values if order.nulls_first else values + nulls


# ---- rows ------------------------------------------------------------------------------------


def finish_rows(select: Select, batch: ColumnBatch) -> Answer:
    """The answer of a SELECT of rows: ``batch`` holds the matching rows' columns."""
    indices = np.arange(batch.length)
    if select.distinct:
        indices = _distinct(select, batch)
    indices = _ordered(select, batch, indices)
    kept = batch.take(indices[select.offset : _stop(select)])
    columns = tuple(_row_output(select.table, item, kept) for item in select.items)
    return _answer(select.table, select.items, columns)


def _row_output(table: Table, item: OutputItem, batch: ColumnBatch) -> list[Value]:
    if isinstance(item.expression, ColumnRef):
        column_id = item.expression.column_id
        return list(to_python(table.column(column_id).type, batch.columns[column_id]))
    assert isinstance(item.expression, Literal)
    return [item.expression.value] * batch.length


def _distinct(select: Select, batch: ColumnBatch) -> NDArray[np.intp]:
    """The first row of each combination of outputs."""
    member = np.zeros(batch.length, dtype=np.intp)
    for item in select.items:
        if isinstance(item.expression, ColumnRef) and batch.length:
            ranks = _ranks(batch.columns[item.expression.column_id], nulls_first=False)
            member = np.unique(member * (int(ranks.max()) + 1) + ranks, return_inverse=True)[1]
    return np.sort(np.unique(member, return_index=True)[1])


def _ordered(select: Select, batch: ColumnBatch, indices: NDArray[np.intp]) -> NDArray[np.intp]:
    """``indices`` sorted by ORDER BY; rows with equal keys keep their order."""
    found = [_sort_key(select, batch, order) for order in select.order_by]
    keys = [ranks[indices] for ranks in found if ranks is not None]
    return indices[np.lexsort(keys[::-1])] if keys else indices


def _sort_key(select: Select, batch: ColumnBatch, order: OrderItem) -> NDArray[np.intp] | None:
    key = order.key
    expression = key if isinstance(key, ColumnRef) else select.items[key].expression
    if not isinstance(expression, ColumnRef):
        return None
    # Negated ranks turn the order round, so NULLs get the rank of the other end.
    column = batch.columns[expression.column_id]
    ranks = _ranks(column, nulls_first=order.nulls_first != order.descending)
    return -ranks if order.descending else ranks


# ---- names and types -------------------------------------------------------------------------


def _answer(table: Table, items: Sequence[OutputItem], columns: tuple[list[Value], ...]) -> Answer:
    names = tuple(item.name for item in items)
    return Answer(names, tuple(_type_names(table, items)), columns)


def _type_names(table: Table, items: Sequence[OutputItem]) -> Iterator[str]:
    for item in items:
        match item.expression:
            case ColumnRef(column_id=column_id):
                yield type_name(table.column(column_id).type)
            case Literal(value=value):
                yield _literal_type(value)
            case Aggregate() as aggregate:
                yield _aggregate_type(table, aggregate)


def type_name(type_: SqlType) -> str:
    """DuckDB's name of a column type."""
    return "VARCHAR" if type_.kind is TypeKind.TEXT else type_.sql_name


def _aggregate_type(table: Table, aggregate: Aggregate) -> str:
    if aggregate.function in ("count", "count_star"):
        return "BIGINT"
    if aggregate.function == "avg":
        return "DOUBLE"
    if _is_decimal(table, aggregate):
        return f"DECIMAL(38,{_scale(table, aggregate)})"
    return "HUGEINT"


def _literal_type(value: Value) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return "BOOLEAN"
        case int():
            return next((n for n, bits in _WIDTHS if -(1 << bits) <= value < 1 << bits), "HUGEINT")
        case Decimal():
            _, digits, exponent = value.as_tuple()
            scale = max(-int(exponent), 0)
            return f"DECIMAL({max(len(digits), scale)},{scale})"
        case datetime.date():
            return "DATE"
    return "VARCHAR"


_WIDTHS = (("INTEGER", 31), ("BIGINT", 63))
