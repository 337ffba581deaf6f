"""Reclaiming: segments with many dead rows, small segments and the tail, written again.

Only a client can do it, because rows are encrypted anew. Each step reads the rows of a few places,
makes one segment of them and commits that; rows that others changed meanwhile are left as they are
now. So a crash, or a loser of a race, leaves whole steps. Canaries move along like rows: the engine
does not see which rows they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from amaters.base import errors
from amaters.client import unique
from amaters.client.guard import SegmentGuard, read_guards
from amaters.client.leases import Lease, exchange_lease
from amaters.client.rows import OpenedRows, joined, open_block, read_tail, snapshot
from amaters.client.segments import discard, encode_columns, upload_planted
from amaters.client.session import Session
from amaters.columns.batch import ColumnBatch, concatenate
from amaters.columns.canaries import CANARIES, Planted, replant
from amaters.columns.draw import distinct_below
from amaters.columns.schema import Table
from amaters.wire import service_pb2 as pb

ATTEMPTS_MAX = 8
CROWDED_AFTER = 3
SLACK_STEPS = 8


@dataclass(frozen=True, slots=True)
class Load:
    """How full a segment is. ``real``: live rows without canaries; ``dead``: slots to reclaim."""

    segment_id: bytes
    real: int
    dead: int
    occupied: int


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes one segment: these segments, and so many rows of the tail."""

    segments: tuple[bytes, ...]
    tail_rows: int


@dataclass(slots=True)
class Compacted:
    """What a compaction did: rows written again (canaries not counted), segments and tail rows
    that went into it, segments that came out.
    """

    rows: int = 0
    segments_read: int = 0
    segments_written: int = 0
    tail_rows: int = 0

    def add(self, other: Compacted) -> None:
        """Count what another one did as well."""
        self.rows += other.rows
        self.segments_read += other.segments_read
        self.segments_written += other.segments_written
        self.tail_rows += other.tail_rows


def choose(
    loads: Sequence[Load], tail_rows: int, full: int, stale: Collection[bytes] = ()
) -> Step | None:
    """The next step for a table, None when nothing is worth it. Pure.

    Worth it: a segment of which half is dead, or that is ``stale``; two or more places that fit
    into one segment and of which each fills less than half; half a segment's worth of tail rows.
    """
    worn = {load.segment_id for load in loads if 2 * load.dead > load.occupied} | {*stale}
    small = [load for load in loads if 2 * load.real < full or load.segment_id in worn]
    chosen: list[Load] = []
    total = 0

    def rank(load: Load) -> tuple[bool, int, bytes]:
        return load.segment_id not in stale, load.real, load.segment_id

    for load in sorted(small, key=rank):
        if total + load.real <= full:
            chosen.append(load)
            total += load.real
    room = full - total
    takes_tail = tail_rows if tail_rows <= room and chosen else 0
    if not takes_tail and 2 * tail_rows >= full:
        chosen, takes_tail = [], min(tail_rows, full)
    is_worn = any(load.segment_id in worn for load in chosen)
    if is_worn or 2 * takes_tail >= full or len(chosen) + bool(takes_tail) >= 2:
        return Step(tuple(load.segment_id for load in chosen), takes_tail)
    return None


async def compact(
    session: Session, table: Table, *, rows_per_second: float | None = None, fresh: bool = False
) -> Compacted:
    """Rewrite what is worth it, step by step; at most so many rows per second. ``fresh``: also what
    has changed keys, so that its ciphertexts are fresh encryptions again.

    Cost: about what inserting these rows costs. Leaks: which rows live, which is known already.
    Raises: ConflictError AM-5030 when canaries meet the keys of others again and again, and
    AM-3071 when a lease is lost: what was rewritten stays.
    """
    session.require_open()
    work = _Compaction(session, table, fresh)
    clock = session.outside.clock
    began = clock.monotonic()
    while await work.step():
        session.report("compacting", work.done.rows, work.total, "rows")
        if rows_per_second:
            due = work.done.rows / rows_per_second
            await asyncio.sleep(max(due - (clock.monotonic() - began), 0.0))
    return work.done


async def fold_tail(session: Session, table: Table) -> bool:
    """Make a segment of the tail, however short; False when another client exchanges it.

    Raises: as ``compact``.
    """
    async with snapshot(session, table) as pinned:
        lease = await exchange_lease(session, table)
        if lease is None:
            return False
        full = session.parameters_of(table).slots - CANARIES
        plan = Step((), min(pinned.tail_rows, full))
        await rewrite(session, table, plan, lease, (pinned.handle, {}))
    return True


