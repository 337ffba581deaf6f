"""Looking up what an index knows, on any connection to the state.

Slots that are found include those of rows that are dead by now, or not yet written when the
version that somebody reads was made: liveness is the reader's to apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from amaters.base.lru import Lru
from amaters.storage.index_runs import KeyRange, Slots, total_of
from amaters.storage.stored_runs import StoredRun

BUILDING, READY, FAILED = "building", "ready", "failed"
REGISTERED_FROM = 1 << 16  # numbers from here on are not the schema's
RUN_CACHE_BYTES = 64 << 20
SCHEMA = """
CREATE TABLE indexes (tid INTEGER, number INTEGER, name TEXT, columns TEXT, is_unique INTEGER,
    state TEXT, PRIMARY KEY (tid, number)) WITHOUT ROWID;
CREATE TABLE index_runs (tid INTEGER, number INTEGER, place INTEGER, rows INTEGER, low BLOB,
    high BLOB, stamp BLOB, run BLOB, PRIMARY KEY (tid, number, place));
CREATE TABLE index_tail (tid INTEGER, number INTEGER, entry BLOB, place INTEGER, slot INTEGER,
    PRIMARY KEY (tid, number, entry, place, slot)) WITHOUT ROWID;
CREATE INDEX index_tail_place ON index_tail (tid, place);
"""

Slot = tuple[int, int]  # place, slot


class Database(Protocol):
    """The connection of the state, or one that reads."""

    def run(self, sql: str, values: Sequence[Any] = ()) -> None: ...

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None: ...

    def one(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None: ...

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def all_of(self, sql: str, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True, slots=True)
class IndexRow:
    """An index as the state keeps it. ``number`` is unique within the table."""

    number: int
    name: str
    columns: tuple[int, ...]
    unique: bool = False
    state: str = BUILDING

    @property
    def is_ready(self) -> bool:
        """Whether every row of the table is in it."""
        return self.state == READY


class IndexReader:
    """Looks up places and slots; liveness is the caller's to apply. One cache serves all threads.

    ``database`` of each call: a connection that this thread may use.
    """

    def __init__(self, cache_bytes: int = RUN_CACHE_BYTES) -> None:
        self._cache_bytes = cache_bytes
        self._runs: Lru[tuple[int, int, int, bytes], StoredRun] = Lru(cache_bytes)

    def find(
        self, database: Database, tid: int, index: IndexRow, ranges: Sequence[KeyRange]
    ) -> dict[int, Slots]:
        """Slots of the entries in any of ``ranges``, for every segment the index knows: a segment
        that is not named is one to be scanned. Cost: per segment some microseconds, if its run is
        held; else its run is read.
        """
        intervals = [wanted.interval() for wanted in ranges]
        found: dict[int, Slots] = {}
        for place, low, high, stamp in database.all(
            "SELECT place, low, high, stamp FROM index_runs WHERE tid = ? AND number = ?",
            (tid, index.number),
        ):
            near = [
                wanted
                for wanted, (first, end) in zip(ranges, intervals, strict=True)
                if low < end and high >= first
            ]
            if not near:
                found[place] = total_of(())
                continue
            run = self.run(database, (tid, index, place, stamp))
            if run is not None:
                found[place] = total_of([run.find(wanted) for wanted in near])
        return found

    def find_in_tail(
        self, database: Database, tid: int, number: int, wanted: KeyRange
    ) -> list[Slot]:
        """Place and slot of the tail's entries in a range, in order of value."""
        first, end = wanted.interval()
        return database.all(
            "SELECT place, slot FROM index_tail WHERE tid = ? AND number = ? AND entry >= ? "
            "AND entry < ? ORDER BY entry, place, slot",
            (tid, number, first, end),
        )

    def forget(self) -> None:
        """Hold nothing, so that runs are read again."""
        self._runs = Lru(self._cache_bytes)

    def uncovered(self, database: Database, tid: int, number: int, limit: int = -1) -> list[int]:
        """Places that an index does not know, segments first, oldest first."""
        segments = database.all(
            "SELECT id FROM segments WHERE tid = ? AND NOT EXISTS (SELECT 1 FROM index_runs r "
            "WHERE r.tid = ? AND r.number = ? AND r.place = segments.id) ORDER BY id LIMIT ?",
            (tid, tid, number, limit),
        )
        tail = database.all(
            "SELECT -id FROM tails WHERE tid = ? AND NOT EXISTS (SELECT 1 FROM index_tail t "
            "WHERE t.tid = ? AND t.place = -tails.id AND t.number = ?) ORDER BY id LIMIT ?",
            (tid, tid, number, limit),
        )
        return [place for (place,) in (*segments, *tail)]

    def run(self, database: Database, name: tuple[int, IndexRow, int, bytes]) -> StoredRun | None:
        """The run of a segment; None when it has gone meanwhile."""
        tid, index, place, stamp = name
        key = (tid, index.number, place, stamp)
        run = self._runs.get(key)
        if run is None:
            row = database.one(
                "SELECT run FROM index_runs WHERE tid = ? AND number = ? AND place = ? "
                "AND stamp = ?",
                (tid, index.number, place, stamp),
            )
            if row is None:
                return None
            run = StoredRun(row[0], index.columns)
            self._runs.put(key, run, run.size)
        return run
