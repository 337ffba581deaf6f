"""Rows 22xx (SQL text and its names) of the error table."""

from __future__ import annotations

from collections.abc import Callable

from amaters.base import errors as e


def fill_text(define: Callable[..., None]) -> None:
    """22xx: text that is not SQL, or is SQL beyond what is answered. ``where``: line and column."""
    define("AM-2201", e.InvalidError, "cannot read the statement at {where}: {what}", "{fix}")
    define(
        "AM-2202",
        e.InvalidError,
        "the statement is too {what}: at most {limit}",
        "split it; use insert() or COPY for many rows",
    )
    define(
        "AM-2203",
        e.InvalidError,
        "there is no table {table} ({where}){near}",
        "check the name, or CREATE TABLE first",
    )
    define(
        "AM-2204",
        e.InvalidError,
        "table {table} has no column {column} ({where}){near}",
        "its columns are: {columns}",
    )
    define(
        "AM-2205",
        e.InvalidError,
        "{what} is not supported ({where})",
        "{fix}",
        dbapi="NotSupportedError",
    )
    define("AM-2206", e.InvalidError, "parameters do not fit the statement: {what}", "{fix}")
    define(
        "AM-2207",
        e.InvalidError,
        "column {column} must appear in GROUP BY or inside an aggregate ({where})",
        "add it to GROUP BY, or aggregate it",
    )
    define(
        "AM-2208",
        e.InvalidError,
        "{what} at {where}",
        "{fix}",
    )
