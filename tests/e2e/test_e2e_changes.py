"""UPDATE, DELETE and upsert beside DuckDB: by key, by public and by encrypted condition, over
segments and tail, interleaved with each other; races; and what is refused.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

import amaters as am

DDL = """CREATE TABLE t (id INTEGER PRIMARY KEY, p TEXT, q INTEGER,
  a SMALLINT ENCRYPTED WITH (QUERIES = 'eq,range,sum', MIN = -500, MAX = 500),
  g TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'a,b'),
  d DECIMAL(6,2) ENCRYPTED WITH (QUERIES = 'sum,range', MIN = -900, MAX = 900),
  n TEXT ENCRYPTED, e TEXT ENCRYPTED WITH (QUERIES = 'eq'))"""
PLAIN = """CREATE TABLE t (id INTEGER PRIMARY KEY, p TEXT, q INTEGER, a SMALLINT, g TEXT,
  d DECIMAL(6,2), n TEXT, e TEXT)"""
COUNTERS = """CREATE TABLE c (k INTEGER PRIMARY KEY,
  v INTEGER ENCRYPTED WITH (QUERIES = 'sum', MIN = 0, MAX = 1000))"""
CHANGES = (
    "UPDATE t SET a = 7 WHERE id = 10",
    "UPDATE t SET a = a + 1, d = d * 1.1 WHERE a = 3 AND p = 'x'",
    "DELETE FROM t WHERE a < -3",
    "UPDATE t SET n = p, g = 'b', e = 'new' WHERE d > 2 AND q < 5",
    "UPDATE t SET a = NULL WHERE a BETWEEN 1 AND 2",
    "DELETE FROM t WHERE p IS NULL AND q > 12",
    "UPDATE t SET q = -q * 2 + a, p = 'w' WHERE e = 'l'",
    "UPDATE t SET a = CASE WHEN a > 2 OR p = 'x' THEN a // 2 WHEN q < 3 THEN q END, "
    "p = CASE WHEN d > 1 THEN 'big' ELSE p END WHERE q IS NOT NULL",
    "UPDATE t SET d = a",
    "DELETE FROM t WHERE e = 'new' OR id > 5000",
    "UPDATE t SET a = 5 WHERE d > 1000",
    "DELETE FROM t",
)
TOTALS = (
    "SELECT count(*), sum(a), sum(d) FROM t WHERE a > 0",
    "SELECT g, count(*) FROM t GROUP BY g",
)
REFUSED = {
    "UPDATE t SET id = 3": "AM-2205",
    "UPDATE t SET a = 1, a = 2": "AM-2208",
    "UPDATE t SET a = 'x'": "AM-2002",
    "UPDATE t SET a = p": "AM-2208",
    "UPDATE t SET p = q + 1": "AM-2208",
    "UPDATE t SET q = q + p": "AM-2208",
    "UPDATE t SET q = q + 'x'": "AM-2208",
    "UPDATE t SET q = q / 2": "AM-2205",
    "UPDATE t SET nope = 1": "AM-2204",
    "UPDATE t SET a = 1 RETURNING a": "AM-2205",
    "DELETE FROM t USING u": "AM-2205",
    "DELETE FROM nope": "AM-2203",
    "DELETE FROM t WHERE n = 'note 1'": "AM-2107",
    "UPDATE t SET a = 501": "AM-2003",
    "UPDATE t SET a = a * 400": "AM-2003",
    "UPDATE t SET g = 'z'": "AM-2006",
}


def rows(count: int, rng: random.Random) -> list[tuple[Any, ...]]:
    return [
        (2 * i, rng.choice(["x", "y", "z", None]), i % 17, rng.choice([None, *range(-5, 6)]),
         rng.choice([None, "a", "b"]), rng.choice([None, Decimal("1.25"), Decimal("-3.75")]),
         f"note {i}", rng.choice(["k", "l", None]))
        for i in range(count)
    ]  # fmt: skip


class Pair:
    """One table in both engines."""

    def __init__(self, count: int) -> None:
        given = rows(count, random.Random(5))
        self.db = am.connect(":memory:", unsafe_scheme="noop", unsafe_parameters="insecure_n1024")
        self.db.sql(DDL)
        self.db.table("t").insert(given[: count - 100])
        self.db.table("t").insert(given[count - 100 :])
        self.plain = duckdb.connect()
        self.plain.sql(PLAIN)
        self.plain.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?)", given)

    def check(self) -> None:
        """Every row is the same, and so are encrypted totals."""
        for question in ("SELECT * FROM t", *TOTALS):
            expected = sorted(self.plain.sql(question).fetchall(), key=repr)
            assert sorted(self.db.sql(question).rows(), key=repr) == expected, question


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair(2000)
    with made.db:
        yield made


def test_changes_equal_duckdb(pair: Pair) -> None:
    """After each statement all rows and totals are DuckDB's, and so is the count it reports."""
    for change in CHANGES:
        expected = pair.plain.execute(change).fetchall()[0][0]
        found = pair.db.sql(change)
        assert f" {expected:,} rows" in found.message, change
        assert any("which" in line for line in found.learned)
        pair.check()


