"""Columns for accumulate: UPDATE equals DuckDB's, and does not show which rows it changes."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import duckdb
import pytest
from e2e_support import FULL, Spy, open_on, small

import amaters as am
from amaters.client.guard import read_guards
from amaters.client.rows import snapshot
from amaters.engine.service import open_engine

DDL = """CREATE TABLE t (k INTEGER PRIMARY KEY, p TEXT,
  a INTEGER ENCRYPTED WITH (QUERIES = 'eq,range', MIN = 0, MAX = 100),
  c INTEGER ENCRYPTED WITH (QUERIES = 'sum,accumulate', MIN = -100000, MAX = 100000),
  d DECIMAL(9,2) ENCRYPTED WITH (QUERIES = 'sum,accumulate'), n TEXT ENCRYPTED)"""
PLAIN = (
    "CREATE TABLE t (k INTEGER PRIMARY KEY, p TEXT, a INTEGER, c INTEGER, d DECIMAL(9,2), n TEXT)"
)
UPDATES = (
    "UPDATE t SET c = c + 5 WHERE a > 40",
    "UPDATE t SET c = c * 2 - 1, d = d + 0.25 WHERE a = 7 AND p = 'x'",
    "UPDATE t SET d = 1.5 WHERE n = 'n3'",
    "UPDATE t SET c = c + 1 WHERE k = 12",
    "UPDATE t SET c = c - 7 WHERE c > 100 OR d IS NULL",
    "UPDATE t SET c = c + 1000 WHERE a = 101",
    "UPDATE t SET c = NULL WHERE k BETWEEN 30 AND 60",
    "UPDATE t SET c = 9",
)
TOTALS = (
    "SELECT count(*), sum(c), sum(d), avg(c) FROM t WHERE a > 40",
    "SELECT p, count(c), sum(c) FROM t WHERE a < 90 GROUP BY p",
    "SELECT sum(c * d) FROM t WHERE p = 'x' AND a > 10",
)
REFUSED = {
    "UPDATE t SET c = c + 1, n = 'x'": "AM-2151",
    "UPDATE t SET c = c + 300000 WHERE k = 12": "AM-2003",
    "SELECT count(*) FROM t WHERE c > 3": "AM-2107",
    "CREATE TABLE u (c INTEGER ENCRYPTED WITH (QUERIES = 'accumulate'))": "AM-2024",
    "CREATE TABLE u (c INTEGER ENCRYPTED WITH (QUERIES = 'sum,range,accumulate'))": "AM-2024",
    "CREATE TABLE u (c DATE ENCRYPTED WITH (QUERIES = 'sum,accumulate'))": "AM-2024",
    "ALTER TABLE t ALTER COLUMN c ADD QUERY range": "AM-2024",
}


def rows(count: int) -> list[tuple[Any, ...]]:
    draw = random.Random(6)
    return [(3 * i, draw.choice("xyz"), draw.choice([None, i % 101]), draw.randrange(200), None,
             f"n{i % 9}") for i in range(count)]  # fmt: skip


def same(db: am.Database, duck: Any) -> None:
    """Rows and totals over ciphertexts."""
    for sql in ("SELECT * FROM t", *TOTALS):
        ours, theirs = db.sql(sql).rows(), duck.execute(sql).fetchall()
        assert sorted(ours, key=repr) == sorted(theirs, key=repr), sql


def pair(scheme: str, count: int) -> tuple[am.Database, Any]:
    db, duck = am.connect(":memory:", **small(scheme)), duckdb.connect()
    db.sql(DDL)
    duck.execute(PLAIN)
    db.table("t").insert(rows(count))
    duck.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows(count))
    return db, duck


def test_updates_equal_duckdb() -> None:
    """Conditions of every kind, also of sealed columns and of the column itself; between other
    changes, a compaction, and in a transaction.
    """
    db, duck = pair("noop", FULL + 60)
    with db:
        for number, sql in enumerate(UPDATES):
            assert db.sql(sql).changed == duck.execute(sql).fetchone()[0], sql
            same(db, duck)
            if number == 2:
                for other in ("DELETE FROM t WHERE a = 5", "INSERT INTO t (k, c) VALUES (-1, 3)"):
                    db.sql(other)
                    duck.execute(other)
                db.compact()
        for sql in (
            "BEGIN",
            UPDATES[0],
            "UPDATE t SET n = 'new' WHERE k < 40",
            UPDATES[0],
            "COMMIT",
        ):
            db.sql(sql)
            duck.execute(sql)
        same(db, duck)


def test_what_is_refused() -> None:
    """With a type and a fix, and nothing is changed."""
    db, duck = pair("noop", 50)
    with db:
        for sql, code in REFUSED.items():
            with pytest.raises(am.InvalidError) as caught:
                db.sql(sql)
            assert caught.value.code == code, sql
        same(db, duck)


class Sizes(Spy):
    """Remembers methods and sizes of what is sent, in order."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.sent: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        if name not in ("fetch_rows", "commit_batch", "upload", "put_constants", "read_tail"):
            return method

        def noted(request: Any, *rest: Any) -> Any:
            self.sent.append((name, request.ByteSize()))
            if name == "commit_batch":
                (part,) = request.parts
                versions = len(part.removed.versions)
                self.sent.append(("replaced", versions))
            return method(request, *rest)

        return noted


