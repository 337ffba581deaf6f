"""Rows on their way out: public blocks decoded once, sealed rows read where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.columns.batch import ColumnBatch, ColumnValues, storage_dtype
from amaters.columns.schema import PublicColumn, PublicTable
from amaters.engine.indexed import Candidates, candidates
from amaters.engine.snapshots import Snapshot, completed, split_rows
from amaters.plan.evaluate import matches
from amaters.plan.expressions import Predicate, predicate_columns
from amaters.plan.indexes import primary_keys
from amaters.storage.database import Storage
from amaters.storage.lookup import Lookup
from amaters.storage.objects import ObjectReader
from amaters.storage.publicblocks import PublicBlocks
from amaters.storage.rows import Key
from amaters.storage.versions import SegmentRow, TailBlock, live_slots
from amaters.wire import blocks
from amaters.wire import service_pb2 as pb

FETCH_KEYS_MAX = 1 << 16
_DENSE = 16  # above one row in this many, reading all sealed rows is cheaper than picking

Rows = NDArray[np.int64]


class RowReader:
    """Reads rows of segments; its cache of public columns is shared by all queries."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._objects = storage.objects
        self._public = PublicBlocks(storage.objects)
        self._lookup = Lookup(storage, self._public)

    def public(self, segment: SegmentRow, table: PublicTable) -> blocks.Block:
        """All public columns of a segment, by slot."""
        block = self._public.of(segment)
        return completed(block, table.public_columns)

    def batch(self, segment: SegmentRow, table: PublicTable) -> ColumnBatch:
        """The same as the planner's predicates see it."""
        return _as_batch(self.public(segment, table))

    def candidates(self, snapshot: Snapshot, predicate: Predicate | None) -> Candidates | None:
        """What an index or the primary key says of a public predicate; None when neither helps."""
        keys = primary_keys(predicate, snapshot.entry.table)
        if keys is None:
            return candidates(self._storage, snapshot, predicate)
        stored = [
            key - (1 << 64) if isinstance(key, int) and key >= 1 << 63 else key for key in keys
        ]
        found: dict[int, list[int]] = {segment.sid: [] for segment in snapshot.segments}
        key_column = snapshot.entry.table.primary_key.id
        for place, slot in self._lookup.find(snapshot.version, stored, key_column).values():
            if isinstance(place, SegmentRow):
                found[place.sid].append(slot)
        return Candidates(
            {sid: np.array(sorted(slots), dtype=np.int64) for sid, slots in found.items()}
        )

    def selected(
        self,
        segment: SegmentRow,
        predicate: Predicate | None,
        table: PublicTable,
        near: Candidates | None = None,
    ) -> NDArray[np.bool_]:
        """Live rows of a segment that a public predicate selects. Shape: (occupied slots,).

        ``near``: slots of which only these can be selected; without any the rows are not read.
        """
        slots = near.slots.get(segment.sid) if near is not None else None
        if slots is not None and not len(slots):
            return np.zeros(segment.rows, dtype=np.bool_)
        alive = live_slots(segment.rows, segment.live_bits)
        if predicate is None:
            return alive
        if near is None or slots is None:
            return alive & matches(predicate, self.batch(segment, table), table)
        slots = slots[alive[slots]]
        chosen = np.zeros_like(alive)
        if near.exact:
            chosen[slots] = True
        elif len(slots):
            rows = self._some(segment, slots, _columns(table, predicate_columns(predicate)))
            chosen[slots] = matches(predicate, _as_batch(rows), table)
        return chosen

    def _some(
        self, segment: SegmentRow, slots: Rows, columns: Sequence[PublicColumn]
    ) -> blocks.Block:
        """Some columns of some rows; if these are few the others are not decoded."""
        ids = [column.id for column in columns]
        if len(slots) * _DENSE > segment.rows:
            whole = self._public.of(segment).columns
            there = {c: (whole[c][0][slots], whole[c][1][slots]) for c in ids if c in whole}
        else:
            frame = self._public.frame(segment)
            there = {c: frame.column(c, slots) for c in ids if c in frame}
        return completed(blocks.Block(len(slots), there), columns)

    def fetch(
        self,
        snapshot: Snapshot,
        request: pb.FetchRequest,
        chosen: Iterable[tuple[SegmentRow, Rows]],
    ) -> Iterator[pb.RowBlock]:
        """Blocks of the chosen slots. Raises: AM-3005 for a column that is not public."""
        wanted, sealed = _wanted(snapshot, request)
        columns = [snapshot.entry.table.column(column_id) for column_id in wanted]
        for segment, slots in chosen:
            yield from self._blocks(segment, slots, columns, sealed=sealed)

    def fetch_keys(self, snapshot: Snapshot, request: pb.FetchRequest) -> Iterator[pb.RowBlock]:
        """The live rows with the keys of a request, those of segments first.

        Raises: AM-3005 for keys that are not the table's, or a column that is not public.
        """
        wanted, sealed = _wanted(snapshot, request)
        table = snapshot.entry.table
        keys = _requested_keys(table, request.keys)
        found = self._lookup.find(snapshot.version, keys, table.primary_key.id)
        columns = [table.column(column_id) for column_id in wanted]
        slots: dict[int, list[int]] = {}
        tail: dict[int, list[int]] = {}
        for place, slot in found.values():
            if isinstance(place, SegmentRow):
                slots.setdefault(place.sid, []).append(slot)
            else:
                tail.setdefault(place.bid, []).append(slot)
        for segment in snapshot.segments:
            if segment.sid in slots:
                chosen = np.array(sorted(slots[segment.sid]), dtype=np.int64)
                answer = self._blocks(segment, chosen, columns, sealed=sealed)
                for number, block in enumerate(answer):
                    if request.canaries and not number:
                        block.canaries.CopyFrom(sealed_canaries(segment))
                    yield block
        yield from self._tail_rows(
            [(block, tail[block.bid]) for block in snapshot.tail if block.bid in tail],
            columns,
            sealed=sealed,
        )

    def _tail_rows(
        self,
        chosen: Sequence[tuple[TailBlock, list[int]]],
        columns: Sequence[PublicColumn],
        *,
        sealed: bool,
    ) -> Iterator[pb.RowBlock]:
        """Some rows of tail blocks, in blocks of bounded size."""
        if not chosen:
            return
        parts = []
        for block, rows in chosen:
            frame, slots = self._public.frame(block), np.array(rows, dtype=np.int64)
            values = {c.id: frame.column(c.id, slots) for c in columns if c.id in frame}
            parts.append(completed(blocks.Block(len(rows), values), columns))
        merged = blocks.concat_blocks(parts)
        ids = list(merged.columns)
        versions = [block.version for block, rows in chosen for _ in rows]
        blobs: list[memoryview] = []
        for block, rows in chosen if sealed else ():
            pack = blocks.decode_pack(block.sealed)
            blobs.extend(pack[row] for row in rows)
        for run in split_rows(np.arange(merged.rows), [len(blob) for blob in blobs]):
            picked = [blobs[row] for row in run] if sealed else []
            yield pb.RowBlock(
                rows=len(run),
                public_block=blocks.select_block(merged, run, ids),
                sealed_pack=blocks.encode_pack(picked) if sealed else b"",
                versions=versions[run[0] : run[-1] + 1],
            )

    def _blocks(
        self, segment: SegmentRow, slots: Rows, columns: Sequence[PublicColumn], *, sealed: bool
    ) -> Iterator[pb.RowBlock]:
        public = self._some(segment, slots, columns)
        ids = [column.id for column in columns]
        blobs = self._sealed(segment, slots) if sealed else []
        start = 0
        for run in split_rows(slots, [len(blob) for blob in blobs]):
            at = np.arange(start, start + len(run))
            pack = blocks.encode_pack(blobs[start : start + len(run)]) if sealed else b""
            start += len(run)
            yield pb.RowBlock(
                segment_id=segment.segment_id,
                slots=run.tolist(),
                rows=len(run),
                public_block=blocks.select_block(public, at, ids),
                sealed_pack=pack,
                versions=segment.versions_of(run),
            )

    def _sealed(self, segment: SegmentRow, slots: Rows) -> list[memoryview]:
        reader = self._objects.open(segment.object(segment.manifest.segment.sealed_object))
        if len(slots) * _DENSE > segment.rows:
            blobs = blocks.decode_pack(reader.read())
            return [blobs[slot] for slot in slots.tolist()]
        return _picked(reader, segment.rows, slots)


