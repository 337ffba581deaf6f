"""Commands over small tables without an engine, and what storage then has to say of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from amaters.base.ids import new_id
from amaters.storage.apply import rows_of
from amaters.storage.database import Group, Storage
from amaters.storage.rows import CommandRows
from amaters.storage.versions import TableVersion, live_slots
from amaters.wire import blocks
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

KEY = 1
TABLE = b"t" * 16
OTHER = b"o" * 16
Rows = dict[int | str, int]  # key: row version


def create(table_id: bytes = TABLE) -> cb.Command:
    schema = pb.SchemaRecord(table_id=table_id, name=table_id.hex(), version=1)
    return cb.Command(table_create=cb.TableCreate(schema=schema))


def large(n: int) -> cb.Command:
    """A command that fills a good part of a segment of the log."""
    ref = cb.ObjectRef(object_id=bytes([n]) * 16, digest=bytes(400_000))
    name = pb.KeyName(key_id=bytes([n]) * 16, parameter_set="p", scheme="noop")
    return cb.Command(keyset_put=cb.KeysetPut(name=name, object=ref))


def drop(table_id: bytes = TABLE) -> cb.Command:
    return cb.Command(table_drop=cb.TableDrop(table_id=table_id))


def block(keys: Sequence[int | str]) -> bytes:
    kind = object if keys and isinstance(keys[0], str) else np.int64
    return blocks.encode_block({KEY: (np.array(list(keys), dtype=kind), None)})


def listed(rows: Rows) -> pb.KeyVersions:
    if not rows:
        return pb.KeyVersions()
    return pb.KeyVersions(keys=block(list(rows)), versions=list(rows.values()))


def store(storage: Storage, data: bytes) -> cb.ObjectRef:
    writer = storage.objects.create(new_id(), len(data))
    writer.write(data)
    return writer.finish()


def batch(
    storage: Storage,
    version: int,
    *,
    tail: Sequence[int | str] = (),
    segments: Iterable[Sequence[int | str]] = (),
    removed: Rows | None = None,
    moved: Rows | None = None,
    table_id: bytes = TABLE,
) -> cb.Command:
    """A batch whose segments' objects are stored already."""
    request = pb.CommitRequest(
        request_id=new_id(),
        table_id=table_id,
        schema_version=1,
        row_version=version,
        removed=listed(removed or {}),
        moved=listed(moved or {}),
    )
    if tail:
        request.tail.CopyFrom(pb.TailRows(rows=len(tail), public_block=block(tail)))
    objects = []
    for keys in segments:
        public, sealed = store(storage, block(keys)), store(storage, b"sealed" * len(keys))
        objects += [public, sealed]
        request.segments.add(
            segment_id=new_id(),
            rows=len(keys),
            public_object=public.object_id,
            sealed_object=sealed.object_id,
        )
    made = cb.Batch(request=request, objects=objects, key_column=KEY)
    return cb.Command(request_id=request.request_id, request_digest=b"d", batch=made)


def found_rows(storage: Storage, command: cb.Command) -> CommandRows | None:
    return rows_of(command, storage.read_object)


def append(storage: Storage, command: cb.Command) -> bytes:
    return storage.append(command, found_rows(storage, command))


def apply(group: Group, storage: Storage, command: cb.Command) -> bytes:
    return group.apply(command, found_rows(storage, command))


def put(storage: Storage, version: int, **parts: object) -> None:
    """Append a batch; keywords as for ``batch``."""
    append(storage, batch(storage, version, **parts))  # type: ignore[arg-type]


def table_of(storage: Storage, table_id: bytes = TABLE) -> TableVersion:
    found = storage.version(table_id)
    assert found is not None
    return found


def contents(storage: Storage, table_id: bytes = TABLE) -> Rows:
    """Live rows by the published version's blocks, which must agree with the keys."""
    version = table_of(storage, table_id)
    rows: Rows = {}
    places: dict[int | str, tuple[int, int]] = {}
    pieces = [
        (row.sid, row.rows, row.live, row.live_bits, row.version, public_of(storage, row.manifest))
        for row in version.segments
    ]
    pieces += [(-b.bid, b.rows, b.live, b.live_bits, b.version, b.public) for b in version.tail]
    for place, count, live, bits, row_version, data in pieces:
        keys = blocks.decode_block(data).columns[KEY][0].tolist()
        slots = np.flatnonzero(live_slots(count, bits)).tolist()
        assert len(slots) == live
        assert not {keys[slot] for slot in slots} & rows.keys()
        rows.update((keys[slot], row_version) for slot in slots)
        places.update((keys[slot], (place, slot)) for slot in slots)
    assert storage.places(version.tid, list(places)) == places
    keys_of_table = "SELECT count(*) FROM keys WHERE tid = ?"
    assert storage.state.db.one(keys_of_table, (version.tid,)) == (len(places),)
    return rows


def public_of(storage: Storage, manifest: cb.SegmentManifest) -> memoryview:
    wanted = manifest.segment.public_object
    ref = next(ref for ref in manifest.objects if ref.object_id == wanted)
    return storage.objects.open(ref).read()
