"""What every backend of the commit log promises, on disks and on an S3 server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import commitlog_support
import object_support
import pytest
from s3 import Bucket

from amaters.base.errors import AmatersError
from amaters.storage.commitlog.core import RECORD_BYTES_MAX
from amaters.storage.commitlog.devices import BACKENDS
from amaters.storage.commitlog.segments import Record
from amaters.storage.remote import open_blobs

Open = Callable[..., tuple[Any, list[Record]]]
MIXED = [b"", b"x", b"y" * 100, b"z" * 65_535, b"w" * 65_536, b"v" * 1_500_000, b"u"]


@pytest.fixture(params=[*BACKENDS, "object"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same log each time; keywords are options."""
    if request.param == "object":
        bucket: Bucket = request.getfixturevalue("bucket")
        blobs = open_blobs(bucket.url())
        return lambda applied=0, **more: object_support.opened(blobs, applied, **more)

    def on_disk(applied: int = 0, **more: object) -> tuple[Any, list[Record]]:
        chosen = commitlog_support.options(request.param, **more)
        return commitlog_support.opened(tmp_path, chosen, applied)

    return on_disk


def held(open_log: Open, applied: int = 0) -> list[bytes]:
    """What the log holds, opened and closed again."""
    log, found = open_log(applied)
    log.close()
    assert [record.position for record in found] == list(
        range(applied + 1, applied + 1 + len(found))
    )
    return [record.payload for record in found]


def test_records_come_back_in_order(open_log: Open) -> None:
    """Small, large and empty ones, from any applied position."""
    log, found = open_log()
    assert found == [] and log.notice is None
    assert [log.append(payload) for payload in MIXED] == list(range(1, 8))
    assert log.append_all([b"a", b"b"]) == 9
    assert log.last == 9 and log.bytes_since_checkpoint > 1_600_000
    log.close()
    for applied in (0, 4, 8, 9):
        assert held(open_log, applied) == [*MIXED, b"a", b"b"][applied:]


def test_appending_goes_on_after_reopening(open_log: Open) -> None:
    """Later runs continue the positions of the first."""
    expected: list[bytes] = []
    for run in range(3):
        log, found = open_log()
        assert [record.payload for record in found] == expected
        for n in range(run):
            expected.append(b"%d-%d" % (run, n))
            assert log.append(expected[-1]) == len(expected)
        log.close()


def test_threads_share_writes(open_log: Open) -> None:
    """Each thread's records are in its order, each at the position it was told; a channel with
    room for three makes the others wait.
    """
    log, _ = open_log(channel_capacity=3, batch_size=2)
    told: dict[int, bytes] = {}

    def work(thread: int) -> None:
        for n in range(8):
            payload = b"%d %d" % (thread, n)
            told[log.append(payload)] = payload

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    found = held(open_log)
    assert dict(enumerate(found, start=1)) == told and len(found) == 48
    for n in range(6):
        mine = [int(p.split()[1]) for p in found if p.startswith(b"%d " % n)]
        assert mine == list(range(8))


def test_tasks_are_told_their_positions(open_log: Open) -> None:
    """Tasks of one loop get each its own position; all are there."""
    log, _ = open_log()

    async def work() -> list[int]:
        return list(await asyncio.gather(*(log.append_async(bytes([n])) for n in range(100))))

    told = asyncio.run(work())
    log.close()
    found = held(open_log)
    assert sorted(told) == list(range(1, 101))
    assert [found[position - 1] for position in told] == [bytes([n]) for n in range(100)]


def test_a_full_channel_refuses_tasks(open_log: Open) -> None:
    """A task cannot be made to wait for room, so it is told to come back; nothing is lost."""
    log, _ = open_log(channel_capacity=1)

    async def work() -> list[object]:
        calls = (log.append_async(b"%d" % n) for n in range(50))
        return list(await asyncio.gather(*calls, return_exceptions=True))

    results = asyncio.run(work())
    log.close()
    refused = [r for r in results if isinstance(r, AmatersError)]
    assert {r.code for r in refused} <= {"AM-4009"}
    assert len(held(open_log)) == 50 - len(refused)


def test_what_is_cut_stays_cut(open_log: Open) -> None:
    """Records after the cut are there; what was cut is not taken for there."""
    for run in range(4):
        log, found = open_log(4 * run)
        assert found == []
        for n in range(4):
            log.append(bytes([n]) * 600_000)
        log.cut(4 * run + 4)
        assert log.bytes_since_checkpoint == 0
        log.close()
    log, _ = open_log(16)
    log.append(b"kept")
    log.close()
    assert held(open_log, 16) == [b"kept"]
    with pytest.raises(AmatersError, match="AM-4001"):
        open_log(3)


def test_what_is_refused(open_log: Open) -> None:
    """Too large a record, and anything on a log that is closed; more was applied than is there."""
    log, _ = open_log()
    with pytest.raises(AmatersError, match="AM-3005"):
        log.append(bytes(RECORD_BYTES_MAX + 1))
    assert log.append(b"fits") == 1
    log.close()
    with pytest.raises(AmatersError, match="AM-4004"):
        log.append(b"late")
    with pytest.raises(AmatersError, match="AM-4001"):
        open_log(2)