def test_the_engine_sees_the_same_whatever_changes(tmp_path: Path) -> None:
    """No row, one, half, all; other constants and columns in the condition: equal requests."""

    async def work() -> None:
        spy = Sizes(open_engine(":memory:", unsafe_scheme=True))
        db = await open_on(spy, keyring=tmp_path)
        await db.sql(DDL)
        await (await db.table("t")).insert(rows(FULL + 60))
        await db.sql("UPDATE t SET c = c + 1")
        seen = []
        for where in ("a > 500", "k = 12", "a > 50", "a <> 3 OR n = 'n1'", "k >= 0"):
            spy.sent.clear()
            spy.calls.clear()
            done = await db.sql(f"UPDATE t SET c = c + 13 WHERE {where}")
            assert "written again" in done.learned[-1]
            seen.append(list(spy.sent))
            assert "put_constants" not in spy.calls
        assert all(name_sizes(other) == name_sizes(seen[0]) for other in seen)
        replaced = [size for name, size in seen[0] if name == "replaced"]
        assert replaced[0] >= FULL + 60
        await db.close()

    asyncio.run(work())


def name_sizes(sent: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Requests but for what varies with ids and compression: sizes to one part in ten."""
    return [(name, round(size, -3) if size > 5000 else 0) for name, size in sent]


def test_fresh_canaries_are_covered_by_witnesses() -> None:
    """The rows were seen before, and fresh canaries were not: real rows are checked as well."""

    async def work() -> None:
        db = await open_on(open_engine(":memory:", unsafe_scheme=True))
        await db.sql(DDL)
        await (await db.table("t")).insert(rows(FULL))
        await db.sql("UPDATE t SET c = c + 1 WHERE a > 3")
        table = (await db._session.tables())["t"]
        async with snapshot(db._session, table) as pinned:
            guards = await read_guards(db._session, table, pinned)
        (guard,) = guards.values()  # nothing is left of the old segment
        assert guard.witnesses is not None and len(guard.positions) == 64
        await db.close()

    asyncio.run(work())


def test_increments_that_race_all_count(tmp_path: Path) -> None:
    async def work() -> Any:
        db = await open_on(open_engine(":memory:", unsafe_scheme=True), keyring=tmp_path)
        await db.sql(DDL)
        await (await db.table("t")).insert([(i, "x", i, 0, None, "") for i in range(100)])
        sql = "UPDATE t SET c = c + 1 WHERE a >= 90"
        await asyncio.gather(*(db.sql(sql) for _ in range(5)))
        return (await db.sql("SELECT sum(c) FROM t")).scalar()

    assert asyncio.run(work()) == 50


def test_explain() -> None:
    """All rows, in figures; not the condition."""
    db, _ = pair("noop", FULL)
    with db:
        sql = "UPDATE t SET c = c + 77 WHERE a > 40"
        document = json.loads(db.explain(sql, format="json"))
        assert document["estimated"]["ciphertexts"] > 20
        text = db.explain(sql)
        learned, hidden = text.split("the server does not learn")
        assert "all rows are replaced, in one commit" in text
        assert "which rows change, how many, and by how much" in hidden
        assert "condition" not in learned and "77" not in text
        assert "updated" in db.sql(f"EXPLAIN ANALYZE {sql}").arrow().to_pylist().__repr__()


def test_real_scheme(tmp_path: Path) -> None:
    """On ciphertexts, and after opening the directory again."""
    options = {**small("bgv"), "keys": str(tmp_path / "keys")}
    duck = duckdb.connect()
    duck.execute(PLAIN)
    duck.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows(FULL))
    with am.connect(str(tmp_path / "db"), **options) as db:
        db.sql(DDL)
        db.table("t").insert(rows(FULL))
        for sql in UPDATES[:2]:
            db.sql(sql)
            duck.execute(sql)
    with am.connect(str(tmp_path / "db"), **options) as db:
        for sql in TOTALS[:2]:
            assert sorted(db.sql(sql).rows()) == sorted(duck.execute(sql).fetchall())
