"""Statements, parameters and rows that make no sense: always one of our errors, nothing changed."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from door_support import Opened, open_through_door

import amaters as am

DDL = """CREATE TABLE t (
  k BIGINT PRIMARY KEY, town TEXT, p INTEGER,
  a SMALLINT NOT NULL ENCRYPTED WITH (QUERIES = 'eq,range,sum', MIN = 0, MAX = 100),
  b BIGINT ENCRYPTED WITH (QUERIES = 'range,sum'),
  d DECIMAL(9,2) ENCRYPTED WITH (QUERIES = 'range,sum'),
  g TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'x,y,z'),
  c TEXT ENCRYPTED WITH (QUERIES = 'eq'), n TEXT ENCRYPTED,
  born DATE ENCRYPTED WITH (QUERIES = 'range'), f BOOLEAN ENCRYPTED WITH (QUERIES = 'group')
)"""
ROWS = [
    (3 * i, "Oslo", i % 5, i % 100, i, Decimal(i), "xyz"[i % 3], f"c{i % 4}", "n", None, True)
    for i in range(1000)
]
READ = ("hello", "list_tables", "snapshot", "release", "table_stats")


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    """One segment and a short tail."""
    opened = open_through_door()
    opened.db.sql(DDL)
    opened.db.table("t").insert(ROWS)
    yield opened
    opened.db.close()


def state(opened: Opened) -> Any:
    db = opened.db
    return db.tables(), db.sql("SELECT count(*), sum(a), sum(b), sum(d) FROM t").rows()


def test_a_refused_statement_sends_nothing(opened: Opened) -> None:
    """Every refusal of the planner or the binder (those of plans that are too deep are in
    ``test_e2e_refresh``): not one call reaches the engine after it was issued.
    """
    refused = {
        "SELECT sum(g) FROM t": "AM-2208",
        "SELECT nothing FROM t": "AM-2204",
        "SELECT count(*) FROM t WHERE n = 'n'": "AM-2107",
        "INSERT INTO t (k, a) VALUES (1, 101)": "AM-2003",
        "INSERT INTO t (k, a, g) VALUES (1, 1, 'w')": "AM-2006",
        "INSERT INTO t (k) VALUES (1)": "AM-2004",
        "INSERT INTO t (k, a) VALUES (1, 1), (1, 2)": "AM-5011",
        "INSERT INTO t (k, a, d) VALUES (1, 1, 1.234)": "AM-2005",
    }  # fmt: skip
    opened.db.tables()
    for sql, code in refused.items():
        opened.door.forget()
        with pytest.raises(am.AmatersError) as caught:
            opened.db.sql(sql)
        assert caught.value.code == code, sql
        assert caught.value.fix
        assert opened.door.names() == [], sql


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT " + "(" * 200 + "1" + ")" * 200 + " FROM t", "AM-2202"),
        ("SELECT count(*) FROM t WHERE " + "NOT " * 5000 + "f", "AM-2202"),
        ("SELECT count(*) FROM t WHERE a = 1" + " " * (5 << 20), "AM-2202"),
        ("SELECT count(*) FROM t WHERE a IN (" + "1," * 20_000 + "1)", None),
        ("SELECT count(*) FROM t WHERE " + " OR ".join(["p = 1"] * 9000), None),
        ("SELECT " + ", ".join(["a"] * 5000) + " FROM t LIMIT 1", None),
        ("CREATE TABLE w (g TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = '"
         + ",".join(map(str, range(5000))) + "'))", "AM-2030"),
        ("CREATE TABLE w (" + ", ".join(f"c{i} INTEGER" for i in range(5000)) + ")", "AM-2033"),
        ("CREATE TABLE " + "w" * 500 + " (a INTEGER)", "AM-2020"),
        ("SELECT count(*) FROM t WHERE a = " + "9" * 5000, None),
        ("SELECT count(*) FROM t WHERE d < 1e999999", None),
        ("SELECT count(*) FROM t WHERE p < -1e-999999", None),
        ("SELECT k FROM t LIMIT 99999999999999999999", None),
        ("SELECT k FROM t LIMIT -1", None),
        ("SELECT \0 FROM t", None),
        ("SELECT '\ud800' FROM t", None),
        ("", "AM-2201"),
        (";;;", "AM-2201"),
        ("SELECT 1; SELECT 2", "AM-2201"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_statements_of_absurd_size_or_form(sql: str, code: str | None, opened: Opened) -> None:
    """Too long, too deep, too many: a typed error with a fix, or (no code) also an answer."""
    before = state(opened)
    try:
        opened.db.sql(sql)
        assert code is None
    except am.AmatersError as error:
        assert code in (None, error.code)
        assert error.kind == "Invalid"
        assert error.fix
        assert len(str(error)) < 2000
    assert state(opened) == before


SEEDS = (
    "SELECT count(*), sum(a), avg(b) FROM t WHERE a > 40 AND (g = 'x' OR NOT c IN ('c1', 'c2'))",
    "SELECT g, town, count(*), sum(d) FROM t WHERE born < DATE '1990-02-03' GROUP BY g, town "
    "ORDER BY g DESC NULLS FIRST LIMIT 5 OFFSET 1",
    "SELECT DISTINCT k, n FROM t WHERE b BETWEEN -5 AND ? AND d <= PUBLIC(3.25) OR f IS NOT NULL",
    "INSERT INTO t (k, a, g) VALUES (1, 2, 'x'), (4, NULL, 'y')",
    "CREATE TABLE u (a INTEGER NOT NULL ENCRYPTED WITH (QUERIES = 'eq,range', MIN = 0, MAX = 9))",
    "EXPLAIN (ANALYZE, FORMAT json) SELECT sum(a * b) FROM t WHERE p > 2 AND town = 'Oslo'",
    "COPY t FROM '/nonexistent.csv' (HEADER, DELIMITER ';')",
)
WORDS = (
    "SELECT", "FROM", "WHERE", "NOT", "AND", "OR", "NULL", "(", ")", ",", "*", "=", "<", "-", "'",
    "t", "a", "b", "g", "k", "rowid", "1", "-1", "1.5", "1e9", "DATE '2000-01-01'", "TRUE", "?",
    ":x", "count", "sum", "GROUP BY", "ORDER BY", "LIMIT", "IN", "IS", "BETWEEN", "PUBLIC", "CASE",
    "JOIN t ON", "UNION", "WITH x AS", "CAST(a AS TEXT)", "::", "[1]", "{", ";", "--", "/*", "$1",
    "INTERVAL '1' DAY", "LIKE", "EXISTS", "OVER", "\"a\"", "E'\\n'", "x'ff'", "0x1F", "é",
)  # fmt: skip
VALUES = (
    None, 0, -1, 2**70, 1.5, float("nan"), float("inf"), True, "x", "", "é\0", b"x",
    Decimal("1.25"), Decimal("NaN"), Decimal("1e400"), datetime.date(2000, 1, 1),
    datetime.datetime(2000, 1, 1), [], {}, object(), 10**5000,
)  # fmt: skip
TURNS = 120


def test_random_statements_raise_typed_errors_or_answer(opened: Opened) -> None:
    """Words exchanged, dropped and inserted, parameters of any type: nothing but our errors."""
    rng = random.Random(5)
    outcomes: set[str] = set()
    for _ in range(TURNS):
        words = rng.choice(SEEDS).split(" ")
        for _ in range(rng.randint(0, 2)):
            place = rng.randrange(len(words))
            match rng.randrange(3):
                case 0:
                    words[place] = rng.choice(WORDS)
                case 1:
                    del words[place]
                case _:
                    words.insert(place, rng.choice(WORDS))
            words = words or ["SELECT"]
        sql = " ".join(words).replace("CREATE TABLE u", "CREATE TABLE IF NOT EXISTS u")
        parameters: Any = [rng.choice(VALUES) for _ in range(sql.count("?"))] or None
        if ":x" in sql:
            parameters = {"x": rng.choice(VALUES)}
        try:
            opened.db.sql(sql, parameters)
            outcomes.add("answer")
        except am.AmatersError as error:
            assert error.kind in ("Invalid", "Conflict"), (sql, parameters, error)
            assert error.fix, (sql, error)
            outcomes.add(error.code)
    assert len(outcomes) > 5


def test_random_rows_are_inserted_whole_or_refused(opened: Opened) -> None:
    """Cells of any type: either all rows are there afterwards or none, and the error has a fix."""
    rng = random.Random(6)
    table = opened.db.table("t")
    good = (1, "Rome", 1, 1, 1, Decimal(1), "x", "c0", "n", None, True)
    key, outcomes = 10**6, set()
    for _ in range(TURNS):
        rows = []
        for _ in range(rng.randint(1, 3)):
            key += 1
            row: list[Any] = [key, *good[1:]]
            if rng.random() < 0.6:
                row[rng.randrange(1, len(row))] = rng.choice(VALUES)
            rows.append(tuple(row))
        before = opened.db.sql("SELECT count(*) FROM t").scalar()
        try:
            added = table.insert(rows)
            outcomes.add("inserted")
        except am.AmatersError as error:
            assert (error.kind, bool(error.fix)) == ("Invalid", True), (rows, error)
            outcomes.add(error.code)
            added = 0
        assert opened.db.sql("SELECT count(*) FROM t").scalar() == before + added
    assert len(outcomes) > 4
