"""Compaction of tables of other shapes, and engines that lie about shared segments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from e2e_support import SMALL, Spy, open_on

import amaters as am
from amaters.base.errors import AmatersError
from amaters.client.database import AsyncDatabase
from amaters.engine.service import Engine
from amaters.storage.database import open_memory
from amaters.wire import service_pb2 as pb

Change = Callable[[Any], Any]


class Altered(Spy):
    """An engine whose single replies are changed on their way."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.change: dict[str, Change] = {}

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        if name not in self.__dict__.get("change", {}):
            return method

        async def changed(*arguments: Any) -> Any:
            return self.change[name](await method(*arguments))

        return changed


def engine() -> Engine:
    return Engine(open_memory(), unsafe_scheme=True, threads=2, merge_bytes_per_second=0)


async def shape(db: AsyncDatabase, name: str) -> tuple[int, int]:
    table = await db._session.table(name)
    stats = await db._session.service.table_stats(pb.TableStatsRequest(table_id=table.id))
    return stats.segments, stats.tail_rows


@pytest.mark.parametrize("key", ["hidden", "text", "unique"])
@pytest.mark.parametrize("encrypted", [True, False])
def test_tables_of_every_shape(key: str, encrypted: bool) -> None:
    """A hidden rowid, keys that are texts, a unique index; with and without encrypted columns."""

    async def work() -> None:
        inner = engine()
        db = await open_on(inner, "noop", SMALL)
        a = am.UInt16(encrypt=["range", "sum"]) if encrypted else am.UInt16()
        columns: dict[str, Any] = {"n": am.Int64(), "a": a}
        if key == "text":
            columns = {"name": am.Text(primary_key=True), **columns}
        elif key == "unique":
            columns["n"] = am.Int64(index="unique")
        table = await db.create_table("t", columns)
        expected: list[tuple[int, int]] = []
        for first, count in ((0, 480), (10_000, 470), (20_000, 300), (30_000, 310), (40_000, 30)):
            numbers = range(7 * first, 7 * (first + count), 7)
            batch = [{"n": n, "a": n % 1000} for n in numbers]
            if key == "text":
                batch = [{**row, "name": f"row {row['n']}"} for row in batch]
            await table.insert(batch)
            expected += [(n, n % 1000) for n in numbers]
        where = "WHERE a < 2000"

        async def check() -> None:
            found = (await db.sql(f"SELECT n, a FROM t {where} ORDER BY n")).rows()
            assert found == expected
            total = (await db.sql(f"SELECT count(*), sum(a) FROM t {where}")).rows()
            assert total == [(len(expected), sum(a for _, a in expected))]

        await check()
        segments, _ = await shape(db, "t")
        await inner.merge()
        await check()
        await db.compact()
        await check()
        after, tail = await shape(db, "t")
        assert after <= segments + 2 and tail < 480
        await inner.close()

    asyncio.run(work())


async def shared(inner: Any) -> AsyncDatabase:
    """A table with one merged segment of two parts, on an engine that may lie."""
    db = await open_on(inner, "noop", SMALL)
    columns = {"k": am.Int64(primary_key=True), "a": am.UInt8(encrypt=["range"])}
    table = await db.create_table("t", columns)
    for first, count in ((0, 470), (10_000, 400), (20_000, 300), (30_000, 300)):
        await table.insert({"k": list(range(3 * first, 3 * (first + count), 3)), "a": [9] * count})
    return db


def without_part(reply: pb.CanaryReply) -> pb.CanaryReply:
    del reply.segments[0].parts[0]
    return reply


def part_twice(reply: pb.CanaryReply) -> pb.CanaryReply:
    reply.segments[0].parts.append(reply.segments[0].parts[0])
    return reply


def whole_for_part(reply: pb.CanaryReply) -> pb.CanaryReply:
    part = reply.segments[0].parts[0]
    reply.segments[0].parts[1].segment_id = part.segment_id
    return reply


@pytest.mark.parametrize("lie", [without_part, part_twice, whole_for_part])
def test_canaries_of_no_part_can_be_left_out(lie: Change) -> None:
    """Each part's block says for which slots it stands, so that a window without is noticed."""

    async def work() -> None:
        inner = engine()
        altered = Altered(inner)
        db = await shared(altered)
        assert await inner.merge() == 1
        assert (await db.sql("SELECT count(*) FROM t WHERE a = 9")).scalar() == 1470
        altered.change["read_canaries"] = lie
        with pytest.raises(AmatersError, match="AM-5012"):
            await db.sql("SELECT k FROM t WHERE a > 3")
        await inner.close()

    asyncio.run(work())


def test_a_plan_for_fresh_segments_is_refused_on_merged_ones() -> None:
    """A client that is told of fewer parts than there are plans for less noise: AM-3053."""

    async def work() -> None:
        inner = engine()
        altered = Altered(inner)
        db = await shared(altered)
        await inner.merge()

        def fewer(reply: pb.SnapshotReply) -> pb.SnapshotReply:
            for segment in reply.segments:
                segment.parts, segment.noise = 1, 0.0
            return reply

        altered.change["snapshot"] = fewer
        with pytest.raises(AmatersError, match="AM-3053"):
            await db.sql("SELECT k FROM t WHERE a > 3")
        del altered.change["snapshot"]
        assert len((await db.sql("SELECT k FROM t WHERE a > 3")).rows()) == 1470
        await inner.close()

    asyncio.run(work())
