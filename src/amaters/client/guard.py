"""Canaries, seen from the client: their part of every answer, and the check before any fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amaters.base import errors
from amaters.client.session import Session
from amaters.columns.batch import ColumnBatch
from amaters.columns.canaries import CanaryBlock, joined_canaries, open_canaries
from amaters.columns.schema import Table
from amaters.plan.evaluate import matches
from amaters.plan.expressions import Predicate
from amaters.wire import service_pb2 as pb

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SegmentGuard:
    """The canaries of one segment: where all of them are, and the live ones' rows.

    ``live``: which slots the engine calls live; ``occupied``: how many ever had a row;
    ``witnesses``: live real rows that are checked as well.
    """

    rows: int
    live: Mask
    positions: NDArray[np.int64]
    live_positions: NDArray[np.int64]
    live_rows: ColumnBatch
    occupied: int
    witnesses: tuple[NDArray[np.int64], ColumnBatch] | None = None

    def expected(self, where: Predicate | None, table: Table) -> tuple[NDArray[np.int64], Mask]:
        """Slots whose mask bits are known here, and what they must be."""
        slots, bits = self.live_positions, matches(where, self.live_rows, table)
        if self.witnesses is None:
            return slots, bits
        more, rows = self.witnesses
        return np.concatenate([slots, more]), np.concatenate([bits, matches(where, rows, table)])

    def known(self) -> list[tuple[NDArray[np.int64], ColumnBatch]]:
        """Slots whose rows are known here, in order, and those rows."""
        fakes = (self.live_positions, self.live_rows)
        return [fakes] if self.witnesses is None else [fakes, self.witnesses]


async def read_guards(
    session: Session, table: Table, pinned: pb.SnapshotReply
) -> dict[bytes, SegmentGuard]:
    """The canaries of every segment of a snapshot. Raises: DataError AM-2054, AM-5012."""
    if not pinned.segments:
        return {}
    slots = session.parameters_of(table).slots
    sizes = {segment.segment_id: segment.rows for segment in pinned.segments}
    if len(sizes) != len(pinned.segments) or max(sizes.values()) > slots:
        errors.fail("AM-5012", what="it has segments that cannot be")
    reply = await session.service.read_canaries(pb.CanaryRequest(handle=pinned.handle))
    parts = [item.segment_id for item in reply.segments]
    parts.extend(part.segment_id for item in reply.segments for part in item.parts)
    if len(set(parts)) != len(parts):
        errors.fail("AM-5012", what="it has one part in several segments")
    found = {
        item.segment_id: _opened(session, table, item, sizes.get(item.segment_id, 0))
        for item in reply.segments
    }
    if found.keys() != sizes.keys():
        errors.fail("AM-5012", what="canaries are missing for some segments")
    return found


def _opened(session: Session, table: Table, item: pb.SegmentCanaries, rows: int) -> SegmentGuard:
    block, covered = canaries_of(session, table, item)
    if len(block.positions) and int(block.positions[-1]) >= rows:
        errors.fail("AM-5012", what="a segment is shorter than its canaries say")
    alive = np.ones(rows, dtype=np.bool_)
    if item.live:
        bits = np.unpackbits(np.frombuffer(item.live, dtype=np.uint8), bitorder="little")
        if len(bits) < rows:
            errors.fail("AM-5012", what="a segment is longer than its list of live rows")
        alive = bits[:rows].astype(np.bool_)
    occupied = rows
    if covered is not None:
        occupied = sum(count for _, count in covered)
        outside = np.ones(rows, dtype=np.bool_)
        for first, count in covered:
            outside[first : first + count] = False
        if bool((outside & alive).any()):
            errors.fail("AM-5012", what="it has rows in slots that no canaries stand for")
    live = alive[block.positions]
    kept, fakes = block.positions[live], table.seen(block.rows.take(live))
    witnesses = None
    if block.witnesses is not None:
        slots, real = block.witnesses
        if len(slots) and int(slots[-1]) >= rows:
            errors.fail("AM-5012", what="a segment is shorter than its canaries say")
        witnesses = slots[alive[slots]], table.seen(real.take(alive[slots]))
    return SegmentGuard(rows, alive, block.positions, kept, fakes, occupied, witnesses)


def canaries_of(
    session: Session, table: Table, item: pb.SegmentCanaries
) -> tuple[CanaryBlock, list[tuple[int, int]] | None]:
    """The canaries of a segment and the slots they stand for (first, count), None for all of it.

    A segment that is shared has a block for each part, which says itself for which slots: so no
    part's canaries can be left out. Raises: DataError AM-2054, AM-5012.
    """
    opened = [block for _, block in opened_blocks(session, table, item)]
    if not item.parts:
        (block,) = opened
        return block, None if block.window is None else [block.window]
    windows = [block.window for block in opened if block.window is not None]
    if len(windows) != len(opened):
        errors.fail("AM-5012", what="a shared segment has a part that was a segment of its own")
    return joined_canaries(opened), windows


def opened_blocks(
    session: Session, table: Table, item: pb.SegmentCanaries
) -> list[tuple[bytes, CanaryBlock]]:
    """The canary blocks of a segment, each with the id it is bound to: one, or one per part.

    Raises: DataError AM-2054.
    """
    keyset = session.keyset_of(table.stored)
    sealed = [(part.segment_id, part.canaries) for part in item.parts]
    return [
        (segment_id, open_canaries(keyset, table.stored, segment_id, canaries))
        for segment_id, canaries in sealed or [(item.segment_id, item.canaries)]
    ]


def matching_canaries(
    guards: Mapping[bytes, SegmentGuard], where: Predicate | None, table: Table
) -> list[ColumnBatch]:
    """The live canaries that every honest answer contains, per segment."""
    return [
        guard.live_rows.take(matches(where, guard.live_rows, table)) for guard in guards.values()
    ]


def check_masks(
    guards: Mapping[bytes, SegmentGuard],
    masks: Mapping[bytes, Mask],
    where: Predicate | None,
    table: Table,
) -> None:
    """Compare the engine's masks with what canaries must show; slots without a live row are zero.

    The last is what keeps an engine from calling all rows dead, canaries among them, and then
    returning a stored slice: whatever it calls live holds its share of canaries.
    Raises: DataError AM-5001, AM-5012 before anything is fetched or changed.
    """
    if not masks.keys() <= guards.keys():
        errors.fail("AM-5012", what="it has a mask for a segment that is not in the snapshot")
    wrong = 0
    for segment_id, guard in guards.items():
        slots, expected = guard.expected(where, table)
        mask = masks.get(segment_id)
        if mask is None:
            wrong += int(expected.sum())
            continue
        wrong += int((mask[slots] != expected).sum())
        wrong += int(mask[guard.rows :].sum()) + int(mask[: guard.rows][~guard.live].sum())
    if wrong:
        errors.fail("AM-5001", table=table.name, count=wrong)


def real_slots(guard: SegmentGuard, slots: Sequence[int] | NDArray[np.int64]) -> Mask:
    """Which of these slots hold real rows, not canaries."""
    return ~np.isin(np.asarray(slots), guard.positions)
