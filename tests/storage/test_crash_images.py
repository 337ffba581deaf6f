"""Power failures: a database is recorded while it works, and opened from whatever may be left.

Each image is a prefix of the recorded writes, syncs and renames, less some that were not synced,
torn at sectors. In each: every acknowledged step is there, every other whole or not at all, keys
and indexes agree with rows.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from faults.images import SECTOR, Fate, crash_images, final_files
from faults.journal import Journal
from faults.lives import generations, quick_directory
from faults.recording import RecordingDisk

from amaters.base.errors import AmatersError
from amaters.storage import directory, recovery
from amaters.storage.files import Disk

GENERATIONS, IMAGES = 13, 39


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What usually happens once in a long while happens all the time: SQLite's pages are moved, a
    replay commits in between, a snapshot is taken aside.
    """
    monkeypatch.setattr(directory, "WAL_PAGES", 12)
    monkeypatch.setattr(recovery, "WAL_PAGES", 12)
    monkeypatch.setattr(recovery, "_REPLAY_BYTES", 3000)
    monkeypatch.setattr(directory, "SNAPSHOT_DEBT", 12_000)


def test_three_hundred_crashes() -> None:
    """Eight lives, each from a crash image of the one before; crashes while opening included."""
    with quick_directory() as home:
        assert generations(home, Random(1), 8, 38) >= 300


@pytest.mark.usefixtures("small_limits")
def test_two_hundred_crashes_with_small_limits() -> None:
    """The same while pages move, replays commit in between, and snapshots are taken aside."""
    with quick_directory() as home:
        assert generations(home, Random(2), 6, 35) >= 200


@pytest.mark.stress
@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("seed", range(20))
def test_ten_thousand_crashes(seed: int) -> None:
    """The same for longer."""
    with quick_directory() as home:
        generations(home, Random(100 + seed), GENERATIONS, IMAGES)


class NeverSyncing(RecordingDisk):
    """A disk that says it synced a file, and did not."""

    def sync(self, fd: int, path: Path) -> None:
        """Nothing."""


class NeverSyncingNames(RecordingDisk):
    """A disk that says it synced a directory, and did not."""

    def sync_directory(self, path: Path) -> None:
        """Nothing."""


@pytest.mark.parametrize("recorder", [NeverSyncing, NeverSyncingNames])
def test_a_lying_disk_is_found_out(recorder: type[RecordingDisk]) -> None:
    """The images can tell: a database on a disk that does not sync loses what it acknowledged."""
    with quick_directory() as home, pytest.raises((AssertionError, AmatersError)):
        generations(home, Random(2), 3, 40, recorder)


def test_what_a_crash_keeps(tmp_path: Path) -> None:
    """Synced bytes and names are in every image; of others all outcomes occur, torn ones too."""
    journal = Journal(tmp_path)
    disk = RecordingDisk(journal)
    fd = disk.create(tmp_path / "a.tmp")
    disk.write(fd, b"1" * 2 * SECTOR, tmp_path / "a.tmp")
    disk.sync(fd, tmp_path / "a.tmp")
    disk.publish(tmp_path / "a.tmp", tmp_path / "a")
    synced = len(journal.events)
    disk.write(fd, b"2" * 2 * SECTOR, tmp_path / "a")
    disk.close(fd)
    disk.close(disk.create(tmp_path / "b"))
    disk.remove(tmp_path / "a")
    seen = set()
    for image in crash_images(journal, Random(1), 1000, first=synced):
        content = image.files["a"].data if "a" in image.files else None
        assert content is None or content.startswith(b"1" * 2 * SECTOR)
        seen.add((content and content[2 * SECTOR :], "b" in image.files))
    tails = (b"", b"2" * SECTOR, bytes(SECTOR) + b"2" * SECTOR, b"2" * 2 * SECTOR, None)
    assert seen == {(tail, there) for tail in tails for there in (True, False)}
    assert final_files(journal) == {"b": b""}


def test_what_is_durable_by_itself_stays(tmp_path: Path) -> None:
    """A durable write in place survives next to one that was not synced."""
    journal = Journal(tmp_path)
    disk = RecordingDisk(journal)
    path = tmp_path / "a"
    disk.allocate(path, 4096)
    disk.sync_directory(tmp_path)
    fd = disk.open_segment(path, direct=False)
    disk.write_at(fd, [memoryview(b"1" * 1024)], 0, path)
    disk.write_at(fd, [memoryview(b"2" * 512)], 512, path, durable=True)
    disk.close(fd)
    images = list(crash_images(journal, Random(1), 50, first=len(journal.events)))
    assert {image.files["a"].data[512:1024] for image in images} == {b"2" * 512}
    assert {image.files["a"].data[:512] for image in images} == {b"1" * 512, bytes(512)}
    assert Fate(Random(1), 1.0).keeps()


def test_every_method_of_the_disk_is_known() -> None:
    """A new way to change a file must be recorded too."""
    reads = {"open_read", "read_all", "read_prefix", "read_at", "names", "takes_direct"}
    others = {"lock", "touch", "allocate", "publish"}  # nothing to lose, or made of others
    methods = {name for name in vars(Disk) if not name.startswith("_")}
    assert methods - reads - others <= set(vars(RecordingDisk))
