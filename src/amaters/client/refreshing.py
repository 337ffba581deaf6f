"""Client refresh at work: masks of parts down, one fresh encryption of the whole mask up.

The canaries of every part are checked before anything depends on it. A part that fails its check
ends nothing early: the vectors are then encryptions of zero, everything else is asked as if nothing
had happened, and the failure is raised at the end. So the engine learns nothing from what it is
sent, and a mask that lies is never used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from amaters.base import errors
from amaters.client.execution import Received, execute
from amaters.client.guard import SegmentGuard, check_masks
from amaters.client.session import Session
from amaters.columns.schema import Table
from amaters.plan.prepare import Prepared
from amaters.plan.recipes import ROWS
from amaters.plan.splitting import combine
from amaters.wire import service_pb2 as pb

Mask = NDArray[np.bool_]
Guards = Mapping[bytes, SegmentGuard]


async def run(
    session: Session, table: Table, prepared: Prepared, handle: bytes, guards: Guards
) -> Received:
    """Run a plan, in parts if it has any; see ``execution.execute``."""
    if prepared.refresh is None:
        return await execute(session, table, prepared, handle)
    parts = [await execute(session, table, part, handle) for part in prepared.refresh.parts]
    failure = await asyncio.to_thread(_checked, table, prepared, parts, guards)
    masks = await asyncio.to_thread(_combined, session, table, prepared, parts, guards)
    if failure is not None:
        masks = {
            segment_id: {column_id: np.zeros_like(mask) for column_id, mask in found.items()}
            for segment_id, found in masks.items()
        }
    if prepared.compiled is None:
        received = _only_masks(prepared, masks)
    else:
        received = await execute(session, table, prepared, handle, masks)
    received.failure = failure or received.failure
    received.stats = _added([*(part.stats for part in parts), received.stats])
    return received


def _checked(
    table: Table, prepared: Prepared, parts: Sequence[Received], guards: Guards
) -> errors.AmatersError | None:
    """The first thing that is wrong with any part."""
    assert prepared.refresh is not None
    for plan, received in zip(prepared.refresh.parts, parts, strict=True):
        try:
            received.require_intact()
            check_masks(guards, received.masks, plan.select.where, table)
        except errors.AmatersError as failure:
            return failure
    return None


def _combined(
    session: Session,
    table: Table,
    prepared: Prepared,
    parts: Sequence[Received],
    guards: Guards,
) -> dict[bytes, dict[int, Mask]]:
    """The masks of the whole conditions, for every segment. Parts leave out segments where no row
    satisfies what is public in them; what runs after them may read those all the same.
    """
    refresh = prepared.refresh
    assert refresh is not None
    nothing = np.zeros(session.parameters_of(table).slots, dtype=np.bool_)
    return {
        segment_id: {
            mask.column_id: combine(
                mask.combination, [part.masks.get(segment_id, nothing) for part in parts]
            )
            for mask in refresh.masks
        }
        for segment_id in guards
    }


def _only_masks(prepared: Prepared, masks: Mapping[bytes, Mapping[int, Mask]]) -> Received:
    """The answer that is in the filter's mask itself."""
    assert prepared.refresh is not None
    column_id = prepared.refresh.masks[0].column_id
    received = Received()
    for segment_id, found in masks.items():
        received.packed.add(None, segment_id, found[column_id].astype(np.int64))
    if prepared.kind == "aggregate":
        count = sum(int(mask.sum()) for mask in received.masks.values())
        received.totals.add((), ROWS, count)
    return received


def _added(stats: Sequence[pb.StatsEvent]) -> pb.StatsEvent:
    """What all jobs together took; they read the same segments."""
    return pb.StatsEvent(
        cpu_seconds=sum(item.cpu_seconds for item in stats),
        wall_seconds=sum(item.wall_seconds for item in stats),
        bytes_read=sum(item.bytes_read for item in stats),
        bytes_cached=sum(item.bytes_cached for item in stats),
        key_switches=sum(item.key_switches for item in stats),
        segments=max(item.segments for item in stats),
    )
