"""A database in a directory.

directory   AMATERS (format, id)   LOCK   log/   objects/   state/   snapshots/   cache/
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from amaters.base.errors import AmatersError, fail
from amaters.storage.collector import Collector
from amaters.storage.commitlog.core import SegmentLog
from amaters.storage.commitlog.devices import LogOptions
from amaters.storage.database import Group, SnapshotInfo, Storage
from amaters.storage.files import Disk
from amaters.storage.marker import MARKER, read_marker, write_marker
from amaters.storage.migrations import bring_up_to_date
from amaters.storage.objects import FileObjects, ObjectStore
from amaters.storage.options import StorageOptions
from amaters.storage.places import Place, find_places
from amaters.storage.recovery import BAD, STATE_FILE, WAL_PAGES, Recovery, ReplayedLog, mark_bad
from amaters.storage.remote_parts import LOG_BYTES_MAX, RemotePlace, claim, new_marker
from amaters.storage.rows import Key
from amaters.storage.snapshots import KEPT, Image, LocalFiles, SnapshotFiles, Snapshots
from amaters.storage.sqlite import Connection, ReadPool, page_key
from amaters.storage.state import State, object_ids
from amaters.wire import commands_pb2 as cb

LOCK = "LOCK"
LOG = "log"
OBJECTS = "objects"
STATE = "state"
SNAPSHOTS = "snapshots"
_STARTS = 5
WAL_PAGES_MAX = 4 * WAL_PAGES  # from here on readers of SQLite's log are waited for
SNAPSHOT_DEBT = 64 << 20  # bytes of log after which a snapshot is taken
# What a crash can leave of a database that was being made, and nothing else.
_NEW_FILES = frozenset({LOCK, LOG, STATE, f"{MARKER}.tmp"})
_NEW_LOG = re.compile(r"0{19}1\.(segment|log|tmp)|[0-9a-f]{32}\.spare")
_NEW_STATE = re.compile(rf"{BAD}|{re.escape(STATE_FILE)}(-wal|-shm|-journal)?")


@dataclass(frozen=True)
class Parts:
    """Where the parts of a database are. ``sweeps``: no other process uses the objects, so that
    those which nothing names are left-overs; else ``collector`` finds them. ``log_bytes_max``: of
    log, as it counts them, after which a snapshot is taken. ``place``: the store, if there is one.
    """

    open_log: Callable[[], ReplayedLog]
    objects: ObjectStore
    snapshots: SnapshotFiles
    sweeps: bool = True
    collector: Collector | None = None
    log_bytes_max: int = 1 << 62
    place: RemotePlace | None = None


def local_parts(path: Path, disk: Disk, database_id: bytes, options: LogOptions) -> Parts:
    """Everything in the directory itself."""
    return Parts(
        lambda: SegmentLog(path / LOG, disk, database_id, options),
        FileObjects(path / OBJECTS, disk),
        LocalFiles(path / SNAPSHOTS, disk),
    )


def parts_of(path: Path, disk: Disk, marker: cb.DatabaseFormat, options: StorageOptions) -> Parts:
    """The parts of a database, in its directory or where its marker says.

    Raises: AM-4025, AM-4028, AM-4030, AM-4031.
    """
    objects_url, log_url = options.store_urls
    for wanted, there, what in (
        (objects_url, marker.objects_url, "objects"),
        (log_url, marker.log_url, "log"),
    ):
        if wanted and not there:
            fail("AM-4028", url=wanted, what=f"the {what} of this database are in its directory")
    if not marker.objects_url:
        return local_parts(path, disk, marker.database_id, options.log)
    place = RemotePlace(marker, options)
    claim(place)
    place.begin()
    objects = place.open_objects(path, disk)
    collector = place.collector(objects)
    if not place.has_log:
        open_log = partial(SegmentLog, path / LOG, disk, marker.database_id, options.log)
        snapshots = LocalFiles(path / SNAPSHOTS, disk)
        return Parts(open_log, objects, snapshots, False, collector, place=place)
    return Parts(place.open_log, objects, place.files, False, collector, LOG_BYTES_MAX, place)


class DirectoryStorage(Storage):
    """A database in a directory that this process has locked. Made by ``open_directory``."""

    def __init__(
        self,
        path: Path,
        disk: Disk,
        lock: int,
        database_id: bytes,
        parts: Parts,
        *,
        vfs: str | None,
    ) -> None:
        self.path, self.disk = path, disk
        self._lock: int | None = lock
        self._vfs, self._key = vfs, page_key(database_id)
        self.snapshots = Snapshots(parts.snapshots, database_id)
        self.snapshot_error: AmatersError | None = None  # of the last one that nobody waited for
        self._freezing = threading.Lock()
        self._frozen = self._closing = False
        self._moved = 0  # pages of SQLite's log when it was last moved into the file
        self._snapshot_thread: threading.Thread | None = None
        self._parts = parts
        recovery = Recovery(
            path / STATE,
            disk,
            database_id,
            vfs,
            self.snapshots,
            parts.open_log,
            lambda ref: parts.objects.open(ref).read(),
        )
        try:
            log, notice = self._start(recovery, parts)
        except AmatersError as error:
            if error.code != "AM-4011":
                raise
            # A damaged page that replaying did not touch, but publishing the tables did.
            mark_bad(path / STATE, disk)
            log, notice = self._start(recovery, parts)
        self.notice, self.log_notice = notice, log.notice

    def _start(self, recovery: Recovery, parts: Parts) -> tuple[ReplayedLog, str | None]:
        state, log, notice = recovery.run()
        try:
            super().__init__(recovery.database_id, log, parts.objects, state)
            self._pool = ReadPool(recovery.path, self._key, self._vfs)
            self._logged = state.logged
            self.snapshot_debt = SNAPSHOT_DEBT
            self._put_off = 0  # bytes of log to wait for beyond it, after a snapshot that failed
            if parts.sweeps:
                self._sweep()
        except BaseException:
            log.close()
            state.close()
            raise
        return log, notice

    def _sweep(self) -> None:
        """Delete objects that were never committed, and garbage that nothing needs any more."""
        self.collect(set())
        for object_id in set(self.objects.ids()) - self.state.object_ids():
            self.objects.delete(object_id)

    @property
    def location(self) -> str:
        return str(self.path)

    @property
    def place(self) -> RemotePlace | None:
        """The object store that holds objects, and perhaps log and snapshots."""
        return self._parts.place

    # ---- writing -----------------------------------------------------------------------------

    @contextmanager
    def group(self) -> Iterator[Group]:
        with self._writing:
            with super().group() as group:
                yield group
            self._logged += group.logged
            self._move_pages()
            newest = self.snapshots.newest
            logged = self._logged - (newest.logged if newest else 0)
            log_bytes = self._log.bytes_since_checkpoint
            if logged > self.snapshot_debt + self._put_off or log_bytes > self._parts.log_bytes_max:
                self._snapshot_soon()

    def _move_pages(self) -> None:
        """Keep SQLite's log short. The group is durable already: what fails here stops the next.

        Once all of it is in the file it starts anew, unless somebody still reads from it. While
        there is always somebody it grows, until they are waited for.
        """
        pages = self.state.db.wal_pages
        self._moved = 0 if pages < self._moved else self._moved
        if pages - self._moved <= WAL_PAGES or self._frozen:
            return
        try:
            self.state.db.checkpoint(whole=pages > WAL_PAGES_MAX)
            self._moved = pages
        except AmatersError as error:
            self._stop(error)

    def _stop(self, error: BaseException) -> None:
        super()._stop(error)
        damaged = isinstance(error, AmatersError) and error.code == "AM-4011"
        broken = self.state.broken
        # After a failed write or sync of its file nobody knows what of the state is on the disk.
        if damaged or (broken is not None and broken.code in ("AM-4003", "AM-4011")):
            with suppress(AmatersError):
                mark_bad(self.path / STATE, self.disk)

    # ---- reading -----------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        db = self._pool.take()
        try:
            db.run("BEGIN")
            yield db
            db.run("COMMIT")
        except BaseException as error:
            if db.broken is not None and db.broken.code == "AM-4011":
                self._stop(db.broken)
            elif db.broken is None and db.in_transaction:
                db.run("ROLLBACK")
            raise error
        finally:
            self._pool.give(db)

    def places_at(self, tid: int, keys: Sequence[Key]) -> tuple[int, dict[Key, Place]]:
        with self.reading() as db:
            found = db.one("SELECT position FROM applied") or (0,)
            return int(found[0]), find_places(db, tid, keys)

    # ---- snapshots ---------------------------------------------------------------------------

    @contextmanager
    def frozen(self) -> Iterator[Image]:
        """The state's file, which does not change meanwhile; writers go on beside it.

        Raises: AM-4004, AM-4011, AM-4013 when readers do not let go of the file.
        """
        with self._freezing:
            with self._writing:
                self._check_writable()
                state = self.state
                if state.db.in_transaction or not state.db.checkpoint(whole=True):
                    fail("AM-4013", file=STATE_FILE, what="it is being read, or written")
                position, logged = state.applied, state.logged
                self._frozen = True
            file = self.path / STATE / STATE_FILE
            try:
                yield Image(file, position, logged, self.disk, lambda: self._still(file))
            finally:
                self._frozen = False

    def _still(self, file: Path) -> Connection:
        return Connection(file, self._key, vfs=self._vfs, writes=False, frozen=True)

    def snapshot(self, *, full: bool = False) -> SnapshotInfo:
        """Write down what of the state changed since the last snapshot, and cut the log below the
        one before. ``full``: write all of it, for when older files are damaged. Any thread.

        Cost: reads the state, twice. Raises: AM-4003, AM-4008, AM-4011, AM-4013, AM-4004.
        """
        with self.frozen() as image:
            newest = self.snapshots.newest
            if newest is not None and newest.position == image.position and not full:
                return SnapshotInfo(image.position, 0, newest.size)
            try:
                written, total = self.snapshots.take(image, self._check_open, full=full)
            except AmatersError as error:
                if error.code == "AM-4011":
                    self._stop(error)
                raise
        self._put_off = 0
        self._log.cut(self.snapshots.rebuilt_from)
        return SnapshotInfo(image.position, written, total)

    def forget_history(self, mark: Callable[[], object]) -> None:
        """New snapshots in new files, and a log that begins with them. Any thread.

        Cost: reads the state thrice and writes it thrice; writers wait for one of these times.
        Raises: as ``snapshot``.
        """
        with self._log.forgetting():
            with self._freezing, self._writing:
                self._check_writable()
                # Deleted rows stay in free pages, and between others, until the file is made anew.
                self.state.db.run("VACUUM")
            for _ in range(KEPT):
                mark()
                self.snapshot(full=True)

    def _check_open(self) -> None:
        if self._closing:
            fail("AM-4004", path=self.location)

    def _snapshot_soon(self) -> None:
        if self._snapshot_thread is None or not self._snapshot_thread.is_alive():
            self._snapshot_thread = threading.Thread(
                target=self._snapshot_aside, name="amaters-snapshot", daemon=True
            )
            self._snapshot_thread.start()

    def _snapshot_aside(self) -> None:
        """A snapshot that nobody waits for; after a failure the next is tried much later."""
        try:
            self.snapshot()
            self.collect_shared()
            self.snapshot_error = None
        except AmatersError as error:
            self.snapshot_error = error
            self._put_off += self.snapshot_debt

    def check_snapshots(self) -> Iterator[tuple[str, AmatersError | None]]:
        """Reads every snapshot; each with what is wrong with it, or None."""
        for error in self.snapshots.damaged:
            yield str(error.fields.get("file", SNAPSHOTS)), error
        for manifest in self.snapshots.kept:
            found = None
            try:
                for _ in self.snapshots.chunks(manifest):
                    self._check_open()
            except AmatersError as error:
                found = error
            yield f"of position {manifest.position}", found

    def rebuilt_from(self) -> int:
        return self.snapshots.rebuilt_from

    def collect_shared(self) -> int:
        """Delete from a shared store what nothing has named for long; how many objects went. Any
        thread. Cost: a listing of the store. Raises: AM-4025, AM-4031.
        """
        collector = self._parts.collector
        return collector.look(self._named) if collector is not None else 0

    def _named(self) -> set[bytes]:
        with self.reading() as db:
            return object_ids(db)

    # ---- closing -----------------------------------------------------------------------------

    def close(self) -> None:
        """Bring the state's file up to date, so that the next open is quick, and unlock."""
        try:
            self._end_snapshot()
            if self.failed is None and self.state.broken is None:
                newest = self.snapshots.newest
                garbage = self.state.garbage_after(newest.position if newest else 0)
                # On a shared store that waits: closing sends nothing, and another may own it now.
                if garbage and self._parts.sweeps:
                    self._closing = False
                    self.snapshot()
                self.state.db.checkpoint(whole=True)
        finally:
            self.abandon()

    def settle(self) -> None:
        """Wait for a snapshot that is being taken aside."""
        if self._snapshot_thread is not None:
            self._snapshot_thread.join()

    def _end_snapshot(self) -> None:
        self._closing = True
        self.settle()

    def abandon(self) -> None:
        self._end_snapshot()
        self._pool.close()
        super().abandon()
        if self._lock is not None:
            self.disk.close(self._lock)
            self._lock = None


