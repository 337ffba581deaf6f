"""The expressions of the Python API: ``col("age") > 40``, ``sum("salary")``, ``&``, ``|``, ``~``.

Nothing here knows a schema: names are resolved when a query runs, and what the encryption cannot
answer is refused then, before anything is sent. Use ``&``, ``|`` and ``~``, not the words ``and``,
``or`` and ``not``, which Python does not let a library redefine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import NoReturn

from amaters.base import errors
from amaters.columns import scalars
from amaters.columns.scalars import Scalar

Value = int | Decimal | str | bytes | bool | date | None


@dataclass(frozen=True, slots=True, eq=False)
class Public:
    """A constant the engine may see: faster, and no secret."""

    value: Value


def public(value: Value) -> Public:
    """Mark a constant as one the engine may see, like ``PUBLIC(40)`` in SQL."""
    return Public(value)


class Condition:
    """What ``filter`` and ``having`` take; combine with ``&``, ``|``, ``~``."""

    __slots__ = ()

    def __and__(self, other: Condition | Expression) -> Condition:
        return Combined("and", (self, as_condition(other)))

    def __or__(self, other: Condition | Expression) -> Condition:
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
        return Comparison("=", other, True)
    if not isinstance(other, Condition):
        errors.fail(
            "AM-5007",
            what=f"{type(other).__name__} is not a condition",
            fix='put comparisons in parentheses: (am.col("age") > 40) & (am.col("dept") == "R&D")',
        )
    return other


class Expression:
    """A value of a row or of a group: a column, arithmetic, an aggregate. Comparisons make
    conditions.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return Comparison("=", self, as_operand(other))

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return Comparison("<>", self, as_operand(other))

    def __lt__(self, other: Operand) -> Condition:
        return Comparison("<", self, as_operand(other))

    def __le__(self, other: Operand) -> Condition:
        return Comparison("<=", self, as_operand(other))

    def __gt__(self, other: Operand) -> Condition:
        return Comparison(">", self, as_operand(other))

    def __ge__(self, other: Operand) -> Condition:
        return Comparison(">=", self, as_operand(other))

    def __and__(self, other: Condition | Expression) -> Condition:
        return as_condition(self) & other

    def __or__(self, other: Condition | Expression) -> Condition:
        return as_condition(self) | other

    def __invert__(self) -> Condition:
        return ~as_condition(self)

    def __add__(self, other: Operand) -> Arithmetic:
        return Arithmetic("+", self, as_operand(other))

    def __radd__(self, other: Operand) -> Arithmetic:
        return Arithmetic("+", as_operand(other), self)

    def __sub__(self, other: Operand) -> Arithmetic:
        return Arithmetic("-", self, as_operand(other))

    def __rsub__(self, other: Operand) -> Arithmetic:
        return Arithmetic("-", as_operand(other), self)

    def __mul__(self, other: Operand) -> Arithmetic:
        return Arithmetic("*", self, as_operand(other))

    def __rmul__(self, other: Operand) -> Arithmetic:
        return Arithmetic("*", as_operand(other), self)

    def __truediv__(self, other: Operand) -> Arithmetic:
        return Arithmetic("/", self, as_operand(other))

    def __rtruediv__(self, other: Operand) -> Arithmetic:
        return Arithmetic("/", as_operand(other), self)

    def __floordiv__(self, other: Operand) -> Arithmetic:
        return Arithmetic("//", self, as_operand(other))

    def __rfloordiv__(self, other: Operand) -> Arithmetic:
        return Arithmetic("//", as_operand(other), self)

    def __neg__(self) -> Arithmetic:
        return Arithmetic("-", 0, self)

    def between(self, low: Operand, high: Operand) -> Condition:
        """``low <= self <= high``."""
        return Range(self, as_operand(low), as_operand(high))

    def is_in(self, values: Iterable[Value | Public]) -> Condition:
        """It equals one of ``values``."""
        return Membership(self, tuple(values))

    def like(self, pattern: str | Public) -> Condition:
        """The text fits the pattern: ``%`` stands for any characters, ``_`` for one."""
        return Likeness(self, pattern)

    def is_null(self) -> Condition:
        """It is NULL."""
        return Nullness(self)

    def is_not_null(self) -> Condition:
        """It is a value."""
        return Negated(Nullness(self))

    def as_scalar(self) -> Scalar:
        """The same for ``generated=``, over names of columns. Raises: InvalidError AM-5007."""
        return as_scalar(self)

    def asc(self, *, nulls_first: bool = False) -> Ordering:
        """Sort key, smallest first."""
        return Ordering(self, False, nulls_first)

    def desc(self, *, nulls_first: bool = False) -> Ordering:
        """Sort key, largest first."""
        return Ordering(self, True, nulls_first)

    def alias(self, label: str) -> Labelled:
        """The same under a name of its own in the result."""
        return Labelled(self, label)

    __hash__ = object.__hash__


Operand = Expression | Value | Public


