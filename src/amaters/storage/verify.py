"""Verifying a database: every checksum, and every reference in both directions.

state -> objects    each object that the state names is there, whole, and the one that was written
objects -> state    files that nothing names are counted: uploads on their way, or left-overs that
                    the next open removes
keys <-> blocks     each live row is where its key leads to, and no key leads anywhere else
indexes <-> rows    each index holds the values of every row of the places it knows
log, snapshots      every frame and every chunk, and that they reach the state

A database in use is verified at one position while it goes on; nothing is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from amaters.base.errors import AmatersError, DataError, fail
from amaters.base.ids import ID_BYTES
from amaters.base.progress import Progress, ProgressCallback, no_progress
from amaters.storage.apply import decode_command
from amaters.storage.commitlog.object_reader import LogReader
from amaters.storage.commitlog.segments import Record, Segments
from amaters.storage.database import Storage
from amaters.storage.directory import (
    LOG,
    OBJECTS,
    SNAPSHOTS,
    STATE,
    DirectoryStorage,
    open_directory,
)
from amaters.storage.files import Disk
from amaters.storage.indexes import IndexManager
from amaters.storage.objects import ObjectStore
from amaters.storage.remote_objects import RemoteObjects
from amaters.storage.remote_parts import RemoteFiles
from amaters.storage.snapshots import LocalFiles, SnapshotFiles, Snapshots
from amaters.storage.sqlite import Connection
from amaters.storage.verify_rows import Finding, RowVerifier
from amaters.wire import commands_pb2 as cb

# What reads files that the database is changing is repeated before it counts as damage.
_ATTEMPTS = 3
_CUT = "AM-4027"  # of a log on a store, while it was being read
_PAGES_SHOWN = 10


@dataclass(slots=True)
class VerifyReport:
    """What was checked, by kind, and what was found; a database without findings is whole."""

    position: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def verify(
    storage: Storage, *, deep: bool = True, progress: ProgressCallback = no_progress
) -> VerifyReport:
    """Check everything. ``deep`` False: references, keys and blocks, but not the bytes of objects
    that hold no keys, the log and the snapshots. Cost: reads all of the database once.
    """
    report = VerifyReport()
    try:
        with storage.keeping_objects(), _still(storage) as db:
            _check_state(storage, db, report, progress, deep=deep)
    except DataError as error:
        report.findings.append(Finding(STATE, error.message))
    if any(finding.where == STATE for finding in report.findings):
        _let_it_be_noticed(storage)
    if isinstance(storage, DirectoryStorage) and deep:
        _persisting(report, LOG, lambda: _check_log(storage, report))
        _persisting(report, SNAPSHOTS, lambda: _check_snapshots(storage, report))
    return report


@contextmanager
def _still(storage: Storage) -> Iterator[Connection]:
    """One position of the state. A long read of a file in use would make snapshots wait for it, and
    writers for them; of a database that takes no writes any more nobody waits.
    """
    if not isinstance(storage, DirectoryStorage) or storage.failed is not None:
        with storage.reading() as db:
            yield db
        return
    with storage.frozen() as image:
        db = image.connect()
        try:
            yield db
        finally:
            db.close()


def _let_it_be_noticed(storage: Storage) -> None:
    """A state that is damaged is not written to any more, and made again by the next open."""
    with suppress(AmatersError), storage.reading() as db:
        db.check()


def _check_state(
    storage: Storage,
    db: Connection,
    report: VerifyReport,
    progress: ProgressCallback,
    *,
    deep: bool,
) -> None:
    report.position = int((db.one("SELECT position FROM applied") or (0,))[0])
    _pages(db, report)
    indexes = IndexManager(storage.state.indexes.extractor)
    rows = RowVerifier(db, _objects(storage), indexes, deep=deep)
    try:
        rows.tell = _telling(db, progress)
        rows.run()
        if isinstance(storage, DirectoryStorage):
            _unnamed(storage, db, rows.named, report)
    finally:
        report.counts.update(rows.counts)
        report.findings += rows.findings


def _objects(storage: Storage) -> ObjectStore:
    """Where objects are read from: not a cache of them."""
    if isinstance(storage, DirectoryStorage) and storage.place is not None:
        return RemoteObjects(storage.place.objects)
    return storage.objects


def check_restored(path: Path, disk: Disk, position: int) -> None:
    """Open a database that was just restored, check what its objects' checksums do not show, and
    take its first snapshot. Raises: AM-4001 and what opening raises.
    """
    storage = open_directory(path, disk)
    try:
        # First: from here on no rebuild wants the garbage that was not backed up.
        storage.snapshot()
        report = verify(storage, deep=False)
        for finding in report.findings:
            fail("AM-4001", file=finding.where, what=finding.what)
        if report.position != position:
            fail("AM-4001", file="state", what=f"it is of position {report.position}")
    except BaseException:
        storage.abandon()
        raise
    storage.close()


def _pages(db: Connection, report: VerifyReport) -> None:
    """Every page of the state, its MAC, and SQLite's own structures."""
    try:
        pages = db.one("PRAGMA page_count") or (0,)
        report.counts["state pages"] = int(pages[0])
        for (line,) in db.all(f"PRAGMA integrity_check({_PAGES_SHOWN})"):
            if line != "ok":
                report.findings.append(Finding(STATE, str(line)))
    except DataError as error:
        report.findings.append(Finding(STATE, error.message))


