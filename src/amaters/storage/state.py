"""The state: a pure function of the commands so far, kept in SQLite.

Keys, liveness, tail rows, manifests, schemas, keysets, request ids with their replies and the
applied position. It lives in memory, is rebuilt from checkpoint and log at open, and is therefore
never a source of truth: whatever a disk does to it, the checksummed log and checkpoint decide. One
thread uses it.

A row lies in a *place*: a segment (its rowid in ``segments``, positive) or a block of tail rows
(minus its rowid in ``tails``). All rows of a place have the version of the batch that made it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from amaters.base.errors import fail
from amaters.storage.rows import REMOVED, TAIL, BatchRows, Key
from amaters.storage.versions import SegmentRow, TableRow, TableVersion, TailBlock, live_slots
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

REQUESTS_KEPT = 20_000
CONFLICTS_MAX = 4096
_SCHEMA = """
CREATE TABLE applied (position INTEGER NOT NULL);
INSERT INTO applied VALUES (0);
CREATE TABLE keysets (keyset_id BLOB, key_id BLOB, parameter_set TEXT, scheme TEXT, object BLOB,
    PRIMARY KEY (key_id, parameter_set, scheme));
CREATE TABLE tables (id INTEGER PRIMARY KEY AUTOINCREMENT, table_id BLOB UNIQUE, name TEXT UNIQUE,
    schema BLOB, top_key INTEGER DEFAULT 0, tail_version INTEGER DEFAULT 0);
CREATE TABLE segments (id INTEGER PRIMARY KEY AUTOINCREMENT, tid INTEGER, segment_id BLOB UNIQUE,
    rows INTEGER, live INTEGER, version INTEGER, manifest BLOB, liveness BLOB);
CREATE INDEX segments_tid ON segments (tid);
CREATE TABLE tails (id INTEGER PRIMARY KEY AUTOINCREMENT, tid INTEGER, rows INTEGER, live INTEGER,
    version INTEGER, public BLOB, sealed BLOB, liveness BLOB);
CREATE INDEX tails_tid ON tails (tid);
CREATE TABLE keys (tid INTEGER, key, place INTEGER, slot INTEGER, PRIMARY KEY (tid, key))
    WITHOUT ROWID;
CREATE TABLE requests (position INTEGER PRIMARY KEY, request_id BLOB UNIQUE, digest BLOB,
    reply BLOB);
