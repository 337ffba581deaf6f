"""Extremes and first rows over joins: what partners hold is ranked here, beside masked values."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from door_support import open_through_door
from orders_support import Both

FACT = {
    "id": "BIGINT PRIMARY KEY",
    "k": "INTEGER",
    "kg": "TEXT",
    "x": "INTEGER",
    "s": "SMALLINT",
}
DIMENSION = {"k": "INTEGER PRIMARY KEY", "t": "TEXT", "v": "SMALLINT"}
SECRET = {
    "kg": "QUERIES = 'group', VALUES = 'a,b,c'",
    "x": "QUERIES = 'range,sum'",
    "s": "QUERIES = 'range,sum', MIN = 0, MAX = 100",
    "v": "QUERIES = 'sum', MIN = 0, MAX = 100",
}
AGGREGATES = [
    "max(f.x)",
    "min(d.v)",
    "median(d.v - f.s)",
    "max(d.t)",
    "quantile_cont(f.x + d.v, 0.3)",
    "min(f.x) FILTER (WHERE d.v > 40)",
    "max(d.v) FILTER (WHERE f.s > 40 AND d.t = 'x')",
    "count(*)",
    "sum(f.x)",
    "min(d.k)",
]
CONDITIONS = [
    "",
    "WHERE f.s > 40",
    "WHERE d.v > 30",
    "WHERE f.s > 30 AND d.t <> 'y'",
    "WHERE f.k < 6",
    "WHERE f.s < 20 OR d.v > 60",
]
GROUPS = ["", "d.t", "f.kg", "f.k", "d.t, f.kg", "d.k"]
KEYS = ["f.x", "d.v", "d.t", "f.s DESC", "f.kg", "f.k"]


def declared(columns: dict[str, str], secret: bool) -> str:
    parts = []
    for name, kind in columns.items():
        more = f" ENCRYPTED WITH ({SECRET[name]})" if secret and name in SECRET else ""
        parts.append(f"{name} {kind}{more}")
    return ", ".join(parts)


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    """A fact of two segments, a tail and some NULLs; keys without partners."""
    draw, opened, duck = random.Random(7), open_through_door(scheme="noop"), duckdb.connect()
    facts: list[tuple[Any, ...]] = [
        (
            3 * i,
            draw.choice([None, *range(12)]),
            draw.choice(["a", "b", "c", None]),
            draw.choice([None, draw.randrange(-1000, 1000)]),
            draw.randrange(101),
        )
        for i in range(1300)
    ]
    partners = [(i, draw.choice("xyz"), draw.randrange(101)) for i in range(10)]
    for name, columns, rows in (("f", FACT, facts), ("d", DIMENSION, partners)):
        opened.db.sql(f"CREATE TABLE {name} ({declared(columns, True)})")
        duck.execute(f"CREATE TABLE {name} ({declared(columns, False)})")
        opened.db.table(name).insert(rows)
        marks = ", ".join("?" for _ in columns)
        duck.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)
    yield Both(opened, duck)
    opened.db.close()


def test_random_statements_equal_duckdb(both: Both) -> None:
    draw = random.Random(8)
    for _ in range(60):
        where = draw.choice(CONDITIONS)
        if draw.random() < 0.6:
            group = draw.choice(GROUPS)
            items = ", ".join(draw.sample(AGGREGATES, draw.randint(1, 3)))
            tail = f" GROUP BY {group} ORDER BY {group}" if group else ""
            head = f"{group}, {items}" if group else items
            both.check(f"SELECT {head} FROM f JOIN d ON f.k = d.k {where}{tail}")
        else:
            keys, limit = ", ".join(draw.sample(KEYS, 2)), draw.choice([1, 5, 20])
            both.check(
                f"SELECT f.id, d.v FROM f JOIN d ON f.k = d.k {where} "
                f"ORDER BY {keys}, f.id LIMIT {limit}"
            )


def test_only_the_first_rows_are_fetched(both: Both) -> None:
    """Also when they are first by what their partners hold."""
    both.opened.door.forget()
    both.opened.db.sql(
        "SELECT f.id, d.v FROM f JOIN d ON f.k = d.k WHERE f.s > 3 ORDER BY d.v, f.x LIMIT 5"
    )
    requests = [call.request for call in both.opened.door.of("fetch_rows")]
    assert sum(len(item.slots) for request in requests for item in request.slots) < 40
