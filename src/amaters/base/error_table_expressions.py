"""Rows 2120 to 2129 and 2210 to 2219 (expressions) of the error table."""

from __future__ import annotations

from collections.abc import Callable

from amaters.base import errors as e


def fill_planning(define: Callable[..., None]) -> None:
    """2120 to 2129, 2210 to 2219: expressions that cannot be computed as they stand."""
    define(
        "AM-2120",
        e.InvalidError,
        "integer division by zero",
        "divide with /, or only where the divisor is not zero",
        dbapi="DataError",
    )
    define(
        "AM-2121",
        e.InvalidError,
        "only + - and * of columns and numbers can be totalled, stored or compared in WHERE",
        "divide totals instead, as in SUM(a) / COUNT(*), or multiply by a decimal",
        dbapi="NotSupportedError",
    )
    define(
        "AM-2122",
        e.InvalidError,
        "an expression is too long: it has {what} when multiplied out",
        "total its parts, or declare a GENERATED column for it",
        dbapi="NotSupportedError",
    )
    define(
        "AM-2123",
        e.InvalidError,
        "the product {product} of encrypted columns cannot be totalled: {why}",
        "declare a column GENERATED ALWAYS AS ({product}) STORED ENCRYPTED WITH (QUERIES = 'sum')",
        dbapi="NotSupportedError",
    )
    define(
        "AM-2124",
        e.InvalidError,
        "a comparison of expressions cannot read the encrypted columns {columns} of {table}",
        "declare a column GENERATED ALWAYS AS (expression) STORED ENCRYPTED WITH "
        "(QUERIES = 'range') and compare it with a constant, or compare totals in HAVING",
        dbapi="NotSupportedError",
    )
    define(
        "AM-2210",
        e.InvalidError,
        "column {column} cannot be generated: {what}",
        "{fix}",
        dbapi="NotSupportedError",
    )
    define(
        "AM-2211",
        e.InvalidError,
        "column {table}.{column} is generated and takes no value",
        "leave it out: it is computed from the row's other columns",
    )
