"""TIMESTAMP and BLOB beside DuckDB: public, sealed, encrypted; SQL, Python, CSV and Parquet."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from e2e_support import small

import amaters as am

DDL = """CREATE TABLE t (id INTEGER PRIMARY KEY, made TIMESTAMP, day DATE, hash BLOB,
  seen TIMESTAMP ENCRYPTED WITH (QUERIES = 'eq,range',
    MIN = '2020-01-01', MAX = '2031-01-01 12:00'),
  exact TIMESTAMP ENCRYPTED WITH (QUERIES = 'eq'),
  shift TIMESTAMP ENCRYPTED WITH (QUERIES = 'group',
    VALUES = ('2020-01-01 06:00', '2020-01-01 14:00')),
  due DATE ENCRYPTED WITH (QUERIES = 'range', MIN = '2020-01-01', MAX = '2030-12-31'),
  photo BLOB ENCRYPTED, noted TIMESTAMP ENCRYPTED)"""
PLAIN = """CREATE TABLE t (id INTEGER PRIMARY KEY, made TIMESTAMP, day DATE, hash BLOB,
  seen TIMESTAMP, exact TIMESTAMP, shift TIMESTAMP, due DATE, photo BLOB, noted TIMESTAMP)"""
MICROSECOND = datetime.timedelta(microseconds=1)
FIRST = datetime.datetime(2020, 1, 1)
SHIFTS = (datetime.datetime(2020, 1, 1, 6), datetime.datetime(2020, 1, 1, 14))
QUERIES = (
    "seen > TIMESTAMP '2024-06-01 12:00:00'",
    "seen >= DATE '2024-06-01' AND seen < DATE '2024-06-01' + INTERVAL '36' HOUR",
    "seen BETWEEN '2021-01-01' AND '2021-12-31 23:59:59.999999'",
    "seen = '2020-01-01 00:00:00' OR seen IS NULL",
    "seen < '1900-01-01' OR NOT (seen < '2900-01-01 00:00')",
    "exact IN (TIMESTAMP '2020-01-01 00:00:00.000007', '2020-01-02')",
    "exact <> '2020-01-02'",
    "due < TIMESTAMP '2025-05-05 00:00:00.000001'",
    "due >= TIMESTAMP '2025-05-05 00:00:00.000001' AND due <> TIMESTAMP '2025-05-06 01:00'",
    "day > TIMESTAMP '2020-01-20 12:00' AND made < DATE '2020-02-20'",
    "made BETWEEN TIMESTAMP '2020-01-10' + INTERVAL 3 DAY - INTERVAL 90 MINUTE AND '2020-03-01'",
    r"hash > '\x7F' AND hash < X'c8'",
    r"hash = '\x00\xFFz' OR hash IN (X'01', 'abc'::BLOB)",
    "hash IS NULL OR photo IS NULL AND id < 40",
    "shift = '2020-01-01 14:00'",
)
TOTALS = (
    "SELECT shift, count(*), count(seen) FROM t WHERE seen > '2023-01-01' GROUP BY shift",
    "SELECT hash, count(*) FROM t WHERE exact = '2020-01-02' GROUP BY hash",
    "SELECT made, count(*) FROM t WHERE id < 90 GROUP BY made "
    "HAVING made > DATE '2020-01-03' AND made <> TIMESTAMP '2020-01-05 00:00'",
    "SELECT day, count(*) FROM t GROUP BY day HAVING day < TIMESTAMP '2020-01-09 12:00'",
)
REFUSED = {
    "SELECT id FROM t WHERE photo = X'01'": "AM-2107",
    "SELECT id FROM t WHERE seen > 5": "AM-2208",
    "SELECT id FROM t WHERE seen > '2020-01-01 10:00+02'": "AM-2208",
    "SELECT id FROM t WHERE hash = 'caf\u00e9'": "AM-2208",
    "SELECT id FROM t WHERE hash = 5": "AM-2208",
    "SELECT id FROM t WHERE due < '2020-01-01 12:00'": "AM-2208",
    "SELECT sum(made) FROM t": "AM-2208",
    "INSERT INTO t (id, made) VALUES (-1, TIMESTAMP '2020-01-01' + 1)": "AM-2208",
    "INSERT INTO t (id, seen) VALUES (-1, '2019-12-31 23:59:59')": "AM-2003",
    "INSERT INTO t (id, day) VALUES (-1, TIMESTAMP '2020-01-01 01:00')": "AM-2002",
    "CREATE TABLE u (b BLOB ENCRYPTED WITH (QUERIES = 'eq'))": "AM-2024",
    "CREATE TABLE u (b TIMESTAMP ENCRYPTED WITH (QUERIES = 'sum'))": "AM-2024",
}


def rows(count: int) -> list[tuple[Any, ...]]:
    draw = random.Random(3)
    span = (datetime.datetime(2031, 1, 1, 12) - FIRST) // MICROSECOND
    found = []
    for i in range(count):
        found.append((
            3 * i,
            FIRST + datetime.timedelta(days=draw.randrange(60), hours=draw.choice([0, 12])),
            draw.choice([None, datetime.date(2020, 1, 1) + datetime.timedelta(i % 50)]),
            draw.choice([None, b"", b"\x01", b"\x00\xffz", b"abc", bytes([draw.randrange(256)])]),
            draw.choice([None, FIRST, FIRST + draw.randrange(span) * MICROSECOND]),
            draw.choice([FIRST + datetime.timedelta(microseconds=7), FIRST.replace(day=2)]),
            draw.choice([None, *SHIFTS]),
            draw.choice([None, datetime.date(2025, 5, 4) + datetime.timedelta(draw.randrange(4))]),
            draw.choice([None, b"", draw.randbytes(draw.randrange(300))]),
            draw.choice([None, FIRST - datetime.timedelta(days=i, microseconds=i)]),
        ))  # fmt: skip
    return found


class Pair:
    """One table in both engines: a full segment and a tail."""

    def __init__(self, scheme: str, count: int) -> None:
        self.rows = rows(count)
        self.db = am.connect(":memory:", **small(scheme))
        self.db.sql(DDL)
        self.db.table("t").insert(self.rows)
        self.duck = duckdb.connect()
        self.duck.execute(PLAIN)
        values = ", ".join(["?"] * 10)
        self.duck.executemany(f"INSERT INTO t VALUES ({values})", self.rows)

    def same(self, sql: str, parameters: list[Any] | None = None) -> int:
        """Compare an answer, in any order; how many rows it has."""
        ours = sorted(self.db.sql(sql, parameters).rows(), key=repr)
        theirs = sorted(self.duck.execute(sql, parameters or []).fetchall(), key=repr)
        assert ours == theirs, sql
        return len(ours)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = Pair("noop", 1000)
    yield made
    made.db.close()


def test_conditions_equal_duckdb(pair: Pair) -> None:
    """Each condition as rows and as a count; most of them match something."""
    found = [pair.same(f"SELECT * FROM t WHERE {where}") for where in QUERIES]
    for where in QUERIES:
        pair.same(f"SELECT count(*), count(seen), count(photo) FROM t WHERE {where}")
    assert sum(map(bool, found)) >= len(QUERIES) - 1


def test_groups_and_orders_equal_duckdb(pair: Pair) -> None:
    for sql in TOTALS:
        assert pair.same(sql)
    for key in ("made DESC", "hash", "seen NULLS FIRST", "photo DESC", "noted"):
        sql = f"SELECT id, made, hash, seen FROM t ORDER BY {key}, id LIMIT 30"
        assert pair.db.sql(sql).rows() == pair.duck.execute(sql).fetchall()


def test_parameters(pair: Pair) -> None:
    """datetime, date and bytes; a time zone is refused before anything is sent."""
    pair.same(
        "SELECT id FROM t WHERE seen >= ? AND made < ?", [FIRST.replace(year=2024), SHIFTS[1]]
    )
    pair.same("SELECT id FROM t WHERE due <= ?", [datetime.datetime(2025, 5, 5, 8)])
    pair.same("SELECT id FROM t WHERE hash = ?", [b"\x00\xffz"])
    zoned = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    with pytest.raises(am.InvalidError, match="AM-2206"):
        pair.db.sql("SELECT id FROM t WHERE seen >= ?", [zoned])
    query = pair.db.table("t").filter(am.col("seen") > SHIFTS[0]).select("id")
    assert len(query.rows()) == pair.same("SELECT id FROM t WHERE seen > ?", [SHIFTS[0]])


def test_refused(pair: Pair) -> None:
    for sql, code in REFUSED.items():
        with pytest.raises(am.InvalidError) as caught:
            pair.db.sql(sql)
        assert caught.value.code == code, sql


def test_arrow_and_text(pair: Pair) -> None:
    """Arrow's types, and what a person reads."""
    found = pair.db.sql("SELECT made, hash, seen FROM t WHERE id = 3").arrow()
    assert found.schema.types == [pa.timestamp("us"), pa.binary(), pa.timestamp("us")]
    sql = "SELECT made, hash, seen FROM t WHERE id = 3"
    assert found.equals(pair.duck.sql(sql).to_arrow_table())
    constants = r"SELECT X'00ff', TIMESTAMP '2020-01-01 10:00', DATE '2020-01-01' - INTERVAL 1 DAY"
    shown = pair.db.sql(f"{constants} FROM t LIMIT 1")
    assert shown.types == ("BLOB", "TIMESTAMP", "TIMESTAMP")
    assert shown.rows() == pair.duck.execute(f"{constants} FROM t LIMIT 1").fetchall()
    assert r"\x00\xFF" in repr(shown) and "2019-12-31 00:00:00" in repr(shown)


