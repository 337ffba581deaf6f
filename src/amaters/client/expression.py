"""The expressions of the Python API: ``col("age") > 40``, ``sum("salary")``, ``&``, ``|``, ``~``.

Nothing here knows a schema: names are resolved when a query runs. Use ``&``, ``|`` and ``~``, not
the words ``and``, ``or`` and ``not``, which Python does not let a library redefine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NoReturn

from amaters.base import errors

Value = int | Decimal | str | bool | date | None


@dataclass(frozen=True, slots=True, eq=False)
class Public:
    """A constant the engine may see: faster, and no secret."""

    value: Value


def public(value: Value) -> Public:
    """Mark a constant as one the engine may see, like ``PUBLIC(40)`` in SQL."""
    return Public(value)


class Condition:
    """What ``filter`` takes; combine with ``&``, ``|``, ``~``."""

    def __and__(self, other: Condition) -> Condition:
        return Combined("and", (self, as_condition(other)))

    def __or__(self, other: Condition) -> Condition:
        return Combined("or", (self, as_condition(other)))

    def __invert__(self) -> Condition:
        return Negated(self)

    def __bool__(self) -> NoReturn:  # noqa: PLE0304 - it always raises
        errors.fail(
            "AM-5007",
            what="a condition on a column has no truth value of its own",
            fix="combine conditions with & | ~ in parentheses, not with and, or, not or a < b < c",
        )


def as_condition(other: object) -> Condition:
    """``other`` as a condition; a BOOLEAN column alone means that it is true."""
    if isinstance(other, Column):
        return Comparison("=", other.name, True)
    if not isinstance(other, Condition):
        errors.fail(
            "AM-5007",
            what=f"{type(other).__name__} is not a condition",
            fix='put comparisons in parentheses: (am.col("age") > 40) & (am.col("dept") == "R&D")',
        )
    return other


@dataclass(frozen=True, slots=True, eq=False)
class Combined(Condition):
    """All (``and``) or any (``or``) of two conditions."""

    word: str
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Negated(Condition):
    """SQL's NOT."""

    part: Condition


@dataclass(frozen=True, slots=True, eq=False)
class Comparison(Condition):
    """``name op value``; op as in SQL."""

    op: str
    name: str
    value: Value | Public


@dataclass(frozen=True, slots=True, eq=False)
class Membership(Condition):
    """``name IN (values)``."""

    name: str
    values: tuple[Value | Public, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Range(Condition):
    """``name BETWEEN low AND high``, both inclusive."""

    name: str
    low: Value | Public
    high: Value | Public


@dataclass(frozen=True, slots=True, eq=False)
class Nullness(Condition):
    """``name IS NULL``."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Likeness(Condition):
    """``name LIKE pattern``."""

    name: str
    pattern: Value | Public


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """The product of two columns, for ``sum`` and ``avg``."""

    left: str
    right: str


@dataclass(frozen=True, slots=True, eq=False)
class Ordering:
    """A sort key of ``order_by``; NULLs come last unless ``nulls_first``."""

    name: str
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column by name. Comparisons make conditions."""

    name: str
    label: str | None = None

    def __eq__(self, value: object) -> Condition:  # type: ignore[override]
        return Comparison("=", self.name, _value(value))

    def __ne__(self, value: object) -> Condition:  # type: ignore[override]
        return Comparison("<>", self.name, _value(value))

    def __lt__(self, value: object) -> Condition:
        return Comparison("<", self.name, _value(value))

    def __le__(self, value: object) -> Condition:
        return Comparison("<=", self.name, _value(value))

    def __gt__(self, value: object) -> Condition:
        return Comparison(">", self.name, _value(value))

    def __ge__(self, value: object) -> Condition:
        return Comparison(">=", self.name, _value(value))

    def __and__(self, other: Condition) -> Condition:
        return as_condition(self) & other

    def __or__(self, other: Condition) -> Condition:
        return as_condition(self) | other

    def __invert__(self) -> Condition:
        return ~as_condition(self)

    def __mul__(self, other: Column) -> Product:
        if not isinstance(other, Column):
            errors.fail(
                "AM-5007",
                what="a column can be multiplied by another column only",
                fix='am.sum(am.col("price") * am.col("discount")); scale the answer yourself',
            )
        return Product(self.name, other.name)

    def between(self, low: Value | Public, high: Value | Public) -> Condition:
        """``low <= column <= high``."""
        return Range(self.name, _value(low), _value(high))

    def is_in(self, values: Iterable[Value | Public]) -> Condition:
        """The column equals one of ``values``."""
        return Membership(self.name, tuple(_value(value) for value in values))

    def like(self, pattern: str | Public) -> Condition:
        """The text fits the pattern: ``%`` stands for any characters, ``_`` for one."""
        return Likeness(self.name, pattern)

    def is_null(self) -> Condition:
        """The column holds NULL."""
        return Nullness(self.name)

    def is_not_null(self) -> Condition:
        """The column holds a value."""
        return Negated(Nullness(self.name))

    def asc(self, *, nulls_first: bool = False) -> Ordering:
        """Sort key, smallest first."""
        return Ordering(self.name, False, nulls_first)

    def desc(self, *, nulls_first: bool = False) -> Ordering:
        """Sort key, largest first."""
        return Ordering(self.name, True, nulls_first)

    def alias(self, label: str) -> Column:
        """The same column under another name in the result."""
        return Column(self.name, label)

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, eq=False)
class Aggregation:
    """An aggregate for ``agg``; ``function`` is count_star, count, sum or avg."""

    function: str
    columns: tuple[str, ...]
    label: str | None = None

    def alias(self, label: str) -> Aggregation:
        """The same aggregate under another name in the result."""
        return Aggregation(self.function, self.columns, label)


def col(name: str) -> Column:
    """The column called ``name``."""
    return Column(name)


def sum(column: str | Column | Product) -> Aggregation:  # noqa: A001
    """Exact sum over the rows that are not NULL; NULL when there are none."""
    return Aggregation("sum", _operand(column))


def avg(column: str | Column | Product) -> Aggregation:
    """The correctly rounded quotient of sum and count; NULL when there are no values."""
    return Aggregation("avg", _operand(column))


def count(column: str | Column | None = None) -> Aggregation:
    """How many rows there are, or, with a column, how many of them are not NULL in it."""
    if column is None:
        return Aggregation("count_star", ())
    return Aggregation("count", _operand(column))


def _operand(column: str | Column | Product) -> tuple[str, ...]:
    if isinstance(column, Product):
        return (column.left, column.right)
    return (column.name if isinstance(column, Column) else column,)


def _value(value: object) -> Value | Public:
    if isinstance(value, Column):
        errors.fail(
            "AM-5007",
            what="two columns cannot be compared with each other",
            fix="compare a column with a constant",
        )
    return value  # type: ignore[return-value]
