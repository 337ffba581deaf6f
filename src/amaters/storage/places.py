"""Rows of all tables by key: where each lies, and what of each place is alive.

A row lies in a *place*: a segment (its rowid in ``segments``, positive) or a block of tail rows
(minus its rowid in ``tails``). What is in a place never changes, but for its liveness, which is
kept apart so that changing it is cheap. All rows of a place have the version of the batch that
made it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.storage.indexes import IndexManager
from amaters.storage.rows import CHECKED, REMOVED, TAIL, BatchRows, Key
from amaters.storage.sqlite import Connection, as_array
from amaters.storage.versions import live_slots
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

CONFLICTS_MAX = 4096
SCHEMA = """
CREATE TABLE segments (id INTEGER PRIMARY KEY AUTOINCREMENT, tid INTEGER, segment_id BLOB UNIQUE,
    version INTEGER, rows INTEGER, manifest BLOB);
CREATE INDEX segments_tid ON segments (tid);
CREATE TABLE tails (id INTEGER PRIMARY KEY AUTOINCREMENT, tid INTEGER, version INTEGER,
    rows INTEGER, public BLOB, sealed BLOB);
CREATE INDEX tails_tid ON tails (tid);
CREATE TABLE liveness (place INTEGER PRIMARY KEY, live INTEGER, bits BLOB);
CREATE TABLE keys (tid INTEGER, key, place INTEGER, slot INTEGER, PRIMARY KEY (tid, key))
    WITHOUT ROWID;
