"""UPDATE and DELETE: find the rows as a SELECT does, then replace or remove exactly those.

The rows that matched in one read version change together, in one commit that names their row
versions. If somebody changed one of them meanwhile, nothing is done and the statement looks again.
"""

from __future__ import annotations

import asyncio
import decimal
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from amaters.base import errors
from amaters.client.batches import commit_rows
from amaters.client.reader import Matching, matching_rows
from amaters.client.result import Result
from amaters.client.session import Session
from amaters.columns.batch import ColumnBatch, empty, to_python
from amaters.columns.schema import Column, Table
from amaters.columns.types import TypeKind
from amaters.plan.expressions import Arithmetic, ColumnRef, Delete, Literal, Scalar, Update

CHANGED = "AM-3060"
ATTEMPTS_MAX = 32
_EXACT = decimal.Context(prec=400)


async def update(session: Session, statement: Update) -> Result:
    """Replace the matching rows; all of them or none.

    Leaks: which rows change, and what finding and inserting them leak.
    Raises: InvalidError AM-20xx for a value the schema does not allow; AM-3061.
    """

    async def attempt() -> Result:
        found = await matching_rows(session, statement.table, statement.where)
        rows = await asyncio.to_thread(_updated, statement, found.rows)
        await _replace(session, statement.table, found, rows)
        return _result(session, "updated", found)

    return await _repeated(attempt)


async def delete(session: Session, statement: Delete) -> Result:
    """Remove the matching rows; all of them or none. Leaks, Raises: as ``update``."""

    async def attempt() -> Result:
        found = await matching_rows(session, statement.table, statement.where)
        await _replace(session, statement.table, found, empty(statement.table.columns))
        return _result(session, "deleted", found)

    return await _repeated(attempt)


async def _repeated(attempt: Callable[[], Awaitable[Result]]) -> Result:
    for _ in range(ATTEMPTS_MAX):
        try:
            return await attempt()
        except errors.ConflictError as lost:
            if lost.code != CHANGED:
                raise
    errors.fail("AM-3061", attempts=ATTEMPTS_MAX)


async def _replace(session: Session, table: Table, found: Matching, rows: ColumnBatch) -> None:
    if found.rows.length:
        keys = found.rows.columns[table.primary_key.id].values.tolist()
        going = dict(zip(keys, found.versions, strict=True))
        await commit_rows(session, table, rows, going)


def _result(session: Session, verb: str, found: Matching) -> Result:
    count = found.rows.length
    return Result(
        message=f"{verb} {count:,} rows",
        learned=(*found.learned, f"which {count:,} rows were {verb}"),
        stats=session.stats(),
        changed=count,
    )


def _updated(statement: Update, rows: ColumnBatch) -> ColumnBatch:
    """The rows with their new values, checked like inserted ones."""
    table = statement.table
    values: dict[int, list[Any]] = {}
    for column_id, scalar in statement.assignments:
        column = table.column(column_id)
        computed = _evaluate(table, scalar, rows)
        if not isinstance(scalar, Literal):
            computed = [_fitted(column, value) for value in computed]
        values[column_id] = computed
    named = {table.column(column_id).name: listed for column_id, listed in values.items()}
    return ColumnBatch.replaced(table, rows, named)


def _evaluate(table: Table, scalar: Scalar, rows: ColumnBatch) -> list[Any]:
    """One Python value per row; arithmetic is exact."""
    match scalar:
        case Literal(value=value):
            return [value] * rows.length
        case ColumnRef(column_id=column_id):
            return list(to_python(table.column(column_id).type, rows.columns[column_id]))
    assert isinstance(scalar, Arithmetic)
    left = _evaluate(table, scalar.left, rows)
    right = _evaluate(table, scalar.right, rows)
    return [_computed(scalar.op, a, b) for a, b in zip(left, right, strict=True)]


def _computed(op: str, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    if isinstance(left, int) and isinstance(right, int):
        return {"+": left + right, "-": left - right, "*": left * right}[op]
    a, b = Decimal(left), Decimal(right)
    match op:
        case "+":
            return _EXACT.add(a, b)
        case "-":
            return _EXACT.subtract(a, b)
    return _EXACT.multiply(a, b)


def _fitted(column: Column, value: Any) -> Any:
    """A computed number at the column's scale: rounded half away from zero, as DuckDB casts it."""
    if value is None or not column.type.is_numeric:
        return value
    scale = column.type.scale if column.type.kind is TypeKind.DECIMAL else 0
    unit = Decimal(1).scaleb(-scale)
    rounded = Decimal(value).quantize(unit, rounding=decimal.ROUND_HALF_UP, context=_EXACT)
    return rounded if scale else int(rounded)
