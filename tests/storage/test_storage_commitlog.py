"""Every backend of the commit log: what was acknowledged is there, in order, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from commitlog_support import DATABASE, QUIET, RefusingDisk, copied, opened, options, payloads_of

from amaters.base.errors import AmatersError, DataError, UsageError
from amaters.storage.commitlog import frames
from amaters.storage.commitlog.core import RECORD_BYTES_MAX, SegmentLog
from amaters.storage.commitlog.devices import BACKENDS
from amaters.storage.files import Disk

pytestmark = pytest.mark.parametrize("backend", BACKENDS)
MIXED = [b"", b"x", b"y" * 100, b"z" * 65_535, b"w" * 65_536, b"v" * 1_500_000, b"u"]


def test_records_come_back_in_order(tmp_path: Path, backend: str) -> None:
    """Small, large and empty ones, over several segments, from any applied position, whichever
    backend reads them.
    """
    log, found = opened(tmp_path, options(backend))
    assert found == [] and log.backend == backend and log.notice is None
    assert [log.append(payload) for payload in MIXED] == list(range(1, 8))
    assert log.last == 7 and log.bytes_since_checkpoint > 1_600_000
    log.close()
    assert len(list(tmp_path.glob("*.segment"))) == 3
    for reader in BACKENDS:
        assert payloads_of(tmp_path, options(reader)) == MIXED
    assert payloads_of(tmp_path, options(backend), applied=4) == MIXED[4:]


def test_appending_goes_on_after_reopening(tmp_path: Path, backend: str) -> None:
    """Later runs continue the positions of the first; an empty run leaves no file behind."""
    expected = []
    for run in range(3):
        log, found = opened(tmp_path, options(backend))
        assert [record.payload for record in found] == expected
        for n in range(run):
            expected.append(b"%d-%d" % (run, n))
            assert log.append(expected[-1]) == len(expected)
        log.close()
    assert len(list(tmp_path.iterdir())) == 2


def test_many_threads_share_few_writes(tmp_path: Path, backend: str) -> None:
    """Each thread's records are in its order, each at the position it was told; a channel with
    room for three makes the others wait.
    """
    log, _ = opened(tmp_path, options(backend, channel_capacity=3, batch_size=2, ring_size=2))
    told: dict[int, bytes] = {}

    def work(thread: int) -> None:
        for n in range(40):
            payload = b"%d %d" % (thread, n)
            told[log.append(payload)] = payload

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    found = payloads_of(tmp_path, options(backend))
    assert dict(enumerate(found, start=1)) == told and len(found) == 240
    for n in range(6):
        mine = [int(p.split()[1]) for p in found if p.startswith(b"%d " % n)]
        assert mine == list(range(40))


def test_every_way_to_append_at_once(tmp_path: Path, backend: str) -> None:
    """Whoever finds nobody writing writes itself; that mixes with the writer thread, with groups
    and with tasks, and each record is at the position that was told.
    """
    log, _ = opened(tmp_path, options(backend, witness_seconds=0.001))
    told: dict[int, bytes] = {}

    def alone(n: int) -> None:
        for i in range(30):
            told[log.append(b"%d alone %d" % (n, i))] = b"%d alone %d" % (n, i)

    def grouped(n: int) -> None:
        for i in range(10):
            group = [b"%d group %d %d" % (n, i, part) * (1 + 9000 * part) for part in range(3)]
            last = log.append_all(group)
            told.update(zip(range(last - 2, last + 1), group, strict=True))

    def tasks(n: int) -> None:
        async def one(i: int) -> None:
            told[await log.append_async(b"%d task %d" % (n, i))] = b"%d task %d" % (n, i)

        async def work() -> None:
            await asyncio.gather(*map(one, range(30)))

        asyncio.run(work())

    work = [alone, alone, grouped, grouped, tasks, tasks]
    threads = [threading.Thread(target=call, args=(n,)) for n, call in enumerate(work)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    found = payloads_of(tmp_path, options(backend))
    assert dict(enumerate(found, start=1)) == told and len(found) == 2 * (30 + 30 + 30)


def test_tasks_are_told_in_order(tmp_path: Path, backend: str) -> None:
    """Positions of one loop's tasks are resolved ascending, many to a frame."""
    log, _ = opened(tmp_path, options(backend))
    order: list[int] = []

    async def work() -> None:
        async def one(n: int) -> None:
            for _ in range(10):
                order.append(await log.append_async(bytes([n]) * (70_000 if n == 3 else n)))

        await asyncio.gather(*(one(n) for n in range(50)))

    asyncio.run(work())
    log.close()
    assert order == list(range(1, 501))
    (segment,) = tmp_path.glob("*.segment")
    assert count_frames(segment) < 500


