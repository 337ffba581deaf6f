"""Rows by key over any storage: put, get, delete, ranges, atomic batches, read-modify-write.

The plain row API for tables without encrypted columns, which need no client: rows are tuples in the
order of the table's columns. Writers may be many threads: what waits is made durable together.
Readers wait for no writer and see whole batches. A full tail is exchanged for a segment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.base.ids import new_id
from amaters.storage.combiner import SMALL_ROWS, Combiner
from amaters.storage.committer import Committer
from amaters.storage.database import Group, Storage
from amaters.storage.index_runs import Bound, KeyRange
from amaters.storage.lookup import Lookup
from amaters.storage.places import Versions
from amaters.storage.publicblocks import Place, PublicBlocks, place_id
from amaters.storage.rowindexes import find_spots, in_order
from amaters.storage.rows import Key
from amaters.storage.rowtable import Row, RowTable, row_table
from amaters.storage.versions import TableVersion, live_slots
from amaters.wire import blocks
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

SEGMENT_ROWS = 1 << 14
ATTEMPTS_MAX = 64
CROWDED = 4  # tails of so many segments' rows: writers wait for the exchange
CACHE_BYTES = 128 << 20
ROWS_AT_ONCE = 1024

Run = Iterator[tuple[Key, int, int]]  # key, number of its place, slot
Bounds = tuple[int | str | None, int | str | None]


class Versioned(NamedTuple):
    """A row and the version it has until it is written again."""

    row: Row
    version: int


@dataclass(slots=True)
class WriteBatch:
    """Changes that happen together or not at all, of any number of stores of one storage; a later
    change of a key replaces an earlier one.
    """

    changes: dict[RowStore, dict[Key, Row | None]] = field(default_factory=dict)
    expected: dict[RowStore, dict[Key, int]] = field(default_factory=dict)

    def put(self, store: RowStore, rows: Iterable[Row]) -> None:
        """Insert rows, or replace those of the same keys."""
        mine = self.changes.setdefault(store, {})
        for row in rows:
            mine[store.table.stored(row[store.table.key])] = row

    def delete(self, store: RowStore, keys: Iterable[int | str]) -> None:
        """Delete the rows that are there."""
        mine = self.changes.setdefault(store, {})
        mine.update((store.table.stored(key), None) for key in keys)

    def expect(self, store: RowStore, key: int | str, version: int) -> None:
        """Do nothing of the batch unless this key's row has this version; 0: unless it has none.
        Only of keys that the batch changes.
        """
        self.expected.setdefault(store, {})[store.table.stored(key)] = version


class RowStore:
    """The rows of one table. Methods may be called from any thread; ``close`` ends the writer."""

    def __init__(
        self,
        storage: Storage,
        table_id: bytes,
        *,
        committer: Committer | None = None,
        segment_rows: int = SEGMENT_ROWS,
    ) -> None:
        """``committer``: of a storage that others write too; by default one of its own.

        Raises: AM-3021, AM-4022 for a table with encrypted columns.
        """
        version = storage.version(table_id)
        if version is None:
            fail("AM-3021")
        self.table: RowTable = row_table(version.schema)
        self._storage = storage
        self._committer = committer or Committer(storage)
        self._owned = committer is None
        self._segment_rows = segment_rows
        self._public = PublicBlocks(storage.objects, CACHE_BYTES)
        self._lookup = Lookup(storage, self._public)
        self._exchanging = threading.Lock()
        self._reading = threading.Lock()
        self.combiner = Combiner(self._committer, self._combined)

    @classmethod
    def create(cls, storage: Storage, schema: pb.SchemaRecord) -> RowStore:
        """A new table and its store. Raises: AM-4022 for a table with encrypted columns."""
        row_table(schema)
        storage.append(cb.Command(table_create=cb.TableCreate(schema=schema)))
        return cls(storage, schema.table_id)

    # ---- writing -----------------------------------------------------------------------------

    def put(self, rows: Sequence[Row]) -> None:
        """Insert rows, or replace those of the same keys: all, durably, when this returns.

        Raises: AM-4022 for rows that do not fit the table, or a key twice; AM-4003, AM-4008.
        """
        keys = self.table.keys_of(rows)
        self.write_batch(WriteBatch({self: dict(zip(keys, rows, strict=True))}))

    def delete(self, keys: Iterable[int | str]) -> None:
        """Delete the rows of these keys that are there."""
        batch = WriteBatch()
        batch.delete(self, keys)
        self.write_batch(batch)

    def write_batch(self, batch: WriteBatch) -> bool:
        """Make a batch durable: whether it happened, or some row was not as expected."""
        if len(batch.changes) == 1 and not batch.expected:
            ((store, only),) = batch.changes.items()
            if 0 < len(only) <= SMALL_ROWS:
                if store.combiner.write(only):
                    store.exchange_if_full()
                return True
        works = [
            _Work.of(store, changes, batch.expected.get(store, {}))
            for store, changes in batch.changes.items()
            if changes
        ]
        if not works:
            return True
        size = sum(len(work.block) for work in works)
        done = self._committer.submit(lambda group: _apply(group, self._storage, works), size=size)
        happened = done.result()
        for work in works:
            work.store.exchange_if_full()
        return happened

    def _combined(self, group: Group, changes: dict[Key, Row | None]) -> bool:
        return _apply(group, self._storage, [_Work.of(self, changes, {})])

    def atomic_update(
        self, key: int | str, change: Callable[[Row | None], Row | None]
    ) -> Row | None:
        """Replace a row (None: there is none) by what ``change`` makes of it (None: delete it);
        returns that. Repeated when somebody else wrote the row meanwhile, so ``change`` must be
        free of side effects. Raises: AM-4021 after many such repetitions.
        """
        for _ in range(ATTEMPTS_MAX):
            there = self.get_versioned([key]).get(key)
            new = change(there.row if there else None)
            if new is None and there is None:
                return None
            batch = WriteBatch()
            if new is None:
                batch.delete(self, [key])
            else:
                batch.put(self, [new])
            batch.expect(self, key, there.version if there else 0)
            if self.write_batch(batch):
                return new
        fail("AM-4021", key=key, attempts=ATTEMPTS_MAX)

    # ---- reading -----------------------------------------------------------------------------

    def get(self, keys: Iterable[int | str]) -> dict[int | str, Row]:
        """The rows of those keys that have one, all as of one moment."""
        return {key: found.row for key, found in self.get_versioned(keys).items()}

    def get_versioned(self, keys: Iterable[int | str]) -> dict[int | str, Versioned]:
        """The same with row versions, for ``WriteBatch.expect``."""
        wanted = list(dict.fromkeys(self.table.stored_all(list(keys))))
        with self._reading:  # the interpreter runs one anyway; more would starve the writer
            return self._read(wanted)

    def _read(self, wanted: list[Key]) -> dict[int | str, Versioned]:
        _, found = self._lookup.find_now(self.table.table_id, wanted, self.table.key_column)
        by_place: dict[int, tuple[Place, list[int], list[Key]]] = {}
        for key, (place, slot) in found.items():
            entry = by_place.setdefault(place_id(place), (place, [], []))
            entry[1].append(slot)
            entry[2].append(key)
        result: dict[int | str, Versioned] = {}
        for place, slots, there in by_place.values():
            at = np.array(slots, dtype=np.int64)
            rows, versions = self._rows(place, at), place.versions_of(at)
            versions = versions * len(slots) if len(versions) == 1 else versions
            shown = map(self.table.shown, there)
            result.update(zip(shown, map(Versioned, rows, versions), strict=True))
        return result

    def range(self, low: int | str | None = None, high: int | str | None = None) -> Iterator[Row]:
        """Rows with low <= key < high in order of key, as of the moment this is called.

        Cost: a pass over the table's keys; memory of the keys that are in the range.
        """
        version = self._version()
        places: list[Place] = [*version.segments, *version.tail]
        runs = [self._run(number, place, (low, high)) for number, place in enumerate(places)]
        return self._merged(places, runs)

    def find(
        self,
        index: str,
        *prefix: int | str,
        low: int | str | None = None,
        high: int | str | None = None,
    ) -> list[Row]:
        """Rows whose first values in an index are ``prefix``, with low <= the next one < high, in
        order of the index. Cost: some microseconds per segment, and the rows.

        Raises: AM-3091 (no such index, or it is still being built).
        """
        wanted = KeyRange(
            prefix,
            Bound(low) if low is not None else None,
            Bound(high, False) if high is not None else None,
        )
        found, spots = find_spots(self._storage, self._public, self.table.table_id, index, wanted)
        rows = (row for place, slots in spots for row in self._rows(place, slots))
        by_id = {field.column_id: at for at, field in enumerate(self.table.fields)}
        return in_order(rows, [by_id[column] for column in found.columns if column in by_id])

    def _run(self, number: int, place: Place, bounds: Bounds) -> Run:
        """Keys of a place's live rows within bounds, in order, with where they are."""
        alive = np.flatnonzero(live_slots(place.rows, place.live_bits))
        keys, _ = self._public.frame(place).column(self.table.key_column, alive)
        kept = np.ones(len(keys), dtype=np.bool_)
        if bounds[0] is not None:
            kept &= keys >= bounds[0]
        if bounds[1] is not None:
            kept &= keys < bounds[1]
        keys, slots = keys[kept], alive[kept]
        order = np.argsort(keys, kind="stable")
        return _items(keys[order], slots[order], number)

    def _merged(self, places: list[Place], runs: list[Run]) -> Iterator[Row]:
        # A few rows at a time of each place, or every row would be looked up by itself.
        waiting: list[tuple[int, int]] = []
        for _, number, slot in merge(*runs):
            waiting.append((number, slot))
            if len(waiting) == ROWS_AT_ONCE:
                yield from self._gathered(places, waiting)
                waiting = []
        yield from self._gathered(places, waiting)

    def _gathered(self, places: list[Place], wanted: list[tuple[int, int]]) -> Iterator[Row]:
        by_place: dict[int, list[int]] = {}
        for number, slot in wanted:
            by_place.setdefault(number, []).append(slot)
        rows = {
            number: iter(self._rows(places[number], np.array(slots, dtype=np.int64)))
            for number, slots in by_place.items()
        }
        return (next(rows[number]) for number, _ in wanted)

    def _rows(self, place: Place, slots: NDArray[np.int64]) -> list[Row]:
        return self.table.rows_at(self._public.frame(place), slots)

    def _version(self) -> TableVersion:
        version = self._storage.version(self.table.table_id)
        if version is None:
            fail("AM-3021")
        return version

    # ---- upkeep ------------------------------------------------------------------------------

    def exchange_if_full(self) -> None:
        """Turn a full tail into a segment; writers wait for it only when the tail is crowded."""
        rows = self._version().tail_rows
        if rows < self._segment_rows:
            return
        if not self._exchanging.acquire(blocking=rows >= CROWDED * self._segment_rows):
            return
        try:
            version = self._version()
            if version.tail_rows >= self._segment_rows:
                self.exchange(version)
        finally:
            self._exchanging.release()

    def exchange(self, version: TableVersion) -> None:
        """Write the tail of a version as one segment; what changed since stays as it is."""
        parts, keys, versions = [], [], []
        for block in version.tail:
            frame = self._public.frame(block, keep=False)  # it is about to go
            alive = np.flatnonzero(live_slots(block.rows, block.live_bits))
            ids = [f.column_id for f in self.table.fields]
            parts.append(blocks.Block(len(alive), {i: frame.column(i, alive) for i in ids}))
            keys.append(parts[-1].columns[self.table.key_column][0])
            versions.extend([block.version] * len(alive))
        whole = blocks.concat_blocks(parts)
        data = blocks.select_block(whole, None, list(whole.columns))
        object_id = new_id()
        writer = self._storage.objects.create(object_id, len(data))
        try:
            writer.write(data)
            ref = writer.finish()
        except BaseException:
            writer.abort()
            raise
        request = self._request(max(versions) + 1)
        request.segments.add(segment_id=new_id(), rows=whole.rows, public_object=object_id)
        column = {self.table.key_column: (np.concatenate(keys), None)}
        request.moved.keys = blocks.encode_block(column)
        request.moved.versions.extend(versions)
        batch = self.batch(request, [ref])
        rows = self._storage.read_rows(batch)
        command = cb.Command(batch=batch)
        self._committer.submit(lambda group: group.apply(command, rows)).result()

    def _request(self, row_version: int) -> pb.CommitRequest:
        return pb.CommitRequest(
            table_id=self.table.table_id,
            schema_version=self.table.schema_version,
            row_version=row_version,
        )

    def batch(self, request: pb.CommitRequest, objects: Sequence[cb.ObjectRef] = ()) -> cb.Batch:
        """A request as the log keeps it."""
        return cb.Batch(request=request, objects=objects, key_column=self.table.key_column)

    def change(self, work: _Work, position: int) -> cb.Batch | None:
        """On the writer's thread: the batch of a piece of work at ``position``; None when a row is
        not as it expects.
        """
        state, tid = self._storage.state, self._version().tid
        places = state.places(tid, [*work.puts, *work.deletes])
        known: dict[int, Versions] = {}
        versions = {key: state.row_version(place, known) for key, place in places.items()}
        if any(versions.get(key, 0) != expected for key, expected in work.expected.items()):
            return None
        replaced = max(versions.values(), default=0)
        request = self._request(max(position, replaced + 1))
        if work.puts:
            request.tail.rows = len(work.puts)
            request.tail.public_block = work.block
        if places:
            request.removed.keys = self.table.encode_keys(list(places))
            request.removed.versions.extend(versions.values())
        return self.batch(request)

    def close(self) -> None:
        """End the writer's thread, if it is this store's own; the storage stays open."""
        if self._owned:
            self._committer.close()


