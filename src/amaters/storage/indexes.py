"""Secondary indexes over public columns, kept in the state and changed in the row's transaction.

An index knows, per place, the values of all rows ever written there (see ``index_runs``): a sorted
run for a segment, one entry per row for a tail block. A place that an index does not know yet is
one its readers scan; a build adds those in slices, and when none is left the index is ready. An
index that a build finds not to be unique is marked failed, and kept no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from google.protobuf.message import DecodeError

from amaters.base.errors import fail
from amaters.storage.defaults import default_columns
from amaters.storage.index_reader import (
    BUILDING,
    FAILED,
    READY,
    REGISTERED_FROM,
    RUN_CACHE_BYTES,
    Database,
    IndexReader,
    IndexRow,
    Slot,
)
from amaters.storage.index_runs import (
    IndexedField,
    KeyRange,
    Run,
    Slots,
    encode_rows,
    encode_values,
    has_repeats,
    listed,
    stamp_of,
)
from amaters.storage.rows import Key
from amaters.storage.stored_runs import StoredRun
from amaters.wire import blocks
from amaters.wire import schema_pb2 as sb
from amaters.wire import service_pb2 as pb

Liveness = Callable[[int, Slots], Slots]  # of a place: those of the slots that are live


class IndexExtractor(Protocol):
    """Decides what can be indexed about a block of rows; pure, for a replay repeats it."""

    def extract(self, block: blocks.Block, columns: Collection[int]) -> tuple[IndexedField, ...]:
        """Those of ``columns`` that the block has or that can be computed from it."""


class PublicColumns:
    """The extractor there is: the columns of the block."""

    def extract(self, block: blocks.Block, columns: Collection[int]) -> tuple[IndexedField, ...]:
        return tuple(
            IndexedField(column, *block.columns[column])
            for column in sorted(columns)
            if column in block.columns
        )


@dataclass(frozen=True, slots=True)
class Violation:
    """A new row whose value a live row has already."""

    number: int
    row: int
    place: int
    slot: int


def defined_in(schema: pb.SchemaRecord) -> tuple[IndexRow, ...]:
    """The indexes of a table's public schema; old schemas have a flag per column instead."""
    try:
        table = sb.PublicTable.FromString(schema.public_bytes)
    except DecodeError:
        return ()
    if table.indexes:
        return tuple(
            IndexRow(item.number, item.name, tuple(item.columns), item.unique)
            for item in table.indexes
        )
    flagged = [column for column in table.columns if column.index]
    return tuple(
        IndexRow(number, f"{table.name}_{column.name}_idx", (column.id,))
        for number, column in enumerate(flagged, start=1)
    )


