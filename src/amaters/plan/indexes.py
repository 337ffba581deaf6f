"""Which index answers a public condition, and with which ranges. Pure.

The ranges of a choice hold every row that makes the condition TRUE. Unless they are exact they hold
others too: then the condition still has to be evaluated, over fewer rows. NULL makes no comparison
TRUE, so ranges leave it out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from amaters.columns.indexes import IndexDefinition
from amaters.columns.schema import Column, PublicColumn, PublicTable, Table
from amaters.plan.evaluate import comparable
from amaters.plan.expressions import And, Between, Compare, In, Literal, Or, Predicate

SPANS_MAX = 4096
Key = int | str
End = tuple[Key, bool]  # value, inclusive


@dataclass(frozen=True, slots=True)
class Span:
    """Entries whose first columns equal ``prefix`` and whose next one lies between the ends."""

    prefix: tuple[Key, ...]
    low: End | None = None
    high: End | None = None


@dataclass(frozen=True, slots=True)
class IndexUse:
    """An index with the ranges to look up. ``conditions``: of its first columns, as in EXPLAIN;
    ``exact``: they are all there is, so a row in the ranges matches.
    """

    index: IndexDefinition
    spans: tuple[Span, ...]
    conditions: tuple[str, ...]
    exact: bool = False


@dataclass(slots=True)
class _Allowed:
    """What an AND of comparisons leaves of one column: ``points``, or what lies between the ends.

    ``empty``: nothing.
    """

    points: set[Key] | None = None
    low: End | None = None
    high: End | None = None
    empty: bool = False
    word: str = "="

    def at(self, points: Collection[Key]) -> None:
        self.points = set(points) if self.points is None else self.points & set(points)

    def above(self, end: End) -> None:
        # An inclusive end of the same value is the weaker one.
        if self.low is None or (end[0], not end[1]) > (self.low[0], not self.low[1]):
            self.low = end

    def below(self, end: End) -> None:
        if self.high is None or end < self.high:
            self.high = end


def choose(
    predicate: Predicate | None, table: Table | PublicTable, ready: Collection[int] | None = None
) -> tuple[IndexUse, ...] | None:
    """The uses whose ranges together hold every row that ``predicate`` selects; None for a scan.

    ``ready``: numbers of the indexes that may be used; None for all.
    """
    usable = [index for index in table.indexes if ready is None or index.number in ready]
    if predicate is None or not usable:
        return None
    return _choose(predicate, table, usable)


def primary_keys(predicate: Predicate | None, table: Table | PublicTable) -> set[Key] | None:
    """The only primary keys, as storage values, of rows that ``predicate`` selects; None when it
    does not say. They need no index: the server finds rows by key anyway.
    """
    if predicate is None or isinstance(predicate, Or):
        return None
    allowed = _allowed(_flattened(predicate), table).get(table.primary_key.id)
    if allowed is None:
        return None
    points = set() if allowed.empty else allowed.points
    return points if points is None or len(points) <= SPANS_MAX else None


def _choose(
    predicate: Predicate, table: Table | PublicTable, usable: Sequence[IndexDefinition]
) -> tuple[IndexUse, ...] | None:
    if isinstance(predicate, Or):
        parts = [_choose(child, table, usable) for child in predicate.children]
        if any(part is None for part in parts):
            return None
        return tuple(use for part in parts if part is not None for use in part)
    children = _flattened(predicate)
    best = _best(_allowed(children, table), table, usable)
    if best is not None:
        return (replace(best, exact=_is_exact(best, children)),)
    for child in children:
        found = _choose(child, table, usable) if isinstance(child, Or) else None
        if found is not None:
            return tuple(replace(use, exact=len(children) == 1 and use.exact) for use in found)
    return None


def _is_exact(use: IndexUse, children: Sequence[Predicate]) -> bool:
    """Whether every condition is one that the ranges express."""
    used = use.index.columns[: len(use.conditions)]
    return all(
        isinstance(child, (Compare, Between, In))
        and not _excludes(child)
        and child.column_id in used
        for child in children
    )


def _flattened(predicate: Predicate) -> list[Predicate]:
    if isinstance(predicate, And):
        return [leaf for child in predicate.children for leaf in _flattened(child)]
    return [predicate]


def _best(
    allowed: Mapping[int, _Allowed], table: Table | PublicTable, usable: Sequence[IndexDefinition]
) -> IndexUse | None:
    """The use with most columns, equalities before ranges; unique indexes before others."""
    found = [(_use(index, allowed, table), index) for index in usable]
    ranked = [
        ((len(use.spans[0].prefix) if use.spans else 99, len(use.conditions), index.unique), use)
        for use, index in found
        if use is not None
    ]
    return max(ranked, key=lambda item: item[0])[1] if ranked else None


def _use(
    index: IndexDefinition, allowed: Mapping[int, _Allowed], table: Table | PublicTable
) -> IndexUse | None:
    prefixes: list[tuple[Key, ...]] = [()]
    conditions: list[str] = []
    ends: tuple[End | None, End | None] = (None, None)
    for column_id in index.columns:
        known = allowed.get(column_id)
        if known is None:
            break
        name = table.column(column_id).name
        points: set[Key] | None = set() if known.empty else known.points
        if points is None:
            ends = (known.low, known.high)
            conditions.append(f"{name} {known.word} ...")
            break
        if len(prefixes) * len(points) > SPANS_MAX:
            break
        ordered = sorted(points)
        prefixes = [(*prefix, value) for prefix, value in itertools.product(prefixes, ordered)]
        conditions.append(f"{name} {'IN (...)' if len(points) > 1 else '= ...'}")
    if not conditions:
        return None
    spans = tuple(Span(prefix, *ends) for prefix in prefixes)
    return IndexUse(index, spans, tuple(conditions))


# ---- comparisons -----------------------------------------------------------------------------


def _allowed(children: Sequence[Predicate], table: Table | PublicTable) -> dict[int, _Allowed]:
    """Per column what comparisons with constants leave of it; other conditions add nothing."""
    found: dict[int, _Allowed] = {}
    for child in children:
        if isinstance(child, (Compare, Between, In)) and not _excludes(child):
            column = table.column(child.column_id)
            _narrow(found.setdefault(column.id, _Allowed()), child, column)
    for allowed in found.values():
        _finish(allowed)
    return found


def _excludes(predicate: Compare | Between | In) -> bool:
    """Whether a condition says which values are not wanted: no range helps there."""
    if isinstance(predicate, Compare):
        return predicate.op == "<>"
    return predicate.negated


def _narrow(
    allowed: _Allowed, predicate: Compare | Between | In, column: Column | PublicColumn
) -> None:
    match predicate:
        case Compare(op="=", literal=literal):
            allowed.at(_points(column, [literal]))
        case In(literals=literals):
            allowed.at(_points(column, literals))
        case Compare(op=op, literal=literal):
            _bound(allowed, column, op, literal)
        case Between(low=low, high=high):
            _bound(allowed, column, ">=", low)
            _bound(allowed, column, "<=", high)


def _points(column: Column | PublicColumn, literals: Sequence[Literal]) -> list[Key]:
    """The constants as storage values, without those that the column cannot hold."""
    found: list[Key] = []
    for literal in literals:
        constant = comparable(column, "=", literal.value)
        if isinstance(constant, str):
            found.append(constant)
        elif constant is not None and constant.denominator == 1:
            value = int(constant)
            if column.type.minimum <= value <= column.type.maximum:
                found.append(value)
    return found


def _bound(allowed: _Allowed, column: Column | PublicColumn, op: str, literal: Literal) -> None:
    constant = comparable(column, op, literal.value)
    if constant is None:
        allowed.empty = True
        return
    if isinstance(constant, Fraction):
        _bound_number(allowed, column, op, constant)
    elif op in (">", ">="):
        allowed.above((constant, op == ">="))
    else:
        allowed.below((constant, op == "<="))


def _bound_number(
    allowed: _Allowed, column: Column | PublicColumn, op: str, constant: Fraction
) -> None:
    """Inclusive ends within the column's domain, whatever the constant."""
    low, high = column.type.minimum, column.type.maximum
    if op in (">", ">="):
        value = math.floor(constant) + 1 if op == ">" else math.ceil(constant)
        allowed.empty = allowed.empty or value > high
        allowed.above((max(value, low), True))
    else:
        value = math.ceil(constant) - 1 if op == "<" else math.floor(constant)
        allowed.empty = allowed.empty or value < low
        allowed.below((min(value, high), True))


def _finish(allowed: _Allowed) -> None:
    """Points outside the ends go; what EXPLAIN says of it."""
    if allowed.points is not None:
        allowed.points = {point for point in allowed.points if _inside(point, allowed)}
        return
    if allowed.low is not None and allowed.high is not None:
        allowed.word = "BETWEEN"
        low, high = allowed.low, allowed.high
        if low[0] > high[0] or (low[0] == high[0] and not (low[1] and high[1])):  # type: ignore[operator]
            allowed.empty = True
    elif allowed.low is not None:
        allowed.word = ">="
    else:
        allowed.word = "<="


def _inside(point: Key, allowed: _Allowed) -> bool:
    low, high = allowed.low, allowed.high
    if low is not None and (point < low[0] or (point == low[0] and not low[1])):  # type: ignore[operator]
        return False
    return not (high is not None and (point > high[0] or (point == high[0] and not high[1])))  # type: ignore[operator]
