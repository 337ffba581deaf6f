"""Databases on disks that fail, fill up and flip bits: a typed error or a clean recovery, never a
wrong answer, never the loss of what was acknowledged.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from faults.contents import Tables, contents
from faults.failing import WRITING, FailingDisk, FailingVfs, Faults
from faults.lives import QUICK, quick_directory
from faults.workload import Workload

from amaters.base.errors import AmatersError
from amaters.storage.database import Storage
from amaters.storage.directory import open_directory
from amaters.storage.files import Disk

STEPS = 12
FLIPS = 8
READING = ("AM-4001", "AM-4011", "AM-4013")
PLACES = (*range(6), *(int(6 * 1.25**n) for n in range(30)))  # of the call that fails
CALLS = tuple(kind for kind in WRITING if kind != "truncate")  # which only the first log did
ALWAYS = 1 << 30
DATA = ("AM-4001", "AM-4005", "AM-4006", "AM-4007", "AM-4011", "AM-4014", "AM-4015")


class Base:
    """A small database that tests copy; what it holds, and how to go on from there."""

    def __init__(self, home: Path) -> None:
        self.home, self.path = home, home / "base"
        self.ids: dict[str, bytes] = {}
        storage = open_directory(self.path, options=QUICK)
        made = Workload(Random(7), storage, {}, self.ids)
        for n in range(30):
            made.run(made.choose())
            if n in (8, 16, 24):
                storage.snapshot()
        storage.abandon()
        self.tables, self.version = made.tables, made.version
        self._copies = 0

    def copy(self) -> Path:
        self._copies += 1
        made = self.home / str(self._copies)
        shutil.copytree(self.path, made)
        return made

    def workload(self, storage: Storage) -> Workload:
        return Workload(Random(1000 + self._copies), storage, self.tables, self.ids, self.version)


@pytest.fixture(scope="module")
def base() -> Iterator[Base]:
    with quick_directory() as home:
        yield Base(home)


def opened(path: Path, disk: Disk | None = None, vfs: str | None = None) -> Storage:
    return open_directory(path, disk, QUICK, state_vfs=vfs)


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """A failure on the way does not leave files open."""
    descriptors = Path("/proc/self/fd")
    before = len(os.listdir(descriptors))
    yield
    assert len(os.listdir(descriptors)) == before


def held(path: Path) -> Tables:
    storage = opened(path)
    try:
        return contents(storage)
    finally:
        storage.abandon()


def go_on(work: Workload, codes: set[str]) -> list[Tables]:
    """Steps and snapshots on a disk that fails; what the database may hold in the end."""
    storage, unknown = work.storage, []
    for number in range(STEPS):
        try:
            step = work.choose()
            unknown.append(step.after)
            work.run(step)
            unknown.clear()
            if number % 4 == 3:
                storage.snapshot()
        except AmatersError as error:
            codes.add(error.code)
            if storage.failed is None:
                unknown.clear()  # refused before it was logged
        try:
            assert contents(storage) == work.tables, "reads go on, and show what was acknowledged"
        except AmatersError as error:  # of a call that failed while reading
            assert error.code in READING
            codes.add(error.code)
    return [work.tables, *unknown[:1]]


@pytest.mark.parametrize("times", [1, ALWAYS])
@pytest.mark.parametrize("kind", CALLS)
def test_a_call_fails(base: Base, kind: str, times: int) -> None:
    """Each call of a kind in turn fails with EIO, once or for ever: the step says so, reads go on,
    later writes are refused or good, and a healthy disk brings back all that was acknowledged.
    """
    codes: set[str] = set()
    for first in PLACES:
        faults = Faults()
        path = base.copy()
        storage = opened(path, FailingDisk(faults))
        faults.arm(kind, first=first, times=times)
        may_hold = go_on(base.workload(storage), codes)
        hit = faults.hits
        faults.disarm()
        storage.abandon()
        assert held(path) in may_hold
        shutil.rmtree(path)
        if not hit:
            break
    assert first > 0, "nothing of this kind was called"
    assert codes <= {"AM-4003", "AM-4004"}


@pytest.mark.parametrize("kind", CALLS)
def test_closing_fails(base: Base, kind: str) -> None:
    """Each call of ``close`` fails in turn: it says so, lets go of the directory all the same, and
    nothing is lost.
    """
    for first in PLACES:
        faults = Faults()
        path = base.copy()
        storage = opened(path, FailingDisk(faults))
        work = base.workload(storage)
        work.run(work.create("late"))
        faults.arm(kind, first=first)
        try:
            storage.close()
        except AmatersError as error:
            assert error.code == "AM-4003" and faults.hits
        assert held(path) == work.tables
        shutil.rmtree(path)
        if not faults.hits:
            break


@pytest.mark.parametrize("kind", CALLS)
def test_opening_fails(base: Base, kind: str) -> None:
    """Each call of an open fails in turn: a typed error or all is there; the next open works."""
    for first in PLACES:
        faults = Faults()
        faults.arm(kind, first=first)
        path = base.copy()
        try:
            storage = opened(path, FailingDisk(faults))
        except AmatersError as error:
            assert error.code == "AM-4003"
        else:
            assert contents(storage) == base.tables
            storage.abandon()
        assert held(path) == base.tables
        shutil.rmtree(path)
        if not faults.hits:
            break


@pytest.mark.parametrize("short", [False, True])
def test_a_full_disk(base: Base, short: bool) -> None:
    """From any write on there is no room, with and without a part of it written: writes are
    refused, the database can be read, and goes on when there is room again.
    """
    codes: set[str] = set()
    for first in PLACES:
        faults = Faults()
        path = base.copy()
        storage = opened(path, FailingDisk(faults))
        faults.arm("create", "write", first=first, times=ALWAYS, code=errno.ENOSPC, short=short)
        may_hold = go_on(base.workload(storage), codes)
        hit = faults.hits
        faults.disarm()
        storage.abandon()
        found = held(path)
        assert found in may_hold
        again = opened(path)
        work = Workload(Random(1), again, found, base.ids, base.version + 1000)
        work.run(work.create("room"))
        again.close()
        assert held(path) == work.tables
        shutil.rmtree(path)
        if not hit:
            break
    assert first > 3 and codes <= {"AM-4008", "AM-4004"} and "AM-4008" in codes


@pytest.mark.parametrize("times", [1, ALWAYS])
@pytest.mark.parametrize("kind", ["read", "write", "sync", "truncate", "create", "remove"])
def test_a_call_of_sqlite_fails(base: Base, kind: str, times: int) -> None:
    """The same for the state's files: whatever SQLite is refused, the log and the snapshots bring
    back what was acknowledged.
    """
    codes: set[str] = set()
    for first in PLACES:
        faults = Faults()
        vfs = FailingVfs(faults)
        path = base.copy()
        storage = opened(path, vfs=vfs.name)
        faults.arm(kind, first=first, times=times)
        may_hold = go_on(base.workload(storage), codes)
        hit = faults.hits
        faults.disarm()
        storage.abandon()
        assert held(path) in may_hold
        shutil.rmtree(path)
        vfs.unregister()
        if not hit:
            break
    assert codes <= {"AM-4003", "AM-4004", "AM-4011", "AM-4013"}


@pytest.mark.parametrize("kind", ["read", "write", "sync", "truncate", "create", "remove"])
def test_opening_fails_in_sqlite(base: Base, kind: str) -> None:
    """Each call of SQLite at open fails in turn: the state is made again, or the error is typed
    and the next open works.
    """
    for first in PLACES:
        faults = Faults()
        vfs = FailingVfs(faults)
        path = base.copy()
        faults.arm(kind, first=first)
        try:
            storage = opened(path, vfs=vfs.name)
        except AmatersError as error:
            assert error.fix and error.code in ("AM-4003", "AM-4011", "AM-4013")
        else:
            try:
                assert contents(storage) == base.tables
            except AmatersError as error:
                assert error.code in READING
            storage.abandon()
        hit = faults.hits
        assert held(path) == base.tables
        shutil.rmtree(path)
        vfs.unregister()
        if not hit:
            break


@pytest.mark.parametrize("short", [False, True])
def test_a_full_disk_for_the_state(base: Base, short: bool) -> None:
    """No room for SQLite's files alone."""
    codes: set[str] = set()
    for first in PLACES:
        faults = Faults()
        vfs = FailingVfs(faults)
        path = base.copy()
        storage = opened(path, vfs=vfs.name)
        faults.arm("write", first=first, times=ALWAYS, code=errno.ENOSPC, short=short)
        may_hold = go_on(base.workload(storage), codes)
        hit = faults.hits
        faults.disarm()
        storage.abandon()
        assert held(path) in may_hold
        shutil.rmtree(path)
        vfs.unregister()
        if not hit:
            break
    assert codes <= {"AM-4004", "AM-4008"} and "AM-4008" in codes


