"""Inserting rows: full segments, a tail for what is left over, one atomic commit.

A commit that meets existing keys does nothing and names them. Only the client can tell whether a
canary is in the way: then it moves aside (an old one is removed, a new one gets another key) and
the commit is repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from amaters.base import errors
from amaters.client import unique
from amaters.client.guard import canaries_of
from amaters.client.leases import Lease, exchange_lease, slot_lease
from amaters.client.rows import OpenedRows, joined, read_tail, snapshot
from amaters.client.segments import (
    Prepared,
    discard,
    encode_columns,
    encode_public,
    seal_pack,
    upload_segment,
)
from amaters.client.session import Session
from amaters.columns.batch import ColumnBatch, concatenate, from_storage_list
from amaters.columns.canaries import CANARIES, PART_CANARIES
from amaters.columns.convert import ColumnValues
from amaters.columns.schema import Table
from amaters.columns.types import from_storage
from amaters.wire import service_pb2 as pb

ATTEMPTS_MAX = 16
TAIL, REMOVED, CHECKED = -1, -2, -3
KEY_MAX = 2**63 - 1
CROWDED_AFTER = 3
SHARE_MIN = 8  # a partial segment has at least this fraction of a segment's slots


@dataclass(frozen=True, slots=True)
class Division:
    """Which rows of a batch become segments, and from where on they go to the tail."""

    segments: tuple[tuple[int, int], ...]
    tail_start: int


def divide(rows: int, slots: int) -> Division:
    """Full segments first; the rest becomes a segment if it fills half of one, because a segment
    costs every query the same however few rows it holds.
    """
    full = slots - CANARIES
    cuts = [(start, start + full) for start in range(0, rows - full + 1, full)]
    rest_start = cuts[-1][1] if cuts else 0
    rest = rows - rest_start
    if 2 * rest >= full:
        cuts.append((rest_start, rows))
        rest_start = rows
    return Division(tuple(cuts), rest_start)


async def insert(session: Session, table: Table, batch: ColumnBatch) -> int:
    """Insert validated rows; returns how many. All or nothing.

    Leaks: primary keys, public columns, row count, padded lengths of sealed rows.
    Raises: ConflictError AM-5010 for an existing key, InvalidError AM-5011 for one given twice.
    """
    if batch.length == 0:
        return 0
    session.require_open()
    refuse_repeated_keys(table, batch)
    unique.refuse_repeated_values(table, batch)
    table = await extend_dictionaries(session, table, batch)
    work = Insertion(session, table, batch)
    await work.run()
    return batch.length


def refuse_repeated_keys(table: Table, batch: ColumnBatch) -> None:
    """Raises: InvalidError AM-5011. Keys are public, so the message may name one."""
    key = table.primary_key
    if key.id not in batch.columns:
        return
    first: dict[Any, int] = {}
    for row, value in enumerate(batch.columns[key.id].values.tolist(), start=1):
        if value in first:
            shown = from_storage(key.type, value)
            errors.fail("AM-5011", key=shown, first=first[value], row=row)
        first[value] = row


async def extend_dictionaries(session: Session, table: Table, batch: ColumnBatch) -> Table:
    """The table with codes for every text in ``batch``; loses and repeats races on the schema."""
    while True:
        changed = {}
        for column in table.columns:
            if column.dictionary is None or column.id not in batch.columns:
                continue
            data = batch.columns[column.id]
            texts = data.values[data.valid].tolist()
            extended = column.dictionary.extended(texts, column=column.name)
            if extended is not column.dictionary:
                changed[column.id] = extended
        if not changed:
            return table
        try:
            newer = table.with_dictionaries(changed)
            await session.update_table(newer)
            return newer
        except errors.ConflictError as conflict:
            if conflict.code != "AM-3022":
                raise
            newest = await session.table(table.name)
            if [c.id for c in newest.columns] != [c.id for c in table.columns]:
                raise  # ALTER TABLE: these rows are of another table by now
            table = newest


async def reserved_keys(session: Session, table: Table, count: int) -> int:
    """The first of a run of row ids that nobody else gets. Raises: DataError AM-5012."""
    request = pb.ReserveRequest(table_id=table.id, keys=count)
    first = (await session.service.reserve(request)).first_key
    if first < 0 or first > KEY_MAX - count:
        errors.fail("AM-5012", what="it reserved keys that cannot be")
    return first


@dataclass(slots=True)
class Insertion:
    """Rows on their way into one table, and the state that repetitions share."""

    session: Session
    table: Table
    original: ColumnBatch
    going: dict[Any, int] = field(default_factory=dict)  # rows that are replaced or deleted
    checks: dict[Any, int] = field(default_factory=dict)  # rows that stay and must be the same
    dropped: dict[Any, int] = field(default_factory=dict)  # canaries of segments that are left
    batch: ColumnBatch = field(default_factory=lambda: ColumnBatch({}, 0))
    division: Division = Division((), 0)
    prepared: list[Prepared | None] = field(default_factory=list)
    lease: Lease | None = None  # of the tail's exchange, or of slots for the last segment
    moved: list[OpenedRows] = field(default_factory=list)
    removed: dict[Any, int] = field(default_factory=dict)
    taken: set[Any] = field(default_factory=set)
    used: unique.Used = field(default_factory=dict)
    kept: dict[int, unique.Kept] = field(default_factory=dict)  # of canaries, by segment
    first_key: int = 0
    row_version: int = 0
    attempt: int = 0

    @property
    def given(self) -> int:
        """How many rows it was made for."""
        return self.original.length

    async def run(self) -> None:
        """Insert, or raise and leave nothing behind."""
        try:
            await self.begin()
            for _ in range(ATTEMPTS_MAX):
                reply = await self.session.service.commit(await self.request())
                if not reply.conflicts:
                    self.session.forget_sizes()
                    return
                await self.give_way(reply.conflicts)
            errors.fail("AM-1000", what="canaries met existing keys in every attempt")
        except BaseException:
            await self.give_up()
            raise

    async def begin(self) -> None:
        """Divide the rows; once more when what is in their way has changed."""
        await self.give_up()
        self.batch, self.moved, self.attempt = self.original, [], 0
        await self._divide()
        self.prepared = [None] * len(self.division.segments)
        self.kept.clear()
        self._raise_version(max(self.going.values(), default=0))
        self.taken |= self.going.keys() | self.dropped.keys()
        if not self._keyless:
            # A canary's key must not be that of a row in another segment of this batch.
            self.taken |= set(self.batch.columns[self.table.primary_key.id].values.tolist())
        self.used = unique.used_values(self.table, self.batch)

    async def give_up(self) -> None:
        """Give a lease back that nothing came of."""
        if self.lease is not None:
            await self.lease.end()
            self.lease = None

    def replace(self, going: dict[Any, int]) -> None:
        """Rows that leave with this commit: their keys as stored, and their row versions."""
        self.going = going
        self._raise_version(max(going.values(), default=0))

    def going_key(self, conflict: pb.KeyConflict) -> Any | None:
        """The key of ``going`` that a conflict says has another row version by now."""
        listed = list(self.removed | self.going)
        if conflict.new_segment != REMOVED:
            return None
        if conflict.new_row >= len(listed):
            errors.fail("AM-5012", what="it names conflicts with rows that were not sent")
        key = listed[conflict.new_row]
        return key if key in self.going else None

    def new_key(self, conflict: pb.KeyConflict) -> Any | None:
        """The key of a new row that exists already, if a conflict is about that."""
        if conflict.new_segment == REMOVED or conflict.index_number:
            return None
        if not self._is_sound(conflict):
            errors.fail("AM-5012", what="it names conflicts with rows that were not sent")
        return self._new_row(conflict)[self.table.primary_key.id]

    async def _divide(self) -> None:
        """What becomes segments and what tail; a batch for which the tail is full shares a
        segment, or, if it is small, takes the tail along.
        """
        session = self.session
        self.row_version = int(session.outside.clock.now() * 1e6)
        stats = await session.service.table_stats(pb.TableStatsRequest(table_id=self.table.id))
        slots = session.parameters_of(self.table).slots
        self.division = divide(self.batch.length, slots)
        rest = self.batch.length - self.division.tail_start
        is_full = rest > 0 and stats.tail_rows + rest > slots - CANARIES
        shares = is_full and rest + PART_CANARIES >= slots // SHARE_MIN
        if shares:
            cut = (self.division.tail_start, self.batch.length)
            self.division = Division((*self.division.segments, cut), self.batch.length)
            self.lease = await slot_lease(session, self.table, rest + PART_CANARIES)
        keeps_order = rest > 0 and not self.division.segments
        await self._assign_keys(keep_order=keeps_order)
        if is_full and not shares:
            self.lease = await exchange_lease(session, self.table)
            if self.lease is not None:
                await self._take_tail_along()

    def _leave_crowded_range(self) -> None:
        """The gaps between this batch's keys are full of older rows: look beside them instead."""
        if not self._keyless and self.batch.length:
            self.taken |= unique.crowded(self.batch.columns[self.table.primary_key.id])
        for column, values in self.used.items():
            values.update(unique.crowded(self.batch.columns[column]))

    @property
    def _keyless(self) -> bool:
        return self.table.primary_key.id not in self.batch.columns

    async def _assign_keys(self, *, keep_order: bool) -> None:
        """Rows without keys get a run of them. In a segment the canaries have theirs in it too;
        for the tail some keys are left out, for the canaries of the segment it will become.
        """
        if not self._keyless:
            return
        spare = CANARIES * len(self.division.segments) + self.batch.length // 128
        spare += int(self.session.outside.rng.bytes(1)[0] < 8)
        count = self.batch.length + spare
        self.first_key = await reserved_keys(self.session, self.table, count)
        if keep_order:
            self.batch = self._numbered(self.batch, self.first_key)

    def _numbered(self, rows: ColumnBatch, first: int) -> ColumnBatch:
        numbers = np.arange(first, first + rows.length, dtype=np.int64)
        valid = np.ones(rows.length, dtype=np.bool_)
        return rows.with_column(self.table.primary_key, ColumnValues(numbers, valid))

    async def _take_tail_along(self) -> None:
        """Exchange: the tail's rows come into segments of this commit together with the rest.
        What does not fill half of one more segment stays a tail, as does what others add meanwhile.
        """
        if self._keyless:
            self.batch = self._numbered(self.batch, self.first_key)
        async with snapshot(self.session, self.table) as pinned:
            tail = await read_tail(self.session, self.table, pinned.handle)
        coming = [self._staying(block) for block in tail]
        total = self.batch.length + sum(block.rows.length for block in coming)
        self.division = divide(total, self.session.parameters_of(self.table).slots)
        room = self.division.tail_start
        for block in coming:
            kept = block.rows.slice(0, room)
            if kept.length:
                versions = block.versions[: kept.length]
                self.moved.append(OpenedRows(b"", block.slots, kept, versions))
            room -= kept.length
        old = [block.rows for block in self.moved]
        order = [column.id for column in self.table.columns]
        self.batch = concatenate([rows.select(order) for rows in (*old, self.batch)])
        newest = max((int(block.versions.max()) for block in self.moved), default=0)
        self.row_version = max(self.row_version, newest + 1)

    def _staying(self, block: OpenedRows) -> OpenedRows:
        """Tail rows that come along: not those that this commit replaces or deletes."""
        keys = block.rows.columns[self.table.primary_key.id].values.tolist()
        kept = np.array([key not in self.going for key in keys], dtype=np.bool_)
        return OpenedRows(b"", block.slots, block.rows.take(kept), block.versions[kept])

    async def _prepare(self) -> None:
        total = self.batch.length
        for index, (start, stop) in enumerate(self.division.segments):
            if self.prepared[index] is not None:
                continue
            self.session.report("inserting", start, total, "rows")
            is_shared = self.lease is not None and self.lease.slots > 0
            made = await upload_segment(
                self.session,
                self.table,
                self.batch.slice(start, stop),
                row_version=self.row_version,
                first_key=self.first_key + start + index * CANARIES if self._keyless else None,
                taken=self.taken,
                used=self.used,
                kept=self.kept.get(index),
                lease=None if is_shared and stop < total else self.lease,
                has_moved=bool(self.moved or self.going),
            )
            keys = made.planted.rows.columns[self.table.primary_key.id].values
            self.taken |= set(keys[made.planted.canaries.positions].tolist())
            unique.note_used(self.used, made.planted.canaries.rows)
            self.prepared[index] = made
        self.session.report("inserting", total, total, "rows")

    def _tail(self) -> ColumnBatch:
        start = self.division.tail_start
        rows = self.batch.slice(start, self.batch.length)
        if not self._keyless:
            return rows
        return self._numbered(rows, self.first_key + start + CANARIES * len(self.prepared))

    async def request(self) -> pb.CommitRequest:
        """The commit, everything it names uploaded; to be asked for again after ``give_way``."""
        if self.attempt == CROWDED_AFTER:
            self._leave_crowded_range()
        self.attempt += 1
        await self._prepare()
        request = pb.CommitRequest(
            request_id=self.session.new_id(),
            table_id=self.table.id,
            schema_version=self.table.version,
            row_version=self.row_version,
            segments=[segment.message for segment in self.prepared if segment is not None],
        )
        if self.lease is not None:
            await self.lease.keep()
            request.lease_id = b"" if self.lease.slots else self.lease.granted.lease_id
        tail = self._tail()
        if tail.length:
            request.tail.rows = tail.length
            request.tail.public_block = encode_public(self.table, tail)
            if self.table.encrypted_columns:
                request.tail.sealed_pack = await asyncio.to_thread(
                    seal_pack, self.session, self.table, tail, row_version=self.row_version
                )
        key = self.table.primary_key
        _fill(request.removed, self.table, self.removed | self.going)
        _fill(request.checked, self.table, self.checks)
        left = sorted(self.dropped.keys() - self.removed.keys())
        _fill(request.dropped, self.table, {key: self.dropped[key] for key in left})
        if self.moved:
            rows = joined(self.table, self.moved)
            request.moved.keys = encode_columns([key], rows)
            request.moved.versions.extend(int(v) for b in self.moved for v in b.versions)
        return request

    def checked_key(self, conflict: pb.KeyConflict) -> Any:
        """The key of ``checks`` that a conflict is about."""
        if conflict.new_row >= len(self.checks):
            errors.fail("AM-5012", what="it names conflicts with rows that were not sent")
        return list(self.checks)[conflict.new_row]

    async def give_way(self, conflicts: Sequence[pb.KeyConflict]) -> None:
        """Move canaries aside. Raises: ConflictError AM-5010 when a row stands against a row."""
        existing = await self._existing_canaries({c.segment_id for c in conflicts})
        if any(conflict.new_segment == REMOVED for conflict in conflicts):
            self.removed.clear()
        rows = [conflict for conflict in conflicts if conflict.new_segment != REMOVED]
        if not all(self._is_sound(conflict) for conflict in rows):
            errors.fail("AM-5012", what="it names conflicts with rows that were not sent")
        replaced = 0
        refused: dict[int, unique.Used] = {}
        for conflict in rows:
            new = self._new_row(conflict)
            canary = existing.get(conflict.segment_id, {}).get(conflict.slot)
            if canary is not None and unique.collide(self.table, conflict, canary, new):
                self.removed[canary[self.table.primary_key.id]] = conflict.version
                replaced = max(replaced, conflict.version)
            elif self._is_new_canary(conflict):
                values = refused.setdefault(conflict.new_segment, {})
                unique.note_refused(self.table, conflict, values, new)
            else:
                self._refuse(conflict, new)
        is_low = self._raise_version(replaced)
        for index in range(len(self.prepared)) if is_low else refused:
            await self._plant_again(index, refused.get(index, {}))

    async def _plant_again(self, index: int, refused: unique.Used) -> None:
        """A segment gets other canaries for those that were refused. Only for those: an engine that
        compares the attempts tells what changed from rows.
        """
        made = self.prepared[index]
        if made is not None:
            rows = made.planted.canaries.rows
            self.kept[index] = unique.kept_values(self.table, rows, refused)
            self.prepared[index] = None
            await discard(self.session, made.message)

    def _is_sound(self, conflict: pb.KeyConflict) -> bool:
        """Whether the conflict names a row of this batch, and a version that can be replaced."""
        sent = self.batch.length - self.division.tail_start
        if conflict.new_segment in range(len(self.prepared)):
            segment = self.prepared[conflict.new_segment]
            sent = segment.planted.rows.length if segment is not None else 0
        elif conflict.new_segment != TAIL:
            return False
        return conflict.new_row < sent and conflict.version < KEY_MAX

    async def _existing_canaries(
        self, segment_ids: set[bytes]
    ) -> dict[bytes, dict[int, unique.Row]]:
        """Public columns of canaries by slot. An engine that names a slot whose key is another one
        is fishing for canaries, and gets the answer that a real row would get.
        """
        wanted = sorted(segment_ids - {b""})
        if not wanted:
            return {}
        async with snapshot(self.session, self.table) as pinned:
            request = pb.CanaryRequest(handle=pinned.handle, segment_ids=wanted)
            reply = await self.session.service.read_canaries(request)
        found = {}
        for item in reply.segments:
            block, _ = canaries_of(self.session, self.table, item)
            listed = [unique.row_of(self.table, block.rows, at) for at in range(block.rows.length)]
            found[item.segment_id] = dict(zip(block.positions.tolist(), listed, strict=True))
        return found

    def _raise_version(self, replaced: int) -> bool:
        """Whether the version turned out too low: all rows have to be sealed again."""
        is_low = replaced >= self.row_version
        if is_low:
            self.row_version = replaced + 1
        return is_low

    def _new_row(self, conflict: pb.KeyConflict) -> unique.Row:
        """The public columns of the row that a conflict is about."""
        if conflict.new_segment == TAIL:
            return unique.row_of(self.table, self._tail(), conflict.new_row)
        segment = self.prepared[conflict.new_segment]
        assert segment is not None
        return unique.row_of(self.table, segment.planted.rows, conflict.new_row)

    def _is_new_canary(self, conflict: pb.KeyConflict) -> bool:
        if conflict.new_segment == TAIL:
            return False
        segment = self.prepared[conflict.new_segment]
        return segment is not None and conflict.new_row in segment.planted.canaries.positions

    def _refuse(self, conflict: pb.KeyConflict, new: unique.Row) -> None:
        name = self.table.primary_key
        key = new[name.id]
        if conflict.index_number:
            unique.refuse(self.table, conflict, self._number_of(conflict))
        keys = self.batch.columns[name.id].values.tolist() if not self._keyless else []
        row = keys.index(key) + 1 if key in keys else conflict.new_row + 1
        shown = from_storage(name.type, key)
        errors.fail("AM-5010", table=self.table.name, key=shown, row=row)

    def _number_of(self, conflict: pb.KeyConflict) -> int:
        """Which row of those given to insert a conflict is about, counted from 1."""
        if conflict.new_segment == TAIL:
            at = self.division.tail_start + conflict.new_row
        else:
            segment = self.prepared[conflict.new_segment]
            assert segment is not None
            fakes = int((segment.planted.canaries.positions < conflict.new_row).sum())
            at = self.division.segments[conflict.new_segment][0] + conflict.new_row - fakes
        return at + 1 - sum(block.rows.length for block in self.moved)


def _fill(listed: pb.KeyVersions, table: Table, versions: Mapping[Any, int]) -> None:
    """Keys with the row versions that are expected of them."""
    if not versions:
        return
    key = table.primary_key
    keys = from_storage_list(key.type, list(versions))
    listed.keys = encode_columns([key], ColumnBatch({key.id: keys}, len(keys.values)))
    listed.versions.extend(versions.values())
