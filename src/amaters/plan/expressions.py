"""Bound statements: what a question means once every name has been resolved against a schema.

Made by ``sql.binder`` and by the Python API, read by the planner, the plaintext evaluator and the
client. Columns are named by their id in the table; literals keep the Python value the user wrote
(an ``int``, a ``Decimal``, a ``date``, a ``datetime``, a ``str``, ``bytes``, a ``bool`` or
``None``), comparison semantics are exact.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from typing import Literal as Literals

from amaters.columns.scalars import Arithmetic as Arithmetic
from amaters.columns.scalars import ColumnRef as ColumnRef
from amaters.columns.scalars import Literal as Literal
from amaters.columns.scalars import Scalar as Scalar
from amaters.columns.scalars import Value as Value
from amaters.plan.dimensions import DIMENSION_STEP as DIMENSION_STEP
from amaters.plan.dimensions import DatePart as DatePart
from amaters.plan.dimensions import Dimension as Dimension
from amaters.plan.dimensions import Join as Join

if TYPE_CHECKING:
    from amaters.columns.altering import Action
    from amaters.columns.batch import ColumnBatch
    from amaters.columns.indexes import IndexDefinition
    from amaters.columns.schema import Table

COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
AGGREGATES = ("count_star", "count", "sum", "avg")
ORDER_AGGREGATES = ("min", "max", "median", "quantile_disc", "quantile_cont")


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
    """``column [NOT] IN (literals)``; a NULL among the literals never makes it TRUE.

    ``is_padded``: only how many literals there are may show, not that all of them are NULL.
    """

    column_id: int
    literals: tuple[Literal, ...]
    negated: bool = False
    is_padded: bool = False


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
class Relation(Predicate):
    """``left op right`` over scalars of one row or group, op in ``COMPARISONS``."""

    op: str
    left: Scalar
    right: Scalar


@dataclass(frozen=True, slots=True)
class Case(Scalar):
    """The value of the first branch whose condition is TRUE, else ``otherwise``."""

    branches: tuple[tuple[Predicate, Scalar], ...]
    otherwise: Scalar


@dataclass(frozen=True, slots=True)
class Coalesce(Scalar):
    """The first of ``values`` (at least one) that is not NULL."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Aggregate(Scalar):
    """``function`` (of ``AGGREGATES`` or ``ORDER_AGGREGATES``) over a group's rows where ``where``.

    ``argument``: a scalar over columns of the row, None for ``count_star``; rows where it is NULL
    do not count. ``distinct``: each value once; the argument is a column then. Quantiles have a
    ``fraction`` in [0, 1], counted from the largest value on if ``descending``.
    """

    function: str
    argument: Scalar | None = None
    where: Predicate | None = None
    distinct: bool = False
    fraction: Decimal | float = Decimal("0.5")
    descending: bool = False


@dataclass(frozen=True, slots=True)
class OutputItem:
    """One column of the result and its name: a scalar over columns and aggregates."""

    name: str
    expression: Scalar


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
    ``join``: ``table`` has the columns of several tables, those of the fact under their own ids. In
    ``having`` a column id is a group column's, or the ``having_id`` of an output. ``fetch``: see
    ``plan.fetching``.
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
    join: Join | None = None
    fetch: str = "exact"

    @property
    def final(self) -> Select:
        """Itself; see ``Staged``."""
        return self

    @property
    def is_aggregate(self) -> bool:
        """True when the result has one row per group, not one per matching row."""
        return bool(self.group_by) or bool(self.aggregates)

    @property
    def aggregates(self) -> tuple[Aggregate, ...]:
        """The aggregates of outputs and HAVING, each once."""
        found = [a for item in self.items for a in aggregates_of(item.expression)]
        found += [a for scalar in _operands(self.having) for a in aggregates_of(scalar)]
        return tuple(dict.fromkeys(found))

    @property
    def fine_groups(self) -> tuple[int, ...]:
        """What totals are made for: ``group_by``, and the columns of DISTINCT aggregates."""
        found = [aggregate for aggregate in self.aggregates if aggregate.distinct]
        columns = [a.argument.column_id for a in found if isinstance(a.argument, ColumnRef)]
        return tuple(dict.fromkeys((*self.group_by, *columns)))


@dataclass(frozen=True, slots=True)
class Staged:
    """A SELECT that needs the answer of ``first``, a subquery called ``name``.

    ``resume`` takes the answer's columns and gives the rest; None stands for any answer, to see
    whether the rest can be answered at all. ``is_scalar``: the answer is one value.
    """

    first: Select | Staged
    name: str
    is_scalar: bool
    resume: Callable[[Sequence[Sequence[Any]] | None], Select | Staged] = field(compare=False)

    @property
    def final(self) -> Select:
        """The last SELECT, bound to any answers of those before it."""
        following = self.resume(None)
        return following.final if isinstance(following, Staged) else following

    @property
    def table(self) -> Table:
        """The table of the last SELECT."""
        return self.final.table


def having_id(index: int) -> int:
    """What stands for output ``index`` in a HAVING predicate; its own inverse."""
    return -1 - index


