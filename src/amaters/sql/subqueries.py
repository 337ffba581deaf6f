"""Subqueries that do not refer outward: each is answered first, and then is a table or a constant.

``WITH name AS (...)`` and a SELECT in FROM become tables that only this client has; a SELECT in
brackets where a value stands becomes a constant. What comes back is a chain of statements, each of
which is bound when the one before it has been answered.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal

from sqlglot import exp

from amaters.base.errors import InvalidError, fail
from amaters.columns.local import local_table
from amaters.columns.schema import Table
from amaters.columns.types import BIGINT, BOOLEAN, DATE, TEXT, SqlType, decimal_type
from amaters.plan.expressions import ColumnRef, OutputItem, Select, Staged, Value
from amaters.plan.scalar_types import ScalarType, type_of
from amaters.sql.flattening import flattened
from amaters.sql.literals import ANSWER, Arguments
from amaters.sql.scope import Catalogue, bare, find_table, only, refuse, where, wrong
from amaters.sql.selects import bind_select

Answer = Sequence[Sequence[Value]]
_SCALE_MAX = 18
_KNOWN = {"DATE": DATE, "BOOLEAN": BOOLEAN, "VARCHAR": TEXT}
_UNKNOWN_NAMES = ("AM-2203", "AM-2204")


def bind_query(tree: exp.Select, catalogue: Catalogue, arguments: Arguments) -> Select | Staged:
    """The bound SELECT, behind what must be answered before it.

    Raises: as ``bind_select``; AM-2148 for a subquery whose answer is no table, AM-2229 for one
    that refers to the query around it.
    """
    tree = flattened(tree)
    with_ = tree.args.get("with_")
    if with_ is not None and with_.expressions:
        return _common_table(tree, catalogue, arguments)
    derived = _derived(tree)
    if derived is not None:
        return _derived_table(tree, derived, catalogue, arguments)
    scalar = _scalar(tree)
    if scalar is not None:
        return _value_first(tree, scalar, catalogue, arguments)
    return bind_select(tree, catalogue, arguments)


def _common_table(tree: exp.Select, catalogue: Catalogue, arguments: Arguments) -> Select | Staged:
    """The first of WITH, then the rest."""
    with_ = tree.args["with_"]
    only(with_, ("expressions",), "write WITH name AS (SELECT ...)")
    cte = with_.expressions[0]
    only(cte, ("this", "alias"), "write WITH name AS (SELECT ...)")
    if not isinstance(cte.this, exp.Select):
        refuse(cte, "WITH of something that is no SELECT", "write WITH name AS (SELECT ...)")
    rest = tree.copy()
    rest.args["with_"].expressions.pop(0)
    if not rest.args["with_"].expressions:
        rest.set("with_", None)
    if not _names(rest, cte.alias):
        # Nobody asks for it: it is checked and left out.
        bind_query(cte.this, catalogue, arguments)
        return bind_query(rest, catalogue, arguments)
    return _table_first(cte, cte.this, rest, catalogue, arguments)


def _names(tree: exp.Select, name: str) -> bool:
    return any(table.name.lower() == name.lower() for table in tree.find_all(exp.Table))


def _derived(tree: exp.Select) -> exp.Subquery | None:
    """The first SELECT in FROM."""
    source = tree.args.get("from_")
    nodes = [source.this] if source is not None else []
    nodes += [join.this for join in tree.args.get("joins") or ()]
    return next((node for node in nodes if isinstance(node, exp.Subquery)), None)


def _derived_table(
    tree: exp.Select, node: exp.Subquery, catalogue: Catalogue, arguments: Arguments
) -> Select | Staged:
    only(node, ("this", "alias"), "write FROM (SELECT ...) AS name")
    if not isinstance(node.this, exp.Select) or not node.alias:
        refuse(node, "this form of subquery in FROM", "write FROM (SELECT ...) AS name")
    if any(known.lower() == node.alias.lower() for known in catalogue):
        wrong(node, f"a subquery is called {node.alias}, as a table is", "give it another name")
    marked = {"marked": True}
    node.meta.update(marked)
    rest = tree.copy()
    del node.meta["marked"]
    place = next(found for found in rest.find_all(exp.Subquery) if found.meta.get("marked"))
    place.replace(exp.Table(this=exp.to_identifier(node.alias)))
    return _table_first(node, node.this, rest, catalogue, arguments)


def _table_first(
    node: exp.CTE | exp.Subquery,
    inner: exp.Select,
    rest: exp.Select,
    catalogue: Catalogue,
    arguments: Arguments,
) -> Staged:
    first = bind_query(inner, catalogue, arguments)
    alias = node.args["alias"]
    labels = [column.name for column in alias.args.get("columns") or ()]
    final = first.final
    columns = _columns(node, final, labels)

    def resume(answer: Answer | None) -> Select | Staged:
        table = local_table(node.alias, final.table, columns, _unique(final), answer)
        hidden = node.alias.lower()
        seen = {name: known for name, known in catalogue.items() if name.lower() != hidden}
        return bind_query(rest, {**seen, node.alias: table}, arguments)

    return Staged(first, node.alias, False, resume)


def _columns(node: exp.Expr, select: Select, labels: list[str]) -> list[tuple[str, SqlType]]:
    """Names and types of an answer's columns. Raises: AM-2148."""
    items = _visible(select)
    if labels and len(labels) != len(items):
        wrong(node, "a list of names of another length than the subquery's", "name each column")
    found: dict[str, SqlType] = {}
    for index, item in enumerate(items):
        name = labels[index] if labels else item.name
        if name.lower() in (known.lower() for known in found):
            wrong(node, f"a subquery has two columns called {name}", "give one an alias")
        found[name] = _type(node, name, type_of(item.expression, select.table))
    return list(found.items())


