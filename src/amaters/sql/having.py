"""HAVING: conditions on group columns and aggregates, which the client checks after decryption."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from amaters.base.errors import fail
from amaters.columns.schema import Column, Table
from amaters.columns.types import BLOB, BOOLEAN, DATE, TEXT, TIMESTAMP, SqlType, TypeKind
from amaters.plan.expressions import Aggregate, ColumnRef, Literal, OutputItem, Scalar, having_id
from amaters.plan.scalar_types import type_of
from amaters.sql.aggregates import GroupConditions
from amaters.sql.predicates import Conditions
from amaters.sql.scope import bare, where, wrong

AGGREGATE_TYPE = SqlType(TypeKind.INT, bits=64)  # constants compare with it as numbers
_TYPES = {  # of extremes that are no numbers
    "DATE": DATE, "TIMESTAMP": TIMESTAMP, "BOOLEAN": BOOLEAN, "VARCHAR": TEXT, "BLOB": BLOB,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class HavingConditions(GroupConditions):
    """Binds HAVING. Aggregates become outputs, ``hidden`` ones where the list lacks them."""

    table: Table
    items: tuple[OutputItem, ...]
    group_by: tuple[int, ...]
    hidden: list[OutputItem] = field(default_factory=list)

    def reference(self, node: exp.Column) -> ColumnRef:
        """A column inside an expression: one that the query groups by."""
        column = self.scope.column(node)
        if column.id not in self.group_by:
            fail("AM-2207", column=column.name, where=where(node))
        return ColumnRef(column.id)

    def _is_column(self, node: exp.Expr) -> bool:
        return isinstance(bare(node), (exp.Column, exp.AggFunc, exp.Filter, exp.WithinGroup))

    def _column(self, node: exp.Expr) -> Column:
        node = bare(node)
        if isinstance(node, (exp.AggFunc, exp.Filter, exp.WithinGroup)):
            return self._output(self.aggregated(node))
        if not isinstance(node, exp.Column):
            return Conditions._column(self, node)
        found = self.scope.find(node)
        if found is None or found.id not in self.group_by:
            item = self._aliased(node)
            if item is not None:
                return self._aliased_column(item, node)
        column = found or self.scope.column(node)
        if column.id not in self.group_by:
            fail("AM-2207", column=column.name, where=where(node))
        return column

    def _aliased(self, node: exp.Column) -> OutputItem | None:
        """The output an unqualified name is an alias of; group columns come first (DuckDB)."""
        if node.table or node.name.lower() not in self.scope.aliases:
            return None
        named = (item for item in self.items if item.name.lower() == node.name.lower())
        return next(named, None)

    def _aliased_column(self, item: OutputItem, node: exp.Column) -> Column:
        if isinstance(item.expression, Literal):
            wrong(node, "HAVING with the alias of a constant", "write the constant")
        if not isinstance(item.expression, ColumnRef):
            return self._output(item.expression)
        column = self.table.column(item.expression.column_id)
        if column.id not in self.group_by:
            fail("AM-2207", column=column.name, where=where(node))
        return column

    def _output(self, expression: Scalar) -> Column:
        """A stand-in column for the output that holds ``expression``."""
        outputs = [*self.items, *self.hidden]
        wanted = (i for i, item in enumerate(outputs) if item.expression == expression)
        index = next(wanted, None)
        if index is None:
            index = len(outputs)
            self.hidden.append(OutputItem(f"having {len(self.hidden) + 1}", expression))
        name = expression.function if isinstance(expression, Aggregate) else "expression"
        type_ = _TYPES.get(type_of(expression, self.table).name, AGGREGATE_TYPE)
        return Column(having_id(index), name, type_, nullable=True)
