"""Reads the logs of the first databases (format 0); nobody writes them any more.

They had one sync per record. A record carries its position and its *witness*, the highest
position that was durable when it was written. Damage at or below a witness, or at or below what the
state already applied, is corruption (AM-4001); damage above is the torn tail of a write that nobody
was told about, and is cut. An empty *witness record* followed each sync, itself unsynced.

    file    header: magic, version, database id, first position, BLAKE3-16
    record  magic, length, position, witness, BLAKE3-16 over these and the payload, payload
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from blake3 import blake3

from amaters.base.errors import fail
from amaters.storage.commitlog.segments import Record
from amaters.storage.files import Disk

_VERSION = 1
_FILE = struct.Struct("<8sI16sQ")
_FILE_MAGIC = b"AMLOG1\0\0"
_RECORD = struct.Struct("<4sIQQ")
_RECORD_MAGIC = b"AMLR"
_WITNESS_MAGIC = b"AMLW"
_HASH = 16


@dataclass(frozen=True, slots=True)
class _Record:
    position: int
    witness: int
    payload: bytes | None
    end: int


class FirstLog:
    """The files in a directory, named by their first position."""

    def __init__(self, directory: Path, disk: Disk, database_id: bytes) -> None:
        self._directory, self._disk, self._database_id = directory, disk, database_id
        self.last = 0

    def _files(self) -> list[Path]:
        """All files in order. There is always one, so that a lost one is noticed."""
        paths = sorted(self._directory.glob("*.log"))
        if not paths:
            fail("AM-4001", file=self._directory.name, what="it is missing")
        return paths

    def replay(self, applied: int) -> Iterator[Record]:
        """Records after ``applied``, all of them and once.

        Raises: AM-4001, AM-4006.
        """
        self.last = applied
        paths = self._files()
        for index, path in enumerate(paths):
            yield from self._replay_file(path, applied, newest=index == len(paths) - 1)

    def _replay_file(self, path: Path, applied: int, *, newest: bool) -> Iterator[Record]:
        data = self._disk.read_all(path)
        first = decode_header(data, path.name, self._database_id)
        if _name(first) != path.name or first > self.last + 1:
            _damaged(path, f"it starts at position {first}, expected {self.last + 1}")
        expected, offset = first, _file_header_bytes()
        while offset < len(data):
            record = decode_record(data, offset)
            if record is None:
                self._cut_tail(path, data, offset, newest=newest and expected > applied)
                break
            if record.payload is None:
                offset = record.end
                continue
            if record.position != expected:
                _damaged(path, f"position {record.position} where {expected} belongs")
            if record.position > applied:
                self.last = record.position
                yield Record(record.position, record.payload, 0)
            expected, offset = expected + 1, record.end

    def _cut_tail(self, path: Path, data: bytes, offset: int, *, newest: bool) -> None:
        """Cut what a crash left half written; anything else that does not parse is damage."""
        if not newest:
            _damaged(path, f"record at byte {offset}")
        stem = _RECORD_MAGIC[:3]
        found = data.find(stem, offset + 1)
        while found >= 0:
            if decode_record(data, found) is not None:
                _damaged(path, f"record at byte {offset}, before a whole one")
            found = data.find(stem, found + 1)
        self._disk.truncate(path, offset)


def _name(first: int) -> str:
    return f"{first:020d}.log"


def _file_header_bytes() -> int:
    return _FILE.size + _HASH


def decode_header(data: bytes, name: str, database_id: bytes) -> int:
    """The first position of a log file. Raises: AM-4001, AM-4006."""
    head = data[: _FILE.size]
    if blake3(head).digest(length=_HASH) != data[_FILE.size : _file_header_bytes()]:
        fail("AM-4001", file=name, what="checksum of the header")
    magic, version, owner, first = _FILE.unpack(head)
    if magic != _FILE_MAGIC or owner != database_id:
        fail("AM-4001", file=name, what="it is the log of another database")
    if version > _VERSION:
        fail("AM-4006", file=name, found=version, known=_VERSION)
    return int(first)


def decode_record(data: bytes, offset: int) -> _Record | None:
    """The record at ``offset``, or None when there is no whole one."""
    start = offset + _RECORD.size + _HASH
    if start > len(data):
        return None
    head = data[offset : offset + _RECORD.size]
    magic, length, position, witness = _RECORD.unpack(head)
    if magic not in (_RECORD_MAGIC, _WITNESS_MAGIC) or start + length > len(data):
        return None
    payload = data[start : start + length]
    if blake3(head).update(payload).digest(length=_HASH) != data[start - _HASH : start]:
        return None
    body = payload if magic == _RECORD_MAGIC else None
    return _Record(position, witness, body, start + length)


def _damaged(path: Path, what: str) -> NoReturn:
    fail("AM-4001", file=path.name, what=what)
