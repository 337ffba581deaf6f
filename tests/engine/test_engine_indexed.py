"""Indexes in the engine: an answer with one is the answer without, at every pinned version."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from pathlib import Path
from typing import Any

import engine_support as support
import pytest

from amaters.base.errors import ConflictError, InvalidError
from amaters.base.ids import new_id
from amaters.columns.declare import Int32, Int64, Text, build_table
from amaters.columns.indexes import IndexDefinition
from amaters.columns.schema import Table
from amaters.engine.indexed import candidates
from amaters.engine.rows import RowReader
from amaters.engine.service import Engine, open_engine
from amaters.engine.snapshots import Snapshot
from amaters.plan.expressions import And, Between, Compare, In, Literal, Or, Predicate
from amaters.storage.database import Storage
from amaters.storage.directory import open_directory
from amaters.storage.index_build import find_index, next_slice
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

INDEXES = (
    IndexDefinition(1, "by_town", (2,)),
    IndexDefinition(2, "by_town_and_id", (2, 1)),
    IndexDefinition(3, "by_id", (1,), unique=True),
)


def make_table(indexes: tuple[IndexDefinition, ...] = INDEXES) -> Table:
    made = build_table(
        "people",
        {
            "id": Int64(primary_key=True),
            "town": Text(nullable=True),
            "age": Int32(encrypt=["eq", "range"], min=0, max=127),
            "pay": Int32(encrypt=["sum"], min=-1000, max=1000, nullable=True),
        },
        parameter_set=support.PARAMETERS.name,
        scheme="noop",
        key_id=support.KEY_ID,
    )
    return dataclasses.replace(made, indexes=indexes)


def predicate(draw: random.Random, depth: int = 2) -> Predicate:
    """A condition on the public columns, with values that exist and values that do not."""
    if depth and draw.random() < 0.5:
        children = tuple(predicate(draw, depth - 1) for _ in range(draw.randrange(2, 4)))
        return And(children) if draw.random() < 0.6 else Or(children)
    number = Literal(draw.choice([None, draw.randrange(-5, 400), draw.randrange(400), 10**30]))
    town = Literal(draw.choice([None, "", "town0", "town1", "town2", "town2\0", "z"]))
    column, literal = draw.choice([(1, number), (2, town)])
    shape = draw.randrange(6)
    if shape == 0:
        other = Literal(draw.randrange(400)) if column == 1 else Literal("town1")
        return Between(column, literal, other, draw.random() < 0.2)
    if shape == 1:
        listed = (literal, *(Literal(v) for v in ((7, 21) if column == 1 else ("town0", "q"))))
        return In(column, listed, draw.random() < 0.2)
    return Compare(draw.choice(["=", "=", "<", "<=", ">", ">=", "<>"]), column, literal)


def check(engine: Engine, snapshot: Snapshot, draw: random.Random, times: int) -> int:
    """Compare selections by index and by scan; how often an index was used."""
    storage: Storage = engine._storage
    reader, table = RowReader(storage), snapshot.entry.table
    used = 0
    for _ in range(times):
        condition = predicate(draw)
        near = candidates(storage, snapshot, condition)
        used += near is not None
        for segment in snapshot.segments:
            scanned = reader.selected(segment, condition, table)
            assert (reader.selected(segment, condition, table, near) == scanned).all(), condition
    return used


def pin(engine: Engine, table: Table) -> Snapshot:
    return engine._snapshots.hold(table.id, table.version)


async def change(engine: Engine, table: Table, draw: random.Random, live: dict[int, int]) -> None:
    """One commit: rows to tail or segments, some removed, the tail moved into a segment."""
    version = max(live.values(), default=0) + 1
    free = [key for key in range(400) if key not in live]
    new = draw.sample(free, min(len(free), draw.randrange(1, 40)))
    gone = dict(draw.sample(sorted(live.items()), min(len(live), draw.randrange(8))))
    parts: dict[str, Any] = {"tail": new} if draw.random() < 0.5 else {"segments": [new]}
    reply = await support.commit(engine, table, version=version, removed=gone, **parts)
    assert reply.position, reply.conflicts
    for key in gone:
        del live[key]
    live.update(dict.fromkeys(new, version))


@pytest.mark.parametrize("seed", range(3))
def test_index_and_scan_agree_at_every_version(seed: int) -> None:
    """Random commits, deletions and pins; old pins are asked again after everything changed,
    with indexes that were there before, and with one that was built in between.
    """

    async def work() -> None:
        draw = random.Random(seed)
        engine = open_engine(":memory:", unsafe_scheme=True)
        table = await support.setup(engine, make_table(INDEXES[:2]))
        live: dict[int, int] = {}
        pins = []
        used = 0
        for step in range(12):
            if step == 6:
                table = await add_index(engine, table, INDEXES[2])
            await change(engine, table, draw, live)
            if draw.random() < 0.6:
                pins.append(pin(engine, table))
            for snapshot in pins:
                used += check(engine, snapshot, draw, 6)
        assert used > 50
        await engine.close()

    support.run(work)


async def add_index(engine: Engine, table: Table, index: IndexDefinition) -> Table:
    newer = table.with_indexes([*table.indexes, index])
    request = pb.UpdateSchemaRequest(
        request_id=new_id(), expected_version=table.version, schema=support.record(newer)
    )
    await engine.update_schema(request)
    await finish(engine, pb.BuildIndexRequest(table_id=table.id, number=index.number))
    return newer


def test_a_segment_without_a_match_is_not_even_read() -> None:
    """Its public block is not fetched from storage, let alone decoded or computed on."""

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        table = await support.setup(engine, make_table())
        await support.commit(engine, table, segments=[[1, 2, 3], [101, 102]])
        snapshot = pin(engine, table)
        reader = RowReader(engine._storage)
        opened = []
        reader.public = lambda segment: opened.append(segment.sid)  # type: ignore[method-assign]
        near = reader.candidates(snapshot, Compare("=", 1, Literal(50)))
        for segment in snapshot.segments:
            chosen = reader.selected(segment, Compare("=", 1, Literal(50)), table.public(), near)
            assert not chosen.any()
        assert not opened
        await engine.close()

    support.run(work)


def test_a_unique_index_refuses_what_a_live_row_has() -> None:
    """Values of live rows in tail and segments are refused and named; those of removed rows and
    NULLs are not; a row and its replacement in one batch are no conflict.
    """
    unique = (IndexDefinition(1, "one_per_town", (2,), unique=True),)

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        table = await support.setup(engine, make_table(unique))
        assert (await support.commit(engine, table, tail=[1])).position  # town1
        assert (await support.commit(engine, table, segments=[[2]])).position  # town2
        assert (await support.commit(engine, table, tail=[5, 10, 15])).position  # NULL
        reply = await support.commit(engine, table, tail=[3, 4])  # town0, town1
        assert [(c.new_row, c.index_number) for c in reply.conflicts] == [(1, 1)]
        reply = await support.commit(engine, table, segments=[[8]])  # town2
        (conflict,) = reply.conflicts
        assert (conflict.slot, conflict.version, conflict.index_number) == (0, 1, 1)
        assert conflict.segment_id
        with pytest.raises(Exception, match="AM-3093"):
            await support.commit(engine, table, tail=[3, 6])  # town0 twice
        replaced = await support.commit(engine, table, tail=[8], removed={2: 1}, version=2)
        assert replaced.position
        assert (await support.commit(engine, table, tail=[2])).conflicts
        assert sorted(await support.read_all(engine, table)) == [1, 5, 8, 10, 15]
        await engine.close()

    support.run(work)


def test_an_index_that_is_not_unique_fails_and_is_gone() -> None:
    """The build says so; the index refuses and answers nothing afterwards; once the schema has
    dropped it, another may be built.
    """

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        table = await support.setup(engine, make_table(()))
        await support.commit(engine, table, segments=[[1, 2, 3]], tail=[4])  # town1 twice
        wrong = IndexDefinition(1, "one_per_town", (2,), unique=True)
        with pytest.raises(ConflictError, match="AM-3090"):
            await add_index(engine, table, wrong)
        table = table.with_indexes([wrong])
        assert find_index(engine._storage, table.id, 1).state == "failed"
        assert (await support.commit(engine, table, tail=[7])).position  # town1 again
        assert (
            candidates(engine._storage, pin(engine, table), Compare("=", 2, Literal("a"))) is None
        )
        fixed = IndexDefinition(1, "by_town", (2,))
        table = await add_index(engine, dataclasses.replace(table, indexes=()), fixed)
        assert find_index(engine._storage, table.id, 1).is_ready
        check(engine, pin(engine, table), random.Random(1), 20)
        await engine.close()

    support.run(work)


def test_a_build_that_was_cut_off_goes_on_at_open(tmp_path: Path) -> None:
    """After a crash in mid-build the log has some slices; opening finishes the rest by itself, and
    rows written between the slices are in the index.
    """
    path = tmp_path / "db"

    async def fill() -> Table:
        engine = open_engine(path, unsafe_scheme=True)
        table = await support.setup(engine, make_table(()))
        for start in range(0, 120, 20):
            await support.commit(engine, table, segments=[list(range(start, start + 20))])
        await support.commit(engine, table, tail=[200, 201])
        await engine.close()
        return table

    table = asyncio.run(fill())
    newer = table.with_indexes([INDEXES[0]])
    storage = open_directory(path)
    update = cb.SchemaUpdate(schema=support.record(newer))
    storage.append(cb.Command(schema_update=update))
    step = next_slice(storage, table.id, 1)
    assert step.left
    storage.append(step.command, step.rows)
    assert find_index(storage, table.id, 1).state == "building"
    storage.abandon()

    async def resume() -> None:
        engine = open_engine(path, unsafe_scheme=True)
        asked = pb.BuildIndexRequest(table_id=table.id, number=1)
        events = [event async for event in engine.build_index(asked)]
        assert events[-1].done == events[-1].total
        assert find_index(engine._storage, table.id, 1).is_ready
        snapshot = pin(engine, newer)
        near = candidates(engine._storage, snapshot, Compare("=", 2, Literal("town1")))
        assert near is not None
        assert near.slots.keys() == {segment.sid for segment in snapshot.segments}
        assert check(engine, snapshot, random.Random(2), 30)
        await engine.close()

    asyncio.run(resume())


def test_writers_go_on_while_an_index_is_built() -> None:
    """Commits that come between the slices are in the index when it is ready; a table that is
    dropped in mid-build ends its build, and nothing else.
    """

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        table = await support.setup(engine, make_table(()))
        for start in range(0, 300, 10):
            await support.commit(engine, table, segments=[list(range(start, start + 10))])
        newer = table.with_indexes(INDEXES[:1])
        request = pb.UpdateSchemaRequest(
            request_id=new_id(), expected_version=table.version, schema=support.record(newer)
        )
        await engine.update_schema(request)
        asked = pb.BuildIndexRequest(table_id=table.id, number=1)
        build = asyncio.create_task(finish(engine, asked))
        for start in range(300, 400, 10):
            await support.commit(engine, newer, tail=list(range(start, start + 5)))
            await support.commit(engine, newer, segments=[list(range(start + 5, start + 10))])
        await build
        snapshot = pin(engine, newer)
        near = candidates(engine._storage, snapshot, Compare("=", 2, Literal("town1")))
        assert near is not None
        assert near.slots.keys() == {segment.sid for segment in snapshot.segments}
        assert check(engine, snapshot, random.Random(6), 20)
        more = newer.with_indexes(INDEXES)
        request = pb.UpdateSchemaRequest(
            request_id=new_id(), expected_version=newer.version, schema=support.record(more)
        )
        await engine.update_schema(request)
        await engine.drop_table(pb.DropTableRequest(request_id=new_id(), table_id=table.id))
        with pytest.raises(InvalidError, match="AM-3091"):
            await finish(engine, pb.BuildIndexRequest(table_id=table.id, number=2))
        other = await support.setup(engine, dataclasses.replace(make_table(), id=b"o" * 16))
        await support.commit(engine, other, segments=[[1, 2]])
        assert pin(engine, other).ready_indexes == [1, 2, 3]
        await engine.close()

    support.run(work)


async def finish(engine: Engine, asked: pb.BuildIndexRequest) -> None:
    async for _ in engine.build_index(asked):
        pass


def test_a_table_without_indexes_decodes_and_keeps_nothing_more(tmp_path: Path) -> None:
    """No block is kept for them, no entry written: the cost of indexes is that of asking for their
    names.
    """

    async def work() -> None:
        engine = open_engine(tmp_path / "db", unsafe_scheme=True)
        table = await support.setup(engine, make_table(()))
        seen = []
        storage = engine._storage
        extractor = storage.state.indexes.extractor
        original = type(extractor).extract
        storage.with_index_extractor(Watching(seen, original))
        await support.commit(engine, table, segments=[[1, 2]], tail=[3])
        assert not seen
        with storage.reading() as db:
            assert db.one("SELECT count(*) FROM index_runs") == (0,)
            assert db.one("SELECT count(*) FROM index_tail") == (0,)
        await engine.close()

    support.run(work)


class Watching:
    """An extractor that tells when it is asked."""

    def __init__(self, seen: list[Any], original: Any) -> None:
        self._seen, self._original = seen, original

    def extract(self, block: Any, columns: Any) -> Any:
        self._seen.append(columns)
        return self._original(self, block, columns)
