"""The state: a pure function of the commands so far, kept in SQLite.

Keys, liveness, tail rows, manifests, schemas, keysets, request ids with their replies and the
applied position. In a directory it is a file of its own, whose pages have MACs; after a crash it
is at some applied position that the log reaches, or it is made again from a snapshot and the log.
It is never a source of truth: whatever a disk does to it, the checksummed log decides.

One thread at a time uses it. What changes something runs inside ``command``, inside a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from amaters.base.errors import AmatersError, fail
from amaters.storage import index_reader, manifests, places, rekeying
from amaters.storage.index_reader import IndexRow
from amaters.storage.places import Places, unsigned
from amaters.storage.rows import BatchRows
from amaters.storage.sqlite import Connection, page_key
from amaters.storage.versions import SegmentRow, TableRow, TableVersion, TailBlock
from amaters.wire import blocks
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

T = TypeVar("T")
PlaceT = TypeVar("PlaceT", SegmentRow, TailBlock)
REQUESTS_KEPT = 20_000
REQUESTS_SWEPT = 64  # older ones are deleted at positions that are a multiple of this
GARBAGE_SHARE = 4  # so many bytes of garbage call for a snapshot like one byte of log
STATE_VERSION = 1
_SCHEMA = f"""
CREATE TABLE applied (position INTEGER NOT NULL, logged INTEGER NOT NULL);
INSERT INTO applied VALUES (0, 0);
CREATE TABLE keysets (keyset_id BLOB, key_id BLOB, parameter_set TEXT, scheme TEXT, object BLOB,
    PRIMARY KEY (key_id, parameter_set, scheme));
CREATE TABLE tables (id INTEGER PRIMARY KEY AUTOINCREMENT, table_id BLOB UNIQUE, name TEXT UNIQUE,
    schema BLOB, top_key INTEGER DEFAULT 0, tail_version INTEGER DEFAULT 0,
    tail_rows INTEGER DEFAULT 0);
CREATE TABLE requests (position INTEGER PRIMARY KEY, request_id BLOB UNIQUE, digest BLOB,
    reply BLOB);
