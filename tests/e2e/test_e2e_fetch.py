"""FETCH EXACT, PADDED and ALL: equal answers, and what the engine sees of each."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from door_support import open_through_door
from e2e_support import FULL, Spy, open_on, small

import amaters as am
from amaters.client import reader
from amaters.client.decoys import with_decoys
from amaters.engine.service import open_engine
from amaters.plan.fetching import DECOYS_MIN, padded_count
from amaters.wire import service_pb2 as pb
from amaters.wire.blocks import decode_block

DDL = """CREATE TABLE t (k INTEGER PRIMARY KEY, p TEXT,
  a INTEGER ENCRYPTED WITH (QUERIES = 'eq,range', MIN = 0, MAX = 1000), n TEXT ENCRYPTED)"""
ROWS = [(3 * i, "xy"[i % 2], i % 50, f"n{i % 7}") for i in range(2 * FULL + 30)]
QUERIES = (
    "SELECT * FROM t WHERE a = 7",
    "SELECT k, a FROM t WHERE a > 40 AND p = 'x'",
    "SELECT k FROM t WHERE a < 2 OR p = 'y' AND a = 9",
    "SELECT n, a FROM t WHERE a = 1000",
    "SELECT DISTINCT n FROM t WHERE a < 3 ORDER BY n",
    "SELECT k FROM t WHERE a BETWEEN 3 AND 5 ORDER BY a DESC, k LIMIT 4 OFFSET 1",
)


class Fetches(Spy):
    """Remembers what rows were asked for."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.requests: list[pb.FetchRequest] = []
        self.blocks: list[pb.RowBlock] = []

    async def fetch_rows(self, request: pb.FetchRequest) -> Any:
        self.requests.append(request)
        async for block in self.inner.fetch_rows(request):
            if request.slots:
                self.blocks.append(block)
            yield block

    def slots(self) -> list[tuple[bytes, tuple[int, ...]]]:
        """The slots of each segment that were fetched, and forget them."""
        listed = [(s.segment_id, tuple(s.slots)) for r in self.requests for s in r.slots]
        self.requests.clear()
        return sorted(listed)


async def opened(keyring: Path) -> tuple[Any, Fetches]:
    spy = Fetches(open_engine(":memory:", unsafe_scheme=True))
    db = await open_on(spy, keyring=keyring)
    await db.sql(DDL)
    await (await db.table("t")).insert(ROWS)
    return db, spy


def test_equal_answers_in_every_mode() -> None:
    """Over segments, dead rows, a tail; in SQL and Python; from a SELECT into a table."""
    with am.connect(":memory:", **small("noop")) as db:
        db.sql(DDL)
        db.table("t").insert(ROWS)
        db.sql("DELETE FROM t WHERE a = 8 OR k < 30")
        for sql in QUERIES:
            exact = db.sql(f"{sql} FETCH EXACT").rows()
            assert sorted(exact) == sorted(db.sql(sql).rows())
            for mode in ("PADDED", "all"):
                found = db.sql(f"{sql} FETCH {mode}").rows()
                assert (found if "ORDER BY" in sql else sorted(found)) == (
                    exact if "ORDER BY" in sql else sorted(exact)
                ), (sql, mode)
        query = db.table("t").filter(am.col("a") == 7)
        assert sorted(query.fetch("padded").rows()) == sorted(query.rows())
        db.sql("CREATE TABLE u (k INTEGER PRIMARY KEY)")
        assert db.sql("INSERT INTO u SELECT k FROM t WHERE a = 7 FETCH PADDED").changed == len(
            query.rows()
        )
        # A condition that the engine could not evaluate: it is not asked to.
        expected = [row for row in db.sql("SELECT k, n FROM t").rows() if row[1] == "n3"]
        found = db.sql("SELECT k, n FROM t WHERE n = 'n3' FETCH ALL").rows()
        assert sorted(found) == sorted(expected)
        with db.transaction() as tx:
            tx.sql("UPDATE t SET a = 7 WHERE k = 300")
            found = tx.sql("SELECT k FROM t WHERE a = 7 FETCH PADDED").rows()
            assert (300,) in found and len(found) == len(query.rows()) + 1


def test_what_is_refused() -> None:
    with am.connect(":memory:", **small("noop")) as db:
        db.sql(DDL)
        for sql in ("SELECT count(*) FROM t FETCH ALL", "DELETE FROM t FETCH PADDED",
                    "SELECT t.k FROM t JOIN t AS u ON t.k = u.k FETCH ALL",
                    "SELECT k FROM t WHERE a = (SELECT max(k) FROM t) FETCH PADDED"):  # fmt: skip
            with pytest.raises(am.InvalidError) as caught:
                db.sql(sql)
            assert caught.value.code == "AM-2150", sql
        with pytest.raises(am.InvalidError, match="AM-5007"):
            db.table("t").query().fetch("some")
        with pytest.raises(am.InvalidError, match="AM-2107"):
            db.sql("SELECT k FROM t WHERE n = 'n3' FETCH PADDED")


