"""Logs of format 1: all that was acknowledged is read, damage is reported, a torn tail is cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from first_format import DATABASE, write

from amaters.base.errors import DataError
from amaters.storage.files import Disk
from amaters.storage.migrations.first_log import FirstLog


def make(path: Path, count: int) -> list[bytes]:
    payloads = [bytes([n]) * (n * 7 + 1) for n in range(count)]
    write(path, 1, payloads)
    return payloads


def read(path: Path, applied: int = 0) -> list[tuple[int, bytes]]:
    return [(p, data) for p, data, _ in FirstLog(path, Disk(), DATABASE).replay(applied)]


def test_records_come_back_in_order(tmp_path: Path) -> None:
    """What was appended is replayed, from any applied position, over several files."""
    payloads = make(tmp_path, 9)
    write(tmp_path, 10, [b"next"])
    everything = list(enumerate([*payloads, b"next"], start=1))
    assert read(tmp_path) == everything
    assert read(tmp_path, applied=4) == everything[4:]


def test_every_truncation_leaves_a_prefix(tmp_path: Path) -> None:
    """Cut anywhere, the log holds a prefix of its records."""
    source = tmp_path / "a"
    payloads = make(source, 4)
    (file,) = source.glob("*.log")
    whole = file.read_bytes()
    for size in range(80, len(whole), 3):
        copy = tmp_path / f"cut{size}"
        copy.mkdir()
        (copy / file.name).write_bytes(whole[:size])
        found = [payload for _, payload in read(copy)]
        assert found == payloads[: len(found)]
        assert (copy / file.name).stat().st_size <= size
        assert [payload for _, payload in read(copy)] == found


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


def test_a_missing_record_is_reported(tmp_path: Path) -> None:
    """A log file that starts after a gap is damage, not the end."""
    write(tmp_path, 1, [b"1"])
    write(tmp_path, 3, [b"3"])
    with pytest.raises(DataError):
        read(tmp_path)
    for path in tmp_path.glob("*.log"):
        path.unlink()
    with pytest.raises(DataError):
        read(tmp_path)
