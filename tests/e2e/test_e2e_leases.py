"""Many writers at once: one exchanges the tail, others go on, are slowed, and at last refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from e2e_support import SMALL, open_on

import amaters as am
from amaters.base.errors import UnavailableError
from amaters.client.database import AsyncDatabase
from amaters.client.leases import exchange_lease
from amaters.engine.service import Engine, open_engine
from amaters.wire import service_pb2 as pb

COLUMNS = {
    "k": am.Int64(primary_key=True),
    "a": am.UInt8(encrypt=["range", "sum"]),
    "note": am.Text(encrypt=[], nullable=True),
}


def rows(first: int, count: int) -> list[dict[str, Any]]:
    return [{"k": 5 * k, "a": k % 200, "note": f"{k}"} for k in range(first, first + count)]


async def opened(engine: Engine | None = None) -> tuple[Engine, AsyncDatabase]:
    engine = engine or open_engine(":memory:", unsafe_scheme=True, threads=2)
    db = await open_on(engine, "noop", SMALL)
    await db.create_table("t", COLUMNS)
    return engine, db


async def totals(db: AsyncDatabase) -> tuple[int, int]:
    """Number of rows, and how many of them the engine's circuits select (all)."""
    whole = (await db.sql("SELECT count(*) FROM t")).scalar()
    chosen = (await db.sql("SELECT count(*) FROM t WHERE a < 255")).scalar()
    return int(str(whole)), int(str(chosen))


def test_writers_compactions_merges_and_readers_at_once() -> None:
    """Every row that was acknowledged is there once, at any moment and in the end."""

    async def work() -> None:
        engine, db = await opened()
        table = await db.table("t")
        done = 0

        async def write(writer: int) -> None:
            nonlocal done
            for batch in range(5):
                count = (70, 250)[(writer + batch) % 2]
                await table.insert(rows(100_000 * writer + 1000 * batch, count))
                done += count

        async def read() -> None:
            for _ in range(6):
                before = done
                whole, chosen = await totals(db)
                assert before <= chosen and before <= whole

        async def compact() -> None:
            for _ in range(4):
                await db.compact("t")
                await asyncio.sleep(0)

        writers = [write(writer) for writer in range(4)]
        await asyncio.gather(*writers, read(), compact())
        assert await totals(db) == (done, done)
        await db.compact()
        await engine.merge()
        assert await totals(db) == (done, done)
        found = await db.sql("SELECT k, a, note FROM t WHERE a BETWEEN 30 AND 40 ORDER BY k")
        assert all(row["note"] == str(row["k"] // 5) for row in found.dicts())
        assert engine._merger.error is None
        await engine.close()

    asyncio.run(work())


def test_without_an_exchange_writers_are_slowed_then_refused() -> None:
    """Somebody holds the lease and does nothing: others write on into the tail up to its limit,
    and are told what helps. When the lease is given back, the next one exchanges.
    """

    async def work() -> None:
        engine, db = await opened()
        table = await db.table("t")
        schema = await db._session.table("t")
        lease = await exchange_lease(db._session, schema)
        assert lease is not None
        written = 0
        for first in range(0, 900, 300):
            await table.insert(rows(first, 300))
            written += 300
        with pytest.raises(UnavailableError, match="admin compact") as refused:
            for batch in range(20):
                await table.insert(rows(10_000 + 1000 * batch, 90))
                written += 90
        assert refused.value.code == "AM-3034"
        assert written > 1024 + 90 * 3
        assert await totals(db) == (written, written)
        await lease.end()
        await db.compact()
        await table.insert(rows(90_000, 90))
        assert await totals(db) == (written + 90, written + 90)
        stats = await engine.table_stats(pb.TableStatsRequest(table_id=schema.id))
        assert stats.tail_rows <= 960
        await engine.close()

    asyncio.run(work())


def test_a_dead_exchanger_blocks_nobody_for_long() -> None:
    """Its lease ends by the clock; what it made is never committed, and everything is there."""

    async def work() -> None:
        engine, db = await opened()
        table = await db.table("t")
        schema = await db._session.table("t")
        await table.insert(rows(0, 470))
        await table.insert(rows(1000, 440))
        assert await exchange_lease(db._session, schema) is not None
        assert await exchange_lease(db._session, schema) is None
        engine._leases._clock = _Later(engine._leases._clock)
        await table.insert(rows(5000, 80))
        stats = await engine.table_stats(pb.TableStatsRequest(table_id=schema.id))
        assert (stats.segments, stats.tail_rows) == (1, 30)
        assert await totals(db) == (990, 990)
        await engine.close()

    asyncio.run(work())


class _Later:
    """A clock that is an hour ahead."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def monotonic(self) -> float:
        return float(self._inner.monotonic()) + 3600

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