def open_directory(
    path: Path,
    disk: Disk | None = None,
    options: StorageOptions | LogOptions | None = None,
    *,
    state_vfs: str | None = None,
) -> DirectoryStorage:
    """The database in ``path``, made if there is nothing yet. Any ``options`` open any database;
    ``notice`` of the result says what a person should know. ``state_vfs``: name of a registered
    apsw.VFS, through which the files of the state are used.

    Raises: AM-4001 (damage), AM-4002 (open in another process), AM-4005 (something else is there),
    AM-4006, AM-4015; on an object store AM-4010, AM-4025 and AM-4027 to AM-4031.
    """
    if not isinstance(options, StorageOptions):
        options = StorageOptions(options or LogOptions())
    disk = disk or Disk()
    if path.exists() and not path.is_dir():
        fail("AM-4005", path=str(path), what="it is a file")
    disk.make_directory(path)
    if not (path / MARKER).exists() and not _is_new(path):
        fail("AM-4005", path=str(path), what="the directory holds other files")
    lock = disk.lock(path / LOCK)
    try:
        if not (path / MARKER).exists():
            _make(path, disk, state_vfs, options)
        moved = bring_up_to_date(path, disk)
        marker = read_marker(path, disk)
        parts = parts_of(path, disk, marker, options)
        open_it = partial(
            DirectoryStorage, path, disk, lock, marker.database_id, parts=parts, vfs=state_vfs
        )
        storage = _opened(open_it)
    except BaseException:
        disk.close(lock)
        raise
    if moved is not None:
        storage.notice = "; ".join(text for text in (moved, storage.notice) if text)
    return storage


