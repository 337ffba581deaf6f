"""The only place where this database touches a disk, so that a test can stand in for a bad one.

A failed write or sync is reported and never retried: after a failed fsync the page cache may claim
bytes that the disk does not have.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import NoReturn

import numpy as np

from amaters.base.errors import fail

Buffer = bytes | bytearray | memoryview


class Disk:
    """POSIX files. Every method raises AM-4003 when the operating system refuses."""

    def create(self, path: Path) -> int:
        """A new file, open for writing; it must not exist."""
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            _failed(path, error)

    def open_append(self, path: Path) -> int:
        """An existing file, open for appending."""
        try:
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            _failed(path, error)

    def write(self, fd: int, data: Buffer, path: Path) -> None:
        """Write all of ``data`` at the end."""
        view = memoryview(data).cast("B")
        try:
            while view:
                view = view[os.write(fd, view) :]
        except OSError as error:
            _failed(path, error)

    def sync(self, fd: int, path: Path) -> None:
        """Make everything written to ``fd`` durable."""
        try:
            os.fdatasync(fd) if hasattr(os, "fdatasync") else os.fsync(fd)
        except OSError as error:
            _failed(path, error)

    def close(self, fd: int) -> None:
        """Close a descriptor; its data was synced before if it mattered."""
        os.close(fd)

    def publish(self, temporary: Path, path: Path) -> None:
        """Give a synced file its final name, durably."""
        try:
            os.rename(temporary, path)
        except OSError as error:
            _failed(path, error)
        self.sync_directory(path.parent)

    def sync_directory(self, path: Path) -> None:
        """Make names in a directory durable."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            _failed(path, error)

    def make_directory(self, path: Path) -> None:
        """A directory only the owner can enter, if it is not there yet; its name is durable."""
        if path.is_dir():
            return
        self.make_directory(path.parent)
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            _failed(path, error)
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
            _failed(path, error)

    def read_all(self, path: Path) -> bytes:
        """The whole file."""
        try:
            return path.read_bytes()
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

    def remove(self, path: Path) -> None:
        """Delete a file, if it is there."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _failed(path, error)

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
            _failed(path, error)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd


def _why(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _failed(path: Path, error: OSError) -> NoReturn:
    fail("AM-4003", file=path.name, what=_why(error))
