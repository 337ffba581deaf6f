"""The commit log: what was acknowledged is there, damage is reported, a torn tail is cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from amaters.base.errors import AmatersError, DataError
from amaters.storage.files import Disk
from amaters.storage.log import FileLog

DATABASE = b"d" * 16


def new(path: Path, disk: Disk | None = None) -> FileLog:
    log = FileLog(path, disk or Disk(), DATABASE)
    log.create()
    return log


def make(path: Path, count: int) -> list[bytes]:
    log = new(path)
    payloads = [bytes([n]) * (n * 7 + 1) for n in range(count)]
    for position, payload in enumerate(payloads, start=1):
        assert log.append(payload) == position
    log.close()
    return payloads


def read(path: Path, applied: int = 0) -> list[tuple[int, bytes]]:
    return list(FileLog(path, Disk(), DATABASE).replay(applied))


def test_records_come_back_in_order(tmp_path: Path) -> None:
    """A reopened log replays what was appended, from any applied position."""
    payloads = make(tmp_path, 9)
    everything = list(enumerate(payloads, start=1))
    assert read(tmp_path) == everything
    assert read(tmp_path, applied=4) == everything[4:]


def test_appending_goes_on_after_reopening(tmp_path: Path) -> None:
    """A second run continues the positions of the first."""
    payloads = make(tmp_path, 3)
    log = FileLog(tmp_path, Disk(), DATABASE)
    assert len(list(log.replay(0))) == 3
    assert log.append(b"next") == 4
    log.close()
    assert [p for _, p in read(tmp_path)] == [*payloads, b"next"]


def test_every_truncation_leaves_a_prefix(tmp_path: Path) -> None:
    """Cut anywhere, the log holds a prefix of its records and accepts new ones."""
    source = tmp_path / "a"
    payloads = make(source, 4)
    (file,) = source.glob("*.log")
    whole = file.read_bytes()
    for size in range(80, len(whole), 3):
        copy = tmp_path / f"cut{size}"
        copy.mkdir()
        (copy / file.name).write_bytes(whole[:size])
        log = FileLog(copy, Disk(), DATABASE)
        found = [payload for _, payload in log.replay(0)]
        assert found == payloads[: len(found)]
        assert log.append(b"new") == len(found) + 1
        log.close()
        assert [p for _, p in read(copy)] == [*found, b"new"]


def test_every_flipped_bit_is_reported_or_harmless(tmp_path: Path) -> None:
    """No flipped bit changes or loses an acknowledged record without an error (every fifth bit:
    all bytes, all bit positions).
    """
    source = tmp_path / "a"
    payloads = make(source, 3)
    (file,) = source.glob("*.log")
    whole = bytearray(file.read_bytes())
    copy = tmp_path / "b"
    copy.mkdir()
    reported = 0
    for bit in range(0, len(whole) * 8, 5):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        (copy / file.name).write_bytes(damaged)
        try:
            assert [payload for _, payload in read(copy)] == payloads
        except DataError as error:
            assert error.code == "AM-4001"
            reported += 1
    assert reported > len(whole)


def test_cutting_forgets_only_what_is_covered(tmp_path: Path) -> None:
    """After a checkpoint at position 3 the records from 4 on are still there."""
    log = new(tmp_path)
    for n in range(3):
        log.append(bytes([n]))
    log.cut(3)
    log.append(b"four")
    log.cut(3)
    log.append(b"five")
    log.close()
    assert read(tmp_path, applied=3) == [(4, b"four"), (5, b"five")]
    assert len(list(tmp_path.glob("*.log"))) == 2


def test_a_missing_record_is_reported(tmp_path: Path) -> None:
    """A log file that starts after a gap is damage, not the end."""
    log = new(tmp_path)
    log.append(b"1")
    log.cut(0)
    log.append(b"2")
    log.cut(0)
    log.append(b"3")
    log.close()
    (tmp_path / f"{2:020d}.log").unlink()
    with pytest.raises(DataError):
        read(tmp_path)
    for path in tmp_path.glob("*.log"):
        path.unlink()
    with pytest.raises(DataError):
        read(tmp_path)


class FailingDisk(Disk):
    """A disk whose sync fails once, like one that lost its writes."""

    def __init__(self) -> None:
        self.broken = False

    def sync(self, fd: int, path: Path) -> None:
        if self.broken:
            self.broken = False
            from amaters.base.errors import fail

            fail("AM-4003", file=path.name, what="Input/output error")
        super().sync(fd, path)


def test_a_failed_sync_is_never_retried(tmp_path: Path) -> None:
    """After a failed sync the log refuses everything, although the disk works again."""
    disk = FailingDisk()
    log = new(tmp_path, disk)
    log.append(b"1")
    disk.broken = True
    with pytest.raises(AmatersError, match="AM-4003"):
        log.append(b"2")
    with pytest.raises(AmatersError, match="AM-4004"):
        log.append(b"3")
    log.close()
    assert [p for _, p in read(tmp_path)] in ([b"1"], [b"1", b"2"])
