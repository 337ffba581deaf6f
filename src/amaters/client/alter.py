"""ALTER TABLE: a new schema at once, and where it needs ciphertexts, segment by segment.

A schema with targets says durably what was begun. Whoever goes on (this client, another one, the
same statement after a crash) reads the sealed rows of each segment that lacks an encoding, encrypts
them in the slots where they lie, and commits that; rows written meanwhile have the encoding from
the start. When no segment lacks any, one more version of the schema makes it usable. Nobody waits:
each step is one commit, a segment that was rewritten meanwhile is looked at again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from amaters.base import errors
from amaters.client.attempts import repeated
from amaters.client.guard import SegmentGuard, read_guards
from amaters.client.reader import select
from amaters.client.rows import OpenedRows, joined, open_block, snapshot
from amaters.client.segments import encrypt, upload
from amaters.client.session import Session, find_table
from amaters.client.writer import extend_dictionaries
from amaters.columns import altering as al
from amaters.columns.batch import ColumnBatch, concatenate
from amaters.columns.schema import Column, Table
from amaters.plan.expressions import Aggregate, AlterTable, IsNull, OutputItem, Select
from amaters.wire import service_pb2 as pb

# What is settled by looking at the table again; AM-3040: this process slept for too long.
MOVED_ON = frozenset({"AM-3022", "AM-3040", "AM-3100", "AM-3101"})
Missing = Mapping[bytes, Mapping[int, frozenset[str]]]  # by segment and column: encodings to make


@dataclass(slots=True)
class Encoded:
    """What ALTER TABLE encrypted: rows, and the segments that they are in."""

    rows: int = 0
    segments: int = 0


async def alter_table(session: Session, statement: AlterTable) -> str:
    """Change a table; what happened, in words.

    Cost: none, or about what inserting the changed columns of all rows costs. Leaks: names, types
    and capabilities as CREATE TABLE does; DEFAULT of a column that is not encrypted.
    Raises: InvalidError AM-20xx before anything is sent, AM-2063; ConflictError AM-3020.
    """
    if not statement.actions:
        return f"there is no table {statement.name}"

    async def begin() -> Table:
        table = find_table(await session.tables(), statement.name)
        changed = al.altered(table, statement.actions)
        if changed is not table:
            position = await _require_no_nulls(session, table, statement.actions)
            await session.update_table(changed, position=position)
        return changed

    table = await repeated(session, begin)
    return _told(table, await resume(session, table))


async def resume(session: Session, table: Table) -> Encoded:
    """Finish what ALTER TABLE has begun with a table, by whomever; nothing if nothing is left.

    Can be cancelled at any point. Raises: as ``alter_table``.
    """
    done = Encoded()
    while table.is_altering:
        try:
            table = await _pass(session, table, done)
        except errors.ConflictError as conflict:
            if conflict.code not in MOVED_ON:
                raise
            table = await _again(session, table)
    return done


async def _again(session: Session, table: Table) -> Table:
    """The same table as it is now, whatever it is called. Raises: AM-5009."""
    tables = await session.tables()
    found = next((other for other in tables.values() if other.id == table.id), None)
    return found or find_table(tables, table.name)


def _told(table: Table, done: Encoded) -> str:
    if not done.segments:
        return f"altered table {table.name}"
    return f"altered table {table.name}; encrypted {done.rows:,} rows on this client"


async def _require_no_nulls(
    session: Session, table: Table, actions: Collection[al.Action]
) -> int | None:
    """The read version in which no row stands against NOT NULL; None where none could.

    Raises: InvalidError AM-2063.
    """
    checked = [a for a in actions if isinstance(a, al.SetNullable) and not a.nullable]
    added = [
        action
        for action in actions
        if isinstance(action, al.AddColumn)
        and not action.declaration.nullable
        and action.declaration.default is None
        and action.name.lower() not in {column.name.lower() for column in table.columns}
    ]
    if not checked and not added:
        return None
    async with snapshot(session, table) as pinned:
        position = pinned.position
        rows = sum(segment.live for segment in pinned.segments) + pinned.tail_rows
    if added and rows:
        errors.fail("AM-2063", table=table.name, column=added[0].name, count="all")
    for action in checked:
        column = table.column(action.column)
        if not column.nullable:
            continue
        nulls = IsNull(column.id)
        count = OutputItem("count", Aggregate("count_star"))
        found = (await select(session, Select(table, nulls, (count,)))).scalar()
        if found:
            errors.fail("AM-2063", table=table.name, column=column.name, count=found)
    return position


# ---- encrypting --------------------------------------------------------------------------------


def missing_in(table: Table, segment: pb.SegmentInfo) -> dict[int, frozenset[str]]:
    """What a segment lacks of the encodings that a table has or is to have, by column."""
    there = {(item.column_id, item.encoding) for item in segment.encodings}
    found = {}
    for column_id, names in al.pending_of(table).items():
        lacking = frozenset(name for name in names if (column_id, name) not in there)
        if lacking:
            found[column_id] = lacking
    return found


async def _pass(session: Session, table: Table, done: Encoded) -> Table:
    """Encrypt for every segment of one read version; finish if none lacked anything.

    Returns the table as it is now. Raises: ConflictError, one of ``MOVED_ON``.
    """
    async with snapshot(session, table) as pinned:
        todo = {s.segment_id: missing_in(table, s) for s in pinned.segments}
        todo = {segment_id: missing for segment_id, missing in todo.items() if missing}
        if not todo:
            ready = al.finished(table)
            await session.update_table(ready)
            return ready
        guards = await read_guards(session, table, pinned)
        total = sum(s.live for s in pinned.segments)
        left = sum(s.live for s in pinned.segments if s.segment_id in todo)
        for segment in pinned.segments:
            if segment.segment_id not in todo:
                continue
            session.report(f"altering {table.name}", total - left, total, "rows")
            work = _Segment(session, table, segment.segment_id, todo[segment.segment_id])
            table = await work.run(pinned.handle, guards[segment.segment_id])
            left -= segment.live
            done.rows += segment.live - len(guards[segment.segment_id].live_positions)
            done.segments += 1
        session.report(f"altering {table.name}", total, total, "rows")
    return await _again(session, table)


@dataclass(slots=True)
class _Segment:
    """One segment that gets encodings: ``missing`` says which, by column."""

    session: Session
    table: Table
    segment_id: bytes
    missing: Mapping[int, frozenset[str]]

    async def run(self, handle: bytes, guard: SegmentGuard) -> Table:
        """Read, encrypt, commit. Returns the table, whose dictionaries may have grown.

        Raises: ConflictError, one of ``MOVED_ON``; DataError AM-2053, AM-5012.
        """
        slots, rows = await self._read(handle, guard)
        self.table = await extend_dictionaries(self.session, self.table, rows)
        columns = [self.table.column(column_id) for column_id in self.missing]
        wanted = sum(len(names) for names in self.missing.values())
        reply = await self.session.service.reserve(pb.ReserveRequest(objects=wanted))
        if len(set(reply.ids)) != wanted:
            errors.fail("AM-5012", what="it reserved other ids than were asked for")
        request = pb.AddEncodingsRequest(
            request_id=self.session.new_id(),
            table_id=self.table.id,
            schema_version=self.table.version,
            segment_id=self.segment_id,
        )
        ids = iter(reply.ids)
        for column in columns:
            names = _in_order(column, self.missing[column.id])
            bundles = await asyncio.to_thread(
                encrypt, self.session, (self.table, column), (rows, slots), names
            )
            for name, bundle in zip(names, bundles, strict=True):
                object_id = next(ids)
                await upload(self.session, object_id, bundle)
                request.encodings.add(column_id=column.id, encoding=name, object_id=object_id)
        try:
            await self.session.service.add_encodings(request)
        except errors.ConflictError:
            made = [item.object_id for item in request.encodings]
            await self.session.service.discard(pb.DiscardRequest(object_ids=made))
            raise
        return self.table

    async def _read(
        self, handle: bytes, guard: SegmentGuard
    ) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ColumnBatch]:
        """Slots and rows of all that lives in the segment, canaries among them."""
        wanted = np.flatnonzero(guard.live).astype(np.int64)
        request = pb.FetchRequest(
            handle=handle,
            slots=[pb.SlotList(segment_id=self.segment_id, slots=wanted.tolist())],
            sealed=True,
        )
        blocks: list[OpenedRows] = []
        async for block in self.session.service.fetch_rows(request):
            if block.segment_id != self.segment_id:
                errors.fail("AM-5012", what="it returned rows of a segment nobody asked for")
            blocks.append(await asyncio.to_thread(open_block, self.session, self.table, block))
        order = [column.id for column in self.table.columns]
        empty = joined(self.table, []).select(order)
        rows = concatenate([empty, *(block.rows.select(order) for block in blocks)])
        slots = np.concatenate([wanted[:0], *(block.slots for block in blocks)])
        if not np.array_equal(slots, wanted):
            errors.fail("AM-5012", what="it returned other rows than were asked for")
        self._check_canaries(rows, slots, guard)
        return slots, rows

    def _check_canaries(
        self,
        rows: ColumnBatch,
        slots: np.ndarray[tuple[int], np.dtype[np.int64]],
        guard: SegmentGuard,
    ) -> None:
        """Rows that came in other slots than they lie in would be encrypted into those: canaries
        and witnesses are where they were put. Raises: AM-5012.
        """
        key = self.table.primary_key.id
        keys = rows.columns[key].values
        known = [(guard.live_positions, guard.live_rows), *filter(None, [guard.witnesses])]
        for positions, there in known:
            found = keys[np.searchsorted(slots, positions)].tolist()
            if found != there.columns[key].values.tolist():
                errors.fail("AM-5012", what="it returned rows in other slots than they lie in")


def _in_order(column: Column, names: Collection[str]) -> list[str]:
    return [shape.name for shape in column.written if shape.name in names]
