"""Leases: one exchanger, slots that nobody else gets, and what a commit without them is told."""

from __future__ import annotations

import asyncio
from typing import Any

import engine_support as support
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amaters.base.clock import SystemClock
from amaters.base.errors import AmatersError
from amaters.engine.compaction import _Making, due
from amaters.engine.leases import LEASE_SECONDS, SHARE_MIN, _gap, slow_down, tail_limits
from amaters.engine.service import Engine
from amaters.fhe.bundle import pack_bundle
from amaters.storage.database import open_memory
from amaters.wire import blocks
from amaters.wire import service_pb2 as pb

SLOTS = support.PARAMETERS.slots
SHARE = SLOTS // SHARE_MIN


class HandClock(SystemClock):
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


def made(clock: HandClock | None = None, rate: float | None = 0) -> Engine:
    return Engine(
        open_memory(), unsafe_scheme=True, threads=2, clock=clock, merge_bytes_per_second=rate
    )


async def leased(service: Any, table: Any, slots: int = 0, lease_id: bytes = b"") -> pb.LeaseReply:
    return await service.lease(pb.LeaseRequest(table_id=table.id, slots=slots, lease_id=lease_id))


async def part_request(
    service: Any, table: Any, keys: range, lease: pb.LeaseReply, version: int = 1
) -> pb.CommitRequest:
    """A commit of one partial segment in leased slots."""
    request = await support.commit_request(service, table, version=version)
    batch, first = support.rows_of(table, list(keys)), lease.first_slot
    segment = request.segments.add(
        rows=first + batch.length,
        canaries=b"canaries",
        first_slot=first,
        open_segment=lease.open_segment,
        lease_id=lease.lease_id,
    )
    segment.segment_id = (await service.reserve(pb.ReserveRequest(objects=1))).ids[0]
    columns = {}
    for column in table.public_columns:
        cells = batch.columns[column.id]
        empty = np.full(first, "" if cells.values.dtype == object else 0, cells.values.dtype)
        valid = np.concatenate([np.zeros(first, dtype=np.bool_), cells.valid])
        columns[column.id] = np.concatenate([empty, cells.values]), valid
    segment.public_object = await support.upload(service, blocks.encode_block(columns))
    sealed = [b""] * first + support.sealed_of(batch, version)
    segment.sealed_object = await support.upload(service, blocks.encode_pack(sealed))
    for column in table.encrypted_columns:
        cells = batch.columns[column.id]
        places = np.arange(first, first + batch.length)
        encoded = column.encode(cells.values, cells.valid, slots=SLOTS, positions=places)
        for shape, data in zip(column.encodings, encoded, strict=True):
            bundle = pack_bundle(support.SCHEME.encrypt(data, shape.bounds), shape.kind)
            object_id = await support.upload(service, bundle)
            segment.encodings.add(column_id=column.id, encoding=shape.kind, object_id=object_id)
    return request


async def add_part(service: Any, table: Any, keys: range, version: int = 1) -> None:
    lease = await leased(service, table, len(keys))
    reply = await service.commit(await part_request(service, table, keys, lease, version))
    assert not reply.conflicts


def test_one_exchanger_at_a_time() -> None:
    """The second is told to wait; a lease that is over goes to whoever asks, and the first one's
    commit under it is refused, as is its renewal.
    """

    async def work() -> None:
        clock = HandClock()
        service = made(clock)
        table = await support.setup(service)
        await support.commit(service, table, tail=range(50))
        mine = await leased(service, table)
        assert mine.lease_id and mine.seconds == LEASE_SECONDS
        other = await leased(service, table)
        assert not other.lease_id and 0 < other.seconds <= LEASE_SECONDS
        clock.at += LEASE_SECONDS - 1
        assert (await leased(service, table, lease_id=mine.lease_id)).lease_id == mine.lease_id
        clock.at += LEASE_SECONDS + 1
        theirs = await leased(service, table)
        assert theirs.lease_id not in (b"", mine.lease_id)
        assert not (await leased(service, table, lease_id=mine.lease_id)).lease_id
        moved = range(20)
        request = await support.commit_request(service, table, segments=[moved], version=2)
        request.moved.keys = support.key_block(moved)
        request.moved.versions.extend([1] * len(moved))
        request.lease_id = mine.lease_id
        with pytest.raises(AmatersError, match="AM-3071"):
            await service.commit(request)
        request.lease_id = theirs.lease_id
        assert not (await service.commit(request)).conflicts
        assert (await leased(service, table)).lease_id, "a commit ends the lease it was made under"
        assert len(await support.read_all(service, table)) == 50
        await service.close()

    support.run(work)


