"""A database whose objects, and perhaps log and snapshots, lie on an object store.

    AMATERS (format, id)   objects/   log/   snapshots/   owners/<epoch>

With the log there, the directory is a cache: the state is made again from the newest snapshot and
the log after it. Whoever opens the database last owns it; who owned it before can acknowledge
nothing any more, and neither writes nor removes snapshots.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from blake3 import blake3
from google.protobuf.message import DecodeError

from amaters.base.clock import SystemClock
from amaters.base.errors import fail
from amaters.base.ids import ID_BYTES, new_id
from amaters.storage.cache import DiskCache
from amaters.storage.collector import Collector
from amaters.storage.commitlog.object import ObjectLog
from amaters.storage.coordinator import Coordinator, StoreCoordinator
from amaters.storage.files import Buffer, Disk
from amaters.storage.marker import FORMAT_VERSION, MARKER
from amaters.storage.options import StorageOptions
from amaters.storage.remote import Blobs, Patience, check_conditions, open_blobs, settle_create
from amaters.storage.remote_objects import RemoteObjects
from amaters.wire import commands_pb2 as cb

CACHE = "cache"
LOG_BYTES_MAX = 64 << 20  # of objects of the log, each counted for what reading it back costs
_SNAPSHOTS = "snapshots/"
_OWNERS = "owners/"
_SNAPSHOT_SUFFIX = ".snapshot"
_LOG_TIMEOUT_SECONDS = 15.0
_LOG_RETRIES = 2
_READ_AHEAD = 4 << 20
_BUFFERS = 4


class RemoteFiles:
    """Snapshots as blobs. ``check_owner`` raises when this process may not change them."""

    def __init__(self, blobs: Blobs, check_owner: Callable[[], None]) -> None:
        self._blobs, self._check_owner = blobs, check_owner
        self.listed = 0  # position of the newest snapshot when somebody last asked for names
        self._sizes: dict[str, int] = {}
        self._ahead: OrderedDict[str, tuple[int, memoryview]] = OrderedDict()
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        found = self._names()
        self.listed = _newest(found)
        return found

    def _names(self) -> list[str]:
        listed = {info.name.removeprefix(_SNAPSHOTS): info for info in self._blobs.list(_SNAPSHOTS)}
        with self._lock:
            self._sizes = {name: info.size for name, info in listed.items()}
        return sorted(listed)

    def newest(self) -> int:
        """Position of the newest snapshot; 0: there is none."""
        return _newest(self._names())

    def write(self, name: str, parts: Iterable[Buffer], at_most: int) -> None:
        self._check_owner()
        writer = self._blobs.writer(_SNAPSHOTS + name, at_most)
        digest, size = blake3(), 0
        try:
            for part in parts:
                writer.write(part)
                digest.update(part)
                size += len(part)
            self._check_owner()
            writer.finish()
        except BaseException:
            writer.abort()
            raise
        with self._lock:
            self._ahead.pop(name, None)
        self._read_back(name, size, digest.digest())

    def _read_back(self, name: str, size: int, expected: bytes) -> None:
        """The log is cut below what was written: it must be there as it was sent."""
        found = blake3()
        for start in range(0, size, _READ_AHEAD):
            length = min(_READ_AHEAD, size - start)
            (view,) = self._blobs.read(_SNAPSHOTS + name, [(start, length)])
            found.update(view)
        if found.digest() != expected:
            fail("AM-4001", file=_SNAPSHOTS + name, what="it is not what was written")

    def read(self, name: str, offset: int, length: int) -> memoryview:
        with self._lock:
            start, held = self._ahead.get(name, (0, memoryview(b"")))
            size = self._sizes.get(name)
        if start <= offset and offset + length <= start + len(held):
            return held[offset - start : offset - start + length]
        if size is None:
            self._names()
            size = self._sizes.get(name)
        if size is None:
            fail("AM-4007", object_id=_SNAPSHOTS + name)
        ahead = max(length, min(_READ_AHEAD, size - offset))
        (held,) = self._blobs.read(_SNAPSHOTS + name, [(offset, ahead)])
        with self._lock:
            self._ahead[name] = (offset, held)
            self._ahead.move_to_end(name)
            while len(self._ahead) > _BUFFERS:
                self._ahead.popitem(last=False)
        return held[:length]

    def read_all(self, name: str) -> bytes:
        data = self._blobs.get(_SNAPSHOTS + name)
        if data is None:
            fail("AM-4007", object_id=_SNAPSHOTS + name)
        return data

    def remove(self, name: str) -> None:
        self._check_owner()
        self._blobs.delete([_SNAPSHOTS + name])


def _newest(names: Iterable[str]) -> int:
    found = (name for name in names if name.endswith(_SNAPSHOT_SUFFIX))
    return max((int(name.removesuffix(_SNAPSHOT_SUFFIX)) for name in found), default=0)


class Owner:
    """The epoch of this process, newer with every log that is opened."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator = coordinator
        self._epoch = 0

    def acquire(self) -> int:
        self._epoch = self.coordinator.acquire()
        return self._epoch

    def holds(self, epoch: int) -> bool:
        return self.coordinator.holds(epoch)

    def release(self) -> None:
        self.coordinator.release()

    def owns(self) -> bool:
        """Whether nobody came after this process."""
        return self._epoch > 0 and self.holds(self._epoch)

    def check(self) -> None:
        """Raises: AM-4010 when somebody did."""
        if not self.owns():
            fail("AM-4010", seen=self._epoch + 1, ours=self._epoch)


