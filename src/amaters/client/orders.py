"""Extremes and quantiles of plaintext rows, per group. Pure and exact.

Answers are DuckDB's: NULLs do not count, an aggregate of nothing is NULL. A discrete quantile is
one of the values; a continuous one lies between two neighbours: as a DOUBLE for integers, rounded
towards zero to the scale of a DECIMAL, to the nearest microsecond for DATE and TIMESTAMP. The
neighbours are weighed with one rounding (a fused multiply-add), as DuckDB's kernels do.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from amaters.client.finish import GroupKey, Ordered, Value, computed, groups_of, sortable
from amaters.columns.batch import ColumnBatch
from amaters.columns.moments import at_midnight
from amaters.columns.schema import Table
from amaters.columns.types import from_storage
from amaters.plan.evaluate import matches
from amaters.plan.expressions import Aggregate, ColumnRef, Select
from amaters.plan.orders import order_aggregates
from amaters.plan.scalar_types import ScalarType, type_of

_HALF = Fraction(1, 2)
_MICROSECOND = datetime.timedelta(microseconds=1)
_EPOCH = datetime.datetime(1970, 1, 1)
_ValueAt = Callable[[int], Value]  # by rank


def ordered_values(select: Select, rows: ColumnBatch) -> Ordered:
    """Every extreme and quantile of ``select`` over rows that match already, by group."""
    found: dict[GroupKey, dict[Aggregate, Value]] = {}
    for aggregate in order_aggregates(select):
        batch = rows.take(matches(aggregate.where, rows, select.table))
        if batch.length == 0:
            continue
        keys, member = groups_of(select.group_by, batch)
        ranks, valid, value_at = _ranked(aggregate, select.table, batch)
        inside, ranks = member[valid], ranks[valid]
        order = np.lexsort((ranks, inside))
        bounds = np.searchsorted(inside[order], np.arange(len(keys) + 1))
        type_ = type_of(aggregate.argument or ColumnRef(0), select.table)
        for index, key in enumerate(keys):
            chosen = ranks[order[bounds[index] : bounds[index + 1]]]
            if len(chosen):
                found.setdefault(key, {})[aggregate] = _value(aggregate, type_, chosen, value_at)
    return found


def _ranked(
    aggregate: Aggregate, table: Table, batch: ColumnBatch
) -> tuple[NDArray[np.int64], NDArray[np.bool_], _ValueAt]:
    """Ranks of the argument's values, where it is not NULL, and the value of each rank."""
    argument = aggregate.argument
    if isinstance(argument, ColumnRef):
        column, type_ = batch.columns[argument.column_id], table.column(argument.column_id).type
        distinct, ranks = np.unique(column.values, return_inverse=True)

        def value_at(rank: int) -> Value:
            stored = distinct[rank]
            return from_storage(type_, stored.item() if isinstance(stored, np.generic) else stored)

        return ranks.astype(np.int64), column.valid, value_at
    assert argument is not None
    values = computed(argument, table, batch)
    places, by_rank = sortable(values)
    return places.values, places.valid, by_rank.__getitem__


def _value(
    aggregate: Aggregate, type_: ScalarType, ranks: NDArray[np.int64], value_at: _ValueAt
) -> Value:
    """One aggregate of the values of ``ranks``, which are sorted and not empty."""
    count = len(ranks)

    def at(place: int) -> Value:
        return value_at(int(ranks[count - 1 - place if aggregate.descending else place]))

    match aggregate.function:
        case "min":
            return at(0)
        case "max":
            return at(count - 1)
    fraction = aggregate.fraction
    if aggregate.function == "quantile_disc" or not interpolates(type_):
        return at(_discrete(count, fraction))
    place = (count - 1) * float(fraction)
    low, high = at(math.floor(place)), at(math.ceil(place))
    return between(type_, low, high, place - math.floor(place))


def _discrete(count: int, fraction: Decimal | float) -> int:
    """Place of the discrete quantile: exact for a DECIMAL fraction, in doubles for a DOUBLE."""
    exact = fraction if isinstance(fraction, float) else Fraction(fraction)
    return max(1, count - math.floor(count - count * exact)) - 1


def interpolates(type_: ScalarType) -> bool:
    """Whether something lies between two values of a type."""
    return type_.is_numeric or type_.name in ("DATE", "TIMESTAMP")


def between(type_: ScalarType, low: Value, high: Value, part: float) -> Value:
    """The value ``part`` of the way from ``low`` to ``high``."""
    if type_.family == "decimal":
        start, stop = (int(Decimal(value).scaleb(type_.scale)) for value in (low, high))
        number = start if part == 0 else int(_fused(float(stop) - float(start), part, float(start)))
        return Decimal(number).scaleb(-type_.scale)
    if type_.is_numeric:
        return float(low) if part == 0 else _fused(float(low), 1.0 - part, float(high) * part)
    start, stop = ((at_midnight(value) - _EPOCH) // _MICROSECOND for value in (low, high))
    if part:
        start = _nearest(_fused(float(start), 1.0 - part, float(stop) * part))
    return _EPOCH + start * _MICROSECOND


def _fused(a: float, b: float, c: float) -> float:
    """a * b + c, rounded once; infinities and NaN as floats have them."""
    if not all(map(math.isfinite, (a, b, c))):
        return a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    return exact.numerator / exact.denominator


def _nearest(number: float) -> int:
    """The nearest integer, halves away from zero."""
    whole = math.floor(abs(Fraction(number)) + _HALF)
    return whole if number >= 0 else -whole