def _opened(open_it: Callable[[], DirectoryStorage]) -> DirectoryStorage:
    """Opens again from newer snapshots while another owner cuts the log that is being read."""
    for _ in range(_STARTS - 1):
        try:
            return open_it()
        except AmatersError as error:
            if error.code != "AM-4027":
                raise
    return open_it()


def _is_new(path: Path) -> bool:
    """Whether a directory is empty, but for what an interrupted ``_make`` leaves."""
    inside = [(path / LOG, _NEW_LOG), (path / STATE, _NEW_STATE)]
    return _NEW_FILES.issuperset(os.listdir(path)) and all(
        pattern.fullmatch(name)
        for folder, pattern in inside
        if folder.is_dir()
        for name in os.listdir(folder)
    )


def _make(path: Path, disk: Disk, vfs: str | None, options: StorageOptions) -> None:
    """A new database, or a new directory of the one on a store: first an empty state and log, last
    the marker that makes it one.
    """
    marker = new_marker(options)
    for leftover in (*path.glob(f"{STATE}/*"), *path.glob(f"{LOG}/*")):
        disk.remove(leftover)
    disk.make_directory(path / STATE)
    State.create(path / STATE / STATE_FILE, marker.database_id, vfs).close()
    disk.sync_directory(path / STATE)
    if not marker.log_url:
        SegmentLog(path / LOG, disk, marker.database_id).create()
    write_marker(path, disk, marker)