def test_reads_fail(base: Base) -> None:
    """Each read while opening and reading fails in turn: a typed error, and nothing is harmed."""
    path = base.copy()
    for first in PLACES:
        faults = Faults()
        faults.arm("read", first=first)
        storage = None
        try:
            storage = opened(path, FailingDisk(faults))
            assert contents(storage) == base.tables
        except AmatersError as error:
            assert error.code in DATA and error.fix
        finally:
            if storage is not None:
                storage.abandon()
        if not faults.hits:
            break
    assert first > 3
    assert held(path) == base.tables


def flips(content: bytes, rng: Random, count: int) -> Iterator[tuple[int, int]]:
    """Places of single bits, most of them where there is something."""
    used = [at for at in range(0, len(content), 64) if content[at : at + 64].strip(b"\0")]
    for _ in range(count):
        start = rng.choice(used) if used and rng.random() < 0.9 else rng.randrange(len(content))
        yield min(start + rng.randrange(64), len(content) - 1), 1 << rng.randrange(8)


@pytest.mark.parametrize("lost", [False, True])
def test_one_bit_anywhere(base: Base, lost: bool) -> None:
    """A bit of any file is flipped: a typed error, or everything is there and the database goes
    on, for good. Of state and snapshots nothing is lost in any case, nor of snapshots when the
    state is ``lost`` as well.
    """
    rng = Random(11)
    noticed, recovered = set(), set()
    for whole in sorted(path for path in base.path.rglob("*") if path.is_file()):
        content = whole.read_bytes()
        name = whole.relative_to(base.path)
        skipped = not content or whole.name == "LOCK" or (lost and name.parts[0] == "state")
        for at, bit in () if skipped else flips(content, rng, FLIPS):
            path = base.copy()
            damaged = bytearray(content)
            damaged[at] ^= bit
            (path / name).write_bytes(damaged)
            if lost:
                shutil.rmtree(path / "state")
            codes, works = goes_on(base, path)
            assert codes <= set(DATA), (name, at, bit, codes)
            assert works or name.parts[0] in ("log", "objects", "AMATERS"), (name, at, bit)
            (recovered if works else noticed).add(name.parts[0])
            shutil.rmtree(path)
    assert {"objects", "log"} <= noticed and "snapshots" in recovered
    assert lost or "state" in recovered


def goes_on(base: Base, path: Path) -> tuple[set[str], bool]:
    """Ask and write until it works, three times at most: what the errors were, and whether it did.
    A wrong answer fails.
    """
    codes: set[str] = set()
    may_hold = [base.tables]
    for attempt in range(3):
        try:
            storage = opened(path)
        except AmatersError as error:
            assert error.fix
            codes.add(error.code)
            continue
        try:
            found = contents(storage)
            assert found in may_hold
            work = Workload(Random(attempt), storage, found, base.ids, base.version + 1000)
            for name in (f"new{attempt}", min(found)):
                step = work.put(name, [1], segment=True) if name in found else work.create(name)
                may_hold = [work.tables, step.after]
                work.run(step)
            storage.snapshot()
        except AmatersError as error:
            assert error.fix
            codes.add(error.code)
        else:
            storage.close()
            assert held(path) == work.tables
            return codes, True
        finally:
            storage.abandon()
    return codes, False
