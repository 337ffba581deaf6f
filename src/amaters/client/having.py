"""Scalars and conditions over exact Python values: of a group's outputs, or of one row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from amaters.columns.moments import at_midnight
from amaters.columns.patterns import Pattern
from amaters.columns.scalars import compute
from amaters.plan.expressions import (
    COMPARISONS,
    Aggregate,
    And,
    Arithmetic,
    Between,
    Case,
    Coalesce,
    ColumnRef,
    Compare,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Or,
    Predicate,
    Relation,
    Scalar,
    Truth,
)

ValueOf = Callable[[int], Any]


def evaluate(
    scalar: Scalar, value_of: ValueOf, aggregates: Mapping[Aggregate, Any] | None = None
) -> Any:
    """The value of ``scalar``; ``value_of`` maps a column id to a value, ``aggregates`` has those.

    Raises: AM-2120 for an integer division by zero.
    """
    match scalar:
        case Literal(value=value):
            return value
        case ColumnRef(column_id=column_id):
            return value_of(column_id)
        case Arithmetic(op=op, left=left, right=right):
            a = evaluate(left, value_of, aggregates)
            return compute(op, a, evaluate(right, value_of, aggregates))
        case Case(branches=branches, otherwise=otherwise):
            holds = (truth(condition, value_of, aggregates) for condition, _ in branches)
            taken = (value for (_, value), held in zip(branches, holds, strict=True) if held)
            return evaluate(next(taken, otherwise), value_of, aggregates)
        case Coalesce(values=values):
            found = (evaluate(value, value_of, aggregates) for value in values)
            return next((value for value in found if value is not None), None)
        case Aggregate() if aggregates is not None:
            return aggregates[scalar]
    raise TypeError(f"not a scalar: {type(scalar).__name__}")


def truth(
    predicate: Predicate, value_of: ValueOf, aggregates: Mapping[Aggregate, Any] | None = None
) -> bool | None:
    """TRUE, FALSE or NULL; ``value_of`` maps a column id or ``having_id`` to its value."""
    match predicate:
        case Truth(value=value):
            return value
        case Not(child=child):
            found = truth(child, value_of, aggregates)
            return None if found is None else not found
        case And(children=children):
            return _all([truth(child, value_of, aggregates) for child in children])
        case Or(children=children):
            found = _all([_negated(truth(child, value_of, aggregates)) for child in children])
            return _negated(found)
        case IsNull(column_id=column_id, negated=negated):
            return (value_of(column_id) is None) != negated
    return _leaf(predicate, value_of, aggregates)


def _leaf(
    predicate: Predicate, value_of: ValueOf, aggregates: Mapping[Aggregate, Any] | None
) -> bool | None:
    match predicate:
        case Compare(op=op, column_id=column_id, literal=literal):
            return _compare(op, value_of(column_id), literal)
        case Between(column_id=column_id, low=low, high=high, negated=negated):
            value = value_of(column_id)
            found = _all([_compare(">=", value, low), _compare("<=", value, high)])
            return _negated(found) if negated else found
        case In(column_id=column_id, literals=literals, negated=negated):
            value = value_of(column_id)
            found = _negated(_all([_compare("<>", value, literal) for literal in literals]))
            return _negated(found) if negated else found
        case Like(column_id=column_id, pattern=pattern, escape=escape, negated=negated):
            text = value_of(column_id)
            if text is None:
                return None
            return Pattern(str(pattern.value), escape).matches(text) != negated
        case Relation(op=op, left=left, right=right):
            a, b = (evaluate(side, value_of, aggregates) for side in (left, right))
            return None if a is None or b is None else compared(op, a, b)
    raise TypeError(f"not a predicate: {type(predicate).__name__}")


def _negated(value: bool | None) -> bool | None:
    return None if value is None else not value


def _all(found: Sequence[bool | None]) -> bool | None:
    if False in found:
        return False
    return None if None in found else True


def _compare(op: str, value: Any, literal: Literal) -> bool | None:
    """Exact for integers and decimals; with an average the constant becomes a double, as DuckDB
    casts it.
    """
    if value is None or literal.value is None:
        return None
    return compared(op, value, literal.value)


def compared(op: str, left: Any, right: Any) -> bool:
    """``left op right``; NaN equals itself and is larger than all else, as in DuckDB."""
    if isinstance(left, float) or isinstance(right, float):
        left, right = float(left), float(right)
        if math.isnan(left) or math.isnan(right):
            left, right = math.isnan(left), math.isnan(right)
    if isinstance(left, date) and isinstance(right, date):
        left, right = at_midnight(left), at_midnight(right)
    return bool(COMPARISONS[op](left, right))
