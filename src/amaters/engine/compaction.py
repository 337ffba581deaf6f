"""Merging in the background: partial segments of one open segment become one, without keys.

Ciphertexts are added (``fhe.merging``), public blocks and sealed rows put together by slot; then
one command puts the result in the place of its parts. Whatever happens meanwhile is right: rows
that died stay dead, and if a part has left, what was made is thrown away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from amaters.base.clock import Clock
from amaters.base.errors import AmatersError, fail
from amaters.columns.encodings import EncodingShape
from amaters.engine.catalogue import Catalogue, TableEntry, makes_same_segments
from amaters.engine.leases import SHARE_MIN, part_ranges
from amaters.engine.rows import RowReader
from amaters.engine.snapshots import Snapshots
from amaters.engine.uploads import Uploads
from amaters.fhe.merging import Shape, Source, merge_bundles
from amaters.fhe.meta import PARTS_MAX, Rules
from amaters.storage.committer import Committer
from amaters.storage.database import Group, Storage
from amaters.storage.merging import merge_rows
from amaters.storage.versions import SegmentRow, TableVersion
from amaters.wire import blocks
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

MERGE_BYTES_PER_SECOND = 64 << 20
UNMERGED_MAX = 4  # so many partial segments of one open segment are merged before it is full
_ABANDONED = frozenset({"AM-3021", "AM-3022", "AM-3073"})  # the table or a part went meanwhile
_CHUNK_BYTES = 1 << 20
Bundle = tuple[cb.ObjectRef, int]


def due(version: TableVersion, slots: int, *, least: int = UNMERGED_MAX) -> list[list[SegmentRow]]:
    """Segments to be merged: of an open segment that is full, or of which ``least`` or more parts
    are not merged yet. What changed keys has no seeds to add, and stays as it is. Pure.
    """
    groups: dict[bytes, list[SegmentRow]] = {}
    for row in version.segments:
        if row.manifest.segment.open_segment and not row.rekeys:
            groups.setdefault(row.manifest.segment.open_segment, []).append(row)
    found = []
    for rows in groups.values():
        fresh = sum(not row.manifest.segment.parts for row in rows)
        parts = sum(row.parts for row in rows)
        ranges = [part for row in rows for part in part_ranges(row.manifest.segment)]
        is_full = slots - max(first + count for first, count in ranges) < slots // SHARE_MIN
        if len(rows) > 1 and parts <= PARTS_MAX and (is_full or fresh >= least):
            found.append(sorted(rows, key=lambda row: part_ranges(row.manifest.segment)))
    return found


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the merger works with."""

    storage: Storage
    catalogue: Catalogue
    snapshots: Snapshots
    uploads: Uploads
    rows: RowReader
    committer: Committer


