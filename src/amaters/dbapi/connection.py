"""PEP 249's ``connect`` and ``Connection``."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Unpack

from amaters.base import errors
from amaters.client.result import Result
from amaters.client.sync import Database, Transaction
from amaters.dbapi import exceptions
from amaters.dbapi.cursor import Cursor, Parameters
from amaters.embedded import ConnectOptions
from amaters.embedded import connect as open_database

_TRANSACTION = ("transaction", "commit", "rollback")
_COLLECTED = ("select", "insert", "update", "delete", "copy", "union")


class Connection:
    """An open database; threads may share it, and its transaction.

    A transaction begins with the first statement after ``connect``, ``commit`` or ``rollback``.
    It collects writes here; ``commit`` does all of them or none. With ``autocommit`` every
    statement commits by itself, but those after BEGIN. Statements that change the schema always do.
    """

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

    def __init__(self, database: Database, *, autocommit: bool = False) -> None:
        self._database = database
        self._autocommit = autocommit
        self._transaction: Transaction | None = None
        self._lock = threading.Lock()
        self._closed = False

    @property
    def autocommit(self) -> bool:
        """Whether a statement outside BEGIN is durable and visible to others when it returns.
        Raises, when it is set: ProgrammingError while changes wait to be committed.
        """
        return self._autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        with exceptions.translated():
            self._end_of_reading("autocommit cannot be set")
        self._autocommit = value

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction has begun."""
        return self._transaction is not None

    @property
    def database(self) -> Database:
        """The database in the Python API, outside the transaction. Raises: InterfaceError after
        ``close``.
        """
        with exceptions.translated():
            if self._closed:
                errors.fail("AM-5043", what="connection")
        return self._database

    def cursor(self) -> Cursor:
        """A new cursor."""
        _ = self.database
        return Cursor(self)

    def commit(self) -> None:
        """Make the transaction's changes durable, all of them or none.

        Raises: OperationalError (AM-3060) when a row that it fetched has changed meanwhile,
        IntegrityError for a key that exists by now; the transaction is over then, undone.
        """
        _ = self.database
        with self._lock:
            transaction, self._transaction = self._transaction, None
        if transaction is not None:
            with exceptions.translated():
                transaction.commit()

    def rollback(self) -> None:
        """Forget the transaction's changes; nothing of them was ever sent."""
        _ = self.database
        with self._lock:
            transaction, self._transaction = self._transaction, None
        if transaction is not None:
            with exceptions.translated():
                transaction.rollback()

    def close(self) -> None:
        """Close the database, changes that were not committed are forgotten; closing twice is
        harmless.
        """
        if not self._closed:
            self.rollback()
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
        """Commit, or roll back after an exception; then close."""
        try:
            if kind is None and not self._closed:
                self.commit()
        finally:
            self.close()

    # ---- for cursors -------------------------------------------------------------------------

    def run(self, operation: str, parameters: Parameters | None) -> Result:
        """One statement, in the transaction or by itself."""
        from amaters.sql.parser import parse_one

        database = self.database
        parsed = parse_one(operation)
        kind = parsed.tree.key
        explicit = self._autocommit and self._transaction is not None  # BEGIN was run
        if kind in _TRANSACTION and (parsed.explain is None or parsed.explain.analyze):
            return self._transact(kind)
        if self._autocommit and not explicit:
            return database.sql(parsed, parameters)
        if explicit or kind in _COLLECTED or kind in _TRANSACTION:
            return self._begun().sql(parsed, parameters)
        self._end_of_reading(f"{kind.upper()} cannot run")
        return database.sql(parsed, parameters)

    def run_many(self, operation: str, sets: Iterable[Parameters]) -> Result:
        """One statement for many sets of parameters, in the transaction or by itself."""
        database = self.database
        if self._autocommit and self._transaction is None:
            return database.sql_many(operation, sets)
        return self._begun().sql_many(operation, sets)

    def _transact(self, kind: str) -> Result:
        """BEGIN, COMMIT or ROLLBACK. With autocommit they come in pairs, as in the Python API; else
        a transaction has begun anyway. Raises: InvalidError AM-3132, AM-3133.
        """
        if kind == "transaction":
            if self._autocommit and self._transaction is not None:
                errors.fail("AM-3132")
            self._begun()
            return Result(message="began a transaction")
        if self._autocommit and self._transaction is None:
            errors.fail("AM-3133", what=f"nothing to {kind}")
        if kind == "commit":
            self.commit()
            return Result(message="committed")
        self.rollback()
        return Result(message="rolled back")

    def _begun(self) -> Transaction:
        with self._lock:
            if self._transaction is None:
                self._transaction = self._database.transaction()
            return self._transaction

    def _end_of_reading(self, what: str) -> None:
        """End a transaction that changed nothing. Raises: InvalidError AM-5045."""
        with self._lock:
            if self._transaction is not None and self._transaction.is_changed:
                errors.fail("AM-5045", what=what)
            self._transaction = None


def connect(
    database: str | os.PathLike[str],
    *,
    autocommit: bool = False,
    **options: Unpack[ConnectOptions],
) -> Connection:
    """Open a database; ``options`` are those of ``amaters.connect``.

    Raises: OperationalError, InterfaceError, ProgrammingError.
    """
    with exceptions.translated():
        return Connection(open_database(database, **options), autocommit=autocommit)
