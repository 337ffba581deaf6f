"""Power failures while a database is backed up, restored or brought to a newer format: whatever
was not synced may be lost, and there is the old or the new one, whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest
from faults.contents import contents
from faults.images import Image, crash_images
from faults.journal import Journal
from faults.lives import QUICK, held, quick_directory, small_database
from faults.recording import RecordingDisk, RecordingVfs
from faults.workload import Workload
from formats_support import unpacked

from amaters.storage.backup import backup
from amaters.storage.backupset import DirectoryTarget, list_backups, open_target
from amaters.storage.directory import open_directory
from amaters.storage.files import Disk
from amaters.storage.migrations import bring_up_to_date
from amaters.storage.restore import check_backup, restore
from amaters.storage.verify import verify

IMAGES = 40
Work = Callable[[Journal, Disk], None]


@pytest.fixture
def home() -> Iterator[Path]:
    with quick_directory() as made:
        yield made


def failures(
    root: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Image, Path]]:
    """Crash images of some work in a directory that is there; every file of it is recorded."""
    journal = Journal.of(root)
    first = len(journal.events)
    vfs = RecordingVfs(journal)
    connection = apsw.Connection

    def recorded(name: str, flags: int, vfs: str | None) -> Any:
        chosen = None if name == ":memory:" else vfs or f"multipleciphers-{recorder}"
        return connection(name, flags=flags, vfs=chosen)

    recorder = vfs.name
    with monkeypatch.context() as patch:
        patch.setattr(apsw, "Connection", recorded)
        work(journal, RecordingDisk(journal))
    vfs.unregister()
    for number, image in enumerate(crash_images(journal, Random(5), IMAGES, first=first)):
        path = root.with_name(f"{root.name}.{number}")
        image.write(path)
        yield image, path
        shutil.rmtree(path)


def backed_up(path: Path, target: Path) -> None:
    storage = open_directory(path, options=QUICK)
    backup(storage, open_target(str(target)))
    storage.abandon()


def test_restoring_into_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is there whole under its name, or not at all."""
    tables = small_database(home / "db", 1)
    backed_up(home / "db", home / "backups")
    (home / "new").mkdir()

    def work(journal: Journal, disk: Disk) -> None:
        restore(open_target(str(home / "backups")), home / "new" / "db", disk=disk)
        journal.mark("restored")

    seen = set()
    for image, path in failures(home / "new", work, monkeypatch):
        there = (path / "db").exists()
        assert there or "restored" not in image.marks
        if there:
            assert held(path / "db") == tables
        seen.add(there)
    assert seen == {True, False}


def test_restoring_over_a_small_database(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next open finds the old database or the restored one."""
    new = small_database(home / "other", 1)
    backed_up(home / "other", home / "backups")
    old = small_database(home / "db", 2)

    def work(journal: Journal, disk: Disk) -> None:
        restore(open_target(str(home / "backups")), home / "db", replace=True, disk=disk)
        journal.mark("restored")

    seen = []
    for image, path in failures(home / "db", work, monkeypatch):
        found = held(path)
        assert found == new or (found == old and "restored" not in image.marks)
        seen.append(found == new)
    assert True in seen and False in seen


@pytest.mark.parametrize("name", ["log-1", "directory-1"])
def test_migrating(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is interrupted, the next open ends up with the same rows."""
    path = unpacked(name, home)
    shutil.copytree(path, home / "copy")
    expected = shape(home / "copy")

    def work(journal: Journal, disk: Disk) -> None:
        bring_up_to_date(path, disk)

    for _, crashed in failures(path, work, monkeypatch):
        assert shape(crashed) == expected


def shape(path: Path) -> list[object]:
    """Position, and of each table its name and its live rows."""
    storage = open_directory(path, options=QUICK)
    try:
        assert verify(storage).findings == []
        tables = [
            (found.schema.name, found.tail_rows, sum(segment.live for segment in found.segments))
            for found in storage.tables()
        ]
    finally:
        storage.close()
    return [storage.position, *tables]


def test_backing_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is listed is whole, and a backup that was acknowledged is listed."""
    small_database(home / "db", 3)
    (home / "backups").mkdir()

    def work(journal: Journal, disk: Disk) -> None:
        storage = open_directory(home / "db", options=QUICK)
        going_on = Workload(Random(4), storage, contents(storage), version=1000)
        going_on.ids = {found.schema.name: found.table_id for found in storage.tables()}
        parent = None
        for _ in range(3):
            going_on.run(going_on.choose())
            parent = backup(storage, DirectoryTarget(home / "backups", disk), parent=parent).name
            journal.mark(parent)
        storage.abandon()

    most = 0
    for image, path in failures(home / "backups", work, monkeypatch):
        target = open_target(str(path))
        listed = {info.name for info in list_backups(target)}
        for name in listed:
            check_backup(target, name)
        assert listed >= set(image.marks)
        most = max(most, len(listed))
    assert most == 3