@dataclass(frozen=True, slots=True)
class _Work:
    """Changes of one table, encoded on the thread that wants them."""

    store: RowStore
    puts: list[Key]
    deletes: list[Key]
    block: bytes
    expected: dict[Key, int]

    @classmethod
    def of(cls, store: RowStore, changes: dict[Key, Row | None], expected: dict[Key, int]) -> _Work:
        puts = [key for key, row in changes.items() if row is not None]
        deletes = [key for key, row in changes.items() if row is None]
        rows = [row for row in changes.values() if row is not None]
        block = store.table.encode(rows) if rows else b""
        return cls(store, puts, deletes, block, expected)


def _apply(group: Group, storage: Storage, works: list[_Work]) -> bool:
    made = [work.store.change(work, group.position + 1) for work in works]
    batches = [batch for batch in made if batch is not None]
    if len(batches) < len(works):
        return False
    rows = tuple(storage.read_rows(batch) for batch in batches)
    for batch, found in zip(batches, rows, strict=True):
        storage.state.require_unique(storage.state.tid(batch.request.table_id), found)
    if len(batches) == 1:
        group.apply(cb.Command(batch=batches[0]), rows[0])
    else:
        group.apply(cb.Command(multi_batch=cb.MultiBatch(parts=batches)), rows)
    return True


def _items(keys: NDArray[Any], slots: NDArray[np.int64], number: int) -> Run:
    for start in range(0, len(keys), ROWS_AT_ONCE):
        stop = start + ROWS_AT_ONCE
        for key, slot in zip(keys[start:stop].tolist(), slots[start:stop].tolist(), strict=True):
            yield key, number, slot
