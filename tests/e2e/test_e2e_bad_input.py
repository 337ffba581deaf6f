"""Bad input: a typed error that says what to do, and nothing half done."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from e2e_support import COLUMNS, FULL, people, small

import amaters as am

ROWS = people(50)


@pytest.fixture
def db() -> Iterator[am.Database]:
    with am.connect(":memory:", **small("noop")) as opened:
        opened.create_table("people", COLUMNS).insert(ROWS)
        yield opened


def refused(db: am.Database, code: str, work: Any) -> am.AmatersError:
    """Run ``work``; it must fail with ``code`` and a fix, and leave the table as it was."""
    before = db.sql("SELECT * FROM people").rows()
    with pytest.raises(am.AmatersError) as caught:
        work()
    assert caught.value.code == code, str(caught.value)
    assert caught.value.fix
    assert db.sql("SELECT * FROM people").rows() == before
    return caught.value


STATEMENTS = {
    "SELECT wage FROM people": "AM-2204",
    "SELECT sum(age) FROM people": "AM-2107",
    "SELECT count(*) FROM people WHERE bonus > 3": "AM-2107",
    "SELECT count(*) FROM people WHERE notes = 'x'": "AM-2107",
    "SELECT age, count(*) FROM people GROUP BY age": "AM-2107",
    "SELECT count(*) FROM nobody": "AM-2203",
    "SELECT count(*) FROM people WHERE age > 'old'": "AM-2208",
    "SELECT stddev(age) FROM people": "AM-2205",
    "SELECT count(*) FROM people WHERE age > id": "AM-2124",
    "SELECT count(*) FROM people WHERE": "AM-2201",
    "DELETE FROM people USING other": "AM-2205",
    "CREATE TABLE people (a INTEGER)": "AM-3020",
    "CREATE TABLE t (a TEXT ENCRYPTED WITH (QUERIES = 'sum'))": "AM-2024",
    "INSERT INTO people (id, dept) VALUES (1, 'R&D')": "AM-2004",
    "COPY people FROM '/nonexistent/file.csv'": "AM-5004",
    "DROP TABLE nobody": "AM-5009",
}


@pytest.mark.parametrize("statement", STATEMENTS)
def test_statements_that_cannot_be_run(db: am.Database, statement: str) -> None:
    """Unknown names, missing capabilities, wrong types, what is not supported."""
    refused(db, STATEMENTS[statement], lambda: db.sql(statement))


def test_a_missing_capability_names_the_ddl_that_would_allow_it(db: am.Database) -> None:
    """PRODUCT's example."""
    error = refused(db, "AM-2107", lambda: db.sql("SELECT sum(age) FROM people"))
    assert "age" in error.message
    assert "sum" in error.fix


VALUES: dict[str, tuple[str, Any, str]] = {
    "above MAX": ("age", 121, "AM-2003"),
    "below MIN": ("salary", -1001, "AM-2003"),
    "beyond the type": ("age", 300, "AM-2003"),
    "text for a number": ("age", "four", "AM-2002"),
    "a digit too many": ("bonus", Decimal("1.005"), "AM-2005"),
    "NULL in NOT NULL": ("born", None, "AM-2004"),
    "not a declared value": ("grade", "D", "AM-2006"),
}


@pytest.mark.parametrize("case", VALUES)
def test_a_value_out_of_bounds_names_row_and_column_but_not_the_value(
    db: am.Database, case: str
) -> None:
    """The bad row stands last, after many good ones: none of them is inserted."""
    column, value, code = VALUES[case]
    good = people(FULL + 5, seed=9, first=1000)
    bad = {**people(1, seed=10, first=9000)[0], column: value}
    error = refused(db, code, lambda: db.table("people").insert([*good, bad]))
    assert column in error.message
    assert str(len(good) + 1) in error.message
    if value is not None:
        assert str(value) not in str(error)


def test_an_unknown_column_in_a_row(db: am.Database) -> None:
    """The message lists the columns there are."""
    row = {**people(1, first=900)[0], "wage": 3}
    error = refused(db, "AM-2001", lambda: db.table("people").insert([row]))
    assert "salary" in str(error)


def test_duplicate_keys(db: am.Database) -> None:
    """A key that exists, in tail or segment, and a key that stands twice in the batch."""
    table = db.table("people")
    new = people(3, seed=5, first=500)
    error = refused(db, "AM-5010", lambda: table.insert([*new, {**new[0], "id": ROWS[7]["id"]}]))
    assert str(ROWS[7]["id"]) in error.message
    refused(db, "AM-5011", lambda: table.insert([*new, new[1]]))
    many = people(FULL, seed=6, first=1000)
    table.insert(many)
    refused(db, "AM-5010", lambda: table.insert([{**new[0], "id": many[500]["id"]}]))
    again = people(FULL, seed=7, first=3000)
    again[3]["id"] = many[-1]["id"]
    refused(db, "AM-5010", lambda: table.insert(again))


CSV = {
    "a cell too few": ("id,dept,age\n1,HR,3\n2,HR\n", "AM-5005", "line 3"),
    "an open quote": ('id,dept,age\n1,"HR,3\n', "AM-5005", "line"),
    "not a number": ("id,dept,age\n1,HR,3\n2,HR,young\n", "AM-2002", "row 2"),
    "out of bounds": ("id,dept,age\n1,HR,3\n2,HR,121\n", "AM-2003", "row 2"),
    "unknown column": ("id,dept,wage\n1,HR,3\n", "AM-2001", "wage"),
}


@pytest.mark.parametrize("case", CSV)
def test_a_broken_csv_row(tmp_path: Path, case: str) -> None:
    """COPY inserts all rows of a file or none."""
    text, code, words = CSV[case]
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with am.connect(":memory:", **small("noop")) as opened:
        opened.sql(
            "CREATE TABLE people (id INTEGER PRIMARY KEY, dept TEXT, "
            "age SMALLINT ENCRYPTED WITH (QUERIES = 'range', MIN = 0, MAX = 120))"
        )
        error = refused(opened, code, lambda: opened.sql(f"COPY people FROM '{path}' (HEADER)"))
        assert words in str(error)
        path.write_text("id,dept,age\n1,HR,3\n2,,\n")
        opened.sql(f"COPY people FROM '{path}' (HEADER)")
        assert opened.sql("SELECT * FROM people").rows() == [(1, "HR", 3), (2, None, None)]


def test_conditions_cannot_be_misused() -> None:
    """``and``, chained comparisons and conditions that are none are refused with a hint."""
    age = am.col("age")
    for misuse in (
        lambda: (age > 3) and (age < 5),
        lambda: 3 < age < 5,
        lambda: (age > 3) & 4,
    ):
        with pytest.raises(am.InvalidError, match="AM-5007"):
            misuse()


def test_a_closed_database_says_so() -> None:
    """Using it again is a Closed error; closing it again is nothing."""
    db = am.connect(":memory:", **small("noop"))
    db.close()
    db.close()
    with pytest.raises(am.AmatersError) as caught:
        db.tables()
    assert caught.value.code == "AM-5002"
