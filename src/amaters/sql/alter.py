"""What ALTER TABLE and VACUUM mean."""

from __future__ import annotations

from sqlglot import exp

from amaters.columns import altering as al
from amaters.columns.schema import Column, Table
from amaters.plan.expressions import AlterTable, Vacuum, Value
from amaters.sql.altergrammar import Alter, AlterAction, VacuumTables
from amaters.sql.literals import Arguments, literal
from amaters.sql.scope import Catalogue, find_table, only, refuse, wrong
from amaters.sql.tables import column_declaration, read_value


def bind_alter(tree: Alter, catalogue: Catalogue, arguments: Arguments) -> AlterTable:
    """The bound ALTER TABLE. Raises: AM-2001, AM-2029, AM-2203, AM-2205, AM-2208."""
    exists = bool(tree.args.get("exists"))
    name = tree.this.name
    if exists and name.lower() not in {known.lower() for known in catalogue}:
        return AlterTable(name, (), if_exists=True)
    table = find_table(catalogue, tree.this)
    actions = tuple(_bound(node, table, arguments) for node in tree.expressions)
    return AlterTable(table.name, actions, if_exists=exists)


def _bound(  # noqa: PLR0911 - one per kind
    node: AlterAction, table: Table, arguments: Arguments
) -> al.Action:
    kind, exists = node.args["kind"], bool(node.args.get("exists"))
    match kind:
        case "add":
            return _added(node.this, exists, arguments)
        case "drop":
            return al.DropColumn(node.this.name, if_exists=exists)
        case "rename":
            return al.RenameColumn(node.this.name, node.args["to"].name)
        case "rename table":
            return al.RenameTable(node.args["to"].name)
        case "add query":
            return al.AddQueries(node.this.name, tuple(q.name.lower() for q in node.expressions))
        case "drop query":
            return al.DropQueries(node.this.name, tuple(q.name.lower() for q in node.expressions))
        case "set not null" | "drop not null":
            return al.SetNullable(node.this.name, kind == "drop not null")
    column = table.column(node.this.name)
    values = tuple(_constant(item, column, arguments) for item in node.expressions)
    if kind == "add value":
        return al.AddValues(column.name, values)
    if kind == "set min":
        return al.Widen(column.name, minimum=values[0])
    return al.Widen(column.name, maximum=values[0])


def _constant(node: exp.Expr, column: Column, arguments: Arguments) -> Value:
    value = literal(node, arguments).value
    if value is None:
        wrong(node, "NULL as a bound or a value", "give a constant of the column's type")
    return read_value(column.type, value) if isinstance(value, str) else value


def _added(node: exp.Expr, exists: bool, arguments: Arguments) -> al.AddColumn:
    if not isinstance(node, exp.ColumnDef):
        wrong(node, "ADD COLUMN without a type", "write ADD COLUMN c TYPE")
    only(node, ("this", "kind", "constraints"), "write ADD COLUMN c TYPE [DEFAULT v] [ENCRYPTED]")
    declared = column_declaration(node, arguments)
    if declared.primary_key:
        refuse(node, "PRIMARY KEY in ADD COLUMN", "a table keeps the key it was created with")
    return al.AddColumn(node.name, declared, if_not_exists=exists)


def bind_vacuum(tree: VacuumTables, catalogue: Catalogue, arguments: Arguments) -> Vacuum:
    """The bound VACUUM. Raises: AM-2203, AM-2205, AM-2208."""
    names = tuple(find_table(catalogue, node).name for node in tree.expressions)
    erase = bool(tree.args.get("erase"))
    backups: list[str] = []
    for node in tree.args.get("backups") or ():
        value = literal(node, arguments).value
        if not isinstance(value, str) or not erase:
            wrong(tree, "BACKUPS here", "write VACUUM ERASE t WITH (BACKUPS = 'directory or URL')")
        backups.append(value)
    return Vacuum(names, erase, tuple(backups))
