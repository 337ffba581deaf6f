"""PEP 249, point by point, in the PEP's order."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import amaters as am
from amaters import dbapi
from amaters.base import errors
from amaters.dbapi.exceptions import CLASSES

SMALL = "insecure_n1024"
CREATE = """CREATE TABLE pay (
  id INTEGER PRIMARY KEY,
  name TEXT,
  age SMALLINT ENCRYPTED WITH (QUERIES = 'range', MIN = 0, MAX = 120),
  bonus DECIMAL(9,2) ENCRYPTED WITH (QUERIES = 'sum'),
  born DATE, active BOOLEAN NOT NULL)"""
ROWS = [
    (1, "Ada", 44, Decimal("1.50"), datetime.date(1980, 1, 2), True),
    (2, None, 17, None, None, False),
    (3, "Eve", None, Decimal("2.25"), datetime.date(2001, 12, 31), True),
]
INSERT = "INSERT INTO pay VALUES (?, ?, ?, ?, ?, ?)"


def opened(scheme: str | None = "noop") -> dbapi.Connection:
    return dbapi.connect(":memory:", unsafe_scheme=scheme, unsafe_parameters=SMALL)


@pytest.fixture
def cursor() -> Iterator[dbapi.Cursor]:
    with opened() as connection, connection.cursor() as made:
        made.execute(CREATE)
        made.executemany(INSERT, ROWS)
        connection.commit()
        yield made


# ---- module interface ------------------------------------------------------------------------


def test_globals() -> None:
    """Level 2.0; threads may share connections; question marks."""
    assert (dbapi.apilevel, dbapi.threadsafety, dbapi.paramstyle) == ("2.0", 2, "qmark")
    assert all(hasattr(dbapi, name) for name in dbapi.__all__)


def test_exceptions_form_the_tree_of_the_pep() -> None:
    """Also as attributes of connections."""
    assert issubclass(dbapi.Warning, Exception) and issubclass(dbapi.Error, Exception)
    assert dbapi.InterfaceError.__base__ is dbapi.Error
    assert dbapi.DatabaseError.__base__ is dbapi.Error
    for name in (
        "DataError", "OperationalError", "IntegrityError", "InternalError", "ProgrammingError",
        "NotSupportedError",
    ):  # fmt: skip
        assert getattr(dbapi, name).__base__ is dbapi.DatabaseError
    for name in ("Warning", "Error", *CLASSES):
        assert getattr(dbapi.Connection, name) is getattr(dbapi, name)


def test_every_error_of_the_table_has_a_class() -> None:
    """And kinds that are never the program's fault are not ProgrammingError."""
    assert {row.dbapi for row in errors.TABLE.values()} <= set(CLASSES)
    for row in errors.TABLE.values():
        if row.cls.kind in ("Data", "Internal", "Denied", "Unavailable", "Conflict"):
            assert row.dbapi != "ProgrammingError"


FAILURES = {
    "SELECT id FROM pay WHERE (": "ProgrammingError",
    "SELECT nothing FROM pay": "ProgrammingError",
    "SELECT sum(age) FROM pay": "NotSupportedError",
    "INSERT INTO pay VALUES (1, NULL, 1, 1, NULL, TRUE)": "IntegrityError",
    "INSERT INTO pay VALUES (4, NULL, 1, 1, NULL, NULL)": "IntegrityError",
    "INSERT INTO pay VALUES (4, NULL, 121, 1, NULL, TRUE)": "DataError",
    "SELECT id FROM pay WHERE id = ?": "ProgrammingError",
}


@pytest.mark.parametrize("text", FAILURES)
def test_errors_are_translated(cursor: dbapi.Cursor, text: str) -> None:
    """With code, kind and fix, and the original as cause; an answer from before is gone."""
    cursor.execute("SELECT id FROM pay")
    with pytest.raises(CLASSES[FAILURES[text]]) as caught:
        cursor.execute(text)
    assert type(caught.value) is CLASSES[FAILURES[text]]
    assert isinstance(caught.value.__cause__, am.AmatersError)
    assert caught.value.code == caught.value.__cause__.code
    assert caught.value.fix in str(caught.value)
    assert cursor.description is None


