"""Rows 3130 to 3139 of the error table: transactions."""

from __future__ import annotations

from amaters.base import errors as e

ROWS: tuple[tuple[str, type[e.AmatersError], str, str, dict[str, str]], ...] = (
    (
        "AM-3130",
        e.InvalidError,
        "table {table} has uncommitted changes: the engine cannot order or join what it lacks",
        "COMMIT first, ask before you write, or select the rows and go on with them",
        {"dbapi": "NotSupportedError"},
    ),
    (
        "AM-3131",
        e.InvalidError,
        "{what} cannot be part of a transaction",
        "COMMIT or ROLLBACK first",
        {"dbapi": "NotSupportedError"},
    ),
    (
        "AM-3132",
        e.InvalidError,
        "a transaction has begun already",
        "COMMIT or ROLLBACK it; transactions do not nest",
        {"dbapi": "ProgrammingError"},
    ),
    (
        "AM-3133",
        e.InvalidError,
        "there is no transaction: {what}",
        "BEGIN one, or use db.transaction()",
        {"dbapi": "ProgrammingError"},
    ),
)
