"""One statement's text and parameters to what it means: the only door from SQL to the rest."""

from __future__ import annotations

from sqlglot import exp

from amaters.plan.expressions import Explain, Explainable, Statement, Transact
from amaters.plan.fetching import with_mode
from amaters.sql.alter import bind_alter, bind_vacuum
from amaters.sql.altergrammar import Alter, VacuumTables
from amaters.sql.changes import bind_delete, bind_update
from amaters.sql.indexes import bind_create_index, bind_drop_index
from amaters.sql.inserts import bind_insert
from amaters.sql.literals import Arguments, Parameters
from amaters.sql.parser import Parsed
from amaters.sql.scope import Catalogue, refuse
from amaters.sql.subqueries import bind_query
from amaters.sql.tables import NewTables, bind_copy, bind_create, bind_drop

__all__ = ["NewTables", "bind"]


def bind(
    parsed: Parsed, catalogue: Catalogue, parameters: Parameters = None, *, new: NewTables
) -> Statement:
    """The bound statement: names resolved, constants folded, every clause understood or refused.

    ``catalogue`` holds tables by name, ``new`` says what tables created here are made with.
    Raises: AM-22xx for text and names, AM-20xx for values and declarations.
    """
    statement = _bound(parsed.tree, catalogue, Arguments(parsed, parameters), new)
    if parsed.fetch is not None:
        statement = with_mode(statement, parsed.fetch)
    if parsed.explain is None:
        return statement
    return Explain(statement, parsed.explain.analyze, parsed.explain.format)


def _bound(  # noqa: PLR0911, PLR0912 - one per kind
    tree: exp.Expr, catalogue: Catalogue, arguments: Arguments, new: NewTables
) -> Explainable:
    match tree:
        case exp.Select():
            return bind_query(tree, catalogue, arguments)
        case exp.Update():
            return bind_update(tree, catalogue, arguments)
        case exp.Delete():
            return bind_delete(tree, catalogue, arguments)
        case exp.Insert():
            return bind_insert(tree, catalogue, arguments)
        case exp.Create():
            if _is_of_index(tree):
                return bind_create_index(tree, catalogue)
            return bind_create(tree, new, arguments)
        case VacuumTables():
            return bind_vacuum(tree, catalogue, arguments)
        case Alter():
            return bind_alter(tree, catalogue, arguments)
        case exp.Drop():
            return bind_drop_index(tree) if _is_of_index(tree) else bind_drop(tree)
        case exp.Copy():
            return bind_copy(tree, catalogue, arguments)
        case exp.Transaction():
            return Transact("begin")
        case exp.Commit():
            return Transact("commit")
        case exp.Rollback():
            return Transact("rollback")
    refuse(tree, f"{tree.key.upper()} statements", "see the list of statements")


def _is_of_index(tree: exp.Create | exp.Drop) -> bool:
    return str(tree.args.get("kind")).upper() == "INDEX"