def test_failing_to_connect_is_translated(tmp_path: Path) -> None:
    """A server that this version cannot reach, a directory that somebody else has open."""
    with pytest.raises(dbapi.Error):
        dbapi.connect("amaters://localhost:1")
    with (
        dbapi.connect(tmp_path / "db", unsafe_scheme="noop", keys=tmp_path / "keys"),
        pytest.raises(dbapi.OperationalError),
    ):
        dbapi.connect(tmp_path / "db", unsafe_scheme="noop", keys=tmp_path / "keys")


# ---- connections -----------------------------------------------------------------------------


def test_a_closed_connection_is_unusable(cursor: dbapi.Cursor) -> None:
    """So are its cursors; closing twice is harmless."""
    connection = cursor.connection
    connection.close()
    connection.close()
    for use in (connection.cursor, connection.commit, lambda: cursor.execute("SELECT 1")):
        with pytest.raises(dbapi.InterfaceError):
            use()


def test_commit_and_rollback(cursor: dbapi.Cursor) -> None:
    """A transaction begins by itself, sees its own writes, and is all or nothing."""
    connection = cursor.connection
    assert not connection.autocommit
    connection.commit()
    assert not connection.in_transaction
    cursor.execute("UPDATE pay SET name = 'new' WHERE id = 1")
    cursor.execute("DELETE FROM pay WHERE id = 2")
    cursor.executemany(INSERT, [(9, None, 1, None, None, True)])
    assert connection.in_transaction
    ids = "SELECT id FROM pay ORDER BY id"
    assert cursor.execute(ids).fetchall() == [(1,), (3,), (9,)]
    assert [row[0] for row in connection.database.table("pay").range()] == [1, 2, 3]
    connection.rollback()
    assert cursor.execute(ids).fetchall() == [(1,), (2,), (3,)]
    cursor.execute("DELETE FROM pay WHERE id = 2")
    connection.commit()
    connection.rollback()
    assert cursor.execute(ids).fetchall() == [(1,), (3,)]
    cursor.execute("DELETE FROM pay WHERE id = 3")
    cursor.execute("ROLLBACK")
    cursor.execute("BEGIN")
    cursor.execute("DELETE FROM pay WHERE id = 1")
    cursor.execute("COMMIT")
    assert [row[0] for row in connection.database.table("pay").range()] == [3]


def test_a_row_that_changed_meanwhile_undoes_a_transaction(cursor: dbapi.Cursor) -> None:
    """OperationalError, to be repeated; nothing of it is done."""
    connection = cursor.connection
    connection.commit()
    (age,) = cursor.execute("SELECT age FROM pay WHERE id = 1").fetchone() or (0,)
    cursor.execute("UPDATE pay SET age = ? WHERE id = 1", (age + 1,))
    cursor.execute("DELETE FROM pay WHERE id = 3")
    connection.database.table("pay").update({"age": 99}, am.col("id") == 1)
    with pytest.raises(dbapi.OperationalError, match="AM-3060"):
        connection.commit()
    assert not connection.in_transaction
    rows = cursor.execute("SELECT id, age FROM pay ORDER BY id").fetchall()
    assert rows == [(1, 99), (2, 17), (3, None)]


def test_autocommit(cursor: dbapi.Cursor) -> None:
    """Each statement by itself; it cannot be switched while changes wait."""
    connection = cursor.connection
    cursor.execute("DELETE FROM pay WHERE id = 1")
    with pytest.raises(dbapi.ProgrammingError, match="AM-5045"):
        connection.autocommit = True
    connection.rollback()
    connection.autocommit = True
    cursor.execute("DELETE FROM pay WHERE id = 1")
    connection.rollback()
    assert cursor.execute("SELECT count(*) FROM pay").fetchone() == (2,)


