"""Rows of LIKE over encrypted columns and of joins (2140 to 2149, 2225 to 2229)."""

from __future__ import annotations

from collections.abc import Callable

from amaters.base import errors as e


def fill(define: Callable[..., None]) -> None:
    """Define them, in order of code."""
    define(
        "AM-2140",
        e.InvalidError,
        "LIKE over the encrypted column {column} compares prefixes only",
        "write LIKE 'text%'; for a suffix store the text reversed in a second column; other "
        "patterns need a column declared for group with VALUES, or a public one",
        dbapi="NotSupportedError",
    )
    define(
        "AM-2141",
        e.InvalidError,
        "the text compared with {column} is too long: it was declared for prefix({length})",
        "use fewer bytes ('=' takes one less than LIKE), or declare the column for eq or for a "
        "longer prefix",
    )
    define(
        "AM-2142",
        e.InvalidError,
        "column {column}: a prefix has a length of 1 to {limit} bytes",
        "write prefix(8), once",
    )
    _joins(define)
    _joins_text(define)


def _joins(define: Callable[..., None]) -> None:
    """What cannot be planned."""
    define(
        "AM-2143",
        e.InvalidError,
        "GROUP BY {column} has more than {limit} different values to be told apart by vectors",
        "group by the column of the large table that leads there, and join the answer",
    )
    define(
        "AM-2144",
        e.InvalidError,
        "{table} cannot be joined through an encrypted column of {fact}",
        "join on public columns; or on one encrypted column declared for group, or for eq where "
        "{table} has at most 256 rows",
        dbapi="NotSupportedError",
    )
    define(
        "AM-2145",
        e.InvalidError,
        "table {table} has {rows} rows: at most {limit} are read to be joined",
        "join smaller tables, or store what is needed of it with the large table",
    )
    define(
        "AM-2146",
        e.InvalidError,
        "{columns} cannot be used together: one is an encrypted column of {fact} or found by one",
        "compare the columns of one table with constants, or make the column of {fact} public",
        dbapi="NotSupportedError",
    )
    define(
        "AM-2147",
        e.InvalidError,
        "the vectors of this join would take {bytes} bytes: at most {limit} are sent at once",
        "select fewer rows of {table} by a condition on its public columns, or ask for less",
    )
    define(
        "AM-2148",
        e.InvalidError,
        "column {column} of a subquery is a {type}, which no table made of an answer can hold "
        "({where})",
        "select integers, decimals of up to 18 places, dates, booleans or texts: SUM and COUNT "
        "instead of AVG",
        dbapi="NotSupportedError",
    )
    define(
        "AM-2149",
        e.InvalidError,
        "a subquery in place of a value gave {rows} rows",
        "make it an aggregate, or add LIMIT 1",
    )


def _joins_text(define: Callable[..., None]) -> None:
    """What FROM says."""
    define(
        "AM-2225",
        e.InvalidError,
        "column {column} is in several tables: {tables} ({where})",
        "write table.column",
    )
    define(
        "AM-2226",
        e.InvalidError,
        "{what} is not supported ({where})",
        "write JOIN or LEFT JOIN ... ON; a table may be LEFT JOINed on its unique key, with "
        "conditions on its own columns",
        dbapi="NotSupportedError",
    )
    define(
        "AM-2227",
        e.InvalidError,
        "none of the tables {tables} leads to at most one row of each other ({where})",
        "join on primary keys or on columns with a UNIQUE index, all but one table on its own",
        dbapi="NotSupportedError",
    )
    define(
        "AM-2228",
        e.InvalidError,
        "table {table} is joined on nothing ({where})",
        "write ON a.key = b.key",
        dbapi="NotSupportedError",
    )
    define(
        "AM-2229",
        e.InvalidError,
        "{what} is not supported ({where})",
        "write it as a join with a subquery in FROM or WITH that stands alone",
        dbapi="NotSupportedError",
    )
