"""GENERATED ALWAYS AS (expression) STORED: expressions over names of a table to come."""

from __future__ import annotations

from sqlglot import exp

from amaters.columns.scalars import Arithmetic, ColumnName, Literal, Scalar
from amaters.sql.dialect import Generated
from amaters.sql.literals import Arguments, is_constant, literal
from amaters.sql.scalars import DEPTH_MAX, OPERATORS
from amaters.sql.scope import bare, only, refuse

_FORMS = "use columns of this table, numbers, + - and *"


def bind_generated(node: Generated, arguments: Arguments) -> Scalar:
    """The expression of a generated column. Raises: AM-2205, AM-2206, AM-2208."""
    if node.args.get("virtual"):
        refuse(node.this, "VIRTUAL", "write STORED: its values are encrypted like all others")
    return _bound(node.this, arguments, 0)


def _bound(node: exp.Expr, arguments: Arguments, depth: int) -> Scalar:
    node = bare(node)
    if depth > DEPTH_MAX:
        refuse(node, f"an expression nested deeper than {DEPTH_MAX}", "use several columns")
    if isinstance(node, exp.Column):
        only(node, ("this",), "name the columns alone")
        return ColumnName(node.name)
    if is_constant(node):
        return Literal(literal(node, arguments).value)
    if isinstance(node, exp.Neg):
        return Arithmetic("-", Literal(0), _bound(node.this, arguments, depth + 1))
    operator = OPERATORS.get(type(node))
    if operator not in ("+", "-", "*"):
        refuse(node, f"{node.key.upper()} in a generated column", _FORMS)
    left = _bound(node.this, arguments, depth + 1)
    return Arithmetic(operator, left, _bound(node.expression, arguments, depth + 1))