def test_begin_with_autocommit(cursor: dbapi.Cursor) -> None:
    """Statements after BEGIN are one transaction, which ends by SQL or by method."""
    connection = cursor.connection
    connection.rollback()
    connection.autocommit = True
    there = connection.database.table("pay")

    def begun(end: Callable[[], object], kept: list[int]) -> None:
        cursor.execute("BEGIN")
        assert connection.in_transaction
        cursor.execute("DELETE FROM pay WHERE id = 1")
        cursor.executemany(INSERT, [(9, None, 1, None, None, True)])
        assert cursor.execute("SELECT id FROM pay ORDER BY id").fetchall() == [(2,), (3,), (9,)]
        assert [row[0] for row in there.range()] == [1, 2, 3]
        end()
        assert not connection.in_transaction and not connection.database.in_transaction
        assert [row[0] for row in there.range()] == kept

    begun(connection.rollback, [1, 2, 3])
    begun(lambda: cursor.execute("ROLLBACK"), [1, 2, 3])
    begun(connection.commit, [2, 3, 9])
    for end in ("COMMIT", "ROLLBACK", "EXPLAIN COMMIT"):
        with pytest.raises(dbapi.ProgrammingError, match="AM-3133"):
            cursor.execute(end)
    cursor.execute("BEGIN")
    for refused, code in (("BEGIN", "AM-3132"), ("CREATE TABLE n (k INTEGER)", "AM-3131")):
        with pytest.raises(dbapi.Error, match=code):
            cursor.execute(refused)
    cursor.execute("DELETE FROM pay WHERE id = 2")
    with pytest.raises(dbapi.ProgrammingError, match="AM-5045"):
        connection.autocommit = False
    cursor.execute("COMMIT")
    cursor.execute("DELETE FROM pay WHERE id = 3")
    connection.rollback()
    assert [row[0] for row in there.range()] == [9]


@pytest.mark.parametrize("autocommit", [False, True])
def test_explain_commit_commits_nothing(cursor: dbapi.Cursor, autocommit: bool) -> None:
    """It shows what COMMIT would do; nor does EXPLAIN ROLLBACK forget anything."""
    connection = cursor.connection
    connection.autocommit = autocommit
    cursor.execute("BEGIN")
    cursor.execute("DELETE FROM pay WHERE id = 1")
    for end in ("COMMIT", "ROLLBACK"):
        assert "pay" in str(cursor.execute(f"EXPLAIN {end}").fetchall()) or end == "ROLLBACK"
        assert connection.in_transaction
    assert connection.database.table("pay").get(1) is not None
    cursor.execute("COMMIT")
    assert connection.database.table("pay").get(1) is None


def test_statements_that_change_the_schema_commit_by_themselves(cursor: dbapi.Cursor) -> None:
    """They run unless changes wait; rolling back does not undo them."""
    connection = cursor.connection
    connection.commit()
    cursor.execute("SELECT id FROM pay")
    cursor.execute("CREATE TABLE more (id INTEGER PRIMARY KEY)")
    connection.rollback()
    cursor.execute("INSERT INTO more VALUES (1)")
    with pytest.raises(dbapi.ProgrammingError, match="AM-5045"):
        cursor.execute("DROP TABLE more")
    connection.rollback()
    cursor.execute("DROP TABLE more")


def test_leaving_with_an_exception_rolls_back(tmp_path: Path) -> None:
    """Leaving without one commits; both close."""
    options: dict[str, Any] = {"unsafe_scheme": "noop", "keys": tmp_path / "keys"}
    with dbapi.connect(tmp_path / "db", **options) as connection:
        connection.cursor().execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        connection.cursor().execute("INSERT INTO t VALUES (1)")
    with pytest.raises(KeyError), dbapi.connect(tmp_path / "db", **options) as connection:
        connection.cursor().execute("INSERT INTO t VALUES (2)")
        raise KeyError
    connection = dbapi.connect(tmp_path / "db", **options)
    connection.cursor().execute("INSERT INTO t VALUES (3)")
    connection.close()
    with dbapi.connect(tmp_path / "db", **options) as connection:
        assert connection.cursor().execute("SELECT id FROM t").fetchall() == [(1,)]


