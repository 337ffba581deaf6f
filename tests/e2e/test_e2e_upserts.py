"""INSERT ... ON CONFLICT, OR REPLACE, OR IGNORE and INSERT ... SELECT beside DuckDB."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from e2e_support import FULL, small

import amaters as am

DDL = """CREATE TABLE t (k INTEGER PRIMARY KEY, p TEXT,
  a INTEGER ENCRYPTED WITH (QUERIES = 'eq,range,sum', MIN = -1000, MAX = 100000),
  d DECIMAL(8,2) ENCRYPTED WITH (QUERIES = 'sum'), n TEXT ENCRYPTED)"""
PLAIN = "CREATE TABLE t (k INTEGER PRIMARY KEY, p TEXT, a INTEGER, d DECIMAL(8,2), n TEXT)"
OTHERS = (
    "CREATE TABLE u (p TEXT PRIMARY KEY, total BIGINT, many BIGINT)",
    "CREATE TABLE w (k INTEGER PRIMARY KEY, a INTEGER, n TEXT)",
)
STATEMENTS = (
    "INSERT INTO t VALUES (4, 'new', 1, 1.5, 'x'), (1, 'odd', 2, 2.25, NULL) "
    "ON CONFLICT (k) DO UPDATE SET p = EXCLUDED.p, a = EXCLUDED.a, d = EXCLUDED.d, n = EXCLUDED.n",
    "INSERT INTO t VALUES (4, 'z', 10, 1.5, 'y'), (3, 'z', 20, 2.5, 'w') "
    "ON CONFLICT (k) DO UPDATE SET a = t.a + EXCLUDED.a * 2, n = p, d = EXCLUDED.d - 0.25",
    "INSERT INTO t AS old (k, a) VALUES (4, 99), (6, -5), (5, 7) "
    "ON CONFLICT DO UPDATE SET a = old.a - 1 WHERE old.p = 'new' OR EXCLUDED.a < 0",
    "INSERT INTO t (k, a) VALUES (8, 1), (7, 2), (7, 3) ON CONFLICT (k) DO NOTHING",
    "INSERT OR IGNORE INTO t VALUES (8, 'no', 5, 5, 'no'), (9, 'yes', 6, 6, 'yes')",
    "INSERT OR REPLACE INTO t VALUES (8, 'over', NULL, 7, NULL), (11, 'yes', 6, 6, 'yes')",
    "INSERT OR REPLACE INTO t (a, k) VALUES (77, 10), (78, 13)",
    "INSERT INTO t (k, a) VALUES (10, 500) ON CONFLICT (k) DO UPDATE SET a = 3 "
    "WHERE excluded.a < 9",
    "INSERT INTO w (a, k) SELECT a, k FROM t WHERE a > 60",
    "INSERT INTO w SELECT k, a, n FROM t WHERE k < 200 "
    "ON CONFLICT (k) DO UPDATE SET n = EXCLUDED.n",
    "INSERT INTO u SELECT p, sum(a), count(*) FROM t WHERE p IS NOT NULL GROUP BY p",
    "INSERT OR REPLACE INTO u SELECT p, count(*), 0 FROM t WHERE p = 'x' OR p = 'z' GROUP BY p",
    "INSERT INTO u VALUES ('x', 5, 5), ('new one', 6, 6) "
    "ON CONFLICT (p) DO UPDATE SET total = total + EXCLUDED.total, many = EXCLUDED.many",
)
REFUSED = {
    "INSERT INTO t VALUES (1, 'a', 1, 1, 'x') ON CONFLICT (a) DO NOTHING": "AM-2205",
    "INSERT INTO t VALUES (1, 'a', 1, 1, 'x') ON CONFLICT (k) DO UPDATE SET k = 3": "AM-2205",
    "INSERT INTO t (k) VALUES (1) ON CONFLICT (k) DO UPDATE SET p = EXCLUDED.z": "AM-2204",
    "INSERT INTO t (k) VALUES (1), (1) ON CONFLICT (k) DO UPDATE SET a = 1": "AM-5011",
    "INSERT INTO t VALUES (1, 'a', 1, 1, 'x') RETURNING k": "AM-2205",
    "INSERT INTO t SELECT k, p FROM t": "AM-2208",
    "INSERT INTO t (k, a) SELECT k, p FROM t": "AM-2002",
    "INSERT INTO t (k, a) VALUES (1, 2) ON CONFLICT (k) DO UPDATE SET a = t.a + 100000": "AM-2003",
    "INSERT OR ABORT INTO t (k) VALUES (1)": "AM-2205",
    "INSERT INTO nokey VALUES (1) ON CONFLICT DO NOTHING": "AM-2208",
    "INSERT OR IGNORE INTO uni VALUES (1, 1)": "AM-2205",
}


def rows(count: int) -> list[tuple[Any, ...]]:
    draw = random.Random(2)
    return [(2 * i, draw.choice("xyz"), draw.choice([None, i % 90]), None, f"n{i}")
            for i in range(count)]  # fmt: skip


def contents(db: Any, table: str) -> list[tuple[Any, ...]]:
    found = db.sql(f"SELECT * FROM {table}").rows()
    return sorted(found, key=repr)


class Pair:
    """Both engines with a table: a full segment and a tail."""

    def __init__(self, scheme: str, count: int) -> None:
        self.db = am.connect(":memory:", **small(scheme))
        self.duck = duckdb.connect()
        self.db.sql(DDL)
        self.duck.execute(PLAIN)
        for engine in (self.db.sql, self.duck.execute):
            for ddl in OTHERS:
                engine(ddl)
        self.db.table("t").insert(rows(count))
        self.duck.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows(count))

    def run(self, sql: str) -> None:
        """One statement in both, and the same rows and count afterwards."""
        done = self.db.sql(sql)
        (changed,) = self.duck.execute(sql).fetchone() or (None,)
        assert done.changed == changed, sql
        for table in ("t", "u", "w"):
            expected = self.duck.execute(f"SELECT * FROM {table}").fetchall()
            assert contents(self.db, table) == sorted(expected, key=repr), sql
        total = "SELECT count(*), sum(a), sum(d) FROM t WHERE a > 3"
        assert self.db.sql(total).rows() == self.duck.execute(total).fetchall(), sql


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair("noop", FULL + 30)
    yield made
    made.db.close()


def test_statements_equal_duckdb(pair: Pair) -> None:
    """One after the other, over rows of the segment, of the tail, and new ones."""
    for sql in STATEMENTS:
        pair.run(sql)


def test_parameters_and_many(pair: Pair) -> None:
    """Many sets of parameters are one statement, with its ON CONFLICT."""
    sql = "INSERT INTO t (k, a) VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET a = EXCLUDED.a"
    done = pair.db.sql_many(sql, [(1, 5), (2, 6), (3, 7)])
    pair.duck.executemany(sql, [(1, 5), (2, 6), (3, 7)])
    assert done.changed == 3
    assert "which of these keys existed" in done.learned
    pair.run("INSERT OR IGNORE INTO t (k) VALUES (1)")


def test_refused(pair: Pair) -> None:
    """With a type and a fix, and nothing is changed."""
    pair.db.sql("CREATE TABLE nokey (a INTEGER)")
    pair.db.sql("CREATE TABLE uni (a INTEGER PRIMARY KEY, b INTEGER)")
    pair.db.sql("CREATE UNIQUE INDEX i ON uni (b)")
    pair.db.sql("INSERT INTO t VALUES (1, 'a', 50, 1, 'x')")
    before = contents(pair.db, "t")
    for sql, code in REFUSED.items():
        with pytest.raises(am.AmatersError) as caught:
            pair.db.sql(sql)
        assert caught.value.code == code, sql
    assert contents(pair.db, "t") == before
    pair.db.sql("INSERT INTO uni VALUES (1, 7)")
    pair.db.sql("INSERT INTO uni VALUES (1, 8) ON CONFLICT (a) DO UPDATE SET b = EXCLUDED.b")
    with pytest.raises(am.ConflictError, match="AM-3092"):
        pair.db.sql("INSERT INTO uni VALUES (2, 8) ON CONFLICT (a) DO NOTHING")


def test_increments_that_race_all_count(tmp_path: Path) -> None:
    """Eight tasks add up in one row, which the first of them inserts: none gets lost."""

    async def work() -> Any:
        options = {**small("noop"), "keys": str(tmp_path / "keys")}
        async with am.connect_async(":memory:", **options) as db:
            await db.sql(DDL)
            sql = "INSERT INTO t (k, a) VALUES (1, 1) ON CONFLICT (k) DO UPDATE SET a = t.a + 1"
            await asyncio.gather(*(db.sql(sql) for _ in range(8)))
            return (await db.sql("SELECT a FROM t")).scalar()

    assert asyncio.run(work()) == 8


def test_real_scheme() -> None:
    """Replaced rows of a real segment: totals over ciphertexts follow."""
    made = Pair("bgv", FULL)
    for sql in (STATEMENTS[0], STATEMENTS[1], STATEMENTS[5]):
        made.run(sql)
    made.db.close()
