"""The marker: the first file of a database directory, which names its format and its id."""

from __future__ import annotations

from pathlib import Path

from blake3 import blake3
from google.protobuf.message import DecodeError, Message

from amaters.base.errors import fail
from amaters.base.ids import ID_BYTES
from amaters.storage.files import Disk
from amaters.wire import commands_pb2 as cb

FORMAT_VERSION = 2
MARKER = "AMATERS"
_HASH = 16


def read_marker(path: Path, disk: Disk) -> cb.DatabaseFormat:
    """What the directory says it is, of whatever version. Raises: AM-4001, AM-4005."""
    found = cb.DatabaseFormat()
    read_checked(path / MARKER, disk, found)
    if len(found.database_id) != ID_BYTES:
        fail("AM-4005", path=str(path), what="it has no id")
    return found


def write_marker(path: Path, disk: Disk, marker: cb.DatabaseFormat) -> None:
    """Make the marker durable; it replaces another one as a whole or not at all."""
    write_checked(path / MARKER, disk, marker)


def read_checked(path: Path, disk: Disk, message: Message) -> None:
    """Fill ``message`` from a file of ``write_checked``. Raises: AM-4001."""
    data = disk.read_all(path)
    if blake3(data[_HASH:]).digest(length=_HASH) != data[:_HASH]:
        fail("AM-4001", file=path.name, what="checksum")
    try:
        message.ParseFromString(data[_HASH:])
    except DecodeError:
        fail("AM-4001", file=path.name, what="it does not parse")


def write_checked(path: Path, disk: Disk, message: Message) -> None:
    """A small checksummed file, durable on return, that replaces one of its name atomically."""
    body = message.SerializeToString()
    temporary = path.with_name(f"{path.name}.tmp")
    disk.remove(temporary)
    fd = disk.create(temporary)
    try:
        disk.write(fd, blake3(body).digest(length=_HASH) + body, temporary)
        disk.sync(fd, temporary)
    finally:
        disk.close(fd)
    disk.publish(temporary, path)
