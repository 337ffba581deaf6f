"""Checks a commit against schema and objects before anything is logged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from amaters.base.errors import fail
from amaters.columns.batch import storage_dtype
from amaters.engine.catalogue import TableEntry, invalid
from amaters.engine.leases import tail_limits
from amaters.engine.uploads import Uploads
from amaters.fhe.bundle import BundleReader
from amaters.storage.database import Storage
from amaters.storage.objects import ObjectReader
from amaters.storage.rows import TAIL, BatchRows
from amaters.wire import blocks
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

SEGMENTS_MAX = 256
CANARY_BYTES_MAX = 1 << 20
OpenObject = Callable[[cb.ObjectRef], ObjectReader]


@dataclass(frozen=True, slots=True)
class Checked:
    """A commit whose parts are all there and have the shape of ``entry``'s schema."""

    entry: TableEntry
    batch: cb.Batch
    rows: BatchRows

    def ids(self) -> list[bytes]:
        """The reserved ids it names: of its objects and segments."""
        segments = (segment.segment_id for segment in self.batch.request.segments)
        return [*(ref.object_id for ref in self.batch.objects), *segments]


def check_batch(
    request: pb.CommitRequest, entry: TableEntry, uploads: Uploads, storage: Storage
) -> Checked:
    """The command a request becomes, if its parts are all there and have the schema's shape.

    Raises: AM-3005, AM-3030, AM-3032, AM-3033.
    """
    if request.row_version == 0:
        invalid("a batch without a row version")
    if len(request.segments) > SEGMENTS_MAX:
        invalid("too many segments in one batch")
    refs: list[cb.ObjectRef] = []
    seen: set[bytes] = set()
    decoded: dict[bytes, blocks.Block] = {}
    for segment in request.segments:
        if segment.segment_id in seen or not uploads.is_reserved(segment.segment_id):
            fail("AM-3030", object_id=segment.segment_id.hex())
        seen.add(segment.segment_id)
        refs.extend(_check_segment(segment, entry, uploads, storage.objects.open))
        public = next(ref for ref in refs if ref.object_id == segment.public_object)
        block = blocks.decode_block(storage.read_object(public))
        _check_public(entry, block, segment.rows, segment.first_slot)
        decoded[segment.public_object] = block
    if len({ref.object_id for ref in refs}) != len(refs):
        _misfit(entry, "one object has two roles")
    if request.tail.rows:
        decoded[b""] = _checked_tail(request.tail, entry)
    key_column = entry.table.primary_key.id
    batch = cb.Batch(request=request, objects=refs, key_column=key_column)
    return Checked(entry, batch, storage.read_rows(batch, decoded))


def check_encodings(
    request: pb.AddEncodingsRequest, entry: TableEntry, uploads: Uploads, storage: Storage
) -> cb.SegmentEncode:
    """The command that gives a segment encodings, if the schema has such.

    Raises: AM-3005, AM-3030, AM-3032.
    """
    known = {(c.id, s.name) for c in entry.table.encrypted_columns for s in c.written}
    given = [(item.column_id, item.encoding) for item in request.encodings]
    if not given or len(set(given)) != len(given) or not known.issuperset(given):
        _misfit(entry, "these encodings are not the schema's")
    if any(item.parts for item in request.encodings):
        _misfit(entry, "an encoding that only the engine makes")
    refs = uploads.waiting([item.object_id for item in request.encodings])
    if len({ref.object_id for ref in refs}) != len(refs):
        _misfit(entry, "one object has two roles")
    made = cb.SegmentEncode(
        table_id=request.table_id,
        segment_id=request.segment_id,
        encodings=request.encodings,
        objects=refs,
    )
    for item, ref in zip(made.encodings, refs, strict=True):
        _check_bundle(entry, item, storage.objects.open(ref))
        item.parts = 1  # whatever the segment was merged of
    return made


def _misfit(entry: TableEntry, what: str) -> NoReturn:
    fail("AM-3032", table=entry.record.name, what=what)


