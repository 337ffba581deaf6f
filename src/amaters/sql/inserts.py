"""INSERT: rows of constants or of a SELECT, and what to do about primary keys that exist."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlglot import exp

from amaters.columns.batch import ColumnBatch
from amaters.columns.schema import Column, Table
from amaters.plan.expressions import ColumnRef, Insert, InsertFrom, OnConflict, Value, excluded_id
from amaters.sql.changes import bind_assignments
from amaters.sql.literals import Arguments, literal
from amaters.sql.predicates import Conditions
from amaters.sql.scope import Catalogue, Scope, only, refuse, wrong
from amaters.sql.selects import bind_select
from amaters.sql.tables import insert_target

_INSERT = "write INSERT INTO t (columns) VALUES (...) or SELECT ..."
_CONFLICT = "write ON CONFLICT (key) DO NOTHING, or DO UPDATE SET c = EXCLUDED.c [WHERE ...]"


def bind_insert(
    tree: exp.Insert, catalogue: Catalogue, arguments: Arguments
) -> Insert | InsertFrom:
    """INSERT [OR REPLACE | OR IGNORE] INTO t [(columns)] VALUES ... | SELECT ... [ON CONFLICT ...].

    Raises: AM-2001 to AM-2011, AM-2203 to AM-2208.
    """
    if tree.args.get("returning") is not None:
        refuse(tree.args["returning"], "RETURNING", "select the rows by their keys afterwards")
    only(tree, ("this", "expression", "conflict", "alternative"), _INSERT)
    table, names = insert_target(tree.this, catalogue)
    conflict = _conflict(tree, table, names, arguments)
    source = tree.expression
    if isinstance(source, exp.Select):
        listed = None if names is None else tuple(table.column(name).name for name in names)
        select = bind_select(source, catalogue, arguments)
        width = len(select.items) - select.hidden
        expected = len(table.written_columns) if listed is None else len(listed)
        if width != expected:
            wrong(source, f"{width} values for {expected} columns", "select one for each column")
        return InsertFrom(table, select, listed, conflict)
    if not isinstance(source, exp.Values):
        refuse(source or tree, "this form of INSERT", _INSERT)
    only(source, ("expressions",), "write VALUES (...), (...)")
    rows = [_row(node, arguments) for node in source.expressions]
    return Insert(table, ColumnBatch.from_rows(table, rows, names), conflict)


def _row(node: exp.Expr, arguments: Arguments) -> list[Value]:
    cells = node.expressions if isinstance(node, exp.Tuple) else [node.this]
    return [literal(cell, arguments).value for cell in cells]


def _conflict(
    tree: exp.Insert, table: Table, names: list[str] | None, arguments: Arguments
) -> OnConflict | None:
    node, word = tree.args.get("conflict"), str(tree.args.get("alternative") or "").upper()
    if node is None and not word:
        return None
    if word not in ("", "REPLACE", "IGNORE"):
        refuse(tree, f"INSERT OR {word}", "write INSERT OR REPLACE or INSERT OR IGNORE")
    if node is not None and word:
        wrong(node, f"INSERT OR {word} with ON CONFLICT", "write one of the two")
    key = table.primary_key
    if key.hidden:
        what = f"ON CONFLICT for table {table.name}, which has no primary key"
        wrong(node or tree, what, "declare one column as PRIMARY KEY, or insert the rows")
    if node is not None:
        return _on_conflict(node, tree, table, arguments)
    if any(index.unique for index in table.indexes):
        what = f"INSERT OR {word} for a table with a unique index"
        refuse(tree, what, f"write ON CONFLICT ({key.name}) ..., which leaves the index to refuse")
    if word == "IGNORE":
        return OnConflict()
    given = table.written_columns if names is None else [table.column(name) for name in names]
    copied = [column.id for column in given if not column.primary_key]
    return OnConflict(tuple((column, ColumnRef(excluded_id(column))) for column in copied))


def _on_conflict(
    node: exp.Expr, tree: exp.Insert, table: Table, arguments: Arguments
) -> OnConflict:
    only(node, ("expressions", "action", "conflict_keys", "where"), _CONFLICT)
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    scope = _BothRows(table, target.alias or table.name, {})
    _check_target(node, table, scope)
    if str(node.args.get("action")).upper() == "DO NOTHING":
        return OnConflict()
    if not node.expressions:
        refuse(node, "this form of ON CONFLICT", _CONFLICT)
    where = node.args.get("where")
    condition = None if where is None else Conditions(scope, arguments).bind(where.this)
    return OnConflict(bind_assignments(node.expressions, table, scope, arguments), condition)


def _check_target(node: exp.Expr, table: Table, scope: Scope) -> None:
    """The conflict is one of the primary key: written, or clear without."""
    key = table.primary_key
    keys = [item.this if isinstance(item, exp.Ordered) else item
            for item in node.args.get("conflict_keys") or ()]  # fmt: skip
    if not keys:
        if any(index.unique for index in table.indexes):
            what = "ON CONFLICT without columns for a table with a unique index"
            wrong(node, what, f"write ON CONFLICT ({key.name})")
        return
    for item in keys:
        if not isinstance(item, exp.Column) or scope.column(item).id != key.id or len(keys) > 1:
            fix = f"write ON CONFLICT ({key.name}); values of unique indexes are refused"
            refuse(item, "ON CONFLICT of anything but the primary key", fix)


@dataclass(frozen=True, slots=True)
class _BothRows(Scope):
    """Names of the row that is there, and as ``EXCLUDED.column`` of the one to be inserted."""

    def find(self, node: exp.Column) -> Column | None:
        """See ``Scope.find``."""
        if node.table.lower() != "excluded":
            return Scope.find(self, node)
        bare = node.copy()
        bare.set("table", None)
        found = Scope.find(self, bare)
        return None if found is None else replace(found, id=excluded_id(found.id))
