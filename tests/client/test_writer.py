"""Inserting: how batches are divided, keys that meet canaries, and the tail's exchange."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import amaters as am
from amaters.base.clock import SystemClock
from amaters.base.progress import no_progress
from amaters.base.rng import SystemRng
from amaters.client.database import AsyncDatabase
from amaters.client.guard import read_guards
from amaters.client.keymaking import Choice
from amaters.client.rows import snapshot
from amaters.client.session import Keys, Outside, open_session
from amaters.client.writer import divide
from amaters.columns.canaries import CANARIES
from amaters.engine.service import open_engine
from amaters.wire import service_pb2 as pb

SLOTS = 1024
FULL = SLOTS - CANARIES
COLUMNS = {
    "k": am.Int64(primary_key=True),
    "a": am.UInt8(encrypt=["range", "sum"]),
    "note": am.Text(),
}


@given(st.integers(0, 20_000))
def test_division_covers_every_row_once(rows: int) -> None:
    """Segments are contiguous, at most full, at least half full; the rest is tail."""
    division = divide(rows, SLOTS)
    edges = [0, *(stop for _, stop in division.segments)]
    assert [start for start, _ in division.segments] == edges[:-1]
    assert division.tail_start == edges[-1] <= rows
    assert all(stop - start <= FULL for start, stop in division.segments)
    tail = rows - division.tail_start
    assert 2 * tail < FULL


async def open_small(service: Any) -> AsyncDatabase:
    outside = Outside(SystemClock(), SystemRng(), lambda _: None, no_progress, 1)
    choice = Choice("noop", "insecure_n1024")
    session = await open_session(
        service, url="test", keys=Keys(None), choice=choice, outside=outside
    )
    return AsyncDatabase(session)


def rows(keys: range) -> list[dict[str, Any]]:
    return [{"k": key, "a": key % 200, "note": f"n{key}"} for key in keys]


async def shape(db: AsyncDatabase) -> tuple[int, int]:
    """Segments and tail rows of table t."""
    table = await db._session.table("t")
    stats = await db._session.service.table_stats(pb.TableStatsRequest(table_id=table.id))
    return stats.segments, stats.tail_rows


async def canary_keys(db: AsyncDatabase) -> list[int]:
    table = await db._session.table("t")
    async with snapshot(db._session, table) as pinned:
        guards = await read_guards(db._session, table, pinned)
    key = table.primary_key.id
    return [k for g in guards.values() for k in g.live_rows.columns[key].values.tolist()]


async def check(db: AsyncDatabase, expected: list[dict[str, Any]]) -> None:
    """Rows, counts and sums are those of ``expected``."""
    found = await db.sql("SELECT k, a, note FROM t ORDER BY k")
    assert found.dicts() == sorted(expected, key=lambda row: row["k"])
    kept = [row["a"] for row in expected if row["a"] > 100]
    answer = await db.sql("SELECT count(*), sum(a) FROM t WHERE a > 100")
    assert answer.rows() == [(len(kept), sum(kept) if kept else None)]


def test_a_row_takes_the_key_of_an_old_canary() -> None:
    """Users may insert any key that is free for them: a canary that holds it moves out."""

    async def run() -> None:
        db = await open_small(open_engine(":memory:", unsafe_scheme=True))
        table = await db.create_table("t", COLUMNS)
        old = rows(range(0, 10 * FULL, 10))
        await table.insert(old)
        fakes = sorted(await canary_keys(db))
        assert len(fakes) == CANARIES
        single = rows(range(fakes[0], fakes[0] + 1))
        await table.insert(single)
        taken = [{"k": key, "a": 9, "note": "x"} for key in fakes[1:]]
        many = taken + rows(range(100_000, 100_000 + FULL - len(taken)))
        await table.insert(many)
        await check(db, old + single + many)
        assert not set(await canary_keys(db)) & {row["k"] for row in old + single + many}
        await db.close()

    asyncio.run(run())


def test_new_canaries_give_way_to_old_rows() -> None:
    """The gaps of a batch are full of existing rows: its canaries find other keys."""

    async def run() -> None:
        db = await open_small(open_engine(":memory:", unsafe_scheme=True))
        table = await db.create_table("t", COLUMNS)
        even, odd = rows(range(0, 2 * FULL, 2)), rows(range(1, 2 * FULL + 1, 2))
        await table.insert(even)
        await table.insert(odd)
        await check(db, even + odd)
        assert await shape(db) == (2, 0)
        await db.close()

    asyncio.run(run())


def test_small_inserts_fill_the_tail_and_then_become_a_segment() -> None:
    """No row is lost or doubled when the tail is exchanged; later statements see the same."""

    async def run() -> None:
        db = await open_small(open_engine(":memory:", unsafe_scheme=True))
        columns = {name: kind for name, kind in COLUMNS.items() if name != "k"}
        table = await db.create_table("t", columns)
        values = []
        for batch in range(6):
            fresh = [{"a": (17 * i + batch) % 256, "note": str(i)} for i in range(400)]
            values += fresh
            await table.insert(fresh)
        segments, tail = await shape(db)
        assert segments >= 1
        assert tail < FULL
        got = (await db.sql("SELECT a, note FROM t ORDER BY rowid")).dicts()
        assert got == values
        kept = [row["a"] for row in values if row["a"] > 100]
        answer = await db.sql("SELECT count(*), sum(a) FROM t WHERE a > 100")
        assert answer.rows() == [(len(kept), sum(kept))]
        keys = [row[0] for row in await db.sql("SELECT rowid FROM t")]
        assert len(set(keys)) == len(values)
        await db.close()

    asyncio.run(run())


def test_an_exchange_makes_no_small_segment() -> None:
    """What fills less than half of a segment stays in the tail, be it old rows or new ones."""

    async def run() -> None:
        db = await open_small(open_engine(":memory:", unsafe_scheme=True))
        table = await db.create_table("t", COLUMNS)
        expected = []
        for first, count in ((0, 470), (500, 480 - 1), (1000, 60), (2000, 400), (3000, 90)):
            fresh = rows(range(7 * first, 7 * (first + count), 7))
            await table.insert(fresh)
            expected += fresh
            segments, tail = await shape(db)
            assert tail <= FULL and len(expected) == FULL * segments + tail
        assert await shape(db) == (1, len(expected) - FULL)
        await check(db, expected)
        await db.close()

    asyncio.run(run())


def test_a_failed_insert_changes_nothing() -> None:
    """The engine refuses the commit after everything was uploaded: the table is as before."""

    class Refusing:
        """Loses the connection at the moment of the commit."""

        def __init__(self, inner: Any) -> None:
            self.inner = inner
            self.refuse = False

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        async def commit(self, request: pb.CommitRequest) -> pb.CommitReply:
            if self.refuse:
                raise ConnectionError
            return await self.inner.commit(request)

    async def run() -> None:
        double = Refusing(open_engine(":memory:", unsafe_scheme=True))
        db = await open_small(double)
        table = await db.create_table("t", COLUMNS)
        first = rows(range(0, 5000, 5))
        await table.insert(first)
        double.refuse = True
        with pytest.raises(ConnectionError):
            await table.insert(rows(range(10_001, 15_001, 5)))
        double.refuse = False
        await check(db, first)
        await table.insert(rows(range(10_001, 15_001, 5)))
        await check(db, first + rows(range(10_001, 15_001, 5)))
        await db.close()

    asyncio.run(run())
