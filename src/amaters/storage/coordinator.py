"""Who may write a shard: one owner per *epoch*, and epochs only rise.

Whoever acquires gets a higher epoch than anybody before, and with it the right to write until
somebody else acquires. An owner can be deposed without noticing (it was paused, its network was
gone), so nothing is acknowledged before ``holds`` has said yes *after* the write.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from amaters.base.errors import AmatersError, fail, make
from amaters.base.ids import new_id
from amaters.storage.files import Disk
from amaters.storage.remote import Blobs, Patience, settle_create

_EPOCH = "EPOCH"
_OWNER = "OWNER"
_HASH = 16
_DIGITS = 20


class Coordinator(Protocol):
    """Ownership of one shard, as one process sees it."""

    def acquire(self) -> int:
        """A new epoch, higher than every one before; the former owner is deposed.

        Raises: AM-4002 where a living owner is not deposed, AM-4025.
        """

    def holds(self, epoch: int) -> bool:
        """Whether ``epoch`` is still the newest. Linearizable: a yes means that nobody had acquired
        when this was called. Raises: AM-4025 when it cannot be known, after asking more than once.
        """

    def release(self) -> None:
        """Let go; the epoch is spent. Nothing is wrong without it."""


class LocalOwnership:
    """The epochs of the shards of one process; ``coordinator`` gives each owner its view."""

    def __init__(self) -> None:
        self._epochs: dict[bytes, int] = {}
        self._held: dict[bytes, int] = {}
        self._lock = threading.Lock()

    def coordinator(self, shard: bytes) -> LocalCoordinator:
        return LocalCoordinator(self, shard)

    def take(self, shard: bytes) -> int:
        with self._lock:
            epoch = self._epochs.get(shard, 0) + 1
            self._epochs[shard] = self._held[shard] = epoch
            return epoch

    def held(self, shard: bytes) -> int:
        """The epoch of the owner; 0: nobody."""
        with self._lock:
            return self._held.get(shard, 0)

    def drop(self, shard: bytes, epoch: int) -> None:
        with self._lock:
            if self._held.get(shard) == epoch:
                del self._held[shard]


class LocalCoordinator:
    """Ownership among the threads of one process; whoever comes later deposes."""

    def __init__(self, ownership: LocalOwnership, shard: bytes) -> None:
        self._ownership, self._shard = ownership, shard
        self._epoch = 0

    def acquire(self) -> int:
        self._epoch = self._ownership.take(self._shard)
        return self._epoch

    def holds(self, epoch: int) -> bool:
        return self._ownership.held(self._shard) == epoch

    def release(self) -> None:
        self._ownership.drop(self._shard, self._epoch)


class FileCoordinator:
    """Ownership among the processes of one machine: a lock that dies with its process, and a
    durable count. A living owner is never deposed.
    """

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._directory, self._disk = directory, disk
        self._lock: int | None = None
        self._epoch = 0

    def acquire(self) -> int:
        if self._lock is None:
            self._disk.make_directory(self._directory)
            self._lock = self._disk.lock(self._directory / _OWNER)
        try:
            epoch = self._read() + 1
            self._write(epoch)
        except BaseException:
            self.release()
            raise
        self._epoch = epoch
        return epoch

    def holds(self, epoch: int) -> bool:
        return self._lock is not None and epoch == self._epoch

    def release(self) -> None:
        if self._lock is not None:
            self._disk.close(self._lock)
            self._lock = None

    def _read(self) -> int:
        path = self._directory / _EPOCH
        if not path.exists():
            return 0
        data = self._disk.read_all(path)
        if blake3(data[_HASH:]).digest(length=_HASH) != data[:_HASH]:
            fail("AM-4001", file=_EPOCH, what="checksum")
        return int(data[_HASH:])

    def _write(self, epoch: int) -> None:
        body = b"%d" % epoch
        temporary = self._directory / f"{_EPOCH}.tmp"
        self._disk.remove(temporary)
        fd = self._disk.create(temporary)
        try:
            self._disk.write(fd, blake3(body).digest(length=_HASH) + body, temporary)
            self._disk.sync(fd, temporary)
        finally:
            self._disk.close(fd)
        self._disk.publish(temporary, self._directory / _EPOCH)


class StoreCoordinator:
    """Ownership by put-if-absent: epoch *e* is whoever created ``<prefix><e>``.

    No lease and no clock: whoever opens last is the owner, and ``holds`` is one read of the name
    that the next owner must create. The names are never deleted: a paused owner must find its
    successor's however late it looks.
    """

    def __init__(self, blobs: Blobs, patience: Patience, prefix: str = "owners/") -> None:
        self._blobs, self._patience, self._prefix = blobs, patience, prefix

    def acquire(self) -> int:
        names = [found.name for found in self._blobs.list(self._prefix)]
        epoch = max((int(name.removeprefix(self._prefix)) for name in names), default=0) + 1
        nonce = new_id()
        while settle_create(self._blobs, self._name(epoch), nonce, self._patience) is not None:
            epoch += 1
        return epoch

    def holds(self, epoch: int) -> bool:
        last: AmatersError | None = None
        for _ in self._patience.waits():
            try:
                return self._blobs.get(self._name(epoch + 1)) is None
            except AmatersError as error:
                last = error
        raise last or make("AM-4025", {"what": "the owner was not asked for"})

    def release(self) -> None:
        """The next owner deposes without it."""

    def _name(self, epoch: int) -> str:
        return f"{self._prefix}{epoch:0{_DIGITS}d}"
