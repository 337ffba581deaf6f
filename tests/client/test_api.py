"""The public interface is a list; importing it is light; its expressions mean what SQL means."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from collections.abc import Callable

import pytest

import amaters as am
from amaters.client.lowering import Question, to_delete, to_sql, to_update
from amaters.client.result import Result, Stats


def test_even_all_public_names_load_nothing_heavy() -> None:
    """Not only the package: every public name can be used before a heavy library is loaded."""
    code = (
        "import sys, amaters\n"
        "for name in amaters.__all__: getattr(amaters, name)\n"
        "heavy = ('numba', 'pyarrow', 'grpc', 'sqlglot', 'duckdb', 'pandas', 'polars')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_blocking_api_has_every_asynchronous_name() -> None:
    """Derived, so nothing can be missing but what Python spells differently."""
    pairs = ((am.AsyncDatabase, am.Database), (am.AsyncTable, am.Table), (am.AsyncQuery, am.Query))
    for asynchronous, blocking in pairs:
        names = {name for name in vars(asynchronous) if not name.startswith("_")}
        assert names <= {*vars(blocking), *dir(blocking)} | {"name"}


CONDITIONS = {
    '("a" > ?)': am.col("a") > 3,
    '(("a" >= ?) AND (NOT ("b" = ?)))': (am.col("a") >= 3) & ~(am.col("b") == 3),
    '(("a" IS NULL) OR ("a" IS NOT NULL))': am.col("a").is_null() | am.col("a").is_not_null(),
    '("a" BETWEEN ? AND PUBLIC(?))': am.col("a").between(3, am.public(3)),
    '("a" IN (?, ?))': am.col("a").is_in([3, 3]),
    '("x""y" <> ?)': am.col('x"y') != 3,
    '(NOT ("flag" = ?))': ~am.col("flag"),
    '("a" LIKE ?)': am.col("a").like("x%"),
}


@pytest.mark.parametrize("text", CONDITIONS)
def test_conditions_become_sql_with_parameters(text: str) -> None:
    """Constants never stand in the text; names are quoted."""
    sql, parameters = to_sql(Question("t", where=CONDITIONS[text]))
    assert sql == f'SELECT * FROM "t" WHERE {text}'
    assert set(parameters) <= {3, True, "x%"}


def test_questions_become_sql() -> None:
    """Every clause in its place."""
    question = Question(
        "t",
        where=am.col("a") > 7,
        selected=(am.sum("a").alias("total"), am.count(), am.avg(am.col("a") * am.col("b"))),
        groups=("g",),
        having=(am.count() > 1) & (am.sum(2 * (am.col("a") - 1)) <= am.public(3)),
        order=(am.col("g").desc(nulls_first=True), "total"),
        count=5,
        offset=2,
    )
    text, parameters = to_sql(question)
    assert parameters == [7, 1, 2, 1, 3]
    assert text == (
        'SELECT "g", sum("a") AS "total", count(*), avg("a" * "b") FROM "t" WHERE ("a" > ?) '
        'GROUP BY "g" HAVING ((count(*) > ?) AND (sum(? * ("a" - ?)) <= PUBLIC(?))) '
        'ORDER BY "g" DESC NULLS FIRST, "total" LIMIT 5 OFFSET 2'
    )


def test_changes_become_sql() -> None:
    """Constants and expressions of the row; only of rows that filter chose."""
    question = Question("t", where=am.col("a") > 7)
    values = {"a": 5, "b": am.col("b") + 1}
    assert to_update(question, values) == (
        'UPDATE "t" SET "a" = ?, "b" = "b" + ? WHERE ("a" > ?)',
        [5, 1, 7],
    )
    assert to_delete(question) == ('DELETE FROM "t" WHERE ("a" > ?)', [7])
    with pytest.raises(am.InvalidError, match="AM-5007"):
        to_delete(Question("t", count=3))


NONSENSE: dict[str, Callable[[], object]] = {
    "and instead of &": lambda: am.col("a") > 1 and am.col("b") > 1,
    "a < b < c": lambda: 1 < am.col("a") < 3,
    "a condition as a value": lambda: am.col("a") == (am.col("b") > 1),
    "no brackets": lambda: am.col("a") > 40 & am.col("b"),  # type: ignore[operator]
    "a number as a column": lambda: am.sum(3),  # type: ignore[arg-type]
    "a value as a condition": lambda: (am.col("a") > 1) & 3,  # type: ignore[operator]
}


@pytest.mark.parametrize("what", NONSENSE)
def test_what_is_easily_written_wrongly_is_refused(what: str) -> None:
    """With a fix, when it is written, not when it runs."""
    with pytest.raises((am.InvalidError, TypeError)):
        NONSENSE[what]()


def test_rows_by_key_and_changes() -> None:
    """One row is a dictionary; a range is half open, in order; updates count rows."""
    with am.connect(":memory:", unsafe_scheme="noop") as db:
        table = db.create_table("t", {"id": am.Int64(primary_key=True), "a": am.Int8()})
        table.insert([(n, n) for n in (5, 1, 3, 2, 4)])
        assert table.get(3) == {"id": 3, "a": 3}
        assert table.get(9) is None
        assert table.range(2, 5).rows() == [(2, 2), (3, 3), (4, 4)]
        assert table.range(high=3).select("a").rows() == [(1,), (2,)]
        assert table.range(4).filter(am.col("a") > 4).rows() == [(5, 5)]
        assert table.update({"a": am.col("a") * 2 + 1}, am.col("id") >= 4) == 2
        assert table.range(4).rows() == [(4, 9), (5, 11)]
        assert table.update({"a": 0}) == 5
        with db.batch() as batch:
            assert batch.get("t", 1) == {"id": 1, "a": 0}
            assert batch.get("t", 7) is None


def test_results_as_tables() -> None:
    """Numbers to the right, texts to the left, NULL spelled out, long results cut and counted."""
    result = Result(("n", "text"), ("BIGINT", "VARCHAR"), ([1, None], ["a", "long one"]))
    assert repr(result).splitlines() == [
        "┌──────┬──────────┐",
        "│    n │ text     │",
        "├──────┼──────────┤",
        "│    1 │ a        │",
        "│ NULL │ long one │",
        "└──────┴──────────┘",
        "2 rows",
    ]
    assert "100 rows, 40 shown" in repr(Result(("n",), ("BIGINT",), (list(range(100)),)))
    assert ">text</th>" in result._repr_html_()
    assert result.stats == Stats()
    with pytest.raises(am.InvalidError, match="AM-5007"):
        result.scalar()


async def _timed_out() -> None:
    async with am.connect_async(":memory:", unsafe_scheme="noop", timeout_seconds=60) as db:
        table = await db.create_table("t", {"id": am.Int64(primary_key=True)})
        await table.insert([(1,)])
        assert (await db.sql("SELECT id FROM t")).rows() == [(1,)]
        with pytest.raises(am.UnavailableError, match="AM-5041"):
            await db.sql("SELECT id FROM t", timeout_seconds=0)
        assert (await db.sql("SELECT id FROM t", timeout_seconds=math.inf)).rows() == [(1,)]
    async with am.connect_async(":memory:", unsafe_scheme="noop", timeout_seconds=0) as db:
        with pytest.raises(am.UnavailableError, match="AM-5041"):
            await db.transaction().sql("SELECT id FROM t")


def test_a_statement_has_a_time_limit() -> None:
    """Its own, or the connection's; the database works afterwards."""
    asyncio.run(_timed_out())


