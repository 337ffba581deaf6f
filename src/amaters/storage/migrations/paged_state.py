"""Format 1 to 2: checkpoint and log become a state in pages with MACs, and a first snapshot.

The whole log is replayed here, by the rule of format 1: a dropped table's objects went at once, so
batches of tables that are dropped further on have nothing to say.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from amaters.storage.apply import decode_command, rows_of
from amaters.storage.commitlog.core import SegmentLog
from amaters.storage.commitlog.devices import LogOptions
from amaters.storage.commitlog.segments import Record
from amaters.storage.migrations.context import MigrationContext
from amaters.storage.migrations.first_state import read_checkpoint
from amaters.storage.objects import FileObjects
from amaters.storage.recovery import replay
from amaters.storage.rows import BatchRows, CommandRows
from amaters.storage.snapshots import Image, LocalFiles, Snapshots
from amaters.storage.sqlite import Connection, page_key
from amaters.storage.state import State
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

_COPIED = (
    ("SELECT * FROM keysets", "INSERT INTO keysets VALUES (?, ?, ?, ?, ?)"),
    (
        "SELECT id, table_id, name, schema, top_key, tail_version, "
        "(SELECT coalesce(sum(live), 0) FROM tails WHERE tid = tables.id) FROM tables",
        "INSERT INTO tables VALUES (?, ?, ?, ?, ?, ?, ?)",
    ),
    (
        "SELECT id, tid, segment_id, version, rows, manifest FROM segments",
        "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?)",
    ),
    (
        "SELECT id, tid, version, rows, public, sealed FROM tails",
        "INSERT INTO tails VALUES (?, ?, ?, ?, ?, ?)",
    ),
    ("SELECT id, live, liveness FROM segments", "INSERT INTO liveness VALUES (?, ?, ?)"),
    ("SELECT -id, live, liveness FROM tails", "INSERT INTO liveness VALUES (?, ?, ?)"),
    ("SELECT * FROM keys", "INSERT INTO keys VALUES (?, ?, ?, ?)"),
    ("SELECT * FROM requests", "INSERT INTO requests VALUES (?, ?, ?, ?)"),
)


def run(context: MigrationContext) -> None:
    """Stage the new state and its snapshot."""
    position, image = read_checkpoint(context.path, context.disk, context.database_id)
    folder = context.staging / "state"
    context.disk.make_directory(folder)
    path = folder / "state.db"
    with closing(State.create(path, context.database_id)) as state:
        _copy(state, position, image)
        _replay(context, state)
        state.db.checkpoint(whole=True)
        frozen = Image(
            path, state.applied, state.logged, context.disk, lambda: _still(path, context)
        )
        files = LocalFiles(context.staging / "snapshots", context.disk)
        Snapshots(files, context.database_id).take(frozen, lambda: None)
    for suffix in ("-wal", "-shm"):
        context.disk.remove(path.with_name(f"{path.name}{suffix}"))
    context.commit(context.path.glob("*.checkpoint"))


def _still(path: Path, context: MigrationContext) -> Connection:
    return Connection(path, page_key(context.database_id), writes=False, frozen=True)


def _copy(state: State, position: int, image: bytes) -> None:
    with closing(sqlite3.connect(":memory:")) as old:
        old.deserialize(image)
        state.begin()
        for query, statement in _COPIED:
            state.db.run_many(statement, old.execute(query))
        for tid, schema in old.execute("SELECT id, schema FROM tables"):
            state.indexes.follow_schema(tid, pb.SchemaRecord.FromString(schema))
        state.commit(position, 0)


def _replay(context: MigrationContext, state: State) -> None:
    objects = FileObjects(context.path / "objects", context.disk)
    dropped = {
        decode_command(record.payload).table_drop.table_id
        for record in _records(context, state.applied)
    } - {b""}

    def find_rows(command: cb.Command) -> CommandRows | None:
        if command.batch.request.table_id in dropped:
            return BatchRows((), [], [], -1)
        return rows_of(command, lambda ref: objects.open(ref).read())

    replay(state, _records(context, state.applied), find_rows)


def _records(context: MigrationContext, applied: int) -> Iterator[Record]:
    options = LogOptions(backend="buffered")
    log = SegmentLog(context.path / "log", context.disk, context.database_id, options)
    try:
        yield from log.replay(applied)
    finally:
        log.close()
