"""UPDATE and DELETE of one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from amaters.base.errors import fail
from amaters.columns.convert import from_python
from amaters.columns.schema import Column, Table
from amaters.plan.expressions import (
    ColumnRef,
    Delete,
    Literal,
    Predicate,
    Scalar,
    Update,
)
from amaters.plan.fetching import hides
from amaters.plan.scalar_types import type_name, type_of
from amaters.sql.literals import Arguments, is_constant, literal
from amaters.sql.predicates import Conditions
from amaters.sql.scalars import Scalars
from amaters.sql.scope import Catalogue, Scope, bare, find_table, only, refuse, wrong

_UPDATE = "write UPDATE t SET column = value, ... [WHERE condition]"


def bind_update(tree: exp.Update, catalogue: Catalogue, arguments: Arguments) -> Update:
    """The bound UPDATE. Raises: AM-2002, AM-2203 to AM-2208."""
    only(tree, ("this", "expressions", "where"), _UPDATE)
    table, scope = _target(tree, catalogue)
    assigned = bind_assignments(tree.expressions, table, scope, arguments)
    update = Update(table, assigned, _condition(tree, scope, arguments))
    others = [table.column(column_id) for column_id, _ in assigned]
    others = [column for column in others if "accumulate" not in column.queries]
    if hides(update) and others:
        fail("AM-2151", column=others[0].name)
    return update


def bind_assignments(
    nodes: Sequence[exp.Expr], table: Table, scope: Scope, arguments: Arguments
) -> tuple[tuple[int, Scalar], ...]:
    """What ``SET column = value, ...`` assigns, by column id. Raises: AM-2002, AM-2204 to 2208."""
    values = _Values(table, scope, arguments)
    assigned: dict[int, Scalar] = {}
    for node in nodes:
        if not isinstance(node, exp.EQ) or not isinstance(node.this, exp.Column):
            refuse(node, f"{node.key.upper()} in SET", _UPDATE)
        column = scope.column(node.this)
        if column.primary_key:
            fix = "insert the row under its new key and delete the old one, in one batch"
            refuse(node.this, "UPDATE of a primary key", fix)
        if column.generated is not None:
            fail("AM-2211", table=table.name, column=column.name)
        if column.id in assigned:
            wrong(node.this, f"column {column.name} is set twice", "set it once")
        assigned[column.id] = values.bind(node.expression, column)
    return tuple(assigned.items())


def bind_delete(tree: exp.Delete, catalogue: Catalogue, arguments: Arguments) -> Delete:
    """The bound DELETE. Raises: AM-2203 to AM-2208."""
    only(tree, ("this", "where"), "write DELETE FROM t [WHERE condition]")
    table, scope = _target(tree, catalogue)
    return Delete(table, _condition(tree, scope, arguments))


def _target(tree: exp.Expr, catalogue: Catalogue) -> tuple[Table, Scope]:
    table = find_table(catalogue, tree.this)
    return table, Scope(table, tree.this.alias or table.name, {})


def _condition(tree: exp.Expr, scope: Scope, arguments: Arguments) -> Predicate | None:
    node = tree.args.get("where")
    return None if node is None else Conditions(scope, arguments).bind(node.this)


@dataclass(frozen=True, slots=True)
class _Values:
    """Binds what SET assigns."""

    table: Table
    scope: Scope
    arguments: Arguments

    def bind(self, node: exp.Expr, target: Column) -> Scalar:
        node = bare(node)
        if is_constant(node):
            value = literal(node, self.arguments).value
            # Also where no row matches, and then nobody else would look.
            from_python(target.type, [value], f"{self.table.name}.{target.name}")
            return Literal(value)
        if isinstance(node, exp.Column):
            source = self.scope.column(node)
            numbers = source.type.is_numeric and target.type.is_numeric
            if not numbers and source.type.kind is not target.type.kind:
                what = f"column {target.name} of type {target.type.sql_name} set to another type"
                wrong(node, what, f"set it to a value of type {target.type.sql_name}")
            return ColumnRef(source.id)
        scalar = Scalars(Conditions(self.scope, self.arguments)).bind(node)
        type_ = type_of(scalar, self.table)
        if type_.family == "double":
            refuse(node, "a division in SET", "use + - * and //, which are exact")
        if not (type_.is_numeric and target.type.is_numeric) and type_.name != type_name(
            target.type
        ):
            what = f"column {target.name} of type {target.type.sql_name} set to a {type_.name}"
            wrong(node, what, f"set it to a value of type {target.type.sql_name}")
        return scalar
