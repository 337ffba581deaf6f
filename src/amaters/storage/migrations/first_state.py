"""Reads the checkpoints of formats 0 and 1: the whole state, as SQLite serialised it.

magic, version, database id, position, size of the image, BLAKE3 over all of it, image
"""

from __future__ import annotations

import struct
from pathlib import Path

from blake3 import blake3

from amaters.base.errors import fail
from amaters.storage.files import Disk

_VERSION = 1
_MAGIC = b"AMCKP1\0\0"
_HEADER = struct.Struct("<8sI16sQQ")
_HASH = 32


def read_checkpoint(directory: Path, disk: Disk, database_id: bytes) -> tuple[int, bytes]:
    """The newest checkpoint: position and image. Raises: AM-4001, also when there is none."""
    paths = sorted(directory.glob("*.checkpoint"))
    if not paths:
        fail("AM-4001", file="checkpoint", what="it is missing")
    path = paths[-1]
    data = disk.read_all(path)
    if len(data) < _HEADER.size + _HASH:
        fail("AM-4001", file=path.name, what="it is cut short")
    magic, version, owner, position, size = _HEADER.unpack(data[: _HEADER.size])
    image = memoryview(data)[_HEADER.size + _HASH :]
    found = blake3(data[: _HEADER.size]).update(image).digest()
    if found != data[_HEADER.size : _HEADER.size + _HASH] or size != len(image):
        fail("AM-4001", file=path.name, what="checksum")
    if magic != _MAGIC or owner != database_id or f"{position:020d}" != path.stem:
        fail("AM-4001", file=path.name, what="it belongs to another database")
    if version > _VERSION:
        fail("AM-4006", file=path.name, found=version, known=_VERSION)
    return int(position), bytes(image)
