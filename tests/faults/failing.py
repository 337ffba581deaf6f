"""A Disk and a SQLite VFS whose calls fail when a test says so."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import apsw

from amaters.base.errors import fail
from amaters.storage.files import Buffer, Disk, failed
from faults.recording import path_of

_numbers = count()
_BLOCK = 4096
WRITING = ("create", "write", "sync", "rename", "names", "truncate", "remove")
KINDS = (*WRITING, "read")
_SQLITE = {
    "write": apsw.IOError,
    "sync": apsw.IOError,
    "truncate": apsw.IOError,
    "read": apsw.IOError,
    "create": apsw.CantOpenError,
    "remove": apsw.IOError,
}
Chosen = Callable[[Path], bool]


class Faults:
    """Counts calls by kind, and makes some of them fail once ``arm`` was called."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.hits = 0
        self.code = errno.EIO
        self.short = False
        self._kinds: tuple[str, ...] = ()
        self._first = self._times = self._seen = 0
        self._chosen: Chosen = _any_file
        self._lock = threading.Lock()

    def arm(
        self,
        *kinds: str,
        first: int = 0,
        times: int = 1,
        code: int = errno.EIO,
        short: bool = False,
        chosen: Chosen | None = None,
    ) -> None:
        """From now on let ``first`` calls of these kinds pass and ``times`` after them fail.

        ``short``: a failing write leaves half of its bytes behind, as a full disk does.
        """
        with self._lock:
            self._kinds, self._first, self._times = kinds, first, times
            self.code, self.short, self._chosen = code, short, chosen or _any_file
            self.hits = self._seen = 0

    def disarm(self) -> None:
        self.arm()

    def strikes(self, kind: str, path: Path) -> bool:
        with self._lock:
            self.counts[kind] += 1
            if kind not in self._kinds or not self._chosen(path):
                return False
            self._seen += 1
            struck = self._first < self._seen <= self._first + self._times
            self.hits += struck
            return struck

    def error(self) -> OSError:
        return OSError(self.code, os.strerror(self.code))


def _any_file(path: Path) -> bool:
    return True


class FailingDisk(Disk):
    """POSIX files that fail as ``faults`` says."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    def _check(self, kind: str, path: Path) -> None:
        if self.faults.strikes(kind, path):
            failed(path, self.faults.error())

    def _check_read(self, path: Path) -> None:
        if self.faults.strikes("read", path):
            fail("AM-4001", file=path.name, what=os.strerror(self.faults.code))

    def create(self, path: Path) -> int:
        self._check("create", path)
        return super().create(path)

    def write(self, fd: int, data: Buffer, path: Path) -> None:
        if self.faults.strikes("write", path):
            if self.faults.short:
                view = memoryview(data).cast("B")
                super().write(fd, view[: len(view) // 2], path)
            failed(path, self.faults.error())
        super().write(fd, data, path)

    def write_at(
        self,
        fd: int,
        parts: Sequence[memoryview],
        offset: int,
        path: Path,
        *,
        durable: bool = False,
    ) -> None:
        if self.faults.strikes("write", path):
            if self.faults.short:
                half = sum(map(len, parts)) // 2 // _BLOCK * _BLOCK
                os.pwrite(fd, b"".join(parts)[:half], offset)
            failed(path, self.faults.error())
        super().write_at(fd, parts, offset, path, durable=durable)

    def sync(self, fd: int, path: Path) -> None:
        self._check("sync", path)
        super().sync(fd, path)

    def rename(self, old: Path, new: Path) -> None:
        self._check("rename", new)
        super().rename(old, new)

    def sync_directory(self, path: Path) -> None:
        self._check("names", path)
        super().sync_directory(path)

    def truncate(self, path: Path, size: int) -> None:
        self._check("truncate", path)
        super().truncate(path, size)

    def remove(self, path: Path) -> None:
        self._check("remove", path)
        super().remove(path)

    def read_all(self, path: Path) -> bytes:
        self._check_read(path)
        return super().read_all(path)

    def open_read(self, path: Path) -> int:
        self._check_read(path)
        return super().open_read(path)

    def names(self, directory: Path) -> list[str]:
        self._check_read(directory)
        return super().names(directory)

    def read_prefix(self, path: Path, length: int) -> bytes:
        self._check_read(path)
        return super().read_prefix(path, length)

    def read_at(self, fd: int, offset: int, length: int, path: Path) -> memoryview:
        self._check_read(path)
        return super().read_at(fd, offset, length, path)


class FailingVfs(apsw.VFS):
    """SQLite's files that fail as ``faults`` says. Open connections with ``vfs=name``."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.name = f"failing{next(_numbers)}"
        super().__init__(self.name, "unix")

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = path_of(name)
        if path is None:
            return apsw.VFSFile("unix", name, flags)  # type: ignore[arg-type]
        return _FailingFile(self.faults, path, (name, flags))

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        if self.faults.strikes("remove", Path(filename)):
            raise _refusal(self.faults, "remove")
        super().xDelete(filename, syncdir)


def _refusal(faults: Faults, kind: str) -> Exception:
    if kind == "write" and faults.code == errno.ENOSPC:
        return apsw.FullError("injected")
    return _SQLITE[kind]("injected")


class _FailingFile(apsw.VFSFile):
    def __init__(self, faults: Faults, path: Path, given: tuple[object, list[int]]) -> None:
        name, flags = given
        if faults.strikes("create", path):
            raise _refusal(faults, "create")
        super().__init__("unix", name, flags)  # type: ignore[arg-type]
        self._faults, self._path = faults, path

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        if self._faults.strikes("read", self._path):
            raise _refusal(self._faults, "read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._faults.strikes("write", self._path):
            if self._faults.short:
                super().xWrite(bytes(data)[: len(data) // 2], offset)
            raise _refusal(self._faults, "write")
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        if self._faults.strikes("truncate", self._path):
            raise _refusal(self._faults, "truncate")
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._faults.strikes("sync", self._path):
            raise _refusal(self._faults, "sync")
        super().xSync(flags)
