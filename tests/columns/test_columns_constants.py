"""Constants: normalised comparisons, put through the circuits' formulas, say what SQL says."""

from __future__ import annotations

import datetime
import itertools
import operator
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from columns_support import make_table, thorough
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from amaters.base.errors import InternalError, InvalidError
from amaters.columns import constants, declare
from amaters.columns.schema import Column
from amaters.columns.types import from_storage

Slots = NDArray[np.int64]
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def column_of(declaration: declare.Declaration) -> Column:
    return make_table({"id": declare.Int64(primary_key=True), "c": declaration}).column("c")


def domain_slots(column: Column) -> Slots:
    """Indicators of every domain value, and NULL in the last slot."""
    low, high = column.bounds
    values = np.arange(low, high + 1, dtype=np.int64)
    count = len(values)
    valid = np.ones(count, dtype=bool)
    (slots,) = column.encode(values, valid, slots=count + 1, positions=np.arange(count))
    return slots


def digit_parts(data: Slots, scalars: tuple[int, ...], digit: int, top: bool) -> tuple[Any, ...]:
    """Data indicators and constant indicators of a digit, the fourth implied below the top."""
    here = list(data[3 * digit : 3 * digit + (4 if top else 3)])
    constant = list(scalars[3 * digit : 3 * digit + (4 if top else 3)])
    if not top:
        constant.append(1 - sum(constant))
    return here, constant


def digit_eq(here: list[Any], constant: list[int]) -> Any:
    if len(here) == 4:
        return sum(o * c for o, c in zip(here, constant, strict=True))
    return constant[3] + sum(o * (c - constant[3]) for o, c in zip(here, constant[:3], strict=True))


def digit_less(here: list[Any], constant: list[int], or_equal: bool) -> Any:
    """Sum of indicator v times [v < c] or [v <= c], both linear in the constant's indicators."""
    marks = [sum(constant[v if or_equal else v + 1 :]) for v in range(4)]
    if len(here) == 4:
        return sum(o * m for o, m in zip(here, marks, strict=True))
    return marks[3] + sum(o * (m - marks[3]) for o, m in zip(here, marks[:3], strict=True))


def circuit_le(column: Column, data: Slots, code: int) -> Slots:
    """LE as the planner builds it: lt and eq per digit, folded from the least digit up."""
    digits = column.width // 2
    scalars = constants.digits_scalars(column.width, code)
    result: Any = None
    for digit in range(digits):
        here, constant = digit_parts(data, scalars, digit, digit == digits - 1)
        less = digit_less(here, constant, or_equal=digit == 0)
        result = less if result is None else less + digit_eq(here, constant) * result
    return np.asarray(result)


def circuit_eq(column: Column, data: Slots, code: int) -> Slots:
    digits = column.width // 2
    scalars = constants.digits_scalars(column.width, code)
    count: Any = sum(
        digit_eq(*digit_parts(data, scalars, digit, digit == digits - 1)) for digit in range(digits)
    )
    return np.asarray(count == digits).astype(np.int64)


def mask(column: Column, data: Slots, op: str, constant: object) -> list[int]:
    """The mask the server would compute for ``column op constant``."""
    comparison = constants.normalize_compare(column, op, constant)  # type: ignore[arg-type]
    leaf = circuit_le if comparison.kind == "le" else circuit_eq
    found = leaf(column, data, comparison.code)
    return (data[-4:].sum(axis=0) - found if comparison.negated else found).tolist()


@pytest.mark.parametrize("width", [2, 4, 6])
def test_brute_force(width: int) -> None:
    """All values x all constants (fractions and outside ones too) x all operators, and NULL."""
    low = -5
    high = low + (1 << width) - 1
    column = column_of(declare.Int16(min=low, max=high, encrypt=["eq", "range"], nullable=True))
    assert column.width == width
    data = domain_slots(column)
    halves = [Decimal(n) / 2 for n in range(2 * (low - 3), 2 * (high + 4))]
    for constant in [*halves, *range(low - 3, high + 4)]:
        for op, compare in OPERATORS.items():
            expected = [int(compare(value, constant)) for value in range(low, high + 1)]
            assert mask(column, data, op, constant) == [*expected, 0], (op, constant)


def test_brute_force_where_the_domain_is_not_full() -> None:
    """A domain of 11 values in 4 bits: constants in the unused codes behave like large ones."""
    column = column_of(declare.Int16(min=0, max=10, encrypt=["eq", "range"]))
    data = domain_slots(column)
    for op, constant in itertools.product(OPERATORS, range(-3, 20)):
        expected = [int(OPERATORS[op](value, constant)) for value in range(11)]
        assert mask(column, data, op, constant) == [*expected, 0]


def test_between_brute_force() -> None:
    """BETWEEN is LE(b) - LE(a) for all pairs, empty and overlapping ranges included."""
    column = column_of(declare.Int16(min=-2, max=13, encrypt=["range"], nullable=True))
    data = domain_slots(column)
    for a, b in itertools.product(range(-5, 18), repeat=2):
        upper, lower = constants.normalize_between(column, a, b)
        found = circuit_le(column, data, upper) - circuit_le(column, data, lower)
        assert found.tolist() == [*(int(a <= v <= b) for v in range(-2, 14)), 0]


