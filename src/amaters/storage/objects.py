"""Immutable objects: bundles, sealed rows, public blocks, evaluation keys.

An object is written once, made durable, and only then named by a command. Its content is hashed in
blocks of ``BLOCK_BYTES``; the *digest* is the hash of all block hashes and is kept in the manifest,
so that any part can be read and checked without the rest, and a damaged, exchanged or older file
is an error and never an answer.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from amaters.base.errors import AmatersError, DataError, fail
from amaters.storage.files import Buffer, Disk
from amaters.wire import commands_pb2 as cb

BLOCK_BYTES = 1 << 16
HASH_BYTES = 16
_MAGIC = b"AMOBJ1\0\0"
_HEADER = struct.Struct("<8sQ")
HEADER_BYTES = _HEADER.size


class ObjectReader(Protocol):
    """Random access to one object."""

    size: int

    def read(self, offset: int = 0, length: int | None = None) -> memoryview:
        """Checked bytes. Raises: AM-4001, AM-4007."""

    def read_prefix(self, length: int, checked: int) -> memoryview:
        """The first ``length`` bytes, of which at least ``checked`` are checked: for content that
        has checksums of its own, bound to a checked header. Raises: AM-4001, AM-4007.
        """


class ObjectWriter(Protocol):
    """One object on its way; ``abort`` after a failure, also one of ``finish``."""

    def write(self, data: Buffer) -> None: ...

    def finish(self) -> cb.ObjectRef:
        """Make the object durable and visible under its id. Raises: AM-3031, AM-4003."""

    def abort(self) -> None: ...


class ObjectStore(Protocol):
    """Where objects live. ``shared``: other processes may write there too, so what nothing names is
    not swept at open but collected by ``Collector``.
    """

    shared: bool

    def create(self, object_id: bytes, size: int) -> ObjectWriter: ...

    def open(self, ref: cb.ObjectRef) -> ObjectReader: ...

    def ids(self) -> list[bytes]:
        """Every object there is; leftovers of interrupted uploads are removed first."""

    def delete(self, object_id: bytes) -> None: ...

    def delete_many(self, ids: Sequence[bytes]) -> None:
        """Many at once, which a store can do in few requests."""


class BlockHashes:
    """Block hashes of a stream of bytes."""

    def __init__(self) -> None:
        self.size = 0
        self._table = bytearray()
        self._open = blake3()
        self._fill = 0

    def add(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        self.size += len(view)
        while view:
            part = view[: BLOCK_BYTES - self._fill]
            self._open.update(part)
            self._fill += len(part)
            view = view[len(part) :]
            if self._fill == BLOCK_BYTES:
                self._close_block()

    def _close_block(self) -> None:
        self._table += self._open.digest(length=HASH_BYTES)
        self._open, self._fill = blake3(), 0

    def table(self) -> bytes:
        """All block hashes; ends the stream."""
        if self._fill:
            self._close_block()
        return bytes(self._table)


def object_header(size: int) -> bytes:
    """What stands before the content of an object; its block hashes stand behind."""
    return _HEADER.pack(_MAGIC, size)


def object_digest(size: int, table: Buffer) -> bytes:
    """What a manifest keeps of an object: the hash of its block hashes."""
    return blake3(object_header(size) + table).digest()


def table_bytes(size: int) -> int:
    """Bytes of the block hashes of ``size`` bytes."""
    return -(-size // BLOCK_BYTES) * HASH_BYTES


def damaged_block(view: memoryview, first: int, table: Buffer) -> int | None:
    """The first block of ``view``, which starts with block ``first``, that is not as hashed."""
    for number, begin in enumerate(range(0, len(view), BLOCK_BYTES), start=first):
        found = blake3(view[begin : begin + BLOCK_BYTES]).digest(length=HASH_BYTES)
        if found != table[number * HASH_BYTES : (number + 1) * HASH_BYTES]:
            return number
    return None


class FileObjects:
    """Objects as files: header, content, block hashes."""

    shared = False

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._directory = directory
        self._disk = disk
        disk.make_directory(directory)

    def create(self, object_id: bytes, size: int) -> ObjectWriter:
        return _FileWriter(self._path(object_id), self._disk, object_id, size)

    def open(self, ref: cb.ObjectRef) -> ObjectReader:
        return _FileReader(self._path(ref.object_id), self._disk, ref)

    def ids(self) -> list[bytes]:
        found = []
        for name in self._disk.names(self._directory):
            if name.endswith(".tmp"):
                self._disk.remove(self._directory / name)
            elif len(name) == 32:
                found.append(bytes.fromhex(name))
        return found

    def delete(self, object_id: bytes) -> None:
        self._disk.remove(self._path(object_id))

    def delete_many(self, ids: Sequence[bytes]) -> None:
        for object_id in ids:
            self.delete(object_id)

    def _path(self, object_id: bytes) -> Path:
        return self._directory / object_id.hex()


class _FileWriter:
    def __init__(self, path: Path, disk: Disk, object_id: bytes, size: int) -> None:
        self._path, self._disk, self._id, self._expected = path, disk, object_id, size
        self._temporary = path.with_suffix(".tmp")
        self._hashes = BlockHashes()
        self._fd = disk.create(self._temporary)
        self._open = True
        try:
            disk.write(self._fd, object_header(size), self._temporary)
        except AmatersError:
            self.abort()
            raise

    def write(self, data: Buffer) -> None:
        self._hashes.add(data)
        self._disk.write(self._fd, data, self._temporary)

    def finish(self) -> cb.ObjectRef:
        size = self._hashes.size
        if size != self._expected:
            self.abort()
            fail("AM-3031", expected=self._expected, received=size)
        table = self._hashes.table()
        self._disk.write(self._fd, table, self._temporary)
        self._disk.sync(self._fd, self._temporary)
        self._disk.close(self._fd)
        self._open = False
        self._disk.publish(self._temporary, self._path)
        return cb.ObjectRef(object_id=self._id, size=size, digest=object_digest(size, table))

    def abort(self) -> None:
        if self._open:
            self._open = False
            self._disk.close(self._fd)
        self._disk.remove(self._temporary)


class _FileReader:
    """Opens the file for each read: descriptors are scarcer than system calls."""

    def __init__(self, path: Path, disk: Disk, ref: cb.ObjectRef) -> None:
        self._path, self._disk = path, disk
        self.size = ref.size
        self._digest = ref.digest
        self._table: bytes | None = None

    def read(self, offset: int = 0, length: int | None = None) -> memoryview:
        length = self.size - offset if length is None else length
        return self._read(offset, length, length)

    def read_prefix(self, length: int, checked: int) -> memoryview:
        return self._read(0, length, checked)

    def _read(self, offset: int, length: int, checked: int) -> memoryview:
        if offset < 0 or length < 0 or offset + length > self.size:
            fail("AM-4001", file=self._path.name, what="it is shorter than its content")
        if length == 0:
            return memoryview(b"")
        try:
            fd = self._disk.open_read(self._path)
        except DataError:
            if self._path.exists():
                raise
            fail("AM-4007", object_id=self._path.name)
        try:
            if self._table is None:
                self._table = self._read_table(fd)
            return self._read_blocks(fd, offset, length, (self._table, checked))
        finally:
            self._disk.close(fd)

    def _read_blocks(
        self, fd: int, offset: int, length: int, proof: tuple[bytes, int]
    ) -> memoryview:
        table, checked = proof
        first = offset // BLOCK_BYTES
        start = first * BLOCK_BYTES
        stop = min(self.size, -(-(offset + length) // BLOCK_BYTES) * BLOCK_BYTES)
        view = self._disk.read_at(fd, HEADER_BYTES + start, stop - start, self._path)
        last = min(len(view), -(-(offset - start + checked) // BLOCK_BYTES) * BLOCK_BYTES)
        damaged = damaged_block(view[:last], first, table)
        if damaged is not None:
            fail("AM-4001", file=self._path.name, what=f"checksum of block {damaged}")
        return view[offset - start : offset - start + length]

    def _read_table(self, fd: int) -> bytes:
        start = HEADER_BYTES + self.size
        table = bytes(self._disk.read_at(fd, start, table_bytes(self.size), self._path))
        if object_digest(self.size, table) != self._digest:
            fail("AM-4001", file=self._path.name, what="its checksums are not the manifest's")
        return table


class MemoryObjects:
    """Objects of a ``:memory:`` database."""

    shared = False

    def __init__(self) -> None:
        self._objects: dict[bytes, bytearray] = {}

    def create(self, object_id: bytes, size: int) -> ObjectWriter:
        return _MemoryWriter(self._objects, object_id, size)

    def open(self, ref: cb.ObjectRef) -> ObjectReader:
        data = self._objects.get(ref.object_id)
        if data is None:
            fail("AM-4007", object_id=ref.object_id.hex())
        return _MemoryReader(data)

    def ids(self) -> list[bytes]:
        return list(self._objects)

    def delete(self, object_id: bytes) -> None:
        self._objects.pop(object_id, None)

    def delete_many(self, ids: Sequence[bytes]) -> None:
        for object_id in ids:
            self.delete(object_id)


class _MemoryWriter:
    def __init__(self, objects: dict[bytes, bytearray], object_id: bytes, size: int) -> None:
        self._objects, self._id, self._expected = objects, object_id, size
        self._data = bytearray()

    def write(self, data: Buffer) -> None:
        self._data += data

    def finish(self) -> cb.ObjectRef:
        size = len(self._data)
        if size != self._expected:
            fail("AM-3031", expected=self._expected, received=size)
        self._objects[self._id] = self._data
        return cb.ObjectRef(object_id=self._id, size=size)

    def abort(self) -> None:
        self._data.clear()


class _MemoryReader:
    def __init__(self, data: bytearray) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int = 0, length: int | None = None) -> memoryview:
        length = self.size - offset if length is None else length
        if offset < 0 or length < 0 or offset + length > self.size:
            fail("AM-4001", file="memory", what="it is shorter than its content")
        return memoryview(self._data)[offset : offset + length].toreadonly()

    def read_prefix(self, length: int, checked: int) -> memoryview:
        return self.read(0, length)
