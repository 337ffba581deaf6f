"""Scalars: values computed from one row, exact where SQL is, and what their types are called.

Integers and decimals never overflow and never round; ``/`` gives a double, as in DuckDB, and so
does every operation with one. NULL in, NULL out.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from amaters.base.errors import fail

Value = int | Decimal | str | bytes | bool | date | None
OPERATORS = ("+", "-", "*", "/", "//", "%")
_EXACT = decimal.Context(prec=400)


@dataclass(frozen=True, slots=True)
class Scalar:
    """Base of all scalars."""


@dataclass(frozen=True, slots=True)
class Literal(Scalar):
    """A constant; ``public`` when the user wrote ``PUBLIC(...)`` and so lets the server see it.

    ``answered``: it is made of the answer of a subquery, which the server must not see. ``origin``:
    the parameters it is made of. Two that happen to be equal are two constants, so that what is
    asked twice, and so what is sent, does not depend on their values. It is no part of ``repr``,
    which tells one condition from another: how a constant is spelled does not.
    """

    value: Value
    public: bool = False
    answered: bool = False
    origin: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ColumnRef(Scalar):
    """A column of the statement's table, by id."""

    column_id: int


@dataclass(frozen=True, slots=True)
class ColumnName(Scalar):
    """A column of a table that is being declared, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Arithmetic(Scalar):
    """``left op right`` over numbers, op in ``OPERATORS``; NULL if either is NULL."""

    op: str
    left: Scalar
    right: Scalar


def compute(op: str, left: Any, right: Any) -> Any:
    """``left op right`` of Python values: exact for int and Decimal, else a double.

    Raises: AM-2120 for ``//`` by zero, which has no answer in DuckDB either.
    """
    if left is None or right is None:
        return None
    if op in ("/", "//", "%"):
        return _divided(op, left, right)
    if isinstance(left, float) or isinstance(right, float):
        left, right = _double(left), _double(right)
    elif isinstance(left, Decimal) or isinstance(right, Decimal):
        left, right = Decimal(left), Decimal(right)
        return _DECIMAL_OPERATIONS[op](left, right)
    return {"+": left + right, "-": left - right, "*": left * right}[op]


_DECIMAL_OPERATIONS: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": _EXACT.add,
    "-": _EXACT.subtract,
    "*": _EXACT.multiply,
}


def _divided(op: str, left: Any, right: Any) -> int | Decimal | float:
    """A double by IEEE 754's rules, infinities included; ``//`` of integers towards zero, and ``%``
    of exact numbers what that leaves, with the sign of ``left``.
    """
    if op == "%":
        return _rest(left, right)
    if op == "//" and isinstance(left, int) and isinstance(right, int):
        if right == 0:
            fail("AM-2120")
        quotient = abs(left) // abs(right)
        return quotient if (left < 0) == (right < 0) else -quotient
    a, b = _double(left), _double(right)
    if b == 0.0:
        infinite = math.copysign(math.inf, a) * math.copysign(1.0, b)
        return math.nan if a == 0.0 or math.isnan(a) else infinite
    return a / b


def _rest(left: Any, right: Any) -> int | Decimal | float:
    if isinstance(left, float) or isinstance(right, float):
        a, b = _double(left), _double(right)
        return math.nan if b == 0.0 or math.isinf(a) else math.fmod(a, b)
    if right == 0:
        fail("AM-2120")
    if isinstance(left, int) and isinstance(right, int):
        whole = abs(left) % abs(right)
        return whole if left >= 0 else -whole
    scale = max(-int(Decimal(value).as_tuple().exponent) for value in (left, right))
    rest = _EXACT.remainder(Decimal(left), Decimal(right))
    return _EXACT.quantize(rest, Decimal(1).scaleb(-max(scale, 0)))


def _double(value: Any) -> float:
    """The nearest double; infinity beyond the largest one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