def test_newer_rows_never_make_an_exchange_fail() -> None:
    """A row of the tail that was replaced meanwhile is dead in the new segment; the rest moves."""

    async def work() -> None:
        service = made()
        table = await support.setup(service)
        await support.commit(service, table, tail=range(30))
        lease = await leased(service, table)
        request = await support.commit_request(service, table, segments=[range(30)], version=9)
        request.moved.keys = support.key_block(range(30))
        request.moved.versions.extend([1] * 30)
        request.lease_id = lease.lease_id
        await support.commit(service, table, tail=[7, 100], removed={7: 1}, version=5)
        assert not (await service.commit(request)).conflicts
        found = await support.read_all(service, table)
        assert {key: version for key, (_, version) in found.items()} == {
            **dict.fromkeys(range(30), 9),
            7: 5,
            100: 5,
        }
        await service.close()

    support.run(work)


def test_slots_are_lent_once() -> None:
    """Leases of one open segment do not overlap, committed slots stay taken, and slots of a lease
    that is over are lent again; then their first holder is refused.
    """

    async def work() -> None:
        clock = HandClock()
        service = made(clock)
        table = await support.setup(service)
        first = await leased(service, table, 300)
        second = await leased(service, table, 300)
        assert (first.first_slot, second.first_slot) == (0, 300)
        assert first.open_segment == second.open_segment
        late = await part_request(service, table, range(100, 400), second)
        assert not (
            await service.commit(await part_request(service, table, range(1000, 1290), first))
        ).conflicts
        clock.at += LEASE_SECONDS + 1
        third = await leased(service, table, 300)
        assert third.first_slot == 290, "unused slots of the first lease are free as well"
        with pytest.raises(AmatersError, match="AM-3072"):
            await service.commit(late)
        with pytest.raises(AmatersError, match="AM-3072"):
            await leased(service, table, 300, second.lease_id)
        request = await part_request(service, table, range(2000, 2300), third)
        assert not (await service.commit(request)).conflicts
        wide = await leased(service, table, SLOTS - 590 + 1)
        assert wide.open_segment != first.open_segment and wide.first_slot == 0
        assert len(await support.read_all(service, table)) == 590
        await service.close()

    support.run(work)


def test_a_commit_needs_the_slots_it_was_lent() -> None:
    """Other slots, more of them, another open segment or a lease that was used: AM-3072."""

    async def work() -> None:
        service = made()
        table = await support.setup(service)
        lease = await leased(service, table, SHARE)
        for change in ("first_slot", "rows", "open_segment", "lease_id"):
            request = await part_request(service, table, range(SHARE), lease)
            segment = request.segments[0]
            if change == "rows":
                longer = pb.LeaseReply()
                longer.CopyFrom(lease)
                request = await part_request(service, table, range(SHARE + 1), longer)
            elif change == "first_slot":
                moved = pb.LeaseReply()
                moved.CopyFrom(lease)
                moved.first_slot += 1
                request = await part_request(service, table, range(SHARE), moved)
            else:
                setattr(segment, change, b"x" * 16)
            with pytest.raises(AmatersError, match="AM-3072"):
                await service.commit(request)
        request = await part_request(service, table, range(SHARE), lease)
        assert not (await service.commit(request)).conflicts
        again = await part_request(service, table, range(5000, 5000 + SHARE), lease)
        with pytest.raises(AmatersError, match="AM-3072"):
            await service.commit(again)
        with pytest.raises(AmatersError, match="AM-3005"):
            await leased(service, table, SHARE - 1)
        await service.close()

    support.run(work)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 30)), max_size=8), st.integers(1, 40))
def test_a_gap_overlaps_nothing(parts: list[tuple[int, int]], count: int) -> None:
    """The first free slots, if there are enough: checked slot by slot."""
    size = 100
    taken = {slot for first, rows in parts for slot in range(first, first + rows)}
    fits = [
        start for start in range(size - count + 1) if taken.isdisjoint(range(start, start + count))
    ]
    found = _gap([(first, first + rows) for first, rows in parts], count, size)
    assert found == (fits[0] if fits else None)


