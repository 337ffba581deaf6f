"""Rows that match and what is in them, from masked values: without fetching anything.

The engine has returned, for every row alike, a mask and the values of some columns where the mask
is 1 and zero elsewhere (``plan.values``). Decrypted, they tell this client which slots match and
what those columns hold. Canaries among them are compared value by value: a stronger check than that
of a mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from amaters.base import errors
from amaters.client.guard import SegmentGuard, check_masks
from amaters.client.rows import OpenedRows
from amaters.columns.batch import ColumnBatch, concatenate, empty
from amaters.columns.convert import ColumnValues, null_filler, storage_dtype
from amaters.columns.schema import EMPTY_DICTIONARY, Column, Table
from amaters.columns.types import Storage, TypeKind
from amaters.plan.evaluate import matches
from amaters.plan.expressions import Predicate
from amaters.plan.values import PRESENT

Mask = NDArray[np.bool_]
Slots = NDArray[np.int64]
Numbers = NDArray[np.uint16]
Part = tuple[int, int]  # column id, weight


@dataclass(slots=True)
class Packed:
    """Decrypted packed outputs: masks, and the parts of values, by segment."""

    masks: dict[bytes, Mask] = field(default_factory=dict)
    parts: dict[Part, dict[bytes, Numbers]] = field(default_factory=dict)

    def add(self, part: Part | None, segment_id: bytes, numbers: Slots) -> None:
        """One segment's numbers of one output; ``part`` None: its mask."""
        if part is None:
            self.masks[segment_id] = numbers.astype(np.bool_)
        else:
            # Below 2^16, and a table has as many of them as rows.
            self.parts.setdefault(part, {})[segment_id] = numbers.astype(np.uint16)


@dataclass(frozen=True, slots=True)
class Selected:
    """The matching slots of one segment with the values of some columns; ``real``: no canary."""

    segment_id: bytes
    slots: Slots
    rows: ColumnBatch
    real: Mask


def selected_rows(
    table: Table,
    column_ids: Sequence[int],
    packed: Packed,
    guards: Mapping[bytes, SegmentGuard],
    where: Predicate | None,
) -> list[Selected]:
    """What the engine says matches, checked against what canaries must show.

    Raises: DataError AM-5001 (canaries contradict it), AM-5012 (values that cannot be).
    """
    check_masks(guards, packed.masks, where, table)
    made = []
    wrong = 0
    for segment_id, mask in packed.masks.items():
        guard = guards[segment_id]
        slots = np.flatnonzero(mask[: guard.rows])
        columns = {
            column_id: _values(table.column(column_id), packed, segment_id, slots)
            for column_id in column_ids
        }
        rows = ColumnBatch(columns, len(slots))
        wrong += _contradictions(guard, slots, rows, where, table)
        made.append(Selected(segment_id, slots, rows, ~np.isin(slots, guard.positions)))
    if wrong:
        errors.fail("AM-5001", table=table.name, count=wrong)
    return made


def _values(column: Column, packed: Packed, segment_id: bytes, slots: Slots) -> ColumnValues:
    """Storage values of the slots: the weighed sum of the parts, from the column's minimum on."""
    code = np.zeros(len(slots), dtype=np.uint64)
    valid = np.ones(len(slots), dtype=np.bool_)
    for (column_id, weight), segments in packed.parts.items():
        if column_id != column.id:
            continue
        if segment_id not in segments:
            _misfit(column, "they are missing for a segment")
        numbers = segments[segment_id][slots]
        if weight == PRESENT:
            valid = numbers.astype(np.bool_)
        else:
            code += numbers.astype(np.uint64) * np.uint64(weight)
    return _decoded(column, code, valid)


def _decoded(column: Column, code: NDArray[np.uint64], valid: Mask) -> ColumnValues:
    listed = _listed(column)
    low, high = column.bounds if listed is None else (0, len(listed) - 1)
    if bool((code[valid] > np.uint64(high - low)).any()):
        _misfit(column, "they are out of bounds")
    code = np.where(valid, code, np.uint64(0))
    dtype = storage_dtype(column.type)
    if listed is not None:
        values = np.array([*listed, null_filler(column.type)], dtype=dtype)
        values = values[np.where(valid, code, np.uint64(len(listed))).astype(np.intp)]
    else:
        values = (code + np.uint64(low % (1 << 64))).astype(dtype)
    values[~valid] = null_filler(column.type)
    return ColumnValues(values, valid)


def _listed(column: Column) -> Sequence[Storage] | None:
    """What codes are places in: of texts, and of categories that have no digits."""
    if column.type.kind is TypeKind.TEXT:
        return column.categories or (column.dictionary or EMPTY_DICTIONARY).values
    return None if column.encoding("digits") is not None else column.categories


def _contradictions(
    guard: SegmentGuard, slots: Slots, rows: ColumnBatch, where: Predicate | None, table: Table
) -> int:
    """How many rows known here have other values than the engine returned for them."""
    wrong = np.zeros(0, dtype=np.bool_)
    for positions, known in guard.known():
        hit = matches(where, known, table)
        places, expected = np.searchsorted(slots, positions[hit]), known.take(hit)
        differs = np.zeros(len(places), dtype=np.bool_)
        for column_id, column in rows:
            own = expected.columns[column_id]
            valid, values = column.valid[places], column.values[places]
            differs |= (valid != own.valid) | (own.valid & (values != own.values))
        wrong = np.concatenate([wrong, differs])
    return int(wrong.sum())


def with_public(
    table: Table, selected: Iterable[Selected], blocks: Iterable[OpenedRows], needed: Iterable[int]
) -> list[Selected]:
    """``selected`` with public columns, which the engine returned for all rows in question.

    Raises: DataError AM-5012 when it left out one that matches.
    """
    found: dict[bytes, list[OpenedRows]] = {}
    for block in blocks:
        found.setdefault(block.segment_id, []).append(block)
    ids = sorted(needed)
    made = []
    for part in selected:
        if not len(part.slots):
            continue
        parts = found.get(part.segment_id, [])
        if not parts:
            errors.fail("AM-5012", what=f"rows of table {table.name} are missing")
        slots = np.concatenate([block.slots for block in parts])
        public = concatenate([block.rows.select(ids) for block in parts])
        order = np.argsort(slots)
        places = np.searchsorted(slots[order], part.slots)
        if len(slots) <= int(places.max()) or bool((slots[order][places] != part.slots).any()):
            errors.fail("AM-5012", what=f"rows of table {table.name} are missing")
        joined = {**part.rows.columns, **public.take(order[places]).columns}
        rows = ColumnBatch(joined, len(part.slots))
        made.append(Selected(part.segment_id, part.slots, rows, part.real))
    return made


def real_rows(table: Table, selected: Iterable[Selected], needed: Iterable[int]) -> ColumnBatch:
    """The matching rows without canaries, and of them the columns ``needed``."""
    ids = sorted(needed)
    parts = [part.rows.select(ids).take(part.real) for part in selected]
    return concatenate(parts) if parts else empty([table.column(column_id) for column_id in ids])


def _misfit(column: Column, what: str) -> None:
    errors.fail("AM-5012", what=f"values of column {column.name}: {what}")
