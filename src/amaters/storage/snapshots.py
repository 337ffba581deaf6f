"""Snapshots of the state, from which it is made again when its file is lost or damaged.

The state's file, while it does not change, is cut into chunks; a snapshot writes those that differ
from the one before into a *pack*, and last a manifest that says where each chunk lies. Packs of
which little is still wanted are written anew. Two snapshots are kept and the log is cut below the
older: one damaged file, whichever it is, leaves a way to the newest state.

    file   <position>.snapshot   digest, manifest      <id>.pack   header, chunks
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

from blake3 import blake3
from google.protobuf.message import DecodeError

from amaters.base.errors import AmatersError, fail
from amaters.base.ids import ID_BYTES, new_id
from amaters.storage.files import Buffer, Disk
from amaters.storage.sqlite import Connection
from amaters.wire import commands_pb2 as cb
from amaters.wire import state_pb2 as sb

VERSION = 1
CHUNK_BYTES = 1 << 16
KEPT = 2
_HASH = 16
_MAGIC = b"AMPACK1\0"
_HEADER_BYTES = 12 + ID_BYTES
_SNAPSHOT, _PACK = ".snapshot", ".pack"


class SnapshotFiles(Protocol):
    """Where snapshots lie. What is written is whole and durable, or not there."""

    def names(self) -> list[str]: ...

    def write(self, name: str, parts: Iterable[Buffer], at_most: int) -> None:
        """A new file of no more than ``at_most`` bytes. Raises: AM-4003, AM-4008."""

    def read(self, name: str, offset: int, length: int) -> memoryview:
        """Exactly so much of a file. Raises: AM-4001, AM-4007."""

    def read_all(self, name: str) -> bytes:
        """The whole of a small file. Raises: AM-4001, AM-4007."""

    def remove(self, name: str) -> None: ...


class LocalFiles:
    """Snapshots in a directory."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._directory, self._disk = directory, disk

    def names(self) -> list[str]:
        if not self._directory.is_dir():
            return []
        return sorted(path.name for path in self._directory.iterdir())

    def write(self, name: str, parts: Iterable[Buffer], at_most: int) -> None:
        self._disk.make_directory(self._directory)
        path = self._directory / name
        temporary = path.with_name(f"{name}.tmp")
        self._disk.remove(temporary)
        fd = self._disk.create(temporary)
        try:
            for part in parts:
                self._disk.write(fd, part, temporary)
            self._disk.sync(fd, temporary)
        except AmatersError:
            self._disk.remove(temporary)
            raise
        finally:
            self._disk.close(fd)
        self._disk.publish(temporary, path)

    def read(self, name: str, offset: int, length: int) -> memoryview:
        path = self._directory / name
        fd = self._disk.open_read(path)
        try:
            return self._disk.read_at(fd, offset, length, path)
        finally:
            self._disk.close(fd)

    def read_all(self, name: str) -> bytes:
        return self._disk.read_all(self._directory / name)

    def remove(self, name: str) -> None:
        self._disk.remove(self._directory / name)


@dataclass(frozen=True)
class Image:
    """The state's file while nothing changes it: all of the state at ``position``."""

    path: Path
    position: int
    logged: int
    disk: Disk
    connect: Callable[[], Connection]

    def chunks(self) -> Iterator[memoryview]:
        """The file in pieces of ``CHUNK_BYTES``."""
        size = self.path.stat().st_size
        fd = self.disk.open_read(self.path)
        try:
            for start in range(0, size, CHUNK_BYTES):
                yield self.disk.read_at(fd, start, min(CHUNK_BYTES, size - start), self.path)
        finally:
            self.disk.close(fd)

    def check(self) -> None:
        """Read every page and check its MAC. Cost: the size of the state. Raises: AM-4011."""
        db = self.connect()
        try:
            db.check()
        finally:
            db.close()

    def refs(self) -> Iterator[cb.ObjectRef]:
        """Every object that the state names; not its garbage."""
        db = self.connect()
        try:
            for (data,) in db.each("SELECT object FROM keysets"):
                yield cb.ObjectRef.FromString(data)
            for (data,) in db.each("SELECT manifest FROM segments"):
                yield from cb.SegmentManifest.FromString(data).objects
        finally:
            db.close()


