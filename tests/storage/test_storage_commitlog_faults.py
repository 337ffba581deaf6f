"""The commit log on disks that fail: typed errors, nothing acknowledged is lost, nobody hangs."""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from commitlog_support import (
    DATABASE,
    FailingDevice,
    RefusingDisk,
    copied,
    opened,
    options,
    payloads_of,
)

from amaters.base.errors import AmatersError, DataError
from amaters.storage.commitlog import frames
from amaters.storage.commitlog.core import SegmentLog
from amaters.storage.commitlog.devices import BACKENDS, open_device
from amaters.storage.files import Disk, failed

backends = pytest.mark.parametrize("backend", BACKENDS)


def failing(path: Path, backend: str, failing: int, code: str) -> SegmentLog:
    """A log whose write number ``failing`` fails, once."""
    log, _ = opened(path, options(backend))
    log.close()
    device = FailingDevice(path, options(backend), failing, code)
    return opened(path, options(backend), device=device)[0]


@backends
@pytest.mark.parametrize("code", ["AM-4003", "AM-4008"])
@pytest.mark.parametrize("write", [1, 4])
def test_a_failed_write_is_final(tmp_path: Path, backend: str, code: str, write: int) -> None:
    """Everybody who waits gets the error, everybody later AM-4004, although the disk works again;
    a reopened log holds what was acknowledged, in order, and goes on.
    """
    log = failing(tmp_path, backend, write, code)
    acknowledged: dict[int, bytes] = {}
    errors: list[str] = []

    def work(thread: int) -> None:
        for n in range(50):
            payload = b"%d %d" % (thread, n)
            try:
                acknowledged[log.append(payload)] = payload
            except AmatersError as error:
                errors.append(error.code)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert code in errors and set(errors) == {code, "AM-4004"}
    assert len(errors) + len(acknowledged) == 200
    with pytest.raises(AmatersError, match="AM-4004"):
        log.append(b"late")
    log.close()
    found = payloads_of(tmp_path, options(backend))
    assert dict(enumerate(found, start=1)).items() >= acknowledged.items()
    again, _ = opened(tmp_path, options(backend))
    assert again.append(b"on") == len(found) + 1
    again.close()


@backends
def test_nobody_waits_for_ever(tmp_path: Path, backend: str) -> None:
    """Large records, some to a write, taken together: those behind the failed write hear of it too,
    and what was acknowledged is a prefix.
    """
    log = failing(tmp_path, backend, 2, "AM-4003")
    futures = []
    for n in range(12):
        try:
            futures.append(log.submit(bytes([n]) * 1_500_000))
        except AmatersError as error:
            assert error.code == "AM-4004"
    results = [future.exception(timeout=60) for future in futures]
    log.close()
    codes = [error.code for error in results if isinstance(error, AmatersError)]
    done = results.count(None)
    assert results[:done] == [None] * done and set(codes) == {"AM-4003"}
    found = payloads_of(tmp_path, options(backend))
    assert len(found) >= done and found == [bytes([n]) * 1_500_000 for n in range(len(found))]


@backends
def test_tasks_hear_of_a_failed_write(tmp_path: Path, backend: str) -> None:
    """All tasks end with a typed error."""
    log = failing(tmp_path, backend, 1, "AM-4003")

    async def work() -> list[object]:
        calls = (log.append_async(b"%d" % n) for n in range(20))
        return list(await asyncio.gather(*calls, return_exceptions=True))

    results = asyncio.run(work())
    log.close()
    assert {r.code for r in results if isinstance(r, AmatersError)} == {"AM-4003"}
    assert len(results) == 20 and not any(isinstance(r, int) for r in results)


