"""What the tests of joins share: a fact, two dimensions and pairs, with NULLs everywhere."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

DDL = (
    """CREATE TABLE f (id INTEGER PRIMARY KEY, k INTEGER, r TEXT,
      q INTEGER ENCRYPTED WITH (QUERIES = 'sum,range', MIN = 0, MAX = 100),
      g TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'x,y'),
      e INTEGER NOT NULL ENCRYPTED WITH (QUERIES = 'eq', MIN = 0, MAX = 50),
      eg INTEGER ENCRYPTED WITH (QUERIES = 'group', VALUES = '0,1,2,3,4,5,6,7'),
      z INTEGER ENCRYPTED WITH (QUERIES = 'sum', MIN = 0, MAX = 9))""",
    """CREATE TABLE d (id INTEGER PRIMARY KEY, name TEXT ENCRYPTED,
      price DECIMAL(6,2) ENCRYPTED WITH (QUERIES = 'range', MIN = -10, MAX = 200),
      c TEXT, nk INTEGER, flag BOOLEAN, day DATE ENCRYPTED)""",
    "CREATE TABLE n (code TEXT PRIMARY KEY, region TEXT ENCRYPTED)",
    "CREATE TABLE pairs (a INTEGER, b TEXT, w INTEGER ENCRYPTED WITH (QUERIES = 'sum'))",
    "CREATE TABLE few (id INTEGER PRIMARY KEY, w INTEGER ENCRYPTED WITH (QUERIES = 'sum'))",
    "CREATE UNIQUE INDEX pairs_key ON pairs (a, b)",
)
PLAIN = (
    "CREATE TABLE f (id INTEGER, k INTEGER, r TEXT, q INTEGER, g TEXT, e INTEGER, eg INTEGER,"
    " z INTEGER)",
    "CREATE TABLE d (id INTEGER, name TEXT, price DECIMAL(6,2), c TEXT, nk INTEGER, flag BOOLEAN,"
    " day DATE)",
    "CREATE TABLE n (code TEXT, region TEXT)",
    "CREATE TABLE pairs (a INTEGER, b TEXT, w INTEGER)",
    "CREATE TABLE few (id INTEGER, w INTEGER)",
)


def fill(db: Any, plain: Any, rows: int, dimension: int) -> None:
    """The same tables in both engines, some rows dead."""
    rng = random.Random(2)
    facts = [
        (i, rng.choice([None, *range(60)]), rng.choice(["a", "b", None]),
         rng.choice([None, *range(101)]), rng.choice([None, "x", "y"]), rng.randint(0, 50),
         rng.choice([None, *range(8)]), rng.choice([None, *range(10)]))
        for i in range(rows)
    ]  # fmt: skip
    others = [
        (i, rng.choice([None, "apple", "pear", "fig"]),
         rng.choice([None, rng.randint(-1000, 20000) / 100]), rng.choice(["F", "G", "H", None]),
         rng.choice([None, 1, 2]), rng.choice([None, True, False]),
         rng.choice([None, date(1960, 1, 1) + timedelta(days=rng.randrange(9000))]))
        for i in range(dimension)
    ]  # fmt: skip
    nations = [("F", "EU"), ("G", None), ("Z", "AF")]
    pairs = [(i, b, 3 * i - 40) for i in range(30) for b in "ab" if (i + ord(b)) % 3]
    few = [(i, i % 5) for i in range(1, 60, 2)]
    made = {"f": facts, "d": others, "n": nations, "pairs": pairs, "few": few}
    for ddl, (own, found) in zip(PLAIN, made.items(), strict=True):
        plain.sql(ddl)
        marks = ", ".join("?" * len(found[0]))
        plain.executemany(f"INSERT INTO {own} VALUES ({marks})", found)
    for ddl in DDL:
        db.sql(ddl)
    db.table("d").insert(others)
    db.table("n").insert(nations)
    db.table("pairs").insert(pairs)
    db.table("few").insert(few)
    db.table("f").insert(facts[:-40])
    db.table("f").insert(facts[-40:])
    for each in (db, plain):
        each.sql("DELETE FROM f WHERE id IN (5, 77, 200)")
        each.sql("DELETE FROM d WHERE id = 7")


def sorted_rows(found: list[tuple[Any, ...]]) -> list[str]:
    """Rows to be compared in any order."""
    return sorted(
        repr(tuple(float(v) if isinstance(v, float) else v for v in row)) for row in found
    )
