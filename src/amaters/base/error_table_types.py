"""Rows 2070 to 2079 and 2150 to 2159 of the error table: TIMESTAMP and BLOB, and FETCH."""

from __future__ import annotations

from amaters.base import errors as e

ROWS: tuple[tuple[str, type[e.AmatersError], str, str, dict[str, str]], ...] = (
    (
        "AM-2070",
        e.InvalidError,
        "{where}: the BLOB is longer than {limit} bytes",
        "store it in parts, or elsewhere and here where it is",
        {"dbapi": "DataError"},
    ),
    (
        "AM-2150",
        e.InvalidError,
        "FETCH {mode} is for a SELECT of rows of one table, without subqueries",
        "leave it out: totals do not show which rows they are about",
        {"dbapi": "NotSupportedError"},
    ),
    (
        "AM-2151",
        e.InvalidError,
        "column {column} cannot be set together with an accumulate column, which hides its rows",
        "set accumulate columns in a statement of their own",
        {"dbapi": "NotSupportedError"},
    ),
)
