"""What a predicate's constant slots carry: every comparison becomes LE(code) or EQ(code), then
scalars.

Codes are offset-binary, ``storage value - minimum`` (TEXT: dictionary or category code), so each
lies in [0, 2^w). Neither the number of scalars nor anything else public depends on the constant's
value. Source: FHE section 6 ("Constants").
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from numbers import Integral
from typing import Literal, NoReturn

from amaters.base.errors import InvalidError, fail
from amaters.columns.encodings import DIGIT_BITS
from amaters.columns.schema import Column
from amaters.columns.types import TypeKind, as_moment

Operator = Literal["=", "<>", "<", "<=", ">", ">="]
NEVER = -1  # LE(-1) and EQ(-1) match no row: all their scalars are zero
_DECIMAL_EXPONENT_MAX = 60  # far beyond every domain, far below what exhausts memory


@dataclass(frozen=True, slots=True)
class Comparison:
    """``x op constant`` as LE(code) or EQ(code), and when ``negated`` as nn - LE(code) or nn -
    EQ(code).

    ``code`` is in -1 .. 2^w - 1; -1 never matches, LE(2^w - 1) matches every value that is not
    NULL.
    """

    kind: Literal["le", "eq"]
    negated: bool
    code: int


def normalize_compare(column: Column, op: Operator, value: object) -> Comparison:
    """The comparison of ``column`` with a Python value that is not None; exact, whatever the
    scales.

    Raises: AM-2012 when such values cannot be compared.
    """
    if op in ("=", "<>"):
        return Comparison("eq", op == "<>", _eq_code(column, op, value))
    number = _number(column, op, value)
    below = math.ceil(number) - 1 if op in ("<", ">=") else math.floor(number)
    low, _ = column.bounds
    code = min(max(below - low, NEVER), (1 << column.width) - 1)
    return Comparison("le", op in (">", ">="), code)


def normalize_between(column: Column, low: object, high: object) -> tuple[int, int]:
    """Codes (b, a) with ``x BETWEEN low AND high`` = LE(b) - LE(a); (-1, -1) when the range is
    empty.
    """
    upper = normalize_compare(column, "<=", high).code
    lower = normalize_compare(column, "<", low).code
    return (upper, lower) if lower < upper else (NEVER, NEVER)


def normalize_in(column: Column, values: Sequence[object]) -> tuple[int, ...]:
    """EQ codes for the values of an IN list: as many as values, repeated and NULL ones matching
    never.
    """
    codes: list[int] = []
    for value in values:
        code = NEVER if value is None else _eq_code(column, "=", value)
        codes.append(NEVER if code in codes else code)
    return tuple(codes)


def digits_scalars(width: int, code: int) -> tuple[int, ...]:
    """The 3 w/2 + 1 scalars of LE(code) or EQ(code), in the order of the data's slices.

    Per digit, least first, indicators of 0, 1, 2, and for the top digit also of 3. All zero for -1.
    """
    digits = width // DIGIT_BITS
    if code == NEVER:
        return (0,) * (3 * digits + 1)
    if not 0 <= code < 1 << width:
        fail("AM-1000", what="a constant's code is outside its domain")
    scalars: list[int] = []
    for digit in range(digits):
        value = (code >> (DIGIT_BITS * digit)) & 3
        stored = 4 if digit == digits - 1 else 3
        scalars.extend(int(value == indicator) for indicator in range(stored))
    return tuple(scalars)


def onehot_scalars(column: Column, values: Sequence[object]) -> tuple[int, ...]:
    """One scalar per category of a ``group`` column: 1 where the category is among ``values``.

    NULLs and values that are no category select nothing.
    Raises: AM-2012 when a value cannot be compared with the column.
    """
    chosen: set[object] = set()
    for value in values:
        if value is None:
            continue
        if column.type.kind is TypeKind.TEXT:
            chosen.add(_text(column, "=", value))
        else:
            number = _number(column, "=", value)
            chosen.add(int(number) if number.denominator == 1 else None)
    return tuple(int(category in chosen) for category in column.categories)


def _eq_code(column: Column, op: Operator, value: object) -> int:
    if column.type.kind is TypeKind.TEXT:
        code = column.code(_text(column, op, value))
        return NEVER if code is None else code
    number = _number(column, op, value)
    low, _ = column.bounds
    if number.denominator != 1 or not 0 <= number - low < 1 << column.width:
        return NEVER
    return int(number) - low


def _text(column: Column, op: Operator, value: object) -> str:
    if isinstance(value, str):
        return value
    _incomparable(column, op, value)


def _number(column: Column, op: Operator, value: object) -> Fraction:
    """The constant in units of the column's storage values, exactly."""
    kind = column.type.kind
    if kind in (TypeKind.DATE, TypeKind.TIMESTAMP):
        return _moment(column, op, value)
    if column.type.is_text:
        _incomparable(column, op, value)
    if isinstance(value, Integral):
        if isinstance(value, bool) and kind is not TypeKind.BOOLEAN:
            _incomparable(column, op, value)
        return Fraction(int(value) * 10**column.type.scale)
    if isinstance(value, float):
        value = Decimal(repr(float(value)))
    if isinstance(value, Decimal) and value.is_finite():
        return _clamped(value) * Fraction(10**column.type.scale)
    _incomparable(column, op, value)


def _clamped(value: Decimal) -> Fraction:
    """``value``, or something as large or as small that compares alike but does not fill memory."""
    if value == 0:
        return Fraction(0)
    sign = -1 if value < 0 else 1
    if value.adjusted() > _DECIMAL_EXPONENT_MAX:
        return Fraction(sign * 10**_DECIMAL_EXPONENT_MAX)
    if value.adjusted() < -_DECIMAL_EXPONENT_MAX:
        return Fraction(sign, 10**_DECIMAL_EXPONENT_MAX)
    return Fraction(value)


def _moment(column: Column, op: Operator, value: object) -> Fraction:
    if not isinstance(value, str | datetime.date):
        _incomparable(column, op, value)
    try:
        return as_moment(column.type, value)
    except InvalidError:
        _incomparable(column, op, value)


def _incomparable(column: Column, op: Operator, value: object) -> NoReturn:
    got = type(value).__name__
    fail("AM-2012", column=column.name, got=got, op=op, expected=column.type.sql_name)
