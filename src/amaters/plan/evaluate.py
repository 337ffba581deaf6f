"""Predicates over plaintext columns: the engine's public filters, the client's tail and canaries.

Exact and three-valued: a predicate is TRUE, FALSE or NULL per row, and a row matches when TRUE.
Constants are compared as fractions with the column's storage values, whatever their scales.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from numbers import Integral
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import InvalidError, fail
from amaters.columns import blobs
from amaters.columns.batch import ColumnBatch, ColumnValues
from amaters.columns.monomials import expand, values_of
from amaters.columns.patterns import Pattern
from amaters.columns.schema import Column, PublicColumn, PublicTable, Table
from amaters.columns.types import TypeKind, as_moment
from amaters.plan.expressions import (
    COMPARISONS,
    And,
    Arithmetic,
    Between,
    ColumnRef,
    Compare,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Or,
    Predicate,
    Relation,
    Truth,
    Value,
)

Mask = NDArray[np.bool_]
AnyColumn = Column | PublicColumn

_EXPONENT_MAX = 60  # far beyond every column's domain, far below what exhausts memory


@dataclass(frozen=True, slots=True)
class _Truths:
    """Where a predicate is TRUE and where it is FALSE; elsewhere it is NULL."""

    true: Mask
    false: Mask


def matches(predicate: Predicate | None, batch: ColumnBatch, table: Table | PublicTable) -> Mask:
    """Which rows of ``batch`` make ``predicate`` TRUE; all of them when there is none.

    Raises: AM-2012 when a constant cannot be compared with its column.
    """
    if predicate is None:
        return np.ones(batch.length, dtype=np.bool_)
    return _evaluate(predicate, batch, table).true


def comparable(column: AnyColumn, op: str, value: Value) -> Fraction | str | None:
    """A constant in units of the column's storage values: text for TEXT and BLOB, else an exact
    fraction.

    None for NULL. Raises: AM-2012 when ``op`` cannot compare such a value with the column.
    """
    if value is None:
        return None
    kind = column.type.kind
    if kind is TypeKind.TEXT and isinstance(value, str):
        return value
    if kind is TypeKind.BLOB and isinstance(value, bytes):
        return value.decode(blobs.CODEC)
    if kind in (TypeKind.DATE, TypeKind.TIMESTAMP) and isinstance(value, str | datetime.date):
        return _moment(column, op, value)
    if kind is TypeKind.BOOLEAN and isinstance(value, bool):
        return Fraction(int(value))
    if column.type.is_numeric and not isinstance(value, bool):
        return _number(column, op, value)
    _incomparable(column, op, value)


def _moment(column: AnyColumn, op: str, value: str | datetime.date) -> Fraction:
    try:
        return as_moment(column.type, value)
    except InvalidError:
        _incomparable(column, op, value)


def _number(column: AnyColumn, op: str, value: object) -> Fraction:
    unit = 10**column.type.scale
    if isinstance(value, Integral):
        return Fraction(int(value) * unit)
    number = Decimal(repr(float(value))) if isinstance(value, float) else value
    if not isinstance(number, Decimal) or not number.is_finite():
        _incomparable(column, op, value)
    if number and abs(number.adjusted()) > _EXPONENT_MAX:
        extreme = Decimal(10) ** (_EXPONENT_MAX if number.adjusted() > 0 else -_EXPONENT_MAX)
        number = extreme.copy_sign(number)
    exact: Fraction = Fraction(number) * unit
    return exact


def _incomparable(column: AnyColumn, op: str, value: object) -> NoReturn:
    got = type(value).__name__
    fail("AM-2012", column=column.name, got=got, op=op, expected=column.type.sql_name)


def _evaluate(predicate: Predicate, batch: ColumnBatch, table: Table | PublicTable) -> _Truths:
    match predicate:
        case And() | Or():
            parts = [_evaluate(child, batch, table) for child in predicate.children]
            return _combine(parts, all_of=isinstance(predicate, And))
        case Not():
            inner = _evaluate(predicate.child, batch, table)
            return _Truths(inner.false, inner.true)
        case Truth():
            everywhere = np.ones(batch.length, dtype=np.bool_)
            return _Truths(
                everywhere & (predicate.value is True), everywhere & (predicate.value is False)
            )
    return _leaf(predicate, batch, table)


def _combine(parts: Sequence[_Truths], *, all_of: bool) -> _Truths:
    every, some = np.logical_and.reduce, np.logical_or.reduce
    true, false = [part.true for part in parts], [part.false for part in parts]
    if all_of:
        return _Truths(every(true), some(false))
    return _Truths(some(true), every(false))


def _leaf(predicate: Predicate, batch: ColumnBatch, table: Table | PublicTable) -> _Truths:
    match predicate:
        case Compare():
            column, data = _read(predicate.column_id, batch, table)
            return _compare(column, data, predicate.op, predicate.literal)
        case Between():
            column, data = _read(predicate.column_id, batch, table)
            bounds = [
                _compare(column, data, ">=", predicate.low),
                _compare(column, data, "<=", predicate.high),
            ]
            return _negated(_combine(bounds, all_of=True), predicate.negated)
        case In():
            column, data = _read(predicate.column_id, batch, table)
            return _negated(_member(column, data, predicate.literals), predicate.negated)
        case IsNull():
            _, data = _read(predicate.column_id, batch, table)
            return _negated(_Truths(~data.valid, data.valid), predicate.negated)
        case Relation():
            return _related(predicate, batch, table)
        case Like():
            column, data = _read(predicate.column_id, batch, table)
            return _negated(_like(column, data, predicate), predicate.negated)
    raise TypeError(f"not a predicate: {type(predicate).__name__}")


def _read(
    column_id: int, batch: ColumnBatch, table: Table | PublicTable
) -> tuple[AnyColumn, ColumnValues]:
    return table.column(column_id), batch.columns[column_id]


def _negated(truths: _Truths, negated: bool) -> _Truths:
    return _Truths(truths.false, truths.true) if negated else truths


def _compare(column: AnyColumn, data: ColumnValues, op: str, literal: Literal) -> _Truths:
    constant = comparable(column, op, literal.value)
    if constant is None:
        nowhere = np.zeros(len(data.valid), dtype=np.bool_)
        return _Truths(nowhere, nowhere)
    if isinstance(constant, str):
        # As an object, because NumPy's own texts lose the NULs at their end.
        text = np.array([constant], dtype=np.object_)
        hit = COMPARISONS[op](data.values, text).astype(np.bool_)
    else:
        hit = _compare_numbers(data.values, op, constant)
    return _Truths(data.valid & hit, data.valid & ~hit)


def _like(column: AnyColumn, data: ColumnValues, predicate: Like) -> _Truths:
    """Each different text is matched once."""
    text = predicate.pattern.value
    if column.type.kind is not TypeKind.TEXT or not isinstance(text, str):
        _incomparable(column, "LIKE", text)
    pattern = Pattern(text, predicate.escape)
    listed = data.values.tolist()
    known = {value: pattern.matches(value) for value in set(listed)}
    hit = np.fromiter((known[value] for value in listed), dtype=np.bool_, count=len(listed))
    return _Truths(data.valid & hit, data.valid & ~hit)


def _compare_numbers(values: NDArray[Any], op: str, constant: Fraction) -> Mask:
    """``values op constant``; NumPy compares integers beyond the dtype's range correctly."""
    if op in ("=", "<>"):
        equal: Mask = np.zeros(len(values), dtype=np.bool_)
        if constant.denominator == 1:
            equal = np.equal(values, int(constant))
        return equal if op == "=" else np.logical_not(equal)
    below = math.ceil(constant) - 1 if op in ("<", ">=") else math.floor(constant)
    at_most: Mask = np.less_equal(values, below)
    return at_most if op in ("<", "<=") else ~at_most


