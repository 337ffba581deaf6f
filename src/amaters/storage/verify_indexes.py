"""Verifying indexes: what each holds of a place is what the place's block holds, for every row
that is alive, and nothing of places that are gone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from amaters.storage.index_reader import IndexRow
from amaters.storage.index_runs import IndexedField, Run, encode_rows, stamp_of
from amaters.storage.indexes import IndexManager
from amaters.storage.sqlite import Connection
from amaters.wire import blocks

Place = tuple[blocks.Block, NDArray[np.int64]]  # its block, and the slots that are alive
Rows = tuple[list[IndexedField], NDArray[np.int64]]
Found = Callable[[str], None]


def check_place(
    indexes: IndexManager, db: Connection, where: tuple[int, int], place: Place, found: Found
) -> None:
    """Compare every index of a table with one of its places. ``where``: table and place."""
    block, alive = place
    for index in indexes.kept(where[0]):
        extracted = indexes.extractor.extract(block, frozenset(index.columns))
        given = {field.column: field for field in extracted}
        if given.keys() >= set(index.columns):
            fields = [given[column] for column in index.columns]
            check = _run if where[1] > 0 else _tail
            what = check(db, where, index, (fields, alive))
        else:
            what = "lacks a column of it" if index.is_ready else None
        if what is not None:
            found(f"index {index.name} {what}")


def check_orphans(db: Connection, tid: int, found: Found) -> None:
    """Entries of places that the table does not have."""
    runs = db.one(
        "SELECT count(*) FROM index_runs WHERE tid = ? AND place NOT IN "
        "(SELECT id FROM segments WHERE tid = ?)",
        (tid, tid),
    )
    tails = db.one(
        "SELECT count(*) FROM index_tail WHERE tid = ? AND place NOT IN "
        "(SELECT -id FROM tails WHERE tid = ?)",
        (tid, tid),
    )
    if runs != (0,) or tails != (0,):
        found("its indexes know places that are gone")


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
