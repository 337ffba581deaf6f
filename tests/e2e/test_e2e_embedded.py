"""The whole way through one process: rows in, questions answered, on both schemes.

Expected values are computed here, in plain Python, over the rows that were inserted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from e2e_support import COLUMNS, FULL, SCHEMES, people, small

import amaters as am

ROWS = people(2 * FULL + 100)


@pytest.fixture(scope="module", params=SCHEMES)
def db(request: pytest.FixtureRequest) -> Iterator[am.Database]:
    """Two full segments and a tail of 100 rows, inserted in two batches."""
    with am.connect(":memory:", **small(request.param)) as opened:
        table = opened.create_table("people", COLUMNS)
        assert table.insert(ROWS[: 2 * FULL]) == 2 * FULL
        assert table.insert(pa.Table.from_pylist(ROWS[2 * FULL :])) == 100
        yield opened


def where(predicate: Any) -> list[dict[str, Any]]:
    return [row for row in ROWS if predicate(row)]


def total(rows: list[dict[str, Any]], name: str) -> Any:
    values = [row[name] for row in rows if row[name] is not None]
    return sum(values) if values else None


def test_segments_and_tail_take_part(db: am.Database) -> None:
    """Both segments and the tail contribute; canaries never count."""
    result = db.sql("SELECT count(*), count(salary) FROM people WHERE age >= 0")
    assert result.rows() == [(len(ROWS), len(where(lambda r: r["salary"] is not None)))]
    assert (result.stats.segments, result.stats.tail_rows) == (2, 100)
    assert result.stats.key_switches > 0
    assert db.sql("SELECT count(*) FROM people").scalar() == len(ROWS)


def test_filter_with_public_and_encrypted_columns(db: am.Database) -> None:
    """The README's query: encrypted range, public equality, exact sum."""
    found = where(lambda r: r["age"] > 40 and r["dept"] == "R&D")
    query = db.table("people").filter((am.col("age") > 40) & (am.col("dept") == "R&D"))
    assert query.agg(am.sum("salary"), am.count()).rows() == [(total(found, "salary"), len(found))]


def test_group_by_encrypted_and_public(db: am.Database) -> None:
    """Groups over an encrypted nullable column and a public one, with exact averages."""
    got = db.sql(
        "SELECT grade, dept, count(*), sum(bonus), avg(salary) FROM people WHERE born < ? "
        "GROUP BY grade, dept ORDER BY grade, dept",
        [date(1980, 1, 1)],
    ).rows()
    expected = []
    for grade in ("A", "B", "C", None):
        for dept in ("HR", "Ops", "R&D"):
            found = where(
                lambda r, g=grade, d=dept: (
                    r["grade"] == g and r["dept"] == d and r["born"] < date(1980, 1, 1)
                )
            )
            paid = [row for row in found if row["salary"] is not None]
            average = float(Fraction(total(paid, "salary"), len(paid)))
            expected.append((grade, dept, len(found), total(found, "bonus"), average))
    assert got == expected


def test_rows_are_selected_and_unsealed(db: am.Database) -> None:
    """A selection by encrypted columns returns whole rows, sorted, limited."""
    found = where(lambda r: r["city"] == "Nara" and r["salary"] is not None and r["salary"] < 9999)
    found.sort(key=lambda r: (-r["salary"], r["id"]))
    query = (
        db.table("people")
        .filter((am.col("city") == "Nara") & (am.col("salary") < 9999))
        .select("id", "salary", "notes", "born", "bonus")
        .order_by(am.col("salary").desc(), "id")
    )
    names = ("id", "salary", "notes", "born", "bonus")
    assert query.rows() == [tuple(row[name] for name in names) for row in found]
    assert query.limit(2, 1).dicts() == [{n: row[n] for n in names} for row in found[1:3]]


def test_selecting_everything_gives_back_what_was_inserted(db: am.Database) -> None:
    """Every type survives sealing; the canaries of both segments are left out."""
    got = db.sql("SELECT * FROM people").dicts()
    assert sorted(got, key=lambda r: r["id"]) == sorted(ROWS, key=lambda r: r["id"])


def test_nulls_follow_three_valued_logic(db: am.Database) -> None:
    """NOT and OR treat NULL as unknown; IS NULL sees it."""
    count = db.sql("SELECT count(*) FROM people WHERE NOT (salary > 500000 OR age < 10)").scalar()
    kept = where(lambda r: r["salary"] is not None and r["salary"] <= 500000 and r["age"] >= 10)
    assert count == len(kept)
    count = db.sql("SELECT count(*) FROM people WHERE grade IS NULL AND city <> 'Nara'").scalar()
    assert count == len(where(lambda r: r["grade"] is None and r["city"] not in (None, "Nara")))


def test_public_constants_give_the_same_answer(db: am.Database) -> None:
    """PUBLIC() changes what is sent, not what is answered."""
    table = db.table("people")
    secret = table.filter(am.col("age").is_in([1, 50, 99])).agg(am.count()).collect()
    shown = table.filter(am.col("age").is_in([am.public(n) for n in (1, 50, 99)]))
    public = shown.agg(am.count()).collect()
    assert public.rows() == secret.rows() == [(len(where(lambda r: r["age"] in (1, 50, 99))),)]
    assert public.stats.bytes_sent < secret.stats.bytes_sent


