"""Every change of a directory, in order: what a power failure may keep of it is decided later.

A journal holds inodes, not paths: a file that is renamed, recycled or removed stays the same file.
``Journal.tree`` is what a process sees now; a test compares it with the directory itself, so that
a change which went past the recorders is noticed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = 0


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at an offset of a file. ``durable``: the call itself made these bytes durable."""

    inode: int
    offset: int
    data: bytes
    durable: bool = False


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file's size."""

    inode: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """All of a file before this is durable; its name is not."""

    inode: int


@dataclass(frozen=True, slots=True)
class Names:
    """Entries that change together: (directory, name, inode or None for gone)."""

    changes: tuple[tuple[int, str, int | None], ...]

    @property
    def directory(self) -> int:
        """Whose sync makes this durable: where the name ends up."""
        return self.changes[-1][0]


@dataclass(frozen=True, slots=True)
class SyncNames:
    """All entries of a directory before this are durable."""

    directory: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Something the workload was told, such as an acknowledgement."""

    what: object


Event = Write | Truncate | Sync | Names | SyncNames | Mark


@dataclass
class Journal:
    """Events under ``root``. ``recording()`` holds them in the order in which they happen."""

    root: Path
    events: list[Event] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)
    entries: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _next: int = ROOT + 1

    @classmethod
    def of(cls, root: Path) -> Journal:
        """A journal of a directory that is there already, all of it durable."""
        journal = cls(root)
        for path in sorted(root.rglob("*")):
            inode = journal.made(path, directory=path.is_dir())
            journal.names_synced(path.parent)
            if path.is_file():
                journal.written(inode, 0, path.read_bytes())
                journal.synced(inode)
        return journal

    @contextmanager
    def recording(self) -> Iterator[None]:
        """A change and its event belong together: nothing else happens between them."""
        with self._lock:
            yield

    def mark(self, what: object) -> None:
        with self._lock:
            self.events.append(Mark(what))

    # ---- names ---------------------------------------------------------------------------------

    def covers(self, path: Path) -> bool:
        return path.is_relative_to(self.root)

    def find(self, path: Path) -> int | None:
        """The inode of a path."""
        inode: int | None = ROOT
        for name in path.relative_to(self.root).parts:
            inode = None if inode is None else self.entries.get(inode, {}).get(name)
        return inode

    def at(self, path: Path) -> int:
        inode = self.find(path)
        assert inode is not None, f"{path} was made behind the recorders' back"
        return inode

    def made(self, path: Path, *, directory: bool = False) -> int:
        """A new file or directory of that name."""
        inode, self._next = self._next, self._next + 1
        if directory:
            self.entries[inode] = {}
        else:
            self.sizes[inode] = 0
        self._change((self.at(path.parent), path.name, inode))
        return inode

    def renamed(self, old: Path, new: Path) -> None:
        inode = self.at(old)
        self._change((self.at(old.parent), old.name, None), (self.at(new.parent), new.name, inode))

    def removed(self, path: Path) -> None:
        if self.find(path) is not None:
            self._change((self.at(path.parent), path.name, None))

    def names_synced(self, directory: Path) -> None:
        self.events.append(SyncNames(self.at(directory)))

    def _change(self, *changes: tuple[int, str, int | None]) -> None:
        for directory, name, inode in changes:
            if inode is None:
                self.entries[directory].pop(name, None)
            else:
                self.entries[directory][name] = inode
        self.events.append(Names(changes))

    # ---- content -------------------------------------------------------------------------------

    def written(self, inode: int, offset: int, data: bytes, *, durable: bool = False) -> None:
        self.sizes[inode] = max(self.sizes[inode], offset + len(data))
        self.events.append(Write(inode, offset, data, durable))

    def truncated(self, inode: int, size: int) -> None:
        self.sizes[inode] = size
        self.events.append(Truncate(inode, size))

    def synced(self, inode: int) -> None:
        self.events.append(Sync(inode))

    # ---- the whole -----------------------------------------------------------------------------

    def tree(self) -> dict[str, int]:
        """Relative path -> inode, of all files."""
        return {"/".join(parts): inode for parts, inode in _files(self.entries, ROOT, ())}


def _files(
    entries: dict[int, dict[str, int]], directory: int, above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], int]]:
    for name, inode in entries[directory].items():
        if inode in entries:
            yield from _files(entries, inode, (*above, name))
        else:
            yield (*above, name), inode
