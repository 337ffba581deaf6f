"""Rows 3070 to 3089 and 5030 to 5039 of the error table: leases, merging and compaction."""

from __future__ import annotations

from amaters.base import errors as e

ROWS: tuple[tuple[str, type[e.AmatersError], str, str, dict[str, str]], ...] = (
    (
        "AM-3071",
        e.ConflictError,
        "another client exchanges the tail of table {table} by now",
        "ask for the lease again and begin with the tail as it is then",
        {"retry": "same", "dbapi": "OperationalError"},
    ),
    (
        "AM-3072",
        e.ConflictError,
        "the lease of the slots that a partial segment of table {table} was made for is over",
        "lease slots again and encrypt the rows into them",
        {"retry": "same", "dbapi": "OperationalError"},
    ),
    (
        "AM-3073",
        e.ConflictError,
        "parts of a merged segment of table {table} have left it",
        "nothing was lost; what is left is merged later",
        {"retry": "same", "dbapi": "OperationalError"},
    ),
    (
        "AM-5030",
        e.ConflictError,
        "table {table} changed under all of {attempts} attempts to rewrite one of its segments",
        "run it again when fewer writers are at work; what was rewritten stays",
        {"retry": "backoff", "dbapi": "OperationalError"},
    ),
)
