"""Generated columns: computed by the client at every write, asked like any other column."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from e2e_support import small

import amaters as am
from amaters.base.errors import AmatersError, InvalidError
from amaters.columns.schema import PublicTable, Table

DDL = """CREATE TABLE sales (id BIGINT PRIMARY KEY, units INTEGER, doubled BIGINT
    GENERATED ALWAYS AS (2 * units) STORED,
  price DECIMAL(9,2) NOT NULL ENCRYPTED WITH (QUERIES = 'sum', MIN = 0, MAX = 1000),
  disc DECIMAL(4,2) ENCRYPTED WITH (QUERIES = 'sum', MIN = 0, MAX = 0.50),
  charge DECIMAL(18,4) GENERATED ALWAYS AS (price * (1 - disc)) STORED
    ENCRYPTED WITH (QUERIES = 'sum,range'))"""
NAMES = ("id", "units", "price", "disc")


def rows(count: int) -> list[tuple[Any, ...]]:
    return [
        (
            i,
            i % 7 - 3 if i % 5 else None,
            Decimal((i * 7919) % 100_001).scaleb(-2),
            Decimal(i % 51).scaleb(-2) if i % 4 else None,
        )
        for i in range(count)
    ]


def charge(row: tuple[Any, ...]) -> Decimal | None:
    return None if row[3] is None else row[2] * (1 - row[3])


@pytest.mark.parametrize(("scheme", "count"), [("noop", 1200), ("bgv", 1000)])
def test_generated_columns_are_filled_and_asked(scheme: str, count: int) -> None:
    """SUM, a range filter and rows over segments and a tail equal what the expression gives."""
    data = rows(count)
    with am.connect(":memory:", **small(scheme)) as db:
        db.sql(DDL)
        db.table("sales").insert(data[:-20])
        db.sql("INSERT INTO sales VALUES (?, ?, ?, ?)", list(data[-20]))
        db.table("sales").insert([dict(zip(NAMES, row, strict=True)) for row in data[-19:]])
        charges = [c for c in map(charge, data) if c is not None]
        assert db.sql("SELECT sum(charge), count(charge) FROM sales").rows() == [
            (sum(charges), len(charges))
        ]
        limit = Decimal("333.3333")
        found = db.sql(
            "SELECT id, charge, doubled FROM sales WHERE charge < ? ORDER BY id", [limit]
        )
        assert found.rows() == [
            (r[0], charge(r), None if r[1] is None else 2 * r[1])
            for r in data
            if charge(r) is not None and charge(r) < limit  # type: ignore[operator]
        ]


def test_updates_and_upserts_compute_again() -> None:
    """A change of an input changes what is generated from it, and nothing else does."""
    with am.connect(":memory:", **small("noop")) as db:
        db.sql(DDL)
        table = db.table("sales")
        table.insert(rows(10))
        db.sql("UPDATE sales SET disc = 0.10 WHERE id = 3")
        db.sql("UPDATE sales SET units = 50 WHERE id = 4")
        table.upsert([{"id": 5, "units": 1, "price": 7, "disc": Decimal("0.5")}])
        db.sql("INSERT INTO sales VALUES (6, 1, 8, 0.25) ON CONFLICT (id) DO UPDATE SET price = 12")
        shown = db.sql("SELECT doubled, price, charge FROM sales WHERE id BETWEEN 3 AND 6").rows()
        price = rows(10)[3][2]
        assert shown[0][2] == price * Decimal("0.9")
        assert shown[1] == (100, rows(10)[4][2], None)
        assert shown[2] == (2, Decimal(7), Decimal("3.5"))
        assert shown[3][1:] == (Decimal(12), Decimal(12) * (1 - rows(10)[6][3]))


def test_copy_fills_them(tmp_path: Path) -> None:
    """COPY takes the other columns, in order."""
    path = tmp_path / "sales.csv"
    path.write_text("1,5,10.00,0.10\n2,,20.00,\n")
    with am.connect(":memory:", **small("noop")) as db:
        db.sql(DDL)
        db.sql(f"COPY sales FROM '{path}'")
        assert db.sql("SELECT charge, doubled FROM sales ORDER BY id").rows() == [
            (Decimal("9.0000"), 10), (None, None),
        ]  # fmt: skip


def test_python_declares_them_and_a_reopened_database_knows_them(tmp_path: Path) -> None:
    """The expression is part of the schema, and stays when columns are renamed or altered."""
    url, keys = str(tmp_path / "db"), str(tmp_path / "keys")
    with am.connect(url, keys=keys, **small("noop")) as db:
        net = am.col("gross") * (1 - am.col("tax")) - 1
        db.create_table(
            "t",
            {
                "gross": am.Int32(min=0, max=1000, encrypt=["sum"]),
                "tax": am.Decimal(3, 2, min=0, max=Decimal("0.2"), encrypt=[]),
                "net": am.Decimal(9, 2, encrypt=["sum"], generated=net),
            },
        )
    with am.connect(url, keys=keys, **small("noop")) as db:
        db.table("t").insert([{"gross": 100, "tax": Decimal("0.19")}])
        db.sql("ALTER TABLE t RENAME COLUMN gross TO revenue")
        db.sql("ALTER TABLE t ALTER COLUMN net ADD QUERY range")
        db.table("t").insert([{"revenue": 10, "tax": Decimal("0.20")}])
        assert db.sql("SELECT sum(net) FROM t WHERE net > 7").rows() == [(Decimal("80.00"),)]
        column = db.table("t").schema().column("net")
        assert (column.minimum, column.maximum, column.nullable) == (-100, 99900, False)


REFUSED = {
    "AM-2211": (
        "INSERT INTO sales (id, price, charge) VALUES (1, 2, 3)",
        "UPDATE sales SET charge = 3",
        "INSERT INTO sales VALUES (1, 2, 3, 0.1) ON CONFLICT (id) DO UPDATE SET charge = 3",
    ),
    "AM-2007": ("INSERT INTO sales VALUES (1, 2, 3, 4, 5, 6)",),
    "AM-2062": ("ALTER TABLE sales DROP COLUMN price",),
    "AM-2061": ("ALTER TABLE sales ADD COLUMN more INTEGER GENERATED ALWAYS AS (units) STORED",),
    "AM-2003": ("INSERT INTO narrow (id, a) VALUES (1, 100)",),
    "AM-2205": (
        "CREATE TABLE x (a INTEGER, b INTEGER GENERATED ALWAYS AS (a / 2) STORED)",
        "CREATE TABLE x (a INTEGER, b INTEGER GENERATED ALWAYS AS (a + 2) VIRTUAL)",
    ),
    "AM-2210": (
        "CREATE TABLE x (a INTEGER, b INTEGER GENERATED ALWAYS AS (c + 2) STORED)",
        "CREATE TABLE x (a INTEGER, b INTEGER GENERATED ALWAYS AS (a + 0.5) STORED)",
        "CREATE TABLE x (a INTEGER, b INTEGER GENERATED ALWAYS AS (b + 1) STORED)",
        "CREATE TABLE x (a INTEGER, b INTEGER GENERATED ALWAYS AS (5) STORED)",
        "CREATE TABLE x (a TEXT, b INTEGER GENERATED ALWAYS AS (a * 2) STORED)",
        "CREATE TABLE x (a INTEGER, b INTEGER NOT NULL GENERATED ALWAYS AS (a + 2) STORED)",
        "CREATE TABLE x (a INTEGER ENCRYPTED, b INTEGER GENERATED ALWAYS AS (a + 2) STORED)",
        "CREATE TABLE x (a INTEGER, b TEXT GENERATED ALWAYS AS (a + 2) STORED)",
        "CREATE TABLE x (a INTEGER NOT NULL, b INTEGER GENERATED ALWAYS AS (a) PRIMARY KEY)",
    ),
}


@pytest.mark.parametrize(("code", "text"), [(c, t) for c, texts in REFUSED.items() for t in texts])
def test_refusals(code: str, text: str) -> None:
    """A value given for one, and declarations that could not be exact or would tell a secret."""
    with am.connect(":memory:", **small("noop")) as db:
        db.sql(DDL)
        db.sql(
            "CREATE TABLE narrow (id INTEGER PRIMARY KEY, a INTEGER NOT NULL, b SMALLINT "
            "GENERATED ALWAYS AS (a * a) STORED ENCRYPTED WITH (QUERIES = 'sum', MAX = 99))"
        )
        with pytest.raises(InvalidError) as caught:
            db.sql(text)
        assert caught.value.code == code
        assert caught.value.fix
        assert db.sql("SELECT count(*) FROM sales").rows() == [(0,)]


def schema() -> Table:
    async def made() -> Table:
        async with am.connect_async(":memory:", **small("noop")) as db:
            await db.sql(DDL)
            return await (await db.table("sales")).schema()

    return asyncio.run(made())


def test_the_engine_does_not_see_the_expression() -> None:
    """The public part of the schema is that of a table without it, bounds apart."""
    table = schema()
    public: PublicTable = table.public()
    assert "generated" not in {name for column in public.columns for name in vars(column)}
    assert table.column("charge").generated is not None


def test_damaged_expressions_are_refused() -> None:
    """A sealed part that names no operator or too deep a tree is an error of the schema."""
    from amaters.columns.expressions import decode_expression, encode_expression
    from amaters.wire import schema_pb2 as pb

    good = schema().column("charge").generated
    assert good is not None
    assert decode_expression(encode_expression(good)) == good
    deep = pb.Expression(column_id=1)
    for _ in range(70):
        deep = pb.Expression(op="+", children=[deep, pb.Expression(number="1")])
    bad = [pb.Expression(), pb.Expression(op="/", children=[deep]), pb.Expression(number="x"), deep]
    for message in bad:
        with pytest.raises(AmatersError, match="AM-2052"):
            decode_expression(message)
