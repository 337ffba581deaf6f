"""Names and places: tables and columns by name, and refusals that say where and what instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from sqlglot import exp

from amaters.base.errors import fail
from amaters.columns.schema import Column, Table
from amaters.sql.dialect import place

Catalogue = Mapping[str, Table]


def where(node: exp.Expr) -> str:
    """Line and column where ``node`` starts, as well as its tree tells."""
    known = [found.meta for found in node.walk() if "start" in found.meta]
    parent = node.parent
    while not known and parent is not None:
        known = [parent.meta] if "start" in parent.meta else []
        parent = parent.parent
    if not known:
        return "position unknown"
    first = min(known, key=lambda meta: int(meta["start"]))
    return place(first["line"], max(first["col"] - (first["end"] - first["start"]), 1))


def refuse(node: exp.Expr, what: str, fix: str) -> NoReturn:
    """Raise AM-2205 for something that is SQL but is not answered."""
    fail("AM-2205", what=what, where=where(node), fix=fix)


def wrong(node: exp.Expr, what: str, fix: str) -> NoReturn:
    """Raise AM-2208 for something that has no meaning as it stands."""
    fail("AM-2208", what=what, where=where(node), fix=fix)


def only(node: exp.Expr, allowed: Iterable[str], fix: str) -> None:
    """Refuse every clause of ``node`` that is not in ``allowed``, instead of ignoring it."""
    permitted = set(allowed)
    for name, value in node.args.items():
        if name in permitted or value is None or value is False or value == []:
            continue
        inner = value[0] if isinstance(value, list) else value
        label = name.strip("_").upper()
        if isinstance(inner, exp.Expr):
            refuse(inner, f"{label} in {node.key.upper()}", fix)
        refuse(node, f"{label} in {node.key.upper()}", fix)


def bare(node: exp.Expr) -> exp.Expr:
    """``node`` without the brackets around it."""
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the closest known name, empty if none is close."""
    by_lower = {other.lower(): other for other in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[found[0]]}?" if found else ""


def find_table(catalogue: Catalogue, node: exp.Expr) -> Table:
    """The table a FROM, INTO or COPY names. Raises: AM-2203, AM-2205."""
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
        refuse(node, "anything but one table here", "name one table")
    only(node, ("this", "alias"), "name the table alone, as in FROM pay")
    name = node.name
    if name in catalogue:
        return catalogue[name]
    for known, table in catalogue.items():
        if known.lower() == name.lower():
            return table
    fail("AM-2203", table=name, where=where(node), near=nearest(name, catalogue))


@dataclass(frozen=True, slots=True)
class Scope:
    """What names mean in one SELECT: its table, known by ``name``, and the list's aliases."""

    table: Table
    name: str
    aliases: Mapping[str, exp.Expr]

    def find(self, node: exp.Column) -> Column | None:
        """The column ``node`` names, or None. Raises: AM-2204 for another table."""
        only(node, ("this", "table"), "write column or table.column")
        if isinstance(node.this, exp.Star):
            refuse(node, "* among other expressions", "name the columns")
        if node.table and node.table.lower() != self.name.lower():
            self._unknown(node, f"{node.table}.{node.name}")
        exact = [column for column in self.table.columns if column.name == node.name]
        alike = [c for c in self.table.columns if c.name.lower() == node.name.lower()]
        return next(iter(exact + alike), None)

    def star(self, node: exp.Column | None) -> tuple[Column, ...]:
        """What ``*`` stands for, or ``table.*``. Raises: AM-2203 for another table."""
        if node is not None and node.table.lower() != self.name.lower():
            fail("AM-2203", table=node.table, where=where(node), near="")
        return self.table.visible_columns

    def column(self, node: exp.Column) -> Column:
        """The column ``node`` names, possibly through an alias. Raises: AM-2204."""
        found = self.find(node)
        if found is not None:
            return found
        alias = self.aliases.get(node.name.lower())
        if not node.table and isinstance(alias, exp.Column):
            found = self.find(alias)
        return found if found is not None else self._unknown(node, node.name)

    def _unknown(self, node: exp.Column, name: str) -> NoReturn:
        names = [column.name for column in self.table.visible_columns]
        fail(
            "AM-2204",
            table=self.table.name,
            column=name,
            where=where(node),
            near=nearest(node.name, names),
            columns=", ".join(names),
        )