class Merger:
    """Merges what is due, one after the other, on a thread of its own that sleeps otherwise."""

    def __init__(
        self, around: Surroundings, clock: Clock, *, bytes_per_second: float | None
    ) -> None:
        self._with = around
        self._clock = clock
        self._rate = bytes_per_second
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="amaters-merger")
        self._lock = threading.Lock()
        self._wanted = self._running = False
        self._last: Future[None] | None = None
        self.error: AmatersError | None = None  # why the last run ended early

    def poke(self) -> None:
        """Look for something to do, soon, or again after what is being done."""
        with self._lock:
            self._wanted = True
            if self._running or self._stop.is_set():
                return
            self._running = True
            self._last = self._pool.submit(self._run)

    def _run(self) -> None:
        while self._takes_turn():
            self.error = None
            try:
                self.run()
            except AmatersError as error:
                self.error = error

    def _takes_turn(self) -> bool:
        with self._lock:
            self._running = self._wanted and not self._stop.is_set()
            self._wanted = False
            return self._running

    def run(self, *, least: int = UNMERGED_MAX) -> int:
        """Merge all that is due now, on this thread; how many segments were made."""
        made = 0
        while not self._stop.is_set() and self._merge_one(least):
            made += 1
        return made

    def settle(self) -> None:
        """Wait until nothing is being done that was asked for before. Raises what only a bug can
        have raised there.
        """
        if self._last is not None:
            self._last.result()

    def close(self) -> None:
        """Stop at the next ciphertext; what was not committed is thrown away. ``settle`` follows
        when nothing else can suffer from what it raises.
        """
        self._stop.set()
        self._pool.shutdown(wait=True)

    # ---- one merge ---------------------------------------------------------------------------

    def _merge_one(self, least: int) -> bool:
        for version in self._with.storage.tables():
            entry = self._with.catalogue.entry(version)
            if not due(version, entry.parameters.slots, least=least):
                continue
            record = entry.record
            with self._with.snapshots.once(record.table_id, record.version) as snapshot:
                groups = due(snapshot.version, entry.parameters.slots, least=least)
                if groups:
                    return self._merge(entry, groups[0])
        return False

    def _merge(self, entry: TableEntry, rows: list[SegmentRow]) -> bool:
        """Make and commit one merged segment; False when its parts are gone."""
        making = _Making(self, entry, rows)
        try:
            merge = making.make()
            self._commit(entry, rows, merge)
        except AmatersError as error:
            # A command whose log write failed may be in the log, and wants its objects at open.
            if self._with.storage.failed is None:
                making.discard()
            if error.code not in _ABANDONED:
                raise
            return False
        self._with.uploads.committed([*making.made, merge.merged.segment.segment_id])
        collected: Future[int] = Future()
        self._with.committer.between(self._collect, _settling(collected))
        collected.result()
        return True

    def _commit(self, entry: TableEntry, rows: list[SegmentRow], merge: cb.SegmentMerge) -> None:
        """Raises: AM-3021, AM-3073 when what ``rows`` say of the parts is not so any more."""
        objects = self._with.storage.objects
        found = merge_rows(merge, lambda ref: objects.open(ref).read())

        state = self._with.storage.state
        catalogue = self._with.catalogue

        def apply(group: Group) -> bytes:
            # What changes a schema or a manifest is in a group of its own: it is published by now.
            now, version = catalogue.version(entry.record.table_id)
            there = {row.segment_id: row.manifest.segment for row in version.segments}
            # A change of keys keeps the ids of segments, and so does one of their encodings.
            is_same = makes_same_segments(now.table, entry.table) and all(
                there.get(row.segment_id) == row.manifest.segment for row in rows
            )
            # Whether parts have left, this group may know alone.
            if not is_same or any(
                state.find_segment(entry.tid, item) is None for item in merge.replaced
            ):
                fail("AM-3073", table=entry.record.name)
            return group.apply(cb.Command(segment_merge=merge), found)

        self._with.committer.submit(apply, size=merge.ByteSize()).result()

    def _collect(self) -> int:
        return self._with.storage.collect(self._with.snapshots.pinned())

    # ---- what a merge needs of its surroundings ----------------------------------------------

    @property
    def surroundings(self) -> Surroundings:
        return self._with

    def pace(self, began: float, written: int) -> None:
        """Wait until so many bytes may have been written. Raises: AM-3004 when closing."""
        spent = self._clock.monotonic() - began
        due_wait = written / self._rate - spent if self._rate else 0.0
        if self._stop.wait(max(due_wait, 0.0)):
            fail("AM-3004")

    def now(self) -> float:
        return self._clock.monotonic()


