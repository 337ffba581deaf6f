"""Answers equal DuckDB's on the same rows: every type at its extremes, NULLs, groups, order,
limits, parameters, exact sums and averages; over several segments and a tail, on both schemes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from door_support import SMALL, Plain

import amaters as am

INTEGERS = {
    "TINYINT": (-(2**7), 2**7 - 1), "SMALLINT": (-(2**15), 2**15 - 1),
    "INTEGER": (-(2**31), 2**31 - 1), "BIGINT": (-(2**63), 2**63 - 1),
    "UTINYINT": (0, 2**8 - 1), "USMALLINT": (0, 2**16 - 1),
    "UINTEGER": (0, 2**32 - 1), "UBIGINT": (0, 2**64 - 1),
}  # fmt: skip
TOP = Decimal("999999999999.999999")
COLUMNS = [f"{kind.lower()}_" for kind in INTEGERS]
TYPED = [f"{name} {kind}" for name, kind in zip(COLUMNS, INTEGERS, strict=True)]
OTHERS = ["d DECIMAL(18,6)", "born DATE", "flag BOOLEAN", "grade TEXT", "city TEXT"]
ENCRYPTED = [
    f"{column} ENCRYPTED WITH (QUERIES = 'eq,range,sum')" for column in [*TYPED, OTHERS[0]]
]
ENCRYPTED += [
    "born DATE ENCRYPTED WITH (QUERIES = 'eq,range')",
    "flag BOOLEAN ENCRYPTED WITH (QUERIES = 'group')",
    "grade TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'A,B,C')",
    "city TEXT ENCRYPTED WITH (QUERIES = 'eq')",
]
FIXED = ["k BIGINT PRIMARY KEY", "town TEXT", "p INTEGER"]
ROWS = 2010  # two segments of the small ring and a tail


def rows() -> list[tuple[Any, ...]]:
    """Half of all values are extremes or their neighbours."""
    draw = random.Random(11)

    def number(low: int, high: int) -> int | None:
        edges = [low, low + 1, high - 1, high, 0, 1, None]
        return draw.choice(edges) if draw.random() < 0.5 else draw.randint(low, high)

    def made(key: int) -> tuple[Any, ...]:
        unit = number(-(10**18) + 1, 10**18 - 1)
        return (
            3 * key - 3000,
            draw.choice(["Oslo", "Rome", None]),
            draw.choice([None, -5, 0, 5]),
            *(number(low, high) for low, high in INTEGERS.values()),
            None if unit is None else Decimal(unit).scaleb(-6),
            draw.choice([None, date(1, 1, 1), date(9999, 12, 31), date(1970, 1, 1),
                         date.fromordinal(draw.randint(1, 3_000_000))]),
            draw.choice([None, True, False]),
            draw.choice([None, "A", "B", "C"]),
            draw.choice([None, "", "Nara", "Ōsaka", "it's", "x" * 100]),
        )  # fmt: skip

    return [made(key) for key in range(ROWS)]


DATA = rows()


@pytest.fixture(scope="module")
def plain() -> Plain:
    """DuckDB with the rows in the clear."""
    plain = Plain()
    plain.table(f"CREATE TABLE t ({', '.join([*FIXED, *TYPED, *OTHERS])})", "t", DATA)
    plain.table(f"CREATE TABLE empty ({', '.join([*FIXED, *TYPED, *OTHERS])})", "empty", [])
    return plain


@pytest.fixture(scope="module")
def databases() -> Iterator[dict[str, am.Database]]:
    """The same rows encrypted, and an empty table, once per scheme."""
    with ExitStack() as stack:
        made = {}
        for scheme in ("noop", "bgv"):
            unsafe = "noop" if scheme == "noop" else None
            opened = am.connect(":memory:", unsafe_scheme=unsafe, unsafe_parameters=SMALL)
            made[scheme] = stack.enter_context(opened)
            for name in ("t", "empty"):
                opened.sql(f"CREATE TABLE {name} ({', '.join([*FIXED, *ENCRYPTED])})")
            opened.table("t").insert(DATA)
        yield made


@pytest.fixture
def db(request: pytest.FixtureRequest, databases: dict[str, am.Database]) -> am.Database:
    """The database of one scheme."""
    return databases[request.param]


def both(name: str, cases: Sequence[Any], every: int) -> Any:
    """All cases on the noop scheme, one of ``every`` on the real one too."""
    pairs = [("noop", case) for case in cases] + [("bgv", case) for case in cases[::every]]
    return pytest.mark.parametrize(("db", name), pairs, indirect=["db"])


def on(*schemes: str) -> Any:
    """A test on these schemes."""
    return pytest.mark.parametrize("db", schemes, indirect=True)


def text(row: tuple[Any, ...]) -> tuple[str, ...]:
    """Values with their types; decimals by their digits."""
    return tuple(
        f"{type(v).__name__} {format(v, 'f') if isinstance(v, Decimal) else v!r}" for v in row
    )


def same(db: am.Database, plain: Plain, sql: str, parameters: Any = None) -> None:
    """Equal answers, in order where the statement has one."""
    ours = [text(row) for row in db.sql(sql, parameters).rows()]
    theirs = [text(row) for row in plain.rows(sql, parameters)]
    if "ORDER BY" not in sql:
        ours, theirs = sorted(ours), sorted(theirs)
    assert ours == theirs, sql


@on("noop", "bgv")
def test_everything_inserted_comes_back(db: am.Database, plain: Plain) -> None:
    """All rows of all columns, extremes and NULLs included."""
    same(db, plain, "SELECT * FROM t ORDER BY k")


@both("kind", ["BIGINT", *(kind for kind in INTEGERS if kind != "BIGINT")], 8)
def test_integers_at_their_extremes(kind: str, db: am.Database, plain: Plain) -> None:
    """=, <>, <, <=, >, >=, BETWEEN at and around both ends, and sums, are exact."""
    name = f"{kind.lower()}_"
    low, high = INTEGERS[kind]
    middle = (low + high) // 2
    clauses = [
        f"{name} = {low} OR {name} < {low + 1}", f"{name} <> {high} AND {name} >= {high - 1}",
        f"{name} BETWEEN {low} AND {middle}", f"NOT ({name} <= {middle} OR {name} = {high})",
        f"{name} IN ({low}, {high}, 0)",
    ]  # fmt: skip
    if name in COLUMNS[1:3] + COLUMNS[5:7]:
        clauses = clauses[2:4]
    for clause in clauses:
        same(db, plain, f"SELECT count(*), count({name}), sum({name}) FROM t WHERE {clause}")
    same(db, plain, f"SELECT k, {name} FROM t WHERE {name} >= {high - 1} ORDER BY k")


@on("noop")
def test_constants_beyond_a_type_are_legal(db: am.Database) -> None:
    """A predicate may ask for what no row can hold: always or never true, NULL rows aside."""
    valued = sum(row[3] is not None for row in DATA)
    for clause, count in {
        "tinyint_ < 1000": valued,
        "tinyint_ > 1000": 0,
        "tinyint_ = -129": 0,
        "tinyint_ <> 128": valued,
        "tinyint_ >= -99999999999999999999": valued,
        "ubigint_ < 0": 0,
    }.items():
        assert db.sql(f"SELECT count(*) FROM t WHERE {clause}").scalar() == count
    big = sum(row[10] is not None for row in DATA)
    assert db.sql("SELECT count(*) FROM t WHERE ubigint_ <= 18446744073709551616").scalar() == big


@both(
    "clause",
    [
        f"d = {TOP}",
        f"d <= -{TOP}",
        "d BETWEEN -0.000001 AND 0.000001",
        "d > 0.5",
        "born = DATE '0001-01-01'",
        "born >= DATE '9999-12-31'",
        "born < DATE '1970-01-01' AND born > DATE '0001-01-01'",
        "flag",
        "NOT flag",
        "flag IS NULL OR grade IS NULL",
        "grade IN ('A', 'C', 'Q')",
        "grade <> 'B'",
        "city = ''",
        "city = 'Ōsaka' OR city = 'it''s'",
        "city IS NOT NULL AND city <> 'Nara'",
        "town = 'Oslo' AND (p > 0 OR p IS NULL) AND tinyint_ > 3",
        "town IS NULL OR bigint_ > 0",
        "NOT (town = 'Rome' AND utinyint_ < 100)",
        "p BETWEEN -5 AND 0 OR smallint_ NOT BETWEEN -100 AND 100",
        "k >= 0 AND k < 900 AND flag",
        "integer_ IN (0, 1, 2147483647, NULL)",
        "uinteger_ > PUBLIC(7) AND bigint_ <= PUBLIC(0)",
    ],
    5,
)
def test_filters_of_every_type(clause: str, db: am.Database, plain: Plain) -> None:
    """DECIMAL, DATE, BOOLEAN, TEXT, public and mixed conditions, with three-valued logic."""
    same(db, plain, f"SELECT count(*), count(d), sum(d), sum(tinyint_) FROM t WHERE {clause}")
    same(db, plain, f"SELECT k, d, born, city, grade, flag FROM t WHERE {clause}")


@both(
    "sql",
    [
        "SELECT town, count(*), sum(bigint_) FROM t GROUP BY town ORDER BY town",
        "SELECT grade, count(*), sum(ubigint_), count(d) FROM t GROUP BY grade ORDER BY grade",
        "SELECT flag, grade, p, count(*), sum(d) FROM t WHERE tinyint_ > 0 "
        "GROUP BY flag, grade, p ORDER BY p, grade, flag",
        "SELECT count(*), sum(d) FROM t WHERE tinyint_ < -128",
        "SELECT grade, sum(d) FROM t WHERE tinyint_ < -128 GROUP BY grade",
        "SELECT p, sum(p), count(p) FROM t WHERE usmallint_ > 65000 GROUP BY p ORDER BY p",
        "SELECT k, d FROM t WHERE bigint_ > 0 ORDER BY d DESC NULLS FIRST, k LIMIT 7 OFFSET 3",
        "SELECT k, city FROM t WHERE utinyint_ = 255 ORDER BY city, k DESC LIMIT 10",
        "SELECT k FROM t WHERE bigint_ > 0 ORDER BY k LIMIT 0",
        "SELECT DISTINCT grade, flag FROM t WHERE tinyint_ = 127 ORDER BY grade, flag",
        "SELECT count(*), sum(tinyint_), avg(tinyint_) FROM empty",
        "SELECT count(*), sum(d) FROM empty WHERE bigint_ > 5",
        "SELECT grade, count(*) FROM empty WHERE flag GROUP BY grade",
        "SELECT * FROM empty",
        "SELECT k FROM empty WHERE city = 'Nara' ORDER BY k",
    ],
    4,
)
def test_groups_order_limits_and_nothing(sql: str, db: am.Database, plain: Plain) -> None:
    """GROUP BY of public, encrypted and both; ORDER BY, LIMIT, OFFSET, DISTINCT; empty tables."""
    same(db, plain, sql)


@on("noop", "bgv")
def test_parameters(db: am.Database, plain: Plain) -> None:
    """Positional parameters of every type, NULL among them."""
    sql = "SELECT count(*), sum(d) FROM t WHERE bigint_ >= ? AND d < ? AND born <> ? AND town = ?"
    same(db, plain, sql, [-(2**63), Decimal("1.5"), date(1970, 1, 1), "Oslo"])
    same(db, plain, "SELECT count(*) FROM t WHERE tinyint_ = ?", [None])
    same(db, plain, "SELECT count(*) FROM t WHERE city = ? OR grade = ?", ["it's", "A"])
    named = db.sql(
        "SELECT count(*) FROM t WHERE utinyint_ BETWEEN :a AND :b", {"a": 3, "b": 250}
    ).scalar()
    assert named == sum(row[7] is not None and 3 <= row[7] <= 250 for row in DATA)


@both("position", range(8), 3)
def test_averages_are_correctly_rounded(position: int, db: am.Database) -> None:
    """AVG is the double nearest to the exact quotient, at the extremes of every type."""
    name = COLUMNS[position]
    for clause, keep in {"flag": True, "NOT flag": False}.items():
        values = [row[3 + position] for row in DATA if row[13] is keep]
        values = [value for value in values if value is not None]
        exact = Fraction(sum(values), len(values))
        got = db.sql(f"SELECT avg({name}), sum({name}) FROM t WHERE {clause}").rows()
        assert got == [(exact.numerator / exact.denominator, sum(values))]
        assert math.isclose(float(exact), got[0][0], rel_tol=2**-52)


def test_sums_beyond_64_bits_are_exact() -> None:
    """A sum of many extremes of BIGINT and UBIGINT is a Python integer of any size."""
    with am.connect(":memory:", unsafe_scheme="noop", unsafe_parameters=SMALL) as opened:
        opened.sql(
            "CREATE TABLE w (k BIGINT PRIMARY KEY, a BIGINT ENCRYPTED WITH (QUERIES = 'sum,range'),"
            " b UBIGINT ENCRYPTED WITH (QUERIES = 'sum'))"
        )
        low, high = -(2**63), 2**64 - 1
        opened.table("w").insert([(2 * i, low, high) for i in range(3000)])
        got = opened.sql("SELECT sum(a), sum(b), avg(b), count(*) FROM w WHERE a < 0").rows()
    assert got == [(3000 * low, 3000 * high, float(high), 3000)]
