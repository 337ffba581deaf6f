"""A database in a directory.

directory   AMATERS (format, id)   LOCK   log/   objects/   <position>.checkpoint
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

from amaters.base.errors import fail
from amaters.base.ids import ID_BYTES, new_id
from amaters.storage.apply import apply, decode_command, rows_of
from amaters.storage.checkpoint import read_checkpoint, write_checkpoint
from amaters.storage.commitlog.core import SegmentLog
from amaters.storage.commitlog.devices import LogOptions
from amaters.storage.commitlog.segments import Record
from amaters.storage.database import Group, SnapshotInfo, Storage
from amaters.storage.files import Disk
from amaters.storage.log import FirstLog
from amaters.storage.objects import FileObjects
from amaters.storage.rows import BatchRows
from amaters.storage.state import State
from amaters.wire import commands_pb2 as cb

FORMAT_VERSION = 1
MARKER = "AMATERS"
LOCK = "LOCK"
LOG = "log"
CHECKPOINT_DEBT = 64 << 20  # bytes of log, counting 64 per row, after which replay would be slow
_HASH = 16
_FIRST = f"{0:020d}"
# What a crash can leave of a database that was being made, and nothing else.
_NEW_FILES = frozenset({LOCK, LOG, f"{MARKER}.tmp", f"{_FIRST}.checkpoint", f"{_FIRST}.tmp"})
_NEW_LOG = re.compile(r"0{19}1\.(segment|log|tmp)|[0-9a-f]{32}\.spare")


class DirectoryStorage(Storage):
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
        self.state.changed.update(row.tid for row in self.state.tables())
        self._publish(self.state.applied)

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
        commands = [(record.position, decode_command(record.payload)) for record in records]
        drops = (command.table_drop for _, command in commands if command.HasField("table_drop"))
        dropped = {drop.table_id for drop in drops}
        for position, command in commands:
            # A table that is dropped further on may have lost its objects already.
            gone = command.batch.request.table_id in dropped
            read = lambda ref: self.objects.open(ref).read()  # noqa: E731
            rows = BatchRows((), [], [], -1) if gone else rows_of(command, read)
            self.state.begin()
            apply(self.state, position, command, rows)
            self.state.commit()

    @contextmanager
    def group(self) -> Iterator[Group]:
        with self._writing:
            with super().group() as group:
                yield group
            if self._log.bytes_since_checkpoint > CHECKPOINT_DEBT:
                self.snapshot()

    def snapshot(self) -> SnapshotInfo:
        with self._writing:
            position = self.state.applied
            image = self.state.image()
            write_checkpoint(self._path, self._disk, self.database_id, position, image)
            self._log.cut(position)
            self._checkpointed = position
            return SnapshotInfo(position, len(image), len(image))

    def close(self) -> None:
        """Checkpoint, so that the next open is quick, and unlock the directory."""
        try:
            if self.failed is None and self.state.applied > self._checkpointed:
                self.snapshot()
        finally:
            self.abandon()

    def abandon(self) -> None:
        super().abandon()
        if self._lock is not None:
            self._disk.close(self._lock)
            self._lock = None


def open_directory(
    path: Path, disk: Disk | None = None, options: LogOptions | None = None
) -> DirectoryStorage:
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
        return DirectoryStorage(path, disk, lock, options or LogOptions())
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