class Snapshots:
    """The snapshots of a database, newest first in ``kept``; ``damaged`` says what was not read."""

    def __init__(self, files: SnapshotFiles, database_id: bytes) -> None:
        self._files, self._database_id = files, database_id
        self.kept: list[sb.SnapshotManifest] = []
        self.damaged: list[AmatersError] = []
        for name in sorted(files.names(), reverse=True):
            if name.endswith(_SNAPSHOT):
                self._load(name)

    def _load(self, name: str) -> None:
        try:
            self.kept.append(self._read(name))
        except AmatersError as error:
            if error.code == "AM-4006":
                raise
            self.damaged.append(error)

    def _read(self, name: str) -> sb.SnapshotManifest:
        data = self._files.read_all(name)
        if blake3(data[_HASH:]).digest(length=_HASH) != data[:_HASH]:
            fail("AM-4014", file=name, what="checksum")
        try:
            found = sb.SnapshotManifest.FromString(data[_HASH:])
        except DecodeError:
            fail("AM-4014", file=name, what="it does not parse")
        if found.version > VERSION:
            fail("AM-4006", file=name, found=found.version, known=VERSION)
        if found.database_id != self._database_id or _name(found) != name:
            fail("AM-4014", file=name, what="it belongs to another database")
        return found

    @property
    def newest(self) -> sb.SnapshotManifest | None:
        return self.kept[0] if self.kept else None

    @property
    def rebuilt_from(self) -> int:
        """The position up to which the log and garbage are wanted no more."""
        return self.kept[KEPT - 1].position if len(self.kept) >= KEPT else 0

    # ---- taking ------------------------------------------------------------------------------

    def take(
        self, image: Image, check_stopped: Callable[[], None], *, full: bool = False
    ) -> tuple[int, int]:
        """Write a snapshot of ``image`` and read it back; bytes written and bytes in all.
        ``check_stopped`` is called for each chunk, to raise when nobody wants it any more.
        ``full``: write all of it.

        Raises: AM-4003, AM-4008, AM-4011 (the state is damaged), AM-4014 (what was written does
        not come back): then the older snapshots stay, and the log with them.
        """
        image.check()
        made = sb.SnapshotManifest(
            version=VERSION,
            database_id=self._database_id,
            position=image.position,
            logged=image.logged,
            chunk_bytes=CHUNK_BYTES,
        )
        before = None if full else self.newest
        fresh = _Fresh(made, before, set(self._files.names()))
        try:
            written = self._write(fresh, image, check_stopped)
        except AmatersError:
            with suppress(AmatersError):
                self._files.remove(_name(made))
                self._files.remove(fresh.pack)
            raise
        kept = [found for found in self.kept if found.position != made.position]
        self.kept = [made, *kept][:KEPT]
        self.tidy()
        return written, made.size

    def _write(self, fresh: _Fresh, image: Image, check_stopped: Callable[[], None]) -> int:
        parts = fresh.parts(image.chunks(), check_stopped)
        first = next(parts, None)
        if first is not None:
            head = _MAGIC + VERSION.to_bytes(4, "little") + self._database_id
            at_most = image.path.stat().st_size + len(head)
            self._files.write(fresh.pack, chain([head, first], parts), at_most)
            for _ in self._chunks(fresh.made, fresh.pack):
                check_stopped()
        body = fresh.made.SerializeToString()
        body = blake3(body).digest(length=_HASH) + body
        self._files.write(_name(fresh.made), [body], len(body))
        self._read(_name(fresh.made))
        return fresh.written + len(body)

    def tidy(self) -> None:
        """Remove what no kept snapshot needs."""
        wanted = {_name(found) for found in self.kept}
        wanted.update(file.name for found in self.kept for file in found.files)
        for name in self._files.names():
            if name not in wanted:
                self._files.remove(name)

    # ---- reading back ------------------------------------------------------------------------

    def chunks(self, manifest: sb.SnapshotManifest) -> Iterator[memoryview]:
        """The state's file, piece by piece, each checked. Raises: AM-4001, AM-4007, AM-4014."""
        return self._chunks(manifest)

    def _chunks(
        self, manifest: sb.SnapshotManifest, only: str | None = None
    ) -> Iterator[memoryview]:
        """Checked chunks; ``only`` those in this pack."""
        left = manifest.size
        for number, (pack, slot) in enumerate(zip(manifest.packs, manifest.slots, strict=True)):
            name = manifest.files[pack].name
            length = min(manifest.chunk_bytes, left)
            left -= length
            if only not in (None, name):
                continue
            offset = _HEADER_BYTES + slot * manifest.chunk_bytes
            data = self._files.read(name, offset, length)
            if blake3(data).digest(length=_HASH) != _digest(manifest, number):
                fail("AM-4014", file=name, what=f"checksum of chunk {slot}")
            yield data


