"""Leases: who exchanges a table's tail, and who encrypts into which slots of an open segment.

They save work and keep slots from being filled twice; they are never what makes a commit right.
They live in memory and end by the engine's clock. A lease that is over holds on until somebody else
wants what it lent, because its holder may just be slow.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from amaters.base.clock import Clock
from amaters.base.errors import fail
from amaters.base.ids import new_id
from amaters.engine.catalogue import TableEntry, invalid
from amaters.storage.versions import SegmentRow, TableVersion
from amaters.wire import service_pb2 as pb

LEASE_SECONDS = 30.0
LEASED_MAX = 1024  # of one table at a time
SHARE_MIN = 8  # a lease is at least this fraction of a segment, which bounds a merge's noise
SLOW_SECONDS_MAX = 0.5
Range = tuple[int, int]


@dataclass(slots=True)
class _SlotLease:
    """Slots ``first`` .. ``stop`` - 1. ``used``: a commit named it, which may not show yet."""

    open_segment: bytes
    first: int
    stop: int
    until: float
    used: bool = False


@dataclass(slots=True)
class _Table:
    """The leases of one table."""

    exchange: tuple[bytes, float] | None
    slots: dict[bytes, _SlotLease]


class Leases:
    """All leases of one engine. From any thread."""

    def __init__(self, clock: Clock, *, seconds: float = LEASE_SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._lock = threading.Lock()
        self._tables: dict[int, _Table] = {}

    def grant(
        self, entry: TableEntry, version: TableVersion, request: pb.LeaseRequest
    ) -> pb.LeaseReply:
        """A new lease, a renewed one, or none. Raises: AM-3005, AM-3072."""
        now = self._clock.monotonic()
        with self._lock:
            table = self._tables.setdefault(entry.tid, _Table(None, {}))
            if not request.slots:
                return self._exchange(table, request.lease_id, now)
            if request.lease_id:
                return self._renewed(table, entry, request, now)
            return self._slots(table, entry, (version, request.slots), now)

    def _exchange(self, table: _Table, lease_id: bytes, now: float) -> pb.LeaseReply:
        held = table.exchange
        if held is not None and held[0] != lease_id and held[1] > now:
            return pb.LeaseReply(seconds=held[1] - now)
        mine = held is not None and held[0] == lease_id
        kept = lease_id if mine else new_id()
        table.exchange = (kept, now + self._seconds)
        return pb.LeaseReply(lease_id=kept, seconds=self._seconds)

    def _renewed(
        self, table: _Table, entry: TableEntry, request: pb.LeaseRequest, now: float
    ) -> pb.LeaseReply:
        lease = table.slots.get(request.lease_id)
        if lease is None or lease.used:
            fail("AM-3072", table=entry.record.name)
        lease.until = now + self._seconds
        return self._told(request.lease_id, lease)

    def _slots(
        self, table: _Table, entry: TableEntry, wanted: tuple[TableVersion, int], now: float
    ) -> pb.LeaseReply:
        version, count = wanted
        size = entry.parameters.slots
        if not size // SHARE_MIN <= count <= size:
            invalid("a lease of too few or too many slots")
        table.slots = {key: lease for key, lease in table.slots.items() if lease.until > now}
        if len(table.slots) >= LEASED_MAX:
            invalid("too many leases of slots")
        taken = _taken(version.segments, table.slots.values())
        gaps = ((key, _gap(ranges, count, size)) for key, ranges in taken.items())
        found = next(((key, first) for key, first in gaps if first is not None), None)
        open_segment, first = found or (new_id(), 0)
        lease_id = new_id()
        lease = _SlotLease(open_segment, first, first + count, now + self._seconds)
        table.slots[lease_id] = lease
        return self._told(lease_id, lease)

    def _told(self, lease_id: bytes, lease: _SlotLease) -> pb.LeaseReply:
        return pb.LeaseReply(
            lease_id=lease_id,
            seconds=self._seconds,
            open_segment=lease.open_segment,
            first_slot=lease.first,
        )

    def end(self, tid: int, lease_id: bytes) -> None:
        """Give a lease back; unknown ones are ignored, used ones stay until they show."""
        with self._lock:
            table = self._tables.get(tid)
            if table is None:
                return
            if table.exchange is not None and table.exchange[0] == lease_id:
                table.exchange = None
            lease = table.slots.get(lease_id)
            if lease is not None and not lease.used:
                del table.slots[lease_id]

    # ---- at a commit -------------------------------------------------------------------------

    def require(self, entry: TableEntry, request: pb.CommitRequest) -> None:
        """Whether a commit still has what it was lent. Raises: AM-3071, AM-3072."""
        with self._lock:
            table = self._tables.get(entry.tid) or _Table(None, {})
            held = table.exchange
            if request.lease_id and (held is None or held[0] != request.lease_id):
                fail("AM-3071", table=entry.record.name)
            for segment in request.segments:
                if segment.open_segment and not _covers(table, segment):
                    fail("AM-3072", table=entry.record.name)

    def used(self, entry: TableEntry, request: pb.CommitRequest) -> None:
        """A commit was applied: its slots are filled for good, though no version shows it yet."""
        with self._lock:
            table = self._tables.get(entry.tid)
            if table is None:
                return
            for segment in request.segments:
                lease = table.slots.get(segment.lease_id)
                if segment.open_segment and lease is not None:
                    lease.used, lease.until = True, self._clock.monotonic() + self._seconds
            if table.exchange is not None and table.exchange[0] == request.lease_id:
                table.exchange = None


def _covers(table: _Table, segment: pb.NewSegment) -> bool:
    lease = table.slots.get(segment.lease_id)
    if lease is None or lease.used or lease.open_segment != segment.open_segment:
        return False
    return lease.first <= segment.first_slot < segment.rows <= lease.stop


def _taken(
    segments: Iterable[SegmentRow], leases: Iterable[_SlotLease]
) -> dict[bytes, list[Range]]:
    """Slots of each open segment that are filled or lent."""
    found: dict[bytes, list[Range]] = {}
    for row in segments:
        made = row.manifest.segment
        if made.open_segment:
            ranges = found.setdefault(made.open_segment, [])
            ranges.extend((first, first + count) for first, count in part_ranges(made))
    for lease in leases:
        found.setdefault(lease.open_segment, []).append((lease.first, lease.stop))
    return found


def part_ranges(segment: pb.NewSegment) -> list[Range]:
    """(first slot, rows) of a partial segment, or of each part of a merged one."""
    if segment.parts:
        return [(part.first_slot, part.rows) for part in segment.parts]
    return [(segment.first_slot, segment.rows - segment.first_slot)]


def _gap(ranges: list[Range], count: int, size: int) -> int | None:
    """The first of ``count`` consecutive slots that are in no range."""
    start = 0
    for first, stop in sorted(ranges):
        if first - start >= count:
            return start
        start = max(start, stop)
    return start if size - start >= count else None


# ---- the tail ------------------------------------------------------------------------------------


def tail_limits(slots: int) -> tuple[int, int]:
    """(rows above which writers are slowed, rows above which they are refused)."""
    return slots, slots + slots // 2


def slow_down(rows: int, slots: int) -> float:
    """Seconds that a writer waits before it adds to a tail of so many rows: 0 up to one segment's
    worth, then more with every row, so that an exchange gets ahead of the writers.
    """
    slow, full = tail_limits(slots)
    return SLOW_SECONDS_MAX * min(max(rows - slow, 0) / (full - slow), 1.0)