def test_threads_share_a_connection(cursor: dbapi.Cursor) -> None:
    """threadsafety 2."""
    found: list[Any] = []

    def work(number: int) -> None:
        with cursor.connection.cursor() as own:
            found.append(own.execute("SELECT id FROM pay WHERE id = ?", (number,)).fetchone())

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(1,), (2,), (3,)]


# ---- cursors ---------------------------------------------------------------------------------


def test_description(cursor: dbapi.Cursor) -> None:
    """Seven items a column; type codes equal the type objects; None without an answer."""
    assert cursor.description is None
    cursor.execute("SELECT id, name, bonus, born, active FROM pay")
    description = cursor.description
    assert description is not None
    assert [item[0] for item in description] == ["id", "name", "bonus", "born", "active"]
    assert all(len(item) == 7 for item in description)
    kinds = [dbapi.NUMBER, dbapi.STRING, dbapi.NUMBER, dbapi.DATETIME, dbapi.NUMBER]
    assert [item[1] == kind for item, kind in zip(description, kinds, strict=True)] == [True] * 5
    assert description[0][1] != dbapi.STRING and dbapi.NUMBER != dbapi.STRING
    assert description[2][4:6] == (9, 2)


def test_rowcount(cursor: dbapi.Cursor) -> None:
    """Rows of an answer, rows changed, -1 where there is no number."""
    assert cursor.rowcount == 3
    assert cursor.connection.cursor().rowcount == -1
    assert cursor.execute("SELECT id FROM pay WHERE age > 40").rowcount == 1
    assert cursor.execute("UPDATE pay SET age = 18 WHERE id < 3").rowcount == 2
    assert cursor.execute("DELETE FROM pay WHERE id = 9").rowcount == 0
    cursor.connection.commit()
    assert cursor.execute("CREATE TABLE other (id INTEGER PRIMARY KEY)").rowcount == -1


def test_parameters(cursor: dbapi.Cursor) -> None:
    """A sequence for ``?``, a mapping for ``:name``."""
    cursor.execute("SELECT id FROM pay WHERE age > ? AND age < ?", [16, 20])
    assert cursor.fetchall() == [(2,)]
    cursor.execute("SELECT id FROM pay WHERE age > :low", {"low": 17})
    assert cursor.fetchall() == [(1,)]


def test_executemany_is_all_or_nothing_for_rows(cursor: dbapi.Cursor) -> None:
    """One batch; changes run one after the other; what returns rows is refused."""
    more = [(n, None, 1, None, None, True) for n in (10, 11, 1)]
    with pytest.raises(dbapi.IntegrityError):
        cursor.executemany(INSERT, more)
        cursor.connection.commit()  # a key that this transaction has not seen is noticed here
    cursor.connection.autocommit = True
    assert cursor.execute("SELECT count(*) FROM pay").fetchone() == (3,)
    assert cursor.executemany(INSERT, iter(more[:2])).rowcount == 2
    cursor.executemany("UPDATE pay SET name = :n WHERE id = :i", [{"n": "x", "i": 10}])
    assert cursor.rowcount == 1
    assert cursor.executemany("DELETE FROM pay WHERE id = ?", [(10,), (11,), (12,)]).rowcount == 2
    assert cursor.executemany(INSERT, []).rowcount == 0
    with pytest.raises(dbapi.ProgrammingError, match="AM-5040"):
        cursor.executemany("SELECT id FROM pay WHERE id = ?", [(1,)])


def test_fetching(cursor: dbapi.Cursor) -> None:
    """One, some, all, by iteration; each row once; then None and empty lists."""
    cursor.execute("SELECT id FROM pay ORDER BY id")
    assert cursor.rownumber == 0
    assert cursor.fetchone() == (1,)
    assert cursor.fetchmany() == [(2,)]
    assert cursor.rownumber == 2
    assert cursor.fetchmany(5) == [(3,)]
    assert cursor.fetchone() is None
    assert cursor.fetchmany() == cursor.fetchall() == []
    cursor.arraysize = 2
    cursor.execute("SELECT id FROM pay ORDER BY id")
    assert cursor.fetchmany() == [(1,), (2,)]
    assert list(cursor) == [(3,)]
    assert cursor.execute("SELECT * FROM pay ORDER BY id").fetchall() == ROWS


