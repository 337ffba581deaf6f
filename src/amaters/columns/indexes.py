"""Definitions of secondary indexes: part of the public schema, so of what its MAC covers.

Only public columns can be indexed: the engine reads them anyway, an index shows it nothing new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amaters.base.errors import fail

INDEXES_MAX = 64
INDEX_COLUMNS_MAX = 8
NAME_CHARACTERS_MAX = 128


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """An ordered index over public columns, by id, most significant first.

    ``unique``: no two live rows agree in all columns; a NULL agrees with nothing. ``number`` is
    unique within the table.
    """

    number: int
    name: str
    columns: tuple[int, ...]
    unique: bool = False


def default_name(table: str, columns: Sequence[str], *, unique: bool) -> str:
    """What an index without a name is called, as in PostgreSQL."""
    return "_".join((table, *columns, "key" if unique else "idx"))[:NAME_CHARACTERS_MAX]


def next_number(indexes: Sequence[IndexDefinition]) -> int:
    """A number that none of ``indexes`` has."""
    return max((index.number for index in indexes), default=0) + 1


def check_name(name: str) -> None:
    """Raises: AM-2020."""
    if not (0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable() and name.strip() == name):
        fail("AM-2020", what="an index's name")


def check_indexes(table: str, indexes: Sequence[IndexDefinition]) -> None:
    """Limits, and names that differ. Raises: AM-2020, AM-2350, AM-2352."""
    if len(indexes) > INDEXES_MAX:
        _refuse(table, f"it would be more than {INDEXES_MAX}", "drop one that is not needed")
    seen: set[str] = set()
    for index in indexes:
        check_name(index.name)
        if index.name.lower() in seen:
            fail("AM-2350", index=index.name)
        seen.add(index.name.lower())
        if len(set(index.columns)) != len(index.columns):
            _refuse(table, f"{index.name} names a column twice", "name each column once")
        if not 1 <= len(index.columns) <= INDEX_COLUMNS_MAX:
            what = f"{index.name} is over {len(index.columns)} columns"
            _refuse(table, what, f"use 1 to {INDEX_COLUMNS_MAX} columns")


def _refuse(table: str, what: str, fix: str) -> None:
    fail("AM-2352", table=table, what=what, fix=fix)
