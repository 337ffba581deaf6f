"""Who owns a shard: in one process, on one machine, on an object store."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from object_support import QUICK, memory_blobs, opened
from s3 import Bucket, Proxy

from amaters.base.errors import ConflictError, DataError
from amaters.storage.coordinator import (
    Coordinator,
    FileCoordinator,
    LocalOwnership,
    StoreCoordinator,
)
from amaters.storage.files import Disk
from amaters.storage.remote import open_blobs

HOLDER = """
import sys
from pathlib import Path
from amaters.storage.coordinator import FileCoordinator
from amaters.storage.files import Disk
print(FileCoordinator(Path(sys.argv[1]), Disk()).acquire(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["local", "store"])
def pair(request: pytest.FixtureRequest, bucket: Bucket) -> tuple[Coordinator, Coordinator]:
    """Two views of one shard, where whoever comes later deposes."""
    if request.param == "local":
        ownership = LocalOwnership()
        return ownership.coordinator(b"s"), ownership.coordinator(b"s")
    first, second = (StoreCoordinator(open_blobs(bucket.url()), QUICK) for _ in range(2))
    return first, second


def test_whoever_comes_later_owns(pair: tuple[Coordinator, Coordinator]) -> None:
    """Epochs rise, the newest holds, a former one never again, not even after a release."""
    first, second = pair
    one = first.acquire()
    assert first.holds(one)
    two = second.acquire()
    assert two > one and second.holds(two) and not first.holds(one)
    three = first.acquire()
    assert three > two and first.holds(three) and not second.holds(two) and not first.holds(one)
    second.release()
    assert first.holds(three)


def test_epochs_are_taken_once(bucket: Bucket, proxy: Proxy) -> None:
    """Eight at once, over a network that loses answers: eight epochs without a gap, for a gap
    would hide a successor; the highest holds.
    """
    for kind in ("refuse", "late", "lost"):
        proxy.fail("PUT", "/owners/", kind, times=2)
    blobs = open_blobs(bucket.url(port=proxy.port), timeout_seconds=5)
    views = [StoreCoordinator(blobs, QUICK) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        epochs = list(pool.map(lambda view: view.acquire(), views))
    assert sorted(epochs) == list(range(1, 9))
    assert [view.holds(e) for view, e in zip(views, epochs, strict=True)] == [
        e == 8 for e in epochs
    ]


def test_a_file_is_held_by_one_process(tmp_path: Path) -> None:
    """A living owner is not deposed; a dead one is, by a higher epoch, which is durable."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    mine = FileCoordinator(tmp_path, Disk())
    assert mine.acquire() == 1 and mine.holds(1)
    mine.release()
    assert not mine.holds(1)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert int(child.stdout.readline()) == 2
        with pytest.raises(ConflictError, match="AM-4002"):
            mine.acquire()
        assert not mine.holds(1)
        child.kill()
    assert mine.acquire() == 3 and mine.holds(3)
    mine.release()
    (tmp_path / "EPOCH").write_bytes(b"x" * 17)
    with pytest.raises(DataError, match="AM-4001"):
        mine.acquire()
    assert FileCoordinator(tmp_path / "other", Disk()).acquire() == 1


def test_a_log_under_a_file_coordinator(tmp_path: Path) -> None:
    """Any coordinator goes with any store: here the lock of a directory and blobs elsewhere."""
    blobs = memory_blobs()
    for run in range(3):
        log, found = opened(blobs, owner=FileCoordinator(tmp_path, Disk()))
        assert len(found) == run and log.append(b"%d" % run) == run + 1
        log.close()
