"""Conditions and expressions of a row or group, and which columns and aggregates they read.

Columns are named by id, constants keep the value the user wrote.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from amaters.columns.scalars import Arithmetic, ColumnRef, Literal, Scalar

COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
AGGREGATES = ("count_star", "count", "sum", "avg")
ORDER_AGGREGATES = ("min", "max", "median", "quantile_disc", "quantile_cont")


@dataclass(frozen=True, slots=True)
class Predicate:
    """Base of all predicates; three-valued logic, a row matches when the predicate is TRUE."""


@dataclass(frozen=True, slots=True)
class Compare(Predicate):
    """``column op literal`` with op in ``COMPARISONS``; with a NULL literal it is always NULL."""

    op: str
    column_id: int
    literal: Literal


@dataclass(frozen=True, slots=True)
class Between(Predicate):
    """``column [NOT] BETWEEN low AND high``, both inclusive; empty when low > high."""

    column_id: int
    low: Literal
    high: Literal
    negated: bool = False


@dataclass(frozen=True, slots=True)
class In(Predicate):
    """``column [NOT] IN (literals)``; a NULL among the literals never makes it TRUE.

    ``is_padded``: only how many literals there are may show, not that all of them are NULL.
    """

    column_id: int
    literals: tuple[Literal, ...]
    negated: bool = False
    is_padded: bool = False


@dataclass(frozen=True, slots=True)
class IsNull(Predicate):
    """``column IS [NOT] NULL``; never NULL itself."""

    column_id: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Like(Predicate):
    """``column [NOT] LIKE pattern``, a text; ``escape``: one character or empty."""

    column_id: int
    pattern: Literal
    escape: str = ""
    negated: bool = False


@dataclass(frozen=True, slots=True)
class And(Predicate):
    """All of ``children`` (at least one)."""

    children: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Or(Predicate):
    """Any of ``children`` (at least one)."""

    children: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not(Predicate):
    """SQL's NOT: NULL stays NULL."""

    child: Predicate


@dataclass(frozen=True, slots=True)
class Truth(Predicate):
    """The constant TRUE, FALSE or NULL (None)."""

    value: bool | None


@dataclass(frozen=True, slots=True)
class Relation(Predicate):
    """``left op right`` over scalars of one row or group, op in ``COMPARISONS``."""

    op: str
    left: Scalar
    right: Scalar


@dataclass(frozen=True, slots=True)
class Case(Scalar):
    """The value of the first branch whose condition is TRUE, else ``otherwise``."""

    branches: tuple[tuple[Predicate, Scalar], ...]
    otherwise: Scalar


@dataclass(frozen=True, slots=True)
class Coalesce(Scalar):
    """The first of ``values`` (at least one) that is not NULL."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Aggregate(Scalar):
    """``function`` (of ``AGGREGATES`` or ``ORDER_AGGREGATES``) over a group's rows where ``where``.

    ``argument``: a scalar over columns of the row, None for ``count_star``; rows where it is NULL
    do not count. ``distinct``: each value once; the argument is a column then. Quantiles have a
    ``fraction`` in [0, 1], counted from the largest value on if ``descending``.
    """

    function: str
    argument: Scalar | None = None
    where: Predicate | None = None
    distinct: bool = False
    fraction: Decimal | float = Decimal("0.5")
    descending: bool = False


def scalar_parts(scalar: Scalar) -> tuple[Scalar, ...]:
    """The operands of a scalar; an aggregate has none, its argument is another row's."""
    if isinstance(scalar, Arithmetic):
        return scalar.left, scalar.right
    if isinstance(scalar, Case):
        return *(value for _, value in scalar.branches), scalar.otherwise
    return scalar.values if isinstance(scalar, Coalesce) else ()


def aggregates_of(scalar: Scalar) -> tuple[Aggregate, ...]:
    """The aggregates in a scalar, left to right."""
    if isinstance(scalar, Aggregate):
        return (scalar,)
    parts = list(scalar_parts(scalar))
    if isinstance(scalar, Case):
        parts[:0] = [part for condition, _ in scalar.branches for part in operands_of(condition)]
    return tuple(found for part in parts for found in aggregates_of(part))


def operands_of(predicate: Predicate | None) -> tuple[Scalar, ...]:
    """The scalars that a predicate compares."""
    if isinstance(predicate, Relation):
        return predicate.left, predicate.right
    if isinstance(predicate, Not):
        return operands_of(predicate.child)
    if isinstance(predicate, (And, Or)):
        return tuple(part for child in predicate.children for part in operands_of(child))
    return ()


def bare_columns(scalar: Scalar) -> frozenset[int]:
    """The columns that a scalar reads outside its aggregates: those of the row or group itself."""
    if isinstance(scalar, Aggregate):
        return frozenset()
    found = frozenset({scalar.column_id}) if isinstance(scalar, ColumnRef) else frozenset[int]()
    parts = list(scalar_parts(scalar))
    if isinstance(scalar, Case):
        for condition, _ in scalar.branches:
            operands = operands_of(condition)
            parts += operands
            found |= predicate_columns(condition).difference(*map(scalar_columns, operands))
    return found.union(*map(bare_columns, parts))


def has_null(scalar: Scalar) -> bool:
    """Whether arithmetic has a NULL in it, and so is NULL."""
    if isinstance(scalar, Arithmetic):
        return has_null(scalar.left) or has_null(scalar.right)
    return isinstance(scalar, Literal) and scalar.value is None


def scalar_columns(scalar: Scalar | None) -> frozenset[int]:
    """The ids of every column a scalar reads, conditions and arguments of aggregates included."""
    found = frozenset[int]()
    if isinstance(scalar, ColumnRef):
        return frozenset({scalar.column_id})
    if isinstance(scalar, Aggregate):
        return scalar_columns(scalar.argument) | predicate_columns(scalar.where)
    if isinstance(scalar, Case):
        found = found.union(*(predicate_columns(condition) for condition, _ in scalar.branches))
    if scalar is not None:
        found = found.union(*(scalar_columns(part) for part in scalar_parts(scalar)))
    return found


def predicate_columns(predicate: Predicate | None) -> frozenset[int]:
    """The ids of every column a predicate reads."""
    if predicate is None or isinstance(predicate, Truth):
        return frozenset()
    if isinstance(predicate, (And, Or)):
        return frozenset().union(*(predicate_columns(child) for child in predicate.children))
    if isinstance(predicate, Not):
        return predicate_columns(predicate.child)
    if isinstance(predicate, (Compare, Between, In, IsNull, Like)):
        return frozenset({predicate.column_id})
    if isinstance(predicate, Relation):
        return scalar_columns(predicate.left) | scalar_columns(predicate.right)
    raise TypeError(f"not a predicate: {type(predicate).__name__}")
