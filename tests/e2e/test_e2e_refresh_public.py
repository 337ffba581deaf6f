"""Client refresh where whole segments fail what is public in a filter: the engine has no masks of
them to tell, and what runs after the parts reads them all the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from e2e_support import small
from joins_support import sorted_rows

import amaters as am

BATCH = 700
BATCHES = 4


def chain(size: int, last: str) -> str:
    """Alternating ANDs and ORs nested ``size`` deep: a circuit takes a level for each."""
    for number in range(size):
        word = "OR" if number % 2 else "AND"
        last = f"({'ab'[number % 2]} > {200 - 9 * number} {word} {last})"
    return last


FILTERS = (
    f"(p = 1 AND {chain(12, 'a < 100')}) OR (p = 2 AND {chain(12, 'b < 90')})",
    f"p >= 1 AND ((p = 1 AND {chain(12, 'a < 100')}) OR (p = 2 AND {chain(12, 'b < 90')}))",
    f"(p = 7 AND {chain(12, 'a < 100')}) OR (p = 8 AND {chain(12, 'b < 90')})",
)
OUTPUTS = (
    "SELECT sum(a), count(*) FROM t WHERE {where}",
    "SELECT count(*) FROM t WHERE {where}",
    "SELECT k, a FROM t WHERE {where}",
    "SELECT w, sum(a), count(*) FROM t JOIN d ON t.p = d.id WHERE {where} GROUP BY w",
    "SELECT sum(a), sum(w) FROM t JOIN d ON t.p = d.id WHERE (w > 2 OR a > 50) AND ({where})",
)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[am.Database, Any]]:
    """A table with segments of one value of ``p`` each, and a dimension by it."""
    draw = random.Random(1)
    secret = am.UInt8(max=200, encrypt=["range", "sum"], nullable=True)
    columns = {"k": am.Int64(primary_key=True), "p": am.Int32(), "a": secret, "b": secret}
    rows = [
        (number, number // BATCH, draw.choice([None, draw.randrange(201)]), draw.randrange(201))
        for number in range(BATCH * BATCHES)
    ]
    others = [(number, number + 1) for number in range(3)]
    plain = duckdb.connect()
    plain.execute("CREATE TABLE t (k BIGINT, p INT, a INT, b INT)")
    plain.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    plain.execute("CREATE TABLE d (id INT, w INT)")
    plain.executemany("INSERT INTO d VALUES (?, ?)", others)
    with am.connect(":memory:", **small("noop")) as db:
        table = db.create_table("t", columns)
        for start in range(0, len(rows), BATCH):
            table.insert(rows[start : start + BATCH])
        weight = am.Int32(min=0, max=9, encrypt=["sum", "range"])
        db.create_table("d", {"id": am.Int32(primary_key=True), "w": weight}).insert(others)
        yield db, plain


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("where", FILTERS)
def test_segments_that_fail_what_is_public(
    where: str, output: str, pair: tuple[am.Database, Any]
) -> None:
    """Two of four segments, or all of them, hold nothing that any branch asks for."""
    db, plain = pair
    question = output.format(where=where)
    assert "Client refresh" in db.explain(question)
    assert db.sql("SELECT count(*) FROM t WHERE a > 3").stats.segments == BATCHES
    assert sorted_rows(db.sql(question).rows()) == sorted_rows(plain.sql(question).fetchall())
