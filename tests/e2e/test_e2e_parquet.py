"""COPY FROM Parquet: what another program wrote arrives exactly, columns matched by name."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

import amaters as am

DDL = """CREATE TABLE t (id INTEGER PRIMARY KEY, born DATE,
  a SMALLINT ENCRYPTED WITH (QUERIES = 'range,sum', MIN = 0, MAX = 99),
  d DECIMAL(6,2) ENCRYPTED WITH (QUERIES = 'sum', MIN = -9, MAX = 9), n TEXT ENCRYPTED)"""
WRITTEN = """COPY (SELECT 'ä' || i AS n, i::SMALLINT AS a, i AS id,
  DATE '2001-02-03' + i::INTEGER AS born,
  CASE WHEN i % 3 = 0 THEN NULL ELSE (i / 100)::DECIMAL(6,2) END AS d
  FROM range(60) r(i)) TO '{}' (FORMAT parquet)"""


@pytest.fixture
def db() -> Iterator[am.Database]:
    with am.connect(":memory:", unsafe_scheme="noop", unsafe_parameters="insecure_n1024") as made:
        made.sql(DDL)
        yield made


def test_a_file_of_duckdb_arrives(db: am.Database, tmp_path: Path) -> None:
    """Another order of columns, NULLs, dates and decimals; the extension says what it is."""
    path = tmp_path / "t.parquet"
    duckdb.sql(WRITTEN.format(path))
    assert "60 rows" in db.sql(f"COPY t FROM '{path}'").message
    assert db.sql("SELECT count(*), sum(a) FROM t WHERE a > 9").rows() == [(50, sum(range(10, 60)))]
    (row,) = db.sql("SELECT * FROM t WHERE id = 7").rows()
    assert row == (7, datetime.date(2001, 2, 10), 7, Decimal("0.07"), "ä7")
    assert db.sql("SELECT d FROM t WHERE id = 6").scalar() is None


def test_listed_columns_only(db: am.Database, tmp_path: Path) -> None:
    """COPY t (columns) takes those; the others are NULL."""
    path = tmp_path / "some.file"
    duckdb.sql(WRITTEN.format(path))
    db.sql(f"COPY t (ID, a) FROM '{path}' (FORMAT parquet)")
    assert db.sql("SELECT id, a, d, n FROM t WHERE id = 7").rows() == [(7, 7, None, None)]


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("COPY t FROM '{none}'", "AM-5004"),
        ("COPY t FROM '{text}' (FORMAT parquet)", "AM-5004"),
        ("COPY t (id, nope) FROM '{good}'", "AM-5004"),
        ("COPY t FROM '{good}' (HEADER)", "AM-2205"),
        ("COPY t FROM '{good}' (FORMAT xlsx)", "AM-2205"),
        ("COPY t FROM '{wide}'", "AM-2003"),
    ],
)
def test_refusals(statement: str, code: str, db: am.Database, tmp_path: Path) -> None:
    """A file that is not there, is no Parquet, lacks a column or holds a value out of bounds: a
    typed error, and nothing is inserted.
    """
    names = {name: tmp_path / f"{name}.parquet" for name in ("none", "text", "good", "wide")}
    duckdb.sql(WRITTEN.format(names["good"]))
    names["text"].write_text("id,a\n1,2\n")
    duckdb.sql(f"COPY (SELECT 1 AS id, 100 AS a) TO '{names['wide']}' (FORMAT parquet)")
    with pytest.raises(am.AmatersError) as caught:
        db.sql(statement.format(**names))
    assert caught.value.code == code, str(caught.value)
    assert db.sql("SELECT count(*) FROM t").scalar() == 0
