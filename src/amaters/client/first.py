"""Which of the rows that match come first under ORDER BY and LIMIT, before any is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from amaters.base import errors
from amaters.client.finish import ordered_rows
from amaters.client.selection import Selected
from amaters.columns.batch import ColumnBatch, concatenate
from amaters.plan.expressions import Select
from amaters.plan.orders import First

Mask = NDArray[np.bool_]


def first_slots(
    select: Select, first: First, selected: Sequence[Selected], tail: ColumnBatch
) -> dict[bytes, Mask]:
    """Per segment, the slots to fetch; Shape: as long as its highest slot needs.

    Canaries are ranked like rows and fetched with them, or slots that nobody ever fetches would
    give them away, but do not count towards LIMIT. Where more sort keys follow, all rows that tie
    with the last one are fetched. ``tail``: rows that match and need no fetching.
    """
    needed = (select.limit or 0) + select.offset
    ids = [*first.values, *first.public]
    rows = concatenate([tail.select(ids), *(part.rows.select(ids) for part in selected)])
    real = np.concatenate([np.ones(tail.length, dtype=np.bool_), *(p.real for p in selected)])
    keys = replace(select, order_by=select.order_by[: first.keys])
    order = ordered_rows(keys, rows, np.arange(rows.length))
    chosen = np.zeros(rows.length, dtype=np.bool_)
    chosen[_leading(order, real, needed, rows, whole=first.whole)] = True
    found: dict[bytes, Mask] = {}
    start = tail.length
    for part in selected:
        kept = part.slots[chosen[start : start + len(part.slots)]]
        start += len(part.slots)
        mask = np.zeros(int(kept.max(initial=-1)) + 1, dtype=np.bool_)
        mask[kept] = True
        found[part.segment_id] = mask
    return found


def _leading(
    order: NDArray[np.intp], real: Mask, needed: int, rows: ColumnBatch, *, whole: bool
) -> NDArray[np.intp]:
    """The first of ``order`` that hold ``needed`` real rows, with what ties unless ``whole``."""
    counted = np.cumsum(real[order])
    if needed == 0 or not len(order):
        return order[:0]
    stop = int(np.searchsorted(counted, needed)) + 1
    if whole or stop >= len(order):
        return order[:stop]
    last, rest = order[stop - 1], order[stop:]
    ties = np.ones(len(rest), dtype=np.bool_)
    for _, column in rows:
        ties &= column.valid[rest] == column.valid[last]
        ties &= ~column.valid[rest] | (column.values[rest] == column.values[last])
    return np.concatenate([order[:stop], rest[ties]])


def check_fetched(
    first: First,
    selected: Sequence[Selected],
    chosen: Mapping[bytes, Mask],
    rows: ColumnBatch,
) -> None:
    """Whether the rows fetched hold the values they were chosen by. Raises: DataError AM-5012."""
    for column_id in first.values:
        parts = []
        for part in selected:
            mask = chosen[part.segment_id]
            inside = part.slots < len(mask)
            inside[inside] = mask[part.slots[inside]]
            column = part.rows.columns[column_id]
            keep = inside & part.real & column.valid
            parts.append(column.values[keep])
        got = rows.columns[column_id]
        wanted = np.sort(np.concatenate(parts)) if parts else got.values[:0]
        if not np.array_equal(wanted, np.sort(got.values[got.valid])):
            errors.fail("AM-5012", what="it returned rows of other values than it computed with")
