"""Declarations: what PRODUCT shows is accepted, what cannot work is refused with its own code."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from columns_support import full_table, make_table

from amaters.base.errors import InvalidError
from amaters.columns import declare as am
from amaters.columns.dictionary import DICTIONARY_BYTES_MAX, DICTIONARY_VALUES_MAX, Dictionary

KEY = am.Int64(primary_key=True)
REFUSED: list[tuple[dict[str, am.Declaration], str]] = [
    ({}, "AM-2033"),
    ({"": KEY}, "AM-2020"),
    ({" x": KEY}, "AM-2020"),
    ({"x\n": KEY}, "AM-2020"),
    ({"x" * 129: KEY}, "AM-2020"),
    ({"id": KEY, "ID": am.Text()}, "AM-2021"),
    ({"id": am.Int64(primary_key=True, encrypt=["eq"])}, "AM-2022"),
    ({"a": KEY, "b": am.Text(primary_key=True)}, "AM-2023"),
    ({"a": am.Text(encrypt=["sum"])}, "AM-2024"),
    ({"a": am.Date(encrypt=["sum"])}, "AM-2024"),
    ({"a": am.Boolean(encrypt=["sum"])}, "AM-2024"),
    ({"a": am.Text(encrypt=["range"])}, "AM-2024"),
    ({"a": am.Text(encrypt=["group"])}, "AM-2025"),
    ({"a": am.Int8(encrypt=["group"])}, "AM-2025"),
    ({"a": am.Int8(min=3, max=2, encrypt=[])}, "AM-2026"),
    ({"a": am.Int8(max=128, encrypt=["range"])}, "AM-2027"),
    ({"a": am.Decimal(4, 1, max=Decimal("0.25"), encrypt=["range"])}, "AM-2027"),
    ({"a": am.Text(max="z", encrypt=["eq"])}, "AM-2027"),
    ({"a": am.Enum(["x", 5], encrypt=["group"])}, "AM-2027"),
    ({"a": am.Int8(values=[1, None], encrypt=["group"])}, "AM-2027"),
    ({"a": am.Int8(values=[1, 9], max=5, encrypt=["group"])}, "AM-2027"),
    ({"a": am.Int8(encrypt=["equal"])}, "AM-2028"),
    ({"a": am.Enum(["x", "x"], encrypt=["group"])}, "AM-2030"),
    ({"a": am.Int32(values=range(am.CATEGORIES_MAX + 1), encrypt=["group"])}, "AM-2030"),
    ({"a": am.Int8(index=True, encrypt=["eq"])}, "AM-2031"),
    ({"a": am.Int8(primary_key=True, nullable=True)}, "AM-2032"),
    ({"a": am.Boolean(primary_key=True)}, "AM-2032"),
    ({f"c{n}": am.Int8() for n in range(am.COLUMNS_MAX + 1)}, "AM-2033"),
    ({"rowid": am.Int8()}, "AM-2034"),
]


@pytest.mark.parametrize(("columns", "code"), REFUSED, ids=[code for _, code in REFUSED])
def test_refusals(columns: dict[str, Any], code: str) -> None:
    """Each impossible declaration has its own code and says how to repair it."""
    with pytest.raises(InvalidError) as caught:
        make_table(columns)
    assert caught.value.code == code
    assert caught.value.fix


def test_the_products_example() -> None:
    """The table of PRODUCT, column by column."""
    table = full_table()
    assert table.primary_key.name == "id"
    assert [c.name for c in table.public_columns] == ["id", "dept", "open", "made", "hash"]
    assert table.column("age").width == 8
    assert table.column("AGE") is table.column("age") is table.column(3)
    assert table.column("salary").bounds == (0, 1_000_000)
    assert table.column("grade").categories == ("A", "B", "C")
    assert table.column("notes").queries == frozenset()
    assert table.column("flag").categories == (0, 1)
    assert table.column("big").bounds == (0, 2**64 - 1)
    assert table.column("rate").bounds == (-(10**10) + 1, 10**10 - 1)
    with pytest.raises(InvalidError, match="did you mean salary"):
        table.column("salry")
    with pytest.raises(InvalidError, match="AM-2001"):
        table.column(99)


def test_rowid_is_added_and_hidden() -> None:
    """Without a primary key there is a public BIGINT rowid that SELECT * does not show."""
    table = make_table({"a": am.Int8(encrypt=["eq"])})
    key = table.primary_key
    assert (key.name, key.type.sql_name, key.encrypted, key.hidden) == (
        "rowid", "BIGINT", False, True,
    )  # fmt: skip
    assert [c.name for c in table.visible_columns] == ["a"]
    declared = make_table({"rowid": am.Int32(primary_key=True), "a": am.Int8()})
    assert [c.name for c in declared.visible_columns] == ["rowid", "a"]


def test_public_view_has_no_secrets() -> None:
    """What the server gets has no bounds, categories or dictionary anywhere in its fields."""
    table = full_table().with_dictionaries({7: Dictionary(("Paris",))})
    text = repr(table.public())
    for secret in ("1000000", "'B'", "Paris", "120"):
        assert secret in repr(table)
        assert secret not in text
    assert table.public().column("age").encodings == table.column("age").encodings
    assert [c.name for c in table.public().encrypted_columns] == [
        c.name for c in table.encrypted_columns
    ]


def test_values_give_bounds() -> None:
    """Numbers with VALUES and no MIN and MAX get the narrowest domain that holds them."""
    table = make_table({"a": am.Int32(values=[7, 5, 6], encrypt=["eq", "group", "sum"])})
    assert table.column("a").bounds == (5, 7)
    assert table.column("a").width == 2


def test_dictionary_limits() -> None:
    """A dictionary refuses the 65,537th value and too much text, and never changes in place."""
    full = Dictionary(tuple(map(str, range(DICTIONARY_VALUES_MAX))))
    assert full.extended(["0", "17"], column="c") is full
    with pytest.raises(InvalidError, match="65536 different values"):
        full.extended(["new"], column="c")
    long = "x" * (DICTIONARY_BYTES_MAX // 2)
    one = Dictionary((long,))
    with pytest.raises(InvalidError, match="AM-2013"):
        one.extended([long + "y", "z"], column="c")
    assert one.values == (long,)
    assert one.code("absent") is None
