"""Public groups: which rows of each segment belong to which distinct key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.columns.batch import ColumnBatch, ColumnValues
from amaters.wire import blocks

GROUPS_MAX = 4096
NOT_SELECTED = -1


@dataclass(frozen=True, slots=True)
class Groups:
    """Distinct keys in order of value, NULL last; per segment the group of each occupied slot
    (``NOT_SELECTED`` for rows that are dead or filtered out).
    """

    block: bytes
    rows: list[int]
    members: list[NDArray[np.int64]]

    @property
    def count(self) -> int:
        return len(self.rows)


def group_rows(
    column_ids: Sequence[int],
    batches: Sequence[ColumnBatch],
    selected: Sequence[NDArray[np.bool_]],
) -> Groups:
    """Groups of the selected rows of all segments; without columns all rows are one group.

    Raises: AM-3054 above ``GROUPS_MAX`` groups.
    """
    chosen = np.concatenate([*selected, np.zeros(0, dtype=np.bool_)])
    codes = np.zeros(int(chosen.sum()), dtype=np.int64)
    parts = []
    for column_id in column_ids:
        values, valid = _column(batches, column_id, chosen)
        own = _codes(values, valid)
        # Renumbered after each column, so that the product cannot overflow.
        codes = np.unique(codes * (int(own.max(initial=0)) + 1) + own, return_inverse=True)[1]
        parts.append((column_id, values, valid))
    count = int(codes.max(initial=-1)) + 1 if column_ids else 1
    if count > GROUPS_MAX:
        fail("AM-3054", groups=count, limit=GROUPS_MAX)
    first = np.zeros(count, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    keys: dict[int, tuple[blocks.Values, blocks.Valid | None]] = {
        column_id: (values[first], valid[first]) for column_id, values, valid in parts
    }
    return Groups(
        blocks.encode_block(keys) if keys else b"",
        np.bincount(codes, minlength=count).tolist(),
        _members(selected, chosen, codes),
    )


def _column(
    batches: Sequence[ColumnBatch], column_id: int, chosen: NDArray[np.bool_]
) -> tuple[blocks.Values, blocks.Valid]:
    columns: list[ColumnValues] = [batch.columns[column_id] for batch in batches]
    if not columns:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
    values = np.concatenate([column.values for column in columns])
    return values[chosen], np.concatenate([column.valid for column in columns])[chosen]


def _codes(values: blocks.Values, valid: blocks.Valid) -> NDArray[np.int64]:
    """Rank of each value; NULL after all others."""
    distinct, inverse = np.unique(values, return_inverse=True)
    codes: NDArray[np.int64] = np.where(valid, inverse, len(distinct))
    return codes


def _members(
    selected: Sequence[NDArray[np.bool_]], chosen: NDArray[np.bool_], codes: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    everywhere = np.full(len(chosen), NOT_SELECTED, dtype=np.int64)
    everywhere[chosen] = codes
    bounds = np.cumsum([len(mask) for mask in selected])
    return np.split(everywhere, bounds[:-1]) if selected else []
