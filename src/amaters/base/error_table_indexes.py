"""Rows 2350 to 2359 and 3090 to 3099 of the error table: indexes, declared and kept."""

from __future__ import annotations

from amaters.base import errors as e

ROWS: tuple[tuple[str, type[e.AmatersError], str, str, dict[str, str]], ...] = (
    (
        "AM-2350",
        e.ConflictError,
        "index {index} exists already",
        "choose another name, write IF NOT EXISTS, or DROP INDEX {index} first",
        {},
    ),
    (
        "AM-2351",
        e.InvalidError,
        "there is no index {index}",
        "check the name, or write DROP INDEX IF EXISTS; the indexes are: {indexes}",
        {},
    ),
    (
        "AM-2352",
        e.InvalidError,
        "table {table} cannot have such an index: {what}",
        "{fix}",
        {},
    ),
    (
        "AM-3090",
        e.ConflictError,
        "index {index} of table {table} cannot be unique: some rows share a value; it was dropped",
        "delete or change the rows, or leave UNIQUE out",
        {"dbapi": "IntegrityError"},
    ),
    (
        "AM-3091",
        e.InvalidError,
        "there is no such index on the engine",
        "list the tables again; another client may have dropped it",
        {},
    ),
    (
        "AM-3092",
        e.ConflictError,
        "row {row} written to {table} has a value of the unique index {index} that another row has",
        "write other values, or delete the other row first",
        {"dbapi": "IntegrityError"},
    ),
    (
        "AM-3093",
        e.InvalidError,
        "rows {first} and {second} of the batch share a value of the unique index {index}",
        "insert each value once",
        {"dbapi": "IntegrityError"},
    ),
    (
        "AM-3094",
        e.ConflictError,
        "another row has the value that the unique index {index} allows once",
        "put other values, or delete the other row in the same batch",
        {"dbapi": "IntegrityError"},
    ),
)
