"""Finishing answers: exact totals, rounding of averages, order, limit, and totals taken away."""

from __future__ import annotations

import datetime
import random
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import pytest
from sql_support import NEW

from amaters.client.finish import (
    Answer,
    Totals,
    category_value,
    finish_rows,
    finish_totals,
    totals_of,
)
from amaters.columns.batch import ColumnBatch
from amaters.columns.schema import Table
from amaters.plan.expressions import CreateTable, Select
from amaters.plan.spec import Term
from amaters.sql.binder import bind
from amaters.sql.parser import parse_one

DDL = """CREATE TABLE t (k BIGINT PRIMARY KEY, u UBIGINT, i BIGINT, d DECIMAL(18,6), s TEXT,
g TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'x,y'), day DATE, b BOOLEAN)"""


def table() -> Table:
    created = bind(parse_one(DDL), {}, new=NEW)
    assert isinstance(created, CreateTable)
    return created.table


TABLE = table()


def select(text: str) -> Select:
    bound = bind(parse_one(text), {"t": TABLE}, new=NEW)
    assert isinstance(bound, Select)
    return bound


def batch(**columns: list[object]) -> ColumnBatch:
    length = len(next(iter(columns.values())))
    return ColumnBatch.from_columns(TABLE, {"k": list(range(length)), **columns})


def answer(text: str, rows: ColumnBatch) -> Answer:
    bound = select(text)
    if bound.is_aggregate:
        return finish_totals(bound, totals_of(bound, rows))
    return finish_rows(bound, rows)


def test_sums_do_not_wrap_around() -> None:
    """Sums and products of the largest values, which 64 bits cannot hold."""
    top = (1 << 64) - 1
    rows = batch(u=[top] * 5, i=[-(1 << 63)] * 5, d=[Decimal("999999999999.999999")] * 5)
    found = answer("SELECT SUM(u), SUM(i), SUM(u * u), SUM(i * d), SUM(d) FROM t", rows)
    assert [column[0] for column in found.columns] == [
        5 * top,
        -5 << 63,
        5 * top * top,
        Decimal(-5 * (1 << 63) * (10**18 - 1)).scaleb(-6, Context(prec=60)),
        Decimal("4999999999999.999995"),
    ]
    assert found.types[0] == "HUGEINT" and found.types[3] == "DECIMAL(38,6)"


def test_averages_are_the_correctly_rounded_quotient() -> None:
    """The nearest double to the exact quotient, also where sum and count are no doubles."""
    rng = random.Random(5)
    for _ in range(200):
        values = [rng.randint(-(1 << 63), (1 << 63) - 1) for _ in range(rng.randint(1, 9))]
        found = answer("SELECT AVG(i) FROM t", batch(i=values)).columns[0][0]
        exact = Fraction(sum(values), len(values))
        below, above = np.nextafter(found, -np.inf), np.nextafter(found, np.inf)
        gap = abs(Fraction(found) - exact)
        assert gap <= abs(Fraction(float(below)) - exact)
        assert gap <= abs(Fraction(float(above)) - exact)


def test_empty_and_null_aggregates() -> None:
    """Without rows, and with NULLs only, SUM and AVG are NULL and COUNT is 0."""
    text = "SELECT COUNT(*), COUNT(i), SUM(i), AVG(d), 7 FROM t"
    assert [c[0] for c in answer(text, batch(i=[])).columns] == [0, 0, None, None, 7]
    assert [c[0] for c in answer(text, batch(i=[None, None])).columns] == [2, 0, None, None, 7]
    assert answer("SELECT g, SUM(i) FROM t GROUP BY g", batch(i=[])).columns == ([], [])


def test_totals_that_are_taken_away_leave_no_group() -> None:
    """A group in which only canaries were counted disappears; others lose their part."""
    bound = select("SELECT g, COUNT(*), SUM(i), AVG(i) FROM t GROUP BY g ORDER BY g")
    total = totals_of(bound, batch(g=["x", "x", "y", None], i=[1, 2, 3, None]))
    total.merge(totals_of(bound, batch(g=["x", "y"], i=[1, 3])), sign=-1)
    assert finish_totals(bound, total).columns == (["x", None], [1, 1], [2, None], [2.0, None])