def _visible(select: Select) -> tuple[OutputItem, ...]:
    return select.items[: len(select.items) - select.hidden]


def _type(node: exp.Expr, name: str, given: ScalarType) -> SqlType:
    if given.family in ("int", "null"):
        return BIGINT
    if given.family == "decimal" and given.scale <= _SCALE_MAX:
        return decimal_type(_SCALE_MAX, given.scale)
    found = _KNOWN.get(given.name)
    if found is None:
        fail("AM-2148", column=name, type=given.name, where=where(node))
    return found


def _unique(select: Select) -> list[frozenset[int]]:
    """The group columns, where all of them are among the outputs; of one row, any column."""
    items = list(enumerate(_visible(select), start=1))
    if select.is_aggregate and not select.group_by:
        return [frozenset({number}) for number, _ in items]
    shown = {
        item.expression.column_id: number
        for number, item in items
        if isinstance(item.expression, ColumnRef)
    }
    if not select.group_by or not shown.keys() >= set(select.group_by):
        return []
    return [frozenset(shown[column_id] for column_id in select.group_by)]


# ---- scalars ---------------------------------------------------------------------------------


def _scalar(tree: exp.Select) -> exp.Subquery | None:
    """The first SELECT in brackets where a value or a list stands, outside of any other SELECT."""
    for node in tree.find_all(exp.Subquery):
        inside = node.find_ancestor(exp.Select)
        if inside is tree and not isinstance(node.parent, exp.Exists):
            return node
    return None


