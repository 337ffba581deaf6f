"""Batches: every way in gives the same storage values; a row that does not fit is named."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from columns_support import as_text, full_row, full_table, make_table, python_values, quick
from hypothesis import given
from hypothesis import strategies as st

from amaters.base.errors import AmatersError, InvalidError
from amaters.columns import batch as batches
from amaters.columns import declare as am
from amaters.columns.batch import ColumnBatch, ColumnValues
from amaters.columns.types import to_storage

TABLE = full_table()
NAMES = [column.name for column in TABLE.columns]
ROWS = [full_row(number) for number in range(200)]
KEY = am.Int64(primary_key=True)


def dictionaries() -> list[dict[str, Any]]:
    return [dict(zip(NAMES, row, strict=True)) for row in ROWS]


def test_rows_come_back() -> None:
    """Rows in, rows out, for every type and NULL."""
    assert ColumnBatch.from_rows(TABLE, ROWS).rows(TABLE.columns) == ROWS


@pytest.mark.parametrize("way", ["dicts", "columns", "polars", "pandas", "arrow", "text", "any"])
def test_every_way_in_is_the_same(way: str) -> None:
    """Dictionaries, columns, Polars, pandas, Arrow and CSV cells give the batch that rows give."""
    frame = pl.DataFrame(dictionaries(), schema_overrides={"big": pl.UInt64})
    columns = {
        name: list(cells) for name, cells in zip(NAMES, zip(*ROWS, strict=True), strict=True)
    }
    sources: dict[str, Any] = {
        "dicts": dictionaries(),
        "columns": columns,
        "polars": frame,
        "pandas": pd.DataFrame(columns).astype({"open": "Int64", "salary": "Int64"}),
        "arrow": pa.table(frame),
        "any": (row for row in ROWS),
    }
    if way == "text":
        cells = [[None if v is None else as_text(v) for v in cells] for cells in columns.values()]
        batch = ColumnBatch.from_text(TABLE, NAMES, cells)
    else:
        batch = ColumnBatch.from_any(TABLE, sources[way])
    assert batch.rows(TABLE.columns) == ROWS
    for column in TABLE.columns:
        assert batch.columns[column.id].values.dtype == batches.storage_dtype(column.type)


def test_missing_columns_are_null() -> None:
    """A column nobody gives is NULL if it may be; the hidden rowid stays out."""
    table = make_table({"a": am.Int8(), "b": am.Int8(nullable=True)})
    batch = ColumnBatch.from_rows(table, [{"a": 1}, {"b": 2, "a": 3}])
    assert batch.rows(table.visible_columns) == [(1, None), (3, 2)]
    assert table.primary_key.id not in batch.columns
    assert ColumnBatch.from_rows(table, [(5,)], ["A"]).rows(table.visible_columns) == [(5, None)]
    assert len(ColumnBatch.from_rows(table, [])) == 0


ONE = {"id": KEY, "x": am.UInt8(max=120, encrypt=["range"]), "t": am.Enum("AB", encrypt=["group"])}
GOOD = {"id": 1, "x": 2, "t": "A"}
BAD: list[tuple[Any, str, str]] = [
    ([GOOD, {**GOOD, "y": 1}], "AM-2001", "y"),
    ([GOOD, {**GOOD, "x": "119"}], "AM-2002", "row 2, column one.x"),
    ([GOOD, {**GOOD, "x": 121}], "AM-2003", "row 2, column one.x"),
    ([GOOD, {**GOOD, "x": 1 << 70}], "AM-2003", "row 2, column one.x"),
    ([GOOD, {**GOOD, "x": None}], "AM-2004", "row 2, column one.x"),
    ([GOOD, {"id": 7, "t": "A"}], "AM-2004", "row 2, column one.x"),
    ([GOOD, {**GOOD, "x": Decimal("1.5")}], "AM-2005", "row 2, column one.x"),
    ([GOOD, {**GOOD, "t": "Q"}], "AM-2006", "row 2, column one.t"),
    ([(1, 2, "A"), (1, 2)], "AM-2007", "row 2"),
    ([GOOD, {**GOOD, "t": "\ud800"}], "AM-2008", "row 2, column one.t"),
    ([{**GOOD, "X": 5}], "AM-2009", "one.x"),
    ({"id": [1], "x": [2, 3]}, "AM-2010", "x"),
    ("a,b", "AM-2011", "str"),
    (17, "AM-2011", "int"),
    ([GOOD, 5], "AM-2002", "row 2"),
    ([(1, 2, "A"), 5], "AM-2002", "row 2"),
]


@pytest.mark.parametrize(("source", "code", "where"), BAD, ids=[code for _, code, _ in BAD])
def test_bad_rows(source: Any, code: str, where: str) -> None:
    """A bad batch names code, row and column, and never the value of an encrypted column."""
    with pytest.raises(InvalidError) as caught:
        ColumnBatch.from_any(make_table(ONE, "one"), source)
    assert caught.value.code == code
    assert where in str(caught.value)
    for secret in ("119", "121", "1.5", "Q"):
        assert secret not in str(caught.value)


def test_bad_arrow_values_are_named_too() -> None:
    """The vectorised Arrow path refuses like the row path."""
    table = make_table(ONE, "one")
    for values in ([5, 121], [5, 300], [5, -1], [5, None]):
        source = pa.table({"id": [1, 2], "x": values, "t": ["A", "B"]})
        with pytest.raises(InvalidError, match=r"row 2, column one\.x"):
            ColumnBatch.from_any(table, source)
    with pytest.raises(InvalidError, match="AM-2002"):
        ColumnBatch.from_any(table, pa.table({"id": [1], "x": ["2"], "t": ["A"]}))


@pytest.mark.parametrize("name", ["Int8", "Int64", "UInt64", "Date", "Boolean", "Text", "Decimal"])
def test_columns_agree_with_cells(name: str) -> None:
    """A column converted at once equals its cells converted one by one, NULLs included."""
    declaration = am.Decimal(18, 5, nullable=True) if name == "Decimal" else None
    table = make_table({"id": KEY, "c": declaration or getattr(am, name)(nullable=True)})
    column = table.column("c")

    @quick
    @given(st.lists(st.none() | python_values(column.type), max_size=12))
    def check(values: list[Any]) -> None:
        keys = list(range(len(values)))
        batch = ColumnBatch.from_columns(table, {"id": keys, "c": values})
        made = batch.columns[column.id]
        expected = [to_storage(column.type, value) for value in values]
        found = [v if ok else None for v, ok in zip(made.values.tolist(), made.valid, strict=True)]
        assert found == expected
        assert batches.to_python(column.type, made) == values

    check()


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.binary(max_size=3), st.dates(), st.datetimes(), st.decimals(),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip


@quick
@given(st.lists(st.fixed_dictionaries({"id": JUNK, "x": JUNK, "t": JUNK}), max_size=3) | JUNK)
def test_junk_is_refused_or_valid(source: Any) -> None:
    """Whatever is inserted either fits its bounds or is a typed error."""
    table = make_table(ONE, "one")
    try:
        batch = ColumnBatch.from_any(table, source)
    except AmatersError:
        return
    for row in batch.rows(table.columns):
        assert isinstance(row[0], int) and 0 <= row[1] <= 120 and row[2] in "AB"


def test_numpy_columns() -> None:
    """NumPy arrays go in at their own types, checked against the column's."""
    table = make_table({"id": KEY, "c": am.UInt64(), "d": am.Decimal(6, 2), "b": am.Boolean()})
    data: dict[str, Any] = {
        "id": np.array([1, 2], dtype=np.int32),
        "c": np.array([0, 2**64 - 1], dtype=np.uint64),
        "d": np.array([1, -2], dtype=np.int8),
        "b": np.array([True, False]),
    }
    batch = ColumnBatch.from_columns(table, data)
    expected = [(1, 0, Decimal(1), True), (2, 2**64 - 1, Decimal(-2), False)]
    assert batch.rows(table.columns) == expected
    for name, wrong in (("id", data["b"]), ("b", data["id"]), ("c", np.array([-1, 1]))):
        with pytest.raises(InvalidError):
            ColumnBatch.from_columns(table, {**data, name: wrong})


