"""PEP 249's ``Cursor``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from amaters.base import errors
from amaters.client.result import Result, Stats
from amaters.dbapi.exceptions import translated

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from amaters.dbapi.connection import Connection

Row = tuple[Any, ...]
Parameters = Sequence[Any] | Mapping[str, Any]
Description = tuple[str, str, None, None, int | None, int | None, None]
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")


class Cursor:
    """Runs statements and hands out the rows of the last one. Not for several threads."""

    def __init__(self, connection: Connection) -> None:
        self.arraysize = 1
        self._connection = connection
        self._result: Result | None = None
        self._rows: Iterator[Row] = iter(())
        self._given = 0
        self._closed = False

    # ---- what the last statement was ---------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """The connection it was made by."""
        return self._connection

    @property
    def description(self) -> tuple[Description, ...] | None:
        """Name, type code (the SQL type), precision and scale of each column; None without rows."""
        if self._result is None or not self._result.names:
            return None
        pairs = zip(self._result.names, self._result.types, strict=True)
        return tuple((name, kind, None, None, *_sizes(kind), None) for name, kind in pairs)

    @property
    def rowcount(self) -> int:
        """Rows of the answer, or rows changed; -1 when there is no such number."""
        if self._result is None:
            return -1
        if self._result.names:
            return len(self._result)
        return -1 if self._result.changed is None else self._result.changed

    @property
    def rownumber(self) -> int | None:
        """Index of the next row; None when there is nothing to fetch."""
        return self._given if self._result is not None and self._result.names else None

    @property
    def lastrowid(self) -> None:
        """Keys are the program's own, or hidden."""
        return None

    @property
    def stats(self) -> Stats:
        """What the last statement cost."""
        return self._result.stats if self._result is not None else Stats()

    @property
    def learned(self) -> tuple[str, ...]:
        """What the engine learned from the last statement."""
        return self._result.learned if self._result is not None else ()

    # ---- running -----------------------------------------------------------------------------

    def execute(self, operation: str, parameters: Parameters | None = None) -> Cursor:
        """Run one statement; returns this cursor. Raises: see ``amaters.dbapi.exceptions``."""
        self._open()
        self._forget()
        with translated():
            self._take(self._connection.run(operation, parameters))
        return self

    def executemany(self, operation: str, seq_of_parameters: Iterable[Parameters]) -> Cursor:
        """Run one INSERT, UPDATE or DELETE for each set of parameters; INSERTs as one batch, all or
        nothing. Raises: ProgrammingError for a statement that returns rows.
        """
        self._open()
        self._forget()
        with translated():
            self._take(self._connection.run_many(operation, seq_of_parameters))
        return self

    def setinputsizes(self, sizes: object) -> None:
        """Nothing: sizes follow from the schema."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Nothing: values come whole."""

    def _forget(self) -> None:
        self._result, self._rows, self._given = None, iter(()), 0

    def _take(self, result: Result) -> None:
        self._result, self._rows, self._given = result, iter(result), 0

    # ---- fetching ----------------------------------------------------------------------------

    def fetchone(self) -> Row | None:
        """The next row, or None."""
        self._answer()
        row = next(self._rows, None)
        self._given += row is not None
        return row

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """The next ``size`` rows (by default ``arraysize``), fewer at the end."""
        self._answer()
        count = self.arraysize if size is None else size
        rows = [row for _, row in zip(range(count), self._rows, strict=False)]
        self._given += len(rows)
        return rows

    def fetchall(self) -> list[Row]:
        """All rows that are left."""
        self._answer()
        rows = list(self._rows)
        self._given += len(rows)
        return rows

    def fetch_arrow_table(self) -> pyarrow.Table:
        """The rows that are left as a ``pyarrow.Table``."""
        left = self._answer().arrow().slice(self._given)
        self.fetchall()
        return left

    def fetch_df(self) -> pandas.DataFrame:
        """The rows that are left as a pandas data frame."""
        from amaters.client.result import require

        with translated():
            require("pandas", "fetch_df()")
        return self.fetch_arrow_table().to_pandas()

    def __iter__(self) -> Cursor:
        return self

    def __next__(self) -> Row:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    # ---- its life ----------------------------------------------------------------------------

    def close(self) -> None:
        """Give the answer up; closing twice is harmless."""
        self._closed = True
        self._forget()

    def __enter__(self) -> Cursor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> None:
        with translated():
            if self._closed:
                errors.fail("AM-5043", what="cursor")
        _ = self._connection.database

    def _answer(self) -> Result:
        self._open()
        with translated():
            if self._result is None:
                errors.fail("AM-5042", what="no statement has run")
            if not self._result.names:
                errors.fail("AM-5042", what="the last statement returns no rows")
        return self._result


def _sizes(kind: str) -> tuple[int | None, int | None]:
    """Precision and scale of a DECIMAL."""
    found = _DECIMAL.fullmatch(kind)
    return (int(found[1]), int(found[2])) if found else (None, None)
