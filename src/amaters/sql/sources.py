"""The tables of FROM, what names mean in them, and parts of dates of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from amaters.base.errors import fail
from amaters.columns.schema import Column, Table
from amaters.columns.types import BIGINT, TypeKind
from amaters.plan.dimensions import PARTS_OFFSET, DatePart
from amaters.sql.scope import bare, nearest, refuse, where, wrong

PART = "part"  # in the meta of a name: the id of the column it stands for
_PARTS: dict[type[exp.Expr], str] = {
    exp.Year: "year",
    exp.Quarter: "quarter",
    exp.Month: "month",
    exp.Day: "day",
}
_FIX = "take the YEAR, QUARTER, MONTH or DAY of a DATE of a table that is joined to a larger one"


@dataclass(frozen=True, slots=True)
class Source:
    """One table of FROM, under its name there; ``merged``: columns that USING made one with those
    of an earlier table. ``is_outer``: it was LEFT JOINed.
    """

    table: Table
    name: str
    merged: frozenset[int] = frozenset()
    is_outer: bool = False

    def find(self, name: str) -> Column | None:
        """The column of this name, letter case apart; an exact match first."""
        exact = (column for column in self.table.columns if column.name == name)
        alike = (c for c in self.table.columns if c.name.lower() == name.lower())
        return next(exact, None) or next(alike, None)


def find_column(node: exp.Column, sources: tuple[Source, ...]) -> tuple[int, Column] | None:
    """(index of the source, column) that a name means, or None.

    Raises: AM-2203 for a table that is not in FROM, AM-2225 for a name that several tables have.
    """
    if node.table:
        for index, source in enumerate(sources):
            if source.name.lower() == node.table.lower():
                column = source.find(node.name)
                return None if column is None else (index, column)
        near = nearest(node.table, (source.name for source in sources))
        fail("AM-2203", table=node.table, where=where(node), near=near)
    named = ((index, source.find(node.name)) for index, source in enumerate(sources))
    found = [
        (index, column)
        for index, column in named
        if column is not None and column.id not in sources[index].merged
    ]
    if len(found) > 1:
        tables = ", ".join(sources[index].name for index, _ in found)
        fail("AM-2225", column=node.name, where=where(node), tables=tables)
    return found[0] if found else None


def aliases_of(tree: exp.Select) -> Mapping[str, exp.Expr]:
    """What the names given in the select list stand for."""
    named = (item for item in tree.expressions if isinstance(item, exp.Alias))
    return {item.alias.lower(): bare(item.this) for item in named}


def date_parts(
    tree: exp.Select, sources: tuple[Source, ...], offsets: tuple[int, ...]
) -> tuple[tuple[DatePart, ...], tuple[Column, ...]]:
    """Every EXTRACT of a column becomes the name of a computed one. ``tree`` is changed.

    Raises: AM-2205 for parts of the fact's dates, of which the client has no list.
    """
    parts: dict[tuple[str, int], DatePart] = {}
    columns: list[Column] = []
    for node in list(tree.find_all(exp.Extract, *_PARTS)):
        operand = bare(node.expression if isinstance(node, exp.Extract) else node.this)
        if not isinstance(operand, exp.Column):
            continue
        found = find_column(operand, sources)
        if found is None:
            continue
        name, (index, column) = _part_of(node), found
        if column.type.kind is not TypeKind.DATE:
            wrong(node, f"{name.upper()} of a {column.type.sql_name}", _FIX)
        if not offsets[index]:
            refuse(node, f"{name.upper()} of {column.name} of the largest table", _FIX)
        key = name, offsets[index] + column.id
        if key not in parts:
            part = parts[key] = DatePart(PARTS_OFFSET + len(parts) + 1, *key)
            label = f"{name}({column.name})"
            columns.append(Column(part.column_id, label, BIGINT, column.nullable, hidden=True))
        held = exp.column(f"{name}({column.name})", quoted=True)
        held.meta.update(operand.this.meta)
        held.meta[PART] = parts[key].column_id
        node.replace(held)
    return tuple(parts.values()), tuple(columns)


def _part_of(node: exp.Expr) -> str:
    if not isinstance(node, exp.Extract):
        return _PARTS[type(node)]
    name = str(node.this.this).lower()
    if name not in _PARTS.values():
        refuse(node, f"EXTRACT of {name.upper()}", _FIX)
    return name
