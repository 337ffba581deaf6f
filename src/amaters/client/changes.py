"""UPDATE and DELETE: find the rows as a SELECT does, then replace or remove exactly those.

The rows that matched in one read version change together, in one commit that names their row
versions. If somebody changed one of them meanwhile, nothing is done and the statement looks again.
"""

from __future__ import annotations

import asyncio
import decimal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from amaters.base import errors
from amaters.client.batches import commit_rows
from amaters.client.having import evaluate
from amaters.client.reader import Matching, matching_rows
from amaters.client.result import Result
from amaters.client.session import Session
from amaters.columns.batch import ColumnBatch, concatenate, empty
from amaters.columns.schema import Column, Table
from amaters.columns.types import TypeKind
from amaters.plan.evaluate import matches
from amaters.plan.expressions import Delete, Literal, Predicate, Scalar, Update
from amaters.plan.fetching import hides

CHANGED = "AM-3060"
ATTEMPTS_MAX = 32
_EXACT = decimal.Context(prec=400)


async def update(session: Session, statement: Update) -> Result:
    """Replace the matching rows; all of them or none.

    Leaks: which rows change, and what finding and inserting them leak.
    Raises: InvalidError AM-20xx for a value the schema does not allow; AM-3061.
    """

    async def attempt() -> Result:
        found = await matching_rows(session, statement.table, rows_read(statement))
        rows, count = await asyncio.to_thread(rewritten, statement, found.rows)
        dropped = found.fakes if hides(statement) else {}
        await _replace(session, statement.table, found, rows, dropped)
        return _result(session, "updated", found, count, hidden=hides(statement))

    return await _repeated(attempt)


async def delete(session: Session, statement: Delete) -> Result:
    """Remove the matching rows; all of them or none. Leaks, Raises: as ``update``."""

    async def attempt() -> Result:
        found = await matching_rows(session, statement.table, statement.where)
        await _replace(session, statement.table, found, empty(statement.table.columns))
        return _result(session, "deleted", found, found.rows.length)

    return await _repeated(attempt)


async def _repeated(attempt: Callable[[], Awaitable[Result]]) -> Result:
    for _ in range(ATTEMPTS_MAX):
        try:
            return await attempt()
        except errors.ConflictError as lost:
            if lost.code != CHANGED:
                raise
    errors.fail("AM-3061", attempts=ATTEMPTS_MAX)


async def _replace(
    session: Session,
    table: Table,
    found: Matching,
    rows: ColumnBatch,
    dropped: Mapping[Any, int] | None = None,
) -> None:
    if found.rows.length:
        keys = found.rows.columns[table.primary_key.id].values.tolist()
        going = dict(zip(keys, found.versions, strict=True))
        await commit_rows(session, table, rows, going, dropped)


def _result(
    session: Session, verb: str, found: Matching, count: int, *, hidden: bool = False
) -> Result:
    written = found.rows.length
    shown = f"which {count:,} rows were {verb}"
    if hidden:
        shown = f"that all {written:,} rows were written again"
    return Result(
        message=f"{verb} {count:,} rows",
        learned=(*found.learned, shown),
        stats=session.stats(),
        changed=count,
    )


def rows_read(statement: Update) -> Predicate | None:
    """The condition on the rows that an UPDATE fetches and replaces: none where it hides which
    rows it changes.
    """
    return None if hides(statement) else statement.where


def rewritten(statement: Update, rows: ColumnBatch) -> tuple[ColumnBatch, int]:
    """The rows that are written for those of ``rows_read``, and how many of them changed.

    Where that is hidden they are all the rows, in the order they were: neither their number nor
    their order tells which are others now.
    """
    if not hides(statement):
        return updated(statement, rows), rows.length
    mask = matches(statement.where, rows, statement.table)
    changed = updated(statement, rows.take(mask))
    order = np.concatenate([np.flatnonzero(~mask), np.flatnonzero(mask)])
    ids = sorted(rows.columns)
    mixed = concatenate([rows.take(~mask).select(ids), changed.select(ids)])
    return mixed.take(np.argsort(order, kind="stable")), int(mask.sum())


def updated(statement: Update, rows: ColumnBatch) -> ColumnBatch:
    """The rows with their new values, checked like inserted ones."""
    table = statement.table
    known = python_rows(table, rows)
    return ColumnBatch.replaced(table, rows, computed(table, statement.assignments, known))


def python_rows(table: Table, rows: ColumnBatch) -> list[dict[int, Any]]:
    """Each row as Python values by column id."""
    columns = [column for column in table.columns if column.id in rows.columns]
    ids = [column.id for column in columns]
    return [dict(zip(ids, row, strict=True)) for row in rows.rows(columns)]


def computed(
    table: Table, assignments: Sequence[tuple[int, Scalar]], rows: Sequence[Mapping[int, Any]]
) -> dict[str, list[Any]]:
    """By column name the new value in each of ``rows``, Python values by column id. Exact."""
    found = {}
    for column_id, scalar in assignments:
        column = table.column(column_id)
        values = [evaluate(scalar, row.__getitem__) for row in rows]
        if not isinstance(scalar, Literal):
            values = [fitted(column, value) for value in values]
        found[column.name] = values
    return found


def fitted(column: Column, value: Any) -> Any:
    """A computed number at the column's scale: rounded half away from zero, as DuckDB casts it."""
    if value is None or not column.type.is_numeric:
        return value
    scale = column.type.scale if column.type.kind is TypeKind.DECIMAL else 0
    unit = Decimal(1).scaleb(-scale)
    rounded = Decimal(value).quantize(unit, rounding=decimal.ROUND_HALF_UP, context=_EXACT)
    return rounded if scale else int(rounded)
