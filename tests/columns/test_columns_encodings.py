"""Encodings: slots say exactly what the values are, keep their bounds, and are zero elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from columns_support import make_table, quick
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from amaters.base.errors import InternalError
from amaters.columns import declare
from amaters.columns.convert import null_filler, storage_dtype
from amaters.columns.dictionary import Dictionary
from amaters.columns.encodings import LimbsEncoding, domain_width, limb_weights
from amaters.columns.schema import Column

SLOTS = 32
INTEGERS = {
    f"{prefix}{bits}": getattr(declare, f"{prefix}{bits}")
    for prefix in ("Int", "UInt")
    for bits in (8, 16, 32, 64)
}
NUMBERS: dict[str, Any] = {**INTEGERS, "Date": declare.Date, "Boolean": declare.Boolean}
NUMBERS["Decimal"] = lambda **options: declare.Decimal(18, 6, **options)


def column_of(declaration: declare.Declaration) -> Column:
    return make_table({"id": declare.Int64(primary_key=True), "c": declaration}).column("c")


def encode(
    column: Column, values: list[Any]
) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.int64]]:
    """Slots by kind of encoding, and the positions used (every third slot from 1 on)."""
    positions = np.arange(1, 1 + 3 * len(values), 3)
    filler = null_filler(column.type)
    data = np.array([filler if v is None else v for v in values], dtype=storage_dtype(column.type))
    valid = np.array([v is not None for v in values], dtype=bool)
    slots = column.encode(data, valid, slots=SLOTS, positions=positions)
    shapes = column.encodings
    for shape, matrix in zip(shapes, slots, strict=True):
        assert matrix.shape == (shape.slices, SLOTS)
        assert matrix.dtype == np.int64
        bounds = np.array(shape.bounds)
        assert (matrix >= bounds[:, :1]).all() and (matrix <= bounds[:, 1:]).all()
        empty = np.setdiff1d(np.arange(SLOTS), positions[valid])
        assert not matrix[:, empty].any(), "NULL and empty slots are zero"
    return {s.kind: m for s, m in zip(shapes, slots, strict=True)}, positions


def value_of_digits(column: Column, indicators: NDArray[np.int64]) -> int:
    """The domain value that one slot's indicators stand for."""
    digits = column.width // 2
    total = 0
    for digit in range(digits):
        stored = indicators[3 * digit : 3 * digit + (4 if digit == digits - 1 else 3)]
        assert stored.sum() == 1 or (digit < digits - 1 and stored.sum() == 0)
        total += (int(np.argmax(stored)) if stored.any() else 3) << (2 * digit)
    return total


def values_between(low: int, high: int) -> st.SearchStrategy[Any]:
    extremes = st.sampled_from([low, high, (low + high) // 2, None])
    return st.lists(extremes | st.integers(low, high), max_size=10)


@pytest.mark.parametrize("name", NUMBERS)
def test_digits_are_the_value(name: str) -> None:
    """Every value of every type, extremes included, is read back from its digit indicators."""
    column = column_of(NUMBERS[name](encrypt=["eq", "range"], nullable=True))

    @quick
    @given(values_between(*column.bounds))
    def check(values: list[Any]) -> None:
        slots, positions = encode(column, values)
        for value, position in zip(values, positions, strict=True):
            here = slots["digits"][:, position]
            assert here[-4:].sum() == (value is not None), "the top indicators say NOT NULL"
            if value is not None:
                assert value_of_digits(column, here) + column.bounds[0] == value

    check()


@pytest.mark.parametrize("name", [name for name in NUMBERS if name not in ("Date", "Boolean")])
def test_limbs_add_up(name: str) -> None:
    """Limb totals over all slots give the exact sum of the values that are not NULL."""
    column = column_of(NUMBERS[name](encrypt=["sum"], nullable=True))

    @quick
    @given(values_between(*column.bounds))
    def check(values: list[Any]) -> None:
        slots, _ = encode(column, values)
        totals = slots["limbs"].sum(axis=1).tolist()
        expected = sum(v for v in values if v is not None)
        assert LimbsEncoding.decode_sum(totals) == expected
        weights = limb_weights(len(totals))
        assert sum(w * x for w, x in zip(weights, totals, strict=True)) == expected
        assert slots["notnull"].sum() == sum(v is not None for v in values)

    check()


@quick
@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**63), st.sampled_from([8, 8, 6, 4, 2]))
def test_limb_bounds_are_tight(low: int, span: int, bits: int) -> None:
    """No limb passes its bound, the top bounds are reached, and 256 segments fit an accumulator."""
    high = min(low + span, 2**63 - 1)
    encoding = LimbsEncoding(low, high, bits)
    shape = encoding.shape
    assert shape.slices <= 64 // bits + 1
    data = np.array([low, high], dtype=np.int64)
    slots = encoding.encode(data, np.ones(2, dtype=bool), 2, np.arange(2))
    top_low, top_high = shape.bounds[-1]
    assert top_low == min(0, slots[-1, 0]) and top_high == max(0, slots[-1, 1])
    assert all(b - a <= 1 << bits for a, b in shape.bounds)
    weighed = [sum(int(limb) << (bits * i) for i, limb in enumerate(row)) for row in slots.T]
    assert weighed == [low, high]


