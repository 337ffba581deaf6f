"""Expressions beside DuckDB: totals of products, CASE, FILTER, DISTINCT, arithmetic."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from e2e_support import small

import amaters as am
from amaters.base.errors import InvalidError

DDL = """CREATE TABLE t (id INTEGER PRIMARY KEY, p TEXT, n INTEGER, m INTEGER, q DECIMAL(6,2),
  a SMALLINT ENCRYPTED WITH (QUERIES = 'range,sum', MIN = -5, MAX = 5),
  b INTEGER ENCRYPTED WITH (QUERIES = 'sum', MIN = 0, MAX = 90000) NOT NULL,
  g TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'a,b'),
  h TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'x,y,z') NOT NULL,
  d DECIMAL(6,2) ENCRYPTED WITH (QUERIES = 'sum,range', MIN = 0, MAX = 0.10) NOT NULL,
  e DECIMAL(6,2) ENCRYPTED WITH (QUERIES = 'sum', MIN = 0, MAX = 0.08))"""
PLAIN = """CREATE TABLE t (id INTEGER, p TEXT, n INTEGER, m INTEGER, q DECIMAL(6,2), a SMALLINT,
  b INTEGER, g TEXT, h TEXT, d DECIMAL(6,2), e DECIMAL(6,2))"""
QUESTIONS = (
    "SELECT sum(b*(1-d)) FROM t",
    "SELECT sum(b*(1-d)*(1+e)), avg(b*(1-d)), count(b*e) FROM t WHERE a > -2",
    "SELECT g, h, count(*), sum(b), sum(b*(1-d)), sum(b*(1-d)*(1+e)), avg(b), avg(d) FROM t "
    "WHERE a <= 3 GROUP BY g, h ORDER BY g, h",
    "SELECT h, sum(b*(1-d)*(1+e)) FROM t GROUP BY h",
    "SELECT p, sum(b*(1-d)*(1+e)), sum(a+e) FROM t WHERE d < 0.06 GROUP BY p",
    "SELECT sum(a+e), sum(a-b), sum(-a), sum(a*2), count(a+e), avg(a-e) FROM t",
    "SELECT sum(a*n), sum(a*n+q), sum(n*m), sum(n+m) FROM t",
    "SELECT sum(CASE WHEN a > 0 THEN b ELSE 0 END), count(CASE WHEN a > 0 THEN 1 END), avg(CASE"
    " WHEN a > 0 THEN b END) FROM t",
    "SELECT sum(CASE WHEN a > 0 THEN b WHEN a < -2 THEN d ELSE e END), avg(CASE WHEN a > 0 THEN"
    " b ELSE 0 END) FROM t",
    "SELECT h, sum(CASE WHEN p = 'u' THEN b ELSE 1 END), sum(b) FILTER (WHERE p = 'u' AND a > "
    "1), count(*) FILTER (WHERE a IS NULL) FROM t GROUP BY h",
    "SELECT 100.00 * sum(CASE WHEN a > 0 THEN b*(1-d) ELSE 0 END) / sum(b*(1-d)) FROM t WHERE d"
    " > 0.03",
    "SELECT sum(a)/count(*), sum(b)//7, sum(b)*2+1, -sum(b), avg(a)*2, sum(d)+1.5 FROM t",
    "SELECT id, a+b*2, -a, a/m, b//7, d*e, CASE WHEN a > 0 THEN d ELSE b END FROM t WHERE a > 3",
    "SELECT n+m, n*q, n/m, p FROM t ORDER BY n*m, id LIMIT 20",
    "SELECT id FROM t WHERE a > 2 ORDER BY a*b DESC, id LIMIT 7",
    "SELECT id FROM t WHERE n + m > 2",
    "SELECT id FROM t WHERE n < m AND a > 2",
    "SELECT count(*) FROM t WHERE n * q < m - 1",
    "SELECT count(*), sum(b) FROM t WHERE NOT (n + m BETWEEN 1 AND 3) AND a > 0",
    "SELECT count(*) FROM t WHERE n + m IN (1, 2, id) OR (n+m) IS NULL",
    "SELECT p, count(*) FROM t GROUP BY p HAVING sum(b)/count(*) > 44000",
    "SELECT p, sum(b) s FROM t GROUP BY p HAVING sum(a) * 2 > count(*) / 100 ORDER BY sum(b) - "
    "count(*)",
    "SELECT g, h FROM t GROUP BY g, h HAVING sum(b) > 2 * 3000000 OR sum(a) + 1 IN (3, 4, 5)",
    "SELECT g, CASE WHEN sum(a) > 0 THEN sum(b)/sum(a) ELSE -1 END FROM t GROUP BY g",
    "SELECT count(DISTINCT g), count(DISTINCT p), count(DISTINCT n) FROM t",
    "SELECT h, count(DISTINCT g), sum(b), sum(DISTINCT n), avg(DISTINCT n) FROM t WHERE a > 0 "
    "GROUP BY h",
    "SELECT p, count(DISTINCT h) FROM t GROUP BY p",
    "SELECT count(DISTINCT n) FILTER (WHERE a > 3) FROM t",
    "SELECT count(DISTINCT g) FROM t WHERE a > 100",
    "SELECT DISTINCT n+1 FROM t",
    "SELECT DISTINCT g, h FROM t",
    "SELECT DISTINCT a FROM t WHERE a > 0",
    "SELECT sum(1), sum(1.5), avg(2), count(1) FROM t WHERE a > 0",
    "SELECT id+1 AS x FROM t WHERE a > 3 ORDER BY x LIMIT 3",
    "SELECT sum(a) FILTER (WHERE n > m) FROM t",
    "SELECT sum(n) FILTER (WHERE a > 0), sum(m*n) FILTER (WHERE a > 0) FROM t",
    "SELECT p, n + count(*) FROM t GROUP BY p, n",
    "SELECT sum(CASE n WHEN 1 THEN a WHEN 2 THEN b END) FROM t",
    "SELECT sum(2 * CASE WHEN a > 1 THEN b ELSE 0 END + 1) FROM t",
    "SELECT sum(coalesce(a,0)), count(coalesce(a, n)), avg(coalesce(a,1)), "
    "sum(coalesce(a, n, 7) * 2), sum(coalesce(e, d)) FROM t",
    "SELECT coalesce(sum(a), 0), coalesce(sum(e) FILTER (WHERE a > 100), 1), nullif(count(*), 5), "
    "sum(b) / nullif(count(*) - count(*), 0) FROM t",
    "SELECT sum(abs(a)), sum(if(a > 0, b, 1)), sum(nullif(n, 2)), count(nullif(a, 1)) FROM t",
    "SELECT id, coalesce(a, n), nullif(n, 1), abs(m), n % 3, q % 2, q % 0.4, if(p = 'u', 1, 0), "
    "coalesce(p, g, 'none') FROM t WHERE a > 2",
    "SELECT h, sum(coalesce(a, -1)) FROM t GROUP BY h HAVING coalesce(sum(a), 0) > -1000",
    "SELECT g, sum(m * b * d), sum(n * b), sum(a * n) FROM t WHERE a > -4 GROUP BY g",
    "SELECT p, sum(m * b * d), sum(CASE WHEN a > 0 THEN m * b END) FROM t GROUP BY p",
    "SELECT sum(a * 1), sum(a * 1.0), sum(a * 1.00), sum(n * 2.0), sum(n * 2) FROM t",
    "SELECT p, sum(b) % 7, -7 % 3 FROM t GROUP BY p ORDER BY abs(sum(a) - 3), p",
)
ON_CIPHERTEXTS = (
    "SELECT g, sum(m * b * d), sum(n * b) FROM t WHERE a > -4 GROUP BY g",
    "SELECT g, h, count(*), sum(b), sum(b*(1-d)), sum(b*(1-d)*(1+e)), avg(b), avg(d) FROM t "
    "WHERE a <= 3 GROUP BY g, h",
    "SELECT h, sum(CASE WHEN p = 'u' THEN b ELSE 1 END), sum(b) FILTER (WHERE p = 'u' AND a > "
    "1), count(*) FILTER (WHERE a IS NULL) FROM t GROUP BY h",
    "SELECT p, sum(b*(1-d)*(1+e)), sum(a+e), count(DISTINCT g) FROM t WHERE d < 0.06 GROUP BY p",
)
REFUSED = {
    "AM-2121": (
        "SELECT sum(a / 2) FROM t",
        "SELECT id FROM t WHERE n / m > 1",
        "SELECT id FROM t WHERE n % 2 = 1",
    ),
    "AM-2122": ("SELECT sum(n*n*n*n*n*n*n*n*n) FROM t",),
    "AM-2123": ("SELECT sum(b * b * d) FROM t", "SELECT sum(a * b * d * e) FROM t"),
    "AM-2124": ("SELECT id FROM t WHERE a < b", "SELECT sum(b) FROM t WHERE a + n > 2"),
    "AM-2107": (
        "SELECT count(DISTINCT a) FROM t",
        "SELECT sum(b + 0 * n) FILTER (WHERE e > 0) FROM t",
    ),
    "AM-2205": (
        "SELECT sum(count(*)) FROM t",
        "SELECT id FROM t WHERE sum(a) > 2",
        "SELECT count(DISTINCT a + 1) FROM t",
        "SELECT round(id) FROM t",
        "SELECT sum(a) + 1 IS NULL FROM t",
    ),
    "AM-2207": ("SELECT a + sum(b) FROM t", "SELECT p FROM t GROUP BY p ORDER BY n + count(*)"),
    "AM-2208": (
        "SELECT p + 1 FROM t",
        "SELECT sum(p) FROM t",
        "SELECT CASE WHEN a > 1 THEN 'x' ELSE 2 END FROM t",
        "SELECT coalesce(p, 3) FROM t",
        "SELECT id FROM t WHERE p < n",
    ),
    "AM-2120": ("SELECT sum(b) // (count(*) - count(*)) FROM t", "SELECT id % 0 FROM t"),
}


def rows(count: int, seed: int) -> list[tuple[Any, ...]]:
    """Rows with NULLs wherever the schema allows them."""
    draw = random.Random(seed)
    return [
        (
            i,
            draw.choice(["u", "v", None]),
            draw.choice([None, 1, 2, 3, -7, 0]),
            draw.randint(-4, 4),
            draw.choice([None, Decimal("1.50"), Decimal("-2.25")]),
            draw.choice([None, *range(-5, 6)]),
            draw.randint(0, 90000),
            draw.choice([None, "a", "b"]),
            draw.choice("xyz"),
            Decimal(draw.randint(0, 10)).scaleb(-2),
            draw.choice([None, Decimal(draw.randint(0, 8)).scaleb(-2)]),
        )
        for i in range(count)
    ]


def pair(scheme: str, count: int, *, dead: bool) -> Iterator[tuple[am.Database, Any]]:
    """One table in both engines: a full segment, of which some rows may be dead, and a tail."""
    data = rows(count, 17)
    plain = duckdb.connect()
    plain.sql(PLAIN)
    plain.executemany(f"INSERT INTO t VALUES ({', '.join('?' * 11)})", data)
    with am.connect(":memory:", **small(scheme)) as db:
        db.sql(DDL)
        db.table("t").insert(data[:-100])
        db.table("t").insert(data[-100:])
        if dead:
            for engine in (db, plain):
                engine.sql("DELETE FROM t WHERE id BETWEEN 200 AND 290")
        yield db, plain


@pytest.fixture(scope="module")
def noop() -> Iterator[tuple[am.Database, Any]]:
    yield from pair("noop", 1200, dead=False)


@pytest.fixture(scope="module")
def masked() -> Iterator[tuple[am.Database, Any]]:
    yield from pair("noop", 1200, dead=True)


@pytest.fixture(scope="module")
def bgv() -> Iterator[tuple[am.Database, Any]]:
    yield from pair("bgv", 1100, dead=True)


def shown(value: Any) -> str:
    """A value with its type; doubles to 12 digits, since DuckDB's averages round twice."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{value:.12g}"
    return format(value, "f") if isinstance(value, Decimal) else repr(value)


