"""Quantiles of plain values are DuckDB's to the last bit, and ranking of computed values."""

from __future__ import annotations

import datetime
import random
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pytest

from amaters.client.orders import ordered_values
from amaters.columns import declare
from amaters.columns.batch import ColumnBatch
from amaters.columns.declare import build_table
from amaters.columns.schema import Table
from amaters.plan.expressions import Aggregate, Arithmetic, ColumnRef, OutputItem, Select

COLUMNS = {
    "i": declare.Int32(nullable=True),
    "b": declare.Int64(nullable=True),
    "u": declare.UInt64(nullable=True),
    "d": declare.Decimal(18, 3, nullable=True),
    "e": declare.Decimal(4, 1, nullable=True),
    "w": declare.Date(nullable=True),
    "m": declare.Timestamp(nullable=True),
}
TYPES = {
    "i": "INTEGER", "b": "BIGINT", "u": "UBIGINT", "d": "DECIMAL(18,3)", "e": "DECIMAL(4,1)",
    "w": "DATE", "m": "TIMESTAMP",
}  # fmt: skip
FIRST = datetime.datetime(1, 1, 1)


def table() -> Table:
    return build_table(
        "t", COLUMNS, parameter_set="insecure_n1024", scheme="noop", key_id=b"k" * 16
    )


def value(name: str, draw: random.Random) -> Any:
    if draw.random() < 0.1:
        return None
    narrow = draw.random() < 0.5
    match name:
        case "i":
            return draw.randint(-50, 50) if narrow else draw.randint(-(2**31), 2**31 - 1)
        case "b":
            return draw.randint(-50, 50) if narrow else draw.randint(-(2**63), 2**63 - 1)
        case "u":
            return draw.randint(0, 50) if narrow else draw.randint(0, 2**64 - 1)
        case "d":
            return (
                Decimal(draw.randint(-500, 500) if narrow else draw.randint(-(10**17), 10**17))
                / 1000
            )
        case "e":
            return Decimal(draw.randint(-9999, 9999)) / 10
        case "w":
            return (FIRST + datetime.timedelta(days=draw.randint(0, 3_000_000))).date()
    return FIRST + datetime.timedelta(microseconds=draw.randint(0, 2 * 10**17))


@pytest.mark.parametrize("name", COLUMNS)
def test_quantiles_equal_duckdb(name: str) -> None:
    """Random values and fractions, both directions; doubles bit by bit."""
    draw, made, duck = random.Random(name), table(), duckdb.connect()
    column = made.column(name).id
    for _ in range(60):
        values = [value(name, draw) for _ in range(draw.randint(0, 9))]
        fraction = draw.choice(
            [Decimal(0), Decimal(1), Decimal("0.3"), Decimal(str(draw.random()))]
        )
        way = draw.choice(["", " DESC"])
        batch = ColumnBatch.from_columns(made, {"rowid": list(range(len(values))), name: values})
        wanted = [
            Aggregate(function, ColumnRef(column), fraction=fraction, descending=bool(way))
            for function in ("quantile_cont", "quantile_disc")
        ]
        wanted += [Aggregate(function, ColumnRef(column)) for function in ("median", "min", "max")]
        items = tuple(OutputItem("x", aggregate) for aggregate in wanted)
        found = ordered_values(Select(made, None, items), batch).get((), {})
        duck.execute(f"CREATE OR REPLACE TABLE t (x {TYPES[name]})")
        if values:
            duck.executemany("INSERT INTO t VALUES (?)", [[v] for v in values])
        expected = duck.execute(
            f"SELECT percentile_cont({fraction:f}) WITHIN GROUP (ORDER BY x{way}), "
            f"percentile_disc({fraction:f}) WITHIN GROUP (ORDER BY x{way}), median(x), min(x), "
            "max(x) FROM t"
        ).fetchone()
        ours = [found.get(aggregate) for aggregate in wanted]
        assert [*map(repr, ours)] == [*map(repr, expected)], (values, fraction, way)


def test_expressions_are_ranked_exactly() -> None:
    """Products beyond 64 bits, and NULL where a factor is."""
    made = table()
    batch = ColumnBatch.from_columns(
        made, {"rowid": [1, 2, 3], "b": [2**62, -(2**62), None], "u": [2**63, 2**63 + 1, 5]}
    )
    product = Arithmetic("*", ColumnRef(made.column("b").id), ColumnRef(made.column("u").id))
    wanted = Aggregate("min", product), Aggregate("max", product)
    items = tuple(OutputItem("x", aggregate) for aggregate in wanted)
    found = ordered_values(Select(made, None, items), batch)[()]
    assert [found[a] for a in wanted] == [-(2**62) * (2**63 + 1), 2**125]


def test_groups_are_told_apart() -> None:
    made = table()
    batch = ColumnBatch.from_columns(
        made, {"rowid": [1, 2, 3, 4], "i": [1, 1, None, None], "b": [5, 3, None, 7]}
    )
    least = Aggregate("min", ColumnRef(made.column("b").id))
    group = made.column("i").id
    found = ordered_values(Select(made, None, (OutputItem("x", least),), (group,)), batch)
    assert {key: dict(values) for key, values in found.items()} == {
        (1,): {least: 3}, (None,): {least: 7},
    }  # fmt: skip
    nothing = batch.take(np.zeros(4, dtype=np.bool_))
    assert ordered_values(Select(made, None, (OutputItem("x", least),), (group,)), nothing) == {}
