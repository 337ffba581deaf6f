"""LIKE beside DuckDB on public columns, categories and prefixes; what is refused and hidden."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from e2e_support import small

import amaters as am
from amaters.columns.patterns import Pattern

DDL = """CREATE TABLE t (id INTEGER PRIMARY KEY,
  a TEXT ENCRYPTED WITH (QUERIES = 'prefix(3)'),
  b TEXT NOT NULL ENCRYPTED WITH (QUERIES = 'eq,prefix(8)'),
  c TEXT,
  g TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'abc,abd,xyz'),
  s INTEGER ENCRYPTED WITH (QUERIES = 'sum', MIN = 0, MAX = 100))"""
PLAIN = "CREATE TABLE t (id INTEGER, a TEXT, b TEXT, c TEXT, g TEXT, s INTEGER)"
PARTS = ("a", "b", "\u00e9", "%", "ab", "", "c", "\u20ac", "\n", "\0")
CONDITIONS = (
    "a LIKE 'a%'", "a LIKE 'ab%'", "a LIKE '%'", "a NOT LIKE 'a%'", "a LIKE '\u00e9%'", "a = 'ab'",
    "a <> 'a'", "a IN ('a', 'b', NULL)", "a NOT IN ('a', 'b')", "a NOT IN ('a', NULL)",
    "a LIKE ''", "a IS NULL", "a LIKE '%%'", "a LIKE NULL", "NOT (a LIKE NULL)",
    "b LIKE 'ab%'", "b LIKE 'ab\u00e9%' OR b LIKE 'b%'", "b = 'ab'", "b LIKE 'ab'",
    "NOT (b LIKE 'a%' AND a LIKE 'b%')", "b LIKE 'a%' AND a IS NOT NULL AND c = 'a'",
    "c LIKE '%b_%'", "c NOT LIKE '%b%' AND b LIKE 'a%'", "c LIKE '%!%%' ESCAPE '!'",
    "c LIKE '_%' OR a LIKE 'b%'", "g LIKE 'ab_'", "g LIKE '%z'", "g NOT LIKE 'q%'", "g LIKE 'q%'",
    "a LIKE PUBLIC('a%')", "a NOT LIKE PUBLIC('%')", "b LIKE PUBLIC('ab%')",
    "b NOT LIKE PUBLIC('a%') AND c LIKE 'a%'", "a LIKE '!%%' ESCAPE '!'",
)  # fmt: skip
ON_CIPHERTEXTS = ("a LIKE 'ab%'", "a <> 'a'", "b LIKE 'a%' AND c LIKE '%b%'", "b NOT LIKE 'ab%'")


def _rows(count: int) -> list[tuple[Any, ...]]:
    rng = random.Random(1)

    def word() -> str:
        return "".join(rng.choice(PARTS) for _ in range(rng.randint(0, 5)))

    return [
        (i, rng.choice([None, word(), word()]), word(), rng.choice([None, word(), word()]),
         rng.choice([None, "abc", "abd", "xyz"]), rng.randint(0, 100))
        for i in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[am.Database, Any]]:
    """The same rows in both engines, a segment and a tail, some of them dead."""
    plain = duckdb.connect()
    plain.sql(PLAIN)
    rows = _rows(1000)
    plain.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows)
    with am.connect(":memory:", **small("noop")) as db:
        db.sql(DDL)
        db.table("t").insert(rows[:960])
        db.table("t").insert(rows[960:])
        for each in (db, plain):
            each.sql("DELETE FROM t WHERE id IN (3, 400, 970)")
        yield db, plain


@pytest.mark.parametrize("condition", CONDITIONS)
def test_like_equals_duckdb(condition: str, pair: tuple[am.Database, Any]) -> None:
    """As totals, which encrypted masks make, and as rows."""
    db, plain = pair
    written = condition.replace("PUBLIC", "")
    totals = plain.sql(f"SELECT count(*), sum(s) FROM t WHERE {written}").fetchall()
    rows = plain.sql(f"SELECT id FROM t WHERE {written} ORDER BY id").fetchall()
    assert db.sql(f"SELECT count(*), sum(s) FROM t WHERE {condition}").rows() == totals
    assert db.sql(f"SELECT id FROM t WHERE {condition} ORDER BY id").rows() == rows


def test_prefixes_on_ciphertexts() -> None:
    """The same on the real scheme."""
    plain = duckdb.connect()
    plain.sql(PLAIN)
    rows = _rows(300)
    plain.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows)
    with am.connect(":memory:", **small("bgv")) as db:
        db.sql(DDL)
        db.table("t").insert(rows)
        db.compact()
        for condition in ON_CIPHERTEXTS:
            totals = f"SELECT count(*), sum(s) FROM t WHERE {condition}"
            assert db.sql(totals).rows() == plain.sql(totals).fetchall()
            answer = f"SELECT id FROM t WHERE {condition} ORDER BY id"
            assert db.sql(answer).rows() == plain.sql(answer).fetchall()


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("a LIKE '%x'", "AM-2140"), ("a LIKE 'a_b%'", "AM-2140"), ("b LIKE '%b%'", "AM-2140"),
        ("a LIKE 'abcd%'", "AM-2141"), ("a = 'abc'", "AM-2141"), ("a LIKE 'abc'", "AM-2141"),
        ("a < 'b'", "AM-2107"), ("s LIKE 'a%'", "AM-2208"), ("a ILIKE 'a%'", "AM-2205"),
        ("c LIKE 'a!' ESCAPE '!'", "AM-2208"), ("c LIKE a", "AM-2205"), ("c LIKE 1", "AM-2208"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(
    condition: str, code: str, pair: tuple[am.Database, Any]
) -> None:
    """With the reason, never with the text."""
    with pytest.raises(am.InvalidError) as refused:
        pair[0].sql(f"SELECT count(*) FROM t WHERE {condition}")
    assert refused.value.code == code


@pytest.mark.parametrize("queries", ["prefix", "prefix(0)", "prefix(9)", "prefix(2),prefix(3)"])
def test_declarations_are_checked(queries: str, pair: tuple[am.Database, Any]) -> None:
    """A prefix has one length, between 1 and 8."""
    with pytest.raises(am.InvalidError) as refused:
        pair[0].sql(f"CREATE TABLE u (x TEXT ENCRYPTED WITH (QUERIES = '{queries}'))")
    assert refused.value.code == "AM-2142"
    with pytest.raises(am.InvalidError):
        pair[0].create_table("u", {"x": am.Int32(encrypt=["prefix(2)"])})


def test_the_length_of_a_prefix_is_hidden(pair: tuple[am.Database, Any]) -> None:
    """EXPLAIN with its digest and sizes is the same for every prefix and for equality."""
    db, _ = pair
    conditions = ("LIKE 'a%'", "LIKE 'ab%'", "LIKE '%'", "LIKE 'b'")
    plans = {db.explain(f"SELECT count(*) FROM t WHERE a {c}", format="json") for c in conditions}
    assert len(plans) == 1
    assert "how long the prefix is" in plans.pop()


def test_the_python_expression(pair: tuple[am.Database, Any]) -> None:
    """``like`` is SQL's LIKE."""
    db, plain = pair
    found = db.table("t").filter(~am.col("a").like("a%")).agg(am.count()).rows()
    assert found == plain.sql("SELECT count(*) FROM t WHERE a NOT LIKE 'a%'").fetchall()


def test_patterns_take_no_exponential_time() -> None:
    """A pattern comes from elsewhere: many wildcards must not hold the engine up."""
    assert not Pattern("%a" * 200 + "b").matches("a" * 20_000)
    assert Pattern("%a_" * 50 + "%").matches("ab" * 50)
