"""Aggregates: COUNT, SUM and AVG of expressions, with DISTINCT and FILTER."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from amaters.plan.expressions import Aggregate, And, ColumnRef, Literal
from amaters.plan.scalar_types import type_of
from amaters.sql.literals import Arguments
from amaters.sql.orders import bind_order, is_order
from amaters.sql.predicates import Conditions
from amaters.sql.scalars import Scalars
from amaters.sql.scope import Scope, bare, only, refuse, wrong

_AGGREGATES = (
    "the aggregates are COUNT(*), COUNT, SUM and AVG of an expression, also of DISTINCT c, and "
    "MIN, MAX, MEDIAN, QUANTILE_DISC and QUANTILE_CONT"
)
_FUNCTIONS: Mapping[type[exp.Expr], str] = {exp.Count: "count", exp.Sum: "sum", exp.Avg: "avg"}


@dataclass(frozen=True, slots=True)
class GroupConditions(Conditions):
    """Conditions and expressions over the groups of a query: aggregates have values there."""

    def _is_here(self) -> bool:
        return True

    def aggregated(self, node: exp.Expr) -> Aggregate:
        """The aggregate ``node`` is."""
        return bind_aggregate(node, self.scope, self.arguments)


def bind_aggregate(node: exp.Expr, scope: Scope, arguments: Arguments) -> Aggregate:
    """The aggregate that ``node`` is. Raises: AM-2204 to AM-2208."""
    node = bare(node)
    if isinstance(node, exp.Filter):
        condition = Conditions(scope, arguments).bind(node.expression.this)
        found = bind_aggregate(node.this, scope, arguments)
        both = condition if found.where is None else And((found.where, condition))
        return replace(found, where=both)
    if is_order(node):
        return bind_order(node, Conditions(scope, arguments))
    function = _FUNCTIONS.get(type(node))
    if function is None:
        refuse(node, f"aggregate {node.key.upper()}", _AGGREGATES)
    only(node, ("this", "big_int"), _AGGREGATES)
    if function == "count" and (node.this is None or isinstance(node.this, exp.Star)):
        return Aggregate("count_star")
    operand = bare(node.this)
    if isinstance(operand, exp.Distinct):
        return _distinct(function, operand, scope)
    argument = Scalars(Conditions(scope, arguments)).bind(operand)
    if function == "count" and isinstance(argument, Literal):
        if argument.value is None:
            refuse(operand, "COUNT of NULL", "write 0")
        return Aggregate("count_star")
    type_ = type_of(argument, scope.table)
    if function != "count" and not type_.is_numeric:
        what = f"{function.upper()} of a value of type {type_.name}"
        if isinstance(argument, ColumnRef):
            column = scope.table.column(argument.column_id)
            what = f"{function.upper()} of column {column.name} of type {column.type.sql_name}"
        wrong(operand, what, "sum numbers only")
    return Aggregate(function, argument)


def _distinct(function: str, node: exp.Distinct, scope: Scope) -> Aggregate:
    """Of the different values of one column: the plan groups by it."""
    operands = [bare(part) for part in node.expressions]
    if len(operands) != 1 or not isinstance(operands[0], exp.Column):
        fix = "count the distinct values of one column"
        refuse(node, f"{function.upper()} of DISTINCT anything but a column", fix)
    column = scope.column(operands[0])
    if function != "count" and not column.type.is_numeric:
        what = f"{function.upper()} of column {column.name} of type {column.type.sql_name}"
        wrong(node, what, "sum numbers only")
    return Aggregate(function, ColumnRef(column.id), distinct=True)