class _Making:
    """The objects of one merged segment, and the command that names them."""

    def __init__(self, merger: Merger, entry: TableEntry, rows: list[SegmentRow]) -> None:
        self._merger = merger
        self._with = merger.surroundings
        self._entry = entry
        self._rows = rows
        self._began = merger.now()
        self._written = 0
        self.made: list[bytes] = []

    def make(self) -> cb.SegmentMerge:
        """Everything durable but the command. Raises: AM-12xx, AM-3004, AM-40xx."""
        parts = sorted(
            (part for row in self._rows for part in _parts_of(row)),
            key=lambda part: part.first_slot,
        )
        stop = max(row.rows for row in self._rows)
        (segment_id,) = self._with.uploads.reserve(1)
        parameters = self._entry.parameters
        segment = pb.NewSegment(
            segment_id=segment_id,
            rows=stop,
            open_segment=self._rows[0].manifest.segment.open_segment,
            parts=parts,
            noise=Rules(parameters).merged(len(parts), 1, 0, 0).noise,
        )
        refs = [self._store(self._public(stop))]
        segment.public_object = refs[0].object_id
        if self._entry.table.encrypted_columns:
            refs.append(self._store(self._sealed(stop)))
            segment.sealed_object = refs[-1].object_id
        for column in self._entry.table.encrypted_columns:
            for shape in column.written:
                found = [_bundle_of(row, column.id, shape.name) for row in self._rows]
                if None in found and shape not in column.encodings:
                    continue  # ALTER TABLE had come to some parts only: it comes to this segment
                refs.append(self._bundle(column.id, shape, found))
                summed = sum(one[1] for one in found if one is not None)
                segment.encodings.add(
                    column_id=column.id,
                    encoding=shape.name,
                    object_id=refs[-1].object_id,
                    parts=summed if summed != len(parts) else 0,
                )
        return cb.SegmentMerge(
            table_id=self._entry.record.table_id,
            merged=cb.SegmentManifest(
                segment=segment,
                objects=refs,
                schema_version=min(row.manifest.schema_version for row in self._rows),
            ),
            key_column=self._entry.table.primary_key.id,
            replaced=[row.segment_id for row in self._rows],
        )

    def discard(self) -> None:
        """Delete what was made for nothing."""
        self._with.uploads.committed(self.made)
        for object_id in self.made:
            self._with.storage.objects.delete(object_id)

    def _store(self, data: bytes) -> cb.ObjectRef:
        return self._stored(len(data), iter([data]))

    def _stored(self, size: int, chunks: Iterable[bytes]) -> cb.ObjectRef:
        (object_id,) = self._with.uploads.reserve(1)
        self.made.append(object_id)
        writer = self._with.storage.objects.create(object_id, size)
        try:
            for piece in pieces(chunks):
                self._merger.pace(self._began, self._written)
                writer.write(piece)
                self._written += len(piece)
            return writer.finish()
        except BaseException:
            writer.abort()
            raise

    def _bundle(
        self, column_id: int, encoding: EncodingShape, found: list[Bundle | None]
    ) -> cb.ObjectRef:
        table, parameters = self._entry.table, self._entry.parameters
        name, count = encoding.name, encoding.slices
        shape = Shape(parameters, table.key_id, table.scheme, name, count, parameters.max_level)
        sources = []
        for one in found:
            if one is None:
                what = f"a segment has no {name} encoding"
                fail("AM-3053", column=f"number {column_id}", what=what)
            sources.append(Source(self._with.storage.objects.open(one[0]), one[1]))
        return self._stored(*merge_bundles(shape, sources))

    def _public(self, stop: int) -> bytes:
        """All public columns by slot; NULL in slots that no part has."""
        columns: dict[int, tuple[blocks.Values, blocks.Valid]] = {}
        for row in self._rows:
            block = self._with.rows.public(row, self._entry.table)
            for column_id, (values, valid) in block.columns.items():
                if column_id not in columns:
                    filler = "" if values.dtype == object else 0
                    empty = np.full(stop, filler, dtype=values.dtype)
                    columns[column_id] = empty, np.zeros(stop, dtype=np.bool_)
                for first, count in part_ranges(row.manifest.segment):
                    window = slice(first, first + count)
                    columns[column_id][0][window] = values[window]
                    columns[column_id][1][window] = valid[window]
        return blocks.encode_block(dict(columns))

    def _sealed(self, stop: int) -> bytes:
        """All sealed rows by slot; empty in slots that no part has."""
        sealed: list[bytes | memoryview] = [b""] * stop
        for row in self._rows:
            ref = row.object(row.manifest.segment.sealed_object)
            boxes = blocks.decode_pack(self._with.storage.objects.open(ref).read())
            for first, count in part_ranges(row.manifest.segment):
                sealed[first : first + count] = boxes[first : first + count]
        return blocks.encode_pack(sealed)


def _parts_of(row: SegmentRow) -> list[pb.SegmentPart]:
    made = row.manifest.segment
    if made.parts:
        return list(made.parts)
    ((first, count),) = part_ranges(made)
    return [
        pb.SegmentPart(
            segment_id=made.segment_id,
            first_slot=first,
            rows=count,
            row_version=row.version,
            canaries=made.canaries,
        )
    ]


def _bundle_of(row: SegmentRow, column_id: int, name: str) -> Bundle | None:
    """The object of an encoding, and of how many encryptions it is the sum."""
    for item in row.manifest.segment.encodings:
        if (item.column_id, item.encoding) == (column_id, name):
            return row.object(item.object_id), item.parts or row.parts
    return None


def _settling(future: Future[int]) -> Callable[[int, BaseException | None], None]:
    def settle(result: int, error: BaseException | None) -> None:
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    return settle


def pieces(chunks: Iterable[bytes]) -> Iterator[memoryview]:
    """The same bytes in writes of a moderate size."""
    for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), _CHUNK_BYTES):
            yield view[start : start + _CHUNK_BYTES]