def count_frames(path: Path) -> int:
    data = memoryview(path.read_bytes())
    life = frames.decode_segment(data, path.name, DATABASE).life
    heads = [frames.decode_head(data, at, life) for at in range(0, len(data), frames.BLOCK)]
    return sum(head is not None for head in heads)


def test_a_full_channel_refuses_tasks(tmp_path: Path, backend: str) -> None:
    """A task cannot be made to wait for room, so it is told to come back; nothing is lost."""
    log, _ = opened(tmp_path, options(backend, channel_capacity=1))

    async def work() -> list[object]:
        calls = (log.append_async(b"%d" % n) for n in range(50))
        return list(await asyncio.gather(*calls, return_exceptions=True))

    results = asyncio.run(work())
    log.close()
    refused = [r for r in results if isinstance(r, AmatersError)]
    assert {r.code for r in refused} <= {"AM-4009"}
    assert len(payloads_of(tmp_path, options(backend))) == 50 - len(refused)


def make(path: Path, backend: str, count: int, **more: object) -> list[bytes]:
    log, _ = opened(path, options(backend, witness_seconds=QUIET, **more))
    payloads = [bytes([n]) * (n * 2500 + 1) for n in range(count)]
    for payload in payloads:
        log.append(payload)
    log.close()
    return payloads


def image(path: Path) -> tuple[str, bytes]:
    """The only segment, without the zeros nobody wrote."""
    (segment,) = path.glob("*.segment")
    whole = segment.read_bytes()
    return segment.name, whole[: frames.blocks(len(whole.rstrip(b"\0")))]


def test_a_torn_tail_is_cut(tmp_path: Path, backend: str) -> None:
    """Whatever blocks of the last frames are lost: a prefix is there, and appending goes on; what
    was void stays void. The witness of ``close`` is lost first: it would say that this is damage.
    """
    payloads = make(tmp_path / "a", backend, 6)
    name, whole = image(tmp_path / "a")
    ends = range(frames.BLOCK, len(whole) + 1, frames.BLOCK)
    for n, end in enumerate(ends):
        torn = whole[:end].ljust(1 << 20, b"\0")
        path = copied(tmp_path / f"t{n}", name, torn)
        found = payloads_of(path, options(backend))
        assert found == payloads[: len(found)]
        log, _ = opened(path, options(backend))
        assert log.append(b"new") == len(found) + 1
        log.close()
        assert payloads_of(path, options(backend)) == [*found, b"new"]
    assert len(found) == 6


def test_every_flip_below_a_witness_is_damage(tmp_path: Path, backend: str) -> None:
    """Flips in any byte that matters raise; flips in padding and in the last witness change
    nothing. A sample of all bytes, and a closer one of the headers.
    """
    payloads = make(tmp_path / "a", backend, 5)
    name, whole = image(tmp_path / "a")
    path = copied(tmp_path / "b", name, whole)
    reported = 0
    heads = {at + n for at in range(0, len(whole), frames.BLOCK) for n in range(0, 120, 13)}
    for byte in sorted(heads | set(range(0, len(whole), 211))):
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << byte % 8
        (path / name).write_bytes(damaged)
        log = SegmentLog(path, Disk(), DATABASE, options("buffered"))
        try:
            assert [record.payload for record in log.replay(0)] == payloads
        except DataError as error:
            assert error.code == "AM-4001"
            reported += 1
        log.close()
    assert reported > sum(map(len, payloads)) // 211 + 20


