"""Snapshots are incremental, two are kept, the log is cut below the older, none is half there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import state_support as support
from state_support import append, batch, contents, create, found_rows, put, table_of

from amaters.base.errors import AmatersError, fail
from amaters.storage.directory import DirectoryStorage, open_directory
from amaters.storage.files import Buffer, Disk
from amaters.storage.snapshots import CHUNK_BYTES

LOAD = 60_000  # keys: a state of some dozens of chunks


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[DirectoryStorage]:
    """A table of LOAD rows and no snapshot yet."""
    opened = open_directory(tmp_path / "db")
    append(opened, create())
    put(opened, 1, segments=[range(LOAD)])
    yield opened
    opened.close()


def files(storage: DirectoryStorage, suffix: str) -> list[Path]:
    return sorted((storage.path / "snapshots").glob(f"*{suffix}"))


def first_of_log(storage: DirectoryStorage) -> int:
    return min(int(path.stem) for path in (storage.path / "log").glob("*.segment"))


def test_only_what_changed_is_written(storage: DirectoryStorage) -> None:
    """The first snapshot holds all, the next a few chunks, one without news nothing."""
    first = storage.snapshot()
    size = (storage.path / "state" / "state.db").stat().st_size
    assert first.bytes_total == size and first.bytes_written >= size
    again = storage.snapshot()
    assert again == type(again)(first.position, 0, size)
    put(storage, 2, tail=[LOAD])
    second = storage.snapshot()
    assert second.position == first.position + 1
    assert CHUNK_BYTES < second.bytes_written < first.bytes_written / 2
    full = storage.snapshot(full=True)
    assert full.bytes_written >= full.bytes_total
    assert [error for _, error in storage.check_snapshots()] == [None, None]


def test_two_are_kept_and_the_log_is_cut_below_the_older(storage: DirectoryStorage) -> None:
    """Files of older ones go, but for packs that are still wanted."""
    for n in range(5):
        put(storage, 2, tail=[LOAD + n])
        storage.snapshot()
        assert len(files(storage, ".snapshot")) == min(n + 1, 2)
    kept = storage.snapshots.kept
    assert [found.position for found in kept] == [storage.position, storage.position - 1]
    named = {file.name for manifest in kept for file in manifest.files}
    assert named == {path.name for path in files(storage, ".pack")}
    assert storage.snapshots.rebuilt_from == storage.position - 1


def test_segments_of_the_log_go_once_two_snapshots_hold_them(storage: DirectoryStorage) -> None:
    """Below the older snapshot nothing is kept of the log, above it everything."""
    for n in range(12):
        append(storage, support.large(n))
        if n in (5, 10):
            storage.snapshot()
            assert first_of_log(storage) == 1 if n == 5 else first_of_log(storage) > 1
    older = storage.snapshots.kept[1].position
    assert 1 < first_of_log(storage) <= older + 1


def test_packs_that_are_mostly_dead_are_written_anew(storage: DirectoryStorage) -> None:
    """However often all of a state changes, its snapshots stay within a few times its size."""
    sizes = []
    for n in range(6):
        table = dict.fromkeys(range(LOAD), n + 1)
        put(storage, n + 2, segments=[range(LOAD)], removed=table)
        size = storage.snapshot().bytes_total
        sizes.append(sum(path.stat().st_size for path in files(storage, "")) / size)
    assert max(sizes) < 3.2, sizes


def test_a_snapshot_is_taken_aside_once_the_log_has_grown(storage: DirectoryStorage) -> None:
    """Writers do not wait for it; what they write meanwhile is not in it and not lost."""
    storage.snapshot_debt = 200_000
    key = LOAD
    while storage.snapshots.newest is None:
        key += 500
        put(storage, 2, tail=range(key, key + 500))
        storage.settle()
    assert storage.snapshot_error is None
    newest = storage.snapshots.newest.position
    put(storage, 3, tail=[-1])
    assert storage.position > newest
    storage.abandon()
    reopened = open_directory(storage.path)
    assert contents(reopened)[-1] == 3
    reopened.close()


def test_sqlites_own_log_stays_short(storage: DirectoryStorage) -> None:
    """It starts anew now and then; while somebody reads it can only grow, and shrinks after."""
    log = storage.path / "state" / "state.db-wal"
    with storage.reading() as db:
        before = db.one("SELECT count(*) FROM keysets")
        for n in range(90):
            append(storage, support.large(n))
        assert log.stat().st_size > 36_000_000
        assert db.one("SELECT count(*) FROM keysets") == before
    held = log.stat().st_size
    for n in range(90, 250):
        append(storage, support.large(n))
    assert log.stat().st_size <= held + 36_000_000
    storage.snapshot()
    assert log.stat().st_size == 0


def test_much_garbage_calls_for_a_snapshot(storage: DirectoryStorage) -> None:
    """Objects that leave the state count as log, so that their space comes back soon."""
    taken = storage.snapshot().position
    storage.snapshot_debt = 80_000
    append(storage, create(support.OTHER))
    storage.settle()
    assert [found.position for found in storage.snapshots.kept] == [taken]
    append(storage, support.drop())
    storage.settle()
    assert storage.snapshots.kept[0].position == storage.position > taken


class FullDisk(Disk):
    """Takes no snapshot while ``full``."""

    full = False

    def write(self, fd: int, data: Buffer, path: Path) -> None:
        if self.full and path.parent.name == "snapshots":
            fail("AM-4008", file=path.name, what="no space")
        super().write(fd, data, path)


def test_a_snapshot_that_finds_no_room_harms_nobody(tmp_path: Path) -> None:
    """It leaves no file behind, the error is kept, writes go on, and a later one succeeds."""
    disk = FullDisk()
    storage = open_directory(tmp_path / "db", disk)
    append(storage, create())
    put(storage, 1, segments=[range(20_000)])
    storage.snapshot()
    put(storage, 2, segments=[range(20_000, 40_000)])
    before = files(storage, "")
    disk.full = True
    with pytest.raises(AmatersError, match="AM-4008"):
        storage.snapshot()
    assert files(storage, "") == before
    storage.snapshot_debt = 0
    put(storage, 3, tail=[-1])
    storage.settle()
    assert storage.snapshot_error is not None and storage.snapshot_error.code == "AM-4008"
    assert storage.failed is None
    disk.full = False
    storage.snapshot_debt = 1 << 30
    put(storage, 4, tail=[-2])
    assert storage.snapshot().position == storage.position
    assert len(contents(storage)) == 40_002
    storage.close()


def test_an_image_stands_still_while_others_write(storage: DirectoryStorage) -> None:
    """A frozen state is that of its position, whole, whatever is committed meanwhile."""
    named = table_of(storage).object_ids()
    with storage.frozen() as image:
        before = b"".join(bytes(chunk) for chunk in image.chunks())
        for n in range(40):
            put(storage, 2, tail=range(LOAD + 1000 * n, LOAD + 1000 * n + 1000))
        put(storage, 3, segments=[[-1]])
        assert b"".join(bytes(chunk) for chunk in image.chunks()) == before
        assert {ref.object_id for ref in image.refs()} == named
        image.check()
        assert image.position == 2 and storage.position == 43
    assert storage.snapshot().position == 43


class ForgetfulDisk(Disk):
    """Writes a wrong byte into one file of the snapshots, and says nothing."""

    harms = ""

    def write(self, fd: int, data: Buffer, path: Path) -> None:
        if self.harms and path.name.endswith(f"{self.harms}.tmp") and len(data) > 100:
            data = bytes([data[0] ^ 1]) + bytes(data[1:])
        super().write(fd, data, path)


@pytest.mark.parametrize("harms", [".pack", ".snapshot"])
def test_nothing_relies_on_a_snapshot_that_does_not_come_back(tmp_path: Path, harms: str) -> None:
    """What was written is read back; if it differs, the older snapshots and the log stay."""
    disk = ForgetfulDisk()
    storage = open_directory(tmp_path / "db", disk)
    append(storage, create())
    put(storage, 1, segments=[range(3000)])
    good = storage.snapshot().position
    put(storage, 2, segments=[range(3000, 6000)])
    disk.harms = harms
    with pytest.raises(AmatersError, match="AM-4014"):
        storage.snapshot()
    assert [found.position for found in storage.snapshots.kept] == [good]
    disk.harms = ""
    assert len(files(storage, "")) == 2
    assert storage.snapshot().position == good + 1
    storage.close()


class DiedError(Exception):
    """What the disk of a dead process raises."""


class DyingDisk(Disk):
    """Its process dies before one of the steps of writing a snapshot."""

    life = 1 << 30

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

    def rename(self, old: Path, new: Path) -> None:
        self._live()
        super().rename(old, new)

    def remove(self, path: Path) -> None:
        self._live()
        super().remove(path)


def test_death_at_every_step_of_a_snapshot(tmp_path: Path) -> None:
    """The state can be made again from what is left, and the next snapshot cleans up."""
    path, disk, rows = tmp_path / "db", DyingDisk(), 3000
    storage = open_directory(path, disk)
    append(storage, create())
    put(storage, 1, segments=[range(rows)])
    storage.snapshot()
    survived = False
    while not survived:
        put(storage, 2, segments=[[rows]])
        rows += 1
        disk.life = rows - 3001
        try:
            storage.snapshot()
            survived = True
        except DiedError:
            survived = False
        disk.life = 1 << 30
        storage.abandon()
        for name in ("state.db", "state.db-wal", "state.db-shm"):
            disk.remove(path / "state" / name)
        storage = open_directory(path, disk)
        assert storage.notice is not None and len(contents(storage)) == rows
    assert rows > 3008
    put(storage, 3, tail=[-1])
    storage.snapshot()
    assert all(error is None for _, error in storage.check_snapshots())
    assert not files(storage, ".tmp")
    storage.close()


def test_a_group_cannot_take_a_snapshot_of_itself(storage: DirectoryStorage) -> None:
    """It is refused, and the group goes on."""
    with storage.group() as group:
        command = batch(storage, 2, tail=[LOAD])
        group.apply(command, found_rows(storage, command))
        with pytest.raises(AmatersError, match="AM-4013"):
            storage.snapshot()
    assert contents(storage)[LOAD] == 2
