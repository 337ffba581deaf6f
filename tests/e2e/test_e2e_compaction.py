"""Exchange, slot leases, merging and reclaiming: the same answers before, during and after."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from e2e_support import FULL, SMALL, open_on

import amaters as am
from amaters.base.errors import AmatersError
from amaters.client.database import AsyncDatabase
from amaters.client.guard import check_masks, read_guards
from amaters.client.rows import snapshot
from amaters.client.segments import encode_columns
from amaters.columns.batch import ColumnBatch, from_storage_list
from amaters.columns.canaries import CANARIES
from amaters.engine.service import Engine
from amaters.plan.evaluate import matches
from amaters.plan.expressions import Compare, Literal
from amaters.storage.database import open_memory
from amaters.storage.directory import open_directory
from amaters.storage.verify import verify
from amaters.wire import service_pb2 as pb

COLUMNS = {
    "k": am.Int64(primary_key=True),
    "a": am.UInt8(encrypt=["range", "sum"]),
    "g": am.Enum(["x", "y"], encrypt=["group"], nullable=True),
    "town": am.Text(nullable=True, index=True),
    "note": am.Text(encrypt=[], nullable=True),
}
QUESTIONS = [
    "SELECT count(*), sum(a) FROM t WHERE a > 100",
    "SELECT g, count(*), sum(a) FROM t WHERE a < 180 GROUP BY g ORDER BY g",
    "SELECT k, a, g, town, note FROM t WHERE a BETWEEN 40 AND 55 ORDER BY k",
    "SELECT count(*) FROM t WHERE town = 'north' AND a <> 7",
    "SELECT count(*) FROM t",
    "SELECT min(a), max(a), median(a) FROM t WHERE a > 20",
    "SELECT k, a FROM t WHERE a > 20 ORDER BY a DESC, k LIMIT 5",
]


def row(key: int) -> dict[str, Any]:
    return {
        "k": key,
        "a": key * 7 % 200,
        "g": [None, "x", "y"][key % 3],
        "town": ["north", "south", None][key % 3],
        "note": None if key % 5 == 0 else f"note {key}",
    }


def rows(keys: Iterable[int]) -> list[dict[str, Any]]:
    return [row(key) for key in keys]


def quiet_engine(path: Path | None = None) -> Engine:
    """It merges when it is asked to and not before."""
    storage = open_memory() if path is None else open_directory(path / "db")
    return Engine(storage, unsafe_scheme=True, threads=2, merge_bytes_per_second=0)


class Table:
    """Table t on an engine, and what should be in it."""

    def __init__(self, engine: Engine, db: AsyncDatabase) -> None:
        self.engine = engine
        self.db = db
        self.keys: set[int] = set()

    @classmethod
    async def open(
        cls, scheme: str = "noop", path: Path | None = None, keys: set[int] | None = None
    ) -> Table:
        """A new table in memory or in a directory; ``keys``: one that is there and has these."""
        engine = quiet_engine(path)
        keyring = path / "keys" if path is not None else None
        made = cls(engine, await open_on(engine, scheme, SMALL, keyring))
        if keys is None:
            await made.db.create_table("t", COLUMNS)
        made.keys |= keys or set()
        return made

    async def insert(self, keys: Iterable[int]) -> None:
        added = list(keys)
        table = await self.db.table("t")
        await table.insert(rows(added))
        self.keys |= set(added)

    async def delete(self, keys: Iterable[int]) -> None:
        """Rows go by key and version, as any client that knows them may ask."""
        going = set(keys)
        session = self.db._session
        table = await session.table("t")
        found = await self.versions()
        newest = max(found.values())
        request = pb.CommitRequest(
            request_id=session.new_id(),
            table_id=table.id,
            schema_version=table.version,
            row_version=newest + 1,
        )
        listed = sorted(going)
        values = from_storage_list(table.primary_key.type, listed)
        batch = ColumnBatch({table.primary_key.id: values}, len(listed))
        request.removed.keys = encode_columns([table.primary_key], batch)
        request.removed.versions.extend(found[key] for key in listed)
        reply = await session.service.commit(request)
        assert not reply.conflicts
        self.keys -= going

    async def versions(self) -> dict[int, int]:
        """Row version of every live row, canaries included."""
        from amaters.client.rows import open_block, read_tail

        session = self.db._session
        table = await session.table("t")
        found: dict[int, int] = {}
        async with snapshot(session, table) as pinned:
            request = pb.FetchRequest(handle=pinned.handle, all_rows=True, sealed=True)
            blocks = [
                open_block(session, table, block)
                async for block in session.service.fetch_rows(request)
            ]
            blocks += await read_tail(session, table, pinned.handle)
        for block in blocks:
            keys = block.rows.columns[table.primary_key.id].values.tolist()
            assert not found.keys() & set(keys), "a key lies in two places"
            found.update(zip(keys, block.versions.tolist(), strict=True))
        return found

    async def shape(self) -> tuple[int, int]:
        """Segments and tail rows."""
        session = self.db._session
        table = await session.table("t")
        stats = await session.service.table_stats(pb.TableStatsRequest(table_id=table.id))
        return stats.segments, stats.tail_rows

    async def segments(self) -> list[pb.SegmentInfo]:
        session = self.db._session
        async with snapshot(session, await session.table("t")) as pinned:
            return list(pinned.segments)

    async def canaries(self) -> int:
        """Live canaries of all segments."""
        session = self.db._session
        table = await session.table("t")
        async with snapshot(session, table) as pinned:
            guards = await read_guards(session, table, pinned)
        return sum(len(guard.live_positions) for guard in guards.values())

    async def check(self) -> None:
        """Every question has the answer that the rows in ``keys`` give."""
        assert [(await self.db.sql(text)).rows() for text in QUESTIONS] == self.expected()

    def expected(self) -> list[list[tuple[Any, ...]]]:
        kept = rows(sorted(self.keys))
        high = [r["a"] for r in kept if r["a"] > 100]
        groups = []
        for name in ("x", "y", None):
            values = [r["a"] for r in kept if r["a"] < 180 and r["g"] == name]
            if values:
                groups.append((name, len(values), sum(values)))
        between = [tuple(r.values()) for r in kept if 40 <= r["a"] <= 55]
        north = [r for r in kept if r["town"] == "north" and r["a"] != 7]
        total = (len(high), sum(high) if high else None)
        some = [r for r in kept if r["a"] > 20]
        above = [r["a"] for r in some] or [None]
        middle = statistics.median(above) if some else None
        extremes = (min(above), max(above), None if middle is None else float(middle))
        first = sorted((-r["a"], r["k"]) for r in some)[:5]
        return [
            [total], groups, between, [(len(north),)], [(len(kept),)],
            [extremes], [(key, -a) for a, key in first],
        ]  # fmt: skip


def spread(count: int, first: int = 0) -> range:
    """Keys with gaps between them, where canaries find room."""
    return range(3 * first, 3 * (first + count), 3)


def run(work: Any) -> Any:
    return asyncio.run(work)


def test_half_dead_segments_are_written_again() -> None:
    """Two segments of which a third lives become one; answers stay, canaries move along."""

    async def work() -> None:
        table = await Table.open()
        await table.insert(spread(2 * FULL))
        assert await table.shape() == (2, 0)
        await table.delete(key for key in sorted(table.keys) if key % 9)
        await table.check()
        before = await table.canaries()
        done = await table.db.compact()
        assert (done.segments_read, done.segments_written) == (2, 1)
        assert done.rows == len(table.keys)
        assert (await table.shape())[0] == 1
        assert before == 2 * CANARIES and await table.canaries() == CANARIES
        await table.check()
        assert (await table.db.compact()).segments_read == 0, "there is nothing left to do"
        await table.engine.close()

    run(work())


def test_a_full_tail_and_small_segments_are_joined() -> None:
    """A tail that is worth a segment becomes one, and small segments share one."""

    async def work() -> None:
        table = await Table.open()
        await table.insert(spread(470))
        assert await table.shape() == (0, 470)
        assert (await table.db.compact("t")).rows == 0, "less than half a segment stays a tail"
        await table.insert(spread(300, 1000))
        done = await table.db.compact("t")
        assert (done.rows, done.tail_rows) == (770, 770)
        assert await table.shape() == (1, 0)
        await table.check()
        await table.engine.close()

    run(work())


@pytest.mark.parametrize("scheme", ["noop", "bgv"])
def test_a_segment_without_rows_leaves(scheme: str) -> None:
    """All rows deleted: only canaries are left, and a compaction drops them with the segment."""

    async def work() -> None:
        table = await Table.open(scheme)
        await table.insert(spread(600))
        await table.delete(table.keys.copy())
        await table.check()
        done = await table.db.compact()
        assert (done.rows, done.segments_read, done.segments_written) == (0, 1, 0)
        assert await table.shape() == (0, 0)
        await table.insert(spread(10))
        await table.check()
        await table.engine.close()

    run(work())


async def with_full_tail(table: Table) -> None:
    """No room in the tail for a batch of 300 rows."""
    await table.insert(spread(470))
    await table.insert(spread(400, 1000))


@pytest.mark.parametrize("scheme", ["noop", "bgv"])
def test_batches_share_a_segment_and_are_merged(scheme: str) -> None:
    """Three leases of one open segment; merged without keys; answers the same at every step."""

    async def work() -> None:
        table = await Table.open(scheme)
        await with_full_tail(table)
        for number in range(3):
            await table.insert(spread(300, 2000 + 1000 * number))
            await table.check()
        infos = await table.segments()
        assert len(infos) == 3 and len({info.open_segment for info in infos}) == 1
        assert [info.parts for info in infos] == [1, 1, 1]
        assert [info.rows for info in infos] == [332, 664, 996]
        before = await table.versions()
        await table.delete(key for key in spread(300, 3000) if key % 2)
        fakes = await table.canaries()
        assert fakes == 96
        assert await table.engine.merge() == 1
        (merged,) = await table.segments()
        assert (merged.parts, merged.rows) == (3, 996)
        assert merged.noise > 0 and merged.live == 996 - 150
        await table.check()
        after = await table.versions()
        assert {key: before[key] for key in after} == after, "rows keep their versions"
        assert await table.canaries() == fakes
        assert await table.engine.merge() == 0
        await table.engine.close()

    run(work())


def test_a_merged_segment_takes_another_part_and_is_written_again() -> None:
    """Two parts, merged; a third, merged with them; then deletions make it worth reclaiming."""

    async def work() -> None:
        table = await Table.open()
        await with_full_tail(table)
        for number in range(2):
            await table.insert(spread(300, 2000 + 1000 * number))
        assert await table.engine.merge() == 1
        await table.insert(spread(300, 4000))
        await table.check()
        assert [info.parts for info in await table.segments()] == [2, 1]
        assert await table.engine.merge() == 1
        (info,) = await table.segments()
        assert info.parts == 3
        await table.check()
        await table.delete(key for key in table.keys if key >= 6000 and key % 4)
        await table.check()
        done = await table.db.compact()
        assert done.segments_read == 1 and done.segments_written >= 1
        await table.check()
        assert max(info.parts for info in await table.segments()) == 1
        await table.engine.close()

    run(work())


def test_readers_keep_the_version_they_pinned() -> None:
    """A snapshot taken before a merge reads the parts' objects after it, until it lets go."""

    async def work() -> None:
        table = await Table.open()
        await with_full_tail(table)
        for number in range(2):
            await table.insert(spread(300, 2000 + 1000 * number))
        session = table.db._session
        schema = await session.table("t")
        async with snapshot(session, schema) as pinned:
            await table.engine.merge()
            await table.delete(key for key in table.keys if key >= 6000)
            guards = await read_guards(session, schema, pinned)
            assert len(guards) == 2
            request = pb.FetchRequest(handle=pinned.handle, all_rows=True, sealed=True)
            count = sum([b.rows async for b in session.service.fetch_rows(request)])
            assert count == 2 * 332
        await table.check()
        await table.engine.close()

    run(work())