def test_lost_files_and_records_are_damage(tmp_path: Path, backend: str) -> None:
    """No file, a hole between files, and less than the state applied, are reported."""
    make(tmp_path / "a", backend, 3)
    with pytest.raises(DataError, match="AM-4001"):
        opened(tmp_path / "a", options(backend), applied=4)
    log, _ = opened(tmp_path / "b", options(backend))
    for _ in range(4):
        log.append(b"x" * 900_000)
    log.close()
    second = sorted((tmp_path / "b").glob("*.segment"))[1]
    second.unlink()
    with pytest.raises(DataError, match="AM-4001"):
        opened(tmp_path / "b", options(backend))
    for path in (tmp_path / "b").glob("*.segment"):
        path.unlink()
    (tmp_path / "b" / "other").touch()
    with pytest.raises(DataError, match="AM-4001"):
        opened(tmp_path / "b", options(backend))
    with pytest.raises(DataError, match="AM-4001"):
        other = SegmentLog(tmp_path / "a", Disk(), b"e" * 16, options(backend))
        list(other.replay(0))


def test_cut_recycles_files_and_never_their_records(tmp_path: Path, backend: str) -> None:
    """Four files go round for ever; each yields only what its present life wrote, and what was cut
    is not taken for there.
    """
    chosen = options(backend, segment_bytes=1 << 20, spare_segments=3)
    log, _ = opened(tmp_path, chosen)
    inodes = set()
    for n in range(12):
        position = log.append(bytes([n]) * 600_000)
        if n % 3 == 2:
            log.cut(position)
            inodes |= {path.stat().st_ino for path in tmp_path.iterdir()}
    assert len(inodes) == 4
    log.append(b"kept")
    log.close()
    assert payloads_of(tmp_path, chosen, applied=12) == [b"kept"]
    with pytest.raises(DataError, match="AM-4001"):
        opened(tmp_path, chosen, applied=3)


def test_frames_of_an_earlier_life_are_ignored(tmp_path: Path, backend: str) -> None:
    """The whole body of an earlier life under a new header reads as empty."""
    make(tmp_path / "a", backend, 4)
    name, whole = image(tmp_path / "a")
    header = frames.SegmentHeader(DATABASE, b"n" * 16, 1, 1)
    renewed = frames.encode_segment(header) + whole[frames.BLOCK :]
    path = copied(tmp_path / "b", name, renewed.ljust(1 << 20, b"\0"))
    log, found = opened(path, options(backend))
    assert found == [] and log.append(b"one") == 1
    log.close()
    assert payloads_of(path, options(backend)) == [b"one"]


def test_epochs(tmp_path: Path, backend: str) -> None:
    """Records carry the epoch of their writer; an earlier epoch is refused once a later one wrote,
    and an epoch that falls is damage.
    """
    for epoch in (3, 3, 7):
        log, _ = opened(tmp_path, options(backend), epoch=epoch)
        log.append(b"in %d" % epoch)
        log.close()
    log, found = opened(tmp_path, options(backend))
    assert [record.epoch for record in found] == [3, 3, 7] and log.epoch == 7
    log.close()
    with pytest.raises(AmatersError, match="AM-4010"):
        opened(tmp_path, options(backend), epoch=6)
    last = max(tmp_path.glob("*.segment"))
    header = frames.decode_segment(last.read_bytes(), last.name, DATABASE)
    lower = frames.SegmentHeader(DATABASE, header.life, header.first, 2)
    last.write_bytes(frames.encode_segment(lower) + last.read_bytes()[frames.BLOCK :])
    with pytest.raises(DataError, match="AM-4001"):
        opened(tmp_path, options(backend))


def test_what_is_refused(tmp_path: Path, backend: str) -> None:
    """Too large a record, and anything on a log that is closed or was not read yet."""
    log, _ = opened(tmp_path, options(backend))
    with pytest.raises(AmatersError, match="AM-3005"):
        log.append(bytes(RECORD_BYTES_MAX + 1))
    assert log.append(b"fits") == 1
    log.close()
    with pytest.raises(AmatersError, match="AM-4004"):
        log.append(b"late")
    unread = SegmentLog(tmp_path, Disk(), DATABASE, options(backend))
    with pytest.raises(AmatersError, match="AM-4004"):
        unread.append(b"early")
    with pytest.raises(UsageError):
        options(backend + "?")


def test_without_direct_io_there_is_a_notice(tmp_path: Path, backend: str) -> None:
    """Where the file system refuses, the log says so and works through the page cache."""
    log, _ = opened(tmp_path, options(backend), disk=RefusingDisk())
    assert (log.notice is None) == (backend == "buffered")
    assert log.backend == ("buffered" if backend == "direct" else backend)
    assert log.append(b"kept") == 1
    log.close()
    assert payloads_of(tmp_path, options(backend)) == [b"kept"]
