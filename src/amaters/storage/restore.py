"""Restoring a backup: everything is read and checked before anything is replaced."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NoReturn

from blake3 import blake3

from amaters.base.errors import AmatersError, DataError, fail
from amaters.base.ids import new_id
from amaters.base.progress import Progress, ProgressCallback, no_progress
from amaters.storage.backupset import (
    READ_BYTES,
    BackupInfo,
    Kept,
    Target,
    check_chain,
    digest,
    in_order,
    info,
    latest,
    object_file,
    read_manifest,
    state_file,
)
from amaters.storage.commitlog.core import SegmentLog
from amaters.storage.directory import LOG, OBJECTS
from amaters.storage.files import Buffer, Disk
from amaters.storage.marker import FORMAT_VERSION, MARKER, write_marker
from amaters.storage.migrations.context import JOURNAL, Staging, finish, remove_tree
from amaters.storage.objects import FileObjects, ObjectStore
from amaters.storage.options import StorageOptions
from amaters.storage.remote_parts import RemotePlace, check_store, claim
from amaters.storage.verify import check_restored
from amaters.wire import backup_pb2 as bb
from amaters.wire import commands_pb2 as cb

_LOCK = "LOCK"


def restore(
    target: Target,
    path: Path,
    *,
    name: str | None = None,
    replace: bool = False,
    options: StorageOptions | None = None,
    disk: Disk | None = None,
    progress: ProgressCallback = no_progress,
) -> BackupInfo:
    """Make the database of a backup (None: the newest) in ``path``, which must be new or empty, or
    with ``replace`` a database that nobody has open. Until all of the backup has been found whole,
    ``path`` stays as it is; then it changes at once, also when the process dies. ``options`` that
    name an object store put objects, and perhaps log and snapshots, there: it must hold nothing.

    Raises: AM-4001, AM-4002, AM-4005 (what is to be replaced is no database), AM-4041, AM-4042,
    AM-4043, and of stores AM-4025, AM-4028, AM-4029, AM-4031.
    """
    kept = read_manifest(target, name or _newest(target))
    found = kept.manifest.format
    if found > FORMAT_VERSION:
        fail("AM-4006", file=kept.manifest.name, found=found, known=FORMAT_VERSION)
    check_chain(target, kept)
    work = _Restoring(target, kept, options or StorageOptions(), disk or Disk(), progress)
    if _is_empty(path):
        work.make(path)
    elif not replace:
        fail("AM-4043", path=str(path))
    else:
        work.replace(path)
    return info(kept.manifest)


def check_backup(target: Target, name: str, progress: ProgressCallback = no_progress) -> BackupInfo:
    """Read every byte of a backup and compare it with its manifest. Raises: AM-4041, AM-4042."""
    kept = read_manifest(target, name)
    check_chain(target, kept)
    reading = _Reading(target, kept, progress)
    for _ in reading.chunks():
        pass
    for _ in in_order(target, reading.check, kept.manifest.objects):
        pass
    return info(kept.manifest)


def _newest(target: Target) -> str:
    name = latest(target)
    if name is None:
        fail("AM-4042", name="", target=target.url)
    return name


def _is_empty(path: Path) -> bool:
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


@dataclass(frozen=True, slots=True)
class _Restoring:
    """One restore: from where, and how."""

    target: Target
    kept: Kept
    options: StorageOptions
    disk: Disk
    progress: ProgressCallback

    def make(self, path: Path) -> None:
        """A new directory, which gets its name when it is whole."""
        disk, path = self.disk, path.absolute()
        disk.make_directory(path.parent)
        temporary = path.with_name(f".{path.name}.{new_id().hex()[:8]}.restoring")
        try:
            disk.make_directory(temporary)
            self._build(temporary)
            disk.publish(temporary, path)
        except BaseException:
            remove_tree(temporary, disk)
            raise

    def replace(self, path: Path) -> None:
        """A database in place of another one."""
        disk = self.disk
        if not (path / MARKER).exists():
            fail("AM-4005", path=str(path), what="only a database is replaced")
        lock = disk.lock(path / _LOCK)
        try:
            with suppress(DataError):  # a journal that is damaged is replaced like everything else
                finish(path, disk)
            staging = Staging(path, disk)
            staging.begin()
            self._build(staging.staging)
            mine = {path / _LOCK, path / JOURNAL}
            old = [
                file
                for file in path.rglob("*")
                if file.is_file() and file not in mine and staging.staging not in file.parents
            ]
            for name in (_LOCK, "state/state.db-shm"):  # of the process that checked it
                disk.remove(staging.staging / name)
            staging.commit(old)
        finally:
            disk.close(lock)

    def _build(self, path: Path) -> None:
        """A whole database in an empty directory, checked as ``amaters admin verify`` does."""
        manifest, disk = self.kept.manifest, self.disk
        reading = _Reading(self.target, self.kept, self.progress)
        marker = cb.DatabaseFormat(version=manifest.format, database_id=manifest.database_id)
        place = self._store(marker)
        disk.make_directory(path / "state")
        _write_state(reading, path / "state" / "state.db", disk)
        objects = place.open_objects(path, disk) if place else FileObjects(path / OBJECTS, disk)
        write = partial(_write_object, reading, objects)
        for _ in in_order(self.target, write, manifest.objects):
            pass
        first = manifest.position + 1
        if place is not None and place.has_log:
            place.open_log().create(first)
        else:
            SegmentLog(path / LOG, disk, manifest.database_id).create(first)
        write_marker(path, disk, marker)
        check_restored(path, disk, manifest.position)

    def _store(self, marker: cb.DatabaseFormat) -> RemotePlace | None:
        """The store that the options name, claimed for this database."""
        marker.objects_url, marker.log_url = self.options.store_urls
        if not marker.objects_url:
            return None
        check_store(self.options)
        place = RemotePlace(marker, self.options)
        for blobs in (place.objects, place.log):
            if next(iter(blobs.list("")), None) is not None:
                fail("AM-4043", path=blobs.url)
        claim(place)
        return place


def _write_object(reading: _Reading, objects: ObjectStore, part: bb.BackupObject) -> None:
    writer = objects.create(part.ref.object_id, part.ref.size)
    try:
        for data in reading.content(part):
            writer.write(data)
        made = writer.finish()
    except BaseException:
        writer.abort()
        raise
    if made != part.ref:
        _damaged(reading.name, f"object {part.ref.object_id.hex()}")


def _write_state(reading: _Reading, file: Path, disk: Disk) -> None:
    fd = disk.create(file)
    try:
        for data in reading.chunks():
            disk.write(fd, data, file)
        disk.sync(fd, file)
    finally:
        disk.close(fd)
    disk.sync_directory(file.parent)


class _Reading:
    """Reads a backup and checks every byte before it is used."""

    def __init__(self, target: Target, kept: Kept, progress: ProgressCallback) -> None:
        self._target, self._kept, self._progress = target, kept, progress
        parts = kept.manifest.objects
        self._total = kept.manifest.state_bytes + sum(part.ref.size for part in parts)
        self._done = 0
        self._telling = threading.Lock()

    @property
    def name(self) -> str:
        return self._kept.manifest.name

    def chunks(self) -> Iterator[memoryview]:
        """The state's image, chunk by chunk."""
        size = 0
        for holder, run in groupby(self._kept.manifest.chunks, key=lambda chunk: chunk.holder):
            file = state_file(self._kept.holder(holder))
            for batch in _batches(run):
                found = self._read(file, batch)
                for chunk, data in zip(batch, found, strict=True):
                    if digest(data) != chunk.digest:
                        _damaged(self.name, f"checksum in {file}")
                    size += chunk.size
                    self._advance(chunk.size)
                    yield data
        if size != self._kept.manifest.state_bytes:
            _damaged(self.name, "chunks of the state are missing")

    def _read(self, file: str, batch: list[bb.StateChunk]) -> list[memoryview]:
        with self._found(file):
            return self._target.read(file, [(chunk.offset, chunk.size) for chunk in batch])

    def content(self, part: bb.BackupObject) -> Iterator[Buffer]:
        """An object; the last piece comes after all of it was checked."""
        file = object_file(self._kept.holder(part.holder), part.ref.object_id)
        size, hasher = part.ref.size, blake3()
        for start in range(0, size, READ_BYTES):
            length = min(READ_BYTES, size - start)
            with self._found(file):
                (data,) = self._target.read(file, [(start, length)])
            hasher.update(data)
            if start + length == size and hasher.digest() != part.digest:
                _damaged(self.name, f"checksum of {file}")
            self._advance(length)
            yield data

    def check(self, part: bb.BackupObject) -> None:
        """Read an object for nothing else than to check it."""
        for _ in self.content(part):
            pass

    def _advance(self, size: int) -> None:
        with self._telling:
            self._done += size
            self._progress(Progress("restore", self._done, self._total, "bytes"))

    @contextmanager
    def _found(self, file: str) -> Iterator[None]:
        """A missing or short file is a damaged backup."""
        try:
            yield
        except AmatersError as error:
            if error.code not in ("AM-4001", "AM-4007"):
                raise
            fail("AM-4041", name=self.name, what=f"{file}: {error.message}")


def _batches(chunks: Iterator[bb.StateChunk]) -> Iterator[list[bb.StateChunk]]:
    """Chunks of one file, so many that one reading is worth its way."""
    batch: list[bb.StateChunk] = []
    for chunk in chunks:
        batch.append(chunk)
        if sum(one.size for one in batch) >= READ_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _damaged(name: str, what: str) -> NoReturn:
    fail("AM-4041", name=name, what=what)
