"""One SQLite file, every page of it under a MAC, whose errors are this program's errors.

The key of the MACs is derived from the database's id, which is no secret: it is there to notice
damage and files of other databases, not to hide anything. What is hidden was encrypted before it
came here. After an error that is not the command's own fault a connection stays ``broken``: what
SQLite knows of the file then is not to be built upon.
"""

from __future__ import annotations

import errno
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import apsw
from blake3 import blake3

from amaters.base.errors import AmatersError, fail, make

WRITER_CACHE_KIB = 65_536
READER_CACHE_KIB = 4_096
_ROWS_TOGETHER = 50
IDLE_MAX = 8  # connections kept for readers to come
BUSY_MS = 10_000  # how long a whole checkpoint waits for readers
_MEMORY = ":memory:"
_CIPHER_VFS = "multipleciphers-"
_KEY_CONTEXT = "amaters 2026 state page checksums"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_WRITING = frozenset(
    {
        apsw.SQLITE_IOERR_WRITE,
        apsw.SQLITE_IOERR_FSYNC,
        apsw.SQLITE_IOERR_DIR_FSYNC,
        apsw.SQLITE_IOERR_TRUNCATE,
        apsw.SQLITE_IOERR_DELETE,
        apsw.SQLITE_IOERR_CLOSE,
        apsw.SQLITE_IOERR_SHMOPEN,
        apsw.SQLITE_IOERR_SHMSIZE,
    }
)

Row = tuple[Any, ...]


def page_key(database_id: bytes) -> bytes:
    """The key of the page MACs of a database."""
    return blake3(database_id, derive_key_context=_KEY_CONTEXT).digest()


def as_array(values: Sequence[int | str]) -> Any | None:
    """Values of one type, at least one, as the argument of SQLite's ``carray``: a query is asked
    of all of them in one go. None when they have to be bound one by one.
    """
    if isinstance(values[0], int):
        return apsw.carray(array("q", values))
    texts = tuple(map(str, values))
    return None if any("\0" in text for text in texts) else apsw.carray(texts)


