"""Expressions: sqlglot's arithmetic and CASE to bound scalars, and what DuckDB calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlglot import exp

from amaters.plan.expressions import (
    Arithmetic,
    Case,
    Coalesce,
    Literal,
    Predicate,
    Scalar,
    scalar_parts,
)
from amaters.plan.scalar_types import type_of
from amaters.sql.literals import constant_text, is_constant, literal
from amaters.sql.scope import bare, only, refuse, wrong

if TYPE_CHECKING:
    from amaters.sql.predicates import Conditions

OPERATORS: Mapping[type[exp.Expr], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.IntDiv: "//",
    exp.Mod: "%",
}  # fmt: skip
_FUNCTIONS: Mapping[type[exp.Expr], str] = {
    exp.Coalesce: "COALESCE", exp.Nullif: '"nullif"', exp.If: '"if"', exp.Abs: "abs",
}  # fmt: skip
DEPTH_MAX = 64
_FORMS = "use columns, constants, + - * / // %, CASE, COALESCE, NULLIF, IF, ABS and aggregates"
_QUANTILES: Mapping[type[exp.Expr], str] = {
    exp.PercentileCont: "quantile_cont", exp.PercentileDisc: "quantile_disc",
}  # fmt: skip
_COMPARISONS: Mapping[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "!=", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
    exp.And: "AND", exp.Or: "OR", exp.Is: "IS",
}  # fmt: skip


def is_plain_constant(node: exp.Expr) -> bool:
    """Whether ``literal`` folds ``node`` to what SQL says it is: divisions give doubles instead."""
    return is_constant(node) and node.find(exp.Div, exp.IntDiv, exp.Mod, *_FUNCTIONS) is None


class Scalars:
    """Binds expressions; what a column and an aggregate mean is up to ``conditions``."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions

    def bind(self, node: exp.Expr, depth: int = 0) -> Scalar:  # noqa: PLR0911 - one per kind
        """The scalar that ``node`` is. Raises: AM-2204 to AM-2208."""
        node = bare(node)
        if depth > DEPTH_MAX:
            refuse(node, f"an expression nested deeper than {DEPTH_MAX}", "split the statement")
        if is_plain_constant(node):
            return literal(node, self._conditions.arguments)
        match node:
            case exp.Column():
                return self._conditions.reference(node)
            case exp.Neg():
                return Arithmetic("-", Literal(0), self._number(node.this, depth))
            case exp.Case():
                return self._case(node, depth)
            case exp.AggFunc() | exp.Filter() | exp.WithinGroup():
                return self._conditions.aggregated(node)
            case exp.Coalesce() | exp.Nullif() | exp.If() | exp.Abs():
                return self._function(node, depth)
        operator = OPERATORS.get(type(node))
        if operator is None:
            refuse(node, f"{node.key.upper()} in an expression", _FORMS)
        left = self._number(node.this, depth)
        return Arithmetic(operator, left, self._number(node.expression, depth))

    def _function(self, node: exp.Expr, depth: int) -> Scalar:
        """What is a CASE under another name, and COALESCE."""
        scalar: Scalar
        if node.this is None:
            refuse(node, f"{node.key.upper()} of nothing", _FORMS)
        match node:
            case exp.Coalesce():
                parts = [node.this, *node.expressions]
                scalar = Coalesce(tuple(self.bind(part, depth + 1) for part in parts))
            case exp.Nullif():
                equal = self._conditions.bind(
                    exp.EQ(this=node.this.copy(), expression=node.expression.copy())
                )
                scalar = Case(((equal, Literal(None)),), self.bind(node.this, depth + 1))
            case exp.Abs():
                below = exp.LT(this=node.this.copy(), expression=exp.Literal.number(0))
                value = self._number(node.this, depth)
                negated = Arithmetic("-", Literal(0), value)
                scalar = Case(((self._conditions.bind(below), negated),), value)
            case _:
                branch = (self._conditions.bind(node.this), self.bind(node.args["true"], depth + 1))
                other = node.args.get("false")
                scalar = Case(
                    (branch,), Literal(None) if other is None else self.bind(other, depth + 1)
                )
        self._check_alike(node, scalar)
        return scalar

    def _number(self, node: exp.Expr, depth: int) -> Scalar:
        """An operand of arithmetic."""
        scalar = self.bind(node, depth + 1)
        type_ = type_of(scalar, self._conditions.scope.table)
        if not type_.is_numeric:
            wrong(node, f"arithmetic on a value of type {type_.name}", "compute with numbers only")
        return scalar

    def _case(self, node: exp.Case, depth: int) -> Case:
        only(
            node, ("this", "ifs", "default"), "write CASE WHEN condition THEN value ELSE value END"
        )
        branches = tuple(
            (self._condition(node, branch.this), self.bind(branch.args["true"], depth + 1))
            for branch in node.args["ifs"]
        )
        default = node.args.get("default")
        otherwise = Literal(None) if default is None else self.bind(default, depth + 1)
        case = Case(branches, otherwise)
        self._check_alike(node, case)
        return case

    def _condition(self, node: exp.Case, when: exp.Expr) -> Predicate:
        """A branch's condition; ``CASE x WHEN 1`` compares."""
        if node.this is None:
            return self._conditions.bind(when)
        return self._conditions.bind(exp.EQ(this=node.this.copy(), expression=when.copy()))

    def _check_alike(self, node: exp.Expr, scalar: Scalar) -> None:
        """Numbers with numbers, and everything else with its own type."""
        table = self._conditions.scope.table
        types = [type_of(value, table) for value in scalar_parts(scalar)]
        names = {"a number" if t.is_numeric else t.name for t in types if t.family != "null"}
        if len(names) > 1:
            what = f"{node.key.upper()} of {' and '.join(sorted(names))}"
            wrong(node, what, "use one type in all branches")