def _columns(table: PublicTable, ids: Iterable[int]) -> list[PublicColumn]:
    return [table.column(column_id) for column_id in sorted(ids)]


def _as_batch(block: blocks.Block) -> ColumnBatch:
    columns = {key: ColumnValues(*values) for key, values in block.columns.items()}
    return ColumnBatch(columns, block.rows)


def _wanted(snapshot: Snapshot, request: pb.FetchRequest) -> tuple[list[int], bool]:
    """Public columns to return, the primary key always; whether sealed rows go with them."""
    table = snapshot.entry.table
    known = [column.id for column in table.public_columns]
    wanted = list(request.column_ids) or known
    if not set(wanted) <= set(known):
        fail("AM-3005", what="a column that is not public")
    if table.primary_key.id not in wanted:
        wanted.insert(0, table.primary_key.id)
    return wanted, request.sealed and bool(table.encrypted_columns)


def _requested_keys(table: PublicTable, data: bytes) -> list[Key]:
    """Keys as the state keeps them, each once. Raises: AM-3002, AM-3005."""
    key = table.primary_key
    values, valid = blocks.decode_block(data).columns.get(key.id, (np.empty(0), np.empty(0)))
    if values.dtype != storage_dtype(key.type) or not bool(valid.all()):
        fail("AM-3005", what="keys of another column or type than the table's")
    if len(values) > FETCH_KEYS_MAX:
        fail("AM-3005", what="too many keys at once")
    plain = values if values.dtype == object else values.view(np.int64)
    return list(dict.fromkeys(plain.tolist()))