class FullDisk(Disk):
    """No room for another file, half of which was written."""

    def __init__(self) -> None:
        self.full = False

    def write(self, fd: int, data: bytes | bytearray | memoryview, path: Path) -> None:
        if self.full:
            os.write(fd, memoryview(data)[: len(data) // 2])
            failed(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        super().write(fd, data, path)


@backends
def test_a_full_disk(tmp_path: Path, backend: str) -> None:
    """Room in segments is there beforehand, so only a new one fails, typed and without leaving
    half a file; what was acknowledged can be read on the full disk.
    """
    disk = FullDisk()
    log, _ = opened(tmp_path, options(backend), disk=disk)
    disk.full = True
    assert log.append(b"a" * 700_000) == 1
    with pytest.raises(AmatersError, match="AM-4008"):
        log.append(b"b" * 700_000)
    with pytest.raises(AmatersError, match="AM-4004"):
        log.append(b"c")
    log.close()
    assert [path.suffix for path in tmp_path.iterdir()] == [".segment"]
    again, found = opened(tmp_path, options(backend), disk=disk)
    assert [record.payload for record in found] == [b"a" * 700_000]
    again.close()


class BrokenDisk(Disk):
    """Its writes in place, or its syncs, fail once with EIO."""

    def __init__(self, broken: str) -> None:
        self.broken = broken
        self.armed = False

    def _break(self, what: str, path: Path) -> None:
        if self.armed and what == self.broken:
            self.armed = False
            failed(path, OSError(errno.EIO, os.strerror(errno.EIO)))

    def sync(self, fd: int, path: Path) -> None:
        self._break("sync", path)
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
        self._break("write", path)
        super().write_at(fd, parts, offset, path, durable=durable)


@pytest.mark.parametrize(
    ("backend", "broken"), [("buffered", "write"), ("buffered", "sync"), ("direct", "write")]
)
def test_a_broken_disk(tmp_path: Path, backend: str, broken: str) -> None:
    """EIO of the system call itself, not retried."""
    disk = BrokenDisk(broken)
    log, _ = opened(tmp_path, options(backend), disk=disk)
    log.append(b"1")
    disk.armed = True
    with pytest.raises(AmatersError, match="AM-4003"):
        log.append(b"2")
    assert not disk.armed
    with pytest.raises(AmatersError, match="AM-4004"):
        log.append(b"3")
    log.close()
    assert payloads_of(tmp_path, options(backend)) in ([b"1"], [b"1", b"2"])


def test_the_ring_reports_what_the_kernel_says(tmp_path: Path) -> None:
    """A write into a file that is open for reading only is an error of that write alone; the ring
    finishes the other and closes.
    """
    path = tmp_path / "file"
    Disk().allocate(path, 2 * frames.BLOCK)
    device, _ = open_device(options("io_uring", direct_io=False), path, Disk())
    readable, writable = os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY)
    data = memoryview(bytearray(b"x" * frames.BLOCK))
    device.start(writable, [data], 0, path)
    device.start(readable, [data], frames.BLOCK, path)
    with pytest.raises(AmatersError, match="AM-4003"):
        while True:
            device.finish()
    device.close()
    os.close(readable)
    os.close(writable)
    assert path.read_bytes() == b"x" * frames.BLOCK + bytes(frames.BLOCK)


def test_without_a_ring_there_is_a_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel refuses io_uring, direct or buffered writes take its place."""
    from amaters.storage.commitlog import uring

    def refuse(entries: int) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(uring, "Ring", refuse)
    for disk, name in ((Disk(), "direct"), (RefusingDisk(), "buffered")):
        log, _ = opened(tmp_path / name, options("io_uring"), disk=disk)
        assert log.backend == name and log.notice is not None and "io_uring" in log.notice
        assert log.append(b"1") == 1
        log.close()


def framed(offset: int, first: int, durable_end: int, payloads: list[bytes]) -> bytes:
    """A frame as a writer with one write in flight makes it."""
    body = frames.encode_body(payloads)
    header = frames.FrameHeader(
        offset, len(payloads), 1, first, first - 1, durable_end, len(body), frames.digest(body)
    )
    made = frames.encode_head(header, b"l" * 16) + body
    return made.ljust(frames.blocks(len(made)), b"\0")


def segment(parts: list[bytes]) -> bytes:
    header = frames.SegmentHeader(DATABASE, b"l" * 16, 1, 1)
    return b"".join([frames.encode_segment(header), *parts]).ljust(1 << 20, b"\0")


def test_a_damaged_witness_hides_nothing_after_it(tmp_path: Path) -> None:
    """A frame that was started after a witness was durable vouches for its bytes: with the witness
    damaged, the frame is not taken for a torn tail.
    """
    block = frames.BLOCK
    parts = [framed(block, 1, block, [b"first"]), framed(2 * block, 2, 2 * block, [])]
    parts.append(framed(3 * block, 2, 3 * block, [b"second"]))
    name = f"{1:020d}.segment"
    whole = copied(tmp_path / "a", name, segment(parts))
    assert payloads_of(whole, options("buffered")) == [b"first", b"second"]
    parts[1] = bytes(block)
    damaged = copied(tmp_path / "b", name, segment(parts))
    with pytest.raises(DataError, match="AM-4001"):
        opened(damaged, options("buffered"))


@pytest.mark.parametrize("kept", [[], [b"first"]])
def test_writes_that_overtook_each_other_are_a_torn_tail(tmp_path: Path, kept: list[bytes]) -> None:
    """With several writes in flight the later may be whole and the earlier not: neither was
    acknowledged, both are void, and stay void when the log grows over their positions.
    """
    block, count = frames.BLOCK, len(kept)
    hole = (1 + count) * block
    # Two blocks: the next run would write a record and a witness just up to the late frame.
    parts = [framed(block, 1, block, kept)] * count + [bytes(2 * block)]
    late = frames.encode_body([b"late"])
    header = frames.FrameHeader(0, 1, 1, count + 2, count, hole, len(late), frames.digest(late))
    parts.append((frames.encode_head(header, b"l" * 16) + late).ljust(block, b"\0"))
    path = copied(tmp_path / "a", f"{1:020d}.segment", segment(parts))
    log, found = opened(path, options("buffered"))
    assert [record.payload for record in found] == kept
    assert log.append(b"new") == count + 1
    log.close()
    assert payloads_of(path, options("buffered")) == [*kept, b"new"]


@pytest.mark.parametrize("backend", ["buffered", "direct"])
def test_short_writes_are_continued(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that takes three blocks at a time, across the frames of one write: all of them are
    there, in their places.
    """
    log, _ = opened(tmp_path, options(backend))
    whole = os.pwritev

    def short(fd: int, parts: Sequence[memoryview], offset: int, flags: int) -> int:
        data = b"".join(parts)[: 3 * frames.BLOCK]
        with mmap.mmap(-1, len(data)) as aligned:
            aligned[:] = data
            return whole(fd, [aligned], offset, flags)

    monkeypatch.setattr(os, "pwritev", short)
    payloads = [bytes([n]) * 70_000 for n in range(9)]
    assert log.append_all([b"first", *payloads, b"last"]) == 11
    log.close()
    assert payloads_of(tmp_path, options(backend)) == [b"first", *payloads, b"last"]