PRAGMA user_version = {STATE_VERSION};
"""
_SEGMENTS = (
    "SELECT id, manifest, live, version, bits FROM segments JOIN liveness ON place = id WHERE "
)
_TAILS = (
    "SELECT id, rows, live, version, public, sealed, bits FROM tails "
    "JOIN liveness ON place = -id WHERE "
)


class State(Places):
    """See the module. Methods raise what ``sqlite.Connection`` raises."""

    def __init__(self, db: Connection) -> None:
        super().__init__(db)
        self.db = db

    @classmethod
    def memory(cls) -> State:
        """An empty state that ends with its process."""
        return cls._made(Connection())

    @classmethod
    def create(cls, path: Path, database_id: bytes, vfs: str | None = None) -> State:
        """An empty state in a new file."""
        state = cls._made(Connection(path, page_key(database_id), vfs=vfs))
        state.db.checkpoint(whole=True)
        return state

    @classmethod
    def _made(cls, db: Connection) -> State:
        db.run("BEGIN")
        for statement in (_SCHEMA + places.SCHEMA + index_reader.SCHEMA).split(";"):
            if statement.strip():
                db.run(statement)
        db.run("COMMIT")
        return cls(db)

    @classmethod
    def open(cls, path: Path, database_id: bytes, vfs: str | None = None) -> State:
        """The state in an existing file. Raises: AM-4006, AM-4011 and as the connection."""
        if not path.exists():
            fail("AM-4011", file=path.name, what="it is missing")
        db = Connection(path, page_key(database_id), vfs=vfs)
        try:
            found = db.one("PRAGMA user_version") or (0,)
            if found[0] > STATE_VERSION:
                fail("AM-4006", file=path.name, found=found[0], known=STATE_VERSION)
            if found[0] == 0:
                fail("AM-4011", file=path.name, what="it is empty")
        except BaseException:
            db.close()
            raise
        return cls(db)

    def close(self) -> None:
        self.db.close()

    @property
    def broken(self) -> AmatersError | None:
        """Why this state can be changed no more: its file failed, or is damaged."""
        return self.db.broken

    # ---- groups and commands -----------------------------------------------------------------

    def begin(self) -> None:
        """Start a group of commands; ``changes`` counts from here."""
        self.changes.clear()
        self.discarded = 0
        self.db.run("BEGIN IMMEDIATE")

    def commit(self, position: int, logged: int) -> int:
        """Keep the group's effects; it ends at ``position`` and took ``logged`` bytes of log. What
        that adds to ``logged``, for there may be garbage.
        """
        logged += self.discarded // GARBAGE_SHARE
        self.db.run(
            "UPDATE applied SET position = ?, logged = logged + ?",
            (position, logged),
        )
        self.db.run("COMMIT")
        return logged

    def rollback(self) -> None:
        """Undo the group, if it is still open. A state that cannot is ``broken``."""
        if self.db.in_transaction:
            with suppress(AmatersError):
                self.db.run("ROLLBACK")

    @contextmanager
    def command(self, position: int) -> Iterator[None]:
        """All effects of the command at ``position``, or none."""
        self.position = position
        self.db.run("SAVEPOINT command")
        try:
            yield
        except BaseException:
            if self.broken is None:
                self.db.run("ROLLBACK TO command")
                self.db.run("RELEASE command")
            raise
        self.db.run("RELEASE command")

    @property
    def applied(self) -> int:
        """Position of the last command whose effects are here."""
        return self._numbers()[0]

    @property
    def logged(self) -> int:
        """Bytes of log up to ``applied``, rows counted as ``database.ROW_DEBT``."""
        return self._numbers()[1]

    def _numbers(self) -> tuple[int, int]:
        found = self.db.one("SELECT position, logged FROM applied")
        if found is None:
            fail("AM-4011", file="state", what="it has no position")
        return int(found[0]), int(found[1])

    # ---- requests ----------------------------------------------------------------------------

    def reply_of(self, request_id: bytes, digest: bytes) -> bytes | None:
        """The reply an earlier request of this id got. Raises: AM-3035 if it was another one."""
        query = "SELECT digest, reply FROM requests WHERE request_id = ?"
        row = self.db.one(query, (request_id,))
        if row is None:
            return None
        if row[0] != digest:
            fail("AM-3035")
        return bytes(row[1])

    def remember(self, position: int, command: cb.Command, reply: bytes) -> None:
        """Keep a reply for repeats of its request."""
        if not command.request_id:
            return
        self.db.run(
            "INSERT INTO requests VALUES (?, ?, ?, ?)",
            (position, command.request_id, command.request_digest, reply),
        )
        if position % REQUESTS_SWEPT == 0:
            self.db.run("DELETE FROM requests WHERE position <= ?", (position - REQUESTS_KEPT,))

    # ---- keysets and schemas -----------------------------------------------------------------

    def keyset_id(self) -> bytes:
        """The keyset this database belongs to; empty before the first one."""
        return rekeying.keyset_ids(self.db)[0]

    def rotating_to(self) -> bytes:
        """The keyset it is being rotated to; empty: none."""
        return rekeying.keyset_ids(self.db)[1]

    def keyset(self, name: pb.KeyName) -> cb.ObjectRef | None:
        """The evaluation keys of a secret key, or what leads to it from another."""
        row = self.db.one(
            "SELECT object FROM keysets WHERE key_id = ? AND parameter_set = ? AND scheme = ?",
            (name.key_id, name.parameter_set, rekeying.stored_scheme(name)),
        )
        return cb.ObjectRef.FromString(row[0]) if row else None

    def put_keyset(self, put: cb.KeysetPut) -> None:
        name = put.name
        old = self.keyset(name)
        if old is not None and old.object_id != put.object.object_id:
            self.discard([old])
        self.db.run(
            "INSERT OR REPLACE INTO keysets VALUES (?, ?, ?, ?, ?)",
            (
                name.keyset_id,
                name.key_id,
                name.parameter_set,
                rekeying.stored_scheme(name),
                put.object.SerializeToString(),
            ),
        )

    def tables(self) -> list[TableRow]:
        rows = self.db.all("SELECT id, schema, top_key, tail_version FROM tables ORDER BY id")
        return [TableRow(r[0], pb.SchemaRecord.FromString(r[1]), r[2], r[3]) for r in rows]

    def tid(self, table_id: bytes) -> int:
        """The number of a table. Raises: AM-4012 when there is none of this id."""
        found = self.db.one("SELECT id FROM tables WHERE table_id = ?", (table_id,))
        if found is None:
            fail("AM-4012", what="it is for a table that is not there")
        return int(found[0])

    def create_table(self, schema: pb.SchemaRecord) -> None:
        tid = self.db.insert(
            "INSERT INTO tables (table_id, name, schema) VALUES (?, ?, ?)",
            (schema.table_id, schema.name, schema.SerializeToString()),
        )
        self.indexes.follow_schema(tid, schema)
        self.changes.tables.add(tid)

    def drop_table(self, tid: int) -> None:
        for (manifest,) in self.db.all("SELECT manifest FROM segments WHERE tid = ?", (tid,)):
            self.discard(cb.SegmentManifest.FromString(manifest).objects)
        for statement in (
            "DELETE FROM liveness WHERE place IN (SELECT id FROM segments WHERE tid = ?)",
            "DELETE FROM liveness WHERE place IN (SELECT -id FROM tails WHERE tid = ?)",
            "DELETE FROM keys WHERE tid = ?",
            "DELETE FROM segments WHERE tid = ?",
            "DELETE FROM tails WHERE tid = ?",
            "DELETE FROM tables WHERE id = ?",
        ):
            self.db.run(statement, (tid,))
        self.indexes.drop_table(tid)
        self.changes.tables.add(tid)

    def update_schema(self, tid: int, schema: pb.SchemaRecord) -> None:
        (old,) = self.db.one("SELECT schema FROM tables WHERE id = ?", (tid,)) or (b"",)
        before = manifests.encoding_names(pb.SchemaRecord.FromString(old))
        manifests.drop_encodings(self, self.db, tid, before - manifests.encoding_names(schema))
        self.db.run(
            "UPDATE tables SET schema = ?, name = ? WHERE id = ?",
            (schema.SerializeToString(), schema.name, tid),
        )
        self.indexes.follow_schema(tid, schema)
        self.changes.tables.add(tid)

    def rekey_segment(self, made: cb.SegmentRekey) -> None:
        """A segment gets what it will be under another key."""
        rekeying.apply_rekey(self, self.db, self.tid(made.table_id), made)

    def switch_keys(self, switch: cb.KeySwitch, rows: BatchRows | None) -> None:
        """A table changes keys: tail, segments, schema."""
        tid = self.tid(switch.schema.table_id)
        if rows is not None:
            self.apply_batch(tid, switch.tail, rows)
        rekeying.apply_switch(self, self.db, tid, switch)
        self.update_schema(tid, switch.schema)

    def end_rotation(self, end: cb.RotationEnd) -> None:
        """Keys of other keysets are forgotten."""
        rekeying.apply_end(self, self.db, end)

    def encode_segment(self, encode: cb.SegmentEncode) -> None:
        """A segment gets encodings that its schema waits for."""
        manifests.add_encodings(self, self.db, self.tid(encode.table_id), encode)

    # ---- indexes -----------------------------------------------------------------------------

    def build_index(self, tid: int, build: cb.IndexBuild, rows: BatchRows) -> None:
        """A slice of an online build; ``rows``: the blocks of its segments."""
        segments = iter(rows.parts)
        given: dict[tuple[int, int], blocks.Block] = {}
        for place in build.places:
            block = next(segments).block if place > 0 else self._tail_block(place)
            if block is not None:
                given[place, self._first_slot(place)] = block
        self.indexes.build(tid, build.number, given, self.alive_among)
        self.changes.tables.add(tid)

    def _tail_block(self, place: int) -> blocks.Block | None:
        found = self.db.one("SELECT public FROM tails WHERE id = ?", (-place,))
        return blocks.decode_block(found[0]) if found else None

    def _first_slot(self, place: int) -> int:
        found = self.db.one("SELECT manifest FROM segments WHERE id = ?", (place,))
        return cb.SegmentManifest.FromString(found[0]).segment.first_slot if found else 0

    def register_index(self, wanted: cb.IndexRegister) -> None:
        """An index beside those of the schema comes, or goes (no columns)."""
        tid = self.tid(wanted.table_id)
        self.indexes.drop_index(tid, wanted.number)
        if wanted.columns:
            index = IndexRow(wanted.number, wanted.name, tuple(wanted.columns), wanted.unique)
            self.indexes.register_index(tid, index)
        self.changes.tables.add(tid)

    # ---- reading -----------------------------------------------------------------------------

    def version(
        self, tid: int, position: int, before: TableVersion | None = None
    ) -> TableVersion | None:
        """A table as it is now; None when it was dropped. ``before``: as it was when the open
        group began; then only what the group changed is read.
        """
        query = "SELECT schema, top_key, tail_version, tail_rows FROM tables WHERE id = ?"
        row = self.db.one(query, (tid,))
        if row is None:
            return None
        if before is None:
            segments, tail = tuple(self.segments(tid)), tuple(self.tail(tid))
            size = sum(block.size for block in tail)
        else:
            touched = self.changes.places.get(tid, set())
            segments = self._merged_segments(before.segments, {p for p in touched if p > 0})
            tail, grown = self._merged_tail(before.tail, {-p for p in touched if p < 0})
            size = before.tail_bytes + grown
        schema = pb.SchemaRecord.FromString(row[0])
        numbers, indexes = (row[1], row[2], position), self.indexes.indexes(tid)
        return TableVersion(tid, schema, *numbers, segments, tail, indexes, row[3], size)

    def _merged_segments(
        self, before: tuple[SegmentRow, ...], touched: set[int]
    ) -> tuple[SegmentRow, ...]:
        """``before`` with what was touched read again; ids grow, so that new ones come last."""
        last = before[-1].sid if before else 0
        again = [(sid,) for sid in sorted(touched & self.changes.manifests) if sid <= last]
        fresh = {row[0]: _segment(row) for row in self.db.all_of(_SEGMENTS + "id = ?", again)}
        now = self._liveness([sid for sid in touched if sid <= last])
        if now:
            kept = (row for row in before if now.get(row.sid, ()) is not None)
            before = tuple(fresh.get(row.sid) or _now(row, now.get(row.sid)) for row in kept)
        added = [(sid,) for sid in sorted(touched) if sid > last]
        rows = self.db.all_of(_SEGMENTS + "id = ?", added)
        return before + tuple(_segment(row) for row in rows) if rows else before

    def _merged_tail(
        self, before: tuple[TailBlock, ...], touched: set[int]
    ) -> tuple[tuple[TailBlock, ...], int]:
        """The blocks, and how many bytes more they are than ``before``."""
        last, grown = before[-1].bid if before else 0, 0
        now = self._liveness([-bid for bid in touched if bid <= last])
        if now:
            gone = {-place for place, there in now.items() if there is None}
            grown = -sum(block.size for block in before if block.bid in gone)
            kept = (block for block in before if block.bid not in gone)
            before = tuple(_now(block, now.get(-block.bid)) for block in kept)
        added = [(bid,) for bid in sorted(touched) if bid > last]
        new = tuple(_tail(row) for row in self.db.all_of(_TAILS + "id = ?", added))
        return before + new, grown + sum(block.size for block in new)

    def _liveness(self, wanted: list[int]) -> dict[int, tuple[int, bytes] | None]:
        """Live rows and bits of places that were there before; None of those that are gone."""
        query = "SELECT place, live, bits FROM liveness WHERE place = ?"
        found = {row[0]: row[1:] for row in self.db.all_of(query, _singles(wanted))}
        return {place: found.get(place) for place in wanted}

    def segments(self, tid: int) -> list[SegmentRow]:
        return [_segment(row) for row in self.db.all(_SEGMENTS + "tid = ? ORDER BY id", (tid,))]

    def tail(self, tid: int) -> list[TailBlock]:
        return [_tail(row) for row in self.db.all(_TAILS + "tid = ? ORDER BY id", (tid,))]

    # ---- objects -----------------------------------------------------------------------------

    def object_ids(self) -> set[bytes]:
        """Every object whose file must stay: what the state names, and what waits as garbage."""
        return object_ids(self.db)

    def garbage(self, position: int) -> list[tuple[bytes, int]]:
        """Id and size of objects that left the state at ``position`` or before."""
        query = "SELECT object_id, size FROM garbage WHERE position <= ?"
        return [(bytes(row[0]), int(row[1])) for row in self.db.all(query, (position,))]

    def garbage_after(self, position: int) -> bool:
        """Whether objects left the state after ``position``."""
        query = "SELECT 1 FROM garbage WHERE position > ? LIMIT 1"
        return self.db.one(query, (position,)) is not None

    def forget_garbage(self, ids: Sequence[bytes]) -> None:
        """Their files are gone. Between groups; not a command: a rebuild finds them again."""
        self.db.run("BEGIN IMMEDIATE")
        self.db.run_many("DELETE FROM garbage WHERE object_id = ?", _singles(ids))
        self.db.run("COMMIT")


def _singles(values: Iterable[T]) -> Iterator[tuple[T]]:
    return ((value,) for value in values)


def _now(place: PlaceT, alive: tuple[int, bytes] | None) -> PlaceT:
    return place if alive is None else replace(place, live=alive[0], live_bits=alive[1])


def _segment(row: tuple[int, bytes, int, int, bytes]) -> SegmentRow:
    manifest = cb.SegmentManifest.FromString(row[1])
    return SegmentRow(row[0], manifest, row[2], unsigned(row[3]), row[4])


def _tail(row: tuple[int, int, int, int, bytes, bytes, bytes]) -> TailBlock:
    return TailBlock(row[0], row[1], row[2], unsigned(row[3]), *row[4:])


def object_ids(db: Connection) -> set[bytes]:
    """Every object whose file must stay, on any connection: named, or waiting as garbage."""
    found = {bytes(row[0]) for row in db.each("SELECT object_id FROM garbage")}
    for (data,) in db.each("SELECT object FROM keysets"):
        found.add(cb.ObjectRef.FromString(data).object_id)
    for (data,) in db.each("SELECT manifest FROM segments"):
        found.update(ref.object_id for ref in cb.SegmentManifest.FromString(data).objects)
    return found
