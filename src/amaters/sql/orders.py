"""MIN, MAX, MEDIAN and quantiles, also written ``percentile_cont(q) WITHIN GROUP (ORDER BY c)``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from sqlglot import exp

from amaters.plan.expressions import Aggregate, Literal
from amaters.plan.scalar_types import type_of
from amaters.sql.literals import is_constant, literal
from amaters.sql.predicates import Conditions
from amaters.sql.scalars import Scalars
from amaters.sql.scope import bare, only, refuse, wrong

_FUNCTIONS: Mapping[type[exp.Expr], str] = {
    exp.Min: "min",
    exp.Max: "max",
    exp.Median: "median",
    exp.Quantile: "quantile_disc",
    exp.PercentileDisc: "quantile_disc",
    exp.PercentileCont: "quantile_cont",
}
_WITHIN = "write percentile_cont(q) WITHIN GROUP (ORDER BY c)"
_FRACTION = "give the fraction as one constant from 0 to 1"


def is_order(node: exp.Expr) -> bool:
    """Whether ``node`` is an extreme or a quantile."""
    return isinstance(node, (exp.WithinGroup, *_FUNCTIONS))


def bind_order(node: exp.Expr, conditions: Conditions) -> Aggregate:
    """The extreme or quantile that ``node`` is. Raises: AM-2204 to AM-2208."""
    if isinstance(node, exp.WithinGroup):
        return _within(node, conditions)
    function = _FUNCTIONS[type(node)]
    only(node, ("this", "expression", "quantile", "expressions"), "write it with one argument")
    if function in ("min", "max", "median"):
        if node.args.get("expressions") or node.args.get("expression"):
            refuse(node, f"{function.upper()} of several arguments", "give it one argument")
        return _made(function, node, node.this, conditions)
    fraction = node.args.get("quantile") or node.args.get("expression")
    if fraction is None:
        refuse(node, f"{node.key.upper()} without WITHIN GROUP or a second argument", _WITHIN)
    return _with_fraction(_made(function, node, node.this, conditions), fraction, conditions)


def _within(node: exp.WithinGroup, conditions: Conditions) -> Aggregate:
    function = _FUNCTIONS.get(type(node.this))
    order = node.expression
    if function not in ("quantile_cont", "quantile_disc") or not isinstance(order, exp.Order):
        refuse(node, "WITHIN GROUP of such a function", _WITHIN)
    if len(order.expressions) != 1 or node.this.args.get("expression") is not None:
        refuse(node, "WITHIN GROUP with several sort keys or arguments", _WITHIN)
    key = order.expressions[0]
    made = _made(function, node, key.this, conditions)
    made = replace(made, descending=bool(key.args.get("desc")))
    return _with_fraction(made, node.this.this, conditions)


def _made(function: str, node: exp.Expr, operand: exp.Expr, conditions: Conditions) -> Aggregate:
    operand = bare(operand)
    if isinstance(operand, exp.Distinct):
        if function not in ("min", "max") or len(operand.expressions) != 1:
            refuse(node, f"{function.upper()} of DISTINCT values", "leave DISTINCT out")
        operand = bare(operand.expressions[0])
    argument = Scalars(conditions).bind(operand)
    if isinstance(argument, Literal):
        refuse(operand, f"{function.upper()} of a constant", "write the constant")
    type_ = type_of(argument, conditions.scope.table)
    between = type_.is_numeric or type_.name in ("DATE", "TIMESTAMP")
    if function == "quantile_cont" and not between:
        wrong(operand, f"a continuous quantile of type {type_.name}", "use quantile_disc")
    return Aggregate(function, argument)


def _with_fraction(made: Aggregate, node: exp.Expr, conditions: Conditions) -> Aggregate:
    node = bare(node)
    value = literal(node, conditions.arguments).value if is_constant(node) else None
    if isinstance(value, bool) or not isinstance(value, int | Decimal | float):
        refuse(node, "a quantile of anything but a constant fraction", _FRACTION)
    if not 0 <= value <= 1:
        wrong(node, "a fraction that is not from 0 to 1", _FRACTION)
    return replace(made, fraction=value if isinstance(value, float) else Decimal(value))