@dataclass(slots=True)
class _Compaction:
    """The steps over one table. There are no more of them than there were places in the beginning,
    and a few: whoever writes faster than this rewrites is not followed for ever.
    """

    session: Session
    table: Table
    fresh: bool = False
    done: Compacted = field(default_factory=Compacted)
    total: int = 0
    steps_left: int | None = None

    async def step(self) -> bool:
        """Make one step; whether there may be another."""
        if self.steps_left == 0:
            return False
        full = self.session.parameters_of(self.table).slots - CANARIES
        async with snapshot(self.session, self.table) as pinned:
            guards = await read_guards(self.session, self.table, pinned)
            if self.steps_left is None:
                self.total = sum(segment.live for segment in pinned.segments) + pinned.tail_rows
                self.steps_left = len(guards) + pinned.tail_rows // full + SLACK_STEPS
            self.steps_left -= 1
            loads = [load_of(segment_id, guard) for segment_id, guard in guards.items()]
            stale = {s.segment_id for s in pinned.segments if self.fresh and s.rekeys}
            plan = choose(loads, pinned.tail_rows, full, stale)
            lease = None
            if plan is not None and plan.tail_rows:
                lease = await exchange_lease(self.session, self.table)
                plan = plan if lease is not None else choose(loads, 0, full, stale)
            if plan is None:
                return False
            where = pinned.handle, guards
            self.done.add(await rewrite(self.session, self.table, plan, lease, where))
        return True


async def rewrite(
    session: Session,
    table: Table,
    plan: Step,
    lease: Lease | None,
    where: tuple[bytes, dict[bytes, SegmentGuard]],
) -> Compacted:
    """Make one step, in one commit. ``where``: handle and guards of a pinned read version.

    Raises: ConflictError AM-5030, AM-3071.
    """
    work = _Rewrite(session, table, plan, lease)
    try:
        await work.read(*where)
        await work.write()
    except BaseException:
        if lease is not None:
            await lease.end()
        raise
    written = 1 if work.rows.length else 0
    return Compacted(work.rows.length, len(plan.segments), written, plan.tail_rows)


def load_of(segment_id: bytes, guard: SegmentGuard) -> Load:
    """How full a segment is, as its guard shows it."""
    live = int(guard.live.sum())
    real = live - len(guard.live_positions)
    return Load(segment_id, real, guard.occupied - live, guard.occupied)


