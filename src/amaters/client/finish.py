"""The last steps of a SELECT, on plaintext: totals merged, aggregates, order, limit. Pure.

Totals of the engine (decrypted), of the tail (added) and of canaries (subtracted) meet here per
group and ``Term``. All arithmetic is on Python integers, so nothing wraps around or rounds; an
average is the correctly rounded quotient. NULLs sort as each sort key says (DuckDB: last).
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.client.having import evaluate, truth
from amaters.columns.batch import ColumnBatch, ColumnValues, to_python
from amaters.columns.schema import Column, Table
from amaters.columns.types import Storage, from_storage
from amaters.plan.evaluate import matches
from amaters.plan.expressions import (
    Aggregate,
    ColumnRef,
    Literal,
    OrderItem,
    OutputItem,
    Scalar,
    Select,
    having_id,
    scalar_columns,
)
from amaters.plan.recipes import ROWS, Made, Weighted, recipe
from amaters.plan.scalar_types import type_of
from amaters.plan.spec import Term

GroupKey = tuple[Storage | None, ...]
Value = Any  # int, float, Decimal, str, bool, date or None
Ordered = Mapping[GroupKey, Mapping[Aggregate, Value]]  # by the values of GROUP BY

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
    """Exact totals by group (storage values in the order of ``Select.fine_groups``) and term."""

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
    keys, member = groups_of(select.fine_groups, batch)
    wanted = recipe(select)
    for term in wanted.terms if terms is None else terms:
        where = wanted.conditions[term.condition - 1] if term.condition else None
        valid = matches(where, batch, select.table)
        amounts = _totals(term, batch, valid, member, len(keys))
        for key, amount in zip(keys, amounts, strict=True):
            totals.add(key, term, amount)
    return totals


def groups_of(
    column_ids: Sequence[int], batch: ColumnBatch
) -> tuple[list[GroupKey], NDArray[np.intp]]:
    """The distinct group keys of ``batch`` and, per row, the index of its key."""
    member = np.zeros(batch.length, dtype=np.intp)
    for column_id in column_ids:
        ranks = _ranks(batch.columns[column_id], nulls_first=False)
        member = np.unique(member * (int(ranks.max()) + 1) + ranks, return_inverse=True)[1]
    first = np.unique(member, return_index=True)[1]
    rows = batch.take(first)
    lists = [_storage_list(rows.columns[column_id]) for column_id in column_ids]
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


def _totals(
    term: Term,
    batch: ColumnBatch,
    valid: NDArray[np.bool_],
    member: NDArray[np.intp],
    groups: int,
) -> list[int]:
    """One total per group over the ``valid`` rows where no column of the term is NULL."""
    for column_id in (*term.columns, *term.required):
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


def finish_totals(select: Select, totals: Totals, ordered: Ordered | None = None) -> Answer:
    """The answer of an aggregate SELECT; groups without rows do not appear.

    ``ordered``: its extremes and quantiles, where it has any (``client.orders``).
    """
    groups: dict[GroupKey, list[_Part]] = {} if select.group_by else {(): []}
    for key, terms in totals.groups.items():
        if not select.fine_groups or terms.get(ROWS, 0) > 0:
            groups.setdefault(key[: len(select.group_by)], []).append(_Part(key, terms))
    made = recipe(select).made
    nothing = {a: None for a in select.aggregates if a not in made}
    if nothing and ordered is None:
        fail("AM-1000", what="extremes were asked for and not computed")
    rows = [
        _row(select, made, key, parts, {**nothing, **(ordered or {}).get(key, {})})
        for key, parts in groups.items()
    ]
    rows = [row for row in rows if _passes(select, row)]
    visible = len(select.items) - select.hidden
    if select.distinct:
        shown = ((tuple(map(_identity, row.values[:visible])), row) for row in reversed(rows))
        rows = list(dict(shown).values())[::-1]
    for order in reversed(select.order_by):
        rows = _sorted(select, rows, order)
    kept = rows[select.offset : _stop(select)]
    columns = tuple([row.values[index] for row in kept] for index in range(visible))
    return _answer(select.table, select.items[:visible], columns)


@dataclass(frozen=True, slots=True)
class _Row:
    key: GroupKey
    values: tuple[Value, ...]
    aggregates: Mapping[Aggregate, Value]


def _passes(select: Select, row: _Row) -> bool:
    """Whether HAVING is TRUE for a group."""
    if select.having is None:
        return True
    by_id = dict(zip(select.group_by, row.key, strict=True))

    def value_of(column_id: int) -> Value:
        if column_id < 0:
            return row.values[having_id(column_id)]
        return from_storage(select.table.column(column_id).type, by_id[column_id])

    return truth(select.having, value_of, row.aggregates) is True


def _stop(select: Select) -> int | None:
    return None if select.limit is None else select.offset + select.limit


@dataclass(frozen=True, slots=True)
class _Part:
    """The totals of one group, or of one value of a DISTINCT column in it."""

    key: GroupKey
    terms: Mapping[Term, int]


def _row(
    select: Select,
    made: Mapping[Aggregate, Made],
    key: GroupKey,
    parts: Sequence[_Part],
    ordered: Mapping[Aggregate, Value],
) -> _Row:
    """One value per item: aggregates from totals, the rest computed from them and the key."""
    table = select.table
    by_id = dict(zip(select.group_by, key, strict=True))
    known = dict(ordered)
    for aggregate, entry in made.items():
        known[aggregate] = _aggregate(select, aggregate, entry, parts)

    def value_of(column_id: int) -> Value:
        return from_storage(table.column(column_id).type, by_id[column_id])

    types = [type_of(item.expression, table) for item in select.items]
    found = (evaluate(item.expression, value_of, known) for item in select.items)
    values = tuple(type_.fitted(value) for type_, value in zip(types, found, strict=True))
    return _Row(key, values, known)


def _aggregate(select: Select, aggregate: Aggregate, made: Made, parts: Sequence[_Part]) -> Value:
    if aggregate.distinct:
        count, total = _distinct_values(select, aggregate, made, parts)
    else:
        count = sum(_weighted(made.count, part.terms) for part in parts)
        total = sum(_weighted(made.total, part.terms) for part in parts)
    if aggregate.function in ("count", "count_star"):
        return count
    if count == 0:
        return None
    if aggregate.function == "avg":
        return total / (count * 10**made.scale)
    if type_of(aggregate, select.table).family != "decimal":
        return total
    return Decimal(total).scaleb(-made.scale, _EXACT)


def _distinct_values(
    select: Select, aggregate: Aggregate, made: Made, parts: Sequence[_Part]
) -> tuple[int, int]:
    """How many different values of a column there are, and their sum if they are numbers."""
    assert isinstance(aggregate.argument, ColumnRef)
    place = select.fine_groups.index(aggregate.argument.column_id)
    found = {part.key[place] for part in parts if _weighted(made.count, part.terms) > 0}
    return len(found), sum(value for value in found if isinstance(value, int))


def _weighted(weighted: Sequence[Weighted], terms: Mapping[Term, int]) -> int:
    return sum(factor * terms.get(term, 0) for factor, term in weighted)


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
    rest.sort(key=lambda pair: _position(pair[0]), reverse=order.descending)
    values = [row for _, row in rest]
    return nulls + values if order.nulls_first else values + nulls


# ---- rows ------------------------------------------------------------------------------------


def finish_rows(select: Select, batch: ColumnBatch) -> Answer:
    """The answer of a SELECT of rows: ``batch`` holds the matching rows' columns."""
    shown = select.items[: len(select.items) - select.hidden]
    indices = np.arange(batch.length)
    if select.distinct:
        indices = _distinct([_row_output(select.table, i, batch) for i in shown], batch.length)
    indices = ordered_rows(select, batch, indices)
    kept = batch.take(indices[select.offset : _stop(select)])
    columns = tuple(_row_output(select.table, item, kept) for item in shown)
    return _answer(select.table, shown, columns)


