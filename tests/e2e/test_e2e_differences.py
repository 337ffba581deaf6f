"""Comparisons of encrypted columns that a generated column has decided, beside DuckDB."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import duckdb
import pytest
from e2e_support import small

import amaters as am

DDL = """CREATE TABLE t (id INTEGER PRIMARY KEY,
  a INTEGER ENCRYPTED WITH (QUERIES = 'sum,range', MIN = 0, MAX = 50),
  b DECIMAL(6,2) ENCRYPTED WITH (QUERIES = 'sum', MIN = 0, MAX = 50),
  c INTEGER ENCRYPTED WITH (QUERIES = 'range', MIN = 0, MAX = 50),
  s DATE ENCRYPTED, e DATE NOT NULL ENCRYPTED,
  ab DECIMAL(6,2) GENERATED ALWAYS AS (b - 2 * a + 1) STORED ENCRYPTED WITH (QUERIES = 'range'),
  days INTEGER GENERATED ALWAYS AS (e - s) STORED
    ENCRYPTED WITH (QUERIES = 'range', MIN = -40, MAX = 40))"""
CONDITIONS = (
    "b > 2 * a", "2 * a >= b + 3", "a + a = b", "b <> a * 2", "NOT (b < 2 * a - 1)",
    "2 * a < b OR a = 3", "e > s", "s >= e", "s = e", "s <> e AND a > 5", "NOT (s < e)",
)  # fmt: skip


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[am.Database, Any]]:
    """The same rows in both engines."""
    rng = random.Random(4)

    def day() -> date:
        return date(2020, 1, 1) + timedelta(days=rng.randrange(30))

    rows = [
        (i, rng.choice([None, *range(51)]), rng.choice([None, rng.randrange(0, 5001, 50) / 100]),
         rng.randrange(51), rng.choice([None, day(), day()]), day())
        for i in range(1100)
    ]  # fmt: skip
    plain = duckdb.connect()
    plain.sql("CREATE TABLE t (id INTEGER, a INTEGER, b DECIMAL(6,2), c INTEGER, s DATE, e DATE)")
    plain.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows)
    with am.connect(":memory:", **small("noop")) as db:
        db.sql(DDL)
        db.table("t").insert(rows, columns=["id", "a", "b", "c", "s", "e"])
        yield db, plain


@pytest.mark.parametrize("condition", CONDITIONS)
def test_comparisons_equal_duckdb(condition: str, pair: tuple[am.Database, Any]) -> None:
    """As totals, from which canaries are taken, and as rows, before which they are checked."""
    db, plain = pair
    for wanted in ("count(*), sum(a)", "id"):
        text = f"SELECT {wanted} FROM t WHERE {condition}"
        expected = sorted(map(repr, plain.sql(text).fetchall()))
        assert sorted(map(repr, db.sql(text).rows())) == expected
    inside = f"SELECT sum(CASE WHEN {condition} THEN 1 ELSE 0 END) FROM t"
    assert db.sql(inside).rows() == plain.sql(inside).fetchall()


@pytest.mark.parametrize("condition", ["a < c", "a < b", "b > 3 * a", "2 * a > b + c", "a * a > b"])
def test_without_such_a_column_they_are_refused(
    condition: str, pair: tuple[am.Database, Any]
) -> None:
    """Nothing else tells which is larger."""
    with pytest.raises(am.InvalidError) as refused:
        pair[0].sql(f"SELECT count(*) FROM t WHERE {condition}")
    assert refused.value.code == "AM-2124"


def test_dates_are_only_subtracted(pair: tuple[am.Database, Any]) -> None:
    """Other arithmetic with dates has no number for an answer."""
    for expression in ("s + e", "e - a", "2 * s", "s * e"):
        with pytest.raises(am.InvalidError) as refused:
            pair[0].sql(
                "CREATE TABLE u (a INTEGER ENCRYPTED, s DATE ENCRYPTED, e DATE ENCRYPTED, "
                f"x INTEGER GENERATED ALWAYS AS ({expression}) STORED ENCRYPTED)"
            )
        assert refused.value.code == "AM-2210"
