"""Rows by primary key at the prompt: ``get``, ``set``, ``delete`` and ``range``.

    get TABLE KEY [KEY ...]          set TABLE KEY COLUMN=VALUE ...
    delete TABLE KEY [KEY ...]       range TABLE FROM TO

TABLE may be left out where there is one table only. Values are written as in SQL without quotes, or
in quotes where they contain spaces; ``null`` is NULL. In ``range`` a dash leaves an end open.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from amaters.base import errors
from amaters.client.result import Result
from amaters.client.sync import Database
from amaters.client.sync import Table as Handle
from amaters.columns.schema import Column, Table
from amaters.columns.types import PythonValue, from_storage, from_text

USAGE = {
    "get": "get TABLE KEY [KEY ...]",
    "set": "set TABLE KEY COLUMN=VALUE ...",
    "delete": "delete TABLE KEY [KEY ...]",
    "range": "range TABLE FROM TO (a dash leaves an end open)",
}


@dataclass(frozen=True, slots=True)
class Point:
    """One command, understood against the schema."""

    verb: str
    table: Table
    keys: tuple[PythonValue | None, ...]
    values: Mapping[str, PythonValue | None]

    def run(self, db: Database, table: Handle) -> Result:
        """Do it. ``set`` replaces a row's columns that are named; the others stay, or are NULL."""
        match self.verb:
            case "get":
                return table.get_many(self.keys)
            case "range":
                return table.range(*self.keys).collect()
            case "delete":
                count = table.delete(self.keys)
                return Result(message=f"deleted {count:,} rows", changed=count)
        with db.batch() as batch:
            key = {self.table.primary_key.name: self.keys[0]}
            known = batch.get(self.table.name, self.keys[0]) or {}
            batch.upsert(self.table.name, [{**known, **key, **self.values}])
        return Result(message="set 1 row", changed=1)

    def explain(self, table: Handle) -> str:
        """What it would do and show, from what this client knows already."""
        if self.verb == "range":
            return table.range(*self.keys).explain(local=True)
        operation = {"set": "upsert"}.get(self.verb, self.verb)
        return table.explain(operation, len(self.keys), local=True)


def is_point(text: str) -> bool:
    """Whether a line is one of these commands and not SQL."""
    words = text.split(None, 2)
    verb = words[0].lower() if words else ""
    return verb in USAGE and not (verb == "delete" and words[1:2] and words[1].upper() == "FROM")


def read_point(text: str, catalogue: Mapping[str, Table]) -> Point:
    """The command in ``text``. Raises: UsageError AM-1001, InvalidError AM-20xx, AM-5009."""
    try:
        verb, *words = shlex.split(text.strip().rstrip(";"))
    except ValueError:
        errors.fail("AM-1001", what="a quote is not closed", fix="close it")
    verb = verb.lower()
    table, words = _table(verb, words, catalogue)
    key = table.primary_key
    if verb == "range":
        if len(words) != 2:
            _refuse(verb)
        bounds = tuple(None if word == "-" else _value(key, word) for word in words)
        return Point(verb, table, bounds, {})
    if verb == "set":
        return Point(verb, table, (_value(key, words[0]),), _assigned(table, words[1:]))
    return Point(verb, table, tuple(_value(key, word) for word in words), {})


def _table(
    verb: str, words: Sequence[str], catalogue: Mapping[str, Table]
) -> tuple[Table, list[str]]:
    """The table a command names, or the only one, and what is left of the command."""
    by_name = {name.lower(): table for name, table in catalogue.items()}
    if words and words[0].lower() in by_name:
        table, rest = by_name[words[0].lower()], list(words[1:])
    elif len(catalogue) == 1:
        table, rest = next(iter(catalogue.values())), list(words)
    else:
        name = words[0] if words else "without a name"
        errors.fail("AM-5009", table=name, tables=", ".join(sorted(catalogue)) or "none")
    if not rest:
        _refuse(verb)
    return table, rest


def _assigned(table: Table, words: Sequence[str]) -> dict[str, PythonValue | None]:
    values: dict[str, PythonValue | None] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign:
            _refuse("set")
        column = table.column(name)
        values[column.name] = None if text.lower() == "null" else _value(column, text)
    return values


def _value(column: Column, text: str) -> PythonValue | None:
    return from_storage(column.type, from_text(column.type, text, where=f"column {column.name}"))


def _refuse(verb: str) -> NoReturn:
    errors.fail("AM-1001", what=f"{verb} needs more or fewer words", fix=f"write {USAGE[verb]}")
