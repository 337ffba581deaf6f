"""Bytes of one object of the log on an object store: records under one header, or a fence.

    magic, version, kind, database, sequence, epoch, first position, count, body bytes, nonce,
    digest of the object before, BLAKE3 of the body, BLAKE3 over all that; body: sizes, records

A *fence* opens an epoch and holds no records. ``previous`` chains the objects that count, so one
that belongs to another past is never taken for a successor.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from blake3 import blake3

from amaters.base.errors import fail
from amaters.storage.files import Buffer

VERSION = 1
RECORDS, FENCE = 1, 2
GENESIS = bytes(32)  # what the first object names as the one before
_MAGIC = b"AMOLOG1\0"
_HEADER = struct.Struct("<8sII16sQQQQQ16s32s32s")
_HASH = 32
_SIZE = struct.Struct("<I")
HEAD = _HEADER.size + _HASH


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """The checked header of an object; ``digest`` is what the next one names as ``previous``."""

    kind: int
    sequence: int
    epoch: int
    first: int
    count: int
    size: int
    previous: bytes
    digest: bytes

    @property
    def last(self) -> int:
        """Position of the last record, or before a fence."""
        return self.first + self.count - 1


@dataclass(frozen=True, slots=True)
class Draft:
    """What an object says but for its records."""

    database_id: bytes
    sequence: int
    epoch: int
    first: int
    nonce: bytes
    previous: bytes


def encode(draft: Draft, payloads: Sequence[Buffer]) -> bytes:
    """An object; without records it is a fence. Cost: one copy and one hash of the records."""
    sizes = struct.pack(f"<{len(payloads)}I", *map(len, payloads))
    body = b"".join((sizes, *payloads))
    head = _HEADER.pack(
        _MAGIC,
        VERSION,
        RECORDS if payloads else FENCE,
        draft.database_id,
        draft.sequence,
        draft.epoch,
        draft.first,
        len(payloads),
        len(body),
        draft.nonce,
        draft.previous,
        blake3(body).digest(),
    )
    return b"".join((head, blake3(head).digest(), body))


def decode_head(data: Buffer, name: str, database_id: bytes, sequence: int) -> ObjectHead:
    """The header of the object ``name``. Raises: AM-4001, AM-4006."""
    head, digest = bytes(data[: _HEADER.size]), bytes(data[_HEADER.size : HEAD])
    if len(data) < HEAD or blake3(head).digest() != digest:
        fail("AM-4001", file=name, what="checksum of the header")
    magic, version, kind, owner, found, epoch, first, count, size, _, previous, _ = _HEADER.unpack(
        head
    )
    if magic != _MAGIC or owner != database_id:
        fail("AM-4001", file=name, what="it is the log of another database")
    if version > VERSION:
        fail("AM-4006", file=name, found=version, known=VERSION)
    if found != sequence or (kind == FENCE) != (count == 0):
        fail("AM-4001", file=name, what=f"it is object {found} of the log")
    return ObjectHead(kind, found, epoch, first, count, size, previous, digest)


def decode_body(data: bytes, head: ObjectHead, name: str) -> list[bytes]:
    """The records of an object whose header was checked. Raises: AM-4001."""
    body = memoryview(data)[HEAD:]
    start = _HEADER.size - _HASH
    if len(body) != head.size or blake3(body).digest() != data[start : _HEADER.size]:
        fail("AM-4001", file=name, what="checksum of the records")
    offset = head.count * _SIZE.size
    payloads = []
    for (size,) in _SIZE.iter_unpack(body[:offset]):
        payloads.append(bytes(body[offset : offset + size]))
        offset += size
    return payloads
