"""Types: storage values are exact and reversible, everything else is a typed error."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from columns_support import as_text, python_values, thorough
from hypothesis import given
from hypothesis import strategies as st

from amaters.base.errors import InvalidError
from amaters.columns import blobs, declare, types
from amaters.columns.types import SqlType, Storage, from_storage, from_text, to_storage

ALL = [
    *(types.integer(bits, signed) for bits in (8, 16, 32, 64) for signed in (True, False)),
    types.decimal_type(1, 0),
    types.decimal_type(9, 9),
    types.decimal_type(18, 4),
    types.DATE,
    types.BOOLEAN,
    types.TEXT,
    types.TIMESTAMP,
    types.BLOB,
]
REFUSED: list[tuple[SqlType, object, str]] = [
    (types.integer(8), 128, "AM-2003"),
    (types.integer(8), -129, "AM-2003"),
    (types.integer(64, signed=False), -1, "AM-2003"),
    (types.integer(64, signed=False), 1 << 64, "AM-2003"),
    (types.integer(32), True, "AM-2002"),
    (types.integer(32), np.bool_(True), "AM-2002"),
    (types.integer(32), "1", "AM-2002"),
    (types.integer(32), 1.5, "AM-2002"),
    (types.integer(32), Decimal("1.5"), "AM-2005"),
    (types.integer(32), float("nan"), "AM-2002"),
    (types.decimal_type(4, 2), Decimal("100"), "AM-2003"),
    (types.decimal_type(4, 2), Decimal("0.001"), "AM-2005"),
    (types.decimal_type(4, 2), Decimal("1e99999999"), "AM-2003"),
    (types.decimal_type(4, 2), Decimal("1e-99999999"), "AM-2005"),
    (types.decimal_type(4, 2), Decimal("NaN"), "AM-2002"),
    (types.decimal_type(4, 2), float("inf"), "AM-2002"),
    (types.decimal_type(4, 2), True, "AM-2002"),
    (types.DATE, datetime.datetime(2020, 1, 1, 1), "AM-2002"),
    (types.DATE, "2020-02-30", "AM-2002"),
    (types.DATE, "20200101", "AM-2002"),
    (types.DATE, 7, "AM-2002"),
    (types.BOOLEAN, 1, "AM-2002"),
    (types.TEXT, b"bytes", "AM-2002"),
    (types.TIMESTAMP, datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), "AM-2002"),
    (types.TIMESTAMP, "2020-01-01 01:02:03.1234567", "AM-2002"),
    (types.TIMESTAMP, "2020-01-01 01:02:03+01", "AM-2002"),
    (types.TIMESTAMP, "2020-01-01 25:00", "AM-2002"),
    (types.TIMESTAMP, "2020-01-01 10", "AM-2002"),
    (types.TIMESTAMP, 7, "AM-2002"),
    (types.BLOB, "caf\u00e9", "AM-2002"),
    (types.BLOB, "\\xZZ", "AM-2002"),
    (types.BLOB, 7, "AM-2002"),
    (types.BLOB, bytes(blobs.BYTES_MAX + 1), "AM-2070"),
    (types.TEXT, "\ud800", "AM-2008"),
    (types.TEXT, "x" * (types.TEXT_BYTES_MAX + 1), "AM-2008"),
]
LENIENT: list[tuple[SqlType, object, Storage]] = [
    (types.integer(16), np.int64(-7), -7),
    (types.integer(16), 5.0, 5),
    (types.integer(16), Decimal("12.00"), 12),
    (types.decimal_type(6, 2), 0.1, 10),
    (types.decimal_type(6, 2), 7, 700),
    (types.decimal_type(6, 2), np.float64(-1.25), -125),
    (types.DATE, "1970-01-02", 1),
    (types.DATE, datetime.date(1969, 12, 31), -1),
    (types.BOOLEAN, np.bool_(True), 1),
    (types.DATE, datetime.datetime(1970, 1, 3), 2),
    (types.TIMESTAMP, datetime.date(1970, 1, 2), 86_400_000_000),
    (types.TIMESTAMP, "1970-01-01T0:0:1.5", 1_500_000),
    (types.TIMESTAMP, " 1969-12-31  23:59 ", -60_000_000),
    (types.TIMESTAMP, "1970-01-01 00:00:00.000001000", 1),
    (types.BLOB, "a\\xAa", "a\xaa"),
    (types.BLOB, bytearray(b"\x00\xff"), "\x00\xff"),
]


@pytest.mark.parametrize("type_", ALL, ids=lambda t: t.sql_name)
def test_round_trip(type_: SqlType) -> None:
    """from_storage inverts to_storage, in value and in Python type, for every type."""

    @thorough
    @given(python_values(type_))
    def check(value: Any) -> None:
        stored = to_storage(type_, value)
        back = from_storage(type_, stored)
        assert back == value
        assert type(back) is type(value)

    check()
    assert to_storage(type_, None) is None
    assert from_storage(type_, None) is None


@pytest.mark.parametrize("type_", ALL, ids=lambda t: t.sql_name)
def test_text_round_trip(type_: SqlType) -> None:
    """A value written as text is read back as the same storage value."""

    @thorough
    @given(python_values(type_))
    def check(value: Any) -> None:
        assert from_text(type_, as_text(value)) == to_storage(type_, value)

    check()


@pytest.mark.parametrize(("type_", "value", "code"), REFUSED)
def test_refusals(type_: SqlType, value: object, code: str) -> None:
    """What does not fit is refused with its own code, and no message repeats the value."""
    with pytest.raises(InvalidError) as caught:
        to_storage(type_, value, where="row 3, column t.c")
    assert caught.value.code == code
    assert "row 3, column t.c" in str(caught.value)
    assert not isinstance(value, str) or value not in str(caught.value)


@pytest.mark.parametrize(("type_", "value", "stored"), LENIENT)
def test_exact_conversions(type_: SqlType, value: object, stored: Storage) -> None:
    """Values of a neighbouring Python type are accepted when nothing is lost."""
    assert to_storage(type_, value) == stored


@pytest.mark.parametrize("type_", [t for t in ALL if not t.is_text])
def test_limits_are_the_types_own(type_: SqlType) -> None:
    """The limits convert, one step beyond them does not (by text, which every type has)."""
    for limit in (type_.minimum, type_.maximum):
        assert to_storage(type_, from_storage(type_, limit)) == limit
    if type_.is_numeric:
        for beyond in (type_.minimum - 1, type_.maximum + 1):
            with pytest.raises(InvalidError):
                from_text(type_, str(Decimal(beyond).scaleb(-type_.scale)))


@thorough
@given(st.sampled_from(ALL), st.text(max_size=30))
def test_any_text_is_a_value_or_a_typed_error(type_: SqlType, text: str) -> None:
    """The text parser accepts or refuses; it never fails otherwise, nor passes its limits."""
    try:
        stored = from_text(type_, text)
    except InvalidError:
        return
    if isinstance(stored, int):
        assert type_.minimum <= stored <= type_.maximum


@pytest.mark.parametrize("bits", [0, 7, 128])
def test_impossible_types(bits: int) -> None:
    """Widths and precisions that are not stored are refused when the type is made."""
    with pytest.raises(InvalidError, match="AM-2029"):
        types.integer(bits)
    with pytest.raises(InvalidError, match="AM-2029"):
        types.decimal_type(19, 2)
    with pytest.raises(InvalidError, match="AM-2029"):
        types.decimal_type(2, 3)


def test_widths_in_the_documentation() -> None:
    """What docs/types.md says about bits of encrypted dates and timestamps."""
    eleven: dict[str, Any] = {"min": datetime.date(2020, 1, 1), "max": datetime.date(2031, 1, 1)}
    declared = [
        declare.Timestamp(encrypt=["range"]),
        declare.Timestamp(encrypt=["range"], **eleven),
        declare.Date(encrypt=["range"]),
        declare.Date(encrypt=["range"], **eleven),
    ]
    columns = [declare.build_column("c", declaration, 1) for declaration in declared]
    assert [column.width for column in columns] == [60, 50, 22, 12]
