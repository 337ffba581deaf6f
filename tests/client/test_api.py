"""The public interface is a list; importing it is light; its expressions mean what SQL means."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys

import pytest

import amaters as am
from amaters.client.lowering import Question, to_sql
from amaters.client.result import Result, Stats

PUBLIC = """AmatersError AsyncBatch AsyncDatabase AsyncQuery AsyncTable Batch Boolean ClosedError
ConflictError DataError Database Date Decimal DeniedError Enum Int8 Int16 Int32 Int64 InternalError
InvalidError Progress Query Result Stats Table Text UInt8 UInt16 UInt32 UInt64 UnavailableError
UsageError
avg col connect connect_async count public sum""".split()  # noqa: SIM905


def test_the_public_list_is_pinned() -> None:
    """Whoever adds or removes a public name changes this list too, on purpose."""
    assert sorted(am.__all__) == sorted(PUBLIC)
    assert all(getattr(am, name) is not None for name in PUBLIC)


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
}


@pytest.mark.parametrize("text", CONDITIONS)
def test_conditions_become_sql_with_parameters(text: str) -> None:
    """Constants never stand in the text; names are quoted."""
    sql, parameters = to_sql(Question("t", where=CONDITIONS[text]))
    assert sql == f'SELECT * FROM "t" WHERE {text}'
    assert set(parameters) <= {3, True}


def test_questions_become_sql() -> None:
    """Every clause in its place."""
    question = Question(
        "t",
        selected=(am.sum("a").alias("total"), am.count(), am.avg(am.col("a") * am.col("b"))),
        groups=("g",),
        order=(am.col("g").desc(nulls_first=True), "total"),
        count=5,
        offset=2,
    )
    assert to_sql(question)[0] == (
        'SELECT "g", sum("a") AS "total", count(*), avg("a" * "b") FROM "t" GROUP BY "g" '
        'ORDER BY "g" DESC NULLS FIRST, "total" LIMIT 5 OFFSET 2'
    )


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
    assert "<th>text</th>" in result._repr_html_()
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
