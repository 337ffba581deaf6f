"""Rows 2070 to 2079 of the error table: values of the types TIMESTAMP and BLOB."""

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
)
