"""What the engine sees of LIKE, joins and subqueries: two databases with other secrets, asked other
things of one shape, get equal requests but for encrypted bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from door_support import Opened
from transcript_support import compare, made_alike

ROWS = 5000  # more than a quarter of a segment: the fact is asked, not read
DDL = (
    """CREATE TABLE f (id BIGINT PRIMARY KEY, k INTEGER NOT NULL,
      q INTEGER ENCRYPTED WITH (QUERIES = 'range,sum', MIN = 0, MAX = 100),
      t TEXT NOT NULL ENCRYPTED WITH (QUERIES = 'prefix(3)'),
      e INTEGER NOT NULL ENCRYPTED WITH (QUERIES = 'eq', MIN = 0, MAX = 7),
      g INTEGER ENCRYPTED WITH (QUERIES = 'group', VALUES = '0,1,2,3'))""",
    """CREATE TABLE d (id BIGINT PRIMARY KEY,
      name TEXT NOT NULL ENCRYPTED WITH (QUERIES = 'group', VALUES = 'ash,oak,elm'),
      w INTEGER ENCRYPTED WITH (QUERIES = 'sum', MIN = 0, MAX = 9))""",
)
JOIN = "FROM f JOIN d ON f.k = d.id"
TOTALS = "WITH t AS (SELECT k AS kk, sum(q) AS s FROM f WHERE q > {0} GROUP BY k) "
STATEMENTS = (
    ("SELECT sum(q) FROM f WHERE t LIKE 'a%'", "SELECT sum(q) FROM f WHERE t LIKE 'zzz%'"),
    ("SELECT sum(q) FROM f WHERE t LIKE 'ab%'", "SELECT sum(q) FROM f WHERE t = ''"),
    ("SELECT sum(q) FROM f WHERE t NOT LIKE '%'", "SELECT sum(q) FROM f WHERE t <> 'ab'"),
    (
        f"SELECT sum(q) {JOIN} WHERE d.name = 'ash' AND q > 3",
        f"SELECT sum(q) {JOIN} WHERE (d.name <> 'pine' OR w > 100) AND q > 300",
    ),
    (
        f"SELECT d.name, sum(q * w), count(*) {JOIN} WHERE w < 5 OR q = 7 GROUP BY d.name",
        f"SELECT d.name, sum(q * w), count(*) {JOIN} WHERE w IS NULL OR q = 900 GROUP BY d.name",
    ),
    (
        f"SELECT sum(CASE WHEN w > 3 AND q < 9 THEN 1 ELSE 0 END) {JOIN}",
        f"SELECT sum(CASE WHEN d.name IN ('ash', 'x') AND q < 99 THEN 1 ELSE 0 END) {JOIN}",
    ),
    (
        "SELECT sum(q) FROM f JOIN d ON f.e = d.id WHERE w > 3",
        "SELECT sum(q) FROM f JOIN d ON f.e = d.id WHERE d.name = 'nobody'",
    ),
    (
        "SELECT sum(q) FROM f JOIN d ON f.g = d.id WHERE w > 3",
        "SELECT sum(q) FROM f JOIN d ON f.g = d.id WHERE d.name = 'nobody'",
    ),
    (
        "SELECT count(*) FROM f WHERE q > (SELECT avg(q) FROM f WHERE q > -1)",
        "SELECT count(*) FROM f WHERE q > (SELECT avg(q) FROM f WHERE q > 90)",
    ),
    (
        f"{TOTALS.format(3)} SELECT sum(q * s) FROM f JOIN t ON f.k = kk WHERE s > 40 AND q > 3",
        f"{TOTALS.format(9)} SELECT sum(q * s) FROM f JOIN t ON f.k = kk WHERE s < 90 AND q > 7",
    ),
)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Opened, Opened]]:
    """Two databases of one public shape and different secrets."""
    made = made_alike("noop", (_filled(low=True), _filled(low=False)))
    yield made
    for opened in made:
        opened.db.close()


def _filled(*, low: bool) -> Callable[[Opened], None]:
    def fill(opened: Opened) -> None:
        for ddl in DDL:
            opened.db.sql(ddl)
        opened.db.table("f").insert([_fact(i, low=low) for i in range(ROWS)])
        opened.db.table("d").insert([_other(i, low=low) for i in range(8)])

    return fill


def _fact(i: int, *, low: bool) -> tuple[Any, ...]:
    if low:
        return 5 * i, i % 9, i % 4, "ab", 0, 1
    return 5 * i, i % 9, None if i % 3 else 100, "zz", i % 8, None if i % 2 else i // 2 % 4


def _other(i: int, *, low: bool) -> tuple[Any, ...]:
    return (i, "ash", 1) if low else (i, ("elm", "oak")[i % 2], None if i % 3 else 9)


@pytest.mark.parametrize("statements", STATEMENTS)
def test_shapes_are_all_that_shows(
    statements: tuple[str, str], pair: tuple[Opened, Opened]
) -> None:
    """Neither conditions on other tables, nor answers of subqueries, nor lengths of prefixes."""
    for opened, statement in zip(pair, statements, strict=True):
        opened.door.calls.clear()
        opened.db.sql(statement)
    compare(pair)


def test_what_differs_is_noticed(pair: tuple[Opened, Opened]) -> None:
    """The comparison sees a constant that is marked PUBLIC."""
    for opened, constant in zip(pair, ("'a%'", "'b%'"), strict=True):
        opened.door.calls.clear()
        opened.db.sql(f"SELECT sum(q) FROM f WHERE t LIKE PUBLIC({constant})")
    with pytest.raises(AssertionError):
        compare(pair)