class _Fresh:
    """A snapshot on its way: which chunks are written, and where all of them lie."""

    def __init__(
        self, made: sb.SnapshotManifest, before: sb.SnapshotManifest | None, there: set[str]
    ) -> None:
        """``there``: the files that there are; chunks of others are written again."""
        self.made, self.before, self.pack = made, before, f"{new_id().hex()}{_PACK}"
        self.written = 0
        self._count = 0
        self._files: dict[str, int] = {}  # of the new manifest: index by name
        self._chunks = {file.name: file.chunks for file in before.files} if before else {}
        self._sparse = _sparse(before, there) if before else frozenset()

    def parts(
        self, chunks: Iterator[memoryview], check_stopped: Callable[[], None]
    ) -> Iterator[memoryview]:
        """Chunks that have to be written; the manifest is complete when they are used up."""
        digests = bytearray()
        for number, data in enumerate(chunks):
            check_stopped()
            digest = blake3(data).digest(length=_HASH)
            digests += digest
            self.made.size += len(data)
            if self._is_known(number, digest, len(data)):
                continue
            self._place(self.pack, self._count)
            self._count += 1
            self.written += len(data)
            yield data
        self.made.digests = bytes(digests)
        self._chunks[self.pack] = self._count
        for name in self._files:
            self.made.files.add(name=name, chunks=self._chunks[name])

    def _is_known(self, number: int, digest: bytes, size: int) -> bool:
        before = self.before
        if before is None or number >= len(before.packs) or _digest(before, number) != digest:
            return False
        pack = before.packs[number]
        if pack in self._sparse or size != CHUNK_BYTES or before.chunk_bytes != CHUNK_BYTES:
            return False
        self._place(before.files[pack].name, before.slots[number])
        return True

    def _place(self, name: str, slot: int) -> None:
        self.made.packs.append(self._files.setdefault(name, len(self._files)))
        self.made.slots.append(slot)


def _sparse(manifest: sb.SnapshotManifest, there: set[str]) -> frozenset[int]:
    """Packs of which less than half is still wanted, or that are gone."""
    used = [0] * len(manifest.files)
    for pack in manifest.packs:
        used[pack] += 1
    return frozenset(
        index
        for index, file in enumerate(manifest.files)
        if 2 * used[index] < file.chunks or file.name not in there
    )


def _digest(manifest: sb.SnapshotManifest, number: int) -> bytes:
    return manifest.digests[number * _HASH : (number + 1) * _HASH]


def _name(manifest: sb.SnapshotManifest) -> str:
    return f"{manifest.position:020d}{_SNAPSHOT}"
