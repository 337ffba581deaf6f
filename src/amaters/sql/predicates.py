"""WHERE: sqlglot's conditions to bound predicates, most over one column and constants each."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NoReturn

from sqlglot import exp

from amaters.columns.moments import at_midnight
from amaters.columns.patterns import Pattern
from amaters.columns.schema import Column
from amaters.columns.types import TypeKind
from amaters.plan.differences import on_generated
from amaters.plan.expressions import (
    Aggregate,
    And,
    Arithmetic,
    Between,
    ColumnRef,
    Compare,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Or,
    Predicate,
    Relation,
    Truth,
    Value,
    aggregates_of,
    has_null,
    scalar_columns,
)
from amaters.plan.scalar_types import type_of
from amaters.sql.literals import (
    Arguments,
    as_number,
    is_answered,
    is_constant,
    literal,
    parse_blob,
    parse_date,
    parse_timestamp,
)
from amaters.sql.scalars import Scalars
from amaters.sql.scope import Scope, bare, only, refuse, wrong

_OPERATORS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_FORMS = "compare a column with constants: = <> < <= > >= BETWEEN IN LIKE IS NULL, AND OR NOT"
IN_LIST_MAX = 4096


@dataclass(frozen=True, slots=True)
class Conditions:
    """Binds the conditions of one statement. Raises: AM-2204 to AM-2208."""

    scope: Scope
    arguments: Arguments

    def bind(self, node: exp.Expr) -> Predicate:
        """The predicate that ``node`` is."""
        node = bare(node)
        if is_constant(node) and is_answered(node) and not self._is_here():
            what = "a condition on the answer of a subquery alone, which would decide what is sent,"
            refuse(node, what, "ask the subquery by itself first")
        match node:
            case exp.And() | exp.Or():
                children = tuple(self.bind(part) for part in _operands(node))
                return And(children) if isinstance(node, exp.And) else Or(children)
            case exp.Not():
                return Not(self.bind(node.this))
            case exp.In() | exp.Between() | exp.Is() | exp.Like() | exp.Escape():
                return self._postfix(node)
            case exp.NullSafeEQ() | exp.NullSafeNEQ():
                return self._null_safe(node)
        operator = _OPERATORS.get(type(node))
        if operator is not None:
            return self._comparison(node, operator, node.this, node.expression)
        return self._alone(node)

    def _is_here(self) -> bool:
        """Whether this client evaluates the conditions, so that none of them shows."""
        return self.scope.table.is_local

    def _postfix(self, node: exp.Expr) -> Predicate:
        match node:
            case exp.In():
                return self._membership(node)
            case exp.Between():
                return self._between(node)
            case exp.Like() | exp.Escape():
                return self._like(node)
        return self._is(node)

    def _alone(self, node: exp.Expr) -> Predicate:
        """A BOOLEAN column or constant used as a condition."""
        if isinstance(node, exp.Column):
            column = self.scope.column(node)
            if column.type.kind is not TypeKind.BOOLEAN:
                what = f"column {column.name} of type {column.type.sql_name} used as a condition"
                wrong(node, what, "compare it with a constant")
            return Compare("=", column.id, Literal(True))
        if not is_constant(node):
            refuse(node, f"{node.key.upper()} as a condition", _FORMS)
        value = literal(node, self.arguments).value
        if value is not None and not isinstance(value, bool):
            wrong(node, "a constant that is no BOOLEAN used as a condition", "write TRUE or FALSE")
        return Truth(value)

    def reference(self, node: exp.Column) -> ColumnRef:
        """A column inside an expression."""
        return ColumnRef(self.scope.column(node).id)

    def aggregated(self, node: exp.Expr) -> Aggregate:
        """An aggregate inside an expression."""
        fix = "write aggregates in the select list, in HAVING or in ORDER BY, one in no other"
        refuse(node, "an aggregate of single rows", fix)

    def _is_column(self, node: exp.Expr) -> bool:
        """Whether ``_column`` knows ``node``; everything else is an expression."""
        return isinstance(bare(node), exp.Column)

    def _column(self, node: exp.Expr) -> Column:
        node = bare(node)
        if isinstance(node, exp.Column):
            return self.scope.column(node)
        refuse(node, f"{node.key.upper()} over a column in this condition", _FORMS)

    def _relation(
        self, node: exp.Expr, operator: str, left: exp.Expr, right: exp.Expr
    ) -> Predicate:
        """A comparison of expressions; the planner knows which columns it may be about."""
        scalars = Scalars(self)
        a, b = scalars.bind(left), scalars.bind(right)
        one, other = type_of(a, self.scope.table), type_of(b, self.scope.table)
        if "null" in (one.family, other.family):
            return Truth(None)
        if not (one.is_numeric and other.is_numeric) and one.name != other.name:
            what = f"{one.name} compared with {other.name}"
            wrong(node, what, "compare values of one type")
        return on_generated(Relation(operator, a, b), self.scope.table)

    def _constant(self, node: exp.Expr, column: Column) -> Literal:
        found = literal(node, self.arguments)
        return replace(found, value=_fitted(node, column, found.value))

    def _comparison(
        self, node: exp.Expr, operator: str, left: exp.Expr, right: exp.Expr
    ) -> Predicate:
        if is_constant(left):
            if is_constant(right):
                return Truth(self._folded(node, operator, left, right))
            left, right, operator = right, left, _MIRRORED[operator]
        if not (self._is_column(left) and is_constant(right)):
            return self._relation(node, operator, left, right)
        column = self._column(left)
        return Compare(operator, column.id, self._constant(right, column))

    def _folded(
        self, node: exp.Expr, operator: str, left: exp.Expr, right: exp.Expr
    ) -> bool | None:
        a, b = literal(left, self.arguments).value, literal(right, self.arguments).value
        if a is None or b is None:
            return None
        if isinstance(a, datetime.date) and isinstance(b, datetime.date):
            a, b = at_midnight(a), at_midnight(b)
        if _family(a) != _family(b):
            wrong(node, "a comparison of constants of different types", "compare like with like")
        equal, less = a == b, a < b  # type: ignore[operator]
        answers = {"=": equal, "<>": not equal, "<": less, "<=": less or equal}
        answers |= {">": not (less or equal), ">=": not less}
        return answers[operator]

    def _between(self, node: exp.Between) -> Predicate:
        only(node, ("this", "low", "high"), "write BETWEEN low AND high")
        low, high = node.args["low"], node.args["high"]
        plain = self._is_column(node.this) and is_constant(low) and is_constant(high)
        if not plain:
            bounds = [
                self._comparison(node, ">=", node.this, low),
                self._comparison(node, "<=", node.this, high),
            ]
            return And(tuple(bounds))
        column = self._column(node.this)
        return Between(column.id, self._constant(low, column), self._constant(high, column))

    def _membership(self, node: exp.In) -> Predicate:
        only(node, ("this", "expressions"), "list constants: column IN (1, 2, 3)")
        values = node.expressions
        if len(values) > IN_LIST_MAX:
            wrong(node, f"an IN list of more than {IN_LIST_MAX} constants", "split the statement")
        if not values:
            return Truth(False)
        if not self._is_column(node.this) or not all(is_constant(value) for value in values):
            return Or(tuple(self._comparison(v, "=", node.this, v) for v in values))
        column = self._column(node.this)
        return In(column.id, tuple(self._constant(value, column) for value in values))

    def _like(self, node: exp.Expr) -> Predicate:
        """``column LIKE pattern [ESCAPE 'c']``; NULL when the pattern is."""
        escape = ""
        if isinstance(node, exp.Escape):
            value = literal(node.expression, self.arguments).value
            if not isinstance(value, str) or len(value) > 1:
                wrong(node, "ESCAPE with something that is no character", "write ESCAPE '!'")
            node, escape = bare(node.this), value
        if not isinstance(node, exp.Like):
            refuse(node, f"{node.key.upper()} with ESCAPE", "write LIKE 'pattern' ESCAPE '!'")
        only(node, ("this", "expression", "negate"), "write LIKE 'pattern' [ESCAPE '!']")
        if not is_constant(node.expression):
            refuse(node, "LIKE with a pattern that is no constant", "write LIKE 'text%'")
        pattern = literal(node.expression, self.arguments)
        if is_constant(node.this):
            refuse(node, "LIKE over a constant", "compare a column: name LIKE 'text%'")
        column = self._column(node.this)
        if column.type.kind is not TypeKind.TEXT:
            what = f"LIKE over column {column.name} of type {column.type.sql_name}"
            wrong(node, what, "LIKE compares texts only")
        if pattern.value is None:
            return Truth(None)
        if not isinstance(pattern.value, str):
            wrong(node, "LIKE with a pattern that is no text", "write LIKE 'text%'")
        if not Pattern(pattern.value, escape).is_complete:
            wrong(node, "LIKE with a pattern that ends in its escape character", "double it")
        return Like(column.id, pattern, escape, bool(node.args.get("negate")))

    def _is(self, node: exp.Expr) -> Predicate:
        """``IS NULL``, ``IS TRUE`` and ``IS FALSE``; their NOT stands around them."""
        target = bare(node.expression)
        if isinstance(target, exp.Null):
            if is_constant(node.this):
                return Truth(literal(node.this, self.arguments).value is None)
            if not self._is_column(node.this):
                return self._is_unknown(node.this)
            return IsNull(self._column(node.this).id)
        if isinstance(target, exp.Boolean):
            return self._is_truth(node, bool(target.this))
        refuse(node, "this form of IS", "use IS [NOT] NULL, TRUE or FALSE")

    def _is_unknown(self, node: exp.Expr) -> Predicate:
        """IS NULL of arithmetic: one of its columns is NULL."""
        scalar = Scalars(self).bind(node)
        if not isinstance(scalar, Arithmetic) or aggregates_of(scalar):
            refuse(node, f"IS NULL of {bare(node).key.upper()}", "test the columns in it")
        if has_null(scalar):
            return Truth(True)
        return Or(tuple(IsNull(column) for column in sorted(scalar_columns(scalar))))

    def _is_truth(self, node: exp.Expr, wanted: bool) -> Predicate:
        if is_constant(node.this):
            return Truth(literal(node.this, self.arguments).value is wanted)
        column = self._column(node.this)
        if column.type.kind is not TypeKind.BOOLEAN:
            what = f"IS TRUE of column {column.name} of type {column.type.sql_name}"
            wrong(node, what, "compare it with a constant")
        return And((IsNull(column.id, negated=True), Compare("=", column.id, Literal(wanted))))

    def _null_safe(self, node: exp.Expr) -> Predicate:
        """``IS [NOT] DISTINCT FROM``: never NULL itself."""
        left, right = node.this, node.expression
        if is_constant(left):
            left, right = right, left
        if is_constant(left) or not is_constant(right):
            refuse(node, "IS DISTINCT FROM between these operands", _FORMS)
        column = self._column(left)
        constant = self._constant(right, column)
        same: Predicate = IsNull(column.id)
        if constant.value is not None:
            not_null = IsNull(column.id, negated=True)
            same = And((not_null, Compare("=", column.id, constant)))
        return same if isinstance(node, exp.NullSafeEQ) else Not(same)


def _operands(node: exp.Expr) -> Iterator[exp.Expr]:
    """The operands of a chain of one connector, left to right, without recursion."""
    kind, waiting = type(node), [node]
    while waiting:
        part = bare(waiting.pop())
        if isinstance(part, kind) and isinstance(part, exp.Binary):
            waiting += [part.expression, part.this]
        else:
            yield part


def _family(value: Value) -> str:
    if isinstance(value, datetime.date):
        return "date"
    if isinstance(value, bool | str | bytes):
        return type(value).__name__
    return "number"


def _fitted(node: exp.Expr, column: Column, value: Value) -> Value:
    """``value`` as a value that compares with ``column``; texts as the column's type reads them.

    Raises: AM-2208, naming column and type but no value.
    """
    if value is None:
        return None
    kind = column.type.kind
    if isinstance(value, str) and kind is not TypeKind.TEXT:
        value = _from_text(node, column, value)
    fits = {
        TypeKind.TEXT: str,
        TypeKind.BLOB: bytes,
        TypeKind.DATE: datetime.date,
        TypeKind.TIMESTAMP: datetime.date,
        TypeKind.BOOLEAN: bool,
    }.get(kind)
    if fits is not None and isinstance(value, fits):
        return value
    if fits is None and not isinstance(value, bool | str | bytes | datetime.date):
        return value
    if kind is TypeKind.BOOLEAN and value in (0, 1):
        return bool(value)
    _incomparable(node, column)


def _from_text(node: exp.Expr, column: Column, value: str) -> Value:
    kind = column.type.kind
    if kind is TypeKind.DATE:
        return parse_date(value, node)
    if kind is TypeKind.TIMESTAMP:
        return parse_timestamp(value, node)
    if kind is TypeKind.BLOB:
        return parse_blob(value, node)
    if kind is TypeKind.BOOLEAN and value.lower() in ("true", "false", "t", "f"):
        return value.lower().startswith("t")
    number = as_number(value)
    if kind is TypeKind.BOOLEAN or number is None:
        _incomparable(node, column)
    if number * 10**column.type.scale % 1:
        what = f"a text that {column.name} of type {column.type.sql_name} would round"
        wrong(node, what, "write the constant as a number")
    return number


def _incomparable(node: exp.Expr, column: Column) -> NoReturn:
    what = f"column {column.name} of type {column.type.sql_name} compared with another type"
    wrong(node, what, f"compare it with a constant of type {column.type.sql_name}")
