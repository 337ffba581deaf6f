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
