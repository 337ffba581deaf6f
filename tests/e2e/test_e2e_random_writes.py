"""Random statements that write, in and out of transactions, each answer beside DuckDB's.

Inserts, upserts of all forms, updates (also of ``accumulate`` columns), deletes, rows and totals
read between them, BEGIN, COMMIT and ROLLBACK; over a segment with dead rows and a tail.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import duckdb
from e2e_support import FULL, small

import amaters as am

DDL = """CREATE TABLE t (k INTEGER PRIMARY KEY, p TEXT,
  a SMALLINT ENCRYPTED WITH (QUERIES = 'eq,range,sum', MIN = -2000, MAX = 2000),
  s TIMESTAMP ENCRYPTED WITH (QUERIES = 'range', MIN = '2020-01-01', MAX = '2030-01-01'),
  c INTEGER ENCRYPTED WITH (QUERIES = 'sum,accumulate', MIN = -1000000, MAX = 1000000))"""
PLAIN = "CREATE TABLE t (k INTEGER PRIMARY KEY, p TEXT, a SMALLINT, s TIMESTAMP, c INTEGER)"
STATEMENTS = 260
KINDS = ("insert", "upsert", "update", "count", "delete", "rows", "total", "point", "transact")
WEIGHTS = (8, 14, 14, 7, 8, 12, 14, 10, 14)


class Writer:
    """Draws statements; ``is_open``: whether a transaction is."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.is_open = False
        self.seen: Counter[str] = Counter()

    def statement(self) -> tuple[str, str]:
        kind = self.draw.choices(KINDS, WEIGHTS)[0]
        self.seen[kind + (" in a transaction" if self.is_open else "")] += 1
        return kind, getattr(self, f"_{kind}")()

    def _key(self) -> int:
        return self.draw.choice([self.draw.randrange(60), 2000 + self.draw.randrange(80)])

    def _row(self) -> str:
        a = self.draw.choice(["NULL", str(self.draw.randint(-9, 30))])
        moment = f"TIMESTAMP '202{self.draw.randrange(9)}-03-01 10:00:0{self.draw.randrange(9)}'"
        return f"({self._key()}, '{self.draw.choice('xyz')}', {a}, {moment}, 5)"

    def _rows_given(self) -> str:
        rows = {row.split(",")[0]: row for row in (self._row() for _ in range(3))}
        return ", ".join(rows.values())

    def _where(self) -> str:
        low = self.draw.randint(-5, 20)
        return self.draw.choice([
            f"a > {low} AND p = 'x'", f"a = {low}", f"k BETWEEN {low} AND {low + 9}", "a IS NULL",
            f"k IN ({self._key()}, {self._key()}) AND a < 15", f"s < '2024-0{low % 9 + 1}-01'",
            f"s >= TIMESTAMP '2026-01-01 00:00:01' AND k < {20 + low}",
        ])  # fmt: skip

    def _insert(self) -> str:
        return f"INSERT INTO t VALUES {self._row()}"

    def _upsert(self) -> str:
        return self.draw.choice([
            "INSERT OR REPLACE INTO t VALUES {}", "INSERT OR IGNORE INTO t VALUES {}",
            "INSERT INTO t VALUES {} ON CONFLICT (k) DO UPDATE SET a = t.a + EXCLUDED.a, c = 0",
            "INSERT INTO t VALUES {} ON CONFLICT (k) DO UPDATE SET p = 'up' WHERE t.a > 3",
        ]).format(self._rows_given())  # fmt: skip

    def _update(self) -> str:
        change = self.draw.choice(["a = a + 1", "p = 'w'", "a = NULL, p = 'n'", "s = '2025-05-05'"])
        return f"UPDATE t SET {change} WHERE {self._where()}"

    def _count(self) -> str:
        return f"UPDATE t SET c = c + {self.draw.randrange(9)} WHERE {self._where()}"

    def _delete(self) -> str:
        return f"DELETE FROM t WHERE {self._where()} AND k < 40"

    def _rows(self) -> str:
        mode = self.draw.choice(["", "", " FETCH PADDED", " FETCH ALL"])
        return f"SELECT * FROM t WHERE {self._where()}{mode}"

    def _total(self) -> str:
        what = self.draw.choice(["count(*), sum(a), sum(c)", "avg(a), count(s), count(DISTINCT p)"])
        if self.draw.random() < 0.4:
            return f"SELECT p, {what} FROM t WHERE {self._where()} GROUP BY p"
        return f"SELECT {what} FROM t WHERE {self._where()}"

    def _point(self) -> str:
        return f"SELECT k, a, s, c FROM t WHERE k = {self._key()}"

    def _transact(self) -> str:
        if not self.is_open:
            self.is_open = True
            return "BEGIN"
        self.is_open = False
        return self.draw.choice(["COMMIT", "COMMIT", "ROLLBACK"])


def outcome(run: Any, sql: str) -> Any:
    """Rows, how many were changed, or that a key was there already."""
    try:
        return run(sql)
    except (am.ConflictError, duckdb.ConstraintException):
        return "a key exists"


def test_random_writes_equal_duckdb() -> None:
    """Not one answer differs; every kind was met often, inside and outside transactions."""
    db = am.connect(":memory:", progress=lambda _: None, **small("noop"))
    duck = duckdb.connect()
    writer = Writer(8)
    rows = [(2 * i, "xyz"[i % 3], i % 31 - 5, None, 0) for i in range(FULL + 40)]

    def ours(sql: str) -> Any:
        done = db.sql(sql)
        return sorted(done.rows(), key=repr) if done.columns else done.changed

    def theirs(sql: str) -> Any:
        found = duck.execute(sql.split(" FETCH ", maxsplit=1)[0])
        fetched = found.fetchall() if found.description else []
        if sql in ("BEGIN", "COMMIT", "ROLLBACK"):
            return None
        is_read = sql.startswith("SELECT")
        return sorted(fetched, key=repr) if is_read else fetched[0][0]

    with db:
        db.sql(DDL)
        duck.execute(PLAIN)
        db.table("t").insert(rows)
        duck.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
        for number in range(STATEMENTS):
            kind, sql = writer.statement()
            if kind == "insert":
                # DuckDB aborts a transaction whose INSERT meets a key; ours goes on.
                key = sql.split("(")[1].split(",")[0]
                if duck.execute(f"SELECT count(*) FROM t WHERE k = {key}").fetchone() != (0,):
                    continue
            mine, other = outcome(ours, sql), outcome(theirs, sql)
            if sql in ("BEGIN", "COMMIT", "ROLLBACK"):
                continue
            assert mine == other, (number, sql)
        if writer.is_open:
            db.sql("COMMIT")
            duck.execute("COMMIT")
        assert ours("SELECT * FROM t") == theirs("SELECT * FROM t")
    met = {kind: writer.seen[kind] for kind in KINDS if kind != "transact"}
    inside = {kind: writer.seen[f"{kind} in a transaction"] for kind in met}
    assert min(met.values()) >= 3 and min(inside.values()) >= 3, (met, inside)