async def died(table: Table, path: Path) -> Table:
    """The same table in a new engine, after the old one ended like a process that is killed."""
    engine = table.engine
    await asyncio.get_running_loop().run_in_executor(None, engine._merger.close)
    engine._committer.close()
    engine._storage.abandon()
    return await Table.open(path=path, keys=table.keys)


def test_every_step_survives_a_crash(tmp_path: Path) -> None:
    """Partial segments, a merge and a rewriting are replayed from the log, and what a crash left is
    whole: every key where its row is, every object named, indexes as the rows say.
    """

    async def work() -> None:
        table = await Table.open(path=tmp_path)
        await with_full_tail(table)
        for number in range(3):
            await table.insert(spread(300, 2000 + 1000 * number))
        table = await died(table, tmp_path)
        await table.check()
        assert verify(table.engine._storage).findings == []
        await table.insert(spread(200, 9000))
        assert len({info.open_segment for info in await table.segments()}) == 2
        assert await table.engine.merge() == 1
        await table.delete(key for key in spread(300, 2000) if key % 2)
        table = await died(table, tmp_path)
        await table.check()
        assert verify(table.engine._storage).findings == []
        assert sorted(info.parts for info in await table.segments()) == [1, 3]
        await table.delete(key for key in table.keys if key > 6000 and key % 5)
        done = await table.db.compact()
        assert done.rows > 0
        await table.check()
        table = await died(table, tmp_path)
        await table.check()
        table.engine._storage.snapshot()
        assert verify(table.engine._storage).findings == []
        await table.engine.close()

    run(work())


