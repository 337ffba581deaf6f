"""Subqueries beside DuckDB: WITH, SELECT in FROM, values; what is refused, what stays hidden."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from e2e_support import small

import amaters as am

DDL = (
    """CREATE TABLE f (id INTEGER PRIMARY KEY, k INTEGER, r TEXT,
      q INTEGER ENCRYPTED WITH (QUERIES = 'sum,range', MIN = 0, MAX = 100),
      g TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'x,y'))""",
    """CREATE TABLE d (id INTEGER PRIMARY KEY, name TEXT ENCRYPTED,
      price DECIMAL(6,2) ENCRYPTED WITH (QUERIES = 'range,sum', MIN = -10, MAX = 200))""",
)
PLAIN = (
    "CREATE TABLE f (id INTEGER, k INTEGER, r TEXT, q INTEGER, g TEXT)",
    "CREATE TABLE d (id INTEGER, name TEXT, price DECIMAL(6,2))",
)
TOTALS = "WITH t AS (SELECT k AS kk, sum(q) AS s, count(*) AS n FROM f WHERE q > 10 GROUP BY k) "
QUESTIONS = (
    TOTALS + "SELECT d.name, s, n FROM d JOIN t ON d.id = kk",
    TOTALS + "SELECT name, s FROM d, t WHERE d.id = kk AND s = (SELECT max(s) FROM t)",
    TOTALS + "SELECT max(s), count(*), min(kk) FROM t WHERE s > 500",
    TOTALS + "SELECT f.id, s FROM f JOIN t ON f.k = t.kk WHERE f.q < 5 AND (s > 700 OR f.q = 0)",
    TOTALS + "SELECT sum(f.q * s) FROM f JOIN t ON f.k = kk WHERE f.q < 5",
    TOTALS + ", u AS (SELECT max(s) AS m FROM t) SELECT kk FROM t, u WHERE s = m",
    "WITH unused AS (SELECT count(*) FROM f) SELECT count(*) FROM d",
    "WITH a(z) AS (SELECT count(*) FROM f), b AS (SELECT z FROM a) SELECT z + 1 FROM b",
    "SELECT count(*) FROM f WHERE q > (SELECT avg(q) FROM f)",
    "SELECT count(*), sum(q) FROM f WHERE q BETWEEN (SELECT min(q) FROM f) + 5 "
    "AND (SELECT max(q) FROM f WHERE r = 'a') - 7",
    "SELECT count(*) FROM f WHERE q > (SELECT max(price) FROM d) / 4 - 3",
    "SELECT count(*) FROM f WHERE q > (SELECT max(price) FROM d WHERE FALSE)",
    "SELECT r, s FROM (SELECT r, sum(q) s FROM f GROUP BY r) AS t WHERE s > 10",
    "SELECT name, sum(amount) FROM (SELECT d.name AS name, q * 2 AS amount, f.id AS i FROM f, d "
    "WHERE f.k = d.id AND q > 5) AS t WHERE i > 100 GROUP BY name",
    "SELECT x + 1 FROM (SELECT q AS x, id FROM f WHERE r = 'a') t WHERE id < 60 ORDER BY x",
    "SELECT count(*) FROM (SELECT DISTINCT r FROM f) AS t",
    "SELECT count(*) FROM f JOIN d ON f.k = d.id WHERE f.k > (SELECT avg(q) FROM f) - 30 AND q > 5",
    "SELECT g, count(*) FROM f GROUP BY g HAVING count(*) > (SELECT count(*) FROM d)",
    "SELECT count(*), (SELECT max(q) FROM f) FROM d",
    "SELECT count(*) FROM f HAVING (SELECT max(q) FROM f) > 7",
    TOTALS + "SELECT max(s) FROM t WHERE (SELECT count(*) FROM d) > 7 AND s > 100",
    "SELECT k, (SELECT count(*) FROM d) FROM f WHERE q = 3",
    "SELECT count(*) FROM f WHERE g IN (SELECT g FROM f WHERE id = 3) AND q > 5",
    "SELECT count(*) FROM f JOIN d ON f.k = d.id WHERE f.k NOT IN (SELECT id FROM d WHERE id < 9) "
    "AND q > 5",
    "SELECT count(*) FROM f JOIN d ON f.k = d.id WHERE f.k IN (SELECT id FROM d WHERE id < 0) "
    "AND q > 5",
    "SELECT sum(CASE WHEN q > (SELECT avg(q) FROM f) THEN 1 ELSE 0 END) FROM f",
    "SELECT count(*) FROM f WHERE g IN ('y', (SELECT g FROM f WHERE id = 0)) AND q > 5",
    "SELECT count(*) FROM f WHERE g NOT IN ((SELECT min(r) FROM f), 'x') AND q > 5",
    TOTALS + "SELECT kk FROM t WHERE kk IN (3, (SELECT min(id) FROM d), 5)",
    TOTALS + "SELECT kk FROM t WHERE (SELECT count(*) FROM d) IN (1, 25)",
    TOTALS + "SELECT kk FROM t WHERE (SELECT min(id) FROM d) IN (SELECT id FROM d WHERE id < 3)",
    "WITH D AS (SELECT sum(q) AS s FROM f) SELECT s FROM d",
    "WITH d AS (SELECT sum(q) AS s FROM f), D2 AS (SELECT s FROM D) SELECT s FROM d2",
)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[am.Database, Any]]:
    """The same tables in both engines."""
    rng = random.Random(5)
    facts = [
        (i, rng.choice([None, *range(30)]), rng.choice(["a", "b", None]),
         rng.choice([None, *range(101)]), rng.choice([None, "x", "y"]))
        for i in range(1200)
    ]  # fmt: skip
    others = [
        (i, rng.choice([None, "apple", "fig"]), rng.choice([None, rng.randint(-1000, 20000) / 100]))
        for i in range(25)
    ]
    plain = duckdb.connect()
    with am.connect(":memory:", **small("noop")) as db:
        for ours, theirs in zip(DDL, PLAIN, strict=True):
            db.sql(ours)
            plain.sql(theirs)
        for name, rows in (("f", facts), ("d", others)):
            db.table(name).insert(rows)
            marks = ", ".join("?" * len(rows[0]))
            plain.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)
        yield db, plain


@pytest.mark.parametrize("question", QUESTIONS)
def test_subqueries_equal_duckdb(question: str, pair: tuple[am.Database, Any]) -> None:
    """The same rows, in whatever order."""
    db, plain = pair
    found = sorted(map(repr, db.sql(question).rows()))
    assert found == sorted(map(repr, plain.sql(question).fetchall()))


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ("SELECT count(*) FROM f WHERE q > (SELECT min(price) FROM d WHERE d.id = f.k)", "AM-2229"),
        ("SELECT count(*) FROM f WHERE q > (SELECT min(price) FROM d WHERE d.id = k)", "AM-2229"),
        ("SELECT count(*) FROM f WHERE q > (SELECT min(prise) FROM d)", "AM-2204"),
        ("SELECT count(*) FROM f WHERE k > (SELECT min(q) FROM f)", "AM-2108"),
        ("SELECT count(*) FROM f WHERE q IN (SELECT id FROM d)", "AM-2108"),
        ("SELECT count(*) FROM f WHERE k IN (SELECT id FROM d)", "AM-2108"),
        ("SELECT count(*) FROM f WHERE k IN (SELECT id, name FROM d)", "AM-2208"),
        ("SELECT count(*) FROM f WHERE EXISTS (SELECT id FROM d)", "AM-2205"),
        ("SELECT count(*) FROM f WHERE q > (SELECT id, name FROM d)", "AM-2208"),
        ("SELECT count(*) FROM f WHERE (SELECT max(q) FROM f) > 7 AND q > 3", "AM-2205"),
        ("SELECT count(*) FROM f WHERE q > 3 OR NOT (SELECT max(q) FROM f) IS NULL", "AM-2205"),
        ("SELECT sum(CASE WHEN (SELECT max(q) FROM f) > 7 THEN q ELSE 0 END) FROM f", "AM-2205"),
        ("SELECT count(*) FROM f WHERE (SELECT count(*) FROM d) IN (1, 2, 3)", "AM-2205"),
        ("SELECT count(*) FROM f WHERE k IN (1, (SELECT max(id) FROM d))", "AM-2108"),
        ("SELECT id FROM f ORDER BY q LIMIT (SELECT min(q) + 1 FROM f)", "AM-2205"),
        ("SELECT id FROM f ORDER BY q LIMIT 3 OFFSET (SELECT min(q) FROM f)", "AM-2205"),
        ("DELETE FROM f WHERE q > (SELECT avg(q) FROM f)", "AM-2205"),
        ("SELECT count(*) FROM f WHERE q > (SELECT id FROM d)", "AM-2149"),
        ("WITH a AS (SELECT avg(q) x FROM f) SELECT x FROM a", "AM-2148"),
        ("WITH a AS (SELECT id, id FROM f) SELECT id FROM a", "AM-2208"),
        ("WITH RECURSIVE a AS (SELECT id FROM f) SELECT id FROM a", "AM-2205"),
        ("WITH a(x, y) AS (SELECT id FROM f) SELECT x FROM a", "AM-2208"),
        ("SELECT d.id FROM (SELECT sum(q) s FROM f) AS d", "AM-2208"),
        (TOTALS + "SELECT s FROM t WHERE name = 'fig'", "AM-2204"),
        (TOTALS + "SELECT count(*) FROM f WHERE g < (SELECT max(s) FROM t)", "AM-2208"),
    ],
)
def test_what_cannot_be_nested_is_refused(
    question: str, code: str, pair: tuple[am.Database, Any]
) -> None:
    """Whatever can be known beforehand, before anything is sent."""
    with pytest.raises(am.InvalidError) as refused:
        pair[0].sql(question)
    assert refused.value.code == code


def test_explain_shows_all_statements_and_no_answer(pair: tuple[am.Database, Any]) -> None:
    """Nothing is run for it, and the sizes are those of any answer."""
    db, _ = pair
    question = TOTALS + "SELECT name FROM d, t WHERE d.id = kk AND s = (SELECT max(s) FROM t)"
    found = json.loads(db.explain(question, format="json"))
    assert [child["detail"] for child in found["plan"]["children"]] == [
        "First t", "First subquery 1", "Finally",
    ]  # fmt: skip
    assert "the answers of subqueries" in found["server_does_not_learn"]
    text = "SELECT count(*) FROM f WHERE q > (SELECT {0}(q) FROM f)"
    sizes = {db.sql(text.format(word)).stats.bytes_sent for word in ("min", "max")}
    assert len(sizes) == 1