def test_categories_by_index() -> None:
    """The index after the last category is NULL's."""
    column = TABLE.column("g")
    assert [category_value(column, index) for index in range(3)] == ["x", "y", None]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("i", [1, 2, 2, None, None]),
        ("i DESC", [2, 2, 1, None, None]),
        ("i NULLS FIRST", [None, None, 1, 2, 2]),
        ("i DESC NULLS FIRST", [None, None, 2, 2, 1]),
    ],
)
def test_nulls_sort_last_unless_told(order: str, expected: list[object]) -> None:
    """DuckDB's order, in both directions, for rows and for groups."""
    rows = batch(i=[2, None, 1, None, 2])
    assert list(answer(f"SELECT i FROM t ORDER BY {order}", rows).columns[0]) == expected
    grouped = answer(f"SELECT i FROM t GROUP BY i ORDER BY {order}", rows).columns[0]
    assert grouped == list(dict.fromkeys(expected))


def test_sorting_is_stable_and_by_several_keys() -> None:
    """Later keys decide between equals; keys need not be selected."""
    rows = batch(i=[1, 1, 0, 0], s=["b", "é", "a", "Z"], day=[None] * 4)
    assert answer("SELECT s FROM t ORDER BY i DESC, s", rows).columns[0] == ["b", "é", "Z", "a"]
    assert answer("SELECT k FROM t ORDER BY i", rows).columns[0] == [2, 3, 0, 1]


def test_limit_offset_and_distinct() -> None:
    """DISTINCT comes before LIMIT."""
    rows = batch(i=[3, 1, 3, None, 2, None], b=[True] * 6)
    text = "SELECT DISTINCT i, 1 FROM t ORDER BY i LIMIT 2 OFFSET 1"
    assert answer(text, rows).columns[0] == [2, 3]
    assert answer("SELECT i FROM t LIMIT 0", rows).columns[0] == []
    assert answer("SELECT i FROM t OFFSET 5", rows).columns[0] == [None]
    assert answer("SELECT DISTINCT b FROM t GROUP BY b, i", rows).columns[0] == [True]


def test_names_and_types() -> None:
    """Types are DuckDB's, for columns, constants and aggregates."""
    text = "SELECT u, d, s, day, b, 1, 5000000000, 1.50, 'x', NULL, DATE '2020-01-01', TRUE FROM t"
    found = answer(text, batch(u=[1], day=[datetime.date(2020, 2, 29)]))
    assert found.types == (
        "UBIGINT", "DECIMAL(18,6)", "VARCHAR", "DATE", "BOOLEAN", "INTEGER", "BIGINT",
        "DECIMAL(3,2)", "VARCHAR", "NULL", "DATE", "BOOLEAN",
    )  # fmt: skip
    assert found.columns[3] == [datetime.date(2020, 2, 29)]
    text = "SELECT COUNT(*), COUNT(s), SUM(i), AVG(i), SUM(d * d) FROM t"
    found = answer(text, batch(i=[1]))
    assert found.types == ("BIGINT", "BIGINT", "HUGEINT", "DOUBLE", "DECIMAL(38,12)")


def test_totals_add_up_over_any_split() -> None:
    """Totals of parts, merged, are the totals of the whole."""
    rng = random.Random(3)
    bound = select("SELECT g, SUM(i), AVG(d), COUNT(s) FROM t GROUP BY g")
    data = {
        "g": [rng.choice(["x", "y", None]) for _ in range(300)],
        "i": [rng.choice([None, rng.randint(-(1 << 63), (1 << 63) - 1)]) for _ in range(300)],
        "d": [Decimal(rng.randint(-(10**17), 10**17)).scaleb(-6) for _ in range(300)],
        "s": [rng.choice([None, "", "a"]) for _ in range(300)],
    }
    whole = batch(**data)
    merged = Totals()
    for start, stop in ((0, 1), (1, 100), (100, 100), (100, 300)):
        merged.merge(totals_of(bound, whole.slice(start, stop)))
    assert merged == totals_of(bound, whole)
    assert merged.groups[("x",)][Term("count")] > 0