def test_an_index_answers_for_partial_and_merged_segments(tmp_path: Path) -> None:
    """Values in the index lead to the slots that rows have in a shared segment."""

    async def work() -> None:
        table = await Table.open(path=tmp_path)
        await with_full_tail(table)
        for number in range(2):
            await table.insert(spread(300, 2000 + 1000 * number))
        await table.check()
        await table.engine.merge()
        await table.check()
        assert verify(table.engine._storage).findings == []
        await table.engine.close()

    run(work())


def test_canaries_of_moved_rows_are_not_the_only_check() -> None:
    """The engine saw the rows that became a segment before, so it can tell their canaries. A mask
    that is right on all of these and wrong elsewhere is caught by the witnesses.
    """

    async def work() -> None:
        table = await Table.open()
        await table.insert(spread(470))
        await table.insert(spread(300, 1000))
        await table.db.compact()
        session = table.db._session
        schema = await session.table("t")
        async with snapshot(session, schema) as pinned:
            guards = await read_guards(session, schema, pinned)
        ((segment_id, guard),) = guards.items()
        where = Compare(">", schema.column("a").id, Literal(100))
        mask = np.zeros(guard.rows, dtype=np.bool_)
        mask[guard.live_positions] = matches(where, guard.live_rows, schema)
        with pytest.raises(AmatersError, match="AM-5001"):
            check_masks(guards, {segment_id: mask}, where, schema)
        slots, bits = guard.expected(where, schema)
        assert len(slots) == 2 * CANARIES
        mask[slots] = bits
        check_masks(guards, {segment_id: mask}, where, schema)
        await table.engine.close()

    run(work())
