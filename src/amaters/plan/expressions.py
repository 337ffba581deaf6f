"""Bound statements: what a question means once every name has been resolved against a schema.

Made by ``sql.binder`` and by the Python API, read by the planner, the plaintext evaluator and the
client. Columns are named by their id in the table; literals keep the Python value the user wrote
(an ``int``, a ``Decimal``, a ``date``, a ``datetime``, a ``str``, ``bytes``, a ``bool`` or
``None``), comparison semantics are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
from amaters.plan.predicates import AGGREGATES as AGGREGATES
from amaters.plan.predicates import COMPARISONS as COMPARISONS
from amaters.plan.predicates import ORDER_AGGREGATES as ORDER_AGGREGATES
from amaters.plan.predicates import Aggregate as Aggregate
from amaters.plan.predicates import And as And
from amaters.plan.predicates import Between as Between
from amaters.plan.predicates import Case as Case
from amaters.plan.predicates import Coalesce as Coalesce
from amaters.plan.predicates import Compare as Compare
from amaters.plan.predicates import In as In
from amaters.plan.predicates import IsNull as IsNull
from amaters.plan.predicates import Like as Like
from amaters.plan.predicates import Not as Not
from amaters.plan.predicates import Or as Or
from amaters.plan.predicates import Predicate as Predicate
from amaters.plan.predicates import Relation as Relation
from amaters.plan.predicates import Truth as Truth
from amaters.plan.predicates import aggregates_of as aggregates_of
from amaters.plan.predicates import bare_columns as bare_columns
from amaters.plan.predicates import has_null as has_null
from amaters.plan.predicates import operands_of as operands_of
from amaters.plan.predicates import predicate_columns as predicate_columns
from amaters.plan.predicates import scalar_columns as scalar_columns
from amaters.plan.predicates import scalar_parts as scalar_parts

if TYPE_CHECKING:
    from amaters.columns.altering import Action
    from amaters.columns.batch import ColumnBatch
    from amaters.columns.indexes import IndexDefinition
    from amaters.columns.schema import Table


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
        found += [a for scalar in operands_of(self.having) for a in aggregates_of(scalar)]
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