NUMERIC = [
    declare.Int8(encrypt=["range"]),
    declare.UInt64(encrypt=["range"]),
    declare.Int64(encrypt=["range"]),
    declare.Decimal(18, 4, encrypt=["range"]),
    declare.Decimal(5, 5, min=Decimal("0.1"), max=Decimal("0.2"), encrypt=["range"]),
    declare.UInt8(max=120, encrypt=["range"]),
]


@pytest.mark.parametrize("declaration", NUMERIC, ids=lambda d: d.type.sql_name)
def test_wide_domains(declaration: declare.Declaration) -> None:
    """Codes agree with exact rational comparison for values and constants of any size and scale."""
    column = column_of(declaration)
    low, high = column.bounds
    anywhere = st.one_of(
        st.integers(low, high).map(lambda v: from_storage(column.type, v)),
        st.integers(-(2**70), 2**70),
        st.decimals(allow_nan=False, allow_infinity=False),
        st.floats(allow_nan=False, allow_infinity=False, width=32),
    )

    @thorough
    @given(st.integers(low, high), anywhere, st.sampled_from(sorted(OPERATORS)))
    def check(stored: int, constant: Any, op: str) -> None:
        exact = Fraction(Decimal(repr(constant)) if isinstance(constant, float) else constant)
        value = Fraction(stored, 10**column.type.scale)
        comparison = constants.normalize_compare(column, op, constant)  # type: ignore[arg-type]
        assert -1 <= comparison.code < 1 << column.width
        code = stored - low
        plain = code <= comparison.code if comparison.kind == "le" else code == comparison.code
        assert (plain != comparison.negated) == OPERATORS[op](value, exact)

    check()


def test_constants_of_enormous_exponent_are_cheap() -> None:
    """1e999999999 neither fills memory nor compares wrongly."""
    column = column_of(declare.Int64(encrypt=["range", "eq"]))
    top = (1 << 64) - 1
    assert constants.normalize_compare(column, "<", Decimal("1e999999999")).code == top
    assert constants.normalize_compare(column, "<", Decimal("-1e999999999")).code == -1
    assert constants.normalize_compare(column, "<=", Decimal("1e-999999999")).code == 1 << 63
    assert constants.normalize_compare(column, "=", Decimal("1e-999999999")).code == -1


def test_shape_does_not_depend_on_the_value() -> None:
    """The same number of scalars for every code, all of them 0 or 1; -1 is all zero."""
    for width in (2, 8, 64):
        for code in (-1, 0, 1, (1 << width) - 1):
            scalars = constants.digits_scalars(width, code)
            assert len(scalars) == 3 * width // 2 + 1
            assert set(scalars) <= {0, 1}
            assert sum(scalars[-4:]) == (code >= 0)
    with pytest.raises(InternalError):
        constants.digits_scalars(8, 256)


def test_dates_booleans_and_texts() -> None:
    """Each kind takes its own constants: ISO dates, truth values, categories and codes."""
    day = column_of(declare.Date(min="2020-01-01", max="2020-12-31", encrypt=["range"]))
    assert constants.normalize_compare(day, "<=", datetime.date(2020, 1, 3)).code == 2
    assert constants.normalize_compare(day, "<=", "2019-12-31").code == -1
    flag = column_of(declare.Boolean(encrypt=["eq", "group"]))
    assert constants.normalize_compare(flag, "=", True).code == 1
    assert constants.onehot_scalars(flag, [False]) == (1, 0)
    grade = column_of(declare.Enum("ABC", encrypt=["eq", "group"]))
    assert constants.normalize_compare(grade, "=", "C").code == 2
    assert constants.normalize_compare(grade, "=", "Z").code == -1
    assert constants.onehot_scalars(grade, ["C", "Z", None, "A"]) == (1, 0, 1)
    city = column_of(declare.Text(encrypt=["eq"]))
    assert constants.normalize_compare(city, "=", "never stored").code == -1


def test_in_lists_keep_their_length() -> None:
    """Duplicates, NULLs and values outside become never-matching entries, not a shorter list."""
    column = column_of(declare.UInt8(max=10, encrypt=["eq"]))
    assert constants.normalize_in(column, [3, 3, None, 99, Decimal("2.5"), 0]) == (
        3, -1, -1, -1, -1, 0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("declaration", "op", "constant"),
    [
        (declare.Int16(encrypt=["eq"]), "=", "1"),
        (declare.Int16(encrypt=["eq"]), "=", True),
        (declare.Int16(encrypt=["eq"]), "<", float("nan")),
        (declare.Date(encrypt=["range"]), "<", 5),
        (declare.Date(encrypt=["range"]), "<", "yesterday"),
        (declare.Timestamp(encrypt=["range"]), "<", 5),
        (declare.Timestamp(encrypt=["range"]), "<", "2020-01-01 1"),
        (declare.Text(encrypt=["eq"]), "=", 5),
        (declare.Text(encrypt=["eq"]), "<", "a"),
    ],
)
def test_incomparable(declaration: declare.Declaration, op: Any, constant: object) -> None:
    """A constant of another kind is a typed refusal that does not repeat it."""
    with pytest.raises(InvalidError, match="AM-2012") as caught:
        constants.normalize_compare(column_of(declaration), op, constant)
    assert "yesterday" not in str(caught.value)