def test_fetching_nothing_is_an_error(cursor: dbapi.Cursor) -> None:
    """Before the first statement, after one without rows, and after closing."""
    for fetch in (cursor.fetchone, cursor.fetchmany, cursor.fetchall, cursor.fetch_arrow_table):
        with pytest.raises(dbapi.ProgrammingError, match="AM-5042"):
            fetch()
    with pytest.raises(dbapi.ProgrammingError):
        cursor.connection.cursor().fetchone()
    cursor.close()
    with pytest.raises(dbapi.InterfaceError):
        cursor.fetchone()


def test_sizes_are_accepted(cursor: dbapi.Cursor) -> None:
    """They have no effect, as the PEP allows."""
    cursor.setinputsizes([None])
    cursor.setoutputsize(100, 0)


# ---- types and extensions --------------------------------------------------------------------


def test_constructors() -> None:
    """The values that the PEP's constructors make are those that statements take."""
    assert dbapi.Date(2001, 12, 31) == datetime.date(2001, 12, 31)
    assert dbapi.Time(1, 2, 3) == datetime.time(1, 2, 3)
    assert dbapi.Timestamp(2001, 12, 31, 1, 2, 3) == datetime.datetime(2001, 12, 31, 1, 2, 3)
    ticks = datetime.datetime(2001, 12, 31, 1, 2, 3).timestamp()
    assert dbapi.DateFromTicks(ticks) == datetime.date(2001, 12, 31)
    assert dbapi.TimeFromTicks(ticks) == datetime.time(1, 2, 3)
    assert dbapi.TimestampFromTicks(ticks) == datetime.datetime(2001, 12, 31, 1, 2, 3)
    assert dbapi.Binary(b"x") == b"x"


def test_arrow_pandas_and_what_was_learned(cursor: dbapi.Cursor) -> None:
    """Columns instead of rows, from where fetching stands; the cost and leakage of a statement."""
    cursor.execute("SELECT id, bonus FROM pay ORDER BY id")
    cursor.fetchone()
    assert cursor.fetch_arrow_table().to_pydict() == {"id": [2, 3], "bonus": [None, ROWS[2][3]]}
    assert cursor.fetchall() == []
    assert cursor.execute("SELECT id FROM pay ORDER BY id").fetch_df()["id"].tolist() == [1, 2, 3]
    assert any("table pay" in sentence for sentence in cursor.learned)
    assert cursor.stats.bytes_received > 0


def test_pandas_reads_from_a_connection(cursor: dbapi.Cursor) -> None:
    """pandas warns that it has not been tested with us, and works."""
    text = "SELECT id, name FROM pay WHERE age > ? ORDER BY id"
    with pytest.warns(UserWarning, match="SQLAlchemy"):
        frame = pd.read_sql(text, cursor.connection, params=(10,))  # type: ignore[call-overload]
    assert frame["id"].tolist() == [1, 2]
    assert frame["name"][0] == "Ada"


def test_on_ciphertexts() -> None:
    """The same through the real scheme: encrypted rows in, exact rows and sums out."""
    with opened(None) as connection, connection.cursor() as cursor:
        cursor.execute(CREATE)
        more = [(n, "x", n % 100, Decimal(n), None, True) for n in range(10, 1010)]
        assert cursor.executemany(INSERT, ROWS + more).rowcount == 1003
        assert cursor.execute("SELECT count(*) FROM pay").fetchone() == (1003,)
        with pytest.raises(dbapi.NotSupportedError, match="AM-3130"):
            cursor.execute("SELECT max(age) FROM pay")  # the engine does not have the rows yet
        connection.commit()
        cursor.execute("SELECT count(*), sum(bonus) FROM pay WHERE age > ?", (50,))
        wanted = [row[3] for row in more if row[2] > 50]
        assert cursor.fetchall() == [(len(wanted), sum(wanted))]