class RemotePlace:
    """The store of one database, opened."""

    def __init__(self, marker: cb.DatabaseFormat, options: StorageOptions) -> None:
        objects_url, log_url = options.store_urls
        self.database_id, self.options = marker.database_id, options
        self.has_log = bool(marker.log_url)
        patience = _patience(options)
        self.objects = open_blobs(objects_url or marker.objects_url)
        # The log follows up what fails by itself, so that the library hardly needs to.
        where = log_url or marker.log_url or objects_url or marker.objects_url
        self.log = open_blobs(where, timeout_seconds=_LOG_TIMEOUT_SECONDS, retries=_LOG_RETRIES)
        self.owner = Owner(StoreCoordinator(self.log, patience, _OWNERS))
        self.files = RemoteFiles(open_blobs(where), self.owner.check)

    def open_log(self) -> ObjectLog:
        """The log; whoever reads it to its end owns the database."""
        return ObjectLog(
            self.log,
            self.owner,
            self.database_id,
            self.options.remote_log,
            newest_snapshot=self.files.newest,
            known_snapshot=self.files.listed,
        )

    def open_objects(self, path: Path, disk: Disk) -> RemoteObjects:
        """The objects, with a cache in the directory."""
        limit = self.options.cache_bytes
        cache = DiskCache(path / CACHE, disk, limit) if limit else None
        return RemoteObjects(self.objects, cache)

    def collector(self, objects: RemoteObjects) -> Collector:
        """What removes objects that nothing names."""
        if not self.has_log:
            self.owner.acquire()
        return Collector(objects, self.owner.owns, SystemClock())

    def begin(self) -> None:
        """Make a new database's log. Nothing is made once somebody has owned it: a log that is
        missing then is lost.
        """
        if self.has_log and next(iter(self.log.list(_OWNERS)), None) is None:
            self.open_log().create()


def new_marker(options: StorageOptions) -> cb.DatabaseFormat:
    """The marker of a directory that is not a database yet: of a new one, or of the one that the
    store holds. Raises: AM-4028, AM-4029, AM-4030, AM-4025, AM-4031.
    """
    objects_url, log_url = options.store_urls
    made = cb.DatabaseFormat(
        version=FORMAT_VERSION, database_id=new_id(), objects_url=objects_url, log_url=log_url
    )
    if not objects_url:
        return made
    blobs = check_store(options)
    if log_url:
        made.database_id = _claim(blobs, made.database_id, _patience(options))
    elif (found := _read_id(blobs)) is not None:
        # Its log was in a directory, and this one is empty.
        fail("AM-4030", url=objects_url, found=found.hex(), expected="none")
    return made


def check_store(options: StorageOptions) -> Blobs:
    """The store that a new database would begin with, found fit. Raises: AM-4028, AM-4029."""
    objects_url, log_url = options.store_urls
    blobs = open_blobs(log_url or objects_url, timeout_seconds=_LOG_TIMEOUT_SECONDS)
    if log_url.startswith("file:"):
        what = "a log needs a store that makes the order of its writes durable"
        fail("AM-4028", url=log_url, what=f"{what}; a directory has its own logs")
    check_conditions(blobs)
    return blobs


def claim(place: RemotePlace) -> None:
    """Mark the store as this database's. Raises: AM-4030 when it is another's."""
    patience = _patience(place.options)
    for blobs in {id(one): one for one in (place.log, place.objects)}.values():
        found = _claim(blobs, place.database_id, patience)
        if found != place.database_id:
            expected = place.database_id.hex()
            fail("AM-4030", url=blobs.url, found=found.hex(), expected=expected)


def _claim(blobs: Blobs, database_id: bytes, patience: Patience) -> bytes:
    """The id of the database that the store holds, which is ours if it held none."""
    marker = cb.DatabaseFormat(version=FORMAT_VERSION, database_id=database_id)
    other = settle_create(blobs, MARKER, marker.SerializeToString(), patience)
    return database_id if other is None else _id_of(other, blobs.url)


def _read_id(blobs: Blobs) -> bytes | None:
    found = blobs.get(MARKER)
    return None if found is None else _id_of(found, blobs.url)


def _id_of(data: bytes, url: str) -> bytes:
    try:
        found = cb.DatabaseFormat.FromString(data)
    except DecodeError:
        fail("AM-4005", path=url, what="its marker does not parse")
    if found.version > FORMAT_VERSION:
        fail("AM-4006", file=MARKER, found=found.version, known=FORMAT_VERSION)
    if len(found.database_id) != ID_BYTES:
        fail("AM-4005", path=url, what="it has no id")
    return found.database_id


def _patience(options: StorageOptions) -> Patience:
    pause = threading.Event().wait
    return Patience(options.remote_log.attempts, options.remote_log.pause_seconds, pause)
