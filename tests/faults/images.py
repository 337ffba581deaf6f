"""What a power failure may leave of a journal: a prefix of it, less some of what was not synced.

Of a write that was not synced, any sectors may be there; of a rename, making or removing of a file
that was not synced, all of it or nothing. What was synced is there. Writes to one sector, and
changes of one name, keep their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from faults.journal import (
    ROOT,
    Event,
    Journal,
    Mark,
    Names,
    Sync,
    SyncNames,
    Truncate,
    Write,
)

SECTOR = 512
_HOLE = 1 << 13
_ZEROS = bytes(_HOLE)


@dataclass
class _File:
    """Durable bytes, and changes that may be lost, in order; a durable one may follow a lost."""

    durable: bytearray = field(default_factory=bytearray)
    changes: list[Write | Truncate] = field(default_factory=list)
    _kept: Content | None = None  # of the last crash; most files do not change between two

    def add(self, change: Write | Truncate) -> None:
        if isinstance(change, Write) and change.durable and not self.changes:
            _apply(self.durable, change)
            self._kept = None
        else:
            self.changes.append(change)

    def sync(self) -> None:
        for change in self.changes:
            _apply(self.durable, change)
            self._kept = None
        self.changes.clear()

    def after_crash(self, fate: Fate) -> Content:
        if not self.changes:
            self._kept = self._kept or Content(bytes(self.durable))
            return self._kept
        content = bytearray(self.durable)
        for change in self.changes:
            if isinstance(change, Write) and change.durable:
                _apply(content, change)
            else:
                fate.apply(content, change)
        return Content(bytes(content))


class Content:
    """The bytes of a file, and where of them there is something but zeros."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.used = [
            start
            for start in range(0, len(data), _HOLE)
            if data[start : start + _HOLE] != _ZEROS[: len(data) - start]
        ]

    def write(self, path: Path) -> None:
        """Zeros become holes: most of a log's segment is empty, and fresh pages are what costs."""
        with path.open("wb", buffering=0) as file:
            for start in self.used:
                file.seek(start)
                file.write(self.data[start : start + _HOLE])
            file.truncate(len(self.data))


def _apply(content: bytearray, change: Write | Truncate) -> None:
    if isinstance(change, Truncate):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    _put(content, change.offset, change.data)


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


@dataclass
class Fate:
    """Which changes a crash keeps. ``kept``: chance of each; 0 and 1 leave no choice."""

    rng: Random
    kept: float

    def keeps(self) -> bool:
        return self.rng.random() < self.kept

    def apply(self, content: bytearray, change: Write | Truncate) -> None:
        if self.kept in (0.0, 1.0) or isinstance(change, Truncate):
            if self.keeps():
                _apply(content, change)
            return
        match self.rng.randrange(4):
            case 0:
                if self.keeps():
                    _apply(content, change)
            case 1:  # cut at a sector
                sectors = len(change.data) // SECTOR
                cut = self.rng.randrange(sectors + 1) * SECTOR
                _put(content, change.offset, change.data[:cut])
            case _:
                self._tear(content, change)

    def _tear(self, content: bytearray, change: Write) -> None:
        """Runs of sectors, kept or lost."""
        start = 0
        while start < len(change.data):
            end = start + SECTOR * self.rng.choice((1, 1, 2, 8, 64, 1024))
            end -= (change.offset + end) % SECTOR
            if self.keeps():
                _put(content, change.offset + start, change.data[start:end])
            start = end


@dataclass(frozen=True)
class Image:
    """A directory after a crash: ``at`` in the journal, after ``marks``."""

    at: int
    marks: tuple[object, ...]
    files: dict[str, Content]
    directories: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Make the directory; ``path`` must not exist."""
        path.mkdir()
        for name in self.directories:
            (path / name).mkdir()
        for name, content in self.files.items():
            content.write(path / name)


class _Disk:
    """The state of the disk at a point in the journal."""

    def __init__(self, directories: frozenset[int]) -> None:
        self.directories = directories
        self.files: dict[int, _File] = {}
        self.entries: dict[int, dict[str, int]] = {ROOT: {}}
        self.names: list[Names] = []
        self.marks: list[object] = []

    def feed(self, event: Event) -> None:
        match event:
            case Mark(what):
                self.marks.append(what)
            case Write() | Truncate():
                self.files.setdefault(event.inode, _File()).add(event)
            case Sync(inode):
                self.files.setdefault(inode, _File()).sync()
            case Names():
                self.names.append(event)
            case SyncNames(directory):
                for names in self.names:
                    if names.directory == directory:
                        _rename(self.entries, names)
                self.names = [n for n in self.names if n.directory != directory]

    def crash(self, at: int, rng: Random) -> Image:
        kept = rng.choice((0.0, 1.0, 0.5, 0.5, 0.9, 0.1))
        fate = Fate(rng, kept)
        entries = {inode: dict(names) for inode, names in self.entries.items()}
        for names in self.names:
            if fate.keeps():
                _rename(entries, names)
        files: dict[str, Content] = {}
        directories: list[str] = []
        found = [("", ROOT)]
        while found:
            above, directory = found.pop(0)
            for name, inode in entries.get(directory, {}).items():
                path = f"{above}/{name}" if above else name
                if inode in self.directories:
                    directories.append(path)
                    found.append((path, inode))
                else:
                    files[path] = self.files.get(inode, _File()).after_crash(fate)
        return Image(at, tuple(self.marks), files, tuple(directories))


def _rename(entries: dict[int, dict[str, int]], names: Names) -> None:
    for directory, name, inode in names.changes:
        if inode is None:
            entries.setdefault(directory, {}).pop(name, None)
        else:
            entries.setdefault(directory, {})[name] = inode


def crash_images(
    journal: Journal, rng: Random, count: int, *, first: int = 0, last: int | None = None
) -> Iterator[Image]:
    """``count`` crashes after ``first`` events or more, at most ``last``, in order of time; one of
    them comes after all events.
    """
    disk = _Disk(frozenset(journal.entries))
    events = journal.events
    last = len(events) if last is None else last
    points = [*sorted(rng.randint(first, last) for _ in range(count - 1)), last]
    at = 0
    for point in points:
        while at < point:
            disk.feed(events[at])
            at += 1
        yield disk.crash(at, rng)


def final_files(journal: Journal) -> dict[str, bytes]:
    """What a process sees after the last event; equal to the directory, or a recorder missed it."""
    files: dict[int, bytearray] = {}
    for event in journal.events:
        if isinstance(event, Write | Truncate):
            _apply(files.setdefault(event.inode, bytearray()), event)
    return {name: bytes(files.get(inode, b"")) for name, inode in journal.tree().items()}