class Connection:
    """A connection; one thread at a time uses it. Every method raises AM-4003, AM-4008, AM-4011,
    AM-4012 (a constraint: the only one after which it can be used on), AM-4013.
    """

    def __init__(
        self,
        path: Path | None = None,
        key: bytes = b"",
        *,
        vfs: str | None = None,
        writes: bool = True,
        frozen: bool = False,
    ) -> None:
        """``path`` None: in memory. ``frozen``: the file does not change, and its log is not read.

        ``vfs``: name of a registered apsw.VFS to go through.
        """
        self.broken: AmatersError | None = None
        self.wal_pages = 0
        self._name = path.name if path else _MEMORY
        flags = apsw.SQLITE_OPEN_URI
        flags |= apsw.SQLITE_OPEN_READWRITE if writes else apsw.SQLITE_OPEN_READONLY
        flags |= apsw.SQLITE_OPEN_CREATE if writes else 0
        location = path.absolute().as_uri() if path else _MEMORY
        try:
            self._db = apsw.Connection(
                f"{location}?immutable=1" if frozen else location,
                flags=flags,
                vfs=_CIPHER_VFS + vfs if vfs else None,
            )
        except (apsw.Error, OSError, AmatersError) as error:
            raise self._typed(error) from error
        try:
            self._prepare(key, writes=writes)
        except BaseException:
            self.close()
            raise

    def _prepare(self, key: bytes, *, writes: bool) -> None:
        if key:
            self.run("PRAGMA cipher = chacha20")
            self.run(f"PRAGMA key = 'raw:{key.hex()}'")
        self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._db.set_busy_timeout(BUSY_MS)
        self.run("PRAGMA temp_store = MEMORY")
        self.run(f"PRAGMA cache_size = {-(WRITER_CACHE_KIB if writes else READER_CACHE_KIB)}")
        if writes and self._name != _MEMORY:
            self.one("PRAGMA journal_mode = WAL")
            self.run("PRAGMA synchronous = NORMAL")
            self.run("PRAGMA wal_autocheckpoint = 0")
            self._db.set_wal_hook(self._committed)

    def _committed(self, _: apsw.Connection, __: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    def run(self, sql: str, values: Sequence[Any] = ()) -> None:
        """A statement whose rows nobody wants."""
        try:
            self._db.execute(sql, values)
        except (apsw.Error, OSError, AmatersError) as error:
            raise self._typed(error) from error

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """One statement for each of ``rows``."""
        try:
            self._db.executemany(sql, rows)
        except (apsw.Error, OSError, AmatersError) as error:
            raise self._typed(error) from error

    def insert_many(self, table: str, rows: Sequence[Row]) -> None:
        """Rows of one table, many to a statement: stepping through one costs as much as a row."""
        if not rows:
            return
        one = f"({', '.join('?' * len(rows[0]))})"
        whole = len(rows) // _ROWS_TOGETHER * _ROWS_TOGETHER
        together = f"INSERT INTO {table} VALUES {', '.join([one] * _ROWS_TOGETHER)}"
        starts = range(0, whole, _ROWS_TOGETHER)
        self.run_many(
            together,
            (list(chain.from_iterable(rows[at : at + _ROWS_TOGETHER])) for at in starts),
        )
        self.run_many(f"INSERT INTO {table} VALUES {one}", rows[whole:])

    def insert(self, sql: str, values: Sequence[Any]) -> int:
        """The rowid of the row that was inserted."""
        self.run(sql, values)
        return self._db.last_insert_rowid()

    def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        try:
            return self._db.execute(sql, values).fetchone()
        except (apsw.Error, OSError, AmatersError) as error:
            raise self._typed(error) from error

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows."""
        try:
            return self._db.execute(sql, values).fetchall()
        except (apsw.Error, OSError, AmatersError) as error:
            raise self._typed(error) from error

    def all_of(self, sql: str, rows: Iterable[Sequence[Any]]) -> list[Row]:
        """All rows of a query asked once for each of ``rows``, in one go."""
        try:
            return self._db.executemany(sql, rows).fetchall()
        except (apsw.Error, OSError, AmatersError) as error:
            raise self._typed(error) from error

    def each(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
        """Rows one by one, for results that memory does not hold."""
        try:
            yield from self._db.execute(sql, values)
        except (apsw.Error, OSError) as error:
            raise self._typed(error) from error

    def checkpoint(self, *, whole: bool) -> bool:
        """Move the pages of SQLite's log into the file. ``whole``: all of them, and empty the log,
        so that the file alone is the state; whether that was so.
        """
        mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if whole else apsw.SQLITE_CHECKPOINT_PASSIVE
        try:
            pages, _ = self._db.wal_checkpoint(mode=mode)
        except apsw.BusyError:
            return False
        except (apsw.Error, OSError, AmatersError) as error:
            raise self._typed(error) from error
        self.wal_pages = 0 if whole else self.wal_pages
        return pages == 0

    def check(self) -> None:
        """Read every page and follow every link. Cost: the size of the file. Raises: AM-4011."""
        found = self.one("PRAGMA quick_check(1)")
        if found != ("ok",):
            what = str(found[0]) if found else "no answer"
            raise self._breaks(make("AM-4011", {"file": self._name, "what": what}))

    def close(self) -> None:
        """Let go; SQLite's log stays for the next open."""
        self._db.close()

    def _typed(self, error: Exception) -> AmatersError:
        if isinstance(error, AmatersError):
            return self._breaks(error)
        if isinstance(error, apsw.ConstraintError):
            return make("AM-4012", {"what": str(error)})
        return self._breaks(make(*_meaning(error, self._name)))

    def _breaks(self, error: AmatersError) -> AmatersError:
        self.broken = self.broken or error
        return error


def _meaning(error: Exception, name: str) -> tuple[str, dict[str, object]]:
    """Code and fields for what SQLite, or a file under it, said."""
    fields: dict[str, object] = {"file": name, "what": str(error) or type(error).__name__}
    if isinstance(error, OSError):
        return ("AM-4008" if error.errno in _FULL else "AM-4003"), fields
    if isinstance(error, apsw.FullError):
        return "AM-4008", fields
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return "AM-4011", fields
    if isinstance(error, apsw.IOError):
        written = getattr(error, "extendedresult", 0) in _WRITING
        return ("AM-4003" if written else "AM-4011"), fields
    return "AM-4013", fields


class ReadPool:
    """Connections for threads that read; each sees what was last committed."""

    def __init__(self, path: Path, key: bytes, vfs: str | None) -> None:
        self._path, self._key, self._vfs = path, key, vfs
        self._idle: list[Connection] = []
        self._closed = False

    def take(self) -> Connection:
        """A connection that nobody else uses. Raises: AM-4004 when all was closed."""
        if self._closed:
            fail("AM-4004", path=str(self._path.parent.parent))
        try:
            return self._idle.pop()
        except IndexError:
            return Connection(self._path, self._key, vfs=self._vfs, writes=False)

    def give(self, connection: Connection) -> None:
        """Return a connection; one that is broken is closed."""
        if self._closed or connection.broken is not None or len(self._idle) >= IDLE_MAX:
            connection.close()
        else:
            self._idle.append(connection)

    def close(self) -> None:
        """Close all idle connections; those in use follow when they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
