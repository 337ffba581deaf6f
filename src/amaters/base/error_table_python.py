"""Rows 5040 to 5059 of the error table: the Python API, DB-API and the command line."""

from __future__ import annotations

from amaters.base import errors as e

ROWS: tuple[tuple[str, type[e.AmatersError], str, str, dict[str, str]], ...] = (
    (
        "AM-5040",
        e.InvalidError,
        "{what} cannot be run for many sets of parameters",
        "run INSERT, UPDATE or DELETE so; anything else once, with execute() or sql()",
        {},
    ),
    (
        "AM-5041",
        e.UnavailableError,
        "the statement took longer than {seconds} s and was cancelled",
        "pass a larger timeout_seconds (EXPLAIN estimates the time); a write that was cut off may "
        "have happened all the same: look before repeating it",
        {},
    ),
    (
        "AM-5042",
        e.InvalidError,
        "there is nothing to fetch: {what}",
        "fetch after execute() of a SELECT or EXPLAIN",
        {},
    ),
    (
        "AM-5043",
        e.ClosedError,
        "the {what} is closed",
        "make another one",
        {},
    ),
    (
        "AM-5044",
        e.InvalidError,
        "this EXPLAIN needs to ask the server ({what}), which a local one does not",
        "refresh() first (.refresh at the prompt), or explain without local",
        {},
    ),
    (
        "AM-5045",
        e.InvalidError,
        "{what} while changes wait to be committed",
        "commit() or rollback() first",
        {},
    ),
    (
        "AM-5046",
        e.InvalidError,
        "a progress callback cannot wait for the database that calls it",
        "note what it says, and use the database when the statement has returned",
        {},
    ),
)
