"""What the prompt writes to disk: no constant that could be the value of an encrypted column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import amaters as am
from amaters.cli.history import Catalogue, clean


@pytest.fixture(scope="module")
def catalogue() -> Iterator[Catalogue]:
    with am.connect(":memory:", unsafe_scheme="noop") as db:
        first = db.create_table(
            "pay",
            {
                "id": am.Int64(primary_key=True),
                "dept": am.Text(),
                "salary": am.Int32(encrypt=["range"]),
                "city": am.Text(encrypt=["eq"]),
                "active": am.Boolean(encrypt=["eq"]),
            },
        )
        other = db.create_table("other", {"name": am.Text(encrypt=[]), "both": am.Int8()})
        third = db.create_table("third", {"both": am.Int8(encrypt=["eq"])})
        yield {table.name: table.schema() for table in (first, other, third)}


CLEANED = {
    "SELECT id FROM pay WHERE salary > 81000 AND city = 'Nara' LIMIT 5;": (
        "SELECT id FROM pay WHERE salary > ? AND city = ? LIMIT 5;"
    ),
    "SELECT id FROM pay WHERE dept = 'R&D' AND id >= 7 AND active = TRUE;": (
        "SELECT id FROM pay WHERE dept = 'R&D' AND id >= 7 AND active = ?;"
    ),
    "SELECT 1 FROM other WHERE both = 3;": "SELECT ? FROM other WHERE both = ?;",
    "SELECT salary AS dept FROM pay HAVING dept = 44;": (
        "SELECT salary AS dept FROM pay HAVING dept = ?;"
    ),
    "SELECT salary AS dept FROM pay WHERE dept = 'x';": (
        "SELECT salary AS dept FROM pay WHERE dept = ?;"
    ),
    "SELECT salary dept FROM pay GROUP BY 1 HAVING count(*) > 1 AND dept = 44;": (
        "SELECT salary dept FROM pay GROUP BY ? HAVING count(*) > ? AND dept = ?;"
    ),
    "SELECT id FROM (SELECT id, salary dept FROM pay) WHERE dept = 44;": (
        "SELECT id FROM (SELECT id, salary dept FROM pay) WHERE dept = ?;"
    ),
    "WITH q(dept) AS (FROM pay) SELECT id FROM q WHERE dept = 44 LIMIT 5;": (
        "WITH q(dept) AS (FROM pay) SELECT id FROM q WHERE dept = ? LIMIT 5;"
    ),
    "SELECT id FROM pay WHERE id = 5 + salary;": "SELECT id FROM pay WHERE id = ? + salary;",
    "SELECT id FROM pay WHERE salary + id = 44;": "SELECT id FROM pay WHERE salary + id = ?;",
    "SELECT id FROM pay WHERE (p.id = 5) AND NOT dept = 'x';": (
        "SELECT id FROM pay WHERE (p.id = 5) AND NOT dept = 'x';"
    ),
    "INSERT INTO pay VALUES (1, 'R&D', 44, 'Nara', true);": (
        "INSERT INTO pay VALUES (?, ?, ?, ?, ?);"
    ),
    "UPDATE pay SET dept = 'HR', salary = 5 WHERE salary BETWEEN 1 AND 2;": (
        "UPDATE pay SET dept = 'HR', salary = ? WHERE salary BETWEEN ? AND ?;"
    ),
    "CREATE TABLE t (a DECIMAL(9,2) ENCRYPTED WITH (MIN = 5, VALUES = 'A,B'));": (
        "CREATE TABLE t (a DECIMAL(9,2) ENCRYPTED WITH (MIN = ?, VALUES = ?));"
    ),
    "CREATE TABLE t (dept TEXT ENCRYPTED); SELECT a FROM t WHERE dept = 'x';": (
        "CREATE TABLE t (dept TEXT ENCRYPTED); SELECT a FROM t WHERE dept = ?;"
    ),
    "SELECT id -- salary 81000\nFROM pay /* Nara */ WHERE id = 1;": (
        "SELECT id FROM pay WHERE id = 1;"
    ),
    "SELECT id FRM pay WHERE id = 1 AND dept = 'x'": "SELECT id FRM pay WHERE id = ? AND dept = ?",
    "SELECT 'Nara and 81000": "SELECT ?",
    "SELECT $$Nara$$ FROM pay": "SELECT ? FROM pay",
    ".explain SELECT id FROM pay WHERE salary > 5": ".explain SELECT id FROM pay WHERE salary > ?",
    ".read /tmp/81000.sql": ".read /tmp/81000.sql",
    "get pay 7": "get pay 7",
    "explain set pay 7 salary=81000": "explain set pay 7 salary=?",
    "set pay 7 salary=8 city=\"New York\" dept='x y' z": "set pay 7 salary=? city=? dept=? ?",
    "set pay 7 city='New": "set ?",
}


@pytest.mark.parametrize("text", CLEANED)
def test_constants_become_question_marks(catalogue: Catalogue, text: str) -> None:
    """Except those that are certainly public."""
    assert " ".join(clean(text, catalogue).split()) == CLEANED[text]


SHAPES = (
    "SELECT id FROM pay WHERE salary = {0} OR city = '{1}'",
    "SELECT id FROM pay WHERE dept = 'x' AND salary IN ({0}, {0})",
    "UPDATE pay SET salary = {0}, city = '{1}' WHERE salary - {0} > 2",
    "INSERT INTO pay (id, salary) VALUES ({0}, {0}), (2, {0});",
    "SELECT id FROM pay WHERE salary >>> {0} '{1}' '{1}",
    "set pay 1 salary={0} city={1}",
    "DELETE FROM pay WHERE CASE WHEN salary = {0} THEN city = '{1}' END",
)


@given(shape=st.sampled_from(SHAPES), number=st.integers(10**8, 10**12), cut=st.integers(0, 30))
def test_no_secret_survives(catalogue: Catalogue, shape: str, number: int, cut: int) -> None:
    """Whole statements and ones that were cut off somewhere."""
    text: Any = shape.format(number, f"secret{number}")
    cleaned = clean(text[: len(text) - cut], catalogue)
    assert str(number)[:8] not in cleaned
