"""Objects on an object store, read in parts, checked against the manifest, cached on disk.

The bytes are those of a local object file: header, content, block hashes. Reads come in *extents*;
one that the cache holds damaged is fetched again, one that the store holds damaged is an error.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from amaters.base.errors import fail
from amaters.storage.cache import DiskCache
from amaters.storage.files import Buffer
from amaters.storage.objects import (
    BLOCK_BYTES,
    HEADER_BYTES,
    BlockHashes,
    ObjectReader,
    ObjectWriter,
    damaged_block,
    object_digest,
    object_header,
    table_bytes,
)
from amaters.storage.remote import Blobs, BlobWriter
from amaters.wire import commands_pb2 as cb

PREFIX = "objects/"
EXTENT_BYTES = 16 * BLOCK_BYTES
_AT_ONCE = 16  # extents in memory besides the answer
_TABLE = "t"


class RemoteObjects:
    """Objects as blobs. ``reserved``: ids made by this process, for ever safe from collection by
    it: whether a command will name them is not known yet, or known to the state.
    """

    shared = True

    def __init__(self, blobs: Blobs, cache: DiskCache | None = None) -> None:
        self._blobs, self._cache = blobs, cache
        self._lock = threading.Lock()
        self._reserved: set[bytes] = set()

    @property
    def reserved(self) -> set[bytes]:
        with self._lock:
            return set(self._reserved)

    def create(self, object_id: bytes, size: int) -> ObjectWriter:
        with self._lock:
            self._reserved.add(object_id)
        total = HEADER_BYTES + size + table_bytes(size)
        writer = self._blobs.writer(_name(object_id), total)
        return _RemoteWriter(writer, object_id, size)

    def open(self, ref: cb.ObjectRef) -> ObjectReader:
        return _RemoteReader(self._blobs, self._cache, ref)

    def ids(self) -> list[bytes]:
        """Every object there is. An interrupted upload is never one."""
        names = (info.name.removeprefix(PREFIX) for info in self._blobs.list(PREFIX))
        return [bytes.fromhex(name) for name in names if len(name) == 32]

    def delete(self, object_id: bytes) -> None:
        self.delete_many([object_id])

    def delete_many(self, ids: Sequence[bytes]) -> None:
        self._blobs.delete([_name(one) for one in ids])
        with self._lock:
            self._reserved.difference_update(ids)
        if self._cache is not None:
            self._cache.drop_all({one.hex() for one in ids})


def _name(object_id: bytes) -> str:
    return PREFIX + object_id.hex()


class _RemoteWriter:
    def __init__(self, writer: BlobWriter, object_id: bytes, size: int) -> None:
        self._writer, self._id, self._expected = writer, object_id, size
        self._hashes = BlockHashes()
        writer.write(object_header(size))

    def write(self, data: Buffer) -> None:
        self._hashes.add(data)
        self._writer.write(data)

    def finish(self) -> cb.ObjectRef:
        size = self._hashes.size
        if size != self._expected:
            self.abort()
            fail("AM-3031", expected=self._expected, received=size)
        table = self._hashes.table()
        self._writer.write(table)
        self._writer.finish()
        return cb.ObjectRef(object_id=self._id, size=size, digest=object_digest(size, table))

    def abort(self) -> None:
        self._writer.abort()


class _RemoteReader:
    def __init__(self, blobs: Blobs, cache: DiskCache | None, ref: cb.ObjectRef) -> None:
        self._blobs, self._cache = blobs, cache
        self.size = ref.size
        self._digest = ref.digest
        self._id = ref.object_id
        self._table: memoryview | None = None

    def read(self, offset: int = 0, length: int | None = None) -> memoryview:
        length = self.size - offset if length is None else length
        if offset < 0 or length < 0 or offset + length > self.size:
            fail("AM-4001", file=self._id.hex(), what="it is shorter than its content")
        if length == 0:
            return memoryview(b"")
        first, end = offset // EXTENT_BYTES, -(-(offset + length) // EXTENT_BYTES)
        start = first * EXTENT_BYTES
        begin = offset - start
        if end == first + 1:
            (part,) = self._extents(range(first, end))
            return part[begin : begin + length].toreadonly()
        whole = np.empty(min(end * EXTENT_BYTES, self.size) - start, dtype=np.uint8)
        at = 0
        for low in range(first, end, _AT_ONCE):
            for part in self._extents(range(low, min(low + _AT_ONCE, end))):
                whole[at : at + len(part)] = np.frombuffer(part, np.uint8)
                at += len(part)
        return whole.data[begin : begin + length].toreadonly()

    def read_prefix(self, length: int, checked: int) -> memoryview:
        """All of it is checked: what the cache holds may be damaged."""
        return self.read(0, length)

    def _extents(self, numbers: range) -> list[memoryview]:
        """Checked extents, in order; those that are missing are fetched side by side."""
        table = self._block_hashes()
        found: dict[int, memoryview] = {}
        for number in numbers:
            data = self._cached(str(number))
            if data is not None and self._is_good(number, data, table):
                found[number] = data
        missing = [number for number in numbers if number not in found]
        if missing:
            ranges = [self._range(number) for number in missing]
            fetched = self._blobs.read(
                _name(self._id), [(HEADER_BYTES + start, length) for start, length in ranges]
            )
            for number, data in zip(missing, fetched, strict=True):
                first = number * EXTENT_BYTES // BLOCK_BYTES
                damaged = damaged_block(data, first, table)
                if damaged is not None:
                    what = f"checksum of block {damaged}"
                    fail("AM-4001", file=_name(self._id), what=what)
                found[number] = data
                self._keep(str(number), data)
        return [found[number] for number in numbers]

    def _is_good(self, number: int, data: memoryview, table: Buffer) -> bool:
        first = number * EXTENT_BYTES // BLOCK_BYTES
        return len(data) == self._range(number)[1] and damaged_block(data, first, table) is None

    def _range(self, number: int) -> tuple[int, int]:
        start = number * EXTENT_BYTES
        return start, min(EXTENT_BYTES, self.size - start)

    def _block_hashes(self) -> memoryview:
        if self._table is None:
            table = self._cached(_TABLE)
            if table is None or object_digest(self.size, table) != self._digest:
                where = (HEADER_BYTES + self.size, table_bytes(self.size))
                (table,) = self._blobs.read(_name(self._id), [where])
                if object_digest(self.size, table) != self._digest:
                    what = "its checksums are not the manifest's"
                    fail("AM-4001", file=_name(self._id), what=what)
                self._keep(_TABLE, table)
            self._table = table
        return self._table

    def _cached(self, part: str) -> memoryview | None:
        return self._cache.get(f"{self._id.hex()}-{part}") if self._cache else None

    def _keep(self, part: str, data: Buffer) -> None:
        if self._cache is not None:
            self._cache.put(f"{self._id.hex()}-{part}", data)