def _telling(db: Connection, progress: ProgressCallback) -> Callable[[int], None]:
    total = sum(
        ref.size
        for (data,) in db.each("SELECT manifest FROM segments")
        for ref in cb.SegmentManifest.FromString(data).objects
    )
    done = 0

    def tell(size: int) -> None:
        nonlocal done
        done += size
        progress(Progress("verify", min(done, total), total, "bytes"))

    return tell


def _unnamed(
    storage: DirectoryStorage, db: Connection, named: set[bytes], report: VerifyReport
) -> None:
    """Objects that the state does not name: garbage must be there while a rebuild may want it."""
    there = _object_ids(storage)
    oldest = _oldest(storage)
    garbage = db.all("SELECT object_id, position FROM garbage")
    for object_id, position in garbage:
        if position > oldest and object_id not in there:
            report.findings.append(Finding(f"object {object_id.hex()}", "a rebuild lacks it"))
    report.counts["garbage objects"] = len(garbage)
    there -= {object_id for object_id, _ in garbage}
    report.counts["unreferenced objects"] = len(there - named)


def _object_ids(storage: DirectoryStorage) -> set[bytes]:
    """Listing local objects through their store would sweep uploads that are on their way."""
    if storage.place is not None:
        return set(storage.objects.ids())
    names = storage.disk.names(storage.path / OBJECTS)
    return {bytes.fromhex(name) for name in names if len(name) == 2 * ID_BYTES}


def _persisting(report: VerifyReport, where: str, check: Callable[[], list[Finding]]) -> None:
    """Findings of a check that it makes every time."""
    found: list[Finding] = []
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            found = check()
        except AmatersError as error:
            if not (isinstance(error, DataError) or (error.code == _CUT and attempt < _ATTEMPTS)):
                raise
            found = [Finding(where, error.message)]
        if not found:
            return
    report.findings += found


def _check_log(storage: DirectoryStorage, report: VerifyReport) -> list[Finding]:
    """Every frame that the log still holds; it reaches from the older snapshot to the state."""
    before, records = _remote_log(storage) if _is_remote(storage) else _local_log(storage)
    last, count = before, 0
    for record in records:
        decode_command(record.payload)
        last, count = record.position, count + 1
    report.counts["log records"] = count
    if before > _oldest(storage):
        return [Finding(LOG, f"it starts after position {before}, which no snapshot reaches")]
    if last < report.position:
        return [Finding(LOG, f"it ends at {last}, before the state's {report.position}")]
    return []


def _is_remote(storage: DirectoryStorage) -> bool:
    return storage.place is not None and storage.place.has_log


def _local_log(storage: DirectoryStorage) -> tuple[int, Iterator[Record]]:
    folder = storage.path / LOG
    log = Segments(folder, storage.disk, storage.database_id, spares=0)
    firsts = [name.split(".")[0] for name in storage.disk.names(folder) if ".segment" in name]
    before = int(min(firsts, default="1")) - 1
    return before, log.recover(before)


def _remote_log(storage: DirectoryStorage) -> tuple[int, Iterator[Record]]:
    place, before = storage.place, _oldest(storage)
    assert place is not None
    newest = storage.snapshots.newest
    known = newest.position if newest else 0
    reader = LogReader(place.log, storage.database_id, place.files.newest, known)
    return before, reader.records(before)


def _oldest(storage: DirectoryStorage) -> int:
    """The position from which a rebuild may have to start."""
    return min((manifest.position for manifest in storage.snapshots.kept), default=0)


def _check_snapshots(storage: DirectoryStorage, report: VerifyReport) -> list[Finding]:
    """Every manifest and chunk, as the files have them now."""
    place = storage.place
    files: SnapshotFiles
    if place is not None and place.has_log:
        files = RemoteFiles(place.log, place.owner.check)
    else:
        files = LocalFiles(storage.path / SNAPSHOTS, storage.disk)
    snapshots = Snapshots(files, storage.database_id)
    found = [Finding(SNAPSHOTS, error.message) for error in snapshots.damaged]
    for manifest in snapshots.kept:
        try:
            for _ in snapshots.chunks(manifest):
                pass
        except DataError as error:
            where = f"snapshot of position {manifest.position}"
            found.append(Finding(where, error.message))
    report.counts["snapshots"] = len(snapshots.damaged) + len(snapshots.kept)
    return found