@quick
@given(st.lists(st.sampled_from(["A", "B", "C", None]), max_size=10))
def test_one_hot_of_text(values: list[Any]) -> None:
    """Each row sets the slice of its category, and the sum of all slices is NOT NULL."""
    column = column_of(declare.Enum("ABC", encrypt=["group"], nullable=True))
    slots, positions = encode(column, values)
    for value, position in zip(values, positions, strict=True):
        assert slots["onehot"][:, position].tolist() == [int(value == c) for c in "ABC"]


def test_one_hot_of_numbers() -> None:
    """Numbers with VALUES go by the order of VALUES, BOOLEAN by FALSE, TRUE."""
    column = column_of(declare.Int16(encrypt=["group"], values=[30, -10, 20]))
    slots, positions = encode(column, [20, 30, -10])
    assert slots["onehot"][:, positions].T.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    flags = column_of(declare.Boolean(encrypt=["group"]))
    slots, positions = encode(flags, [1, 0])
    assert slots["onehot"][:, positions].T.tolist() == [[0, 1], [1, 0]]


def test_dictionary_text_has_codes() -> None:
    """eq TEXT stores 16-bit dictionary codes; the encoder refuses a value without one."""
    plain = column_of(declare.Text(encrypt=["eq"], nullable=True))
    dictionary = Dictionary(()).extended(["x", "y", "x", "é"], column="c")
    assert dictionary.values == ("x", "y", "é")
    table = make_table({"id": declare.Int64(primary_key=True), "c": declare.Text(encrypt=["eq"])})
    column = table.with_dictionaries({2: dictionary}).column("c")
    assert plain.width == 16
    slots, positions = encode(column, ["é", "x"])
    found = [value_of_digits(column, slots["digits"][:, p]) for p in positions]
    assert found == [2, 0]
    with pytest.raises(InternalError):
        encode(column, ["unknown"])


def test_public_shape_per_capability() -> None:
    """Which encodings a declaration gets: capabilities share one, NOT NULL only where needed."""
    cases = [
        (declare.UInt8(max=120, encrypt=["eq", "range"], nullable=True), ["digits"]),
        (declare.Int32(encrypt=["range", "sum"], nullable=True), ["digits", "limbs"]),
        (declare.Int32(encrypt=["sum"]), ["limbs"]),
        (declare.Int32(encrypt=["sum"], nullable=True), ["limbs", "notnull"]),
        (declare.Boolean(encrypt=["eq", "group"]), ["digits", "onehot"]),
        (declare.Text(encrypt=[]), []),
        (declare.Text(encrypt=[], nullable=True), ["notnull"]),
        (declare.Text(nullable=True), []),
    ]
    for declaration, kinds in cases:
        assert [shape.kind for shape in column_of(declaration).encodings] == kinds
    shape = column_of(declare.Int32(encrypt=["eq"])).encodings[0]
    assert (shape.slices, shape.bits, shape.digits) == (49, 32, 16)
    assert column_of(declare.Boolean(encrypt=["eq"])).encodings[0].slices == 4


@pytest.mark.parametrize(
    ("low", "high", "width"),
    [(0, 0, 2), (0, 3, 2), (0, 4, 4), (-1, 255, 10), (0, 255, 8), (-(2**63), 2**63 - 1, 64)],
)
def test_widths(low: int, high: int, width: int) -> None:
    """Domains are as narrow as whole digits allow."""
    assert domain_width(low, high) == width
