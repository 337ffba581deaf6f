"""Rotation of keys, as the state sees it: what segments will be under another key is kept beside
what they are, until one command puts it in their place.

So a reader is never between two keys, a rotation that stops goes on where it was, and what a
segment's ciphertexts become is named like any object: verified, backed up, collected.
"""

from __future__ import annotations

from amaters.base.errors import fail
from amaters.storage.places import Places
from amaters.storage.rows import BatchRows
from amaters.storage.sqlite import Connection
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

_LEADS_FROM = " from "


def stored_scheme(name: pb.KeyName) -> str:
    """How the state's list of keys tells evaluation keys from keys that lead to a secret key."""
    return name.scheme + (_LEADS_FROM + name.from_key_id.hex() if name.from_key_id else "")


def keyset_ids(db: Connection) -> tuple[bytes, bytes]:
    """(the keyset of the database, the one it is being rotated to); empty where there is none."""
    rows = db.all("SELECT DISTINCT keyset_id, instr(scheme, ?) FROM keysets", (_LEADS_FROM,))
    target = next((bytes(keyset_id) for keyset_id, leads in rows if leads), b"")
    ours = next((bytes(keyset_id) for keyset_id, _ in rows if bytes(keyset_id) != target), b"")
    return ours, target


def rekeyed_to(manifest: cb.SegmentManifest) -> bytes:
    """The key that a segment is ready to be switched to: all that it has now was moved."""
    ready = _names(manifest.rekeyed) == _names(manifest.segment)
    return manifest.rekeyed_to if ready else b""


def _names(segment: pb.NewSegment) -> list[tuple[int, str]]:
    return sorted((item.column_id, item.encoding) for item in segment.encodings)


def apply_rekey(places: Places, db: Connection, tid: int, command: cb.SegmentRekey) -> None:
    """A segment gets what it will be. Raises: AM-4012 when it is not there."""
    query = "SELECT id, manifest FROM segments WHERE segment_id = ? AND tid = ?"
    found = db.one(query, (command.rekeyed.segment.segment_id, tid))
    if found is None:
        fail("AM-4012", what="it moves a segment to another key that is not there")
    manifest = cb.SegmentManifest.FromString(found[1])
    _drop_unused(places, manifest, manifest.segment)  # what an earlier attempt left
    manifest.rekeyed.CopyFrom(command.rekeyed.segment)
    manifest.rekeyed_to = command.key_id
    manifest.objects.extend(command.rekeyed.objects)
    _put(places, db, (tid, int(found[0])), manifest)


def apply_switch(places: Places, db: Connection, tid: int, command: cb.KeySwitch) -> None:
    """All segments of a table become what they are under the other key.

    Raises: AM-4012 for one that is not ready.
    """
    query = "SELECT id, manifest FROM segments WHERE tid = ? ORDER BY id"
    for place, data in db.all(query, (tid,)):
        manifest = cb.SegmentManifest.FromString(data)
        if rekeyed_to(manifest) != command.key_id:
            fail("AM-4012", what="it changes the keys of a segment that is not ready")
        _drop_unused(places, manifest, manifest.rekeyed)
        manifest.segment.CopyFrom(manifest.rekeyed)
        manifest.ClearField("rekeyed")
        manifest.ClearField("rekeyed_to")
        _put(places, db, (tid, place), manifest)


def apply_end(places: Places, db: Connection, command: cb.RotationEnd) -> None:
    """Only the evaluation keys of one keyset stay, and what segments are; what they would have
    become under another one leaves. Cost: a pass over the manifests.
    """
    query = "SELECT object FROM keysets WHERE keyset_id <> ? OR instr(scheme, ?)"
    wanted = (command.keyset_id, _LEADS_FROM)
    places.discard(cb.ObjectRef.FromString(row[0]) for row in db.all(query, wanted))
    db.run("DELETE FROM keysets WHERE keyset_id <> ? OR instr(scheme, ?)", wanted)
    for tid, place, data in db.all("SELECT tid, id, manifest FROM segments ORDER BY id"):
        manifest = cb.SegmentManifest.FromString(data)
        if manifest.rekeyed_to:
            _drop_unused(places, manifest, manifest.segment)
            manifest.ClearField("rekeyed")
            manifest.ClearField("rekeyed_to")
            _put(places, db, (int(tid), int(place)), manifest)


def require_whole_tail(rows: BatchRows | None, live: int) -> None:
    """A switch of keys replaces the whole tail. Raises: AM-3123 when rows came meanwhile."""
    if (len(rows.removed) if rows is not None else 0) != live:
        fail("AM-3123")


def _drop_unused(places: Places, manifest: cb.SegmentManifest, kept: pb.NewSegment) -> None:
    """Objects leave a manifest that are not ``kept``'s."""
    used = {kept.public_object, kept.sealed_object, *(e.object_id for e in kept.encodings)}
    places.discard([ref for ref in manifest.objects if ref.object_id not in used])
    refs = [ref for ref in manifest.objects if ref.object_id in used]
    del manifest.objects[:]
    manifest.objects.extend(refs)


def _put(
    places: Places, db: Connection, place: tuple[int, int], manifest: cb.SegmentManifest
) -> None:
    query = "UPDATE segments SET manifest = ? WHERE id = ?"
    db.run(query, (manifest.SerializeToString(), place[1]))
    places.changes.rewrite(*place)
