"""One database: commit log, state and objects joined. One thread at a time calls its methods.

    directory   AMATERS (format, id)   LOCK   log/   objects/   <position>.checkpoint

A command is durable in the log before its effects exist in the state; a checkpoint of the state
replaces the log up to its position. Objects are durable before a command names them; what nothing
names is swept at open.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from blake3 import blake3
from google.protobuf.message import DecodeError

from amaters.base.errors import fail
from amaters.base.ids import ID_BYTES, new_id
from amaters.storage.checkpoint import read_checkpoint, write_checkpoint
from amaters.storage.commitlog.core import SegmentLog
from amaters.storage.commitlog.devices import LogOptions
from amaters.storage.commitlog.segments import Record
from amaters.storage.files import Disk
from amaters.storage.log import FirstLog, Log, MemoryLog
from amaters.storage.objects import FileObjects, MemoryObjects, ObjectStore
from amaters.storage.rows import BatchRows, read_rows
from amaters.storage.state import State
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

FORMAT_VERSION = 1
MARKER = "AMATERS"
LOCK = "LOCK"
LOG = "log"
CHECKPOINT_DEBT = 64 << 20  # bytes of log, counting 64 per row, after which replay would be slow
_ROW_DEBT = 64
_HASH = 16
_FIRST = f"{0:020d}"
# What a crash can leave of a database that was being made, and nothing else.
_NEW_FILES = frozenset({LOCK, LOG, f"{MARKER}.tmp", f"{_FIRST}.checkpoint", f"{_FIRST}.tmp"})
_NEW_LOG = re.compile(r"0{19}1\.(segment|log|tmp)|[0-9a-f]{32}\.spare")


class Database:
    """Open with ``open_directory`` or ``open_memory``."""

    def __init__(self, database_id: bytes, log: Log, objects: ObjectStore, state: State) -> None:
        self.database_id = database_id
        self.objects = objects
        self.state = state
        self.notice: str | None = None
        self._log = log
        self._failed = False

    def append(self, command: cb.Command, rows: BatchRows | None = None) -> bytes:
        """Make a checked command durable, apply it, and return its serialised reply.

        Raises: AM-4003, AM-4008 (nothing was acknowledged; the database must be opened again),
        AM-4004.
        """
        if self._failed:
            fail("AM-4004", path="the database")
        try:
            position = self._log.append(command.SerializeToString())
            reply = apply(self.state, position, command, rows)
        except BaseException:
            self._failed = True
            raise
        return reply

    def read_rows(self, batch: cb.Batch) -> BatchRows:
        """The keys of a batch, from its blocks. Raises: AM-3032, AM-3033."""
        return read_rows(batch, batch.key_column, lambda ref: self.objects.open(ref).read())

    def delete_objects(self, ids: Iterable[bytes]) -> None:
        """Delete objects that no manifest and no pin names."""
        for object_id in ids:
            self.objects.delete(object_id)

    def close(self) -> None:
        """Let go of everything. Nothing is lost without it."""
        self._log.close()
        self.state.close()


class DirectoryDatabase(Database):
    """A database in a directory that this process has locked."""

    def __init__(self, path: Path, disk: Disk, lock: int, options: LogOptions) -> None:
        self._path, self._disk = path, disk
        self._lock: int | None = lock
        if not (path / MARKER).exists():
            _make(path, disk)
        database_id = _read_marker(path, disk)
        position, image = read_checkpoint(path, disk, database_id)
        objects = FileObjects(path / "objects", disk)
        log = SegmentLog(path / LOG, disk, database_id, options)
        super().__init__(database_id, log, objects, State(image))
        self._checkpointed = position
        if self.state.applied != position:
            fail("AM-4001", file="checkpoint", what="its position is not its state's")
        try:
            if any((path / LOG).glob("*.log")):
                self._leave_first_format(log)
            self._replay(log.replay(self.state.applied))
            self.delete_objects(set(objects.ids()) - self.state.object_ids())
        except BaseException:
            log.close()
            raise
        self.notice = log.notice
        self._debt = log.bytes_since_checkpoint

    def _leave_first_format(self, log: SegmentLog) -> None:
        """Take over what one file per checkpoint held; a crash on the way starts this again."""
        directory = self._path / LOG
        old = FirstLog(directory, self._disk, self.database_id)
        self._replay(old.replay(self.state.applied))
        position = self.state.applied
        image = self.state.image()
        write_checkpoint(self._path, self._disk, self.database_id, position, image)
        self._checkpointed = position
        for leftover in (*directory.glob("*.segment"), *directory.glob("*.spare")):
            self._disk.remove(leftover)
        log.create(position + 1)
        for path in sorted(directory.glob("*.log")):
            self._disk.remove(path)
        self._disk.sync_directory(directory)

    def _replay(self, records: Iterable[Record]) -> None:
        commands = [(record.position, _command(record.payload)) for record in records]
        dropped = {command.table_drop.table_id for _, command in commands}
        for position, command in commands:
            rows = None
            if command.HasField("batch"):
                # A table that is dropped further on may have lost its objects already.
                gone = command.batch.request.table_id in dropped
                rows = BatchRows((), [], [], -1) if gone else self.read_rows(command.batch)
            apply(self.state, position, command, rows)

    def append(self, command: cb.Command, rows: BatchRows | None = None) -> bytes:
        before = self._log.bytes_since_checkpoint
        reply = super().append(command, rows)
        self._debt += self._log.bytes_since_checkpoint - before
        self._debt += _ROW_DEBT * sum(len(part.keys) for part in rows.parts) if rows else 0
        if self._debt > CHECKPOINT_DEBT:
            self.checkpoint()
        return reply

    def checkpoint(self) -> None:
        """Write the state down and cut the log. Cost: the size of the state."""
        position = self.state.applied
        image = self.state.image()
        write_checkpoint(self._path, self._disk, self.database_id, position, image)
        self._log.cut(position)
        self._checkpointed, self._debt = position, 0

    def close(self) -> None:
        """Checkpoint, so that the next open is quick, and unlock the directory."""
        try:
            if not self._failed and self.state.applied > self._checkpointed:
                self.checkpoint()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of everything as a dying process does: nothing more is written."""
        super().close()
        if self._lock is not None:
            self._disk.close(self._lock)
            self._lock = None


