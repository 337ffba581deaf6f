"""Read versions: what a query sees, held still while others write."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from amaters.base.clock import Clock
from amaters.base.errors import fail
from amaters.base.ids import new_id
from amaters.columns.batch import defaults
from amaters.columns.schema import PublicColumn
from amaters.engine.catalogue import Catalogue, TableEntry
from amaters.storage.rekeying import rekeyed_to
from amaters.storage.versions import SegmentRow, TableVersion, TailBlock, live_slots
from amaters.wire import blocks
from amaters.wire import service_pb2 as pb

HANDLES_MAX = 1024
LEASE_SECONDS = 60.0
BLOCK_ROWS = 4096
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Snapshot:
    """One read version of one table; everything in it is immutable."""

    handle: bytes
    entry: TableEntry
    version: TableVersion
    tail_cache: TailCache = field(repr=False)

    @property
    def position(self) -> int:
        return self.version.position

    @property
    def segments(self) -> tuple[SegmentRow, ...]:
        return self.version.segments

    @property
    def tail(self) -> tuple[TailBlock, ...]:
        return self.version.tail

    @property
    def ready_indexes(self) -> list[int]:
        """Numbers of the indexes that are complete."""
        return [index.number for index in self.version.indexes if index.is_ready]

    def segment(self, segment_id: bytes) -> SegmentRow:
        """A segment by id. Raises: AM-3041."""
        for segment in self.segments:
            if segment.segment_id == segment_id:
                return segment
        fail("AM-3041", segment=segment_id.hex(), slot=0)

    def object_ids(self) -> set[bytes]:
        """Objects this snapshot pins."""
        return self.version.object_ids()

    def manifest(self, lease_seconds: float) -> pb.SnapshotReply:
        """What the client is told."""
        level = self.entry.parameters.max_level
        return pb.SnapshotReply(
            handle=self.handle,
            position=self.position,
            schema_version=self.entry.record.version,
            segments=[_segment_info(segment, level) for segment in self.segments],
            tail_rows=self.version.tail_rows,
            tail_bytes=self.version.tail_bytes,
            lease_seconds=lease_seconds,
            ready_indexes=self.ready_indexes,
        )


def _segment_info(segment: SegmentRow, level: int) -> pb.SegmentInfo:
    made = segment.manifest.segment
    sizes = {ref.object_id: ref.size for ref in segment.manifest.objects}
    return pb.SegmentInfo(
        segment_id=segment.segment_id,
        rows=segment.rows,
        live=segment.live,
        row_version=segment.version,
        sealed_bytes=sizes.get(made.sealed_object, 0),
        public_bytes=sizes.get(made.public_object, 0),
        encodings=[
            pb.EncodingInfo(column_id=e.column_id, encoding=e.encoding, bytes=sizes[e.object_id])
            for e in made.encodings
        ],
        parts=segment.parts,
        noise=made.noise,
        level=level,
        open_segment=made.open_segment,
        rekeys=segment.rekeys,
        rekeyed_to=rekeyed_to(segment.manifest),
        schema_version=segment.manifest.schema_version,
    )


class TailCache:
    """Decoded tail blocks of one table, so that a tail of many small inserts is read quickly."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._decoded: dict[int, tuple[blocks.Block, list[memoryview]]] = {}

    def decode(self, tail: tuple[TailBlock, ...]) -> list[tuple[blocks.Block, list[memoryview]]]:
        """Each block's columns and sealed rows, dead rows included."""
        with self._lock:
            known = self._decoded
        fresh = {
            block.bid: known.get(block.bid)
            or (
                blocks.decode_block(block.public),
                blocks.decode_pack(block.sealed) if block.sealed else [],
            )
            for block in tail
        }
        with self._lock:
            self._decoded = fresh
        return list(fresh.values())


def tail_blocks(snapshot: Snapshot) -> list[pb.RowBlock]:
    """All live tail rows of a snapshot, in blocks of bounded size."""
    parts, sealed, versions = [], [], []
    table = snapshot.entry.table
    decoded = snapshot.tail_cache.decode(snapshot.tail)
    for whole, block in zip(decoded, snapshot.tail, strict=True):
        columns, blobs = _living(whole, block)
        parts.append(completed(columns, table.public_columns))
        sealed.extend(blobs if table.encrypted_columns else [])
        versions.extend([block.version] * columns.rows)
    if not parts:
        return []
    merged = blocks.concat_blocks(parts)
    return [
        pb.RowBlock(
            rows=len(rows),
            public_block=blocks.select_block(merged, rows, list(merged.columns)),
            sealed_pack=blocks.encode_pack([sealed[row] for row in rows]) if sealed else b"",
            versions=versions[rows[0] : rows[-1] + 1],
        )
        for rows in split_rows(np.arange(merged.rows), [len(blob) for blob in sealed])
    ]


def completed(block: blocks.Block, columns: Sequence[PublicColumn]) -> blocks.Block:
    """A block with these columns alone; those that are younger than it have their defaults."""
    found = {}
    for column in columns:
        values = block.columns.get(column.id)
        if values is None:
            younger = defaults(column, block.rows)
            values = younger.values, younger.valid
        found[column.id] = values
    return blocks.Block(block.rows, found)