def _value_first(
    tree: exp.Select, node: exp.Subquery, catalogue: Catalogue, arguments: Arguments
) -> Staged:
    """One value, or behind IN a list of them, as constants."""
    only(node, ("this",), "write (SELECT one value FROM ...)")
    if not isinstance(node.this, exp.Select):
        refuse(node, "this form of subquery", "write (SELECT one value FROM ...)")
    first = _bound_inside(tree, node, catalogue, arguments)
    final = first.final
    if len(_visible(final)) != 1:
        wrong(node, "a subquery of several columns where one value stands", "select one")
    type_ = type_of(_visible(final)[0].expression, final.table)
    is_list = _is_list(node)

    def resume(answer: Answer | None) -> Select | Staged:
        if answer is None:
            values = [_placeholder(type_)]
        else:
            values = _values(answer) if is_list else [_value(answer)]
        names = [f"{ANSWER}{arguments.answers + 1 + index}" for index in range(len(values))]
        given = arguments
        for name, value in zip(names, values, strict=True):
            given = given.answering(name, value)
        return bind_query(_with_constants(tree, node, names), catalogue, given)

    return Staged(first, f"subquery {arguments.answers + 1}", not is_list, resume)


def _is_list(node: exp.Subquery) -> bool:
    """Whether ``node`` is what follows IN; left of it, or among the constants of a list, it is one
    value.
    """
    return isinstance(node.parent, exp.In) and node.parent.args.get("query") is node


def _with_constants(tree: exp.Select, node: exp.Subquery, names: Sequence[str]) -> exp.Select:
    """``tree`` with placeholders of these names for the subquery."""
    node.meta["marked"] = True
    rest = tree.copy()
    del node.meta["marked"]
    place = next(found for found in rest.find_all(exp.Subquery) if found.meta.get("marked"))
    meta = next((found.meta for found in node.walk() if "start" in found.meta), {})
    held = [exp.Placeholder(this=name) for name in names]
    for one in held:
        one.meta.update(meta)
    listed = place.parent
    if listed is not None and _is_list(place):
        listed.set("query", None)
        listed.set("expressions", held)
    else:
        place.replace(held[0])
    return rest


def _bound_inside(
    tree: exp.Select, node: exp.Subquery, catalogue: Catalogue, arguments: Arguments
) -> Select | Staged:
    """The subquery, bound alone. Raises: AM-2229 when it names a column of the query around it."""
    try:
        return bind_query(node.this, catalogue, arguments)
    except InvalidError as unknown:
        if unknown.code not in _UNKNOWN_NAMES:
            raise
        name = str(unknown.fields.get("column", unknown.fields.get("table"))).lower()
        if name.rpartition(".")[2] in _outer_names(tree, catalogue):
            what = "a subquery that refers to the query around it"
            fail("AM-2229", what=what, where=where(node))
        raise


def _outer_names(tree: exp.Select, catalogue: Catalogue) -> set[str]:
    source = tree.args.get("from_")
    nodes = [source.this] if source is not None else []
    nodes += [join.this for join in tree.args.get("joins") or ()]
    found = {node.alias_or_name.lower() for node in nodes}
    for node in nodes:
        table: Table = find_table(catalogue, node)
        found |= {column.name.lower() for column in table.columns}
    return found


def _values(answer: Answer) -> list[Value]:
    """The different values of an answer's only column."""
    (column,) = answer
    return [Decimal(repr(v)) if isinstance(v, float) else v for v in dict.fromkeys(column)]


def _value(answer: Answer) -> Value:
    """The only value of an answer; NULL when it has no row. Raises: AM-2149 for several rows."""
    (column,) = answer
    if len(column) > 1:
        fail("AM-2149", rows=len(column))
    found = column[0] if column else None
    return Decimal(repr(found)) if isinstance(found, float) else found


def _placeholder(type_: ScalarType) -> Value:
    """Some value of the type, to see whether a statement can be answered."""
    known: dict[str, Value] = {
        "DATE": datetime.date(1970, 1, 1),
        "BOOLEAN": False,
        "VARCHAR": "",
        "NULL": None,
    }
    if type_.family == "decimal":
        return Decimal(0).scaleb(-type_.scale)
    if type_.name in known:
        return known[type_.name]
    return datetime.datetime(1970, 1, 1) if type_.name == "TIMESTAMP" else 0


__all__ = ["bare", "bind_query"]