def open_memory() -> Database:
    """A database that ends with its process."""
    return Database(new_id(), MemoryLog(), MemoryObjects(), State())


def open_directory(
    path: Path, disk: Disk | None = None, options: LogOptions | None = None
) -> DirectoryDatabase:
    """The database in ``path``, made if there is nothing yet. Any ``options`` open any database;
    ``notice`` of the result says when the log cannot write as they want.

    Raises: AM-4001 (damage), AM-4002 (open in another process), AM-4005 (something else is there),
    AM-4006.
    """
    disk = disk or Disk()
    if path.exists() and not path.is_dir():
        fail("AM-4005", path=str(path), what="it is a file")
    disk.make_directory(path)
    if not (path / MARKER).exists() and not _is_new(path):
        fail("AM-4005", path=str(path), what="the directory holds other files")
    lock = disk.lock(path / LOCK)
    try:
        return DirectoryDatabase(path, disk, lock, options or LogOptions())
    except BaseException:
        disk.close(lock)
        raise


def _is_new(path: Path) -> bool:
    """Whether a directory is empty, but for what an interrupted ``_make`` leaves."""
    logs = path / LOG
    inside = set(os.listdir(logs)) if logs.is_dir() else set()
    return _NEW_FILES.issuperset(os.listdir(path)) and all(map(_NEW_LOG.fullmatch, inside))


def _make(path: Path, disk: Disk) -> None:
    """A new database: first an empty checkpoint and log, last the marker that makes it one."""
    found = cb.DatabaseFormat(version=FORMAT_VERSION, database_id=new_id())
    for leftover in (*path.glob("*.checkpoint"), *path.glob(f"{LOG}/*")):
        disk.remove(leftover)
    state = State()
    write_checkpoint(path, disk, found.database_id, 0, state.image())
    state.close()
    SegmentLog(path / LOG, disk, found.database_id).create()
    body = found.SerializeToString()
    temporary = path / f"{MARKER}.tmp"
    disk.remove(temporary)
    fd = disk.create(temporary)
    try:
        disk.write(fd, blake3(body).digest(length=_HASH) + body, temporary)
        disk.sync(fd, temporary)
    finally:
        disk.close(fd)
    disk.publish(temporary, path / MARKER)


def _read_marker(path: Path, disk: Disk) -> bytes:
    data = disk.read_all(path / MARKER)
    if blake3(data[_HASH:]).digest(length=_HASH) != data[:_HASH]:
        fail("AM-4001", file=MARKER, what="checksum")
    found = cb.DatabaseFormat.FromString(data[_HASH:])
    if found.version > FORMAT_VERSION:
        fail("AM-4006", file=MARKER, found=found.version, known=FORMAT_VERSION)
    if len(found.database_id) != ID_BYTES:
        fail("AM-4005", path=str(path), what="it has no id")
    return found.database_id


def _command(data: bytes) -> cb.Command:
    try:
        return cb.Command.FromString(data)
    except DecodeError:
        fail("AM-4001", file="log", what="a record that is no command")


def apply(state: State, position: int, command: cb.Command, rows: BatchRows | None) -> bytes:
    """The effects of one command, the same whether live or replayed; returns its reply."""
    kind = command.WhichOneof("command")
    reply: pb.Done | pb.CommitReply = pb.Done(position=position)
    with state.transaction(position):
        if kind == "keyset_put":
            state.put_keyset(command.keyset_put)
        elif kind == "table_create":
            state.create_table(command.table_create.schema)
        elif kind == "table_drop":
            state.drop_table(_tid(state, command.table_drop.table_id))
        elif kind == "schema_update":
            schema = command.schema_update.schema
            state.update_schema(_tid(state, schema.table_id), schema)
        elif kind == "batch" and rows is not None:
            state.apply_batch(_tid(state, command.batch.request.table_id), command.batch, rows)
            reply = pb.CommitReply(position=position)
        else:
            fail("AM-4001", file="log", what="an unknown command")
        serialised = reply.SerializeToString()
        state.remember(position, command, serialised)
    return serialised


def _tid(state: State, table_id: bytes) -> int:
    for table in state.tables():
        if table.schema.table_id == table_id:
            return table.tid
    fail("AM-4001", file="log", what="a command for a table that is not there")
