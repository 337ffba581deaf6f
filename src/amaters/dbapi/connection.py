"""PEP 249's ``connect`` and ``Connection``."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

from amaters.base import errors
from amaters.client.sync import Database
from amaters.dbapi import exceptions
from amaters.dbapi.cursor import Cursor


class Connection:
    """An open database; threads may share it. Every statement commits by itself."""

    Warning = exceptions.Warning
    Error = exceptions.Error
    InterfaceError = exceptions.InterfaceError
    DatabaseError = exceptions.DatabaseError
    DataError = exceptions.DataError
    OperationalError = exceptions.OperationalError
    IntegrityError = exceptions.IntegrityError
    InternalError = exceptions.InternalError
    ProgrammingError = exceptions.ProgrammingError
    NotSupportedError = exceptions.NotSupportedError

    def __init__(self, database: Database) -> None:
        self._database = database
        self._closed = False

    @property
    def autocommit(self) -> bool:
        """True: a statement is durable and visible to others when it returns."""
        return True

    @property
    def database(self) -> Database:
        """The database in the Python API. Raises: InterfaceError after ``close``."""
        with exceptions.translated():
            if self._closed:
                errors.fail("AM-5043", what="connection")
        return self._database

    def cursor(self) -> Cursor:
        """A new cursor."""
        _ = self.database
        return Cursor(self)

    def commit(self) -> None:
        """Nothing is left to do: every statement has committed."""
        _ = self.database

    def rollback(self) -> None:
        """Raises: NotSupportedError, for every statement has committed."""
        _ = self.database
        with exceptions.translated():
            fix = "collect changes that belong together in connection.database.batch()"
            errors.fail("AM-2108", what="rollback", fix=fix)

    def close(self) -> None:
        """Close the database; closing twice is harmless."""
        if not self._closed:
            self._closed = True
            with exceptions.translated():
                self._database.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def connect(database: str | os.PathLike[str], **options: Any) -> Connection:
    """Open a database; ``options`` are those of ``amaters.connect``.

    Raises: OperationalError, InterfaceError, ProgrammingError.
    """
    from amaters.embedded import connect as open_database

    with exceptions.translated():
        return Connection(open_database(database, **options))
