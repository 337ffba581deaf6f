"""CREATE INDEX and DROP INDEX: text to definitions."""

from __future__ import annotations

from sqlglot import exp

from amaters.base.errors import fail
from amaters.columns.indexes import IndexDefinition, check_indexes, default_name, next_number
from amaters.columns.schema import Table
from amaters.plan.expressions import CreateIndex, DropIndex
from amaters.sql.scope import Catalogue, Scope, find_table, only, refuse

_CREATE = "write CREATE [UNIQUE] INDEX [IF NOT EXISTS] name ON t (column, ...)"
_DROP = "write DROP INDEX [IF EXISTS] name"


def bind_create_index(tree: exp.Create, catalogue: Catalogue) -> CreateIndex:
    """CREATE [UNIQUE] INDEX [IF NOT EXISTS] [name] ON t (columns).

    Raises: AM-2020, AM-2031 (an encrypted column), AM-2203, AM-2204, AM-2205, AM-2352.
    """
    only(tree, ("this", "kind", "exists", "unique"), _CREATE)
    node = tree.this
    if not isinstance(node, exp.Index) or not isinstance(node.args.get("table"), exp.Table):
        refuse(tree, "this form of CREATE INDEX", _CREATE)
    only(node, ("this", "table", "params"), _CREATE)
    table = find_table(catalogue, node.args["table"])
    names = [_column(item, table) for item in _columns(node)]
    columns = [table.column(name) for name in names]
    for column in columns:
        if column.encrypted:
            fail("AM-2031", column=column.name)
    unique = bool(tree.args.get("unique"))
    name = node.name or default_name(table.name, names, unique=unique)
    made = IndexDefinition(
        next_number(table.indexes), name, tuple(column.id for column in columns), unique
    )
    check_indexes(table.name, [made])
    return CreateIndex(table, made, if_not_exists=bool(tree.args.get("exists")))


def _columns(node: exp.Index) -> list[exp.Expr]:
    params = node.args.get("params")
    if params is None:
        refuse(node, "an index without columns", _CREATE)
    only(params, ("columns",), _CREATE)
    found: list[exp.Expr] = params.args.get("columns") or []
    if not found:
        refuse(node, "an index without columns", _CREATE)
    return found


def _column(node: exp.Expr, table: Table) -> str:
    inner = node.this if isinstance(node, exp.Ordered) else node
    if node.args.get("desc") or node.args.get("nulls_first"):
        refuse(node, "DESC or NULLS FIRST in an index", "name the column alone: it serves both")
    if not isinstance(inner, exp.Column):
        refuse(node, "an index over an expression", "name columns only")
    return Scope(table, table.name, {}).column(inner).name


def bind_drop_index(tree: exp.Drop) -> DropIndex:
    """DROP INDEX [IF EXISTS] name; whether there is one is known when it is dropped. Raises:
    AM-2205.
    """
    only(tree, ("tables", "kind", "exists", "this"), _DROP)
    names = tree.args.get("tables") or [tree.this]
    if len(names) != 1 or not isinstance(names[0], exp.Table):
        refuse(tree, "DROP of several indexes at once", "drop them one by one")
    only(names[0], ("this",), "name the index alone")
    return DropIndex(names[0].name, if_exists=bool(tree.args.get("exists")))