def _row_output(table: Table, item: OutputItem, batch: ColumnBatch) -> list[Value]:
    match item.expression:
        case ColumnRef(column_id=column_id):
            return list(to_python(table.column(column_id).type, batch.columns[column_id]))
        case Literal(value=value):
            return [value] * batch.length
    return computed(item.expression, table, batch)


def computed(scalar: Scalar, table: Table, batch: ColumnBatch) -> list[Value]:
    """The Python value of a scalar for every row."""
    ids = sorted(scalar_columns(scalar))
    columns = [to_python(table.column(c).type, batch.columns[c]) for c in ids]
    type_ = type_of(scalar, table)
    found: list[Value] = []
    for row in zip(*columns, strict=True) if ids else [()] * batch.length:
        values = dict(zip(ids, row, strict=True))
        found.append(type_.fitted(evaluate(scalar, values.__getitem__)))
    return found


def _distinct(columns: Sequence[list[Value]], rows: int) -> NDArray[np.intp]:
    """The first row of each combination of outputs."""
    first: dict[tuple[Value, ...], int] = {}
    for index, values in enumerate(zip(*columns, strict=True) if columns else [()] * rows):
        first.setdefault(tuple(map(_identity, values)), index)
    return np.array(list(first.values()), dtype=np.intp)


def _identity(value: Value) -> Value:
    """NaN is one value."""
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def ordered_rows(select: Select, batch: ColumnBatch, indices: NDArray[np.intp]) -> NDArray[np.intp]:
    """``indices`` sorted by ORDER BY; rows with equal keys keep their order."""
    found = [_sort_key(select, batch, order) for order in select.order_by]
    keys = [ranks[indices] for ranks in found if ranks is not None]
    return indices[np.lexsort(keys[::-1])] if keys else indices


def _sort_key(select: Select, batch: ColumnBatch, order: OrderItem) -> NDArray[np.intp] | None:
    key = order.key
    expression = key if isinstance(key, ColumnRef) else select.items[key].expression
    if isinstance(expression, Literal):
        return None
    if isinstance(expression, ColumnRef):
        column = batch.columns[expression.column_id]
    else:
        column = sortable(computed(expression, select.table, batch))[0]
    # Negated ranks turn the order round, so NULLs get the rank of the other end.
    ranks = _ranks(column, nulls_first=order.nulls_first != order.descending)
    return -ranks if order.descending else ranks


def sortable(values: list[Value]) -> tuple[ColumnValues, list[Value]]:
    """Computed values as ranks, and the value of each; NaN comes after every number."""
    valid = np.array([value is not None for value in values], dtype=np.bool_)
    known = sorted({_position(v) for v in values if v is not None})
    places = {value: place for place, value in enumerate(known)}
    ranked = [0 if value is None else places[_position(value)] for value in values]
    distinct = [math.nan if is_nan else value for is_nan, value in known]
    return ColumnValues(np.array(ranked, dtype=np.int64), valid), distinct


def _position(value: Value) -> tuple[bool, Value]:
    return (True, 0) if isinstance(value, float) and math.isnan(value) else (False, value)


# ---- names and types -------------------------------------------------------------------------


def _answer(table: Table, items: Sequence[OutputItem], columns: tuple[list[Value], ...]) -> Answer:
    names = tuple(item.name for item in items)
    return Answer(names, tuple(type_of(item.expression, table).name for item in items), columns)