def as_operand(other: object) -> Operand:
    """``other`` as one side of a comparison or sum. Raises: InvalidError AM-5007."""
    if isinstance(other, Condition | Labelled | Ordering):
        errors.fail(
            "AM-5007",
            what=f"{type(other).__name__} is not a value",
            fix="compare and compute with columns, aggregates and constants",
        )
    return other  # type: ignore[return-value]


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
    """``left op right``; op as in SQL."""

    op: str
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True, eq=False)
class Membership(Condition):
    """``operand IN (values)``."""

    operand: Operand
    values: tuple[Value | Public, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Range(Condition):
    """``operand BETWEEN low AND high``, both inclusive."""

    operand: Operand
    low: Operand
    high: Operand


@dataclass(frozen=True, slots=True, eq=False)
class Likeness(Condition):
    """``operand LIKE pattern``."""

    operand: Operand
    pattern: Value | Public


@dataclass(frozen=True, slots=True, eq=False)
class Nullness(Condition):
    """``operand IS NULL``."""

    operand: Operand


@dataclass(frozen=True, slots=True, eq=False)
class Column(Expression):
    """A column by name."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Arithmetic(Expression):
    """``left op right`` with op in ``+ - * / //``."""

    op: str
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True, eq=False)
class Aggregation(Expression):
    """An aggregate function as SQL names it; without operand ``count(*)``. ``fraction``: of a
    quantile.
    """

    function: str
    operand: Operand | None = None
    fraction: Decimal | float | None = None
    condition: Condition | None = None
    is_distinct: bool = False

    def filter(self, condition: Condition | Expression) -> Aggregation:
        """Only over the rows of the group where ``condition`` is true as well."""
        made = as_condition(condition)
        return replace(self, condition=made if self.condition is None else self.condition & made)

    def distinct(self) -> Aggregation:
        """Over each different value of the column once."""
        return replace(self, is_distinct=True)


@dataclass(frozen=True, slots=True, eq=False)
class Choice(Expression):
    """CASE: the value of the first condition that is true, else ``default`` (NULL)."""

    branches: tuple[tuple[Condition, Operand], ...]
    default: Operand = None

    def when(self, condition: Condition | Expression, value: Operand) -> Choice:
        """``value`` where ``condition`` is true and no earlier one."""
        branch = (as_condition(condition), as_operand(value))
        return replace(self, branches=(*self.branches, branch))

    def otherwise(self, value: Operand) -> Choice:
        """``value`` where no condition is true."""
        return replace(self, default=as_operand(value))


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """An expression and the name of its column in the result."""

    expression: Expression
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Ordering:
    """A sort key of ``order_by``; NULLs come last unless ``nulls_first``."""

    key: Expression
    descending: bool = False
    nulls_first: bool = False


def as_scalar(node: Operand) -> Scalar:
    """An operand as what a generated column is computed from. Raises: InvalidError AM-5007."""
    match node:
        case Column(name=name):
            return scalars.ColumnName(name)
        case Arithmetic(op=op, left=left, right=right):
            return scalars.Arithmetic(op, as_scalar(left), as_scalar(right))
        case Expression() | Public():
            errors.fail(
                "AM-5007",
                what=f"{type(node).__name__} in a generated column",
                fix="compute it with + - * from columns and constants",
            )
    return scalars.Literal(node)


def col(name: str) -> Column:
    """The column called ``name``."""
    return Column(name)


def when(condition: Condition | Expression, value: Operand) -> Choice:
    """SQL's CASE: ``am.when(am.col("age") < 30, am.col("price")).otherwise(0)``."""
    return Choice(()).when(condition, value)


def sum(operand: str | Expression) -> Aggregation:  # noqa: A001
    """Exact sum over the rows that are not NULL; NULL when there are none."""
    return Aggregation("sum", named(operand))


def avg(operand: str | Expression) -> Aggregation:
    """The correctly rounded quotient of sum and count; NULL when there are no values."""
    return Aggregation("avg", named(operand))


def count(operand: str | Expression | None = None) -> Aggregation:
    """How many rows there are, or, with a column, how many of them are not NULL in it."""
    return Aggregation("count", None if operand is None else named(operand))


def min(operand: str | Expression) -> Aggregation:  # noqa: A001
    """The smallest value; NULL when there are none."""
    return Aggregation("min", named(operand))


def max(operand: str | Expression) -> Aggregation:  # noqa: A001
    """The largest value; NULL when there are none."""
    return Aggregation("max", named(operand))


def median(operand: str | Expression) -> Aggregation:
    """The middle value, or what lies between the two in the middle; NULL when there are none."""
    return Aggregation("median", named(operand))


def quantile(
    operand: str | Expression, fraction: Decimal | float, *, interpolate: bool = False
) -> Aggregation:
    """The value below which ``fraction`` (0 to 1) of the values lie: one of them, or what lies
    between two of them if ``interpolate``.
    """
    function = "quantile_cont" if interpolate else "quantile_disc"
    return Aggregation(function, named(operand), fraction)


def named(operand: str | Expression) -> Expression:
    """A column by its name, or the expression. Raises: InvalidError AM-5007."""
    if isinstance(operand, str):
        return Column(operand)
    if not isinstance(operand, Expression):
        errors.fail(
            "AM-5007",
            what=f"{type(operand).__name__} where a column is needed",
            fix='pass a name such as "age", or am.col("age")',
        )
    return operand