def test_random_changes_equal_duckdb(pair: Pair) -> None:
    """Forty random changes by random conditions, some of everything, with rows added between."""
    rng = random.Random(11)
    conditions = (
        "a > {}", "a = {}", "q BETWEEN {} AND 9", "a IS NULL AND q < {}", "p = 'x' AND q > {}",
        "d < {}", "g = 'a' AND a < {}", "NOT (a > {})", "id = {}",
    )  # fmt: skip
    values = ("a = {}", "q = q + {}", "p = NULL", "g = 'a'", "d = a", "e = 'e{}'", "a = q - {}")
    for number in range(40):
        where = rng.choice(conditions).format(rng.randint(-4, 8))
        change = f"DELETE FROM t WHERE {where} AND q = {rng.randint(0, 16)}"
        if rng.random() < 0.7:
            change = f"UPDATE t SET {rng.choice(values).format(rng.randint(-9, 9))} WHERE {where}"
        pair.plain.execute(change)
        pair.db.sql(change)
        if number % 8 == 0:
            given = [(10_001 + 2 * number + i, *row[1:]) for i, row in enumerate(rows(2, rng))]
            pair.plain.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?)", given)
            pair.db.table("t").insert(given)
    pair.check()


@pytest.mark.parametrize(("change", "code"), REFUSED.items())
def test_refusals(change: str, code: str, shared: am.Database) -> None:
    """What cannot be done is refused with its code, and changes nothing."""
    before = shared.sql("SELECT * FROM t ORDER BY id").rows()
    with pytest.raises(am.AmatersError) as caught:
        shared.sql(change)
    assert caught.value.code == code, str(caught.value)
    assert caught.value.fix
    assert shared.sql("SELECT * FROM t ORDER BY id").rows() == before


@pytest.fixture(scope="module")
def shared() -> Iterator[am.Database]:
    with am.connect(":memory:", unsafe_scheme="noop", unsafe_parameters="insecure_n1024") as db:
        db.sql(DDL)
        db.table("t").insert([(2, "x", 1, 2, "a", Decimal("1.50"), "note", "k")])
        yield db


def test_python_changes(pair: Pair) -> None:
    """upsert, delete by key, update and delete by condition: the same as the statements."""
    table = pair.db.table("t")
    whole = pair.plain.sql("SELECT * FROM t WHERE id IN (4, 6)").fetchall()
    changed = [(row[0], "new", *row[2:]) for row in whole] + [(7, "seven", *whole[0][2:])]
    assert table.upsert(changed) == 3
    pair.plain.executemany("INSERT OR REPLACE INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?)", changed)
    assert table.delete([8, 9, 10]) == 2
    pair.plain.execute("DELETE FROM t WHERE id IN (8, 9, 10)")
    table.filter(am.col("a") > 2).update({"a": 1, "e": "k"})
    pair.plain.execute("UPDATE t SET a = 1, e = 'k' WHERE a > 2")
    assert "deleted" in table.filter(am.col("d") < 0).delete().message
    pair.plain.execute("DELETE FROM t WHERE d < 0")
    pair.check()
    with pytest.raises(am.AmatersError, match="AM-5007"):
        table.select("a").delete()


def test_racing_updates_lose_nothing(tmp_path: Path) -> None:
    """Many increments of the same rows at once: each is applied exactly once."""

    async def race() -> list[tuple[Any, ...]]:
        path = tmp_path / "db"
        async with am.connect_async(
            path, keys=tmp_path / "keys", unsafe_scheme="noop", unsafe_parameters="insecure_n1024"
        ) as db:
            await db.sql(COUNTERS)
            await (await db.table("c")).insert([(1, 0), (2, 0), (3, 0)])
            work = [db.sql(f"UPDATE c SET v = v + 1 WHERE k <> {1 + i % 3}") for i in range(12)]
            await asyncio.gather(*work)
            return (await db.sql("SELECT k, v FROM c ORDER BY k")).rows()

    assert asyncio.run(race()) == [(1, 8), (2, 8), (3, 8)]


def test_explain_of_changes(pair: Pair) -> None:
    """EXPLAIN changes nothing and says that the rows become known; ANALYZE makes the change and
    adds what it cost.
    """
    shown = pair.db.explain("UPDATE t SET a = 1, p = 'v' WHERE a = 3")
    assert "Update a, p of t, in one commit" in shown.splitlines()[0]
    assert "which rows are replaced" in shown
    assert "the new values of p (public)" in shown
    document = pair.db.explain("DELETE FROM t WHERE a = 3", format="json")
    assert '"kind": "delete"' in document
    assert "which rows are deleted" in document
    pair.check()
    lines = pair.db.sql("EXPLAIN ANALYZE DELETE FROM t WHERE a = 3").rows()
    assert any(line.startswith("actual") for (line,) in lines)
    pair.plain.execute("DELETE FROM t WHERE a = 3")
    pair.check()