CREATE TABLE garbage (object_id BLOB PRIMARY KEY, position INTEGER, size INTEGER) WITHOUT ROWID;
"""

BY_PART = 0  # version of a merged segment: each of its parts has one
_FOUND = (
    "SELECT keys.key, place, slot FROM carray(?) AS wanted "
    "CROSS JOIN keys ON tid = ? AND keys.key = wanted.value"
)

Place = tuple[int, int]  # place and slot
Versions = tuple[list[int], list[int]]  # first slots, and the version of the rows from there on


@dataclass(slots=True)
class Changes:
    """What an open group touched, so that publishing it reads no more than that."""

    tables: set[int] = field(default_factory=set)
    places: dict[int, set[int]] = field(default_factory=dict)
    manifests: set[int] = field(default_factory=set)  # of segments that were there before

    def touch(self, tid: int, place: int) -> None:
        """A place was made, has gone, or changed in liveness."""
        self.tables.add(tid)
        self.places.setdefault(tid, set()).add(place)

    def rewrite(self, tid: int, place: int) -> None:
        """A segment has other encodings than before."""
        self.touch(tid, place)
        self.manifests.add(place)

    def clear(self) -> None:
        self.tables.clear()
        self.manifests.clear()
        self.places.clear()


def find_places(db: Connection, tid: int, keys: Iterable[Key]) -> dict[Key, Place]:
    """Place and slot of those of ``keys`` that have a live row."""
    listed = list(keys)
    if not listed:
        return {}
    wanted = as_array(listed)
    if wanted is None:
        query = "SELECT key, place, slot FROM keys WHERE tid = ? AND key = ?"
        found = db.all_of(query, ((tid, key) for key in listed))
    else:
        found = db.all(_FOUND, (wanted, tid))
    return {key: (place, slot) for key, place, slot in found}


class Places:
    """Keys and places of a database; the part of the state that batches change."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self.changes = Changes()
        self.indexes = IndexManager().attach(db)
        self.position = 0  # of the command being applied
        self.discarded = 0  # bytes of objects that left the state in the open group

    # ---- asking ------------------------------------------------------------------------------

    def places(self, tid: int, keys: Iterable[Key]) -> dict[Key, Place]:
        """Place and slot of those of ``keys`` that have a live row."""
        return find_places(self._db, tid, keys)

    def tail_rows(self, tid: int) -> int:
        """Live rows of the tail."""
        found = self._db.one("SELECT tail_rows FROM tables WHERE id = ?", (tid,))
        return int(found[0]) if found else 0

    def row_version(self, place: Place, known: dict[int, Versions] | None = None) -> int:
        """The version of the row in a slot; ``known``: what was looked up of places already."""
        known = {} if known is None else known
        if place[0] not in known:
            known[place[0]] = self._versions(place[0])
        firsts, versions = known[place[0]]
        return versions[bisect_right(firsts, place[1]) - 1]

    def _versions(self, place: int) -> Versions:
        """From which slot of a place on rows have which version."""
        table = "segments" if place > 0 else "tails"
        found = self._db.one(f"SELECT version FROM {table} WHERE id = ?", (abs(place),))
        version = unsigned(found[0]) if found else 0
        if version != BY_PART or place < 0:
            return [0], [version]
        found = self._db.one("SELECT manifest FROM segments WHERE id = ?", (place,))
        assert found is not None
        parts = cb.SegmentManifest.FromString(found[0]).segment.parts
        return [part.first_slot for part in parts], [part.row_version for part in parts]

    def conflicts(self, tid: int, rows: BatchRows) -> list[pb.KeyConflict]:
        """Existing rows in the way of a batch; changes nothing."""
        found = []
        versions: dict[int, Versions] = {}
        for kind, expected in ((REMOVED, rows.removed), (CHECKED, rows.checked)):
            places = self.places(tid, [key for key, _ in expected])
            for index, (key, version) in enumerate(expected):
                place = places.get(key)
                there = self.row_version(place, versions) if place else 0
                if there != version:
                    found.append(self._conflict(kind, index, place))
        going = {key for key, _ in rows.removed} | {key for key, _ in rows.moved}
        for part in rows.parts:
            there_already = self.places(tid, part.keys)
            if not there_already.keys() - going:
                continue
            for row, key in enumerate(part.keys):
                if key in there_already and key not in going:
                    found.append(self._conflict(part.part, row, there_already[key]))
        return (found or self._index_conflicts(tid, rows))[:CONFLICTS_MAX]

    def _index_conflicts(self, tid: int, rows: BatchRows) -> list[pb.KeyConflict]:
        """Rows whose value in a unique index another live row has. Raises: AM-3093."""
        if not self.indexes.is_unique(tid):
            return []
        # A moved row has its values already; of one that changed meanwhile only a dead slot comes.
        moved = {key for key, _ in rows.moved}
        leaving = dict((*rows.removed, *rows.dropped))
        known: dict[int, Versions] = {}
        gone = {
            place
            for key, place in self.places(tid, leaving).items()
            if self.row_version(place, known) == leaving[key]
        }
        new = [
            (
                part.block,
                [slot for slot, key in enumerate(part.keys, part.first_slot) if key not in moved],
            )
            for part in rows.parts
        ]
        self.indexes.require_distinct(tid, new)
        found = []
        for part, (block, fresh) in zip(rows.parts, new, strict=True):
            for taken in self.indexes.violations(tid, block, fresh, self.alive_among):
                if (taken.place, taken.slot) in gone:
                    continue
                row = taken.row - part.first_slot
                conflict = self._conflict(part.part, row, (taken.place, taken.slot))
                conflict.index_number = taken.number
                found.append(conflict)
        return found

    def require_unique(self, tid: int, rows: BatchRows) -> None:
        """Raises: AM-3093, AM-3094 when a row's value in a unique index is another's."""
        for conflict in self._index_conflicts(tid, rows):
            names = {index.number: index.name for index in self.indexes.indexes(tid)}
            fail("AM-3094", index=names[conflict.index_number])

    def alive_among(self, place: int, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some slots of a place that are alive."""
        table = "segments" if place > 0 else "tails"
        found = self._db.one(
            f"SELECT rows, bits FROM {table} JOIN liveness ON place = ? WHERE id = ?",
            (place, abs(place)),
        )
        return slots[live_slots(*found)[slots]] if found else slots[:0]

    def _conflict(self, part: int, row: int, place: Place | None) -> pb.KeyConflict:
        if place is None:
            return pb.KeyConflict(new_segment=part, new_row=row)
        conflict = pb.KeyConflict(
            new_segment=part, new_row=row, slot=place[1], version=self.row_version(place)
        )
        if place[0] > 0:
            found = self._db.one("SELECT segment_id FROM segments WHERE id = ?", (place[0],))
            conflict.segment_id = found[0] if found else b""
        return conflict

    # ---- changing ----------------------------------------------------------------------------

    def apply_batch(self, tid: int, batch: cb.Batch, rows: BatchRows) -> None:
        """The effects of a batch that has no conflicts."""
        request = batch.request
        self.changes.tables.add(tid)
        came = {key for part in rows.parts for key in part.keys} if rows.replaces else set()
        stays_dead, replaced = self._vacate(tid, rows, came)
        version = signed(request.row_version)
        for part in rows.parts:
            keys, first = part.keys, part.first_slot
            slots: Sequence[int] = range(first, first + len(keys))
            if stays_dead:
                slots = [slot for slot, key in enumerate(keys, first) if key not in stays_dead]
                if not slots:
                    self._discard_unused(batch, part.part)
                    continue
            if part.part == TAIL:
                place = self.add_tail(tid, request.tail, version)
            else:
                segment = request.segments[part.part]
                place = self.add_segment(tid, manifest_of(batch, segment), version)
            self.set_alive(tid, place, (len(slots), live_bits(first + len(keys), slots)))
            self._enter(tid, place, [(keys[slot - first], slot) for slot in slots], replaced)
            self.indexes.apply_block(tid, (place, part.first_slot), part.block)
        self._db.run(
            "UPDATE tables SET top_key = max(top_key, ?) WHERE id = ?",
            (min(rows.top_key, (1 << 63) - 1), tid),
        )

    def _discard_unused(self, batch: cb.Batch, part: int) -> None:
        """A new segment, all of whose rows changed since they were moved, was for nothing."""
        if part != TAIL:
            self.discard(manifest_of(batch, batch.request.segments[part]).objects)

    def _enter(
        self, tid: int, place: int, added: list[tuple[Key, int]], replaced: set[Key]
    ) -> None:
        """Keys, in the order of the tree, with their slots. A key that is there and is not
        ``replaced`` is an error.
        """
        added.sort()
        fresh = added if not replaced else [item for item in added if item[0] not in replaced]
        self._db.insert_many("keys", [(tid, key, place, slot) for key, slot in fresh])
        if len(fresh) < len(added):
            self._db.run_many(
                "UPDATE keys SET place = ?, slot = ? WHERE tid = ? AND key = ?",
                ((place, slot, tid, key) for key, slot in added if key in replaced),
            )

    def _vacate(self, tid: int, rows: BatchRows, came: set[Key]) -> tuple[set[Key], set[Key]]:
        """Let rows go. Returns moved keys that changed since and stay dead; and those of ``came``
        whose entries stay, to be replaced.
        """
        if not rows.replaces:
            return set(), set()
        listed = [key for key, _ in (*rows.removed, *rows.moved, *rows.dropped)]
        places = self.places(tid, listed)
        stays_dead = set()
        versions: dict[int, Versions] = {}
        # Version 0 says that there must be no such row: then there is nothing to remove.
        wanted = [key for key, version in rows.removed if version or key in places]
        going = [(key, self._there(places, key)) for key in wanted]
        for key, version in (*rows.moved, *rows.dropped):
            place = places.get(key)
            if place is None or self.row_version(place, versions) != version:
                stays_dead.add(key)
            else:
                going.append((key, place))
        replaced = {key for key, _ in going} & (came - stays_dead)
        self.remove_keys(tid, going, replaced)
        return stays_dead, replaced

    def _there(self, places: dict[Key, Place], key: Key) -> Place:
        if key not in places:
            fail("AM-4012", what="it removes a row that is not there")
        return places[key]

    def remove_keys(
        self, tid: int, going: Sequence[tuple[Key, Place]], replaced: Container[Key] = ()
    ) -> None:
        """Rows leave: their slots die and their keys go, but for those that are ``replaced``;
        places without live rows go too.
        """
        gone = [key for key, _ in going if key not in replaced]
        listed = as_array(gone) if gone else None
        if listed is not None:
            query = "DELETE FROM keys WHERE tid = ? AND key IN (SELECT value FROM carray(?))"
            self._db.run(query, (tid, listed))
        else:
            query = "DELETE FROM keys WHERE tid = ? AND key = ?"
            self._db.run_many(query, ((tid, key) for key in gone))
        by_place: dict[int, list[int]] = {}
        for _, (place, slot) in going:
            by_place.setdefault(place, []).append(slot)
        for place, slots in by_place.items():
            self._kill(tid, place, slots)

    def _kill(self, tid: int, place: int, slots: Sequence[int]) -> None:
        table = "segments" if place > 0 else "tails"
        rows, bits = self._db.all(
            f"SELECT rows, bits FROM {table} JOIN liveness ON place = ? WHERE id = ?",
            (place, abs(place)),
        )[0]
        alive = live_slots(rows, bits)
        before = int(alive.sum())
        alive[list(slots)] = False
        live = int(alive.sum())
        self.changes.touch(tid, place)
        if place < 0:
            self._touch_tail(tid, live - before)
            if live == 0:
                self._db.run("DELETE FROM tails WHERE id = ?", (-place,))
                self._db.run("DELETE FROM liveness WHERE place = ?", (place,))
                self.indexes.forget_place(tid, place)
                return
        elif live == 0:
            self.remove_segment(tid, place)
            return
        self._db.run(
            "UPDATE liveness SET bits = ?, live = ? WHERE place = ?",
            (np.packbits(alive, bitorder="little").tobytes(), live, place),
        )

    def _touch_tail(self, tid: int, rows: int) -> None:
        self._db.run(
            "UPDATE tables SET tail_version = tail_version + 1, tail_rows = tail_rows + ? "
            "WHERE id = ?",
            (rows, tid),
        )

    def add_tail(self, tid: int, tail: pb.TailRows, version: int) -> int:
        """A new place for tail rows; ``set_alive`` follows."""
        return -self._db.insert(
            "INSERT INTO tails (tid, version, rows, public, sealed) VALUES (?, ?, ?, ?, ?)",
            (tid, version, tail.rows, tail.public_block, tail.sealed_pack),
        )

    def add_segment(self, tid: int, manifest: cb.SegmentManifest, version: int) -> int:
        """A new place for a segment; ``set_alive`` follows."""
        segment = manifest.segment
        return self._db.insert(
            "INSERT INTO segments (tid, segment_id, version, rows, manifest) "
            "VALUES (?, ?, ?, ?, ?)",
            (tid, segment.segment_id, version, segment.rows, manifest.SerializeToString()),
        )

    def set_alive(self, tid: int, place: int, alive: tuple[int, bytes]) -> None:
        """Liveness of a new place: how many rows, and which (empty: all)."""
        self._db.run("INSERT INTO liveness VALUES (?, ?, ?)", (place, *alive))
        self.changes.touch(tid, place)
        if place < 0:
            self._touch_tail(tid, alive[0])

    def find_segment(self, tid: int, segment_id: bytes) -> tuple[int, int, bytes] | None:
        """(place, slots, liveness) of a segment, None when it is not there."""
        found = self._db.one(
            "SELECT id, rows, bits FROM segments JOIN liveness ON place = id "
            "WHERE segment_id = ? AND tid = ?",
            (segment_id, tid),
        )
        return (found[0], found[1], found[2]) if found else None

    def replace_place(self, tid: int, keys: Iterable[Key], place: int) -> None:
        """Rows with these keys are in another place now, in the slots they had."""
        self._db.run_many(
            "UPDATE keys SET place = ? WHERE tid = ? AND key = ?",
            ((place, tid, key) for key in keys),
        )

    def remove_segment(self, tid: int, place: int) -> None:
        """A segment leaves, with all keys that are still in it; its objects become garbage."""
        found = self._db.one("SELECT manifest FROM segments WHERE id = ?", (place,))
        if found is None:
            return
        self.discard(cb.SegmentManifest.FromString(found[0]).objects)
        self._db.run("DELETE FROM segments WHERE id = ?", (place,))
        self._db.run("DELETE FROM liveness WHERE place = ?", (place,))
        self.indexes.forget_place(tid, place)
        self.changes.touch(tid, place)

    def discard(self, objects: Iterable[cb.ObjectRef]) -> None:
        """Objects leave the state; their files stay while a rebuild or a reader may want them."""
        refs = list(objects)
        self.discarded += sum(ref.size for ref in refs)
        self._db.run_many(
            "INSERT OR REPLACE INTO garbage VALUES (?, ?, ?)",
            ((ref.object_id, self.position, ref.size) for ref in refs),
        )


def manifest_of(batch: cb.Batch, segment: pb.NewSegment) -> cb.SegmentManifest:
    """A segment of a batch as the state keeps it."""
    wanted = {segment.public_object, segment.sealed_object}
    wanted.update(encoding.object_id for encoding in segment.encodings)
    refs = [ref for ref in batch.objects if ref.object_id in wanted]
    version = batch.request.schema_version
    return cb.SegmentManifest(segment=segment, objects=refs, schema_version=version)


def live_bits(rows: int, slots: Sequence[int]) -> bytes:
    """Liveness of ``rows`` slots of which ``slots`` are alive; empty when all are."""
    if len(slots) == rows:
        return b""
    alive = np.zeros(rows, dtype=np.bool_)
    alive[list(slots)] = True
    return np.packbits(alive, bitorder="little").tobytes()


def signed(value: int) -> int:
    """An unsigned 64-bit number as SQLite keeps it."""
    return value - (1 << 64) if value >= 1 << 63 else value


def unsigned(value: int) -> int:
    """The unsigned 64-bit number that SQLite keeps as ``value``."""
    return value + (1 << 64) if value < 0 else value
