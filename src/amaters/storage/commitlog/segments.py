"""The files of a commit log: making, recycling, and reading back what a crash left.

    <first position>.segment   live; its header was durable before it got this name
    <random>.spare             zeros, or frames of an earlier life; waits to be used again

A live segment is never written into by a later run, except one that holds nothing: the next run
starts a new segment, whose header says where the one before ended. So frames that nobody was told
about cannot come back later.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, NoReturn

from amaters.base.errors import fail
from amaters.base.ids import new_id
from amaters.storage.commitlog import frames
from amaters.storage.files import Disk

SEGMENT_BYTES_MIN = 1 << 20
_LIVE, _SPARE = ".segment", ".spare"


class Record(NamedTuple):
    """One durable command."""

    position: int
    payload: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A live segment. ``size`` is that of the file."""

    path: Path
    header: frames.SegmentHeader
    size: int


class Segments:
    """The directory of one log. Its owner sees to it that one thread at a time changes it."""

    def __init__(self, directory: Path, disk: Disk, database_id: bytes, *, spares: int) -> None:
        self.directory, self.disk = directory, disk
        self._database_id, self._spares_kept = database_id, spares
        self.live: list[Segment] = []
        self.last = 0
        self.epoch = 0
        self.reusable = False
        self.recycles = True
        self._spares: dict[Path, int] | None = None  # read when first needed
        disk.make_directory(directory)

    # ---- making and recycling ----------------------------------------------------------------

    def create(self, first: int, epoch: int, size: int, *, direct: bool = False) -> Segment:
        """A live segment of at least ``size`` bytes: the largest spare, for every change of
        segments costs two syncs, or a new file. ``direct``: written past the page cache.

        Raises: AM-4003, AM-4008.
        """
        wanted = frames.blocks(size)
        spare, found = max(self._spare_sizes().items(), key=_size, default=(None, 0))
        if spare is None or found < wanted:
            spare, found = self._spare(), wanted
            self.disk.allocate(spare, wanted)
        header = frames.SegmentHeader(self._database_id, new_id(), first, epoch)
        self._write_header(spare, frames.encode_segment(header), direct=direct)
        path = self.directory / f"{first:020d}{_LIVE}"
        self.disk.publish(spare, path)
        self._spare_sizes().pop(spare, None)
        made = Segment(path, header, found)
        # One of the same name held nothing that counts, or it would not start at this position.
        self.live = [*(found for found in self.live if found.path != path), made]
        return made

    def _write_header(self, path: Path, block: bytes, *, direct: bool) -> None:
        aligned = memoryview(mmap.mmap(-1, len(block)))
        aligned[:] = block
        fd = self.disk.open_segment(path, direct=direct)
        try:
            self.disk.write_at(fd, [aligned], 0, path, durable=direct)
            if not direct:
                self.disk.sync(fd, path)
        finally:
            self.disk.close(fd)

    def _spare(self) -> Path:
        return self.directory / f"{new_id().hex()}{_SPARE}"

    def _spare_sizes(self) -> dict[Path, int]:
        """The files that wait to be used again."""
        if self._spares is None:
            found = self.directory.glob(f"*{_SPARE}")
            self._spares = {path: path.stat().st_size for path in found}
        return self._spares

    def cut(self, position: int) -> None:
        """Recycle segments that hold nothing after ``position``; the newest always stays."""
        covered = [
            segment
            for segment, following in pairwise(self.live)
            if following.header.first <= position + 1
        ]
        for segment in covered:
            if not self.recycles:
                self.live.remove(segment)
                self.disk.remove(segment.path)
                continue
            # The name is durably gone before anybody writes into the file again.
            spare = self._spare()
            self.disk.publish(segment.path, spare)
            self.live.remove(segment)
            self._spare_sizes()[spare] = segment.size
        if covered:
            largest = sorted(self._spare_sizes().items(), key=_size, reverse=True)
            for path, _ in largest[self._spares_kept :]:
                del self._spare_sizes()[path]
                self.disk.remove(path)

    def remove_spares(self) -> None:
        """Delete the files that wait to be used again."""
        for path in list(self._spare_sizes()):
            self.disk.remove(path)
            del self._spare_sizes()[path]

    # ---- reading back ------------------------------------------------------------------------

    def recover(self, applied: int) -> Iterator[Record]:
        """Records after ``applied``. Afterwards ``last``, ``epoch`` and ``reusable`` are known.

        Raises: AM-4001, AM-4006.
        """
        self.live = self._open_all()
        firsts = [segment.header.first for segment in self.live]
        start = max((i for i, first in enumerate(firsts) if first <= applied + 1), default=-1)
        if start < 0:
            fail("AM-4001", file=self.directory.name, what=f"record {applied + 1} is missing")
        self.last = firsts[start] - 1
        for segment, following in zip(
            self.live[start:], [*self.live[start + 1 :], None], strict=True
        ):
            self.epoch = self._no_lower(segment, segment.header.epoch)
            limit = following.header.first if following else None
            for record in self._records(segment, limit):
                if record.position > applied:
                    yield record
            if limit is not None and self.last + 1 != limit:
                _damaged(segment, f"record {self.last + 1}")
        if self.last < applied:
            _damaged(self.live[-1], f"record {self.last + 1}, which was applied before")

    def _open_all(self) -> list[Segment]:
        found = []
        for path in sorted(self.directory.glob(f"*{_LIVE}")):
            data = self.disk.read_prefix(path, frames.BLOCK)
            header = frames.decode_segment(data, path.name, self._database_id)
            if path.name != f"{header.first:020d}{_LIVE}":
                fail("AM-4001", file=path.name, what=f"it starts at position {header.first}")
            found.append(Segment(path, header, path.stat().st_size))
        if not found:
            fail("AM-4001", file=self.directory.name, what="it is missing")
        return found

    def _records(self, segment: Segment, limit: int | None) -> Iterator[Record]:
        data = memoryview(self.disk.read_all(segment.path))
        offset, life, version = frames.BLOCK, segment.header.life, segment.header.version
        while True:
            frame = frames.decode_head(data, offset, life, version)
            if frame is None or (limit is not None and frame.first >= limit):
                break
            payloads = frames.read_records(data, frame, version)
            if payloads is None:
                break
            if frame.first != self.last + 1:
                _damaged(segment, f"position {frame.first} where {self.last + 1} belongs")
            self.epoch = self._no_lower(segment, frame.epoch)
            for payload in payloads:
                self.last += 1
                yield Record(self.last, payload, frame.epoch)
            offset = frame.end
        if limit is None:
            self._check_tail(segment, data, offset)

    def _check_tail(self, segment: Segment, data: memoryview, offset: int) -> None:
        """What follows the last whole frame is torn, unless a witness says that it was durable."""
        header = segment.header
        left = (
            frames.decode_head(data, at, header.life, header.version)
            for at in range(offset, len(data), frames.BLOCK)
        )
        torn = [frame for frame in left if frame is not None]
        if any(frame.witness > self.last or frame.witness_end > offset for frame in torn):
            _damaged(segment, f"byte {offset}, after record {self.last}, which was durable")
        empty = offset == frames.BLOCK and not torn
        self.reusable = empty and header.version == frames.VERSION

    def _no_lower(self, segment: Segment, epoch: int) -> int:
        if epoch < self.epoch:
            _damaged(segment, f"epoch {epoch} after epoch {self.epoch}")
        return epoch


def _size(spare: tuple[Path | None, int]) -> int:
    return spare[1]


def _damaged(segment: Segment, what: str) -> NoReturn:
    fail("AM-4001", file=segment.path.name, what=what)
