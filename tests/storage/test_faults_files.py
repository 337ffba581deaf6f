"""Disks that fail while a database is backed up, restored or brought to a newer format: a typed
error, nothing half done stays in the way, and on a healthy disk it works the next time.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.contents import contents
from faults.failing import WRITING, FailingDisk, Faults
from faults.lives import QUICK, held, quick_directory, small_database
from formats_support import unpacked

from amaters.base.errors import AmatersError
from amaters.storage.backup import backup
from amaters.storage.backupset import DirectoryTarget, list_backups, open_target
from amaters.storage.directory import open_directory
from amaters.storage.files import Disk
from amaters.storage.migrations import bring_up_to_date
from amaters.storage.restore import check_backup, restore
from amaters.storage.verify import verify

PLACES = (*range(3), *(int(4 * 1.6**n) for n in range(25)))  # of the call that fails
FAULTS = [(kind, errno.EIO, 1) for kind in (*WRITING, "read")]
FAULTS += [("write", errno.ENOSPC, 1 << 30), ("sync", errno.EIO, 1 << 30)]
CODES = {"AM-4001", "AM-4003", "AM-4007", "AM-4008", "AM-4041", "AM-4042"}
failing = pytest.mark.parametrize(("kind", "code", "times"), FAULTS)


@dataclass
class Base:
    """Two databases, and a backup of the first."""

    home: Path
    copies: int = 0

    def __post_init__(self) -> None:
        self.first = small_database(self.home / "first", 1)
        self.second = small_database(self.home / "second", 2)
        self.target = open_target(str(self.home / "backups"))
        storage = open_directory(self.home / "first", options=QUICK)
        backup(storage, self.target)
        storage.abandon()

    def fresh(self) -> Path:
        self.copies += 1
        return self.home / f"copy{self.copies}"


@pytest.fixture(scope="module")
def base() -> Iterator[Base]:
    with quick_directory() as home:
        yield Base(home)


@pytest.fixture(autouse=True)
def nothing_left_open(base: Base) -> Iterator[None]:
    """A failure on the way does not leave files open."""
    descriptors = Path("/proc/self/fd")
    before = len(os.listdir(descriptors))
    yield
    assert len(os.listdir(descriptors)) == before


def sweep(fault: tuple[str, int, int], attempt: Callable[[Disk], None]) -> Iterator[bool]:
    """One attempt per place; whether it succeeded, until no call is hit any more."""
    kind, code, times = fault
    for first in PLACES:
        faults = Faults()
        faults.arm(kind, first=first, times=times, code=code)
        try:
            attempt(FailingDisk(faults))
        except AmatersError as error:
            assert error.code in CODES and error.fix
            yield False
        else:
            yield True
        if not faults.hits:
            break


@failing
def test_restoring_into_nothing(base: Base, kind: str, code: int, times: int) -> None:
    """There is nothing at all, or the database, whole even when its name may not be durable."""
    home = base.fresh()
    home.mkdir()
    path = home / "db"
    for done in sweep((kind, code, times), lambda disk: _restore(base, path, disk)):
        assert path.exists() or not done
        if path.exists():
            assert held(path) == base.first
            shutil.rmtree(path)
        if times == 1 and kind != "remove":
            assert not list(home.iterdir()), "what was begun stays behind"


def _restore(base: Base, path: Path, disk: Disk, *, replace: bool = False) -> None:
    restore(base.target, path, disk=disk, replace=replace)


@failing
def test_restoring_over_a_database(base: Base, kind: str, code: int, times: int) -> None:
    """There is the old database or the new one; restoring again works."""
    path = base.fresh()
    shutil.copytree(base.home / "second", path)
    fault = (kind, code, times)
    for done in sweep(fault, lambda disk: _restore(base, path, disk, replace=True)):
        found = held(path)
        assert found == base.first if done else found in (base.first, base.second)
        _restore(base, path, Disk(), replace=True)
        assert held(path) == base.first
        shutil.rmtree(path)
        shutil.copytree(base.home / "second", path)


@pytest.mark.parametrize("name", ["log-1", "directory-1"])
@failing
def test_migrating(base: Base, name: str, kind: str, code: int, times: int) -> None:
    """Whatever was done, the next open does the rest."""
    home = base.fresh()
    path = unpacked(name, home)
    shutil.copytree(path, home / "whole")
    shutil.copytree(path, home / "copy")
    expected = shape(home / "copy")

    def attempt(disk: Disk) -> None:
        bring_up_to_date(path, disk)

    for _ in sweep((kind, code, times), attempt):
        assert shape(path) == expected
        shutil.rmtree(path)
        shutil.copytree(home / "whole", path)


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


@failing
def test_backing_up(base: Base, kind: str, code: int, times: int) -> None:
    """What is listed is whole; the database goes on; the next backup works."""
    storage = open_directory(base.home / "second", options=QUICK)
    folder = base.fresh()

    def attempt(disk: Disk) -> None:
        backup(storage, DirectoryTarget(folder, disk))

    count = 0
    for done in sweep((kind, code, times), attempt):
        listed = [info.name for info in list_backups(DirectoryTarget(folder, Disk()))]
        assert len(listed) - count in ((1,) if done else (0, 1))
        count = len(listed)
        for name in listed[-2:]:
            check_backup(DirectoryTarget(folder, Disk()), name)
        assert contents(storage) == base.second
    backup(storage, DirectoryTarget(folder, Disk()))
    storage.close()