def test_writers_are_slowed_before_they_are_refused() -> None:
    """Not at all up to one segment's worth, more with every row, longest at the limit."""
    slow, full = tail_limits(SLOTS)
    pauses = [slow_down(rows, SLOTS) for rows in range(0, full + 100, 50)]
    assert pauses == sorted(pauses)
    assert slow_down(slow, SLOTS) == 0 < slow_down(slow + 1, SLOTS) < slow_down(full, SLOTS)


def test_what_is_due() -> None:
    """Four parts that are not merged, or a segment without room for another; never one alone."""

    async def work() -> None:
        service = made()
        table = await support.setup(service)
        version = lambda: service._storage.version(table.id)  # noqa: E731
        for number in range(4):
            assert due(version(), SLOTS) == []
            await add_part(service, table, range(1000 * number, 1000 * number + SHARE))
        (group,) = due(version(), SLOTS)
        assert [row.manifest.segment.first_slot for row in group] == [SHARE * n for n in range(4)]
        assert await service.merge() == 1
        await add_part(service, table, range(9000, 9000 + 3 * SHARE))
        assert due(version(), SLOTS) == [], "there is room for one more"
        await add_part(service, table, range(8000, 8000 + SHARE))
        assert len(due(version(), SLOTS)[0]) == 3, "it is full"
        assert await service.merge() == 1
        (row,) = version().segments
        assert row.parts == 6 and row.live == SLOTS
        await service.close()

    support.run(work)


def test_parts_are_merged_in_the_background() -> None:
    """Nobody asks: after the fourth part a merged segment takes their place."""

    async def work() -> None:
        service = made(rate=None)
        table = await support.setup(service)
        for number in range(4):
            await add_part(service, table, range(1000 * number, 1000 * number + SHARE), number + 1)
        await asyncio.get_running_loop().run_in_executor(None, service._merger.settle)
        assert service._merger.error is None
        (row,) = service._storage.version(table.id).segments
        assert row.parts == 4
        found = await support.read_all(service, table)
        assert {version for _, version in found.values()} == {1, 2, 3, 4}
        await service.close()

    support.run(work)


def test_a_merge_whose_part_left_is_thrown_away() -> None:
    """All rows of a part are moved elsewhere while the others are added up: the merge has no
    effect and leaves no object behind, and the next one takes what is left.
    """

    async def work() -> None:
        service = made()
        table = await support.setup(service)
        for number in range(3):
            await add_part(service, table, range(1000 * number, 1000 * number + SHARE))
        storage, merger = service._storage, service._merger
        entry = service._catalogue.find(table.id)
        (group,) = due(storage.version(table.id), SLOTS, least=2)
        making = _Making(merger, entry, group)
        merge = making.make()
        before = set(storage.objects.ids())
        gone = range(1000, 1000 + SHARE)
        reply = await support.commit(
            service, table, segments=[gone], moved=dict.fromkeys(gone, 1), version=7
        )
        assert not reply.conflicts
        with pytest.raises(AmatersError, match="AM-3073"):
            merger._commit(entry, group, merge)
        making.discard()
        assert set(making.made) <= before and not set(making.made) & set(storage.objects.ids())
        assert await service.merge() == 1
        found = await support.read_all(service, table)
        assert len(found) == 3 * SHARE
        assert sorted(row.parts for row in storage.version(table.id).segments) == [1, 2]
        await service.close()

    support.run(work)


def test_damage_in_a_part_never_gets_into_a_merge() -> None:
    """One flipped bit in a ciphertext: a typed error, the parts stay, and nothing is left over."""

    async def work() -> None:
        service = made()
        table = await support.setup(service)
        for number in range(2):
            await add_part(service, table, range(1000 * number, 1000 * number + SHARE))
        storage = service._storage
        before = storage.version(table.id)
        objects = set(storage.objects.ids())
        encodings = before.segments[1].manifest.segment.encodings
        data = storage.objects._objects[encodings[0].object_id]
        data[len(data) // 2] ^= 4
        with pytest.raises(AmatersError, match="AM-12"):
            await service.merge()
        assert storage.version(table.id) is before
        assert set(storage.objects.ids()) == objects
        data[len(data) // 2] ^= 4
        assert await service.merge() == 1
        await service.close()

    support.run(work)