"""
_STAGED = "CREATE TEMP TABLE staged (key PRIMARY KEY, part INTEGER, row INTEGER) WITHOUT ROWID"


class State:
    """See the module. What changes something runs inside ``command``, inside a group."""

    def __init__(self, image: bytes | None = None) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        if image is None:
            self._db.executescript(_SCHEMA)
        else:
            self._load(image)
        self._db.execute(_STAGED)
        self.changed: set[int] = set()  # tables that the open group changed

    def _load(self, image: bytes) -> None:
        # A deserialised database cannot grow past SQLite's compiled-in limit, a copy of it can.
        source = sqlite3.connect(":memory:")
        try:
            source.deserialize(image)
            source.backup(self._db)
        finally:
            source.close()

    def image(self) -> bytes:
        """The whole state as bytes, for a checkpoint."""
        return self._db.serialize()

    def close(self) -> None:
        self._db.close()

    def begin(self) -> None:
        """Start a group of commands; ``changed`` counts from here."""
        self.changed.clear()
        self._db.execute("BEGIN")

    def commit(self) -> None:
        """Keep the group's effects."""
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the group."""
        self._db.execute("ROLLBACK")

    @contextmanager
    def command(self, position: int) -> Iterator[None]:
        """All effects of the command at ``position``, or none; inside a group."""
        self._db.execute("SAVEPOINT command")
        try:
            yield
            self._db.execute("UPDATE applied SET position = ?", (position,))
        except BaseException:
            self._db.execute("ROLLBACK TO command")
            raise
        finally:
            self._db.execute("RELEASE command")

    @property
    def applied(self) -> int:
        """Position of the last command whose effects are here."""
        return int(self._db.execute("SELECT position FROM applied").fetchone()[0])

    # ---- requests ----------------------------------------------------------------------------

    def reply_of(self, request_id: bytes, digest: bytes) -> bytes | None:
        """The reply an earlier request of this id got. Raises: AM-3035 if it was another one."""
        row = self._db.execute(
            "SELECT digest, reply FROM requests WHERE request_id = ?", (request_id,)
        ).fetchone()
        if row is None:
            return None
        if row[0] != digest:
            fail("AM-3035")
        return bytes(row[1])

    def remember(self, position: int, command: cb.Command, reply: bytes) -> None:
        """Keep a reply for repeats of its request."""
        if not command.request_id:
            return
        self._db.execute(
            "INSERT INTO requests VALUES (?, ?, ?, ?)",
            (position, command.request_id, command.request_digest, reply),
        )
        self._db.execute("DELETE FROM requests WHERE position <= ?", (position - REQUESTS_KEPT,))

    # ---- keysets and schemas -----------------------------------------------------------------

    def keyset_id(self) -> bytes:
        """The keyset this database belongs to; empty before the first one."""
        row = self._db.execute("SELECT keyset_id FROM keysets LIMIT 1").fetchone()
        return bytes(row[0]) if row else b""

    def keyset(self, name: pb.KeyName) -> cb.ObjectRef | None:
        """The evaluation keys of a secret key."""
        row = self._db.execute(
            "SELECT object FROM keysets WHERE key_id = ? AND parameter_set = ? AND scheme = ?",
            (name.key_id, name.parameter_set, name.scheme),
        ).fetchone()
        return cb.ObjectRef.FromString(row[0]) if row else None

    def put_keyset(self, put: cb.KeysetPut) -> None:
        name = put.name
        self._db.execute(
            "INSERT OR REPLACE INTO keysets VALUES (?, ?, ?, ?, ?)",
            (
                name.keyset_id,
                name.key_id,
                name.parameter_set,
                name.scheme,
                put.object.SerializeToString(),
            ),
        )

    def tables(self) -> list[TableRow]:
        rows = self._db.execute(
            "SELECT id, schema, top_key, tail_version FROM tables ORDER BY id"
        ).fetchall()
        return [TableRow(r[0], pb.SchemaRecord.FromString(r[1]), r[2], r[3]) for r in rows]

    def create_table(self, schema: pb.SchemaRecord) -> None:
        self._db.execute(
            "INSERT INTO tables (table_id, name, schema) VALUES (?, ?, ?)",
            (schema.table_id, schema.name, schema.SerializeToString()),
        )
        self.changed.add(int(self._db.execute("SELECT last_insert_rowid()").fetchone()[0]))

    def drop_table(self, tid: int) -> None:
        for statement in (
            "DELETE FROM keys WHERE tid = ?",
            "DELETE FROM segments WHERE tid = ?",
            "DELETE FROM tails WHERE tid = ?",
            "DELETE FROM tables WHERE id = ?",
        ):
            self._db.execute(statement, (tid,))
        self.changed.add(tid)

    def update_schema(self, tid: int, schema: pb.SchemaRecord) -> None:
        self._db.execute(
            "UPDATE tables SET schema = ?, name = ? WHERE id = ?",
            (schema.SerializeToString(), schema.name, tid),
        )
        self.changed.add(tid)

    # ---- reading -----------------------------------------------------------------------------

    def version(self, tid: int, position: int) -> TableVersion | None:
        """A table as it is now; None when it was dropped."""
        row = next((row for row in self.tables() if row.tid == tid), None)
        if row is None:
            return None
        segments, tail = tuple(self.segments(tid)), tuple(self.tail(tid))
        return TableVersion(
            tid, row.schema, row.top_key, row.tail_version, position, segments, tail
        )

    def segments(self, tid: int) -> list[SegmentRow]:
        rows = self._db.execute(
            "SELECT id, manifest, live, version, liveness FROM segments WHERE tid = ? ORDER BY id",
            (tid,),
        ).fetchall()
        return [
            SegmentRow(r[0], cb.SegmentManifest.FromString(r[1]), r[2], _unsigned(r[3]), r[4])
            for r in rows
        ]

    def tail(self, tid: int) -> list[TailBlock]:
        rows = self._db.execute(
            "SELECT id, rows, live, version, public, sealed, liveness FROM tails WHERE tid = ? "
            "ORDER BY id",
            (tid,),
        ).fetchall()
        return [TailBlock(r[0], r[1], r[2], _unsigned(r[3]), *r[4:]) for r in rows]

    def tail_rows(self, tid: int) -> int:
        """Live rows of the tail."""
        query = "SELECT coalesce(sum(live), 0) FROM tails WHERE tid = ?"
        return int(self._db.execute(query, (tid,)).fetchone()[0])

    def object_ids(self) -> set[bytes]:
        """Every object the state names."""
        found = set()
        for (data,) in self._db.execute("SELECT object FROM keysets"):
            found.add(cb.ObjectRef.FromString(data).object_id)
        for (data,) in self._db.execute("SELECT manifest FROM segments"):
            found.update(ref.object_id for ref in cb.SegmentManifest.FromString(data).objects)
        return found

    # ---- batches -----------------------------------------------------------------------------

    def places(self, tid: int, keys: Sequence[Key]) -> dict[Key, tuple[int, int]]:
        """Place and slot of those of ``keys`` that have a live row."""
        return self._places(tid, keys)

    def conflicts(self, tid: int, rows: BatchRows) -> list[pb.KeyConflict]:
        """Existing rows in the way of a batch; changes nothing."""
        found = []
        places = self._places(tid, [key for key, _ in rows.removed])
        for index, (key, version) in enumerate(rows.removed):
            place = places.get(key)
            there = self._version(place[0]) if place else 0
            if there != version:
                found.append(self._conflict(REMOVED, index, place))
        going = {key for key, _ in rows.removed} | {key for key, _ in rows.moved}
        for part, row, key, place_id, slot in self._staged_conflicts(tid, rows):
            if key not in going:
                found.append(self._conflict(part, row, (place_id, slot)))
        return found[:CONFLICTS_MAX]

    def _staged_conflicts(self, tid: int, rows: BatchRows) -> list[tuple[int, int, Key, int, int]]:
        self._db.execute("DELETE FROM staged")
        self._db.execute("SAVEPOINT staging")
        for part in rows.parts:
            number = part.part
            self._db.executemany(
                "INSERT INTO staged VALUES (?, ?, ?)",
                ((key, number, row) for row, key in enumerate(part.keys)),
            )
        self._db.execute("RELEASE staging")
        return self._db.execute(
            "SELECT s.part, s.row, s.key, k.place, k.slot FROM staged s "
            "CROSS JOIN keys k ON k.tid = ? AND k.key = s.key ORDER BY s.part, s.row",
            (tid,),
        ).fetchall()

    def _places(self, tid: int, keys: Sequence[Key]) -> dict[Key, tuple[int, int]]:
        found = {}
        for key in keys:
            row = self._db.execute(
                "SELECT place, slot FROM keys WHERE tid = ? AND key = ?", (tid, key)
            ).fetchone()
            if row:
                found[key] = (int(row[0]), int(row[1]))
        return found

    def _version(self, place: int) -> int:
        table = "segments" if place > 0 else "tails"
        query = f"SELECT version FROM {table} WHERE id = ?"
        return _unsigned(self._db.execute(query, (abs(place),)).fetchone()[0])

    def _conflict(self, part: int, row: int, place: tuple[int, int] | None) -> pb.KeyConflict:
        if place is None:
            return pb.KeyConflict(new_segment=part, new_row=row)
        conflict = pb.KeyConflict(
            new_segment=part, new_row=row, slot=place[1], version=self._version(place[0])
        )
        if place[0] > 0:
            query = "SELECT segment_id FROM segments WHERE id = ?"
            conflict.segment_id = self._db.execute(query, (place[0],)).fetchone()[0]
        return conflict

    def apply_batch(self, tid: int, batch: cb.Batch, rows: BatchRows) -> None:
        """The effects of a batch that has no conflicts."""
        self.changed.add(tid)
        request = batch.request
        stays_dead = self._vacate(tid, rows)
        version = _signed(request.row_version)
        for part in rows.parts:
            slots = [s for s, key in enumerate(part.keys) if key not in stays_dead]
            bits = b"" if len(slots) == len(part.keys) else _bits(len(part.keys), slots)
            if part.part == TAIL:
                place = -self._add_tail(tid, request.tail, version)
            else:
                place = self._add_segment(tid, batch, part.part, version, (len(slots), bits))
            keys = part.keys
            self._db.executemany(
                "INSERT INTO keys VALUES (?, ?, ?, ?)",
                ((tid, keys[slot], place, slot) for slot in slots),
            )
        self._db.execute(
            "UPDATE tables SET top_key = max(top_key, ?) WHERE id = ?",
            (min(rows.top_key, (1 << 63) - 1), tid),
        )

    def _vacate(self, tid: int, rows: BatchRows) -> set[Key]:
        """Remove the rows that go; returns moved keys that changed since and stay dead."""
        places = self._places(tid, [key for key, _ in (*rows.removed, *rows.moved)])
        stays_dead = set()
        going = [(key, places[key]) for key, _ in rows.removed]
        for key, version in rows.moved:
            place = places.get(key)
            if place is None or place[0] > 0 or self._version(place[0]) != version:
                stays_dead.add(key)
            else:
                going.append((key, place))
        self._db.executemany(
            "DELETE FROM keys WHERE tid = ? AND key = ?", ((tid, key) for key, _ in going)
        )
        by_place: dict[int, list[int]] = {}
        for _, (place_id, slot) in going:
            by_place.setdefault(place_id, []).append(slot)
        for place_id, slots in by_place.items():
            self._kill(place_id, slots)
        if any(place_id < 0 for place_id in by_place):
            self._touch_tail(tid)
        return stays_dead

    def _kill(self, place: int, slots: Iterable[int]) -> None:
        table = "segments" if place > 0 else "tails"
        rows, bits = self._db.execute(
            f"SELECT rows, liveness FROM {table} WHERE id = ?", (abs(place),)
        ).fetchone()
        alive = live_slots(rows, bits)
        alive[list(slots)] = False
        live = int(alive.sum())
        if place < 0 and live == 0:
            self._db.execute("DELETE FROM tails WHERE id = ?", (-place,))
            return
        self._db.execute(
            f"UPDATE {table} SET liveness = ?, live = ? WHERE id = ?",
            (np.packbits(alive, bitorder="little").tobytes(), live, abs(place)),
        )

    def _add_tail(self, tid: int, tail: pb.TailRows, version: int) -> int:
        cursor = self._db.execute(
            "INSERT INTO tails (tid, rows, live, version, public, sealed, liveness) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (tid, tail.rows, tail.rows, version, tail.public_block, tail.sealed_pack, b""),
        )
        self._touch_tail(tid)
        return int(cursor.lastrowid or 0)

    def _touch_tail(self, tid: int) -> None:
        self._db.execute("UPDATE tables SET tail_version = tail_version + 1 WHERE id = ?", (tid,))

    def _add_segment(
        self, tid: int, batch: cb.Batch, part: int, version: int, alive: tuple[int, bytes]
    ) -> int:
        segment = batch.request.segments[part]
        wanted = {segment.public_object, segment.sealed_object}
        wanted.update(encoding.object_id for encoding in segment.encodings)
        refs = [ref for ref in batch.objects if ref.object_id in wanted]
        manifest = cb.SegmentManifest(segment=segment, objects=refs)
        cursor = self._db.execute(
            "INSERT INTO segments (tid, segment_id, rows, live, version, manifest, liveness) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                tid,
                segment.segment_id,
                segment.rows,
                alive[0],
                version,
                manifest.SerializeToString(),
                alive[1],
            ),
        )
        return int(cursor.lastrowid or 0)


def _bits(rows: int, slots: Sequence[int]) -> bytes:
    alive = np.zeros(rows, dtype=np.bool_)
    alive[slots] = True
    return np.packbits(alive, bitorder="little").tobytes()


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _unsigned(value: int) -> int:
    return value + (1 << 64) if value < 0 else value
