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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from amaters.base.errors import AmatersError, DataError, fail
from amaters.base.progress import Progress, ProgressCallback, no_progress
from amaters.storage.apply import decode_command
from amaters.storage.commitlog.segments import Segments
from amaters.storage.database import Storage
from amaters.storage.directory import LOG, OBJECTS, DirectoryStorage, open_directory
from amaters.storage.files import Disk
from amaters.storage.indexes import IndexManager
from amaters.storage.sqlite import Connection
from amaters.storage.verify_rows import Finding, RowVerifier
from amaters.wire import commands_pb2 as cb

# What reads files that the database is changing is repeated before it counts as damage.
_ATTEMPTS = 3
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
        with storage.keeping_objects(), storage.reading() as db:
            _check_state(storage, db, report, progress, deep=deep)
    except DataError as error:
        report.findings.append(Finding("state", error.message))
    if isinstance(storage, DirectoryStorage) and deep:
        _persisting(report, LOG, lambda: _check_log(storage, report))
        _persisting(report, "snapshots", lambda: _check_snapshots(storage, report))
    return report


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
    rows = RowVerifier(db, storage.objects, indexes, deep=deep)
    try:
        rows.tell = _telling(db, progress)
        rows.run()
        if isinstance(storage, DirectoryStorage):
            _unnamed(storage, db, rows.named, report)
    finally:
        report.counts.update(rows.counts)
        report.findings += rows.findings


def check_restored(path: Path, disk: Disk, position: int) -> None:
    """Open a database that was just restored, check what its objects' checksums do not show, and
    take its first snapshot. Raises: AM-4001 and what opening raises.
    """
    storage = open_directory(path, disk)
    try:
        report = verify(storage, deep=False)
        for finding in report.findings:
            fail("AM-4001", file=finding.where, what=finding.what)
        if report.position != position:
            fail("AM-4001", file="state", what=f"it is of position {report.position}")
        storage.snapshot()
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
                report.findings.append(Finding("state", str(line)))
    except AmatersError as error:
        report.findings.append(Finding("state", error.message))


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
    folder = storage.path / OBJECTS
    if not folder.is_dir():
        return
    files = {bytes.fromhex(name) for name in storage.disk.names(folder) if len(name) == 32}
    oldest = _oldest(storage)
    for object_id, position in db.all("SELECT object_id, position FROM garbage"):
        report.counts["garbage objects"] += 1
        files.discard(object_id)
        if position > oldest and not (folder / object_id.hex()).exists():
            report.findings.append(Finding(f"object {object_id.hex()}", "a rebuild lacks it"))
    report.counts["unreferenced objects"] = len(files - named)


def _persisting(report: VerifyReport, where: str, check: Callable[[], list[Finding]]) -> None:
    """Findings of a check that it makes every time."""
    found: list[Finding] = []
    for _ in range(_ATTEMPTS):
        try:
            found = check()
        except AmatersError as error:
            found = [Finding(where, error.message)]
        if not found:
            return
    report.findings += found


def _check_log(storage: DirectoryStorage, report: VerifyReport) -> list[Finding]:
    """Every frame that the log still holds; it reaches from the older snapshot to the state."""
    folder = storage.path / LOG
    if not folder.is_dir():
        return []
    log = Segments(folder, storage.disk, storage.database_id, spares=0)
    firsts = [name.split(".")[0] for name in storage.disk.names(folder) if ".segment" in name]
    before = int(min(firsts, default="1")) - 1
    count = 0
    for record in log.recover(before):
        decode_command(record.payload)
        count += 1
    report.counts["log records"] = count
    if before > _oldest(storage):
        return [Finding(LOG, f"it starts after position {before}, which no snapshot reaches")]
    if log.last < report.position:
        return [Finding(LOG, f"it ends at {log.last}, before the state's {report.position}")]
    return []


def _oldest(storage: DirectoryStorage) -> int:
    """The position from which a rebuild may have to start."""
    return min((manifest.position for manifest in storage.snapshots.kept), default=0)


def _check_snapshots(storage: DirectoryStorage, report: VerifyReport) -> list[Finding]:
    found = list(storage.check_snapshots())
    report.counts["snapshots"] = len(found)
    return [Finding(f"snapshot {name}", error.message) for name, error in found if error]