def test_files(pair: Pair, tmp_path: Path) -> None:
    """COPY from CSV and Parquet written by DuckDB, and Arrow, give the rows back."""
    path = tmp_path / "t.parquet"
    pair.duck.execute(f"COPY t TO '{path}' (FORMAT parquet)")
    for source in ("file", "arrow"):
        with am.connect(":memory:", **small("noop")) as db:
            db.sql(DDL)
            if source == "file":
                db.sql(f"COPY t FROM '{path}'")
            else:
                db.table("t").insert(pair.duck.sql("SELECT * FROM t").to_arrow_table())
            assert db.sql("SELECT * FROM t ORDER BY id").rows() == pair.rows
    path = tmp_path / "cells.csv"
    path.write_text('id,made,hash\n1,2020-01-01 10:00:00.5,\\xAA\\x00b\n2,2020-02-02,"x,y"\n')
    with am.connect(":memory:", **small("noop")) as db:
        db.sql(DDL)
        db.sql(f"COPY t FROM '{path}' (HEADER)")
        found = db.sql("SELECT made, hash FROM t ORDER BY id").rows()
    assert found == [
        (datetime.datetime(2020, 1, 1, 10, 0, 0, 500_000), b"\xaa\x00b"),
        (datetime.datetime(2020, 2, 2), b"x,y"),
    ]