def _living(
    whole: tuple[blocks.Block, list[memoryview]], block: TailBlock
) -> tuple[blocks.Block, list[memoryview]]:
    columns, blobs = whole
    if not block.live_bits:
        return whole
    alive = np.flatnonzero(live_slots(block.rows, block.live_bits))
    kept = {c: (v[alive], valid[alive]) for c, (v, valid) in columns.columns.items()}
    return blocks.Block(len(alive), kept), [blobs[row] for row in alive] if blobs else []


def split_rows(
    rows: np.ndarray[tuple[int], np.dtype[np.int64]], sizes: list[int]
) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """``rows`` in runs of at most ``BLOCK_ROWS`` rows and about ``BLOCK_BYTES`` sealed bytes."""
    if not len(rows):
        return []
    weight = np.zeros(len(rows), dtype=np.int64) if not sizes else np.cumsum(sizes)
    run = np.maximum(weight // BLOCK_BYTES, np.arange(len(rows)) // BLOCK_ROWS)
    starts = np.flatnonzero(np.diff(run, prepend=-1))
    return np.split(rows, starts[1:])


class Snapshots:
    """All handles. One expires when nobody renewed or used it for the length of a lease; the least
    recently used go when there are too many.
    """

    def __init__(
        self, catalogue: Catalogue, clock: Clock, *, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self.lease_seconds = lease_seconds
        self._catalogue = catalogue
        self._clock = clock
        self._lock = threading.Lock()
        # By time of expiry, the soonest first: every renewal gives the same length of time.
        self._held: OrderedDict[bytes, tuple[Snapshot, float]] = OrderedDict()
        self._in_use: list[Snapshot] = []
        self._tails: dict[int, TailCache] = {}

    def hold(self, table_id: bytes, schema_version: int) -> Snapshot:
        """Pin a table as it was last published. Raises: AM-3011, AM-3021, AM-3022."""
        with self._lock:
            snapshot = self._take(table_id, schema_version)
            self._held[snapshot.handle] = (snapshot, self._expiry())
            self._expire()
        return snapshot

    def _take(self, table_id: bytes, schema_version: int) -> Snapshot:
        # Read under the lock: whoever collects garbage asks for pins under it, after publishing
        # the version that no longer names what is to go.
        entry, version = self._catalogue.version(table_id, schema_version)
        cache = self._tails.setdefault(entry.tid, TailCache())
        return Snapshot(new_id(), entry, version, cache)

    def _expiry(self) -> float:
        return self._clock.monotonic() + self.lease_seconds

    def _expire(self) -> None:
        now = self._clock.monotonic()
        while self._held:
            handle, (_, until) = next(iter(self._held.items()))
            if until > now and len(self._held) <= HANDLES_MAX:
                return
            del self._held[handle]

    def find(self, handle: bytes) -> Snapshot:
        """The snapshot of a handle, its lease renewed. Raises: AM-3040."""
        with self._lock:
            self._expire()
            held = self._held.get(handle)
            if held is None:
                fail("AM-3040")
            self._held[handle] = (held[0], self._expiry())
            self._held.move_to_end(handle)
        return held[0]

    def renew(self, handles: Iterable[bytes]) -> list[bytes]:
        """Renew leases; the handles that are gone."""
        gone = []
        with self._lock:
            self._expire()
            for handle in handles:
                held = self._held.get(handle)
                if held is None:
                    gone.append(handle)
                    continue
                self._held[handle] = (held[0], self._expiry())
                self._held.move_to_end(handle)
        return gone

    def release(self, handle: bytes) -> bool:
        """Let go; unknown handles are ignored. Whether it pinned what its table has left since."""
        with self._lock:
            held = self._held.pop(handle, None)
        return held is not None and self._catalogue.is_outdated(held[0].version)

    @contextmanager
    def use(self, handle: bytes) -> Iterator[Snapshot]:
        """The snapshot of a handle, pinned meanwhile even if it is released. Raises: AM-3040."""
        with self._pinned(self.find(handle)) as snapshot:
            yield snapshot
        self.renew([handle])  # the lease counts from the end of what was done with it

    @contextmanager
    def once(self, table_id: bytes, schema_version: int) -> Iterator[Snapshot]:
        """The table as last published, for one request. Raises: AM-3011, AM-3021, AM-3022."""
        with self._lock:
            snapshot = self._take(table_id, schema_version)
            self._in_use.append(snapshot)
        try:
            yield snapshot
        finally:
            self._drop(snapshot)

    @contextmanager
    def _pinned(self, snapshot: Snapshot) -> Iterator[Snapshot]:
        with self._lock:
            self._in_use.append(snapshot)
        try:
            yield snapshot
        finally:
            self._drop(snapshot)

    def _drop(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._in_use = [other for other in self._in_use if other is not snapshot]

    def forget_table(self, tid: int) -> None:
        """Drop caches of a dropped table; its snapshots stay until released."""
        with self._lock:
            self._tails.pop(tid, None)

    def held(self) -> list[tuple[Snapshot, float]]:
        """The snapshots that clients hold, with the seconds until their leases end."""
        with self._lock:
            self._expire()
            now = self._clock.monotonic()
            return [(snapshot, until - now) for snapshot, until in self._held.values()]

    def pinned(self) -> set[bytes]:
        """Objects that some snapshot needs."""
        with self._lock:
            self._expire()
            held = [*(snapshot for snapshot, _ in self._held.values()), *self._in_use]
        versions = {id(snapshot.version): snapshot.version for snapshot in held}
        return {object_id for version in versions.values() for object_id in version.object_ids()}
