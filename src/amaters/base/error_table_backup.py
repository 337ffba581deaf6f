"""Rows 4040 to 4059 of the error table: migrations, backups, restoring and verifying."""

from __future__ import annotations

from amaters.base import errors as e

ROWS: tuple[tuple[str, type[e.AmatersError], str, str, dict[str, str]], ...] = (
    (
        "AM-4040",
        e.DataError,
        "no migration leads from format {found} to format {wanted}",
        "open the database with the amaters that wrote it, and insert its rows into a new one",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-4041",
        e.DataError,
        "damaged backup {name}: {what}",
        "restore another backup, or make a full one of the database",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-4042",
        e.UsageError,
        "there is no backup {name} in {target}",
        "`amaters admin backups` names those that are there",
        {},
    ),
    (
        "AM-4043",
        e.ConflictError,
        "{path} is not empty",
        "name a new directory, or replace what is there (--replace)",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-4044",
        e.InvalidError,
        "backup {name} cannot be continued: {what}",
        "make a full backup",
        {},
    ),
    (
        "AM-4046",
        e.DataError,
        "{path} is damaged: {count} findings",
        "restore the database from a backup",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-4047",
        e.InvalidError,
        "a database in memory has no directory to {what}",
        "name the directory of a database",
        {},
    ),
)
