"""Selecting: plan, pin a snapshot, let the engine compute, check canaries, finish in plaintext.

A plan that cannot be answered is refused before the snapshot, so before anything is sent. The tail
is evaluated here by the same expression; canaries are taken out of every answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from amaters.base import errors
from amaters.client.decoys import with_decoys
from amaters.client.execution import Received
from amaters.client.finish import Answer, Totals, finish_rows, finish_totals, totals_of
from amaters.client.first import check_fetched, first_slots
from amaters.client.guard import (
    Mask,
    SegmentGuard,
    check_masks,
    matching_canaries,
    read_guards,
    real_slots,
)
from amaters.client.needs import counts_everything, needed_columns, rows_needed, statistics_of
from amaters.client.orders import ordered_values
from amaters.client.refreshing import run
from amaters.client.result import Result
from amaters.client.rows import OpenedRows, joined, needs_sealed, open_block, read_tail, snapshot
from amaters.client.selection import Selected, real_rows, selected_rows, with_public
from amaters.client.session import Session
from amaters.columns.batch import ColumnBatch, ColumnValues, concatenate, empty
from amaters.columns.schema import Column, Table
from amaters.columns.types import integer
from amaters.plan.cost import Statistics
from amaters.plan.evaluate import matches
from amaters.plan.expressions import (
    ColumnRef,
    OutputItem,
    Predicate,
    Select,
    predicate_columns,
)
from amaters.plan.fetching import asked
from amaters.plan.leakage import leakage
from amaters.plan.orders import (
    First,
    masked_values,
    ordered_columns,
    public_values,
)
from amaters.plan.prepare import Prepared
from amaters.plan.recipes import ROWS, recipe
from amaters.plan.refresh import depends_on_size, plan_select
from amaters.plan.spec import PlanSpec
from amaters.wire import service_pb2 as pb

ROW_VERSION = Column(0, "row version", integer(64, signed=False), nullable=False)
NO_VERSIONS = ColumnValues(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.bool_))
T = TypeVar("T")
Adjust = Callable[[Totals], Awaitable[None]]
_Work = Callable[
    [Prepared, pb.SnapshotReply, Mapping[bytes, SegmentGuard], ColumnBatch], Awaitable[T]
]


async def select(session: Session, statement: Select, adjust: Adjust | None = None) -> Result:
    """The answer of a SELECT; ``adjust`` changes the totals of an aggregate before they are
    finished. Raises: AM-21xx, AM-2301 before anything is sent; AM-5001.
    """
    if statement.table.is_local and statement.join is None:
        from amaters.client.staged import select_local

        return select_local(session, statement)
    if statement.join is not None:
        from amaters.client.joins import select_joined

        return await select_joined(session, statement)
    return await Selection(session, statement, adjust=adjust).run()


async def matching_rows(
    session: Session,
    table: Table,
    where: Predicate | None,
    columns: frozenset[int] | None = None,
    *,
    fetch: str = "exact",
) -> Matching:
    """The rows where a condition is true, all their columns or these, with their versions.

    Leaks: as the SELECT of these rows. Raises: as ``select``.
    """
    wanted = [c for c in table.columns if columns is None or c.id in columns]
    items = tuple(OutputItem(column.name, ColumnRef(column.id)) for column in wanted)
    selection = Selection(session, Select(table, where, items, fetch=fetch), versions=True)
    return await selection.matching()


@dataclass(frozen=True, slots=True)
class Matching:
    """Rows of one read version. Shape: ``versions`` has one row version per row. ``fakes``: the
    canaries that were fetched with them, their row versions by key.
    """

    rows: ColumnBatch
    versions: list[int]
    learned: tuple[str, ...]
    fakes: Mapping[Any, int]


class Selection:
    """One SELECT, from plan to result. With ``versions`` rows carry ``ROW_VERSION`` along."""

    def __init__(
        self,
        session: Session,
        statement: Select,
        *,
        versions: bool = False,
        adjust: Adjust | None = None,
    ) -> None:
        self.session = session
        self.adjust = adjust
        self.statement = statement
        self.table: Table = statement.table
        self.needed = needed_columns(statement)
        self.versions = versions
        if versions:
            self.needed |= {ROW_VERSION.id}
        self.received = Received()
        self.tail_rows = 0
        self.fakes: dict[Any, int] = {}

    async def run(self) -> Result:
        work = self._totals if self.statement.is_aggregate else self._rows
        prepared, answer = await self._look(work)
        return self._result(answer, prepared)

    async def matching(self) -> Matching:
        """The rows themselves, unsorted."""
        prepared, found = await self._look(self._matching)
        versions = found.columns[ROW_VERSION.id].values.tolist()
        rows = found.select(sorted(self.needed - {ROW_VERSION.id}))
        return Matching(rows, versions, leakage(prepared, self.table).learns, self.fakes)

    async def _look(self, work: _Work[T]) -> tuple[Prepared, T]:
        """Plan, pin a read version, and do ``work`` on it."""
        prepared = await self._prepared(Statistics(masked=False))
        async with snapshot(self.session, self.table) as pinned:
            known = statistics_of(pinned)
            self.session.note_sizes(self.table, known)
            question = asked(self.statement, self.needed)
            changed = known.masked or known.parts > 1 or known.rekeys
            sized = self.statement.limit is not None or depends_on_size(question, self.table)
            if changed or sized:
                prepared = await self._prepared(known)
            guards = await read_guards(self.session, self.table, pinned)
            blocks = await read_tail(self.session, self.table, pinned.handle)
            tail = joined(self.table, [self._versioned(block) for block in blocks])
            if self.versions and not blocks:
                tail = tail.with_column(ROW_VERSION, NO_VERSIONS)
            self.tail_rows = tail.length
            tail = tail.take(matches(self.statement.where, tail, self.table))
            return prepared, await work(prepared, pinned, guards, tail)

    def _versioned(self, block: OpenedRows) -> OpenedRows:
        """The rows of a block with their versions as a column, if those are wanted."""
        if not self.versions:
            return block
        known = ColumnValues(block.versions, np.ones(len(block.versions), dtype=np.bool_))
        return replace(block, rows=block.rows.with_column(ROW_VERSION, known))

    async def _prepared(self, known: Statistics) -> Prepared:
        question = asked(self.statement, self.needed)
        return await asyncio.to_thread(
            plan_select, question, self.table, known, self.session.parameters_of(self.table)
        )

    # ---- aggregates --------------------------------------------------------------------------

    async def _totals(
        self,
        prepared: Prepared,
        pinned: pb.SnapshotReply,
        guards: Mapping[bytes, SegmentGuard],
        tail: ColumnBatch,
    ) -> Answer:
        totals, found = totals_of(self.statement, tail), [tail]
        if not pinned.segments:
            return await self._finished(totals, found)
        if prepared.kind == "public" and counts_everything(self.statement):
            live = sum(segment.live for segment in pinned.segments)
            fakes = sum(len(guard.live_positions) for guard in guards.values())
            totals.add((), ROWS, live - fakes)
            return await self._finished(totals, found)
        if prepared.kind == "public":
            wanted = await self._fetched_where(prepared.fetch, pinned.handle, guards)
            totals.merge(totals_of(self.statement, wanted))
            return await self._finished(totals, [wanted, *found])
        self.received = await run(self.session, self.table, prepared, pinned.handle, guards)
        totals.merge(self.received.totals)
        public: list[OpenedRows] = []
        if prepared.needs_public_rows:
            public = await self._add_public_totals(prepared, pinned, totals)
        self.received.require_intact()
        assert prepared.spec is not None
        for canaries in matching_canaries(guards, self.statement.where, self.table):
            totals.merge(totals_of(self.statement, canaries, prepared.spec.terms), sign=-1)
        if prepared.selects:
            found.append(await self._counted(prepared.spec, guards, public))
            here = [term for term in prepared.terms if term not in prepared.spec.terms]
            totals.merge(totals_of(self.statement, found[-1], here))
        return await self._finished(totals, found)

    async def _counted(
        self,
        spec: PlanSpec,
        guards: Mapping[bytes, SegmentGuard],
        public: Sequence[OpenedRows],
    ) -> ColumnBatch:
        """The rows that an aggregate counts, of its columns those that extremes need."""
        values = masked_values(self.statement), public_values(self.statement)
        needed = [*values[0], *values[1]]
        if spec.selection:
            selected = await self._selected(values, guards, public)
            return real_rows(self.table, selected, needed)
        found = []
        for block in public:
            if block.segment_id not in guards:
                errors.fail("AM-5012", what="it returned rows of a segment nobody asked for")
            real = real_slots(guards[block.segment_id], block.slots)
            rows = block.rows.take(real)
            kept = matches(spec.public_filter, rows, self.table)
            found.append(rows.take(kept).select(needed))
        return concatenate(found) if found else empty([self.table.column(c) for c in needed])

    async def _finished(self, totals: Totals, found: list[ColumnBatch]) -> Answer:
        """The answer from totals and, for extremes, from the rows that match."""
        if self.adjust is not None:
            await self.adjust(totals)
        needed = [column.id for column in ordered_columns(self.statement)]
        rows = concatenate([part.select(needed) for part in found if part.length] or found[:1])
        ordered = await asyncio.to_thread(ordered_values, self.statement, rows)
        return finish_totals(self.statement, totals, ordered)

    async def _add_public_totals(
        self, prepared: Prepared, pinned: pb.SnapshotReply, totals: Totals
    ) -> list[OpenedRows]:
        """Totals of public columns only: computed here from public columns, canaries included.

        Returns the rows that were read, where extremes need them.
        """
        spec = prepared.spec
        assert spec is not None
        done = {term for terms in self.received.totals.groups.values() for term in terms}
        computed = {spec.terms[a.term] for a in prepared.compiled.accumulators}  # type: ignore[union-attr]
        pending = [term for term in spec.terms if term not in computed | done]
        needed = {column for term in pending for column in (*term.columns, *term.required)}
        needed |= set(self.statement.fine_groups)
        conditions = recipe(self.statement).conditions
        for term in pending:
            where = conditions[term.condition - 1] if term.condition else None
            needed |= predicate_columns(where)
        if prepared.selects:
            needed |= {*public_values(self.statement), *self.table.always_needed}
            needed |= predicate_columns(spec.public_filter)
            needed = {column for column in needed if not self.table.column(column).encrypted}
        request = pb.FetchRequest(handle=pinned.handle, plan=prepared.fetch.to_bytes())
        kept: list[OpenedRows] = []
        async for block in self._blocks(request, frozenset(needed)):
            if pending:
                totals.merge(totals_of(self.statement, block.rows, pending))
            if prepared.selects:
                kept.append(block)
        return kept

    # ---- rows --------------------------------------------------------------------------------

    async def _rows(
        self,
        prepared: Prepared,
        pinned: pb.SnapshotReply,
        guards: Mapping[bytes, SegmentGuard],
        tail: ColumnBatch,
    ) -> Answer:
        whole = await self._matching(prepared, pinned, guards, tail)
        return await asyncio.to_thread(finish_rows, self.statement, whole)

    async def _matching(
        self,
        prepared: Prepared,
        pinned: pb.SnapshotReply,
        guards: Mapping[bytes, SegmentGuard],
        tail: ColumnBatch,
    ) -> ColumnBatch:
        found = ColumnBatch({}, 0)
        if prepared.kind == "public":
            found = await self._fetched_where(prepared.fetch, pinned.handle, guards)
        elif pinned.segments:
            self.received = await run(self.session, self.table, prepared, pinned.handle, guards)
            if prepared.first is not None:
                found = await self._first(prepared, prepared.first, pinned.handle, guards, tail)
            else:
                self.received.require_intact()
                check_masks(guards, self.received.masks, self.statement.where, self.table)
                found = await self._masked(prepared, pinned.handle, guards)
        tail = tail.select(sorted(self.needed))
        return concatenate([found, tail]) if found.length else tail

    async def _masked(
        self, prepared: Prepared, handle: bytes, guards: Mapping[bytes, SegmentGuard]
    ) -> ColumnBatch:
        """The rows of the masks, fetched among decoys where that was asked for."""
        masks = self.received.masks
        if self.statement.fetch != "padded":
            return await self._fetched(handle, guards, masks)
        candidates = {segment_id: guard.live for segment_id, guard in guards.items()}
        spec = prepared.spec
        if spec is not None and spec.public_filter is not None:
            # The engine knows which rows fail a public condition: none of those is a decoy.
            candidates = {key: np.zeros_like(live) for key, live in candidates.items()}
            request = pb.FetchRequest(handle=handle, plan=prepared.fetch.to_bytes())
            async for block in self._blocks(request, frozenset({self.table.primary_key.id})):
                candidates[block.segment_id][block.slots] = True
        where = self.statement.where
        keys = self.session.keyset
        chosen = await asyncio.to_thread(with_decoys, keys, self.table, where, masks, candidates)
        return await self._fetched(handle, guards, chosen, masks)

    async def _selected(
        self,
        values: tuple[Sequence[int], Sequence[int]],
        guards: Mapping[bytes, SegmentGuard],
        public: Sequence[OpenedRows],
    ) -> list[Selected]:
        """What matches, with the values of (encrypted, public) columns. Raises: AM-5001."""
        where, packed = self.statement.where, self.received.packed
        selected = await asyncio.to_thread(
            selected_rows, self.table, values[0], packed, guards, where
        )
        if not values[1]:
            return selected
        return with_public(self.table, selected, public, values[1])

    async def _first(
        self,
        prepared: Prepared,
        first: First,
        handle: bytes,
        guards: Mapping[bytes, SegmentGuard],
        tail: ColumnBatch,
    ) -> ColumnBatch:
        """Those of the matching rows that may come first, fetched.

        Leaks: which rows these are. What is public of the others is read whether they match or not.
        """
        public: list[OpenedRows] = []
        if first.public:
            request = pb.FetchRequest(handle=handle, plan=prepared.fetch.to_bytes())
            needed = frozenset((*first.public, *self.table.always_needed))
            public = [block async for block in self._blocks(request, needed)]
        self.received.require_intact()
        selected = await self._selected((first.values, first.public), guards, public)
        chosen = await asyncio.to_thread(first_slots, self.statement, first, selected, tail)
        rows = await self._fetched(handle, guards, chosen)
        if rows.columns:
            check_fetched(first, selected, chosen, rows)
        return rows

    async def _fetched(
        self,
        handle: bytes,
        guards: Mapping[bytes, SegmentGuard],
        masks: Mapping[bytes, Mask],
        wanted_of: Mapping[bytes, Mask] | None = None,
    ) -> ColumnBatch:
        """The rows of these slots, or of those of them that are ``wanted_of``: the others are
        decoys, and must not match.

        Leaks: which slots they are. Canaries that match are fetched like rows, and dropped here: a
        slot that is never fetched would give itself away.
        """
        wanted = {segment_id: np.flatnonzero(mask).tolist() for segment_id, mask in masks.items()}
        slots = [pb.SlotList(segment_id=s, slots=n) for s, n in wanted.items() if n]
        if not slots:
            return ColumnBatch({}, 0)
        request = pb.FetchRequest(handle=handle, slots=slots)
        blocks = [block async for block in self._blocks(request, self.needed)]
        got = sorted((b.segment_id, int(slot)) for b in blocks for slot in b.slots)
        if got != sorted((item.segment_id, slot) for item in slots for slot in item.slots):
            errors.fail("AM-5012", what="it returned other rows than were asked for")
        real = [(b.rows, real_slots(guards[b.segment_id], b.slots)) for b in blocks]
        rows = concatenate([rows.select(sorted(self.needed)).take(kept) for rows, kept in real])
        keys = rows.columns[self.table.primary_key.id].values.tolist()
        if len(set(keys)) != len(keys):
            errors.fail("AM-5012", what="it returned one row for several slots")
        expected = np.ones(rows.length, dtype=np.bool_)
        if wanted_of is not None:
            flags = [
                wanted_of[b.segment_id][b.slots][real_slots(guards[b.segment_id], b.slots)]
                for b in blocks
            ]
            expected = np.concatenate(flags)
        if not bool((matches(self.statement.where, rows, self.table) == expected).all()):
            errors.fail("AM-5012", what="it returned rows that do not match")
        return rows.take(expected)

    async def _fetched_where(
        self, fetch: PlanSpec, handle: bytes, guards: Mapping[bytes, SegmentGuard]
    ) -> ColumnBatch:
        """The rows that a public condition selects, without canaries; no more than LIMIT needs."""
        request = pb.FetchRequest(handle=handle, plan=fetch.to_bytes())
        enough = rows_needed(self.statement)
        found: list[ColumnBatch] = []
        count = 0
        async for block in self._blocks(request, self.needed):
            if block.segment_id not in guards:
                errors.fail("AM-5012", what="it returned rows of a segment nobody asked for")
            real = real_slots(guards[block.segment_id], block.slots)
            rows = block.rows.select(sorted(self.needed)).take(real)
            if self.versions:
                fakes = block.rows.take(~real).columns
                keys = fakes[self.table.primary_key.id].values.tolist()
                known = fakes[ROW_VERSION.id].values.tolist()
                self.fakes |= dict(zip(keys, known, strict=True))
            found.append(rows.take(matches(self.statement.where, rows, self.table)))
            count += found[-1].length
            if enough is not None and count >= enough:
                break
        return concatenate(found) if found else ColumnBatch({}, 0)

    async def _blocks(
        self, request: pb.FetchRequest, needed: frozenset[int]
    ) -> AsyncIterator[OpenedRows]:
        """Blocks of the columns needed, in plaintext."""
        public = (column.id for column in self.table.public_columns if column.id in needed)
        key = self.table.primary_key.id
        request.column_ids.extend(dict.fromkeys((key, *public)))
        request.sealed = needs_sealed(self.table, needed)
        async for block in self.session.service.fetch_rows(request):
            opened = await asyncio.to_thread(open_block, self.session, self.table, block, needed)
            yield self._versioned(opened)

    # ---- result ------------------------------------------------------------------------------

    def _result(self, answer: Answer, prepared: Prepared) -> Result:
        stats = self.received.stats
        return Result(
            names=answer.names,
            types=answer.types,
            columns=answer.columns,
            learned=leakage(prepared, self.table).learns,
            stats=self.session.stats(
                engine_cpu_seconds=stats.cpu_seconds,
                bytes_read=stats.bytes_read,
                bytes_cached=stats.bytes_cached,
                key_switches=stats.key_switches,
                segments=stats.segments,
                tail_rows=self.tail_rows,
            ),
        )