@dataclass(frozen=True, slots=True)
class OnConflict:
    """What becomes of a new row whose primary key exists: the old one gets ``assignments`` where
    ``where`` is TRUE; without any the new row is left out. ``excluded_id`` names the new row's
    columns.
    """

    assignments: tuple[tuple[int, Scalar], ...] = ()
    where: Predicate | None = None

    def replaces(self, table: Table) -> bool:
        """Whether nothing of the old row is left, so that nobody has to read it."""
        wanted = {
            column.id: ColumnRef(excluded_id(column.id))
            for column in table.columns
            if not column.primary_key
        }
        return bool(wanted) and self.where is None and dict(self.assignments) == wanted


def excluded_id(column_id: int) -> int:
    """What stands for a column of the row that is being inserted; its own inverse."""
    return -1 - column_id


@dataclass(frozen=True, slots=True)
class Insert:
    """Rows to add, already validated against the table."""

    table: Table
    batch: ColumnBatch
    conflict: OnConflict | None = None


@dataclass(frozen=True, slots=True)
class InsertFrom:
    """Rows to add that a SELECT finds; ``columns``: where they go, None for all in order."""

    table: Table
    source: Select
    columns: tuple[str, ...] | None = None
    conflict: OnConflict | None = None


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
class AlterTable:
    """Changes of a table, all at once; without any, what was begun goes on."""

    name: str
    actions: tuple[Action, ...]
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class Vacuum:
    """Tables to compact, or to erase deleted rows of; none named: all."""

    names: tuple[str, ...] = ()
    erase: bool = False
    backups: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True)
class Transact:
    """BEGIN, COMMIT or ROLLBACK."""

    action: Literals["begin", "commit", "rollback"]


Explainable = (
    Select
    | Staged
    | Insert
    | InsertFrom
    | Update
    | Delete
    | CreateTable
    | DropTable
    | AlterTable
    | Vacuum
    | CreateIndex
    | DropIndex
    | CopyFrom
    | Transact
)


@dataclass(frozen=True, slots=True)
class Explain:
    """EXPLAIN of a statement; ``format`` is text, json, pgjson or mermaid."""

    statement: Explainable
    analyze: bool = False
    format: str = "text"


Statement = Explainable | Explain


def scalar_parts(scalar: Scalar) -> tuple[Scalar, ...]:
    """The operands of a scalar; an aggregate has none, its argument is another row's."""
    if isinstance(scalar, Arithmetic):
        return scalar.left, scalar.right
    if isinstance(scalar, Case):
        return *(value for _, value in scalar.branches), scalar.otherwise
    return scalar.values if isinstance(scalar, Coalesce) else ()


def aggregates_of(scalar: Scalar) -> tuple[Aggregate, ...]:
    """The aggregates in a scalar, left to right."""
    if isinstance(scalar, Aggregate):
        return (scalar,)
    parts = list(scalar_parts(scalar))
    if isinstance(scalar, Case):
        parts[:0] = [part for condition, _ in scalar.branches for part in _operands(condition)]
    return tuple(found for part in parts for found in aggregates_of(part))


def _operands(predicate: Predicate | None) -> tuple[Scalar, ...]:
    """The scalars that a predicate compares."""
    if isinstance(predicate, Relation):
        return predicate.left, predicate.right
    if isinstance(predicate, Not):
        return _operands(predicate.child)
    if isinstance(predicate, (And, Or)):
        return tuple(part for child in predicate.children for part in _operands(child))
    return ()


def bare_columns(scalar: Scalar) -> frozenset[int]:
    """The columns that a scalar reads outside its aggregates: those of the row or group itself."""
    if isinstance(scalar, Aggregate):
        return frozenset()
    found = frozenset({scalar.column_id}) if isinstance(scalar, ColumnRef) else frozenset[int]()
    parts = list(scalar_parts(scalar))
    if isinstance(scalar, Case):
        for condition, _ in scalar.branches:
            operands = _operands(condition)
            parts += operands
            found |= predicate_columns(condition).difference(*map(scalar_columns, operands))
    return found.union(*map(bare_columns, parts))


def has_null(scalar: Scalar) -> bool:
    """Whether arithmetic has a NULL in it, and so is NULL."""
    if isinstance(scalar, Arithmetic):
        return has_null(scalar.left) or has_null(scalar.right)
    return isinstance(scalar, Literal) and scalar.value is None


def scalar_columns(scalar: Scalar | None) -> frozenset[int]:
    """The ids of every column a scalar reads, conditions and arguments of aggregates included."""
    found = frozenset[int]()
    if isinstance(scalar, ColumnRef):
        return frozenset({scalar.column_id})
    if isinstance(scalar, Aggregate):
        return scalar_columns(scalar.argument) | predicate_columns(scalar.where)
    if isinstance(scalar, Case):
        found = found.union(*(predicate_columns(condition) for condition, _ in scalar.branches))
    if scalar is not None:
        found = found.union(*(scalar_columns(part) for part in scalar_parts(scalar)))
    return found


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
    if isinstance(predicate, Relation):
        return scalar_columns(predicate.left) | scalar_columns(predicate.right)
    raise TypeError(f"not a predicate: {type(predicate).__name__}")