def test_progress_of_one_statement() -> None:
    """A callback for one statement hears of that statement only."""
    heard: list[am.Progress] = []
    with am.connect(":memory:", unsafe_scheme="noop", unsafe_parameters="insecure_n1024") as db:
        table = db.create_table("t", {"a": am.Int8(encrypt=["range"])})
        table.insert([(n % 100,) for n in range(1000)])
        assert not heard
        db.sql("SELECT count(*) FROM t WHERE a > 3", progress=heard.append)
        assert heard[-1].done == heard[-1].total > 0
        before = len(heard)
        db.sql("SELECT count(*) FROM t WHERE a > 3")
        assert len(heard) == before


def test_one_statement_for_many_sets() -> None:
    """Plain rows as one batch; what a key that exists does may differ from set to set."""
    with am.connect(":memory:", unsafe_scheme="noop") as db:
        table = db.create_table("t", {"id": am.Int64(primary_key=True), "a": am.Int8()})
        assert db.sql_many("INSERT INTO t VALUES (?, ?)", [(1, 1), (2, 2)]).changed == 2
        with pytest.raises(am.ConflictError):
            db.sql_many("INSERT INTO t VALUES (?, ?)", [(3, 3), (1, 9)])
        assert table.get(3) is None
        text = "INSERT INTO t VALUES (?, 0) ON CONFLICT (id) DO UPDATE SET a = ?"
        db.sql_many(text, [(1, 7), (2, 8), (1, 9)])
        assert table.range().rows() == [(1, 9), (2, 8)]
        db.sql_many("INSERT INTO t SELECT id + ?, a FROM t WHERE id = ?", [(10, 1), (20, 2)])
        assert table.range().rows() == [(1, 9), (2, 8), (11, 9), (22, 8)]
        assert db.sql_many("DELETE FROM t WHERE id = :i", [{"i": 1}, {"i": 5}]).changed == 1


def test_a_progress_callback_that_waits_is_told() -> None:
    """It would wait for itself; its error is that of the statement."""
    with am.connect(":memory:", unsafe_scheme="noop", unsafe_parameters="insecure_n1024") as db:
        table = db.create_table("t", {"a": am.Int8(encrypt=["range"])})
        table.insert([(n % 100,) for n in range(1000)])
        with pytest.raises(am.InvalidError, match="AM-5046"):
            db.sql("SELECT count(*) FROM t WHERE a > 3", progress=lambda _: print(db.tables()))
        assert db.sql("SELECT count(*) FROM t WHERE a > 3").scalar() == 960