def test_keys_and_indexes_of_the_new_types(tmp_path: Path) -> None:
    """A TIMESTAMP key, a BLOB key and indexes over both: point reads, ranges, after a restart."""
    options = {**small("noop"), "keys": str(tmp_path / "keys")}
    with am.connect(str(tmp_path / "db"), **options) as db:
        db.create_table("ts", {"at": am.Timestamp(primary_key=True), "b": am.Blob(index=True)})
        db.create_table("bl", {"k": am.Blob(primary_key=True), "at": am.Timestamp(index=True)})
        listed = [(FIRST + datetime.timedelta(hours=i), i.to_bytes(2, "big")) for i in range(1100)]
        db.table("ts").insert(listed)
        db.table("bl").insert([(b, at) for at, b in listed])
    with am.connect(str(tmp_path / "db"), **options) as db:
        assert db.table("ts").get_many([listed[7][0]]).rows() == [listed[7]]
        assert db.table("bl").get_many([b"\x00\xff"]).rows() == [(b"\x00\xff", listed[255][0])]
        explained = db.explain("SELECT k FROM bl WHERE at < '2020-01-02'")
        assert "Index scan" in explained
        assert len(db.sql("SELECT k FROM bl WHERE at < '2020-01-02'").rows()) == 24
        assert len(db.sql("SELECT at FROM ts WHERE b >= X'0400' AND b < X'0410'").rows()) == 16
        assert db.sql("SELECT count(*) FROM bl WHERE k > X'0080' AND k <= X'00ff'").scalar() == 127


def test_real_scheme() -> None:
    """The same on ciphertexts: eq, range and group of TIMESTAMP columns."""
    made = Pair("bgv", 1000)
    for where in (QUERIES[1], QUERIES[7]):
        made.same(f"SELECT count(*), count(photo) FROM t WHERE {where}")
    made.same(f"SELECT id, exact, photo FROM t WHERE {QUERIES[5]}")
    made.same(TOTALS[0])
    made.db.close()
