"""Whether a group passes HAVING: three-valued, on exact Python values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from amaters.columns.patterns import Pattern
from amaters.plan.expressions import (
    COMPARISONS,
    And,
    Between,
    Compare,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Or,
    Predicate,
    Truth,
)

ValueOf = Callable[[int], Any]


def truth(predicate: Predicate, value_of: ValueOf) -> bool | None:
    """TRUE, FALSE or NULL; ``value_of`` maps a column id or ``having_id`` to its value."""
    match predicate:
        case Truth(value=value):
            return value
        case Not(child=child):
            found = truth(child, value_of)
            return None if found is None else not found
        case And(children=children):
            return _all([truth(child, value_of) for child in children])
        case Or(children=children):
            found = _all([_negated(truth(child, value_of)) for child in children])
            return _negated(found)
        case IsNull(column_id=column_id, negated=negated):
            return (value_of(column_id) is None) != negated
    return _leaf(predicate, value_of)


def _leaf(predicate: Predicate, value_of: ValueOf) -> bool | None:
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
    constant: Any = literal.value
    if value is None or constant is None:
        return None
    if isinstance(value, float) and isinstance(constant, int | Decimal):
        constant = float(constant)
    return bool(COMPARISONS[op](value, constant))