def test_what_the_engine_sees(tmp_path: Path) -> None:
    """Padded: a power of two per segment, the matching ones among them, the same ones each time,
    others for another condition, none that a public condition excludes. All: no condition.
    """

    async def work() -> None:
        db, spy = await opened(tmp_path)
        sql = "SELECT k FROM t WHERE a = 7"
        spy.requests.clear()
        await db.sql(sql)
        exact = dict(spy.slots())
        await db.sql(f"{sql} FETCH PADDED")
        padded = spy.slots()
        for segment, slots in padded:
            assert len(slots) == padded_count(len(exact[segment])) == 32
            assert set(exact[segment]) < set(slots)
        await db.sql(f"{sql} FETCH PADDED")
        assert spy.slots() == padded
        for spelled, given in (("?", [7]), (":name", {"name": 7})):
            await db.sql(f"SELECT k FROM t WHERE a = {spelled} FETCH PADDED", given)
            assert spy.slots() == padded, spelled
        await db.sql("SELECT k FROM t WHERE a = 2000 FETCH PADDED")
        nothing = spy.slots()
        assert [len(slots) for _, slots in nothing] == [DECOYS_MIN, DECOYS_MIN]
        assert not set(nothing[0][1]) <= set(padded[0][1])
        spy.blocks.clear()
        found = await db.sql("SELECT k, p FROM t WHERE a = 7 AND p = 'y' FETCH PADDED")
        assert len(found) < sum(block.rows for block in spy.blocks)
        public = [decode_block(block.public_block).columns[2][0] for block in spy.blocks]
        assert {text for texts in public for text in texts} == {"y"}
        spy.requests.clear()
        spy.calls.clear()
        await db.sql(f"{sql} FETCH ALL")
        assert spy.slots() == [] and "put_constants" not in spy.calls
        assert spy.calls.keys() <= {"snapshot", "read_canaries", "read_tail", "release"}
        await db.close()

    asyncio.run(work())


def test_decoys_are_keyed() -> None:
    """Other keys, other decoys; all candidates when there are too few."""

    class Keys:
        sealing_key = b"s" * 32

        def __init__(self, mac_key: bytes) -> None:
            self.mac_key = mac_key

    with am.connect(":memory:", **small("noop")) as db:
        db.sql(DDL)
        table = db.table("t").schema()
    mask = np.zeros(1024, dtype=np.bool_)
    mask[[5, 9]] = True
    live = np.ones(900, dtype=np.bool_)
    one, two = (
        with_decoys(Keys(key * 32), table, None, {b"s": mask}, {b"s": live})[b"s"]
        for key in (b"a", b"b")
    )
    assert one.sum() == two.sum() == DECOYS_MIN
    assert bool(one[[5, 9]].all()) and not bool((one == two).all())
    few = np.zeros(900, dtype=np.bool_)
    few[:12] = True
    assert with_decoys(Keys(b"a" * 32), table, None, {b"s": mask}, {b"s": few})[b"s"].sum() == 12


def test_explain_says_what_each_shows() -> None:
    with am.connect(":memory:", **small("noop")) as db:
        db.sql(DDL)
        db.table("t").insert(ROWS[:FULL])
        sql = "SELECT k FROM t WHERE a = 7 AND p = 'x'"
        exact, padded, everything = (
            db.explain(f"{sql} FETCH {mode}") for mode in ("EXACT", "PADDED", "ALL")
        )
        assert "and so which matched" in exact
        assert "among decoys, in each segment as many as the next power of two" in padded
        assert "and so which matched" not in padded
        learned, hidden = everything.split("the server does not learn")
        assert "that all rows are fetched" in learned
        assert "condition" not in learned.split("the server learns")[1]
        assert "the condition, its constants" in hidden


def test_a_decoy_that_should_have_matched_is_noticed(tmp_path: Path) -> None:
    """Decoys are witnesses: an engine whose mask leaves rows out is caught by those it is asked."""

    async def work() -> None:
        db, _ = await opened(tmp_path)

        original = reader.check_masks

        def forgetful(guards: Any, masks: Any, where: Any, table: Any) -> None:
            original(guards, masks, where, table)
            for mask in masks.values():
                mask[np.flatnonzero(mask)[1:]] = False

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reader, "check_masks", forgetful)
            with pytest.raises(am.DataError, match="AM-5012"):
                await db.sql("SELECT k FROM t WHERE a >= 10 FETCH PADDED")
        await db.close()

    asyncio.run(work())


def test_real_scheme() -> None:
    with am.connect(":memory:", **small("bgv")) as db:
        db.sql(DDL)
        db.table("t").insert(ROWS[:FULL])
        expected = sorted(row for row in ROWS[:FULL] if row[2] == 7)
        for mode in ("EXACT", "PADDED", "ALL"):
            assert sorted(db.sql(f"SELECT * FROM t WHERE a = 7 FETCH {mode}").rows()) == expected


@pytest.mark.parametrize("mode", ["EXACT", "PADDED", "ALL"])
def test_commit_names_no_row_that_was_fetched_among_others(mode: str) -> None:
    """Rows that a transaction read are checked at COMMIT by key: after PADDED or ALL that would
    tell which of the fetched rows matched.
    """
    opened = open_through_door(scheme="noop")
    opened.db.sql(DDL)
    opened.db.sql("CREATE TABLE other (k INTEGER PRIMARY KEY)")
    opened.db.table("t").insert(ROWS)
    opened.db.sql("BEGIN")
    assert len(opened.db.sql(f"SELECT * FROM t WHERE a = 7 FETCH {mode}")) > 10
    opened.db.sql("INSERT INTO other VALUES (1)")
    opened.door.forget()
    opened.db.sql("COMMIT")
    (call,) = opened.door.of("commit_batch")
    checked = [part for part in call.request.parts if part.checked.keys]
    assert bool(checked) == (mode == "EXACT")
    opened.db.close()
