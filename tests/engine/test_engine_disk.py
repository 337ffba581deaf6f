"""A disk that fails: nothing acknowledged is lost, nothing unacknowledged is half there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import engine_support as support
import pytest

from amaters.base.errors import AmatersError, ClosedError, fail
from amaters.engine.service import Engine
from amaters.storage.directory import DirectoryStorage, open_directory
from amaters.storage.files import Buffer, Disk


class FullDisk(Disk):
    """Takes a limited number of bytes, then none, like a full disk: the last write is torn."""

    def __init__(self) -> None:
        self.room: int | None = None

    def write(self, fd: int, data: Buffer, path: Path) -> None:
        view = memoryview(data).cast("B")
        if self.room is not None and len(view) > self.room:
            os.write(fd, view[: self.room])
            self.room = 0
            fail("AM-4003", file=path.name, what="No space left on device")
        super().write(fd, data, path)
        self.room = None if self.room is None else self.room - len(view)


class FailingSync(Disk):
    """Its ``failing``-th sync fails."""

    def __init__(self) -> None:
        self.left: int | None = None

    def sync(self, fd: int, path: Path) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                fail("AM-4003", file=path.name, what="Input/output error")
        super().sync(fd, path)


class DiedError(Exception):
    """What every disk operation of a dead process raises."""


class DyingDisk(Disk):
    """Its process dies before the disk operation number ``life``."""

    def __init__(self, life: int) -> None:
        self.life = life

    def _live(self) -> None:
        self.life -= 1
        if self.life < 0:
            raise DiedError

    def create(self, path: Path) -> int:
        self._live()
        return super().create(path)

    def write(self, fd: int, data: Buffer, path: Path) -> None:
        self._live()
        super().write(fd, data, path)

    def sync(self, fd: int, path: Path) -> None:
        self._live()
        super().sync(fd, path)

    def write_at(
        self,
        fd: int,
        parts: Sequence[memoryview],
        offset: int,
        path: Path,
        *,
        durable: bool = False,
    ) -> None:
        self._live()
        super().write_at(fd, parts, offset, path, durable=durable)

    def publish(self, temporary: Path, path: Path) -> None:
        self._live()
        super().publish(temporary, path)

    def make_directory(self, path: Path) -> None:
        self._live()
        super().make_directory(path)

    def remove(self, path: Path) -> None:
        self._live()
        super().remove(path)


async def attempt(path: Path, disk: Disk, table: support.Table) -> tuple[set[int], set[int]]:
    """Commits until the disk fails, then once more; acknowledged and attempted keys."""
    service = Engine(open_directory(path, disk), unsafe_scheme=True, threads=1)
    acknowledged: set[int] = set()
    attempted: set[int] = set()
    failures = 0
    try:
        await support.setup(service, table)
        for batch in range(40):
            keys = [batch * 10 + n for n in range(3)]
            attempted.update(keys)
            halves = {"tail": keys} if batch % 3 else {"segments": [keys]}
            try:
                reply = await support.commit(service, table, **halves)  # type: ignore[arg-type]
            except AmatersError as error:
                assert error.code in ("AM-4003", "AM-4004")
                failures += 1
                if failures == 2:
                    break
                continue
            assert reply.position
            acknowledged.update(keys)
    except AmatersError as error:
        assert error.code in ("AM-4003", "AM-4004")
    finally:
        try:
            await service.close()
        except AmatersError as error:
            assert error.code == "AM-4003"
    return acknowledged, attempted


async def check(path: Path, table: support.Table, acknowledged: set[int], tried: set[int]) -> None:
    service = Engine(open_directory(path), unsafe_scheme=True, threads=1)
    try:
        found = set(await support.read_all(service, table))
    except AmatersError as error:
        assert error.code == "AM-3021" and not acknowledged  # the table itself was never made
        found = set()
    assert acknowledged <= found <= tried
    assert all(sum(k // 10 == key // 10 for k in found) == 3 for key in found)
    if found or acknowledged:
        await support.commit(service, table, tail=[100_000])
    await service.close()


@pytest.mark.parametrize("room", [10, 700, 2_000, 20_000, 65_000, 140_000, 260_000])
def test_a_full_disk(tmp_path: Path, room: int) -> None:
    """Out of space in the middle of whatever comes next: see the module."""

    async def work() -> None:
        disk, table = FullDisk(), support.make_table()
        path = tmp_path / "db"
        await Engine(open_directory(path), unsafe_scheme=True, threads=1).close()
        disk.room = room
        acknowledged, tried = await attempt(path, disk, table)
        assert len(acknowledged) < len(tried) or not tried
        await check(path, table, acknowledged, tried)

    support.run(work)


@pytest.mark.parametrize("sync", range(1, 24, 2))
def test_a_failed_sync(tmp_path: Path, sync: int) -> None:
    """The disk reports an error for one sync and works again: see the module."""

    async def work() -> None:
        disk, table = FailingSync(), support.make_table()
        path = tmp_path / "db"
        disk.left = sync
        try:
            acknowledged, tried = await attempt(path, disk, table)
        except AmatersError as error:
            assert error.code == "AM-4003"
            acknowledged, tried = set(), set()
        await check(path, table, acknowledged, tried)

    support.run(work)


async def live_and_die(path: Path, table: support.Table, life: int) -> tuple[bool, set[int]]:
    """A whole life of a database, checkpoints included, until its process dies; whether it did
    not, and what was acknowledged.
    """
    acknowledged: set[int] = set()
    opened: DirectoryStorage | None = None
    try:
        opened = open_directory(path, DyingDisk(life))
        service = Engine(opened, unsafe_scheme=True, threads=1)
        await support.setup(service, table)
        for batch in range(3):
            keys = [batch * 10 + n for n in range(3)]
            halves = {"segments": [keys]} if batch == 1 else {"tail": keys}
            await support.commit(service, table, **halves)  # type: ignore[arg-type]
            acknowledged.update(keys)
            if batch == 1:
                opened.snapshot()
        await service.close()
    except (DiedError, ClosedError):  # the log's own thread may meet the end first
        if opened is not None:
            opened.abandon()
        return False, acknowledged
    return True, acknowledged


def test_death_at_every_other_disk_operation(tmp_path: Path) -> None:
    """Wherever the process dies, the database opens again and holds all that was acknowledged."""

    async def work() -> None:
        survived, life = False, 0
        while not survived:
            path, table = tmp_path / f"db{life}", support.make_table()
            survived, acknowledged = await live_and_die(path, table, life)
            tried = {batch * 10 + n for batch in range(3) for n in range(3)}
            await check(path, table, acknowledged, tried)
            life += 2
        assert life > 60

    support.run(work)
