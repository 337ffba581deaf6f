"""HAVING beside DuckDB: aggregates that are selected or not, aliases, group columns, NULLs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

import amaters as am

DDL = """CREATE TABLE t (id INTEGER PRIMARY KEY, p TEXT,
  a SMALLINT ENCRYPTED WITH (QUERIES = 'range,sum', MIN = -5, MAX = 5),
  g TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'a,b'),
  d DECIMAL(6,2) ENCRYPTED WITH (QUERIES = 'sum', MIN = -9, MAX = 9))"""
PLAIN = "CREATE TABLE t (id INTEGER, p TEXT, a SMALLINT, g TEXT, d DECIMAL(6,2))"
QUESTIONS = (
    "SELECT p, count(*) FROM t GROUP BY p HAVING count(*) > 140",
    "SELECT p, sum(a) s FROM t GROUP BY p HAVING s > 0 OR p IS NULL",
    "SELECT g, avg(a) FROM t WHERE a > -3 GROUP BY g "
    "HAVING avg(a) > 1.0 AND NOT (count(a) BETWEEN 0 AND 3)",
    "SELECT count(*) FROM t HAVING sum(a) > 100000",
    "SELECT 1 FROM t HAVING count(*) > 2",
    "SELECT DISTINCT 5 AS x FROM t GROUP BY p HAVING count(*) > 2",
    "SELECT g, p, sum(d) FROM t GROUP BY g, p HAVING sum(d) IN (1.25, 2.50) OR sum(d) < -2",
    "SELECT g FROM t GROUP BY g HAVING g = 'a'",
    "SELECT g FROM t GROUP BY g HAVING sum(a) IS NULL OR g IN ('b', NULL)",
    "SELECT g FROM t GROUP BY g HAVING g NOT IN ('b', NULL)",
    "SELECT p AS q, sum(d) FROM t GROUP BY p "
    "HAVING q <> 'x' AND avg(d) >= 0.1 ORDER BY sum(a) DESC",
    "SELECT p FROM t GROUP BY p HAVING TRUE",
    "SELECT p FROM t GROUP BY p HAVING NULL",
    "SELECT p AS g, count(*) FROM t GROUP BY p HAVING g = 'x'",
)  # fmt: skip


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[am.Database, Any]]:
    """One table in both engines; enough rows for a segment and a tail."""
    rng = random.Random(3)
    rows = [
        (i, rng.choice(["x", "y", "z", None]), rng.choice([None, *range(-5, 6)]),
         rng.choice([None, "a", "b"]), rng.choice([None, 1.25, 2.5, -3.75]))
        for i in range(600)
    ]  # fmt: skip
    plain = duckdb.connect()
    plain.sql(PLAIN)
    plain.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
    with am.connect(":memory:", unsafe_scheme="noop", unsafe_parameters="insecure_n1024") as db:
        db.sql(DDL)
        db.table("t").insert(rows[:550])
        db.table("t").insert(rows[550:])
        yield db, plain


@pytest.mark.parametrize("question", QUESTIONS)
def test_having_equals_duckdb(question: str, pair: tuple[am.Database, Any]) -> None:
    """The same groups pass, with the same values."""
    db, plain = pair
    assert sorted(db.sql(question).rows(), key=repr) == sorted(
        plain.sql(question).fetchall(), key=repr
    )
