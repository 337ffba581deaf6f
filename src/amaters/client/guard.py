"""Canaries, seen from the client: their part of every answer, and the check before any fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amaters.base import errors
from amaters.client.session import Session
from amaters.columns.batch import ColumnBatch
from amaters.columns.canaries import open_canaries
from amaters.columns.schema import Table
from amaters.plan.evaluate import matches
from amaters.plan.expressions import Predicate
from amaters.wire import service_pb2 as pb

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SegmentGuard:
    """The canaries of one segment: where all of them are, and the live ones' rows.

    ``live``: which occupied slots the engine calls live.
    """

    rows: int
    live: Mask
    positions: NDArray[np.int64]
    live_positions: NDArray[np.int64]
    live_rows: ColumnBatch


async def read_guards(
    session: Session, table: Table, pinned: pb.SnapshotReply
) -> dict[bytes, SegmentGuard]:
    """The canaries of every segment of a snapshot. Raises: DataError AM-2054, AM-5012."""
    if not pinned.segments:
        return {}
    sizes = {segment.segment_id: segment.rows for segment in pinned.segments}
    if len(sizes) != len(pinned.segments) or max(sizes.values()) > session.parameters.slots:
        errors.fail("AM-5012", what="it has segments that cannot be")
    reply = await session.service.read_canaries(pb.CanaryRequest(handle=pinned.handle))
    found = {
        item.segment_id: _opened(session, table, item, sizes.get(item.segment_id, 0))
        for item in reply.segments
    }
    if found.keys() != sizes.keys():
        errors.fail("AM-5012", what="canaries are missing for some segments")
    return found


def _opened(session: Session, table: Table, item: pb.SegmentCanaries, rows: int) -> SegmentGuard:
    block = open_canaries(session.keyset, table, item.segment_id, item.canaries)
    if len(block.positions) and int(block.positions[-1]) >= rows:
        errors.fail("AM-5012", what="a segment is shorter than its canaries say")
    alive = np.ones(rows, dtype=np.bool_)
    if item.live:
        bits = np.unpackbits(np.frombuffer(item.live, dtype=np.uint8), bitorder="little")
        if len(bits) < rows:
            errors.fail("AM-5012", what="a segment is longer than its list of live rows")
        alive = bits[:rows].astype(np.bool_)
    live = alive[block.positions]
    return SegmentGuard(rows, alive, block.positions, block.positions[live], block.rows.take(live))


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
        expected = matches(where, guard.live_rows, table)
        mask = masks.get(segment_id)
        if mask is None:
            wrong += int(expected.sum())
            continue
        wrong += int((mask[guard.live_positions] != expected).sum())
        wrong += int(mask[guard.rows :].sum()) + int(mask[: guard.rows][~guard.live].sum())
    if wrong:
        errors.fail("AM-5001", table=table.name, count=wrong)


def real_slots(guard: SegmentGuard, slots: Sequence[int] | NDArray[np.int64]) -> Mask:
    """Which of these slots hold real rows, not canaries."""
    return ~np.isin(np.asarray(slots), guard.positions)
