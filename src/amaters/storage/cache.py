"""A bounded cache of parts of objects on the local disk; it survives a restart.

Nothing here is trusted or synced: whoever gets an entry checks it against the object's hashes and
drops it when it is damaged. A disk that is full or fails makes the cache smaller, never a read
wrong.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from amaters.base.errors import DataError, UnavailableError
from amaters.storage.files import Buffer, Disk

_TEMPORARY = ".tmp"


class DiskCache:
    """At most ``limit`` bytes of entries; the least recently used go first. Any thread may use it.

    ``hits`` and ``misses`` count what was asked for.
    """

    def __init__(self, directory: Path, disk: Disk, limit: int) -> None:
        self._directory, self._disk, self._limit = directory, disk, limit
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self.bytes = self.hits = self.misses = 0
        disk.make_directory(directory)
        self._scan()

    def _scan(self) -> None:
        """Take over what an earlier run left."""
        found = []
        for name in self._disk.names(self._directory):
            path = self._directory / name
            if name.endswith(_TEMPORARY):
                self._remove(path)
            else:
                status = path.stat()
                found.append((status.st_mtime_ns, name, status.st_size))
        for _, name, size in sorted(found):
            self._sizes[name] = size
            self.bytes += size
        with suppress(UnavailableError):
            self._shrink(0)

    def get(self, name: str) -> memoryview | None:
        """The bytes of an entry, unchecked; None: it is not here."""
        with self._lock:
            size = self._sizes.get(name)
            if size is not None:
                self._sizes.move_to_end(name)
        path = self._directory / name
        data = None if size is None else self._read(path, size)
        if data is None:
            self.drop(name)
        with self._lock:
            self.hits += data is not None
            self.misses += data is None
        return data

    def _read(self, path: Path, size: int) -> memoryview | None:
        try:
            fd = self._disk.open_read(path)
            try:
                data = self._disk.read_at(fd, 0, size, path)
            finally:
                self._disk.close(fd)
            self._disk.touch(path)
        except (DataError, UnavailableError):
            return None
        return data

    def put(self, name: str, data: Buffer) -> None:
        """Keep an entry, if there is room."""
        size = len(data)
        if size > self._limit:
            return
        temporary = self._directory / f"{next(self._numbers)}{_TEMPORARY}"
        try:
            self._write(temporary, data)
            with self._lock:
                self._shrink(size - self._sizes.get(name, 0))
                self._disk.rename(temporary, self._directory / name)
                self.bytes += size - self._sizes.pop(name, 0)
                self._sizes[name] = size
        except UnavailableError:
            self._remove(temporary)

    def _write(self, path: Path, data: Buffer) -> None:
        fd = self._disk.create(path)
        try:
            self._disk.write(fd, data, path)
        finally:
            self._disk.close(fd)

    def _shrink(self, room: int) -> None:
        """Make room. Raises: AM-4003 when the disk keeps an entry, which then counts as before."""
        while self._sizes and self.bytes + room > self._limit:
            name = next(iter(self._sizes))
            self._disk.remove(self._directory / name)
            self.bytes -= self._sizes.pop(name)

    def _remove(self, path: Path) -> None:
        """Delete a file that nobody asks for any more; if it stays, the next run finds it."""
        with suppress(UnavailableError):
            self._disk.remove(path)

    def drop(self, name: str) -> None:
        """Forget an entry, if it is here."""
        with self._lock:
            size = self._sizes.pop(name, None)
            if size is not None:
                self.bytes -= size
                self._remove(self._directory / name)

    def drop_all(self, groups: set[str]) -> None:
        """Forget the entries named ``<group>-<part>`` of some groups."""
        with self._lock:
            names = [name for name in self._sizes if name.partition("-")[0] in groups]
        for name in names:
            self.drop(name)
