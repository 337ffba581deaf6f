"""Verifying tables: blocks against keys against liveness, and every object that is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import DataError
from amaters.storage.indexes import IndexManager
from amaters.storage.objects import ObjectStore
from amaters.storage.places import find_places
from amaters.storage.sqlite import Connection
from amaters.storage.verify_indexes import IndexVerifier
from amaters.storage.versions import live_slots
from amaters.wire import blocks
from amaters.wire import commands_pb2 as cb
from amaters.wire import schema_pb2 as sb
from amaters.wire import service_pb2 as pb

READ_BYTES = 4 << 20
_KEY_MAX = (1 << 63) - 1  # where the state stops counting


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be. ``where``: a file, a table or an object."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class _Table:
    """The table being checked."""

    tid: int
    where: str
    key_column: int
    top_key: int
    indexes: IndexVerifier


Tell = Callable[[int], None]  # so many bytes more were read


class RowVerifier:
    """Checks one position of a database through a reading connection."""

    def __init__(
        self, db: Connection, objects: ObjectStore, indexes: IndexManager, *, deep: bool = True
    ) -> None:
        """``deep``: read every object to its end, not only that which holds keys."""
        self._db, self._objects, self._deep = db, objects, deep
        self._indexes = indexes.attach(db)
        self.tell: Tell = lambda _: None
        self.findings: list[Finding] = []
        self.counts: Counter[str] = Counter()
        self.named: set[bytes] = set()

    def found(self, where: str, what: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(where, what))

    @contextmanager
    def guarded(self, where: str) -> Iterator[None]:
        """Damage in the guarded part is a finding, and what follows is checked all the same."""
        try:
            yield
        except DataError as error:
            self.found(where, error.message)

    # ---- everything --------------------------------------------------------------------------

    def run(self) -> None:
        """Check all tables, keysets, objects and what waits as garbage."""
        self._orphans()
        query = "SELECT id, schema, top_key, tail_rows FROM tables ORDER BY id"
        for tid, schema, top_key, tail_rows in self._db.all(query):
            record = pb.SchemaRecord.FromString(schema)
            self.counts["tables"] += 1
            with self.guarded(f"table {record.name}"):
                self._table(tid, record, top_key, tail_rows)
        for (data,) in self._db.all("SELECT object FROM keysets"):
            self.counts["keysets"] += 1
            ref = cb.ObjectRef.FromString(data)
            with self.guarded(f"evaluation keys {ref.object_id.hex()}"):
                self._object(ref)

    def _orphans(self) -> None:
        """Rows of one relation that name what another one lacks."""
        known = "(SELECT id FROM tables)"
        for relation, what in (("segments", "segments"), ("tails", "tail"), ("keys", "keys")):
            query = f"SELECT count(*) FROM {relation} WHERE tid NOT IN {known}"
            count = (self._db.one(query) or (0,))[0]
            if count:
                self.found("state", f"{count} entries of {what} belong to no table")
        places = "(SELECT id AS place FROM segments UNION ALL SELECT -id FROM tails)"
        query = (
            f"SELECT count(*) FROM {places} AS found "
            "FULL JOIN liveness ON liveness.place = found.place "
            "WHERE liveness.place IS NULL OR found.place IS NULL"
        )
        count = (self._db.one(query) or (0,))[0]
        if count:
            self.found("state", f"{count} places and their liveness do not belong together")

    def _table(self, tid: int, record: pb.SchemaRecord, top_key: int, tail_rows: int) -> None:
        where = f"table {record.name}"
        indexes = IndexVerifier(self._indexes, self._db, tid)
        table = _Table(tid, where, _key_column(record), top_key, indexes)
        live, tail = self._segments(table), self._tail(table)
        if tail != tail_rows:
            self.found(where, f"its tail has {tail} rows, the state counts {tail_rows}")
        keys = (self._db.one("SELECT count(*) FROM keys WHERE tid = ?", (tid,)) or (0,))[0]
        if keys != live + tail:
            self.found(where, f"{keys} keys for {live + tail} live rows")
        self.counts["rows"] += live + tail
        self.counts["indexes"] += indexes.count
        indexes.end(lambda what: self.found(where, what))

    # ---- places ------------------------------------------------------------------------------

    def _segments(self, table: _Table) -> int:
        query = (
            "SELECT id, manifest, rows, live, bits FROM segments JOIN liveness ON place = id "
            "WHERE tid = ? ORDER BY id"
        )
        total = 0
        for place, data, rows, live, bits in self._db.all(query, (table.tid,)):
            manifest = cb.SegmentManifest.FromString(data)
            segment = manifest.segment
            here = f"{table.where}, segment {segment.segment_id.hex()}"
            self.counts["segments"] += 1
            total += live
            if segment.rows != rows:
                self.found(here, f"{rows} rows, its manifest says {segment.rows}")
            if not _parts_fit(segment):
                self.found(here, "the parts it was merged of overlap, or leave it")
            for ref in self._refs(here, manifest):
                with self.guarded(here):
                    self._object(ref)
            with self.guarded(here):
                refs = {ref.object_id: ref for ref in manifest.objects}
                if segment.public_object in refs:
                    block = self._objects.open(refs[segment.public_object]).read()
                    self._place(here, table, place, block, (rows, live, bits))
                if segment.sealed_object in refs:
                    self._pack(here, refs[segment.sealed_object], rows)
        return total

    def _refs(self, where: str, manifest: cb.SegmentManifest) -> list[cb.ObjectRef]:
        """The references of a manifest, which must be those that its segment names."""
        segment = manifest.segment
        wanted = {segment.public_object, segment.sealed_object}
        wanted |= {encoding.object_id for encoding in segment.encodings}
        missing = wanted - {b""} - {ref.object_id for ref in manifest.objects}
        for object_id in sorted(missing):
            self.found(where, f"object {object_id.hex()} has no checksum in the manifest")
        return list(manifest.objects)

    def _tail(self, table: _Table) -> int:
        query = (
            "SELECT id, public, sealed, rows, live, bits FROM tails JOIN liveness ON place = -id "
            "WHERE tid = ? ORDER BY id"
        )
        total = 0
        for bid, public, sealed, rows, live, bits in self._db.each(query, (table.tid,)):
            here = f"{table.where}, tail block {bid}"
            self.counts["tail blocks"] += 1
            total += live
            with self.guarded(here):
                self._place(here, table, -bid, public, (rows, live, bits))
                if sealed and len(blocks.decode_pack(sealed)) != rows:
                    self.found(here, f"sealed rows for {rows} rows are missing")
        return total

    def _place(
        self,
        where: str,
        table: _Table,
        place: int,
        data: bytes | memoryview,
        alive: tuple[int, int, bytes],
    ) -> None:
        """Every live row of a place is the one its key leads to, and the indexes know it."""
        rows, live, bits = alive
        block = blocks.decode_block(data)
        if block.rows != rows or table.key_column not in block.columns:
            self.found(where, f"its block has {block.rows} rows, the state counts {rows}")
            return
        if bits and len(bits) != -(-rows // 8):
            self.found(where, "its liveness is of another length")
            return
        slots = np.flatnonzero(live_slots(rows, bits))
        if len(slots) != live:
            self.found(where, f"{len(slots)} rows are alive, the state counts {live}")
        self._keys(where, table, place, block, slots)
        table.indexes.place(place, block, slots, lambda what: self.found(where, what))

    def _keys(
        self,
        where: str,
        table: _Table,
        place: int,
        block: blocks.Block,
        slots: NDArray[np.int64],
    ) -> None:
        values, valid = block.columns[table.key_column]
        values, valid = values[slots], valid[slots]
        if not bool(valid.all()):
            self.found(where, "a live row has no key")
            return
        if values.dtype != object:
            if len(values) and min(int(values.max()), _KEY_MAX) > table.top_key:
                self.found(where, f"it has a key above {table.top_key}, the highest that is known")
            values = values.view(np.int64)
        wanted = dict(zip(values.tolist(), ((place, slot) for slot in slots.tolist()), strict=True))
        there = find_places(self._db, table.tid, wanted)
        wrong = sum(there.get(key) != slot for key, slot in wanted.items())
        if wrong or len(wanted) != len(slots):
            self.found(where, f"{wrong or len(slots) - len(wanted)} keys lead elsewhere")

    def _pack(self, where: str, ref: cb.ObjectRef, rows: int) -> None:
        head = self._objects.open(ref).read(0, min(ref.size, blocks.pack_table_bytes(rows)))
        if len(blocks.pack_offsets(head, ref.size)) != rows + 1:
            self.found(where, f"sealed rows for {rows} rows are missing")

    # ---- objects -----------------------------------------------------------------------------

    def _object(self, ref: cb.ObjectRef) -> None:
        self.named.add(ref.object_id)
        self.counts["objects"] += 1
        self.counts["object bytes"] += ref.size
        reader = self._objects.open(ref)
        size = ref.size if self._deep else min(ref.size, 1)
        for start in range(0, size, READ_BYTES):
            length = min(READ_BYTES, size - start)
            reader.read(start, length)
            self.tell(length)


def _parts_fit(segment: pb.NewSegment) -> bool:
    """Whether the parts of a merged segment lie in it, one behind the other."""
    end = 0
    for part in segment.parts:
        if part.first_slot < end:
            return False
        end = part.first_slot + part.rows
    return end <= segment.rows


def _key_column(record: pb.SchemaRecord) -> int:
    table = sb.PublicTable.FromString(record.public_bytes)
    return next((column.id for column in table.columns if column.primary_key), 0)
