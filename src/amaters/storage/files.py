"""The only place where this database touches a disk, so that a test can stand in for a bad one.

A failed write or sync is reported and never retried: after a failed fsync the page cache may claim
bytes that the disk does not have.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from amaters.base.errors import AmatersError, fail

Buffer = bytes | bytearray | memoryview
_ZEROS = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


class Disk:
    """POSIX files. Every method raises AM-4003 when the operating system refuses, AM-4008 when the
    disk is full.
    """

    def create(self, path: Path) -> int:
        """A new file, open for writing; it must not exist."""
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            failed(path, error)

    def open_read(self, path: Path) -> int:
        """An existing file, open for ``read_at``. Raises: AM-4001."""
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            fail("AM-4001", file=path.name, what=_why(error))

    def open_append(self, path: Path) -> int:
        """An existing file, open for appending."""
        try:
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            failed(path, error)

    def write(self, fd: int, data: Buffer, path: Path) -> None:
        """Write all of ``data`` at the end."""
        view = memoryview(data).cast("B")
        try:
            while view:
                view = view[os.write(fd, view) :]
        except OSError as error:
            failed(path, error)

    def sync(self, fd: int, path: Path) -> None:
        """Make everything written to ``fd`` durable."""
        try:
            os.fdatasync(fd) if hasattr(os, "fdatasync") else os.fsync(fd)
        except OSError as error:
            failed(path, error)

    def close(self, fd: int) -> None:
        """Close a descriptor; its data was synced before if it mattered."""
        os.close(fd)

    def publish(self, temporary: Path, path: Path) -> None:
        """Give a synced file its final name, durably."""
        self.rename(temporary, path)
        self.sync_directory(path.parent)

    def rename(self, old: Path, new: Path) -> None:
        """Another name, durable only once the directory is synced."""
        try:
            os.rename(old, new)
        except OSError as error:
            failed(new, error)

    def sync_directory(self, path: Path) -> None:
        """Make names in a directory durable."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            failed(path, error)

    def make_directory(self, path: Path) -> None:
        """A directory only the owner can enter, if it is not there yet; its name is durable."""
        if path.is_dir():
            return
        self.make_directory(path.parent)
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            failed(path, error)
        self.sync_directory(path.parent)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file to ``size`` bytes, durably."""
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.ftruncate(fd, size)
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            failed(path, error)

    def read_all(self, path: Path) -> bytes:
        """The whole file."""
        try:
            return path.read_bytes()
        except OSError as error:
            fail("AM-4001", file=path.name, what=_why(error))

    def read_prefix(self, path: Path, length: int) -> bytes:
        """The first ``length`` bytes, or fewer when the file is shorter."""
        try:
            with path.open("rb") as file:
                return file.read(length)
        except OSError as error:
            fail("AM-4001", file=path.name, what=_why(error))

    def read_at(self, fd: int, offset: int, length: int, path: Path) -> memoryview:
        """Exactly ``length`` bytes at ``offset``. Raises: AM-4001 when the file is shorter."""
        # Not a bytearray: that would write all its pages with zeros first.
        view, done = np.empty(length, dtype=np.uint8).data, 0
        while done < length:
            try:
                got = os.preadv(fd, [view[done:]], offset + done)
            except OSError as error:
                fail("AM-4001", file=path.name, what=_why(error))
            if got == 0:
                fail("AM-4001", file=path.name, what="it is cut short")
            done += got
        return view.toreadonly()

    def names(self, directory: Path) -> list[str]:
        """What is in a directory, in no order."""
        try:
            return os.listdir(directory)
        except OSError as error:
            fail("AM-4001", file=directory.name, what=_why(error))

    def touch(self, path: Path) -> None:
        """Say that a file was used now, if it is there."""
        try:
            os.utime(path)
        except FileNotFoundError:
            return
        except OSError as error:
            failed(path, error)

    def allocate(self, path: Path, size: int) -> None:
        """A durable new file of ``size`` zeros that were written, not only reserved: writing over
        them changes no metadata. Raises: AM-4008 when the disk is full; nothing is left behind.
        """
        fd = self.create(path)
        try:
            zeros = bytes(min(size, _ZEROS))
            for start in range(0, size, len(zeros)):
                self.write(fd, zeros[: size - start], path)
            self.sync(fd, path)
        except AmatersError:
            self.remove(path)
            raise
        finally:
            self.close(fd)

    def open_segment(self, path: Path, *, direct: bool) -> int:
        """An allocated file, open for writing in place; ``direct``: past the page cache."""
        flags = os.O_WRONLY | os.O_CLOEXEC | (getattr(os, "O_DIRECT", 0) if direct else 0)
        try:
            return os.open(path, flags)
        except OSError as error:
            failed(path, error)

    def takes_direct(self, path: Path, block: int) -> bool:
        """Whether a file can be read and written past the page cache, in blocks of ``block``."""
        if not (hasattr(os, "O_DIRECT") and hasattr(os, "RWF_DSYNC")):
            return False
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
            try:
                with mmap.mmap(-1, block) as aligned:
                    return os.preadv(fd, [aligned], 0) == block
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno in _REFUSED:
                return False
            fail("AM-4001", file=path.name, what=_why(error))

    def write_at(
        self,
        fd: int,
        parts: Sequence[memoryview],
        offset: int,
        path: Path,
        *,
        durable: bool = False,
    ) -> None:
        """Write all ``parts``, one behind the other, in place. ``durable``: they are on the disk on
        return (Linux), without a second system call; on a file opened ``direct`` addresses, sizes
        and offset are aligned.
        """
        flags = os.RWF_DSYNC if durable else 0
        try:
            while parts:
                done = os.pwritev(fd, parts, offset, flags)
                if done == 0:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                parts, offset = without(parts, done), offset + done
        except OSError as error:
            failed(path, error)

    def remove(self, path: Path) -> None:
        """Delete a file, if it is there."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            failed(path, error)

    def lock(self, path: Path) -> int:
        """Hold ``path`` for this process until the descriptor is closed.

        Raises: AM-4002 naming the process that holds it.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                fail("AM-4002", path=str(path.parent), pid=holder)
            failed(path, error)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd


def without(parts: Sequence[memoryview], done: int) -> list[memoryview]:
    """What is left of ``parts`` after ``done`` bytes."""
    left = []
    for part in parts:
        if done < len(part):
            left.append(part[done:] if done else part)
        done = max(0, done - len(part))
    return left


def _why(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def failed(path: Path, error: OSError) -> NoReturn:
    """Raise the error for a write that the operating system refused: AM-4008 or AM-4003."""
    code = "AM-4008" if error.errno in _FULL else "AM-4003"
    fail(code, file=path.name, what=_why(error))