def _stored(key: Key) -> Key:
    """A key as the state keeps it: uint64 as its two's complement."""
    return key - (1 << 64) if isinstance(key, int) and key >= 1 << 63 else key


def _picked(reader: ObjectReader, rows: int, slots: Rows) -> list[memoryview]:
    head = reader.read(0, blocks.pack_table_bytes(rows))
    bounds = blocks.pack_offsets(head, reader.size)
    return [
        reader.read(int(bounds[slot]), int(bounds[slot + 1] - bounds[slot]))
        for slot in slots.tolist()
    ]


def sealed_canaries(segment: SegmentRow) -> pb.SegmentCanaries:
    """The sealed canaries of a segment, without its liveness."""
    made = segment.manifest.segment
    return pb.SegmentCanaries(
        segment_id=segment.segment_id, canaries=made.canaries, parts=made.parts
    )


def listed_slots(snapshot: Snapshot, request: pb.FetchRequest) -> list[tuple[SegmentRow, Rows]]:
    """The live ones of the slots a request names, in order. Raises: AM-3041."""
    chosen = []
    for item in request.slots:
        segment = snapshot.segment(item.segment_id)
        slots = np.unique(np.array(item.slots, dtype=np.int64))
        if len(slots) and slots[-1] >= segment.rows:
            fail("AM-3041", segment=item.segment_id.hex(), slot=int(slots[-1]))
        alive = live_slots(segment.rows, segment.live_bits)
        chosen.append((segment, slots[alive[slots]]))
    return chosen
