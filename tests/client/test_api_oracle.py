"""Questions of the Python API, answered by us and, as the SQL they become, by DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
import pytest

import amaters as am
from amaters.client.lowering import to_sql
from amaters.client.sync import Database, Query, Table

ROWS = [
    (
        n,
        "xyz"[n % 3],
        n * 7 % 101,
        None if n % 5 == 0 else n * 37 % 1000 - 200,
        Decimal(n * 13 % 997) / 100,
        ("A", "B", None)[n % 3],
        date(1990 + n % 20, 1 + n % 12, 1 + n % 28),
        n % 4 == 0,
    )
    for n in range(1400)
]
DDL = """CREATE TABLE t (id BIGINT, g VARCHAR, a UTINYINT, s INTEGER, p DECIMAL(9,2), k VARCHAR,
  d DATE, f BOOLEAN)"""
COLUMNS = {
    "id": am.Int64(primary_key=True),
    "g": am.Text(),
    "a": am.UInt8(max=100, encrypt=["range", "eq"]),
    "s": am.Int32(min=-1000, max=1000, encrypt=["range", "sum"], nullable=True),
    "p": am.Decimal(9, 2, min=0, max=10, encrypt=["sum"]),
    "k": am.Enum(["A", "B"], encrypt=["group"], nullable=True),
    "d": am.Date(min=date(1990, 1, 1), max=date(2010, 1, 1), encrypt=["range"]),
    "f": am.Boolean(encrypt=["eq"]),
}
A, S, P, G, F = (am.col(name) for name in "aspgf")
ID = am.col("id")


@pytest.fixture(scope="module", params=["noop", None], ids=["noop", "real"])
def db(request: pytest.FixtureRequest) -> Iterator[Database]:
    options = {"unsafe_scheme": request.param, "unsafe_parameters": "insecure_n1024"}
    with am.connect(":memory:", **options) as opened:
        opened.create_table("t", COLUMNS).insert(ROWS)
        yield opened


@pytest.fixture(scope="module")
def oracle() -> Iterator[Any]:
    connection = duckdb.connect()
    connection.execute(DDL)
    connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * 8)})", ROWS)
    yield connection
    connection.close()


QUESTIONS: dict[str, Callable[[Table], Query]] = {
    "rows": lambda t: t.filter((A > 90) & (G == "x") | S.is_null() & ~F).order_by("id"),
    "range of keys": lambda t: t.range(70, 90).filter(S.between(-100, 300)).select("id", "s"),
    "membership": lambda t: t.filter(A.is_in([3, 50, 77])).select("id").order_by(ID.desc()),
    "boolean column": lambda t: t.filter(F & (am.col("d") < date(1995, 6, 1))).agg(am.count()),
    "totals": lambda t: t.filter(A <= 60).agg(am.count(), am.count("s"), am.sum("s"), am.sum(P)),
    "products": lambda t: t.agg(am.sum(S * P), am.sum(2 * S - 3), am.sum(S * S)),
    "groups": lambda t: t.filter(S > 0).group_by("k").agg(am.sum("s").alias("x"), am.count())
    .having(am.count() > 100).order_by(am.col("x").desc()),
    "public and encrypted groups": lambda t: t.group_by("g", "k").agg(am.sum("p"))
    .order_by("g", am.col("k").asc(nulls_first=True)),
    "no rows": lambda t: t.filter(S > 100_000).agg(am.sum("s"), am.count()),
    "distinct": lambda t: t.select("g", "k").distinct().order_by("g", "k"),
    "arithmetic of totals": lambda t: t.agg((am.sum("s") * 2 - am.count()).alias("x")),
    "conditions": lambda t: t.agg(am.count().filter(A > 50), am.sum("s").filter(G == "y")),
    "limit": lambda t: t.filter(A > 10).order_by(ID.desc()).limit(5, 3),
    "extremes": lambda t: t.filter(G == "z").agg(am.min("s"), am.max("a"), am.median("s")),
    "top": lambda t: t.select("id", "s").order_by(S.desc(), "id").limit(4),
}  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_answers_are_duckdbs(db: Database, oracle: Any, name: str) -> None:
    """Values and their order; streamed or collected, as rows or through Arrow."""
    query = QUESTIONS[name](db.table("t"))
    text, parameters = to_sql(query._asynchronous._question)
    expected = oracle.execute(text, parameters).fetchall()
    answer = query.collect()
    assert answer.rows() == expected
    assert [row for part in query.stream() for row in part] == expected
    arrow = answer.arrow()
    assert arrow.num_rows == len(expected)
    assert len(answer.names) == len(set(answer.names)) == arrow.num_columns
