"""INSERT of bound statements: plain, from a SELECT, and with ON CONFLICT.

ON CONFLICT looks the keys up, decides here what becomes of each row, and commits under the
condition that what it read is still so. If it is not, nothing was done and it looks again.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from amaters.base import errors
from amaters.client import lookup, writer
from amaters.client.batches import AsyncBatch, commit_rows
from amaters.client.changes import computed, python_rows
from amaters.client.having import truth
from amaters.client.result import Result
from amaters.client.session import Session
from amaters.columns.batch import ColumnBatch, concatenate
from amaters.columns.schema import Table
from amaters.plan.explain_writes import insert_leakage
from amaters.plan.expressions import Insert, InsertFrom, OnConflict, excluded_id

CHANGED = ("AM-3060", "AM-5010")
ATTEMPTS_MAX = 32


async def insert(session: Session, statement: Insert | InsertFrom) -> Result:
    """Insert the rows; ``changed`` counts those inserted or updated.

    Leaks: primary keys, public columns, padded lengths; with ON CONFLICT which keys existed and
    which rows are replaced. Raises: InvalidError AM-20xx, AM-5011; ConflictError AM-5010, AM-3061.
    """
    learned: tuple[str, ...] = ()
    if isinstance(statement, InsertFrom):
        statement, learned = await _selected(session, statement)
    table, batch, conflict = statement.table, statement.batch, statement.conflict
    if conflict is None:
        count = await writer.insert(session, table, batch)
    elif not batch.length:
        count = 0
    elif conflict.replaces(table):
        count = await _replaced(session, table, batch)
    else:
        count = await _settled(session, table, batch, conflict)
    learned = tuple(dict.fromkeys((*learned, *insert_leakage(table, conflict)[0])))
    message = f"inserted {count:,} rows" if conflict is None else f"wrote {count:,} rows"
    return Result(message=message, learned=learned, stats=session.stats(), changed=count)


async def _selected(session: Session, statement: InsertFrom) -> tuple[Insert, tuple[str, ...]]:
    from amaters.client.reader import select

    found = await select(session, statement.source)
    batch = await asyncio.to_thread(batch_of, statement, found)
    return Insert(statement.table, batch, statement.conflict), found.learned


def batch_of(statement: InsertFrom, answer: Result) -> ColumnBatch:
    """The answer of its SELECT as rows to insert. Raises: AM-20xx."""
    names = statement.columns or tuple(column.name for column in statement.table.written_columns)
    data = dict(zip(names, answer.columns, strict=True))
    return ColumnBatch.from_columns(statement.table, data)


async def _replaced(session: Session, table: Table, batch: ColumnBatch) -> int:
    """Old rows go unread."""
    writer.refuse_repeated_keys(table, batch)
    work = AsyncBatch(session)
    work.upsert(table.name, batch)
    return await work.commit()


async def _settled(session: Session, table: Table, batch: ColumnBatch, conflict: OnConflict) -> int:
    key = table.primary_key
    if conflict.assignments:
        writer.refuse_repeated_keys(table, batch)
    else:
        batch = first_of_each_key(table, batch)
    for _ in range(ATTEMPTS_MAX):
        needed = None if conflict.assignments else {key.id}
        found = await lookup.find_rows(session, table, batch.columns[key.id], needed)
        rows, going = await asyncio.to_thread(decided, table, batch, found, conflict)
        if not rows.length:
            return 0
        try:
            await commit_rows(session, table, rows, going)
            return rows.length
        except errors.ConflictError as lost:
            if lost.code not in CHANGED:
                raise
    errors.fail("AM-3061", attempts=ATTEMPTS_MAX)


def first_of_each_key(table: Table, batch: ColumnBatch) -> ColumnBatch:
    """Of new rows with one key the first is inserted, and the others meet it."""
    first: dict[Any, int] = {}
    for row, value in enumerate(batch.columns[table.primary_key.id].values.tolist()):
        first.setdefault(value, row)
    return batch.take(np.array(list(first.values()), dtype=np.int64))


def decided(
    table: Table, batch: ColumnBatch, found: lookup.Found, conflict: OnConflict
) -> tuple[ColumnBatch, dict[Any, int]]:
    """The rows to be written, and versions of those that they replace, by key as stored."""
    keys = batch.columns[table.primary_key.id].values.tolist()
    is_new = np.array([key not in found.versions for key in keys], dtype=np.bool_)
    new = batch.take(is_new)
    if not conflict.assignments or is_new.all():
        return new, {}
    there = found.rows.columns[table.primary_key.id].values.tolist()
    row_of = {key: row for row, key in enumerate(there)}
    met = [row for row, key in enumerate(keys) if key in row_of]
    old = found.rows.take(np.array([row_of[keys[row]] for row in met], dtype=np.int64))
    given = batch.take(np.array(met, dtype=np.int64))
    both = [
        {**mine, **{excluded_id(column): value for column, value in theirs.items()}}
        for mine, theirs in zip(python_rows(table, old), python_rows(table, given), strict=True)
    ]
    where = conflict.where
    kept = [where is None or truth(where, row.__getitem__) is True for row in both]
    old = old.take(np.array(kept, dtype=np.bool_))
    both = [row for row, ok in zip(both, kept, strict=True) if ok]
    changed = ColumnBatch.replaced(table, old, computed(table, conflict.assignments, both))
    order = [column.id for column in table.columns]
    versions = {
        key: found.versions[key] for key in changed.columns[table.primary_key.id].values.tolist()
    }
    return concatenate([new.select(order), changed.select(order)]), versions
