"""Commits: whole or not at all, idempotent, conflicts named, and the same in memory and on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import engine_support as support
import pytest

from amaters.base.errors import AmatersError, ConflictError, DeniedError, InvalidError
from amaters.base.ids import new_id
from amaters.engine.service import Engine, open_engine
from amaters.wire import blocks
from amaters.wire import service_pb2 as pb
from amaters.wire.service import chunks_of


@asynccontextmanager
async def engine(location: str | Path = ":memory:") -> AsyncIterator[Engine]:
    opened = open_engine(location, unsafe_scheme=True, threads=1)
    try:
        yield opened
    finally:
        await opened.close()


def test_rows_of_tail_and_segments_are_read_back() -> None:
    """What was committed is what is read, in tail and in segments."""

    async def work() -> None:
        async with engine() as service:
            table = await support.setup(service)
            keys = list(range(10, 1000))
            reply = await support.commit(
                service, table, tail=[1, 2, 3], segments=[keys, [5000, 4000]]
            )
            assert reply.position > 0 and not reply.conflicts
            found = await support.read_all(service, table)
            assert sorted(found) == [1, 2, 3, *keys, 4000, 5000]
            stats = await service.table_stats(pb.TableStatsRequest(table_id=table.id))
            assert (stats.segments, stats.rows, stats.tail_rows) == (2, len(keys) + 2, 3)

    support.run(work)


def test_conflicts_are_named_and_nothing_is_done() -> None:
    """A batch with existing keys changes nothing and says where they lie."""

    async def work() -> None:
        async with engine() as service:
            table = await support.setup(service)
            await support.commit(service, table, tail=[1, 2], segments=[[10, 11, 12]])
            before = await support.read_all(service, table)
            manifest = await support.snapshot(service, table)
            reply = await support.commit(
                service, table, tail=[2, 3], segments=[[20, 12]], version=2
            )
            assert reply.position == 0
            found = [(c.new_segment, c.new_row, c.slot, c.version) for c in reply.conflicts]
            assert sorted(found) == [(-1, 0, 1, 1), (0, 1, 2, 1)]
            places = {c.new_segment: c.segment_id for c in reply.conflicts}
            assert places == {-1: b"", 0: manifest.segments[0].segment_id}
            assert await support.read_all(service, table) == before

    support.run(work)


def test_replacing_rows_by_naming_their_versions() -> None:
    """Removed rows make room for their successors; a wrong version is a conflict."""

    async def work() -> None:
        async with engine() as service:
            table = await support.setup(service)
            await support.commit(service, table, tail=[1, 2], segments=[[10, 11, 12]])
            wrong = await support.commit(service, table, tail=[11], removed={11: 7}, version=8)
            assert [(c.new_segment, c.version) for c in wrong.conflicts] == [(-2, 1)]
            gone = await support.commit(service, table, removed={99: 1}, version=8)
            assert [(c.new_segment, c.version) for c in gone.conflicts] == [(-2, 0)]
            await support.commit(
                service, table, tail=[11, 1], removed={11: 1, 1: 1, 12: 1}, version=5
            )
            found = await support.read_all(service, table)
            assert {key: version for key, (_, version) in found.items()} == {
                1: 5,
                2: 1,
                10: 1,
                11: 5,
            }
            with pytest.raises(ConflictError, match="AM-3036"):
                await support.commit(service, table, tail=[11], removed={11: 5}, version=5)

    support.run(work)


def test_moving_tail_rows_into_a_segment() -> None:
    """Rows that changed or went since stay what they are; their new slots are dead."""

    async def work() -> None:
        async with engine() as service:
            table = await support.setup(service)
            await support.commit(service, table, tail=[1, 2, 3, 4], version=1)
            await support.commit(service, table, tail=[2], removed={2: 1, 3: 1}, version=2)
            moved = dict.fromkeys([1, 2, 3, 4], 1)
            reply = await support.commit(
                service, table, segments=[[1, 2, 77, 3, 4]], moved=moved, version=3
            )
            assert not reply.conflicts
            found = await support.read_all(service, table)
            versions = {key: version for key, (_, version) in found.items()}
            assert versions == {1: 3, 2: 2, 4: 3, 77: 3}
            manifest = await support.snapshot(service, table)
            assert (manifest.tail_rows, manifest.segments[0].live) == (1, 3)
            canaries = await service.read_canaries(pb.CanaryRequest(handle=manifest.handle))
            assert canaries.segments[0].live == bytes([0b10101])

    support.run(work)


def test_a_repeated_request_is_applied_once() -> None:
    """The same request id gets the same reply; another request under it is refused."""

    async def work() -> None:
        async with engine() as service:
            table = await support.setup(service)
            request = await support.commit_request(service, table, tail=[1], segments=[[5, 6]])
            first = await service.commit(request)
            assert await service.commit(request) == first
            assert sorted(await support.read_all(service, table)) == [1, 5, 6]
            request.row_version = 9
            with pytest.raises(InvalidError, match="AM-3035"):
                await service.commit(request)

    support.run(work)


def test_broken_batches_leave_nothing() -> None:
    """Each kind of misfit is refused with its error, and the table stays empty."""

    async def work() -> None:
        async with engine() as service:
            table = await support.setup(service)
            good = await support.commit_request(service, table, tail=[1, 2], segments=[[5, 6]])

            async def refused(code: str, change: object) -> None:
                broken = pb.CommitRequest()
                broken.CopyFrom(good)
                broken.request_id = new_id()
                assert callable(change)
                change(broken)
                with pytest.raises(AmatersError) as caught:
                    await service.commit(broken)
                assert caught.value.code == code

            def set_(name: str, value: object) -> object:
                return lambda request: setattr(request, name, value)

            await refused("AM-3022", set_("schema_version", 2))
            await refused("AM-3021", set_("table_id", b"x" * 16))
            await refused("AM-3005", set_("row_version", 0))
            await refused("AM-3005", set_("request_id", b""))
            twice = support.public_block(table, support.rows_of(table, [1, 1]))
            await refused("AM-3033", lambda r: setattr(r.tail, "public_block", twice))
            await refused("AM-3032", lambda r: setattr(r.tail, "rows", 3))
            await refused("AM-3032", lambda r: setattr(r.tail, "sealed_pack", b""))
            await refused("AM-3002", lambda r: setattr(r.tail, "public_block", b"junk"))
            await refused("AM-3002", lambda r: setattr(r.tail, "sealed_pack", b"junk"))
            await refused("AM-3032", lambda r: r.segments[0].encodings.pop())
            await refused("AM-3032", lambda r: setattr(r.segments[0], "rows", 3))
            await refused("AM-3030", lambda r: setattr(r.segments[0], "segment_id", b"n" * 16))
            await refused("AM-3030", lambda r: setattr(r.segments[0], "public_object", b"n" * 16))
            keys_only = support.key_block([1, 2])
            await refused("AM-3032", lambda r: setattr(r.tail, "public_block", keys_only))
            assert await support.read_all(service, table) == {}
            assert (await service.commit(good)).position > 0
            assert len(await support.read_all(service, table)) == 4

    support.run(work)


def test_the_tail_is_bounded() -> None:
    """At most one and a half segments' worth of rows; the refusal says what to do."""

    async def work() -> None:
        async with engine() as service:
            table = await support.setup(service)
            slots = support.PARAMETERS.slots * 3 // 2
            await support.commit(service, table, tail=range(1000))
            await support.commit(service, table, tail=range(1000, slots - 1))
            await support.commit(service, table, tail=[slots])
            with pytest.raises(AmatersError, match="AM-3034"):
                await support.commit(service, table, tail=[slots + 1])
            moved = dict.fromkeys(range(100), 1)
            reply = await support.commit(
                service, table, segments=[list(moved)], moved=moved, version=2
            )
            assert not reply.conflicts
            await support.commit(service, table, tail=[slots + 1])
            assert len(await support.read_all(service, table)) == slots + 1

    support.run(work)


