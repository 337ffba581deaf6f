"""What the tests of orders and extremes share: one table here and in DuckDB, questions about it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import duckdb
from door_support import Opened, open_through_door

COLUMNS = {
    "id": "BIGINT PRIMARY KEY",
    "p": "INTEGER",
    "a": "INTEGER",
    "b": "BIGINT",
    "u": "UBIGINT",
    "g": "TEXT",
    "d": "DECIMAL(9,2)",
    "s": "SMALLINT NOT NULL",
    "w": "DATE",
    "f": "BOOLEAN",
    "n": "TEXT",
}
SECRET = {
    "a": "QUERIES = 'range,sum'",
    "b": "QUERIES = 'range'",
    "u": "QUERIES = 'eq,range'",
    "g": "QUERIES = 'group', VALUES = 'x,a,m'",
    "d": "QUERIES = 'range'",
    "s": "QUERIES = 'range,sum', MIN = 0, MAX = 100",
    "w": "QUERIES = 'range'",
    "f": "QUERIES = 'group', VALUES = 'true,false'",
    "n": "QUERIES = 'eq'",
}
CONDITIONS = [
    "",
    "",
    "WHERE a > 20",
    "WHERE a BETWEEN 5 AND 30 AND p < 10",
    "WHERE g = 'a' OR s < 20",
    "WHERE b IS NULL",
    "WHERE p > 3",
    "WHERE a = 999999 OR a < -2147483648",
]


@dataclass
class Both:
    """The same rows in AmateRS, behind a door, and in DuckDB."""

    opened: Opened
    duck: Any

    def check(self, sql: str, *, ordered: bool = True) -> None:
        """One statement has one answer, types included."""
        ours = [list(map(_typed, row)) for row in self.opened.db.sql(sql).rows()]
        theirs = [list(map(_typed, row)) for row in self.duck.execute(sql).fetchall()]
        if not ordered:
            ours.sort()
            theirs.sort()
        assert ours == theirs, sql


def _typed(value: Any) -> str:
    text = format(value, "f") if isinstance(value, Decimal) else repr(value)
    return f"{type(value).__name__} {text}"


def make_rows(count: int, draw: random.Random) -> list[tuple[Any, ...]]:
    """Rows with NULLs, extremes of each type, and many ties."""

    def some(value: Any) -> Any:
        return None if draw.random() < 0.1 else value

    def row(index: int) -> tuple[Any, ...]:
        wide = draw.random() < 0.5
        return (
            7 * index + draw.randrange(5),
            some(draw.randrange(20)),
            some(draw.randrange(-(2**31), 2**31) if wide else draw.randrange(50)),
            some(draw.choice([-(2**63), 2**63 - 1, draw.randrange(-(2**63), 2**63)])),
            some(draw.choice([0, 2**64 - 1, draw.randrange(2**64)])),
            some(draw.choice("xam")),
            some(Decimal(draw.randrange(-(10**9) + 1, 10**9)).scaleb(-2)),
            draw.randrange(101),
            some(date(1950, 1, 1) + timedelta(days=draw.randrange(30_000))),
            some(draw.random() < 0.5),
            some(draw.choice(["ant", "bee", "Cat", "ümlaut"])),
        )

    return [row(index) for index in range(count)]


def make_both(scheme: str | None, count: int, seed: int, tail: int = 150) -> Both:
    """``count`` rows in segments and a tail, one in twenty deleted."""
    draw = random.Random(seed)
    rows = make_rows(count, draw)
    opened, duck = open_through_door(scheme=scheme), duckdb.connect()
    secret = ", ".join(
        f"{name} {kind} ENCRYPTED WITH ({SECRET[name]})" if name in SECRET else f"{name} {kind}"
        for name, kind in COLUMNS.items()
    )
    opened.db.sql(f"CREATE TABLE t ({secret})")
    duck.execute(f"CREATE TABLE t ({', '.join(f'{n} {k}' for n, k in COLUMNS.items())})")
    opened.db.table("t").insert(rows[: count - tail])
    opened.db.table("t").insert(rows[count - tail :])
    values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
    duck.execute(f"INSERT INTO t VALUES {values}")
    gone = [row[0] for row in rows if draw.random() < 0.05]
    opened.db.table("t").delete(gone)
    duck.execute(f"DELETE FROM t WHERE id IN ({', '.join(map(str, gone))})")
    opened.door.forget()
    return Both(opened, duck)


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return f"'{value}'" if isinstance(value, str | date) else str(value)
