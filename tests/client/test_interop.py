"""Rows in from every library, answers out to every library, exactly; also streamed."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from decimal import Context, Decimal
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import amaters as am
from amaters.client.sync import Database, Table

COLUMNS = {
    "id": am.Int64(primary_key=True),
    "small": am.Int8(encrypt=["range"], nullable=True),
    "big": am.UInt64(nullable=True),
    "secret": am.UInt64(encrypt=["eq"], nullable=True),
    "price": am.Decimal(12, 2, encrypt=["sum"], nullable=True),
    "born": am.Date(encrypt=["range"], nullable=True),
    "seen": am.Timestamp(nullable=True),
    "flag": am.Boolean(encrypt=["eq"], nullable=True),
    "name": am.Text(encrypt=[], nullable=True),
    "raw": am.Blob(nullable=True),
}
SEEN = datetime.datetime(2001, 2, 3, 4, 5, 6, 789)
BORN = datetime.date(1980, 1, 2)
ROWS: list[tuple[Any, ...]] = [
    (1, -128, 2**64 - 1, 2**64 - 1, Decimal("-9999999999.99"), BORN, SEEN, True, "Ōsaka", b"\x00"),
    (2, None, None, None, None, None, None, None, None, None),
    (3, 127, 0, 0, Decimal("0.05"), datetime.date(1900, 1, 1), SEEN, False, "", b""),
]
SCHEMA = pa.schema(
    [
        ("id", pa.int64()), ("small", pa.int8()), ("big", pa.uint64()), ("secret", pa.uint64()),
        ("price", pa.decimal128(12, 2)), ("born", pa.date32()), ("seen", pa.timestamp("us")),
        ("flag", pa.bool_()), ("name", pa.string()), ("raw", pa.binary()),
    ]
)  # fmt: skip


def arrow() -> pa.Table:
    columns = [
        pa.array(values, type=f.type)
        for values, f in zip(zip(*ROWS, strict=True), SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def relation() -> Any:
    connection = duckdb.connect()
    connection.register("source", arrow())
    return connection.sql("SELECT * FROM source")


SOURCES: dict[str, Callable[[], object]] = {
    "tuples": lambda: ROWS,
    "a generator": lambda: iter(ROWS),
    "dictionaries": lambda: [dict(zip(COLUMNS, row, strict=True)) for row in ROWS],
    "columns": lambda: dict(zip(COLUMNS, map(list, zip(*ROWS, strict=True)), strict=True)),
    "pyarrow.Table": arrow,
    "RecordBatchReader": lambda: arrow().to_reader(1),
    "Polars": lambda: pl.DataFrame(arrow()),
    "pandas with Arrow types": lambda: arrow().to_pandas(types_mapper=pd.ArrowDtype),
    "DuckDB": relation,
}


@pytest.fixture
def db() -> Iterator[Database]:
    with am.connect(":memory:", unsafe_scheme="noop", unsafe_parameters="insecure_n1024") as opened:
        yield opened


@pytest.fixture
def table(db: Database) -> Table:
    made = db.create_table("t", COLUMNS)
    made.insert(arrow())
    return made


@pytest.mark.parametrize("source", SOURCES)
def test_rows_come_from_anything(db: Database, source: str) -> None:
    """Every type, its limits, and NULL."""
    made = db.create_table("t", COLUMNS)
    assert made.insert(SOURCES[source]()) == 3
    assert made.range().rows() == ROWS
    made.upsert(SOURCES[source]())
    assert made.range().rows() == ROWS


def test_plain_pandas_makes_floats_of_integers_with_nulls(db: Database) -> None:
    """NaN is NULL; whole floats are integers."""
    made = db.create_table("t", {"id": am.Int64(primary_key=True), "a": am.Int8(nullable=True)})
    made.insert(pd.DataFrame({"id": [1, 2], "a": [5, None]}))
    assert made.range().rows() == [(1, 5), (2, None)]
    with pytest.raises(am.InvalidError, match="AM-2002"):
        made.insert(pd.DataFrame({"id": [3], "a": [1.5]}))


def test_answers_go_to_anything(table: Table) -> None:
    """Arrow types are the narrow ones; rows come back as they were."""
    answer = table.range().collect()
    assert answer.arrow() == arrow()
    assert answer.arrow().schema == SCHEMA
    assert pa.table(answer) == arrow()
    assert answer.polars().rows() == ROWS
    assert pl.DataFrame(answer).equals(answer.polars())
    assert answer.pandas()["price"].tolist()[0] == ROWS[0][4]
    assert answer.rows() == ROWS
    assert answer.dicts()[2] == dict(zip(COLUMNS, ROWS[2], strict=True))
    result = answer  # DuckDB finds the variable by its name
    assert duckdb.sql("SELECT * FROM result ORDER BY id").fetchall() == ROWS
    whole = result.arrow()
    assert duckdb.sql("SELECT max(big) FROM whole").fetchall() == [(2**64 - 1,)]
    assert len(whole) == 3


def test_a_query_is_an_arrow_stream_itself(table: Table) -> None:
    """Nothing is collected in between: pyarrow, Polars and DuckDB read the query."""
    query = table.select("id", "small")
    assert pa.table(query).column("id").to_pylist() == [1, 2, 3]
    assert pl.DataFrame(query).height == 3
    assert duckdb.sql("SELECT count(*) FROM query").fetchall() == [(3,)]
    total = table.agg(am.sum("price"))
    assert pa.table(total).column(0).to_pylist() == [Decimal("-9999999999.94")]
    empty = table.filter(am.col("id") > 9)
    assert pa.table(empty).schema == SCHEMA


def test_round_trip_through_a_second_database(table: Table) -> None:
    """An answer is a source."""
    with am.connect(":memory:", unsafe_scheme="noop") as other:
        copy = other.create_table("copy", COLUMNS)
        assert copy.insert(table.query().reader()) == 3
        assert copy.range().rows() == ROWS


def test_totals_of_more_than_38_digits_stay_exact() -> None:
    """Arrow's wider decimals take over."""
    large = 10**38 + 7
    for value in (large, -large):
        result = am.Result(("x",), ("HUGEINT",), ([value, None, 3],))
        assert result.arrow().column("x").to_pylist() == [Decimal(value), None, Decimal(3)]
    cents = Decimal(large).scaleb(-2, Context(prec=60))
    result = am.Result(("x",), ("DECIMAL(38,2)",), ([cents],))
    assert result.arrow().column("x").to_pylist() == [cents]
    assert am.Result(("x",), ("HUGEINT",), ([3],)).arrow().schema.field("x").type == (
        pa.decimal128(38, 0)
    )