def assert_equal(question: str, db: am.Database, plain: Any) -> None:
    """The same rows, types of values and names of columns."""
    ours, theirs = db.sql(question), plain.sql(question)
    found = [[shown(value) for value in row] for row in ours.rows()]
    expected = [[shown(value) for value in row] for row in theirs.fetchall()]
    if "ORDER BY" not in question:
        found, expected = sorted(found), sorted(expected)
    assert found == expected
    assert expected
    if "FILTER" not in question:
        assert list(ours.names) == theirs.columns


@pytest.mark.parametrize("question", QUESTIONS)
def test_expressions_equal_duckdb(question: str, noop: tuple[am.Database, Any]) -> None:
    """Every form, over public and encrypted columns, NULLs, segments and a tail."""
    assert_equal(question, *noop)


@pytest.mark.parametrize("question", QUESTIONS)
def test_expressions_over_dead_rows(question: str, masked: tuple[am.Database, Any]) -> None:
    """The same under the mask of live rows."""
    assert_equal(question, *masked)


@pytest.mark.parametrize("question", ON_CIPHERTEXTS)
def test_expressions_on_ciphertexts(question: str, bgv: tuple[am.Database, Any]) -> None:
    """Folded products, conditions inside aggregates and DISTINCT on the real scheme."""
    assert_equal(question, *bgv)


