"""BEGIN, COMMIT, ROLLBACK: beside DuckDB in one session, and against another client in between."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from e2e_support import FULL, Spy, open_on, small

import amaters as am
from amaters.engine.service import open_engine

DDL = """CREATE TABLE t (k INTEGER PRIMARY KEY, p TEXT,
  a INTEGER ENCRYPTED WITH (QUERIES = 'eq,range,sum', MIN = -1000, MAX = 100000),
  n TEXT ENCRYPTED)"""
PLAIN = "CREATE TABLE t (k INTEGER PRIMARY KEY, p TEXT, a INTEGER, n TEXT)"
FREE = "CREATE TABLE free (a INTEGER{}, p TEXT)"
IN_ORDER = (
    "INSERT INTO t VALUES (7001, 'new', 5, 'mine')",
    "UPDATE t SET a = a + 1 WHERE a = 5",
    "SELECT k, a, n FROM t WHERE a = 6",
    "DELETE FROM t WHERE k < 10 AND a > 2",
    "SELECT * FROM t WHERE k < 20",
    "INSERT INTO t VALUES (2, 'back', 1, 'again') ON CONFLICT (k) DO NOTHING",
    "INSERT INTO t VALUES (4, 'x', 9, 'up'), (7001, 'y', 8, 'up'), (7003, 'z', 7, 'up') "
    "ON CONFLICT (k) DO UPDATE SET a = t.a + EXCLUDED.a, n = EXCLUDED.n",
    "SELECT count(*), sum(a), max(k), min(a) FROM t WHERE k IN (4, 7001, 7003, 9999)",
    "INSERT INTO free VALUES (1, 'one'), (2, 'two')",
    "UPDATE free SET p = 'three' WHERE p = 'two'",
    "SELECT * FROM free WHERE p IS NOT NULL",
    "INSERT INTO free SELECT a, p FROM t WHERE a > 13 AND k < 60",
    "SELECT p, a FROM t WHERE a BETWEEN 4 AND 7 ORDER BY k DESC LIMIT 7",
    "SELECT count(*), sum(a), avg(a), count(DISTINCT p) FROM t WHERE a > 4",
    "SELECT p, count(*), sum(a) FROM t GROUP BY p HAVING count(*) > 1",
    "UPDATE t SET p = 'all' WHERE a = 9 OR k = 12",
    "SELECT p, sum(a) FROM t WHERE a < 12 OR p = 'all' GROUP BY p",
    "SELECT count(*) FROM t",
    "SELECT count(*), count(p) FROM free",
    "SELECT k FROM t WHERE a = (SELECT a FROM t WHERE k = 4) AND k < 5000",
    "DELETE FROM t WHERE k = 7003",
    "SELECT k FROM t WHERE k > 6000",
)


def rows(count: int) -> list[tuple[Any, ...]]:
    draw = random.Random(4)
    return [(2 * i, draw.choice("xyz"), draw.choice([None, i % 17]), f"n{i}") for i in range(count)]


class Pair:
    """Both engines, each with a transaction or not."""

    def __init__(self, scheme: str = "noop", count: int = FULL + 40) -> None:
        self.db = am.connect(":memory:", **small(scheme))
        self.duck = duckdb.connect()
        for ours, theirs in ((DDL, PLAIN), (FREE.format(" ENCRYPTED"), FREE.format(""))):
            self.db.sql(ours)
            self.duck.execute(theirs)
        self.db.table("t").insert(rows(count))
        self.duck.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows(count))

    def both(self, sql: str) -> None:
        """Run a statement in both and compare its answer, or how many rows it changed."""
        done, expected = self.db.sql(sql), self.duck.execute(sql)
        theirs = expected.fetchall() if expected.description else []
        if done.columns:
            key = None if "ORDER BY" in sql else repr
            ours = done.rows()
            assert (ours if key is None else sorted(ours, key=key)) == (
                theirs if key is None else sorted(theirs, key=key)
            ), sql
        elif theirs:
            assert done.changed == theirs[0][0], sql

    def same(self) -> None:
        """Equal contents, and equal totals over ciphertexts."""
        for sql in ("SELECT * FROM t", "SELECT * FROM free"):
            self.both(sql)
        self.both("SELECT p, count(*), sum(a) FROM t WHERE a > 2 GROUP BY p")


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.db.close()


def test_statements_in_a_transaction_equal_duckdb(pair: Pair) -> None:
    """Everything sees what came before it; COMMIT makes it so for all."""
    for sql in ("BEGIN", *IN_ORDER, "COMMIT"):
        pair.both(sql)
    pair.same()


def test_rollback_leaves_nothing(pair: Pair) -> None:
    for sql in ("START TRANSACTION", *IN_ORDER[:9], "ABORT"):
        pair.both(sql)
    pair.same()
    with pytest.raises(am.InvalidError, match="AM-3133"):
        pair.db.sql("COMMIT")


def test_the_python_side(pair: Pair) -> None:
    """``with``: commit at the end, rollback on an error; rows by key see what was written."""
    db = pair.db
    with db.transaction() as tx:
        assert tx.get("t", 4, ["k", "a"]) == {"k": 4, "a": db.table("t").get(4)["a"]}
        tx.upsert("t", [(4, "u", 44, "u")])
        tx.insert("t", [(9001, "i", 1, "i")])
        assert tx.delete("t", [6, 9999]) == 1
        assert tx.get("t", 6) is None
        found = tx.get_many("t", [9001, 6, 4], ["k", "a"]).rows()
        assert found == [(9001, 1), (4, 44)]
        assert db.table("t").get(6) is not None
        assert tx.sql("SELECT a FROM t WHERE k = 4").scalar() == 44
    assert db.table("t").get_many([9001, 6, 4], ["k", "a"]).rows() == [(9001, 1), (4, 44)]
    with pytest.raises(ZeroDivisionError), db.transaction() as tx:
        tx.delete("t", [4])
        raise ZeroDivisionError
    assert db.table("t").get(4) is not None
    with pytest.raises(am.InvalidError, match="AM-3133"):
        tx.sql("SELECT k FROM t WHERE k = 4")


def test_tables_of_a_database_take_part(pair: Pair) -> None:
    """After BEGIN the methods of tables belong to the transaction too."""
    db, t = pair.db, pair.db.table("t")
    db.sql("BEGIN")
    assert db.in_transaction
    t.insert([(9001, "i", 1, "i")])
    t.upsert([(4, "u", 2, "u")])
    assert t.delete([8]) == 1
    assert t.get(8) is None and t.get(9001)["a"] == 1
    assert t.update({"a": 3}, am.col("k") == 9001) == 1
    db.sql("ROLLBACK")
    assert not db.in_transaction
    assert t.get(9001) is None and t.get(8) is not None


def test_what_cannot_be_in_a_transaction(pair: Pair, tmp_path: Path) -> None:
    """Refused with a fix, and the transaction goes on."""
    db = pair.db
    db.sql("BEGIN")
    for sql in ("CREATE TABLE u (k INTEGER)", "DROP TABLE t", "CREATE INDEX i ON t (p)",
                "ALTER TABLE t RENAME COLUMN p TO q"):  # fmt: skip
        with pytest.raises(am.InvalidError, match="AM-3131"):
            db.sql(sql)
    with pytest.raises(am.InvalidError, match="AM-3132"):
        db.sql("BEGIN")
    assert db.sql("SELECT count(*) FROM t WHERE a > 2").scalar() > 0
    db.sql("UPDATE t SET a = 1 WHERE k = 4")
    with pytest.raises(am.InvalidError, match="AM-3130"):
        db.sql("SELECT max(a) FROM t WHERE a > 2")
    with pytest.raises(am.InvalidError, match="AM-3130"):
        db.sql("SELECT t.k FROM t JOIN free ON free.a = t.k")
    with pytest.raises(am.ConflictError, match="AM-5010"):
        db.sql("INSERT INTO t VALUES (4, 'x', 1, 'x')")
    with pytest.raises(am.InvalidError, match="AM-2003"):
        db.sql("UPDATE t SET a = 1000000 WHERE k = 6")
    path = tmp_path / "rows.csv"
    path.write_text("8001,p,1,n\n")
    assert db.sql(f"COPY t FROM '{path}'").changed == 1
    assert db.sql("COMMIT").changed == 2
    assert db.sql("SELECT a FROM t WHERE k IN (4, 8001)").rows() == [(1,), (1,)]


def test_explain(pair: Pair) -> None:
    """What COMMIT would do and show; EXPLAIN does nothing, EXPLAIN ANALYZE commits."""
    db = pair.db
    assert "nothing is sent" in db.explain("BEGIN")
    db.sql("BEGIN")
    assert "nothing is sent" in db.explain("COMMIT")
    db.sql("SELECT k FROM t WHERE k = 10")
    db.sql("UPDATE t SET a = 1 WHERE k = 4")
    db.sql("DELETE FROM t WHERE k = 6")
    text = db.explain("COMMIT")
    assert "t: 1 rows written, 1 of them over existing ones, 1 deleted, 1 others" in text
    for sentence in ("t: which rows are replaced or deleted", "t: which other rows were read"):
        assert sentence in text
    assert "nothing is sent" in db.explain("ROLLBACK")
    for form in ("json", "pgjson", "mermaid"):
        shown = db.explain("COMMIT", format=form)
        assert form == "mermaid" or json.loads(shown)
    assert "committed 2 rows" in db.sql("EXPLAIN ANALYZE COMMIT").scalar()
    assert not db.in_transaction


def test_conflicts_with_another_client(tmp_path: Path) -> None:
    """First committer wins: what was fetched must be unchanged, be it written or only read."""
    service = open_engine(":memory:", unsafe_scheme=True)
    keyring = tmp_path / "keys"

    async def conflict(mine: str, theirs: str, lost: bool) -> None:
        one, two = [await open_on(service, keyring=keyring) for _ in range(2)]
        await one.sql("BEGIN")
        await one.sql(mine)
        await one.sql("INSERT INTO other VALUES (1)")
        await two.sql(theirs)
        if lost:
            with pytest.raises(am.ConflictError, match=r"AM-3060|AM-5010"):
                await one.sql("COMMIT")
        else:
            await one.sql("COMMIT")
        assert not one.in_transaction
        kept = (await one.sql("SELECT count(*) FROM other")).scalar()
        assert kept == (0 if lost else 1), (mine, theirs)
        await one.sql("DELETE FROM other")

    async def work() -> None:
        first = await open_on(service, keyring=keyring)
        await first.sql(DDL)
        await first.sql("CREATE TABLE other (k INTEGER PRIMARY KEY)")
        await (await first.table("t")).insert(rows(FULL + 40))
        for mine in ("SELECT a FROM t WHERE k = 4", "UPDATE t SET n = 'm' WHERE k = 4",
                     "DELETE FROM t WHERE k = 4", "SELECT k FROM t WHERE a = 2"):  # fmt: skip
            await conflict(mine, "UPDATE t SET p = 'theirs' WHERE k = 4", True)
            await conflict(mine, "UPDATE t SET p = 'theirs' WHERE k = 2000", False)
            await first.sql("INSERT OR REPLACE INTO t VALUES (4, 'y', 2, 'n2')")
        one, two = [await open_on(service, keyring=keyring) for _ in range(2)]
        await one.sql("BEGIN")
        await one.sql("UPDATE t SET a = 3 WHERE k = 12")
        await two.sql("UPDATE t SET p = 'theirs' WHERE k = 12")
        with pytest.raises(am.ConflictError, match="AM-3060"):  # a total of neither state
            await one.sql("SELECT sum(a) FROM t WHERE a > 1")
        await one.sql("ROLLBACK")
        await one.sql("BEGIN")
        await one.sql("INSERT INTO t (k) VALUES (14)")
        for sql in (
            "SELECT count(*) FROM t WHERE a > 1",
            "SELECT k FROM t WHERE k < 20 AND a >= 0",
        ):
            with pytest.raises(am.ConflictError, match="AM-5010"):
                await one.sql(sql)
        await one.sql("ROLLBACK")
        absent = "SELECT a FROM t WHERE k = 7777"
        await conflict(absent, "INSERT INTO t (k) VALUES (7777)", True)
        await conflict(absent, "DELETE FROM t WHERE k = 7777", True)
        await conflict("INSERT INTO t (k) VALUES (5555)", "INSERT INTO t (k) VALUES (5555)", True)

    asyncio.run(work())


@pytest.mark.parametrize("way", ["k = 4", "a = 77", "by key"])
def test_a_new_row_deleted_again_leaves_a_committed_one(pair: Pair, way: str) -> None:
    """DELETE notices a key that exists, and COMMIT deletes nothing; without one both are fine."""
    db = pair.db
    kept = db.table("t").get(4)

    def changed(tx: am.Transaction, key: int) -> None:
        tx.insert("t", [(key, "i", 77, "i")])
        if way == "by key":
            assert tx.delete("t", [key]) == 1
        else:
            tx.sql(f"DELETE FROM t WHERE {way.replace('4', str(key))}")
        assert tx.get("t", key) is None

    with pytest.raises(am.ConflictError, match="AM-5010"), db.transaction() as tx:
        changed(tx, 4)
    assert db.table("t").get(4) == kept
    with db.transaction() as tx:
        changed(tx, 4001)
        tx.insert("t", [(4001, "j", 78, "j"), (4003, "j", 79, "j")])
    assert db.table("t").get_many([4001, 4003], ["a"]).rows() == [(78,), (79,)]
    with pytest.raises(am.ConflictError, match="AM-3060"), db.transaction() as tx:
        changed(tx, 4005)
        tx.insert("t", [(4007, "j", 79, "j")])
        db.table("t").insert([(4005, "theirs", 1, "n")])
    assert db.table("t").get(4005, ["a"]) == {"a": 1}


class Racing(Spy):
    """Another client writes right after a snapshot was pinned."""

    race: Callable[[], Awaitable[Any]] | None = None

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        if name != "snapshot":
            return method

        async def snapshot(*arguments: Any) -> Any:
            reply = await method(*arguments)
            race, self.race = self.race, None
            if race is not None:
                await race()
            return reply

        return snapshot


def test_a_total_over_a_blind_upsert_is_of_one_state(tmp_path: Path) -> None:
    """A row that changes between the total and its correction is a conflict, not a wrong sum."""

    async def work() -> None:
        spy = Racing(open_engine(":memory:", unsafe_scheme=True))
        one = await open_on(spy, keyring=tmp_path / "keys")
        two = await open_on(spy.inner, keyring=tmp_path / "keys")
        await one.sql(DDL)
        await one.sql("INSERT INTO t (k, a) VALUES (1, 1), (2, 2)")
        tx = one.transaction()
        await tx.upsert("t", [(1, "m", 100, "m")])
        spy.race = lambda: two.sql("UPDATE t SET a = 500 WHERE k = 1")
        with pytest.raises(am.ConflictError, match="AM-3060"):
            await tx.sql("SELECT sum(a) FROM t")
        assert spy.race is None
        tx = one.transaction()
        await tx.upsert("t", [(1, "m", 100, "m")])
        assert (await tx.sql("SELECT sum(a) FROM t")).scalar() == 102
        await tx.commit()
        assert (await two.sql("SELECT sum(a) FROM t")).scalar() == 102

    asyncio.run(work())


def test_nothing_is_sent_before_commit_and_one_batch_then() -> None:
    """Writes that read nothing send nothing; COMMIT sends one batch."""

    async def work() -> None:
        spy = Spy(open_engine(":memory:", unsafe_scheme=True))
        db = await open_on(spy)
        await db.sql(DDL)
        async with db.transaction() as tx:
            spy.calls.clear()
            await tx.sql("INSERT INTO t VALUES (1, 'a', 2, 'b')")
            await tx.sql("INSERT INTO t VALUES (2, 'a', 2, 'b')")
            assert spy.calls.total() == 0
        assert spy.calls["commit_batch"] == 1 and spy.calls["commit"] == 0
        assert (await db.sql("SELECT count(*) FROM t WHERE a = 2")).scalar() == 2
        await db.close()

    asyncio.run(work())


def test_durable_and_real(tmp_path: Path) -> None:
    """The real scheme, in a directory: committed rows are there after opening it again."""
    options = {**small("bgv"), "keys": str(tmp_path / "keys")}
    with am.connect(str(tmp_path / "db"), **options) as db:
        db.sql(DDL)
        db.table("t").insert(rows(FULL))
        with db.transaction() as tx:
            tx.sql("UPDATE t SET a = a + 100 WHERE a = 3")
            tx.sql("DELETE FROM t WHERE a = 4")
            assert tx.sql("SELECT k FROM t WHERE a = 4").rows() == []
    with am.connect(str(tmp_path / "db"), **options) as db:
        threes = sum(1 for _, _, a, _ in rows(FULL) if a == 3)
        assert db.sql("SELECT count(*) FROM t WHERE a > 100").scalar() == threes
        assert db.sql("SELECT count(*) FROM t WHERE a = 4").scalar() == 0
