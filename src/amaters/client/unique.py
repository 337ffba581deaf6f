"""Unique indexes as a writer meets them.

The engine refuses a row whose value another live row has. The other one may be a canary, which then
moves aside; only the client knows. So canaries have values of their own in these columns.
"""

from __future__ import annotations

from typing import Any, NoReturn

from amaters.base import errors
from amaters.columns.batch import ColumnBatch
from amaters.columns.canaries import distinguishing
from amaters.columns.convert import ColumnValues
from amaters.columns.indexes import IndexDefinition
from amaters.columns.schema import Table
from amaters.wire import service_pb2 as pb

CROWDED_SPAN_MAX = 1 << 22

Row = dict[int, Any]  # storage values of public columns, None for NULL
Used = dict[int, set[Any]]  # by column
Kept = dict[int, list[Any]]  # by column


def refuse_repeated_values(table: Table, batch: ColumnBatch) -> None:
    """Raises: InvalidError AM-3093 when two rows agree in a unique index."""
    for index in table.indexes:
        if not index.unique or not set(index.columns) <= batch.columns.keys():
            continue
        columns = [_listed(batch.columns[column]) for column in index.columns]
        first: dict[tuple[Any, ...], int] = {}
        for row, values in enumerate(zip(*columns, strict=True), start=1):
            if None not in values and first.setdefault(values, row) != row:
                errors.fail("AM-3093", index=index.name, first=first[values], second=row)


def used_values(table: Table, batch: ColumnBatch) -> Used:
    """What canaries must not have, by column."""
    found: Used = {column.id: set() for column in distinguishing(table)}
    note_used(found, batch)
    return found


def note_used(used: Used, rows: ColumnBatch) -> None:
    """Values of ``rows`` are used, too."""
    for column, values in used.items():
        values.update(_listed(rows.columns[column]))


def crowded(data: ColumnValues) -> set[Any]:
    """All numbers between the least and the greatest, if they are not too many."""
    values = data.values[data.valid]
    if values.dtype == object or not len(values):
        return set()
    low, high = int(values.min()), int(values.max())
    return set(range(low, high + 1)) if high - low < CROWDED_SPAN_MAX else set()


def row_of(table: Table, rows: ColumnBatch, at: int) -> Row:
    """The public columns of one row."""
    found: Row = {}
    for column in table.public_columns:
        data = rows.columns[column.id]
        found[column.id] = data.values[at : at + 1].tolist()[0] if data.valid[at] else None
    return found


def collide(table: Table, conflict: pb.KeyConflict, old: Row, new: Row) -> bool:
    """Whether two rows really agree in what a conflict is about."""
    index = _index(table, conflict)
    if index is None:
        return bool(old[table.primary_key.id] == new[table.primary_key.id])
    return all(old[c] is not None and old[c] == new[c] for c in index.columns)


def note_refused(table: Table, conflict: pb.KeyConflict, refused: Used, row: Row) -> None:
    """A canary was in the way: the values that a conflict is about are not to be drawn again."""
    index = _index(table, conflict)
    for column in index.columns if index is not None else (table.primary_key.id,):
        refused.setdefault(column, set()).add(row[column])


def kept_values(table: Table, canaries: ColumnBatch, refused: Used) -> Kept:
    """Keys and values of canaries that nobody refused, for their segment's next attempt."""
    found: Kept = {}
    for column in (table.primary_key, *distinguishing(table)):
        wrong = refused.get(column.id, set())
        known = _listed(canaries.columns[column.id])
        found[column.id] = [value for value in known if value is not None and value not in wrong]
    return found


def refuse(table: Table, conflict: pb.KeyConflict, row: int) -> NoReturn:
    """Raises: ConflictError AM-3092. The value is not shown: an index may be over several."""
    index = _index(table, conflict)
    name = index.name if index is not None else ""
    errors.fail("AM-3092", table=table.name, index=name, row=row)


def _index(table: Table, conflict: pb.KeyConflict) -> IndexDefinition | None:
    """The index a conflict names. Raises: AM-5012 for one that can refuse nothing."""
    if not conflict.index_number:
        return None
    for index in table.indexes:
        if index.number == conflict.index_number and index.unique:
            return index
    errors.fail("AM-5012", what="it names an index that is not in the schema")


def _listed(data: ColumnValues) -> list[Any]:
    listed = zip(data.values.tolist(), data.valid.tolist(), strict=True)
    return [value if ok else None for value, ok in listed]
