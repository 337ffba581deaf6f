"""Rotation on the engine: stored ciphertexts are switched to another key, without any secret.

One segment at a time is made anew beside what it is (``storage.rekeying``); the tables' keys change
later, at once. What is made for a segment that left meanwhile is thrown away.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from amaters.base.errors import fail
from amaters.engine.batches import CANARY_BYTES_MAX
from amaters.engine.catalogue import Catalogue, TableEntry, check_record, invalid
from amaters.engine.compaction import Surroundings, pieces
from amaters.fhe.merging import Shape, Source
from amaters.fhe.meta import REKEYS_MAX, Rules
from amaters.fhe.parameters import get_parameters
from amaters.fhe.rekeying import Rekeyer, make_rekeyer, rekey_bundle
from amaters.storage.rekeying import rekeyed_to
from amaters.storage.sqlite import Connection
from amaters.storage.versions import SegmentRow
from amaters.wire import blocks
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb


@dataclass(frozen=True, slots=True)
class RekeyKeys:
    """Stored keys that lead from one secret key to another."""

    name: pb.KeyName
    ref: cb.ObjectRef


class Rekeying:
    """Makes segments anew; several threads may. ``stop`` ends what is being made."""

    def __init__(self, around: Surroundings, *, threads: int) -> None:
        self._with = around
        self._threads = threads
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._made: dict[tuple[bytes, bytes], Rekeyer] = {}

    def stop(self) -> None:
        """What is being made is thrown away at the next ciphertext."""
        self._stop.set()

    def check_keys(self, name: pb.KeyName, ref: cb.ObjectRef) -> None:
        """Whether uploaded keys are some, before they are named. Raises: AM-12xx."""
        self._rekeyer(RekeyKeys(name, ref))

    def _rekeyer(self, keys: RekeyKeys) -> Rekeyer:
        name = keys.name
        key = (bytes(name.from_key_id), bytes(name.key_id))
        with self._lock:
            found = self._made.get(key)
            if found is None:
                data = bytes(self._with.storage.objects.open(keys.ref).read())
                parameters = get_parameters(name.parameter_set)
                found = make_rekeyer(name.scheme, parameters, *key, data)
                self._made[key] = found
        return found

    def forget(self) -> None:
        """Keys that lead somewhere are not needed any more."""
        with self._lock:
            self._made.clear()

    def make(self, request: pb.RekeySegmentRequest, keys: RekeyKeys) -> cb.SegmentRekey | None:
        """A segment's objects under the other key, durable; None if they are there already.

        Cost: two key switches per stored ciphertext of the segment, about 25 ms at N = 16384.
        Raises: AM-3005, AM-3022, AM-3030, AM-3032, AM-3073 (it has left), AM-3122, AM-12xx.
        """
        table_id, version = request.table_id, request.schema_version
        with self._with.snapshots.once(table_id, version) as snapshot:
            found = [s for s in snapshot.segments if s.segment_id == request.segment_id]
            if not found:
                fail("AM-3073", table=snapshot.entry.record.name)
            (row,) = found
            if rekeyed_to(row.manifest) == request.key_id:
                return None
            making = _Making(self._with, snapshot.entry, row, self._rekeyer(keys), self._stop)
            try:
                return making.make(request, self._threads)
            except BaseException:
                making.discard()
                raise

    def discard(self, made: cb.SegmentRekey) -> None:
        """Delete what was made for nothing."""
        _delete(self._with, [ref.object_id for ref in made.rekeyed.objects])


def check_rekey(catalogue: Catalogue, made: cb.SegmentRekey, schema_version: int) -> None:
    """Whether the segment still is what it was. Raises: AM-3022, AM-3073."""
    entry, version = catalogue.version(made.table_id, schema_version)
    there = [s for s in version.segments if s.segment_id == made.rekeyed.segment.segment_id]
    moved = made.rekeyed.segment
    if not there or there[0].manifest.segment.public_object != moved.public_object:
        fail("AM-3073", table=entry.record.name)


def check_switch(catalogue: Catalogue, request: pb.SwitchKeysRequest) -> tuple[TableEntry, bytes]:
    """(the table as it is, the secret key it changes to).

    Raises: AM-3005, AM-3022 and, when some segment is not ready, AM-3121.
    """
    schema = request.schema
    entry, version = catalogue.version(schema.table_id, request.expected_version)
    old, new = entry.table, check_record(schema)
    same = dataclasses.replace(new, version=old.version, key_id=old.key_id)
    if same != old or new.version <= old.version or new.key_id == old.key_id:
        invalid("a change of keys that changes something else")
    if request.HasField("tail") and (
        request.tail.table_id != schema.table_id or request.tail.segments
    ):
        invalid("a change of keys with rows of other places than the table's tail")
    waiting = sum(rekeyed_to(row.manifest) != new.key_id for row in version.segments)
    if waiting:
        fail("AM-3121", table=schema.name, count=waiting)
    return entry, new.key_id


def check_end(catalogue: Catalogue, db: Connection, keyset_id: bytes) -> None:
    """Whether all tables are under keys of this keyset. Raises: AM-3121."""
    query = "SELECT key_id FROM keysets WHERE keyset_id = ?"
    theirs = {bytes(row[0]) for row in db.all(query, (keyset_id,))}
    for entry in catalogue.entries():
        if entry.table.key_id not in theirs:
            fail("AM-3121", table=entry.record.name, count="all")


class _Making:
    """The objects of one segment under another key."""

    def __init__(
        self,
        around: Surroundings,
        entry: TableEntry,
        row: SegmentRow,
        rekeyer: Rekeyer,
        stop: threading.Event,
    ) -> None:
        self._with = around
        self._entry = entry
        self._row = row
        self._rekeyer = rekeyer
        self._stop = stop
        self._made: list[bytes] = []

    def make(self, request: pb.RekeySegmentRequest, threads: int) -> cb.SegmentRekey:
        entry, old = self._entry, self._row.manifest.segment
        made = pb.NewSegment()
        made.CopyFrom(old)
        refs = self._sealed(request, made)
        self._canaries(request, made)
        if any(item.rekeys >= REKEYS_MAX for item in made.encodings):
            fail("AM-3122", table=entry.record.name, count=REKEYS_MAX)
        with ThreadPoolExecutor(threads) as pool:
            moved = list(pool.map(self._bundle, made.encodings))
        rules, noises = Rules(entry.parameters), [0.0]
        for item, ref in zip(made.encodings, moved, strict=True):
            item.object_id, item.rekeys = ref.object_id, item.rekeys + 1
            parts = item.parts or self._row.parts
            noises.append(rules.stored(parts, item.rekeys, 1, 0, 0).noise)
        made.noise, refs = max(noises), [*refs, *moved]
        return cb.SegmentRekey(
            table_id=request.table_id,
            rekeyed=cb.SegmentManifest(segment=made, objects=refs),
            key_id=request.key_id,
        )

    def _sealed(self, request: pb.RekeySegmentRequest, made: pb.NewSegment) -> list[cb.ObjectRef]:
        """What the client sealed anew. Raises: AM-3005, AM-3030, AM-3032."""
        if bool(made.sealed_object) != bool(request.sealed_object):
            invalid("sealed rows and schema disagree")
        if not request.sealed_object:
            return []
        refs = self._with.uploads.waiting([request.sealed_object])
        reader = self._with.storage.objects.open(refs[0])
        head = reader.read(0, min(reader.size, blocks.pack_table_bytes(made.rows)))
        if len(blocks.pack_offsets(head, reader.size)) != made.rows + 1:
            name, what = self._entry.record.name, "its sealed rows are not one per slot"
            fail("AM-3032", table=name, what=what)
        made.sealed_object = request.sealed_object
        return refs

    def _canaries(self, request: pb.RekeySegmentRequest, made: pb.NewSegment) -> None:
        sealed = [request.canaries, *request.part_canaries]
        same = len(request.part_canaries) == len(made.parts)
        if not same or any(len(block) > CANARY_BYTES_MAX for block in sealed):
            invalid("canaries that are not those of the segment")
        made.canaries = request.canaries
        for part, canaries in zip(made.parts, request.part_canaries, strict=True):
            part.canaries = canaries

    def _bundle(self, item: pb.EncodingObject) -> cb.ObjectRef:
        table, parameters = self._entry.table, self._entry.parameters
        shapes = table.column(item.column_id).written
        (found,) = (shape for shape in shapes if shape.name == item.encoding)
        shape = Shape(
            parameters, table.key_id, table.scheme, found.name, found.slices, parameters.max_level
        )
        reader = self._with.storage.objects.open(self._row.object(item.object_id))
        source = Source(reader, item.parts or self._row.parts, item.rekeys)
        size, chunks = rekey_bundle(shape, source, self._rekeyer, self._pace)
        return self._stored(size, chunks)

    def _stored(self, size: int, chunks: Iterable[bytes]) -> cb.ObjectRef:
        (object_id,) = self._with.uploads.reserve(1)
        self._made.append(object_id)
        writer = self._with.storage.objects.create(object_id, size)
        try:
            for piece in pieces(chunks):
                writer.write(piece)
            return writer.finish()
        except BaseException:
            writer.abort()
            raise

    def _pace(self, _: int) -> None:
        if self._stop.is_set():
            fail("AM-3004")

    def discard(self) -> None:
        """Delete what was made so far."""
        _delete(self._with, self._made)


def _delete(around: Surroundings, ids: Iterable[bytes]) -> None:
    listed = list(ids)
    # A command whose log write failed may be in the log, and wants its objects at open.
    if around.storage.failed is None:
        around.uploads.committed(listed)
        for object_id in listed:
            around.storage.objects.delete(object_id)
