"""The type of a scalar before any row is read: DuckDB's, except that integers never overflow.

Arithmetic of integers has the narrowest of INTEGER, BIGINT and HUGEINT that its operands' declared
bounds prove sufficient.
"""

from __future__ import annotations

import datetime
import decimal
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Literal as OneOf

from amaters.columns.moments import at_midnight
from amaters.columns.schema import Column, Table
from amaters.columns.types import SqlType, TypeKind
from amaters.plan.expressions import (
    Aggregate,
    Arithmetic,
    Case,
    Coalesce,
    ColumnRef,
    Literal,
    Scalar,
    Value,
    excluded_id,
)

PRECISION_MAX = 38
_EXACT = decimal.Context(prec=400)
_WIDTHS = (("INTEGER", 31), ("BIGINT", 63))
_COUNT_MAX = 1 << 62  # no table has more rows
_SUM_MAX = (1 << 127) - 1


@dataclass(frozen=True, slots=True)
class ScalarType:
    """``name``: DuckDB's. ``low``, ``high``: what integers are known to lie in; ``scale`` and
    ``precision``: of decimals.
    """

    family: OneOf["int", "decimal", "double", "null", "other"]
    name: str
    low: int = 0
    high: int = 0
    precision: int = 0
    scale: int = 0

    @property
    def is_numeric(self) -> bool:
        """Whether arithmetic means something for it."""
        return self.family != "other"

    def fitted(self, value: Value | float) -> Value | float:
        """A value of a narrower numeric type as one of this: CASE makes its branches alike."""
        if value is None or isinstance(value, bool):
            return value
        if self.name == "TIMESTAMP" and isinstance(value, datetime.date):
            return at_midnight(value)
        if self.family == "int" and isinstance(value, Decimal):
            return int(value)  # equal expressions share a value: 1 and 1.0 are equal
        if self.family == "double" and isinstance(value, int | Decimal):
            return float(value)
        if self.family == "decimal" and isinstance(value, int | Decimal):
            return Decimal(value).quantize(Decimal(1).scaleb(-self.scale), context=_EXACT)
        return value


DOUBLE = ScalarType("double", "DOUBLE")


def type_name(type_: SqlType) -> str:
    """DuckDB's name of a column type."""
    return "VARCHAR" if type_.kind is TypeKind.TEXT else type_.sql_name


def type_of(scalar: Scalar, table: Table) -> ScalarType:
    """The type of a scalar over columns of ``table``."""
    match scalar:
        case Literal(value=value):
            return _literal(value)
        case ColumnRef(column_id=column_id):
            # Of a row that is being inserted the columns have ids of their own.
            return _column(table.column(column_id if column_id >= 0 else excluded_id(column_id)))
        case Arithmetic(op=op, left=left, right=right):
            return _arithmetic(op, type_of(left, table), type_of(right, table))
        case Case(branches=branches, otherwise=otherwise):
            values = [*(value for _, value in branches), otherwise]
            return _common([type_of(value, table) for value in values])
        case Coalesce(values=several):
            return _common([type_of(value, table) for value in several])
        case Aggregate():
            return _aggregate(scalar, table)
    raise TypeError(f"not a scalar: {type(scalar).__name__}")


def _integer(low: int, high: int, name: str | None = None) -> ScalarType:
    fits = (n for n, bits in _WIDTHS if -(1 << bits) <= low and high < 1 << bits)
    return ScalarType("int", name or next(fits, "HUGEINT"), low, high)


def _decimal(precision: int, scale: int) -> ScalarType:
    precision = min(max(precision, scale, 1), PRECISION_MAX)
    return ScalarType("decimal", f"DECIMAL({precision},{scale})", precision=precision, scale=scale)


def _literal(value: Value) -> ScalarType:  # noqa: PLR0911 - one per kind
    match value:
        case None:
            return ScalarType("null", "NULL")
        case bool():
            return ScalarType("other", "BOOLEAN")
        case int():
            return _integer(value, value)
        case Decimal():
            _, digits, exponent = value.as_tuple()
            scale = max(-int(exponent), 0)
            return _decimal(max(len(digits), scale), scale)
        case datetime.datetime():
            return ScalarType("other", "TIMESTAMP")
        case bytes():
            return ScalarType("other", "BLOB")
        case datetime.date():
            return ScalarType("other", "DATE")
    return ScalarType("other", "VARCHAR")


def _column(column: Column) -> ScalarType:
    name = type_name(column.type)
    if column.type.kind is TypeKind.DECIMAL:
        return _decimal(column.type.precision, column.type.scale)
    if column.type.kind is TypeKind.INT:
        return _integer(*column.bounds, name)
    return ScalarType("other", name)


def _aggregate(aggregate: Aggregate, table: Table) -> ScalarType:
    if aggregate.argument is None or aggregate.function == "count":
        return _integer(0, _COUNT_MAX, "BIGINT")
    if aggregate.function == "avg":
        return DOUBLE
    argument = type_of(aggregate.argument, table)
    if aggregate.function in ("median", "quantile_cont"):
        return _between(argument)
    if aggregate.function != "sum":
        return argument
    if argument.family == "decimal":
        return _decimal(PRECISION_MAX, argument.scale)
    return _integer(-_SUM_MAX, _SUM_MAX, "HUGEINT")


def _between(type_: ScalarType) -> ScalarType:
    """What lies between two values of a type."""
    if type_.family == "int":
        return DOUBLE
    return ScalarType("other", "TIMESTAMP") if type_.name == "DATE" else type_


def _arithmetic(op: str, left: ScalarType, right: ScalarType) -> ScalarType:
    families = {left.family, right.family}
    integers = families <= {"int", "null"}
    if op == "/" or "double" in families or (op == "//" and not integers):
        return DOUBLE
    if families == {"null"}:
        return left
    if "null" in families:
        return right if left.family == "null" else left
    if integers:
        return _integer(*_interval(op, left, right))
    a, b = _as_decimal(left), _as_decimal(right)
    if op == "*":
        return _decimal(a.precision + b.precision, a.scale + b.scale)
    scale = max(a.scale, b.scale)
    whole = max(a.precision - a.scale, b.precision - b.scale)
    return _decimal(whole + scale + (op != "%"), scale)


def _interval(op: str, left: ScalarType, right: ScalarType) -> tuple[int, int]:
    match op:
        case "+":
            return left.low + right.low, left.high + right.high
        case "-":
            return left.low - right.high, left.high - right.low
        case "//" | "%":
            most = max(abs(left.low), abs(left.high))
            return -most, most
    corners = [a * b for a, b in product((left.low, left.high), (right.low, right.high))]
    return min(corners), max(corners)


def _as_decimal(type_: ScalarType) -> ScalarType:
    if type_.family == "decimal":
        return type_
    return _decimal(len(str(max(abs(type_.low), abs(type_.high)))), 0)


def _common(types: list[ScalarType]) -> ScalarType:
    """What the branches of a CASE become."""
    known = [t for t in types if t.family != "null"]
    if not known:
        return types[0]
    families = {t.family for t in known}
    if "double" in families:
        return DOUBLE
    if "decimal" in families and "other" not in families:
        alike = [_as_decimal(t) for t in known]
        scale = max(t.scale for t in alike)
        return _decimal(max(t.precision - t.scale for t in alike) + scale, scale)
    if families == {"int"}:
        return _integer(min(t.low for t in known), max(t.high for t in known))
    if {t.name for t in known} == {"DATE", "TIMESTAMP"}:
        return ScalarType("other", "TIMESTAMP")
    return known[0]