@pytest.mark.parametrize(("code", "text"), [(c, t) for c, texts in REFUSED.items() for t in texts])
def test_refusals(code: str, text: str, noop: tuple[am.Database, Any]) -> None:
    """What has no exact answer here is refused with a fix."""
    with pytest.raises(InvalidError) as caught:
        noop[0].sql(text)
    assert caught.value.code == code
    assert caught.value.fix


def test_explain_tells_of_products_and_conditions(noop: tuple[am.Database, Any]) -> None:
    """What the engine learns beyond column names: which products, and the shape of conditions."""
    text = noop[0].explain("SELECT sum(b * (1 - d)), sum(b) FILTER (WHERE a > 4) FROM t")
    learned, hidden = text.split("the server does not learn:")
    assert "which products are totalled: b * d" in learned
    assert "the condition inside aggregates" in learned
    assert "the constants compared with a" in hidden
    assert "which rows the conditions inside aggregates select" in hidden
    assert "Condition 1" in text and "a > ?" in text
    assert " 4" not in learned.split("the server learns:")[1]


def test_python_writes_the_same(noop: tuple[am.Database, Any]) -> None:
    """CASE, FILTER, DISTINCT and division of the Python API."""
    table, b = noop[0].table("t"), am.col("b")
    share = 100 * am.sum(am.when(am.col("a") > 0, b).otherwise(0)) / am.sum("b")
    found = table.group_by("h").agg(
        share.alias("share"),
        am.count().filter(am.col("a") > 1).filter(am.col("p") == "u"),
        am.count("g").distinct(),
        (am.sum("b") // 7).alias("sevenths"),
    )
    text = (
        "SELECT h, 100 * sum(CASE WHEN a > 0 THEN b ELSE 0 END) / sum(b), "
        "count(*) FILTER (WHERE a > 1 AND p = 'u'), count(DISTINCT g), sum(b) // 7 "
        "FROM t GROUP BY h"
    )
    assert sorted(found.rows()) == sorted(noop[0].sql(text).rows())
    picked = table.select(am.when(am.col("n") > 1, 1).when(am.col("n") < 0, 2).alias("c"))
    sql = "SELECT CASE WHEN n > 1 THEN 1 WHEN n < 0 THEN 2 END FROM t"
    assert sorted(map(repr, picked.rows())) == sorted(map(repr, noop[0].sql(sql).rows()))
