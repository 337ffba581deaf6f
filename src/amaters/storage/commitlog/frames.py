"""Bytes of the commit log: a segment is one header block, then frames, each from a block's start.

A *frame* is one group commit: consecutive records under one checksum. It carries the *life* of its
segment, drawn anew whenever a file is used again, so a frame of an earlier life is never taken for
a new one; the epoch of its writer; and its *witness*, the highest position, and the end of the
frames in this file, that were durable when it was written. No block is ever written twice in one
life, so nothing acknowledged can be torn.

    segment  magic, version, database, life, first position, epoch, BLAKE3-16; zeros to a block
    frame    magic, count, life, epoch, first position, witness (position, end), body bytes,
             sum of the body, sum over all that; body: sizes of the records, records; zeros to a
             block

A sum is XXH3-128, which finds accidents at the speed of memory; whoever may write the file can
forge it, as they could any sum without a key. In segments of version 2 it was BLAKE3-16, which
took longer than the write itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blake3 import blake3
from xxhash import xxh3_128_digest

from amaters.base.errors import fail
from amaters.storage.files import Buffer

BLOCK = 4096  # a multiple of every disk's block, and what O_DIRECT wants offsets to be
VERSION = 3  # 1 were the files of one record per sync, 2 had frames under BLAKE3
_HASH = 16
_SEGMENT = struct.Struct("<8sI16s16sQQ")
_SEGMENT_MAGIC = b"AMSEG2\0\0"
_FRAME = struct.Struct("<4sI16s5Q")
_FRAME_MAGIC = b"AMFR"
_SIZE = struct.Struct("<I")
HEAD = _FRAME.size + 2 * _HASH
RECORD_OVERHEAD = _SIZE.size


def _blake3(data: Buffer) -> bytes:
    return blake3(data).digest(length=_HASH)


_SUMS: dict[int, Callable[[Buffer], bytes]] = {2: _blake3, 3: xxh3_128_digest}


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment says of itself; everything below ``first`` was durable when it was made.
    ``version``: which sums its frames carry.
    """

    database_id: bytes
    life: bytes
    first: int
    epoch: int
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The checked header of a frame at ``offset``; the body is not checked yet."""

    offset: int
    count: int
    epoch: int
    first: int
    witness: int
    witness_end: int
    size: int
    digest: bytes

    @property
    def body(self) -> int:
        """Where the body starts."""
        return self.offset + HEAD

    @property
    def end(self) -> int:
        """Where the next frame starts."""
        return self.offset + blocks(HEAD + self.size)


def blocks(size: int) -> int:
    """``size`` rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def encode_segment(header: SegmentHeader) -> bytes:
    """The first block of a segment."""
    head = _SEGMENT.pack(
        _SEGMENT_MAGIC,
        header.version,
        header.database_id,
        header.life,
        header.first,
        header.epoch,
    )
    return (head + _blake3(head)).ljust(BLOCK, b"\0")


def decode_segment(data: Buffer, name: str, database_id: bytes) -> SegmentHeader:
    """The header of a segment. Raises: AM-4001, AM-4006."""
    head = bytes(data[: _SEGMENT.size])
    found = bytes(data[_SEGMENT.size : _SEGMENT.size + _HASH])
    if len(data) < BLOCK or _blake3(head) != found:
        fail("AM-4001", file=name, what="checksum of the header")
    magic, version, owner, life, first, epoch = _SEGMENT.unpack(head)
    if magic != _SEGMENT_MAGIC or owner != database_id:
        fail("AM-4001", file=name, what="it is the log of another database")
    if version > VERSION:
        fail("AM-4006", file=name, found=version, known=VERSION)
    if version not in _SUMS:
        fail("AM-4001", file=name, what=f"no log has version {version}")
    return SegmentHeader(owner, life, int(first), int(epoch), int(version))


def encode_body(payloads: Sequence[Buffer]) -> bytes:
    """The records of one frame."""
    sizes = struct.pack(f"<{len(payloads)}I", *map(len, payloads))
    return b"".join((sizes, *payloads))


def decode_body(body: memoryview, count: int) -> list[bytes]:
    """The records of a body whose digest was checked."""
    start = count * _SIZE.size
    payloads = []
    for (size,) in _SIZE.iter_unpack(body[:start]):
        payloads.append(bytes(body[start : start + size]))
        start += size
    return payloads


def digest(body: Buffer, version: int = VERSION) -> bytes:
    """The checksum of a body. Cost: holds no lock of the interpreter for long ones."""
    return _SUMS[version](body)


def encode_head(header: FrameHeader, life: bytes, version: int = VERSION) -> bytes:
    """The first ``HEAD`` bytes of a frame."""
    head = (
        _FRAME.pack(
            _FRAME_MAGIC,
            header.count,
            life,
            header.epoch,
            header.first,
            header.witness,
            header.witness_end,
            header.size,
        )
        + header.digest
    )
    return head + _SUMS[version](head)


def decode_head(
    data: memoryview, offset: int, life: bytes, version: int = VERSION
) -> FrameHeader | None:
    """The header of a frame of this life at ``offset``, or None."""
    head = bytes(data[offset : offset + HEAD])
    if len(head) < HEAD or head[:4] != _FRAME_MAGIC or head[8:24] != life:
        return None
    if _SUMS[version](head[:-_HASH]) != head[-_HASH:]:
        return None
    _, count, _, epoch, first, witness, end, size = _FRAME.unpack(head[: _FRAME.size])
    checked = head[_FRAME.size : -_HASH]
    return FrameHeader(offset, count, epoch, first, witness, end, size, checked)


def read_records(
    data: memoryview, frame: FrameHeader, version: int = VERSION
) -> list[bytes] | None:
    """The records of a frame, or None when its body is damaged."""
    body = data[frame.body : frame.body + frame.size]
    if len(body) != frame.size or digest(body, version) != frame.digest:
        return None
    return decode_body(body, frame.count)
