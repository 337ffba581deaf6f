"""Rows 2060 to 2069 and 3100 to 3119 of the error table: ALTER TABLE and VACUUM."""

from __future__ import annotations

from amaters.base import errors as e

ROWS: tuple[tuple[str, type[e.AmatersError], str, str, dict[str, str]], ...] = (
    (
        "AM-2060",
        e.InvalidError,
        "column {table}.{column} cannot be {what} yet: ALTER TABLE is still encrypting{progress}",
        "wait for the client that does it, or go on where it stopped: amaters admin resume, or "
        "ALTER TABLE again",
        {},
    ),
    (
        "AM-2061",
        e.InvalidError,
        "column {column} cannot be added to table {table}: it {what}",
        "{fix}",
        {},
    ),
    ("AM-2062", e.InvalidError, "column {table}.{column} cannot {what}", "{fix}", {}),
    (
        "AM-2063",
        e.InvalidError,
        "column {table}.{column} cannot be NOT NULL: {count} rows hold NULL in it",
        "UPDATE those rows first, or give the new column a DEFAULT",
        {"dbapi": "IntegrityError"},
    ),
    (
        "AM-2064",
        e.InvalidError,
        "column {column} cannot have this DEFAULT: {what}",
        "give a constant that the column may hold, or none",
        {},
    ),
    (
        "AM-3100",
        e.ConflictError,
        "a segment of table {table} was rewritten, or encrypted by another client, meanwhile",
        "look at the table again and go on with what is left",
        {"retry": "same", "dbapi": "OperationalError"},
    ),
    (
        "AM-3101",
        e.ConflictError,
        "{count} segments of table {table} lack encodings of the schema that is to be",
        "encrypt them first: repeat ALTER TABLE",
        {"retry": "same", "dbapi": "OperationalError"},
    ),
    (
        "AM-3102",
        e.ConflictError,
        "table {table} changed while its rows were looked at",
        "look again",
        {"retry": "same", "dbapi": "OperationalError"},
    ),
)
