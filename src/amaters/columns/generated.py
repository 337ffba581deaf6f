"""Generated columns: what a client computes from a row's other columns whenever it writes the row.

The engine sees an ordinary column; the expression is in the sealed part of the schema. Values are
exact: a declaration that would have to round is refused, a value outside the bounds as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import Any, NoReturn

import numpy as np

from amaters.base.errors import AmatersError, fail
from amaters.columns.convert import ColumnValues, place, storage_dtype
from amaters.columns.monomials import Polynomial, expand, values_of
from amaters.columns.scalars import Arithmetic, ColumnName, ColumnRef, Literal, Scalar
from amaters.columns.schema import Column, Table
from amaters.columns.types import TypeKind

_INPUTS = "compute it with + - * from numbers, or as the difference of two dates"


def with_generated(columns: Sequence[Column], target: Column, expression: Scalar) -> Column:
    """``target``, computed by ``expression`` over names of ``columns``; its bounds follow from
    theirs where none were declared (they are the type's then), and so does whether it holds NULL.

    Raises: AM-2210 for what cannot be computed, AM-2001 for an unknown name.
    """
    if not target.type.is_numeric or target.primary_key:
        what = "the primary key" if target.primary_key else f"a {target.type.sql_name}"
        _refuse(target, f"it is {what}", "generate columns of integers or decimals")
    by_id = {column.id: column for column in columns}
    scalar = _resolved(target, expression, {column.name.lower(): column for column in columns})
    try:
        polynomial = expand(scalar, lambda column: by_id[column].type.scale)
    except AmatersError as error:
        _refuse(target, str(error.fields.get("what", "it is more than + - and *")), _INPUTS)
    inputs = [by_id[column] for column in sorted(polynomial.columns)]
    if polynomial.is_null or not inputs:
        _refuse(target, "its expression is a constant", "leave the column out")
    for column in inputs:
        if column.encrypted and not target.encrypted:
            _refuse(target, f"it is public and reads {column.name}, which is encrypted",
                    "encrypt it as well: its values would tell those")  # fmt: skip
        if column.nullable and not target.nullable:
            _refuse(target, f"it is NOT NULL and reads {column.name}, which is nullable",
                    "leave NOT NULL out, or declare the other column NOT NULL")  # fmt: skip
    if polynomial.scale > target.type.scale:
        places = f"{polynomial.scale} decimal places"
        _refuse(target, f"its values have {places}", f"declare a DECIMAL with {places}")
    low, high = _interval(scalar, by_id)
    unit = 10**target.type.scale
    nullable = any(column.nullable for column in inputs)
    made = replace(target, generated=scalar, nullable=nullable)
    return _bounded(made, low * unit, high * unit)


def _bounded(target: Column, low: Fraction, high: Fraction) -> Column:
    """MIN and MAX from the inputs' bounds, where the type's stood and these are narrower."""
    if not target.encrypted or target.categories:
        return target
    type_ = target.type
    if (target.minimum, target.maximum) != (type_.minimum, type_.maximum):
        return target
    return replace(
        target, minimum=max(int(low), type_.minimum), maximum=min(int(high), type_.maximum)
    )


def _resolved(target: Column, scalar: Scalar, by_name: Mapping[str, Column]) -> Scalar:
    """``scalar`` with ids for names."""
    days = _days_between(scalar, by_name)
    if days is not None:
        return days
    match scalar:
        case ColumnName(name=name):
            column = by_name.get(name.lower())
            if column is None:
                _refuse(target, f"there is no column {name}", "declare it in the same table")
            if not column.type.is_numeric:
                _refuse(target, f"{column.name} is a {column.type.sql_name}", _INPUTS)
            if column.id == target.id or column.generated is not None:
                _refuse(target, f"it reads {column.name}, which is generated", _INPUTS)
            return ColumnRef(column.id)
        case Arithmetic(op=op, left=left, right=right):
            return Arithmetic(
                op, _resolved(target, left, by_name), _resolved(target, right, by_name)
            )
    return scalar


def _days_between(scalar: Scalar, by_name: Mapping[str, Column]) -> Scalar | None:
    """The difference of two dates, a number of days; None for anything else."""
    if not isinstance(scalar, Arithmetic) or scalar.op != "-":
        return None
    ends = []
    for end in (scalar.left, scalar.right):
        column = by_name.get(end.name.lower()) if isinstance(end, ColumnName) else None
        if column is None or column.type.kind is not TypeKind.DATE:
            return None
        ends.append(ColumnRef(column.id))
    return Arithmetic("-", ends[0], ends[1])


def _refuse(target: Column, what: str, fix: str) -> NoReturn:
    fail("AM-2210", column=target.name, what=what, fix=fix)


def _interval(scalar: Scalar, by_id: Mapping[int, Column]) -> tuple[Fraction, Fraction]:
    """Lowest and highest value, as the inputs' bounds tell."""
    match scalar:
        case Literal(value=int() | Decimal() as value):
            return Fraction(value), Fraction(value)
        case ColumnRef(column_id=column_id):
            column = by_id[column_id]
            low, high = column.bounds
            unit = 10**column.type.scale
            return Fraction(low, unit), Fraction(high, unit)
        case Arithmetic(op=op, left=left, right=right):
            a, b = _interval(left, by_id), _interval(right, by_id)
            if op == "*":
                corners = [x * y for x, y in product(a, b)]
                return min(corners), max(corners)
            if op == "-":
                b = (-b[1], -b[0])
            return a[0] + b[0], a[1] + b[1]
    fail("AM-1000", what="an expression that was not checked")


def generated_values(
    table: Table, column: Column, found: Mapping[int, ColumnValues], rows: int
) -> ColumnValues:
    """The column's storage values, from those of its inputs; NULL where one of them is.

    Raises: AM-2003 for a value outside the type, which the bounds' check would not see.
    """
    polynomial = polynomial_of(table, column).scaled(column.type.scale)
    valid = np.ones(rows, dtype=np.bool_)
    for source in polynomial.columns:
        valid = valid & found[source].valid
    exact: Any = values_of(polynomial, found, rows)
    outside = valid & ((exact < column.type.minimum) | (exact > column.type.maximum)).astype(bool)
    if outside.any():
        where = place(f"{table.name}.{column.name}", int(np.argmax(outside)))
        fail("AM-2003", where=where, expected=column.type.sql_name)
    return ColumnValues(np.where(valid, exact, 0).astype(storage_dtype(column.type)), valid)


def polynomial_of(table: Table, column: Column) -> Polynomial:
    """What a generated column is."""
    assert column.generated is not None
    return expand(column.generated, lambda source: table.column(source).type.scale)


def readers(table: Table, column_id: int) -> list[Column]:
    """The generated columns that are computed from a column."""
    return [
        column
        for column in table.columns
        if column.generated is not None and column_id in polynomial_of(table, column).columns
    ]
