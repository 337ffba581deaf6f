"""A Disk and a SQLite VFS that write down what they do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import apsw

from amaters.storage.files import Buffer, Disk
from faults.journal import Journal

_numbers = count()
_SYNCS_ITS_NAME = (
    apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
)


class RecordingDisk(Disk):
    """POSIX files under a journal; what lies elsewhere is not recorded."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._inodes: dict[int, int] = {}
        self._places: dict[int, int] = {}

    def create(self, path: Path) -> int:
        with self.journal.recording():
            fd = super().create(path)
            if self.journal.covers(path):
                self._inodes[fd], self._places[fd] = self.journal.made(path), 0
            return fd

    def open_append(self, path: Path) -> int:
        with self.journal.recording():
            fd = super().open_append(path)
            if self.journal.covers(path):
                self._inodes[fd] = inode = self.journal.at(path)
                self._places[fd] = self.journal.sizes[inode]
            return fd

    def open_segment(self, path: Path, *, direct: bool) -> int:
        with self.journal.recording():
            fd = super().open_segment(path, direct=direct)
            if self.journal.covers(path):
                self._inodes[fd] = self.journal.at(path)
            return fd

    def close(self, fd: int) -> None:
        with self.journal.recording():
            self._inodes.pop(fd, None)
            super().close(fd)

    def write(self, fd: int, data: Buffer, path: Path) -> None:
        with self.journal.recording():
            if fd in self._inodes:
                self.journal.written(self._inodes[fd], self._places[fd], bytes(data))
                self._places[fd] += len(memoryview(data).cast("B"))
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
        with self.journal.recording():
            if fd in self._inodes:
                self.journal.written(self._inodes[fd], offset, b"".join(parts), durable=durable)
            super().write_at(fd, parts, offset, path, durable=durable)

    def sync(self, fd: int, path: Path) -> None:
        with self.journal.recording():
            super().sync(fd, path)
            if fd in self._inodes:
                self.journal.synced(self._inodes[fd])

    def rename(self, old: Path, new: Path) -> None:
        with self.journal.recording():
            super().rename(old, new)
            if self.journal.covers(new):
                self.journal.renamed(old, new)

    def sync_directory(self, path: Path) -> None:
        with self.journal.recording():
            super().sync_directory(path)
            if self.journal.covers(path):
                self.journal.names_synced(path)

    def make_directory(self, path: Path) -> None:
        if not self.journal.covers(path) or path == self.journal.root:
            super().make_directory(path)
            return
        with self.journal.recording():
            self.make_directory(path.parent)
            if not path.is_dir():
                path.mkdir(mode=0o700)
                self.journal.made(path, directory=True)
                self.sync_directory(path.parent)

    def truncate(self, path: Path, size: int) -> None:
        with self.journal.recording():
            super().truncate(path, size)
            if self.journal.covers(path):
                inode = self.journal.at(path)
                self.journal.truncated(inode, size)
                self.journal.synced(inode)

    def remove(self, path: Path) -> None:
        with self.journal.recording():
            super().remove(path)
            if self.journal.covers(path):
                self.journal.removed(path)


class RecordingVfs(apsw.VFS):
    """SQLite's files under a journal. Open connections with ``vfs=name``; keep this object as long.

    The shared memory file is not recorded: SQLite makes it anew from the write-ahead log.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.name = f"recording{next(_numbers)}"
        super().__init__(self.name, "unix")

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = path_of(name)
        if path is None or not self.journal.covers(path):
            return apsw.VFSFile("unix", name, flags)  # type: ignore[arg-type]
        return _RecordedFile(self.journal, path, (name, flags))

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        path = Path(filename)
        with self.journal.recording():
            super().xDelete(filename, syncdir)
            if self.journal.covers(path):
                self.journal.removed(path)
                if syncdir:
                    self.journal.names_synced(path.parent)


def path_of(name: object) -> Path | None:
    """The file that SQLite opens; None for a temporary one without a name."""
    if name is None:
        return None
    return Path(name if isinstance(name, str) else name.filename())  # type: ignore[attr-defined]


class _RecordedFile(apsw.VFSFile):
    def __init__(self, journal: Journal, path: Path, given: tuple[object, list[int]]) -> None:
        name, flags = given
        with journal.recording():
            super().__init__("unix", name, flags)  # type: ignore[arg-type]
            inode = journal.find(path)
            # As SQLite does: the first sync of a new log or journal makes its name durable too.
            self._names: Path | None = None
            if inode is None:
                inode = journal.made(path)
                if flags[0] & _SYNCS_ITS_NAME:
                    self._names = path.parent
        self._journal, self._inode = journal, inode

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        with self._journal.recording():
            self._journal.written(self._inode, offset, bytes(data))
            super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        with self._journal.recording():
            super().xTruncate(size)
            self._journal.truncated(self._inode, size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        with self._journal.recording():
            super().xSync(flags)
            self._journal.synced(self._inode)
            if self._names is not None:
                self._journal.names_synced(self._names)
                self._names = None
