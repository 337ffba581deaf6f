"""Rows on their way out: public blocks decoded once, sealed rows read where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.base.lru import Lru
from amaters.columns.batch import ColumnBatch, ColumnValues
from amaters.columns.schema import PublicTable
from amaters.engine.snapshots import Snapshot, split_rows
from amaters.plan.evaluate import matches
from amaters.plan.expressions import Predicate
from amaters.storage.objects import ObjectReader, ObjectStore
from amaters.storage.versions import SegmentRow, live_slots
from amaters.wire import blocks
from amaters.wire import service_pb2 as pb

PUBLIC_CACHE_BYTES = 128 << 20
_DENSE = 16  # above one row in this many, reading all sealed rows is cheaper than picking

Rows = NDArray[np.int64]


class RowReader:
    """Reads rows of segments; its cache of public columns is shared by all queries."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._public: Lru[bytes, blocks.Block] = Lru(PUBLIC_CACHE_BYTES)

    def public(self, segment: SegmentRow) -> blocks.Block:
        """All public columns of a segment, by slot."""
        object_id = segment.manifest.segment.public_object
        block = self._public.get(object_id)
        if block is None:
            ref = segment.object(object_id)
            block = blocks.decode_block(self._objects.open(ref).read())
            self._public.put(object_id, block, 4 * ref.size)
        return block

    def batch(self, segment: SegmentRow) -> ColumnBatch:
        """The same as the planner's predicates see it."""
        block = self.public(segment)
        columns = {key: ColumnValues(*values) for key, values in block.columns.items()}
        return ColumnBatch(columns, block.rows)

    def selected(
        self, segment: SegmentRow, predicate: Predicate | None, table: PublicTable
    ) -> NDArray[np.bool_]:
        """Live rows of a segment that a public predicate selects. Shape: (occupied slots,)."""
        alive = live_slots(segment.rows, segment.live_bits)
        if predicate is None:
            return alive
        return alive & matches(predicate, self.batch(segment), table)

    def fetch(
        self,
        snapshot: Snapshot,
        request: pb.FetchRequest,
        chosen: Iterable[tuple[SegmentRow, Rows]],
    ) -> Iterator[pb.RowBlock]:
        """Blocks of the chosen slots. Raises: AM-3005 for a column that is not public."""
        table = snapshot.entry.table
        known = [column.id for column in table.public_columns]
        wanted = list(request.column_ids) or known
        if not set(wanted) <= set(known):
            fail("AM-3005", what="a column that is not public")
        if table.primary_key.id not in wanted:
            wanted.insert(0, table.primary_key.id)
        sealed = request.sealed and bool(table.encrypted_columns)
        for segment, slots in chosen:
            yield from self._blocks(segment, slots, wanted, sealed=sealed)

    def _blocks(
        self, segment: SegmentRow, slots: Rows, columns: list[int], *, sealed: bool
    ) -> Iterator[pb.RowBlock]:
        public = self.public(segment)
        blobs = self._sealed(segment, slots) if sealed else []
        start = 0
        for run in split_rows(slots, [len(blob) for blob in blobs]):
            pack = blocks.encode_pack(blobs[start : start + len(run)]) if sealed else b""
            start += len(run)
            yield pb.RowBlock(
                segment_id=segment.segment_id,
                slots=run.tolist(),
                rows=len(run),
                public_block=blocks.select_block(public, run, columns),
                sealed_pack=pack,
                versions=[segment.version],
            )

    def _sealed(self, segment: SegmentRow, slots: Rows) -> list[memoryview]:
        reader = self._objects.open(segment.object(segment.manifest.segment.sealed_object))
        if len(slots) * _DENSE > segment.rows:
            blobs = blocks.decode_pack(reader.read())
            return [blobs[slot] for slot in slots.tolist()]
        return _picked(reader, segment.rows, slots)


def _picked(reader: ObjectReader, rows: int, slots: Rows) -> list[memoryview]:
    head = reader.read(0, blocks.pack_table_bytes(rows))
    bounds = blocks.pack_offsets(head, reader.size)
    return [
        reader.read(int(bounds[slot]), int(bounds[slot + 1] - bounds[slot]))
        for slot in slots.tolist()
    ]


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