@dataclass(slots=True)
class _Rewrite:
    """One step: rows read at a pinned version, and the segment that is made of them."""

    session: Session
    table: Table
    plan: Step
    lease: Lease | None
    rows: ColumnBatch = field(default_factory=lambda: ColumnBatch({}, 0))
    carried: ColumnBatch = field(default_factory=lambda: ColumnBatch({}, 0))
    moved: list[tuple[ColumnBatch, NDArray[np.uint64]]] = field(default_factory=list)
    dropped: list[tuple[ColumnBatch, NDArray[np.uint64]]] = field(default_factory=list)
    kept: unique.Kept = field(default_factory=dict)  # of fresh canaries that nobody refused

    # ---- reading -----------------------------------------------------------------------------

    async def read(self, handle: bytes, guards: dict[bytes, SegmentGuard]) -> None:
        """All live rows of the chosen places, canaries apart. Raises: AM-5012."""
        order = [column.id for column in self.table.columns]
        fakes: list[tuple[ColumnBatch, NDArray[np.uint64]]] = []
        for block in await self._segments(handle, guards):
            fake = np.isin(block.slots, guards[block.segment_id].positions)
            whole = block.rows.select(order)
            self.moved.append((whole.take(~fake), block.versions[~fake]))
            fakes.append((whole.take(fake), block.versions[fake]))
        left = self.plan.tail_rows
        tail = await read_tail(self.session, self.table, handle) if left else []
        for block in tail:
            kept = block.rows.select(order).slice(0, left)
            self.moved.append((kept, block.versions[: kept.length]))
            left -= kept.length
        empty = joined(self.table, [])
        self.rows = concatenate([empty, *(rows for rows, _ in self.moved)])
        self._divide_canaries(concatenate([empty, *(rows for rows, _ in fakes)]), fakes)

    async def _segments(self, handle: bytes, guards: dict[bytes, SegmentGuard]) -> list[OpenedRows]:
        wanted = {
            segment_id: np.flatnonzero(guards[segment_id].live).tolist()
            for segment_id in self.plan.segments
        }
        request = pb.FetchRequest(
            handle=handle,
            slots=[pb.SlotList(segment_id=key, slots=slots) for key, slots in wanted.items()],
            sealed=bool(self.table.encrypted_columns),
        )
        if not wanted:
            return []
        found = []
        async for block in self.session.service.fetch_rows(request):
            found.append(await asyncio.to_thread(open_block, self.session, self.table, block))
        got = sorted((block.segment_id, int(slot)) for block in found for slot in block.slots)
        if got != sorted((key, slot) for key, slots in wanted.items() for slot in slots):
            errors.fail("AM-5012", what="it returned other rows than were asked for")
        return found

    def _divide_canaries(
        self, fakes: ColumnBatch, parts: list[tuple[ColumnBatch, NDArray[np.uint64]]]
    ) -> None:
        """As many as a segment has come along, whichever; the others go."""
        versions = np.concatenate([np.zeros(0, dtype=np.uint64), *(v for _, v in parts)])
        wanted = min(CANARIES, fakes.length) if self.rows.length else 0
        keeps = np.zeros(fakes.length, dtype=np.bool_)
        keeps[distinct_below(self.session.outside.rng, fakes.length, wanted)] = True
        self.carried = fakes.take(keeps)
        self.moved.append((self.carried, versions[keeps]))
        self.dropped.append((fakes.take(~keeps), versions[~keeps]))

    # ---- writing -----------------------------------------------------------------------------

    async def write(self) -> None:
        """Make and commit the segment. Raises: AM-5030, AM-3071."""
        newest = max((int(v.max()) for _, v in (*self.moved, *self.dropped) if len(v)), default=0)
        row_version = max(int(self.session.outside.clock.now() * 1e6), newest + 1)
        taken: set[object] = set()
        used = unique.used_values(self.table, concatenate([self.rows, self.carried]))
        for attempt in range(ATTEMPTS_MAX):
            if attempt == CROWDED_AFTER and self.rows.length:
                # The gaps between these keys are full of other rows: look beside them instead.
                taken |= unique.crowded(self.rows.columns[self.table.primary_key.id])
            request = self._request(row_version)
            planted = await self._planted(taken, used)
            if planted is not None:
                made = await upload_planted(
                    self.session, self.table, planted, row_version=row_version, lease=self.lease
                )
                request.segments.append(made.message)
            if self.lease is not None:
                await self.lease.keep()
                request.lease_id = self.lease.granted.lease_id
            reply = await self.session.service.commit(request)
            if not reply.conflicts:
                self.session.forget_sizes()
                return
            for segment in request.segments:
                await discard(self.session, segment)
            self._note(reply.conflicts, planted, taken, used)
        errors.fail("AM-5030", table=self.table.name, attempts=ATTEMPTS_MAX)

    async def _planted(self, taken: set[object], used: unique.Used) -> Planted | None:
        if not self.rows.length:
            return None
        return await asyncio.to_thread(
            replant,
            self.table,
            self.rows,
            self.carried,
            rng=self.session.outside.rng,
            taken=taken,
            used=used,
            kept=self.kept,
        )

    def _request(self, row_version: int) -> pb.CommitRequest:
        request = pb.CommitRequest(
            request_id=self.session.new_id(),
            table_id=self.table.id,
            schema_version=self.table.version,
            row_version=row_version,
        )
        for listed, field_of in ((self.moved, request.moved), (self.dropped, request.dropped)):
            parts = [(rows, versions) for rows, versions in listed if rows.length]
            if parts:
                rows = concatenate([rows for rows, _ in parts])
                versions = np.concatenate([versions for _, versions in parts])
                keys = rows.columns[self.table.primary_key.id].values.tolist()
                # In the order of keys: the order they were put together in tells the canaries.
                order = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
                field_of.keys = encode_columns([self.table.primary_key], rows.take(order))
                field_of.versions.extend(versions[order].tolist())
        return request

    def _note(
        self,
        conflicts: Sequence[pb.KeyConflict],
        planted: Planted | None,
        taken: set[object],
        used: unique.Used,
    ) -> None:
        """Keys and unique values of fresh canaries that others have by now are not to be drawn
        again. Raises: AM-5012 for other conflicts.
        """
        fakes = planted.canaries.positions.tolist() if planted is not None else []
        refused: unique.Used = {}
        if planted is None or not all(c.new_segment == 0 and c.new_row in fakes for c in conflicts):
            errors.fail("AM-5012", what="it names conflicts with rows that move")
        for conflict in conflicts:
            row = unique.row_of(self.table, planted.rows, conflict.new_row)
            taken.add(row[self.table.primary_key.id])
            unique.note_refused(self.table, conflict, used, row)
            unique.note_refused(self.table, conflict, refused, row)
        key = self.table.primary_key.id
        came_along = set(self.carried.columns[key].values.tolist())
        known = planted.canaries.rows.columns[key].values.tolist()
        fresh = np.array([one not in came_along for one in known], dtype=np.bool_)
        self.kept = unique.kept_values(self.table, planted.canaries.rows.take(fresh), refused)