def test_keys_and_schemes_are_guarded() -> None:
    """No noop without the flag, no foreign keyset, no table before its keys."""

    async def work() -> None:
        strict = open_engine(":memory:", threads=1)
        request = pb.PutKeysetRequest(request_id=new_id(), name=support.KEY_NAME)
        with pytest.raises(DeniedError, match="AM-3011"):
            await strict.put_keyset(request, chunks_of())
        await strict.close()
        async with engine() as service:
            table = support.make_table()
            create = pb.CreateTableRequest(request_id=new_id(), schema=support.record(table))
            with pytest.raises(ConflictError, match="AM-3012"):
                await service.create_table(create)
            await support.setup(service, table)
            foreign = pb.KeyName()
            foreign.CopyFrom(support.KEY_NAME)
            foreign.keyset_id = b"f" * 16
            with pytest.raises(DeniedError, match="AM-3010"):
                await service.has_keyset(foreign)
            with pytest.raises(DeniedError, match="AM-3010"):
                put = pb.PutKeysetRequest(request_id=new_id(), name=foreign)
                await service.put_keyset(put, chunks_of())
            assert (await service.has_keyset(support.KEY_NAME)).present
            create.request_id = new_id()
            with pytest.raises(ConflictError, match="AM-3020"):
                await service.create_table(create)

    support.run(work)


