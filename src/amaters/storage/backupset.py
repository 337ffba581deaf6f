"""Where backups are kept: a directory or an object store, and the manifests in it.

    manifests/<name>            checksummed, written last: a backup without one does not exist
    data/<name>/state           the chunks of the state that no ancestor holds, one after the other
    data/<name>/objects/<id>    the objects that no ancestor holds

A manifest lists every chunk and object of its backup and says which backup of its chain holds it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

from blake3 import blake3
from google.protobuf.message import DecodeError

from amaters.base.errors import DataError, fail
from amaters.storage.files import Buffer, Disk
from amaters.storage.remote import BlobInfo, BlobWriter, open_blobs
from amaters.wire import backup_pb2 as bb

VERSION = 1
READ_BYTES = 4 << 20  # read or written at once
AT_ONCE = 8  # objects under way to or from an object store
_MANIFESTS = "manifests/"
_HASH = 32

T = TypeVar("T")
R = TypeVar("R")


class Target(Protocol):
    """What backups need of ``remote.Blobs``, so that a plain directory is one as well."""

    url: str

    def put(self, name: str, data: Buffer) -> None: ...

    def writer(self, name: str, size: int) -> BlobWriter: ...

    def get(self, name: str) -> bytes | None: ...

    def read(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[memoryview]: ...

    def list(self, prefix: str) -> Iterator[BlobInfo]: ...

    def delete(self, names: Sequence[str]) -> None: ...


def open_target(address: str, disk: Disk | None = None) -> Target:
    """The target at a path or a URL (``s3://bucket/prefix``). Raises: AM-4028."""
    if "://" in address:
        return open_blobs(address)
    return DirectoryTarget(Path(address), disk or Disk())


def in_order(target: Target, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """``map``; on an object store, which is far away, some of the work is under way at a time."""
    if isinstance(target, DirectoryTarget):
        yield from map(work, items)
        return
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="amaters-backup") as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def state_file(name: str) -> str:
    """Where a backup keeps its chunks of the state."""
    return f"data/{name}/state"


def object_file(name: str, object_id: bytes) -> str:
    """Where a backup keeps an object."""
    return f"data/{name}/objects/{object_id.hex()}"


def digest(data: Buffer) -> bytes:
    """What manifests say of chunks, objects and each other."""
    return blake3(data).digest()


# ---- manifests -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """A manifest as it is kept, with its digest."""

    manifest: bb.BackupManifest
    digest: bytes

    def holder(self, number: int) -> str:
        """The name of the backup that holds a chunk or an object."""
        if number > len(self.manifest.chain):
            _damaged(self.manifest.name, "it names a backup that is not in its chain")
        return self.manifest.chain[number - 1].name if number else self.manifest.name


def write_manifest(target: Target, manifest: bb.BackupManifest) -> None:
    """Make a backup exist."""
    body = manifest.SerializeToString()
    target.put(_MANIFESTS + manifest.name, digest(body) + body)


def read_manifest(target: Target, name: str) -> Kept:
    """A manifest, checked. Raises: AM-4041, AM-4042, AM-4006."""
    data = target.get(_MANIFESTS + name)
    if data is None:
        fail("AM-4042", name=name, target=target.url)
    body = data[_HASH:]
    if digest(body) != data[:_HASH]:
        _damaged(name, "checksum of the manifest")
    try:
        manifest = bb.BackupManifest.FromString(body)
    except DecodeError:
        _damaged(name, "its manifest does not parse")
    if manifest.version > VERSION:
        fail("AM-4006", file=name, found=manifest.version, known=VERSION)
    if manifest.name != name:
        _damaged(name, f"it is a copy of {manifest.name}")
    return Kept(manifest, data[:_HASH])


def check_chain(target: Target, kept: Kept) -> None:
    """That every ancestor is there and is the one the backup was made on. Raises: AM-4041."""
    for link in kept.manifest.chain:
        if target.get(_MANIFESTS + link.name) is None:
            _damaged(kept.manifest.name, f"its ancestor {link.name} is missing")
        if read_manifest(target, link.name).digest != link.digest:
            _damaged(kept.manifest.name, f"its ancestor {link.name} is another one")


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """One line of a list of backups. ``damaged``: why it cannot be used."""

    name: str
    created: int = 0
    position: int = 0
    database_id: bytes = b""
    parent: str = ""
    ancestors: int = 0
    bytes_written: int = 0
    bytes_total: int = 0
    damaged: str = ""


def info(manifest: bb.BackupManifest) -> BackupInfo:
    """What a manifest says, in short."""
    total = manifest.state_bytes + sum(part.ref.size for part in manifest.objects)
    parent = manifest.chain[0].name if manifest.chain else ""
    return BackupInfo(
        name=manifest.name,
        created=manifest.created,
        position=manifest.position,
        database_id=manifest.database_id,
        parent=parent,
        ancestors=len(manifest.chain),
        bytes_written=manifest.bytes_written,
        bytes_total=total,
    )


def list_backups(target: Target) -> list[BackupInfo]:
    """Every backup, the oldest first; damaged manifests are listed as such."""
    found = []
    for blob in target.list(_MANIFESTS):
        name = blob.name.removeprefix(_MANIFESTS)
        try:
            found.append(info(read_manifest(target, name).manifest))
        except DataError as error:
            found.append(BackupInfo(name, damaged=error.message))
    return sorted(found, key=lambda one: (one.created, one.position, one.ancestors, one.name))


def latest(target: Target, database_id: bytes | None = None) -> str | None:
    """The newest whole backup, of one database if an id is given."""
    names = [
        backup.name
        for backup in list_backups(target)
        if not backup.damaged and database_id in (None, backup.database_id)
    ]
    return names[-1] if names else None


def _damaged(name: str, what: str) -> NoReturn:
    fail("AM-4041", name=name, what=what)


# ---- a plain directory ---------------------------------------------------------------------------


class DirectoryTarget:
    """Files under a directory; each is durable, whole and under its name, or not there."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.url = str(path)
        self._path, self._disk = path, disk

    def put(self, name: str, data: Buffer) -> None:
        writer = self.writer(name, len(data))
        try:
            writer.write(data)
            writer.finish()
        except BaseException:
            writer.abort()
            raise

    def writer(self, name: str, size: int) -> BlobWriter:
        path = self._path / name
        self._disk.make_directory(path.parent)
        return _FileWriter(path, self._disk)

    def get(self, name: str) -> bytes | None:
        path = self._path / name
        return self._disk.read_all(path) if path.exists() else None

    def read(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        path = self._path / name
        if not path.exists():
            fail("AM-4007", object_id=name)
        with path.open("rb") as file:
            return [
                self._disk.read_at(file.fileno(), start, length, path) for start, length in ranges
            ]

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        folder = self._path / prefix
        found = folder.rglob("*") if folder.is_dir() else ()
        files = (path for path in found if path.is_file() and path.suffix != ".tmp")
        sizes = ((str(path.relative_to(self._path)), path.stat().st_size) for path in files)
        return iter(sorted(BlobInfo(name, size) for name, size in sizes))

    def delete(self, names: Sequence[str]) -> None:
        """Also folders that are empty now."""
        for name in names:
            file = self._path / name
            self._disk.remove(file)
            with suppress(OSError):
                for folder in (file.parent, file.parent.parent):
                    folder.rmdir()


class _FileWriter:
    def __init__(self, path: Path, disk: Disk) -> None:
        self._path, self._disk = path, disk
        self._temporary = path.with_name(f"{path.name}.tmp")
        disk.remove(self._temporary)
        self._fd: int | None = disk.create(self._temporary)

    def write(self, data: Buffer) -> None:
        self._disk.write(self._descriptor(), data, self._temporary)

    def finish(self) -> None:
        self._disk.sync(self._descriptor(), self._temporary)
        self._close()
        self._disk.publish(self._temporary, self._path)

    def abort(self) -> None:
        if self._fd is not None:
            self._close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def _close(self) -> None:
        self._disk.close(self._descriptor())
        self._fd = None

    def _descriptor(self) -> int:
        if self._fd is None:
            fail("AM-4004", path=str(self._path))
        return self._fd
