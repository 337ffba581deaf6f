"""Rows 4011 to 4019 of the error table: the state of a database and its snapshots."""

from __future__ import annotations

from amaters.base import errors as e

ROWS: tuple[tuple[str, type[e.AmatersError], str, str, dict[str, str]], ...] = (
    (
        "AM-4011",
        e.DataError,
        "damaged state in {file}: {what}",
        "open the database again: its state is made again from a snapshot and the log",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-4012",
        e.DataError,
        "a command contradicts the state: {what}",
        "run `amaters admin verify`; if it finds damage, restore the database from a backup",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-4013",
        e.UnavailableError,
        "the state in {file} is refused: {what}",
        "see that nothing else uses the files of the database, then open it again",
        {"retry": "reconnect", "dbapi": "OperationalError"},
    ),
    (
        "AM-4014",
        e.DataError,
        "damaged snapshot {file}: {what}",
        "take a new snapshot while the database is open, or restore it from a backup",
        {"dbapi": "OperationalError"},
    ),
    (
        "AM-4015",
        e.DataError,
        "the state is lost and cannot be made again: {what}",
        "restore the database from a backup",
        {"dbapi": "OperationalError"},
    ),
)