def test_noop_tables_stay_shut_without_the_flag(tmp_path: Path) -> None:
    """A database that was made with the noop scheme is not usable by an engine that forbids it."""

    async def work() -> None:
        async with engine(tmp_path / "db") as service:
            table = await support.setup(service)
        strict = open_engine(tmp_path / "db", threads=1)
        with pytest.raises(DeniedError, match="AM-3011"):
            await support.snapshot(strict, table)
        with pytest.raises(DeniedError, match="AM-3011"):
            await support.commit(strict, table, tail=[1])
        await strict.close()

    support.run(work)


def test_schema_updates_compare_and_set() -> None:
    """Only the next version of the known one goes in, and only its sealed part may differ."""

    async def work() -> None:
        async with engine() as service:
            table = await support.setup(service)

            async def update(expected: int, record: pb.SchemaRecord) -> None:
                await service.update_schema(
                    pb.UpdateSchemaRequest(
                        request_id=new_id(), expected_version=expected, schema=record
                    )
                )

            newer = support.record(table.with_dictionaries({}))
            newer.sealed_bytes = b"more codes"
            await update(1, newer)
            (found,) = (await service.list_tables(pb.ListTablesRequest())).tables
            assert found == newer
            with pytest.raises(ConflictError, match="AM-3022"):
                await update(1, newer)
            with pytest.raises(InvalidError, match="AM-3005"):
                await update(2, newer)
            with pytest.raises(ConflictError, match="AM-3022"):
                await support.commit(service, table, tail=[1])

    support.run(work)


def test_integer_keys_are_reserved_above_all_others() -> None:
    """Reserved runs never overlap each other or committed keys."""

    async def work() -> None:
        async with engine() as service:
            table = await support.setup(service)

            async def reserve(count: int) -> int:
                request = pb.ReserveRequest(table_id=table.id, keys=count)
                return (await service.reserve(request)).first_key

            assert await reserve(10) == 1
            assert await reserve(5) == 11
            await support.commit(service, table, tail=[500, -3])
            assert await reserve(1) == 501

    support.run(work)


def test_snapshots_do_not_move() -> None:
    """A handle reads its version while rows and the table itself go; then it expires."""

    async def work() -> None:
        async with engine() as service:
            table = await support.setup(service)
            await support.commit(service, table, tail=[1, 2], segments=[[10, 11]])
            manifest = await support.snapshot(service, table)
            await support.commit(service, table, removed={1: 1, 10: 1}, version=2)
            drop = pb.DropTableRequest(request_id=new_id(), table_id=table.id)
            await service.drop_table(drop)
            handle = pb.HandleRequest(handle=manifest.handle)
            rows: support.Rows = {}
            async for block in service.read_tail(handle):
                rows.update(support.rows_in(block))
            fetch = pb.FetchRequest(handle=manifest.handle, all_rows=True, sealed=True)
            async for block in service.fetch_rows(fetch):
                rows.update(support.rows_in(block))
            assert sorted(rows) == [1, 2, 10, 11]
            await service.release(handle)
            with pytest.raises(ConflictError, match="AM-3040"):
                await service.read_canaries(pb.CanaryRequest(handle=manifest.handle))
            with pytest.raises(InvalidError, match="AM-3021"):
                await support.snapshot(service, table)

    support.run(work)


def test_fetching_named_slots_and_columns() -> None:
    """Named slots come back in slot order without the dead; wrong ones are refused."""

    async def work() -> None:
        async with engine() as service:
            table = await support.setup(service)
            await support.commit(service, table, segments=[list(range(100, 1000))])
            await support.commit(service, table, removed={103: 1}, version=2)
            manifest = await support.snapshot(service, table)
            segment_id = manifest.segments[0].segment_id
            for slots in ([5, 3, 1], list(range(800))):
                fetch = pb.FetchRequest(handle=manifest.handle, sealed=True, column_ids=[2])
                fetch.slots.add(segment_id=segment_id, slots=slots)
                found: support.Rows = {}
                async for block in service.fetch_rows(fetch):
                    assert set(blocks.decode_block(block.public_block).columns) == {1, 2}
                    found.update(support.rows_in(block))
                assert sorted(found) == sorted(100 + s for s in slots if s != 3)
            for bad in (
                pb.SlotList(segment_id=segment_id, slots=[900]),
                pb.SlotList(segment_id=b"x" * 16, slots=[0]),
            ):
                fetch = pb.FetchRequest(handle=manifest.handle, slots=[bad])
                with pytest.raises(InvalidError, match="AM-3041"):
                    async for _ in service.fetch_rows(fetch):
                        pass
            fetch = pb.FetchRequest(handle=manifest.handle, all_rows=True, column_ids=[3])
            with pytest.raises(InvalidError, match="AM-3005"):
                async for _ in service.fetch_rows(fetch):
                    pass

    support.run(work)
