"""Encodings of segments come and go: what ALTER TABLE changes of a segment that stays."""

from __future__ import annotations

from amaters.base.errors import fail
from amaters.storage.places import Places
from amaters.storage.sqlite import Connection
from amaters.wire import commands_pb2 as cb
from amaters.wire import schema_pb2 as sb
from amaters.wire import service_pb2 as pb

Name = tuple[int, str]  # column id and name of an encoding


def encoding_names(schema: pb.SchemaRecord) -> frozenset[Name]:
    """What segments have by a schema, or are to get."""
    table = sb.PublicTable.FromString(schema.public_bytes)
    return frozenset(
        (column.id, _name(shape))
        for column in table.columns
        for shape in (*column.encodings, *column.pending)
    )


def _name(shape: sb.EncodingShape) -> str:
    kind = sb.EncodingShape.Kind.Name(shape.kind).lower()
    return f"{kind}.{shape.generation}" if shape.generation else kind


def add_encodings(places: Places, db: Connection, tid: int, encode: cb.SegmentEncode) -> None:
    """A segment gets encodings beside those that it has. Raises: AM-4012 when it is not there."""
    query = "SELECT id, manifest FROM segments WHERE segment_id = ? AND tid = ?"
    found = db.one(query, (encode.segment_id, tid))
    if found is None:
        fail("AM-4012", what="it encodes a segment that is not there")
    manifest = cb.SegmentManifest.FromString(found[1])
    manifest.segment.encodings.extend(encode.encodings)
    manifest.objects.extend(encode.objects)
    _put(places, db, (tid, int(found[0])), manifest)


def drop_encodings(places: Places, db: Connection, tid: int, gone: frozenset[Name]) -> None:
    """Segments lose what a schema has no use for any more. Cost: a pass over the manifests."""
    if not gone:
        return
    query = "SELECT id, manifest FROM segments WHERE tid = ? ORDER BY id"
    for place, data in db.all(query, (tid,)):
        manifest = cb.SegmentManifest.FromString(data)
        made = manifest.segment.encodings
        out = {item.object_id for item in made if (item.column_id, item.encoding) in gone}
        if not out:
            continue
        places.discard([ref for ref in manifest.objects if ref.object_id in out])
        kept = [item for item in made if item.object_id not in out]
        refs = [ref for ref in manifest.objects if ref.object_id not in out]
        del manifest.segment.encodings[:]
        del manifest.objects[:]
        manifest.segment.encodings.extend(kept)
        manifest.objects.extend(refs)
        _put(places, db, (tid, place), manifest)


def _put(
    places: Places, db: Connection, place: tuple[int, int], manifest: cb.SegmentManifest
) -> None:
    db.run(
        "UPDATE segments SET manifest = ? WHERE id = ?", (manifest.SerializeToString(), place[1])
    )
    places.changes.rewrite(*place)