def _related(relation: Relation, batch: ColumnBatch, table: Table | PublicTable) -> _Truths:
    """Two expressions of numbers by the sign of their difference, exactly; or two columns."""
    left, right = relation.left, relation.right
    if isinstance(left, ColumnRef) and isinstance(right, ColumnRef):
        a, b = batch.columns[left.column_id], batch.columns[right.column_id]
        if not table.column(left.column_id).type.is_numeric:
            hit = COMPARISONS[relation.op](a.values, b.values).astype(np.bool_)
            valid = a.valid & b.valid
            return _Truths(valid & hit, valid & ~hit)
    polynomial = expand(Arithmetic("-", left, right), lambda c: table.column(c).type.scale)
    valid = np.full(batch.length, not polynomial.is_null)
    for column_id in polynomial.columns:
        valid = valid & batch.columns[column_id].valid
    found = values_of(polynomial, batch.columns, batch.length)
    hit = COMPARISONS[relation.op](found, 0).astype(np.bool_)
    return _Truths(valid & hit, valid & ~hit)


def _member(column: AnyColumn, data: ColumnValues, literals: Sequence[Literal]) -> _Truths:
    constants = [comparable(column, "=", literal.value) for literal in literals]
    known = {constant for constant in constants if constant is not None}
    if column.type.is_text:
        listed = (value in known for value in data.values.tolist())
        hit = np.fromiter(listed, dtype=np.bool_, count=len(data.valid))
    else:
        low, high = column.type.minimum, column.type.maximum
        whole = [int(c) for c in known if isinstance(c, Fraction) and c.denominator == 1]
        inside = [number for number in whole if low <= number <= high]
        hit = np.isin(data.values, np.array(inside, dtype=data.values.dtype))
    none_null = None not in constants
    return _Truths(data.valid & hit, data.valid & ~hit & none_null)
