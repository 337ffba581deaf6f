"""Bound statements: what a question means once every name has been resolved against a schema.

Made by ``sql.binder`` and by the Python API, read by the planner, the plaintext evaluator and the
client. Columns are named by their id in the table; literals keep the Python value the user wrote
(an ``int``, a ``Decimal``, a ``date``, a ``str``, a ``bool`` or ``None``), comparison semantics
are exact.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amaters.columns.batch import ColumnBatch
    from amaters.columns.indexes import IndexDefinition
    from amaters.columns.schema import Table

Value = int | Decimal | str | bool | date | None

COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
AGGREGATES = ("count_star", "count", "sum", "avg")


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; ``public`` when the user wrote ``PUBLIC(...)`` and so lets the server see it."""

    value: Value
    public: bool = False


@dataclass(frozen=True, slots=True)
class ColumnRef:
    """A column of the statement's table, by id."""

    column_id: int


@dataclass(frozen=True, slots=True)
class Predicate:
    """Base of all predicates; three-valued logic, a row matches when the predicate is TRUE."""


@dataclass(frozen=True, slots=True)
class Compare(Predicate):
    """``column op literal`` with op in ``COMPARISONS``; with a NULL literal it is always NULL."""

    op: str
    column_id: int
    literal: Literal


@dataclass(frozen=True, slots=True)
class Between(Predicate):
    """``column [NOT] BETWEEN low AND high``, both inclusive; empty when low > high."""

    column_id: int
    low: Literal
    high: Literal
    negated: bool = False


@dataclass(frozen=True, slots=True)
class In(Predicate):
    """``column [NOT] IN (literals)``; a NULL among the literals never makes it TRUE."""

    column_id: int
    literals: tuple[Literal, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class IsNull(Predicate):
    """``column IS [NOT] NULL``; never NULL itself."""

    column_id: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Like(Predicate):
    """``column [NOT] LIKE pattern``, a text; ``escape``: one character or empty."""

    column_id: int
    pattern: Literal
    escape: str = ""
    negated: bool = False


@dataclass(frozen=True, slots=True)
class And(Predicate):
    """All of ``children`` (at least one)."""

    children: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Or(Predicate):
    """Any of ``children`` (at least one)."""

    children: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not(Predicate):
    """SQL's NOT: NULL stays NULL."""

    child: Predicate


@dataclass(frozen=True, slots=True)
class Truth(Predicate):
    """The constant TRUE, FALSE or NULL (None)."""

    value: bool | None


@dataclass(frozen=True, slots=True)
class Aggregate:
    """``count_star``, ``count``, ``sum`` or ``avg`` of (), (c,); sum and avg also of (c1, c2)."""

    function: str
    columns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputItem:
    """One column of the result and its name."""

    name: str
    expression: ColumnRef | Aggregate | Literal


@dataclass(frozen=True, slots=True)
class OrderItem:
    """Sort key: an index into the outputs, or a column that need not be an output.

    ``nulls_first`` is already resolved (DuckDB: NULLS LAST unless written otherwise).
    """

    key: int | ColumnRef
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    """One bound SELECT over one table. ``group_by`` holds column ids; empty with aggregates: one
    row.

    The last ``hidden`` items only serve ORDER BY and HAVING and are not part of the result. In
    ``having`` a column id is a group column's, or the ``having_id`` of an output.
    """

    table: Table
    where: Predicate | None
    items: tuple[OutputItem, ...]
    group_by: tuple[int, ...] = ()
    order_by: tuple[OrderItem, ...] = ()
    limit: int | None = None
    offset: int = 0
    distinct: bool = False
    hidden: int = 0
    having: Predicate | None = None

    @property
    def is_aggregate(self) -> bool:
        """True when the result has one row per group, not one per matching row."""
        return bool(self.group_by) or any(
            isinstance(item.expression, Aggregate) for item in self.items
        )


def having_id(index: int) -> int:
    """What stands for output ``index`` in a HAVING predicate; its own inverse."""
    return -1 - index


@dataclass(frozen=True, slots=True)
class Insert:
    """Rows to add, already validated against the table."""

    table: Table
    batch: ColumnBatch


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``left op right`` over numbers of one row, op in ``+ - *``; NULL if either is NULL."""

    op: str
    left: Scalar
    right: Scalar


Scalar = Literal | ColumnRef | Arithmetic


@dataclass(frozen=True, slots=True)
class Update:
    """New values, by column id, for the rows of a table where ``where`` is TRUE."""

    table: Table
    assignments: tuple[tuple[int, Scalar], ...]
    where: Predicate | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """The rows of a table where ``where`` is TRUE go."""

    table: Table
    where: Predicate | None = None


@dataclass(frozen=True, slots=True)
class CreateTable:
    """A table to create; ``table`` carries everything its declaration says."""

    table: Table
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True)
class DropTable:
    """A table to drop, by name."""

    name: str
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class CreateIndex:
    """An index to add to ``table``."""

    table: Table
    index: IndexDefinition
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True)
class DropIndex:
    """An index to drop, by name."""

    name: str
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class CopyFrom:
    """Rows to load from a file; ``options`` are (name, value) pairs such as ("delimiter", ";")."""

    table: Table
    path: str
    format: str = "csv"
    options: tuple[tuple[str, Any], ...] = ()


Explainable = Select | Update | Delete


@dataclass(frozen=True, slots=True)
class Explain:
    """EXPLAIN of a statement; ``format`` is text, json, pgjson or mermaid."""

    statement: Explainable
    analyze: bool = False
    format: str = "text"


Statement = (
    Select
    | Insert
    | Update
    | Delete
    | CreateTable
    | DropTable
    | CreateIndex
    | DropIndex
    | CopyFrom
    | Explain
)


def scalar_columns(scalar: Scalar) -> frozenset[int]:
    """The ids of every column a scalar reads."""
    if isinstance(scalar, Arithmetic):
        return scalar_columns(scalar.left) | scalar_columns(scalar.right)
    return frozenset({scalar.column_id}) if isinstance(scalar, ColumnRef) else frozenset()


def predicate_columns(predicate: Predicate | None) -> frozenset[int]:
    """The ids of every column a predicate reads."""
    if predicate is None or isinstance(predicate, Truth):
        return frozenset()
    if isinstance(predicate, (And, Or)):
        return frozenset().union(*(predicate_columns(child) for child in predicate.children))
    if isinstance(predicate, Not):
        return predicate_columns(predicate.child)
    if isinstance(predicate, (Compare, Between, In, IsNull, Like)):
        return frozenset({predicate.column_id})
    raise TypeError(f"not a predicate: {type(predicate).__name__}")