def spelling(node: exp.Expr, conditions: Conditions) -> str:  # noqa: PLR0911 - one per kind
    """The name that DuckDB gives the column of an unnamed expression."""
    node = bare(node)
    if isinstance(node, exp.Column):
        return f"{node.table}.{node.name}" if node.table else node.name
    operator = OPERATORS.get(type(node)) or _COMPARISONS.get(type(node))
    if operator is not None:
        left = spelling(node.this, conditions)
        return f"({left} {operator} {spelling(node.expression, conditions)})"
    if isinstance(node, exp.Neg) and not isinstance(node.this, exp.Literal):
        return f"(-({spelling(node.this, conditions)}))"
    if isinstance(node, (exp.AggFunc, exp.Filter, exp.Distinct, exp.WithinGroup)):
        return _aggregate_name(node, conditions)
    if isinstance(node, exp.Case):
        return _case_name(node, conditions)
    if isinstance(node, tuple(_FUNCTIONS)):
        return f"{_FUNCTIONS[type(node)]}({', '.join(_arguments(node, conditions))})"
    if is_constant(node):
        return constant_text(node, literal(node, conditions.arguments).value)
    return node.sql("duckdb").lower()


def _aggregate_name(node: exp.Expr, conditions: Conditions) -> str:
    if isinstance(node, exp.Filter):
        condition = spelling(node.expression.this, conditions)
        return f"{spelling(node.this, conditions)} FILTER (WHERE {condition})"
    if isinstance(node, exp.Distinct):
        listed = ", ".join(spelling(part, conditions) for part in node.expressions)
        return f"DISTINCT {listed}"
    if isinstance(node, exp.Count) and (node.this is None or isinstance(node.this, exp.Star)):
        return "count_star()"
    if isinstance(node, exp.WithinGroup):
        key = node.expression.expressions[0]
        order = spelling(key.this, conditions) + (" DESC" if key.args.get("desc") else "")
        name = _QUANTILES.get(type(node.this), node.this.key)
        return f"{name}({spelling(node.this.this, conditions)} ORDER BY {order})"
    given = [node.this, node.args.get("quantile") or node.args.get("expression")]
    parts = ", ".join(spelling(part, conditions) for part in given if part is not None)
    return f"{_QUANTILES.get(type(node), node.key)}({parts})"


def _arguments(node: exp.Expr, conditions: Conditions) -> list[str]:
    names = ("this", "expression", "true", "false")
    found = [node.args[name] for name in names if isinstance(node.args.get(name), exp.Expr)]
    return [spelling(part, conditions) for part in (*found, *node.expressions)]


def _case_name(node: exp.Case, conditions: Conditions) -> str:
    parts = []
    for branch in node.args["ifs"]:
        value = spelling(branch.args["true"], conditions)
        when = spelling(branch.this, conditions)
        if node.this is not None:
            when = f"({spelling(node.this, conditions)} = {when})"
        parts.append(f"WHEN ({when}) THEN ({value})")
    default = node.args.get("default")
    otherwise = "NULL" if default is None else spelling(default, conditions)
    return f"CASE  {' '.join(parts)} ELSE {otherwise} END"
