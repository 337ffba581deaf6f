"""Verifying indexes: what each holds of a place is what the place's block holds, for every row
that is alive, and nothing of places that are gone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from amaters.storage.index_reader import IndexRow
from amaters.storage.index_runs import (
    IndexedField,
    Run,
    encode_rows,
    encode_values,
    listed,
    stamp_of,
)
from amaters.storage.indexes import IndexManager
from amaters.storage.sqlite import Connection
from amaters.wire import blocks

Rows = tuple[list[IndexedField], NDArray[np.int64]]
Found = Callable[[str], None]


class IndexVerifier:
    """Checks the indexes of one table, place by place, then as a whole."""

    def __init__(self, indexes: IndexManager, db: Connection, tid: int) -> None:
        self._db, self._tid = db, tid
        self._indexes = indexes
        self._kept = indexes.kept(tid)
        self._values: dict[int, list[NDArray[np.int64]]] = {
            index.number: [] for index in self._kept if index.unique and index.is_ready
        }

    @property
    def count(self) -> int:
        """How many indexes there are to check."""
        return len(self._kept)

    def place(
        self, number: int, block: blocks.Block, alive: NDArray[np.int64], found: Found
    ) -> None:
        """Compare every index with a place: its number, block, and slots that are alive."""
        for index in self._kept:
            extracted = self._indexes.extracted(self._tid, block, frozenset(index.columns))
            given = {field.column: field for field in extracted}
            if not given.keys() >= set(index.columns):
                if index.is_ready:
                    found(f"index {index.name} lacks a column of it")
                continue
            fields = [given[column] for column in index.columns]
            check = _run if number > 0 else _tail
            what = check(self._db, (self._tid, number), index, (fields, alive))
            if what is not None:
                found(f"index {index.name} {what}")
            if index.number in self._values:
                self._values[index.number].append(_hashes(fields, alive))

    def end(self, found: Found) -> None:
        """What shows when all places are known. Cost: 8 bytes per row of a unique index."""
        for index in self._kept:
            parts = self._values.get(index.number, [])
            values = np.concatenate([np.empty(0, dtype=np.int64), *parts])
            repeated = len(values) - len(np.unique(values))
            if repeated:
                found(f"index {index.name} is unique, and {repeated} rows repeat a value")
        runs = self._db.one(
            "SELECT count(*) FROM index_runs WHERE tid = ? AND place NOT IN "
            "(SELECT id FROM segments WHERE tid = ?)",
            (self._tid, self._tid),
        )
        tails = self._db.one(
            "SELECT count(*) FROM index_tail WHERE tid = ? AND place NOT IN "
            "(SELECT -id FROM tails WHERE tid = ?)",
            (self._tid, self._tid),
        )
        if runs != (0,) or tails != (0,):
            found("its indexes know places that are gone")


def _hashes(fields: list[IndexedField], alive: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number per row without NULL; rows of equal values have equal ones."""
    rows = (values for values in listed(fields, alive.tolist()) if None not in values)
    return np.fromiter((hash(encode_values(values)) for values in rows), dtype=np.int64)


def _run(db: Connection, where: tuple[int, int], index: IndexRow, rows: Rows) -> str | None:
    """What is wrong with the run of a segment."""
    row = db.one(
        "SELECT rows, low, high, stamp, run FROM index_runs "
        "WHERE tid = ? AND number = ? AND place = ?",
        (where[0], index.number, where[1]),
    )
    if row is None:
        return "is ready, and does not know it" if index.is_ready else None
    count, low, high, stamp, data = row
    run = Run.decode(data, index.columns)
    if stamp_of(data) != stamp or run.rows != count or run.ends != (low, high):
        return "has a run that is not the one written"
    return _entries(run, rows)


def _entries(run: Run, rows: Rows) -> str | None:
    fields, alive = rows
    if len(np.setdiff1d(alive, run.slots)):
        return "lacks live rows of it"
    if len(run.slots) and int(run.slots.max()) >= len(fields[0].values):
        return "knows rows that it does not have"
    for kept, field in zip(run.fields, fields, strict=True):
        values, valid = field.values[run.slots], field.valid[run.slots]
        same = (kept.valid == valid) & (~valid | (kept.values == values))
        if not bool(same.all()):
            return "holds other values than its block"
    if not np.array_equal(Run.of(run.fields, run.slots).slots, run.slots):
        return "has a run out of order"
    return None


def _tail(db: Connection, where: tuple[int, int], index: IndexRow, rows: Rows) -> str | None:
    """What is wrong with the entries of a tail block."""
    query = "SELECT slot, entry FROM index_tail WHERE tid = ? AND place = ? AND number = ?"
    entries = db.all(query, (where[0], where[1], index.number))
    if not entries:
        return "is ready, and does not know it" if index.is_ready else None
    fields, _ = rows
    if sorted(entries) != list(enumerate(encode_rows(fields))):
        return "holds other values than its block"
    return None
