"""How a frame becomes durable: through the page cache, or past it.

A device starts writes and finishes them. Blocking devices do the work in ``start``, on the log's
writer thread, holding no lock of the interpreter.
"""

from __future__ import annotations

import mmap
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from amaters.base.errors import fail
from amaters.base.settings import LogBackend as Backend
from amaters.storage.commitlog.frames import BLOCK
from amaters.storage.files import Disk

Parts = Sequence[memoryview]  # the frames of one write, one behind the other
BACKENDS: tuple[Backend, ...] = ("buffered", "direct", "io_uring")


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How a log writes; any log can be reopened with other options.

    ``segment_bytes``: size that segments grow to. ``spare_segments``: files kept for use again.
    ``batch_size``: most records in one frame. ``channel_capacity``: most appends waiting.
    ``witness_seconds``: after so long without an append a witness record is written.
    ``ring_size`` (writes in flight) and ``direct_io`` are for ``io_uring`` alone.
    """

    backend: Backend = "direct"
    segment_bytes: int = 32 << 20
    spare_segments: int = 4
    batch_size: int = 1024
    channel_capacity: int = 4096
    witness_seconds: float = 0.02
    ring_size: int = 8
    direct_io: bool = True

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            fail("AM-1002", name="log_backend", what=f"it must be one of {', '.join(BACKENDS)}")
        counts = (self.batch_size, self.channel_capacity, self.ring_size, self.segment_bytes)
        if min(counts) < 1 or self.ring_size > 4096:
            fail("AM-1002", name="log options", what="sizes must be at least 1, rings at most 4096")


class Device(Protocol):
    """Where the writer thread sends frames. ``depth``: most writes started and not finished."""

    name: str
    direct: bool
    depth: int

    def start(self, fd: int, parts: Parts, offset: int, path: Path) -> None:
        """Start one durable write of whole blocks, which stay as they are until it is finished."""

    def finish(self) -> list[Parts]:
        """The very lists that became durable since, waiting for at least one write or for ``wake``.

        Raises: AM-4003, AM-4008. Then nothing more may be started: the end is unknown.
        """

    def wake(self) -> None:
        """Let ``finish`` return early. Any thread may call it."""

    def close(self) -> None:
        """Wait for what was started, and let go."""


class BlockingDevice:
    """One write at a time: pwritev and a sync, or ``direct`` one write that is durable itself."""

    depth = 1

    def __init__(self, disk: Disk, *, direct: bool) -> None:
        self.name = "direct" if direct else "buffered"
        self.direct = direct
        self._disk = disk
        self._done: list[Parts] = []

    def start(self, fd: int, parts: Parts, offset: int, path: Path) -> None:
        self._disk.write_at(fd, parts, offset, path, durable=self.direct)
        if not self.direct:
            self._disk.sync(fd, path)
        self._done.append(parts)

    def finish(self) -> list[Parts]:
        done, self._done = self._done, []
        return done

    def wake(self) -> None:
        """``finish`` never waits."""

    def close(self) -> None:
        """Nothing is in flight."""


def open_device(options: LogOptions, segment: Path, disk: Disk) -> tuple[Device, str | None]:
    """The device that was asked for, or one that works here and a notice that says why.

    ``segment``: a file of the log, tried with direct I/O.
    """
    from amaters.storage.commitlog.uring import UringDevice

    if options.backend == "buffered":
        return BlockingDevice(disk, direct=False), None
    direct = disk.takes_direct(segment, BLOCK)
    refused = "this file system refuses direct I/O"
    if options.backend == "io_uring":
        try:
            ring = UringDevice(options.ring_size, direct=direct and options.direct_io)
        except OSError as error:
            what = f"io_uring is refused here ({error.strerror})"
        else:
            buffered = options.direct_io and not direct
            return ring, f"{refused}: io_uring writes through the page cache" if buffered else None
        if direct:
            return BlockingDevice(disk, direct=True), f"{what}: the commit log uses direct I/O"
        return BlockingDevice(disk, direct=False), f"{what}: the commit log uses buffered writes"
    if direct:
        return BlockingDevice(disk, direct=True), None
    return BlockingDevice(disk, direct=False), f"{refused}: the commit log uses buffered writes"


class Buffers:
    """Page-aligned memory, kept for use again: fresh pages cost more than the copy into them."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._free: dict[int, list[memoryview]] = defaultdict(list)

    def take(self, size: int) -> memoryview:
        """At least ``size`` bytes with any content."""
        rounded = max(BLOCK, 1 << (size - 1).bit_length())
        free = self._free[rounded]
        return free.pop() if free else memoryview(mmap.mmap(-1, rounded))

    def give(self, buffer: memoryview) -> None:
        """Back, for somebody else; the caller keeps no view of it."""
        free = self._free[len(buffer)]
        if len(free) < self._kept:
            free.append(buffer)
