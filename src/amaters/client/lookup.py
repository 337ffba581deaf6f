"""Rows by primary key, in one round trip: the engine returns the canaries of each segment along.

A canary has a key like any row; its row is taken out here, so that to a caller it does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.base import errors
from amaters.client.finish import finish_rows
from amaters.client.guard import canaries_of
from amaters.client.result import Result
from amaters.client.rows import open_block
from amaters.client.segments import encode_columns
from amaters.client.session import Session
from amaters.columns.batch import ColumnBatch, concatenate, empty
from amaters.columns.convert import ColumnValues, from_python
from amaters.columns.schema import Column, Table
from amaters.plan.expressions import ColumnRef, OutputItem, Select
from amaters.wire import service_pb2 as pb

KEYS_AT_ONCE = 1 << 14


@dataclass(slots=True)
class Found:
    """Rows with their versions by key, in no order; and the canaries that were in the way."""

    rows: ColumnBatch
    versions: dict[Any, int] = field(default_factory=dict)
    canaries: dict[Any, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Guard:
    """Slots of the canaries of a segment, and the ranges of slots (first, count) they stand for."""

    fakes: frozenset[int]
    covered: list[tuple[int, int]] | None

    def real(self, slots: list[int]) -> NDArray[np.bool_]:
        """Which slots hold real rows. Raises: DataError AM-5012 for one no canary stands for."""
        for slot in slots if self.covered is not None else ():
            if not any(first <= slot < first + count for first, count in self.covered or ()):
                errors.fail("AM-5012", what="it has rows in slots that no canaries stand for")
        return np.array([slot not in self.fakes for slot in slots], dtype=np.bool_)


def _guard(session: Session, table: Table, block: pb.RowBlock) -> _Guard:
    if block.canaries.segment_id != block.segment_id:
        errors.fail("AM-5012", what="canaries are missing for some segments")
    canaries, covered = canaries_of(session, table, block.canaries)
    return _Guard(frozenset(canaries.positions.tolist()), covered)


def key_values(table: Table, keys: Sequence[object]) -> ColumnValues:
    """Primary keys as stored, each once. Raises: InvalidError AM-20xx."""
    key = table.primary_key
    given = from_python(key.type, keys, f"{table.name}.{key.name}")
    if not bool(given.valid.all()):
        errors.fail("AM-5007", what="a primary key that is NULL", fix="leave it out")
    first: dict[Any, int] = {}
    for row, value in enumerate(given.values.tolist()):
        first.setdefault(value, row)
    once = list(first.values())
    return ColumnValues(given.values[once], given.valid[once])


async def find_rows(
    session: Session, table: Table, keys: ColumnValues, needed: Collection[int] | None = None
) -> Found:
    """The rows of these keys, as last committed: all columns, or those needed and the key.

    Leaks: the keys. Raises: DataError AM-2053, AM-2054, AM-5012; ConflictError AM-3022.
    """
    found = Found(empty(table.columns) if needed is None else ColumnBatch({}, 0))
    parts: list[ColumnBatch] = []
    for start in range(0, len(keys.values), KEYS_AT_ONCE):
        stop = start + KEYS_AT_ONCE
        some = ColumnValues(keys.values[start:stop], keys.valid[start:stop])
        parts.extend(await _fetched(session, table, some, needed, found))
    if parts:
        found.rows = concatenate(parts)
    return found


async def _fetched(
    session: Session,
    table: Table,
    keys: ColumnValues,
    needed: Collection[int] | None,
    found: Found,
) -> list[ColumnBatch]:
    key = table.primary_key
    columns = [c for c in table.columns if needed is None or c.id in needed or c.id == key.id]
    encrypted = {column.id for column in table.encrypted_columns}
    request = pb.FetchRequest(
        keys=encode_columns([key], ColumnBatch({key.id: keys}, len(keys.values))),
        table_id=table.id,
        schema_version=table.version,
        canaries=True,
        column_ids=[column.id for column in columns if column.id not in encrypted],
        sealed=any(column.id in encrypted for column in columns),
    )
    asked = set(keys.values.tolist())
    guards: dict[bytes, _Guard] = {b"": _Guard(frozenset(), None)}
    parts: list[ColumnBatch] = []
    async for block in session.service.fetch_rows(request):
        if block.segment_id not in guards:
            guards[block.segment_id] = _guard(session, table, block)
        opened = await asyncio.to_thread(open_block, session, table, block, needed)
        there = opened.rows.columns[key.id].values.tolist()
        if not asked.issuperset(there) or len(set(there)) != len(there):
            errors.fail("AM-5012", what="it returned other rows than were asked for")
        asked.difference_update(there)
        real = np.ones(len(there), dtype=np.bool_)
        if block.segment_id:
            real = guards[block.segment_id].real(opened.slots.tolist())
        for one, is_real, version in zip(there, real, opened.versions.tolist(), strict=True):
            (found.versions if is_real else found.canaries)[one] = version
        parts.append(opened.rows.select([column.id for column in columns]).take(real))
    return parts


async def get(
    session: Session, table: Table, keys: Sequence[object], names: Sequence[str] | None
) -> Result:
    """The rows of some keys, in the order of the keys; keys without a row are left out."""
    found, _ = await get_versioned(session, table, key_values(table, keys), names)
    return found


async def get_versioned(
    session: Session, table: Table, keys: ColumnValues, names: Sequence[str] | None
) -> tuple[Result, dict[Any, int]]:
    """The same with the row version of each key as stored that has a row."""
    shown = _shown(table, names)
    found = await find_rows(session, table, keys, {column.id for column in shown})
    rows = found.rows if found.rows.columns else empty(table.columns)
    return ordered(session, table, keys, rows, names), found.versions


def _shown(table: Table, names: Sequence[str] | None) -> list[Column]:
    return list(table.visible_columns) if names is None else [table.column(n) for n in names]


def ordered(
    session: Session,
    table: Table,
    keys: ColumnValues,
    rows: ColumnBatch,
    names: Sequence[str] | None,
) -> Result:
    """The rows that are there, in the order of the keys."""
    shown = _shown(table, names)
    there = rows.columns[table.primary_key.id].values.tolist()
    row_of = {key: row for row, key in enumerate(there)}
    order = [row_of[key] for key in keys.values.tolist() if key in row_of]
    items = tuple(OutputItem(column.name, ColumnRef(column.id)) for column in shown)
    answer = finish_rows(Select(table, None, items), rows.take(np.array(order, dtype=np.int64)))
    return Result(
        names=answer.names,
        types=answer.types,
        columns=answer.columns,
        learned=(f"the {len(keys.values)} primary keys asked for in table {table.name}",),
        stats=session.stats(),
    )