def _check_segment(
    segment: pb.NewSegment, entry: TableEntry, uploads: Uploads, open_object: OpenObject
) -> list[cb.ObjectRef]:
    if not segment.first_slot < segment.rows <= entry.parameters.slots:
        _misfit(entry, f"a segment of {segment.rows} rows")
    merged = segment.parts or any(item.parts for item in segment.encodings)
    if merged or segment.noise or (segment.first_slot and not segment.open_segment):
        _misfit(entry, "a segment that only the engine makes")
    if len(segment.canaries) > CANARY_BYTES_MAX:
        _misfit(entry, "its canary block is too long")
    columns = entry.table.encrypted_columns
    needed = [(column.id, shape.name) for column in columns for shape in column.written]
    given = [(item.column_id, item.encoding) for item in segment.encodings]
    if sorted(needed) != sorted(given):
        _misfit(entry, "its encodings are not the schema's")
    ids = [segment.public_object, *(item.object_id for item in segment.encodings)]
    if columns:
        ids.append(segment.sealed_object)
    elif segment.sealed_object:
        _misfit(entry, "sealed rows in a table without encrypted columns")
    refs = uploads.waiting(ids)
    for item, ref in zip(segment.encodings, refs[1:], strict=False):
        _check_bundle(entry, item, open_object(ref))
    if columns:
        _check_pack(entry, open_object(refs[-1]), segment.rows)
    return refs


def _check_public(entry: TableEntry, block: blocks.Block, rows: int, first_slot: int = 0) -> None:
    """The block must have exactly the public columns, typed and from ``first_slot`` on valid as
    the schema says.
    """
    columns = entry.table.public_columns
    if block.rows != rows or block.columns.keys() != {column.id for column in columns}:
        _misfit(entry, "a block has other rows or columns than the schema")
    for column in columns:
        values, valid = block.columns[column.id]
        if values.dtype != storage_dtype(column.type):
            _misfit(entry, f"column {column.name} has another type")
        if not column.nullable and not bool(valid[first_slot:].all()):
            _misfit(entry, f"column {column.name} is NOT NULL")


def _check_bundle(entry: TableEntry, item: pb.EncodingObject, reader: ObjectReader) -> None:
    """A bundle of the schema's size, key, parameter set and scheme. Raises: AM-12xx, AM-3032."""
    table = entry.table
    column = table.column(item.column_id)
    count = next(shape.slices for shape in column.written if shape.name == item.encoding)
    bundles = BundleReader(entry.parameters, table.key_id, table.scheme)
    if reader.size != bundles.prefix_bytes(entry.parameters.max_level, count):
        _misfit(entry, f"the {item.encoding} of column {column.name} have a wrong size")
    head = reader.read_prefix(bundles.prefix_bytes(1, count), bundles.header_bytes(count))
    bundles.read(head, 1, indices=(), encoding=item.encoding)


def _check_pack(entry: TableEntry, reader: ObjectReader, rows: int) -> None:
    head = reader.read(0, min(reader.size, blocks.pack_table_bytes(rows)))
    if len(blocks.pack_offsets(head, reader.size)) != rows + 1:
        _misfit(entry, "its sealed rows are not one per slot")


def _checked_tail(tail: pb.TailRows, entry: TableEntry) -> blocks.Block:
    if tail.rows > entry.parameters.slots:
        _misfit(entry, f"{tail.rows} tail rows in one batch")
    block = blocks.decode_block(tail.public_block)
    _check_public(entry, block, tail.rows)
    sealed = bool(entry.table.encrypted_columns)
    if sealed != bool(tail.sealed_pack):
        _misfit(entry, "sealed rows and schema disagree")
    if sealed and len(blocks.decode_pack(tail.sealed_pack)) != tail.rows:
        _misfit(entry, "its sealed rows are not one per row")
    return block


def check_rows(rows: BatchRows, request: pb.CommitRequest, entry: TableEntry) -> None:
    """Rules between the parts of a batch. Raises: AM-3032, AM-3036."""
    in_segments = {key for part in rows.parts if part.part != TAIL for key in part.keys}
    if any(key not in in_segments for key, _ in rows.moved):
        _misfit(entry, "a moved row is in no segment")
    going = [key for key, _ in (*rows.removed, *rows.moved, *rows.dropped)]
    if len(set(going)) != len(going):
        _misfit(entry, "a row goes in two ways")
    if any(key in in_segments for key, _ in rows.dropped):
        _misfit(entry, "a dropped row comes back")
    replaced = max((version for _, version in (*rows.removed, *rows.moved)), default=0)
    if replaced >= request.row_version:
        fail("AM-3036", ours=request.row_version, theirs=replaced)


def check_tail_room(live: int, request: pb.CommitRequest, entry: TableEntry) -> None:
    """Above one segment's worth of tail rows writers are slowed, at this limit they are refused.

    Raises: AM-3034.
    """
    _, limit = tail_limits(entry.parameters.slots)
    rows = live + request.tail.rows - len(request.moved.versions)
    if request.tail.rows and rows > limit:
        fail("AM-3034", table=entry.record.name, rows=rows, limit=limit)