def test_results_leave_as_frames(db: am.Database) -> None:
    """Arrow, Polars and pandas get the same values with exact types."""
    result = db.sql("SELECT id, bonus, born FROM people WHERE age = 7 ORDER BY id")
    rows = [
        (row["id"], row["bonus"], row["born"])
        for row in sorted(where(lambda r: r["age"] == 7), key=lambda r: r["id"])
    ]
    assert result.rows() == rows
    arrow = pa.table(result)
    assert arrow.schema.types == [pa.int64(), pa.decimal128(9, 2), pa.date32()]
    assert [tuple(row.values()) for row in arrow.to_pylist()] == rows
    assert result.polars().rows() == rows
    assert result.pandas()["id"].tolist() == [row[0] for row in rows]


def test_explain_says_what_it_costs_and_what_it_shows(db: am.Database) -> None:
    """EXPLAIN runs nothing; both forms name levels, bytes and what the server learns."""
    text = db.explain("SELECT sum(salary) FROM people WHERE age > 40")
    assert "the server learns" in text
    assert "the server does not learn" in text
    assert '"server_learns"' in db.explain("SELECT count(*) FROM people", format="json")
    lines = db.sql("EXPLAIN ANALYZE SELECT count(*) FROM people WHERE age > 40")
    assert any("actual" in str(line) for (line,) in lines)


def test_asynchronous_twin() -> None:
    """The same names, awaitable; several questions at once."""

    async def run() -> list[Any]:
        async with am.connect_async(":memory:", **small("noop")) as opened:
            table = await opened.create_table("people", COLUMNS)
            await table.insert(ROWS[:FULL])
            queries = [
                table.filter(am.col("age") > n).agg(am.count()).scalar() for n in (20, 60, 100)
            ]
            return await asyncio.gather(*queries)

    got = asyncio.run(run())
    assert got == [sum(row["age"] > n for row in ROWS[:FULL]) for n in (20, 60, 100)]


def test_a_database_without_rows_answers() -> None:
    """COUNT 0, SUM NULL, no rows, no groups; dropping a table forgets it."""
    with am.connect(":memory:", **small("noop")) as opened:
        opened.create_table("people", COLUMNS)
        assert opened.sql("SELECT count(*), sum(salary) FROM people").rows() == [(0, None)]
        assert opened.sql("SELECT id FROM people WHERE age > 3").rows() == []
        assert opened.sql("SELECT grade, count(*) FROM people GROUP BY grade").rows() == []
        assert opened.tables() == ["people"]
        opened.drop_table("people")
        assert opened.tables() == []


def test_products_of_sum_columns() -> None:
    """SUM(a * b) under an encrypted filter, as in TPC-H query 6."""
    rows = [{"a": i % 50, "b": i % 11, "c": i % 7} for i in range(FULL)]
    with am.connect(":memory:", **small("bgv")) as opened:
        opened.sql(
            "CREATE TABLE t (a SMALLINT ENCRYPTED WITH (QUERIES = 'sum', MIN = 0, MAX = 50), "
            "b SMALLINT ENCRYPTED WITH (QUERIES = 'sum', MIN = 0, MAX = 10), "
            "c SMALLINT ENCRYPTED WITH (QUERIES = 'range', MIN = 0, MAX = 10))"
        )
        opened.table("t").insert(rows)
        got = opened.sql("SELECT sum(a * b), count(*) FROM t WHERE c BETWEEN 2 AND 4").rows()
    kept = [row for row in rows if 2 <= row["c"] <= 4]
    assert got == [(sum(row["a"] * row["b"] for row in kept), len(kept))]


def test_unsigned_64_bit_and_decimal_edges() -> None:
    """The widest values survive filters, sums and sealing."""
    big = 2**64 - 1
    rows = [{"k": i, "u": big - i, "d": Decimal(10**18 - 1 - i).scaleb(-6)} for i in range(600)]
    with am.connect(":memory:", **small("noop")) as opened:
        opened.sql(
            "CREATE TABLE t (k INTEGER PRIMARY KEY, "
            "u UBIGINT ENCRYPTED WITH (QUERIES = 'range,sum'), "
            "d DECIMAL(18,6) ENCRYPTED WITH (QUERIES = 'eq,sum'))"
        )
        opened.table("t").insert(rows)
        got = opened.sql(f"SELECT sum(u), sum(d), count(*) FROM t WHERE u >= {big - 99}").rows()
        assert got == [(sum(big - i for i in range(100)), sum(r["d"] for r in rows[:100]), 100)]
        row = opened.sql("SELECT k, u FROM t WHERE d = 999999999999.999999").rows()
        assert row == [(0, big)]


def test_a_keyset_can_be_deep_as_a_whole() -> None:
    """Then every table is, whatever its DEPTH."""
    ddl = (
        "CREATE TABLE t (a SMALLINT ENCRYPTED WITH (QUERIES = 'eq', MIN = 0, MAX = 200)) "
        "WITH (DEPTH = 'deep')"
    )
    with am.connect(":memory:", unsafe_scheme="noop", parameters="deep") as deep:
        assert "up to" in deep.sql(ddl).message
        deep.table("t").insert({"a": [i % 201 for i in range(20_000)]})
        result = deep.sql("SELECT count(*) FROM t WHERE a IN (3, 200)")
        assert result.rows() == [(100 + 99,)]
        assert result.stats.segments == 1
    with pytest.raises(am.UsageError):
        am.connect(":memory:", parameters="insecure_n1024")
