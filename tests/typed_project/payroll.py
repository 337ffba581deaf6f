"""A user's project that names everything public; mypy --strict checks it, and it runs."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import amaters as am
from amaters import dbapi

STAFF: Mapping[str, Any] = {
    "id": am.Int64(primary_key=True),
    "dept": am.Text(index=True),
    "age": am.UInt8(max=120, encrypt=["eq", "range"]),
    "salary": am.Int32(min=0, max=1_000_000, encrypt=["range", "sum"], nullable=True),
    "bonus": am.Decimal(9, 2, min=0, max=5000, encrypt=["sum"], nullable=True),
    "grade": am.Enum(["A", "B", "C"], encrypt=["group"]),
    "born": am.Date(encrypt=["range"]),
    "active": am.Boolean(encrypt=["eq"]),
    "notes": am.Text(encrypt=[]),
}
WIDTHS = [
    am.Int8, am.Int16, am.Int32, am.Int64, am.UInt8, am.UInt16, am.UInt32, am.UInt64,
    am.Timestamp, am.Blob,
]  # fmt: skip
Row = tuple[int, str, int, int | None, Decimal | None, str, datetime.date, bool, str]
BORN = datetime.date(1980, 1, 2)
ROWS: Sequence[Row] = [
    (1, "R&D", 44, 81_000, Decimal("12.50"), "A", BORN, True, "x"),
    (2, "R&D", 31, 64_000, None, "B", BORN, False, "y"),
    (3, "HR", 58, None, Decimal("99.99"), "A", BORN, True, "z"),
]


def show(progress: am.Progress) -> None:
    """A progress callback."""
    print(progress.what, progress.done, progress.total, progress.unit)


def tables(db: am.Database) -> None:
    """Rows by key, changes, batches."""
    pay: am.Table = db.create_table("pay", STAFF)
    inserted: int = pay.insert(ROWS)
    row: dict[str, Any] | None = pay.get(1, ["dept"])
    assert inserted == 3 and row == {"dept": "R&D"}
    some: am.Result = pay.get_many([3, 1, 7])
    assert len(some) == 2
    assert pay.upsert([ROWS[0]]) == 1
    assert pay.update({"salary": am.col("salary") + 1000}, am.col("id") == 2) == 1
    ids: list[tuple[Any, ...]] = pay.range(2).select("id").rows()
    assert ids == [(2,), (3,)]
    with db.batch() as batch:
        made: am.Batch = batch
        found: dict[str, Any] | None = made.get("pay", 3)
        assert found is not None
        made.delete("pay", [3])
        made.insert("pay", [(4, *ROWS[2][1:])])
    with db.transaction() as transaction:
        begun: am.Transaction = transaction
        begun.sql("UPDATE pay SET notes = 'seen' WHERE id = ?", [1])
        count: int = begun.delete("pay", [99])
        assert count == 0
    assert pay.delete([4]) == 1
    names: list[str] = db.tables()
    assert names == [pay.name]


def questions(db: am.Database) -> None:
    """Conditions, aggregates, and answers in every form."""
    pay = db.table("pay")
    old = (am.col("age") > 30) & ~am.col("dept").is_in(["HR"]) | am.col("salary").is_null()
    query: am.Query = pay.filter(old).filter(am.col("age").between(1, am.public(120)))
    totals: am.Result = (
        query.group_by("dept")
        .agg(am.sum("salary").alias("total"), am.avg("salary"), am.count(), am.count("bonus"))
        .having(am.count() > 1)
        .order_by(am.col("dept").desc())
        .limit(5)
        .collect(timeout_seconds=60, progress=show)
    )
    names: tuple[str, ...] = totals.names
    assert names[:2] == ("dept", "total")
    stats: am.Stats = totals.stats
    assert stats.bytes_sent > 0
    total: Any = pay.agg(am.sum(am.col("salary"))).scalar()
    share = am.sum(am.when(am.col("age") < 30, am.col("salary")).otherwise(0)) / am.count()
    young = am.count("grade").distinct().filter(am.col("age") < 30)
    print(pay.agg(share.alias("share"), young).rows())
    assert total == 146_000
    assert pay.select("dept").distinct().rows() == [("R&D",)]
    extremes = (am.min("salary"), am.max("salary"), am.median("salary"), am.quantile("salary", 0.1))
    assert pay.agg(*extremes).rows() == [(65_000, 81_000, 73_000.0, 65_000)]
    plan: am.Plan = query.explain(format="json", local=True)
    assert plan.startswith("{") and plan.document["table"] == "pay"
    doubled: am.Expression = 2 * am.col("salary")
    rich: am.Condition = am.col("salary") > 70_000
    assert pay.filter(rich).agg(am.sum(doubled)).scalar() == 162_000
    parts: list[am.Result] = list(query.stream())
    assert sum(len(part) for part in parts) == len(list(query)) == len(query.rows())
    print(query.arrow().num_rows, query.polars().height, len(query.pandas()), query.dicts())


def statements(db: am.Database) -> None:
    """SQL, and its errors."""
    one: am.Result = db.sql("SELECT count(*) FROM pay WHERE age > ?", [40], timeout_seconds=60)
    assert one.scalar() == 1
    print(db.explain("SELECT count(*) FROM pay WHERE age > :a", {"a": 40}))
    db.sql_many("UPDATE pay SET grade = ? WHERE id = ?", [("C", 1), ("B", 2)])
    kinds: tuple[type[am.AmatersError], ...] = (
        am.ClosedError, am.ConflictError, am.DataError, am.DeniedError, am.InternalError,
        am.InvalidError, am.UnavailableError, am.UsageError,
    )  # fmt: skip
    try:
        db.sql("SELECT sum(age) FROM pay")
    except kinds as error:
        code: str = error.code
        assert code == "AM-2107" and error.fix
    db.drop_table("pay")


async def asynchronous() -> None:
    """The same names, awaitable."""
    async with am.connect_async(":memory:", unsafe_scheme="noop") as db:
        opened: am.AsyncDatabase = db
        table: am.AsyncTable = await opened.create_table("t", {"a": am.Int8(encrypt=["range"])})
        await table.insert([(1,), (2,)])
        query: am.AsyncQuery = table.filter(am.col("a") > 1)
        rows: list[tuple[Any, ...]] = await query.rows()
        assert rows == [(2,)]
        async with opened.batch() as batch:
            made: am.AsyncBatch = batch
            made.insert("t", [(3,)])
        async with opened.transaction() as transaction:
            begun: am.AsyncTransaction = transaction
            await begun.insert("t", [(4,)])


def standard() -> None:
    """DB-API 2.0."""
    with dbapi.connect(":memory:", unsafe_scheme="noop") as connection:
        cursor: dbapi.Cursor = connection.cursor()
        cursor.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        cursor.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
        first: tuple[Any, ...] | None = cursor.execute("SELECT id FROM t").fetchone()
        assert first == (1,) and cursor.description is not None


def main() -> None:
    """All of it."""
    with am.connect(":memory:", unsafe_scheme="noop", progress=show) as db:
        tables(db)
        questions(db)
        statements(db)
    asyncio.run(asynchronous())
    standard()


if __name__ == "__main__":
    main()