class IndexManager:
    """All indexes of a state. What changes something runs inside the state's transaction."""

    def __init__(
        self, extractor: IndexExtractor | None = None, *, cache_bytes: int = RUN_CACHE_BYTES
    ) -> None:
        self.extractor: IndexExtractor = extractor or PublicColumns()
        self.reader = IndexReader(cache_bytes)
        self._db: Database

    def attach(self, database: Database) -> IndexManager:
        """Work on the state behind this connection."""
        self._db = database
        return self

    # ---- definitions -------------------------------------------------------------------------

    def indexes(self, tid: int) -> tuple[IndexRow, ...]:
        """The indexes of a table, in order of number. Cost: one lookup."""
        rows = self._db.all(
            "SELECT number, name, columns, is_unique, state FROM indexes WHERE tid = ? "
            "ORDER BY number",
            (tid,),
        )
        return tuple(
            IndexRow(row[0], row[1], tuple(map(int, row[2].split(","))), bool(row[3]), row[4])
            for row in rows
        )

    def kept(self, tid: int) -> tuple[IndexRow, ...]:
        """Those that rows enter: all that did not fail."""
        return tuple(index for index in self.indexes(tid) if index.state != FAILED)

    def columns(self, tid: int) -> frozenset[int]:
        """What must be extracted of the table's rows; nothing when it has no index."""
        return frozenset(column for index in self.kept(tid) for column in index.columns)

    def register_index(self, tid: int, index: IndexRow) -> None:
        """Keep an index from now on; it is ready at once if the table has no rows."""
        self._db.run(
            "INSERT INTO indexes VALUES (?, ?, ?, ?, ?, ?)",
            (
                tid,
                index.number,
                index.name,
                ",".join(map(str, index.columns)),
                int(index.unique),
                BUILDING,
            ),
        )
        self._settle(tid, index.number)

    def drop_index(self, tid: int, number: int) -> None:
        """Forget an index."""
        self._empty(tid, number)
        self._db.run("DELETE FROM indexes WHERE tid = ? AND number = ?", (tid, number))

    def follow_schema(self, tid: int, schema: pb.SchemaRecord) -> None:
        """Keep what the schema defines, and what was registered beside it."""
        wanted = {index.number: index for index in defined_in(schema)}
        for index in self.indexes(tid):
            if index.number >= REGISTERED_FROM:
                continue
            same = wanted.get(index.number)
            if same is None or (same.columns, same.unique) != (index.columns, index.unique):
                self.drop_index(tid, index.number)
                continue
            del wanted[index.number]
        for index in wanted.values():
            self.register_index(tid, index)

    def drop_table(self, tid: int) -> None:
        """Forget all indexes of a table."""
        for table in ("index_tail", "index_runs", "indexes"):
            self._db.run(f"DELETE FROM {table} WHERE tid = ?", (tid,))

    # ---- rows --------------------------------------------------------------------------------

    def apply_block(self, tid: int, place: Slot, block: blocks.Block | None) -> None:
        """A new place with the rows of a block, those before its first slot left out; None: it was
        not kept, because the table had no index when it was read.
        """
        columns = self.columns(tid)
        if columns:
            fields = self.extracted(tid, block, columns) if block is not None else ()
            self.apply_extracted(tid, place, [field.behind(place[1]) for field in fields])

    def extracted(
        self, tid: int, block: blocks.Block, columns: Collection[int]
    ) -> tuple[IndexedField, ...]:
        """What can be indexed about a block; of columns that are younger their defaults."""
        found = self.extractor.extract(block, columns)
        missing = set(columns) - {one.column for one in found}
        row = self._db.one("SELECT schema FROM tables WHERE id = ?", (tid,)) if missing else None
        if row is None:
            return found
        younger = default_columns(pb.SchemaRecord.FromString(row[0]), missing, block.rows)
        return (*found, *(IndexedField(column, *values) for column, values in younger.items()))

    def apply_extracted(self, tid: int, place: Slot, fields: Sequence[IndexedField]) -> None:
        """A place with these rows is new: it enters every index whose columns are among them. One
        that lacks a column is no longer ready, and has to be built. ``place``: with the slot of its
        first row.
        """
        given = {field.column: field for field in fields}
        for index in self.kept(tid):
            if given.keys() >= set(index.columns):
                self._enter(tid, index, place, [given[column] for column in index.columns])
            else:
                self._mark(tid, index.number, BUILDING)

    def forget_place(self, tid: int, place: int) -> None:
        """A place is no longer part of the state."""
        if place < 0:
            self._db.run("DELETE FROM index_tail WHERE tid = ? AND place = ?", (tid, place))
            return
        for index in self.indexes(tid):
            self._db.run(
                "DELETE FROM index_runs WHERE tid = ? AND number = ? AND place = ?",
                (tid, index.number, place),
            )

    def _enter(
        self, tid: int, index: IndexRow, where: Slot, fields: Sequence[IndexedField]
    ) -> None:
        place, first = where
        if place > 0:
            slots = np.arange(first, first + len(fields[0].values), dtype=np.int64)
            self._put_run(tid, index.number, place, Run.of(fields, slots))
            return
        self._db.run_many(
            "INSERT INTO index_tail VALUES (?, ?, ?, ?, ?)",
            (
                (tid, index.number, entry, place, slot)
                for slot, entry in enumerate(encode_rows(fields))
            ),
        )

    def _put_run(self, tid: int, number: int, place: int, run: Run) -> None:
        data = run.encode()
        low, high = run.ends
        self._db.run(
            "INSERT INTO index_runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (tid, number, place, run.rows, low, high, stamp_of(data), data),
        )

    # ---- unique indexes ----------------------------------------------------------------------

    def is_unique(self, tid: int) -> bool:
        """Whether some index of the table is."""
        return any(index.unique for index in self.kept(tid))

    def require_distinct(
        self, tid: int, parts: Sequence[tuple[blocks.Block | None, Sequence[int]]]
    ) -> None:
        """Raises: AM-3093 when two rows to come agree in a unique index."""
        for index in self.kept(tid):
            seen: dict[tuple[Key | None, ...], int] = {}
            start = 0
            for block, rows in parts:
                fields = self._fields(tid, index, block) if index.unique else None
                picked = zip(rows, listed(fields, rows), strict=True) if fields else ()
                for row, values in picked:
                    number = start + row + 1
                    if None not in values and seen.setdefault(values, number) != number:
                        fail("AM-3093", index=index.name, first=seen[values], second=number)
                start += block.rows if block is not None else 0

    def violations(
        self, tid: int, block: blocks.Block | None, rows: Sequence[int], alive: Liveness
    ) -> list[Violation]:
        """Those of ``rows`` of a place to come whose values a live row has in a unique index."""
        found: list[Violation] = []
        for index in self.kept(tid):
            fields = self._fields(tid, index, block) if index.unique else None
            if fields is not None:
                found.extend(self._taken(tid, index, fields, (rows, alive)))
        return found

    def _fields(
        self, tid: int, index: IndexRow, block: blocks.Block | None
    ) -> list[IndexedField] | None:
        """What enters an index, in the order of its columns; None when some is missing."""
        if block is None:
            return None
        extracted = self.extracted(tid, block, frozenset(index.columns))
        given = {field.column: field for field in extracted}
        if not given.keys() >= set(index.columns):
            return None
        return [given[column] for column in index.columns]

    def _taken(
        self,
        tid: int,
        index: IndexRow,
        fields: Sequence[IndexedField],
        checked: tuple[Sequence[int], Liveness],
    ) -> Iterator[Violation]:
        rows, alive = checked
        values = {
            row: tuple(key for key in found if key is not None)
            for row, found in zip(rows, listed(fields, rows), strict=True)
            if None not in found
        }
        for row, place, slots in self._holders(tid, index, values):
            for slot in alive(place, slots).tolist():
                yield Violation(index.number, row, place, slot)

    def _holders(
        self, tid: int, index: IndexRow, values: Mapping[int, tuple[Key, ...]]
    ) -> Iterator[tuple[int, int, Slots]]:
        """Place and slots where each row's values occur already, dead rows included."""
        if not values:
            return
        entries = {encode_values(keys): row for row, keys in values.items()}
        query = "SELECT 1 FROM index_tail WHERE tid = ? AND number = ? LIMIT 1"
        if self._db.one(query, (tid, index.number)) is not None:
            for entry, place, slot in self._db.all_of(
                "SELECT entry, place, slot FROM index_tail "
                "WHERE tid = ? AND number = ? AND entry = ?",
                ((tid, index.number, entry) for entry in entries),
            ):
                yield entries[bytes(entry)], place, np.array([slot], dtype=np.int64)
        rows = np.array(list(values), dtype=np.int64)
        firsts = [keys[0] for keys in values.values()]
        for place, run in self._runs_near(tid, index, (min(entries), max(entries))):
            for row in rows[run.holding(firsts)].tolist():
                yield row, place, run.find(KeyRange(values[row]))

    def _runs_near(
        self, tid: int, index: IndexRow, ends: tuple[bytes, bytes]
    ) -> Iterator[tuple[int, StoredRun]]:
        """The runs that may hold entries between two."""
        rows = self._db.all(
            "SELECT place, stamp FROM index_runs WHERE tid = ? AND number = ? AND low <= ? "
            "AND high >= ?",
            (tid, index.number, ends[1], ends[0]),
        )
        for place, stamp in rows:
            run = self.reader.run(self._db, (tid, index, place, stamp))
            if run is not None:
                yield place, run

    # ---- building ----------------------------------------------------------------------------

    def uncovered(self, tid: int, number: int, limit: int = -1) -> list[int]:
        """Places that an index does not know yet, oldest first."""
        return self.reader.uncovered(self._db, tid, number, limit)

    def build(
        self,
        tid: int,
        number: int,
        given: Mapping[Slot, blocks.Block],
        alive: Liveness,
    ) -> None:
        """Let places, each with the slot of its first row, enter an index that does not know them;
        afterwards it may be ready. Two live rows that agree in a unique index make it fail: it is
        emptied and refuses nothing.
        """
        index = next((index for index in self.kept(tid) if index.number == number), None)
        if index is None:
            return
        missing = set(self.uncovered(tid, number))
        for place, block in sorted(given.items(), key=lambda item: item[0]):
            fields = self._fields(tid, index, block) if place[0] in missing else None
            if fields is None:
                continue
            fields = [field.behind(place[1]) for field in fields]
            if index.unique and self._repeats(tid, index, fields, (place, alive)):
                self._empty(tid, number)
                self._mark(tid, number, FAILED)
                return
            self._enter(tid, index, place, fields)
        self._settle(tid, number)

    def _repeats(
        self,
        tid: int,
        index: IndexRow,
        fields: Sequence[IndexedField],
        where: tuple[Slot, Liveness],
    ) -> bool:
        (place, first), alive = where
        slots = np.arange(first, first + len(fields[0].values), dtype=np.int64)
        rows = (alive(place, slots) - first).tolist()
        if has_repeats(fields, rows):
            return True
        return any(True for _ in self._taken(tid, index, fields, (rows, alive)))

    def _settle(self, tid: int, number: int) -> None:
        """Ready, if no place is missing."""
        if not self.uncovered(tid, number, 1):
            self._mark(tid, number, READY)

    def _mark(self, tid: int, number: int, state: str) -> None:
        self._db.run(
            "UPDATE indexes SET state = ? WHERE tid = ? AND number = ?", (state, tid, number)
        )

    def _empty(self, tid: int, number: int) -> None:
        for table in ("index_tail", "index_runs"):
            self._db.run(f"DELETE FROM {table} WHERE tid = ? AND number = ?", (tid, number))

    # ---- figures -----------------------------------------------------------------------------

    def stats(self, tid: int, number: int) -> tuple[int, int]:
        """Entries of an index, those of dead rows included, and their bytes. Cost: its runs."""
        runs = self._db.one(
            "SELECT coalesce(sum(rows), 0), coalesce(sum(length(run)), 0) FROM index_runs "
            "WHERE tid = ? AND number = ?",
            (tid, number),
        )
        tail = self._db.one(
            "SELECT count(*), coalesce(sum(length(entry) + 16), 0) FROM index_tail "
            "WHERE tid = ? AND number = ?",
            (tid, number),
        )
        assert runs is not None
        assert tail is not None
        return runs[0] + tail[0], runs[1] + tail[1]