def test_selection_and_concatenation() -> None:
    """take, slice, select and concatenate keep rows and lengths."""
    batch = ColumnBatch.from_rows(TABLE, ROWS)
    assert batch.slice(10, 20).rows(TABLE.columns) == ROWS[10:20]
    assert batch.slice(190, 999).length == 10
    assert batch.take(np.array([5, 3])).rows(TABLE.columns) == [ROWS[5], ROWS[3]]
    odd = np.arange(200) % 2 == 1
    assert batch.take(odd).rows(TABLE.columns) == ROWS[1::2]
    joined = batches.concatenate([batch.slice(0, 50), batch.slice(50, 200)])
    assert joined.rows(TABLE.columns) == ROWS
    assert set(batch.select([1, 3]).columns) == {1, 3}
    assert batches.empty(TABLE.columns).rows(TABLE.columns) == []
    wrong = ColumnValues(np.zeros(3, dtype=np.int64), np.ones(3, dtype=bool))
    with pytest.raises(InvalidError, match="AM-2010"):
        batch.with_column(TABLE.column("open"), wrong)


def test_dates_reach_the_ends() -> None:
    """The first and the last day of the calendar are stored and come back."""
    table = make_table({"id": KEY, "d": am.Date()})
    days = [datetime.date.min, datetime.date.max]
    source = pa.table({"id": [1, 2], "d": days})
    for way in (source, {"id": [1, 2], "d": days}):
        batch = ColumnBatch.from_any(table, way)
        assert [row[1] for row in batch.rows(table.columns)] == days
