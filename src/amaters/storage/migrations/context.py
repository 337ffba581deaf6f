"""A staging folder, and a commit that cannot be left half done.

New files are written under ``staging`` and nothing else is touched. ``commit`` makes them durable,
then writes a *journal* of what is to be moved in and what goes. The journal is the commit point: a
process that dies before it leaves the old directory, one that dies after it leaves work that the
next open finishes from the journal, however often it is interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from amaters.base.errors import fail
from amaters.storage.files import Disk, failed
from amaters.storage.marker import read_checked, read_marker, write_checked, write_marker
from amaters.wire import backup_pb2 as bb

JOURNAL = "MIGRATION"
_STAGING = "migration"


class Staging:
    """Replaces files of a directory that the caller has locked."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path, self.disk = path, disk
        self.staging = path / _STAGING
        self._target = 0

    def begin(self, target: int = 0) -> None:
        """An empty staging folder; ``target``: the format that the directory will have, 0 when a
        marker is staged with the rest.
        """
        remove_tree(self.staging, self.disk)
        self.disk.make_directory(self.staging)
        self._target = target

    def commit(self, removes: Iterable[Path] = ()) -> None:
        """Put every staged file into the directory under its relative name and remove ``removes``:
        all of it or nothing, whenever this process dies.
        """
        installs = self._sync_staged()
        goes = {str(path.relative_to(self.path)) for path in removes}
        journal = bb.MigrationJournal(
            format=self._target, installs=installs, removes=sorted(goes - set(installs))
        )
        write_checked(self.path / JOURNAL, self.disk, journal)
        finish(self.path, self.disk)

    def _sync_staged(self) -> list[str]:
        """Relative names of the staged files, all of them durable."""
        found = []
        for folder, _, names in os.walk(self.staging):
            for name in sorted(names):
                file = Path(folder) / name
                fd = self.disk.open_append(file)
                try:
                    self.disk.sync(fd, file)
                finally:
                    self.disk.close(fd)
                found.append(str(file.relative_to(self.staging)))
            self.disk.sync_directory(Path(folder))
        return sorted(found)


class MigrationContext(Staging):
    """What the steps of a migration work with."""

    def __init__(self, path: Path, disk: Disk) -> None:
        super().__init__(path, disk)
        self.database_id = read_marker(path, disk).database_id


def finish(path: Path, disk: Disk) -> None:
    """Do what a committed migration still has to do; nothing if there is none."""
    if not (path / JOURNAL).exists():
        return
    journal = bb.MigrationJournal()
    read_checked(path / JOURNAL, disk, journal)
    for name in journal.installs:
        source, target = path / _STAGING / name, path / name
        if source.exists():
            disk.make_directory(target.parent)
            disk.publish(source, target)
        elif not target.exists():
            fail("AM-4001", file=name, what="a migration wrote it and it is missing")
    for name in journal.removes:
        disk.remove(path / name)
    for folder in sorted({(path / name).parent for name in journal.removes}):
        disk.sync_directory(folder)
    if journal.format:
        marker = read_marker(path, disk)
        marker.version = journal.format
        write_marker(path, disk, marker)
    disk.remove(path / JOURNAL)
    disk.sync_directory(path)
    remove_tree(path / _STAGING, disk)


def remove_tree(folder: Path, disk: Disk) -> None:
    """Delete a folder and all that is in it, if it is there."""
    for inside, _, names in os.walk(folder, topdown=False):
        for name in names:
            disk.remove(Path(inside) / name)
        try:
            Path(inside).rmdir()
        except OSError as error:
            failed(Path(inside), error)
