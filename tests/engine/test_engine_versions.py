"""Read versions under leases, rows by key at a version, and batches over tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import engine_support as support
import pytest

from amaters.base.errors import ConflictError, InvalidError
from amaters.base.ids import new_id
from amaters.columns.schema import Table
from amaters.engine.service import Engine, open_engine
from amaters.storage.database import open_memory
from amaters.wire import blocks
from amaters.wire import service_pb2 as pb
from amaters.wire.service import Service


class StillClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def cpu(self) -> float:
        return self.time


@asynccontextmanager
async def timed() -> AsyncIterator[tuple[Engine, StillClock]]:
    clock = StillClock()
    service = Engine(open_memory(), unsafe_scheme=True, threads=1, clock=clock, lease_seconds=60)
    try:
        yield service, clock
    finally:
        await service.close()


async def tail_of(service: Service, handle: bytes) -> list[int]:
    found: list[int] = []
    async for block in service.read_tail(pb.HandleRequest(handle=handle)):
        found.extend(support.rows_in(block))
    return sorted(found)


async def by_keys(
    service: Service, keys: Sequence[int], *, handle: bytes = b"", table: Table | None = None
) -> dict[int, tuple[bytes, int]]:
    """Rows by key, of a snapshot or of a table as it is."""
    request = pb.FetchRequest(handle=handle, keys=support.key_block(keys), sealed=True)
    if table is not None:
        request.table_id, request.schema_version = table.id, table.version
    found: support.Rows = {}
    async for block in service.fetch_rows(request):
        found |= support.rows_in(block)
    return found


# ---- leases --------------------------------------------------------------------------------------


def test_a_snapshot_expires_unless_it_is_renewed_or_used() -> None:
    """Then it is a typed conflict, and renewing names it."""

    async def work() -> None:
        async with timed() as (service, clock):
            table = await support.setup(service)
            await support.commit(service, table, tail=[1])
            held = [await support.snapshot(service, table) for _ in range(3)]
            assert held[0].lease_seconds == 60
            renewed, used, idle = (pinned.handle for pinned in held)
            for _ in range(3):
                clock.time += 40
                reply = await service.renew(pb.RenewRequest(handles=[renewed]))
                assert reply.lease_seconds == 60 and not reply.expired
                assert await tail_of(service, used) == [1]
            with pytest.raises(ConflictError, match="AM-3040"):
                await tail_of(service, idle)
            reply = await service.renew(pb.RenewRequest(handles=[idle, renewed, b"?"]))
            assert list(reply.expired) == [idle, b"?"]
            clock.time += 61
            for handle in (renewed, used):
                with pytest.raises(ConflictError, match="AM-3040"):
                    await by_keys(service, [1], handle=handle)

    support.run(work)


def test_pinned_objects_stay_until_their_lease_ends() -> None:
    """A dropped table is read to its end by who holds it; afterwards its objects go."""

    async def work() -> None:
        async with timed() as (service, clock):
            table = await support.setup(service)
            other = await support.setup(service, support.make_table("other"))
            await support.commit(service, table, segments=[[1, 2, 3]])
            objects = set(service._storage.objects.ids())
            pinned = await support.snapshot(service, table)
            drop = pb.DropTableRequest(request_id=new_id(), table_id=table.id)
            await service.drop_table(drop)
            assert set(service._storage.objects.ids()) == objects
            assert sorted(await by_keys(service, [1, 3], handle=pinned.handle)) == [1, 3]
            clock.time += 61
            with pytest.raises(ConflictError, match="AM-3040"):
                await by_keys(service, [1], handle=pinned.handle)
            last = await support.snapshot(service, other)
            await service.release(pb.HandleRequest(handle=last.handle))
            drop = pb.DropTableRequest(request_id=new_id(), table_id=other.id)
            await service.drop_table(drop)
            assert len(objects) - len(set(service._storage.objects.ids())) == 5

    support.run(work)


def test_releasing_what_was_left_frees_its_objects() -> None:
    """The reader that let go last takes the objects of a dropped table with it."""

    async def work() -> None:
        async with timed() as (service, _):
            table = await support.setup(service)
            empty = set(service._storage.objects.ids())
            await support.commit(service, table, segments=[[1, 2, 3]])
            pinned = [await support.snapshot(service, table) for _ in range(2)]
            drop = pb.DropTableRequest(request_id=new_id(), table_id=table.id)
            await service.drop_table(drop)
            await service.release(pb.HandleRequest(handle=pinned[0].handle))
            assert set(service._storage.objects.ids()) > empty
            await service.release(pb.HandleRequest(handle=pinned[1].handle))
            assert set(service._storage.objects.ids()) == empty

    support.run(work)


# ---- rows by key ---------------------------------------------------------------------------------


@pytest.mark.parametrize("location", ["memory", "directory"])
def test_rows_by_key_at_a_pinned_version(location: str, tmp_path: Path) -> None:
    """Whatever happens to them afterwards: replaced, deleted, moved into a segment, inserted."""

    async def work() -> None:
        where = ":memory:" if location == "memory" else tmp_path / "db"
        service = open_engine(where, unsafe_scheme=True, threads=1)
        table = await support.setup(service)
        await support.commit(service, table, tail=[1, 2, 3, 4], segments=[[10, 11, 12]])
        before = await support.snapshot(service, table)
        old = await support.read_all(service, table)
        every = [*range(15), 99]
        assert await by_keys(service, every, handle=before.handle) == old
        await support.commit(
            service, table, tail=[1, 11, 5], removed={1: 1, 11: 1, 12: 1, 2: 1}, version=2
        )
        moved = {1: 2, 3: 1, 4: 1, 5: 2, 11: 2}
        await support.commit(service, table, segments=[list(moved)], moved=moved, version=3)
        assert await by_keys(service, every, handle=before.handle) == old
        now = await support.read_all(service, table)
        assert await by_keys(service, every, table=table) == now
        assert {key: version for key, (_, version) in now.items()} == {
            **dict.fromkeys(moved, 3),
            10: 1,
        }
        await service.close()

    support.run(work)


def test_keys_that_are_none_are_refused() -> None:
    """Another column, another type, NULL, garbage; and a table at another schema version."""

    async def work() -> None:
        service = open_engine(":memory:", unsafe_scheme=True, threads=1)
        table = await support.setup(service)
        await support.commit(service, table, tail=[1])
        keys = support.np.array([1], dtype=support.np.int64)
        wrong = [
            blocks.encode_block({2: (keys, None)}),
            blocks.encode_block({1: (keys.astype(support.np.uint64), None)}),
            blocks.encode_block({1: (keys, support.np.array([False]))}),
        ]
        for data in wrong:
            request = pb.FetchRequest(keys=data, table_id=table.id, schema_version=1)
            with pytest.raises(InvalidError, match="AM-3005"):
                [block async for block in service.fetch_rows(request)]
        request = pb.FetchRequest(keys=support.key_block([1]), table_id=table.id, schema_version=7)
        with pytest.raises(ConflictError, match="AM-3022"):
            [block async for block in service.fetch_rows(request)]
        assert await by_keys(service, [], table=table) == {}
        assert list(await by_keys(service, [1, 1], table=table)) == [1]
        await service.close()

    support.run(work)


def test_canaries_come_with_the_first_rows_of_their_segment() -> None:
    """Only if they are asked for, and only of segments that have a row in the answer."""

    async def work() -> None:
        service = open_engine(":memory:", unsafe_scheme=True, threads=1)
        table = await support.setup(service)
        await support.commit(service, table, tail=[1], segments=[[10, 11], [20]])
        manifest = await support.snapshot(service, table)
        request = pb.FetchRequest(
            keys=support.key_block([1, 10]), handle=manifest.handle, canaries=True, column_ids=[1]
        )
        found = [block async for block in service.fetch_rows(request)]
        first = manifest.segments[0].segment_id
        assert [block.segment_id for block in found] == [first, b""]
        assert found[0].canaries.canaries == b"canaries of 2"
        assert found[0].canaries.segment_id == first and not found[1].HasField("canaries")
        assert not found[0].sealed_pack
        await service.close()

    support.run(work)


# ---- batches over tables -------------------------------------------------------------------------


async def batch_of(
    service: Service, *parts: tuple[Table, dict[str, object]], request_id: bytes | None = None
) -> pb.BatchRequest:
    """One part per table, made as ``support.commit`` makes a commit."""
    request = pb.BatchRequest(request_id=request_id or new_id())
    for table, given in parts:
        removed = given.pop("removed", None)
        part = await support.commit_request(service, table, **given)  # type: ignore[arg-type]
        part.request_id = b""
        if isinstance(removed, dict):
            part.removed.keys = support.key_block(list(removed))
            part.removed.versions.extend(removed.values())
        request.parts.append(part)
    return request


@pytest.mark.parametrize("location", ["memory", "directory"])
def test_a_batch_over_tables_is_whole_and_idempotent(location: str, tmp_path: Path) -> None:
    """All parts at one position; a repeat gets the first reply; there after opening again."""

    async def work() -> None:
        where = ":memory:" if location == "memory" else tmp_path / "db"
        service = open_engine(where, unsafe_scheme=True, threads=1)
        one = await support.setup(service)
        two = await support.setup(service, support.make_table("two"))
        await support.commit(service, one, tail=[1, 2], segments=[[10, 11]])
        request = await batch_of(
            service,
            (one, {"tail": [3, 1], "removed": {1: 1, 10: 1}, "version": 5}),
            (two, {"tail": [7], "segments": [[20, 21]], "version": 6}),
        )
        reply = await service.commit_batch(request)
        assert reply.position and not reply.conflicts
        assert await service.commit_batch(request) == reply
        request.parts[0].row_version = 9
        with pytest.raises(InvalidError, match="AM-3035"):
            await service.commit_batch(request)
        expected = [
            {1: 5, 2: 1, 3: 5, 11: 1},
            {7: 6, 20: 6, 21: 6},
        ]
        for reopened in (False, True):
            if reopened and location == "directory":
                await service.close()
                service = open_engine(where, unsafe_scheme=True, threads=1)
            for table, versions in zip((one, two), expected, strict=True):
                rows = await support.read_all(service, table)
                assert {key: version for key, (_, version) in rows.items()} == versions
        await service.close()

    support.run(work)


def test_a_conflict_in_one_part_leaves_all_undone() -> None:
    """Conflicts name their part; objects of the batch still wait and may be named again."""

    async def work() -> None:
        service = open_engine(":memory:", unsafe_scheme=True, threads=1)
        one = await support.setup(service)
        two = await support.setup(service, support.make_table("two"))
        await support.commit(service, one, tail=[1])
        await support.commit(service, two, tail=[1])
        request = await batch_of(
            service,
            (one, {"segments": [[5, 6]], "version": 5}),
            (two, {"tail": [1], "removed": {9: 1}, "version": 5}),
        )
        before = [await support.read_all(service, table) for table in (one, two)]
        reply = await service.commit_batch(request)
        assert reply.position == 0
        assert sorted((c.part, c.new_segment) for c in reply.conflicts) == [(1, -2), (1, -1)]
        assert [await support.read_all(service, table) for table in (one, two)] == before
        del request.parts[1]
        request.request_id = new_id()
        assert (await service.commit_batch(request)).position
        assert sorted(await support.read_all(service, one)) == [1, 5, 6]
        await service.close()

    support.run(work)


def test_a_row_can_be_required_to_be_absent() -> None:
    """Version 0 among the removed: a conflict if there is one, nothing to do if not."""

    async def work() -> None:
        service = open_engine(":memory:", unsafe_scheme=True, threads=1)
        table = await support.setup(service)
        assert (await support.commit(service, table, tail=[1], removed={2: 0})).position
        reply = await support.commit(service, table, tail=[3], removed={1: 0}, version=2)
        assert [(c.new_segment, c.version) for c in reply.conflicts] == [(-2, 1)]
        assert sorted(await support.read_all(service, table)) == [1]
        await service.close()

    support.run(work)


def test_batches_that_cannot_be_are_refused() -> None:
    """No parts, two parts of one table, a part with an id of its own, one object twice, no id."""

    async def work() -> None:
        service = open_engine(":memory:", unsafe_scheme=True, threads=1)
        one = await support.setup(service)
        two = await support.setup(service, support.make_table("two"))
        good = await batch_of(service, (one, {"segments": [[1]]}), (two, {"tail": [1]}))
        wrong = [pb.BatchRequest() for _ in range(5)]
        for request in wrong:
            request.CopyFrom(good)
            request.request_id = new_id()
        del wrong[0].parts[:]
        wrong[1].parts[1].table_id = one.id
        wrong[2].parts[1].request_id = new_id()
        wrong[3].parts[1].ClearField("tail")
        wrong[3].parts[1].segments.extend(good.parts[0].segments)
        wrong[4].request_id = b"short"
        for request in wrong:
            with pytest.raises(InvalidError, match=r"AM-3005|AM-3030"):
                await service.commit_batch(request)
        assert await support.read_all(service, one) == {}
        assert (await service.commit_batch(good)).position
        await service.close()

    support.run(work)


def test_new_requests_pass_the_pipe() -> None:
    """Batches, leases and rows by key from an engine in another process."""

    async def work() -> None:
        async with support.engine_process(":memory:") as (service, _):
            one = await support.setup(service)
            two = await support.setup(service, support.make_table("two"))
            request = await batch_of(service, (one, {"tail": [1, 2]}), (two, {"tail": [3]}))
            assert (await service.commit_batch(request)).position
            manifest = await support.snapshot(service, one)
            reply = await service.renew(pb.RenewRequest(handles=[manifest.handle, b"x"]))
            assert list(reply.expired) == [b"x"] and reply.lease_seconds == manifest.lease_seconds
            assert list(await by_keys(service, [2, 5], handle=manifest.handle)) == [2]
            assert list(await by_keys(service, [3], table=two)) == [3]

    support.run(work)


def test_a_segment_without_live_rows_leaves_and_so_do_its_objects() -> None:
    """As soon as nobody reads it, without anybody asking."""

    async def work() -> None:
        async with timed() as (service, _):
            table = await support.setup(service)
            empty = set(service._storage.objects.ids())
            await support.commit(service, table, segments=[[1, 2], [3, 4]])
            full = set(service._storage.objects.ids())
            await support.commit(service, table, removed={1: 1, 2: 1}, version=2)
            await service._write(lambda _: None)  # after the upkeep of the group before
            assert len(set(service._storage.objects.ids()) - empty) == len(full - empty) // 2
            pinned = await support.snapshot(service, table)
            await support.commit(service, table, removed={3: 1, 4: 1}, version=2)
            assert sorted(await by_keys(service, [1, 3], handle=pinned.handle)) == [3]
            await service.release(pb.HandleRequest(handle=pinned.handle))
            assert set(service._storage.objects.ids()) == empty

    support.run(work)


def test_a_batch_over_tables_is_replayed_whole(tmp_path: Path) -> None:
    """The process died, and the state with it: the log alone makes all parts again, also those of
    a table that was dropped afterwards.
    """

    async def work() -> None:
        path = tmp_path / "db"
        service = open_engine(path, unsafe_scheme=True, threads=1)
        one = await support.setup(service)
        two = await support.setup(service, support.make_table("two"))
        three = await support.setup(service, support.make_table("three"))
        await support.commit(service, one, tail=[1, 2], segments=[[10, 11]])
        request = await batch_of(
            service,
            (one, {"tail": [3, 1], "removed": {1: 1, 10: 1}, "version": 5}),
            (two, {"tail": [7], "segments": [[20, 21]], "version": 6}),
            (three, {"segments": [[1]], "version": 6}),
        )
        reply = await service.commit_batch(request)
        before = [await support.read_all(service, table) for table in (one, two)]
        drop = pb.DropTableRequest(request_id=new_id(), table_id=three.id)
        await service.drop_table(drop)
        service._committer.close()
        service._storage.abandon()
        for file in (path / "state").iterdir():
            file.unlink()
        service = open_engine(path, unsafe_scheme=True, threads=1)
        assert [await support.read_all(service, table) for table in (one, two)] == before
        assert await service.commit_batch(request) == reply
        assert len((await service.list_tables(pb.ListTablesRequest())).tables) == 2
        await service.close()

    support.run(work)
