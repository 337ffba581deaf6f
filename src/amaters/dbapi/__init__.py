"""DB-API 2.0 (PEP 249) over ``amaters.connect``.

    from amaters import dbapi
    with dbapi.connect("pay.amaters") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT grade, sum(salary) FROM pay WHERE age > ? GROUP BY grade", (40,))
        print(cursor.fetchall())

Threads may share the module and connections, not cursors. Parameters are ``?`` with a sequence, or
``:name`` with a mapping; their values are encrypted or bound like constants in the text.
"""

from __future__ import annotations

from amaters.dbapi.connection import Connection, connect
from amaters.dbapi.cursor import Cursor
from amaters.dbapi.exceptions import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,  # noqa: A004 - PEP 249 names it
)
from amaters.dbapi.types import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    Date,
    DateFromTicks,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
)

apilevel = "2.0"
threadsafety = 2
paramstyle = "qmark"

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]
