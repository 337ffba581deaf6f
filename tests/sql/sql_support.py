"""A small catalogue that the tests of ``amaters.sql`` share."""

from __future__ import annotations

from typing import Any

from amaters.columns.schema import Table
from amaters.plan.expressions import CreateTable, Predicate, Select, Statement
from amaters.sql.binder import NewTables, bind
from amaters.sql.parser import parse_one

NEW = NewTables("noop", lambda _: ("insecure", b"k" * 16))
PAY = """
CREATE TABLE Pay (
  id BIGINT PRIMARY KEY, dept TEXT,
  age SMALLINT ENCRYPTED WITH (QUERIES = 'eq,range', MIN = 0, MAX = 120),
  salary INTEGER ENCRYPTED WITH (QUERIES = 'range, sum', MIN = 0, MAX = 1000000) NOT NULL,
  grade TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'A,B,C'),
  notes TEXT ENCRYPTED,
  born DATE ENCRYPTED WITH (QUERIES = 'range', MIN = '1900-01-01', MAX = DATE '2030-12-31'),
  "Full Time" BOOLEAN ENCRYPTED WITH (QUERIES = 'eq'),
  rate DECIMAL(12,2) ENCRYPTED WITH (QUERIES = 'sum,range', MIN = -1.50, MAX = 100)
) WITH (DEPTH = 'default')
"""


def run(text: str, parameters: Any = None) -> Statement:
    """The bound statement, with the table above in the catalogue."""
    return bind(parse_one(text), {"Pay": table()}, parameters, new=NEW)


def table() -> Table:
    """The table above, with ids 1, 2, 3 ... in the order of its columns."""
    created = bind(parse_one(PAY), {}, new=NEW)
    assert isinstance(created, CreateTable)
    return created.table


def select(text: str, parameters: Any = None) -> Select:
    """The bound SELECT."""
    bound = run(text, parameters)
    assert isinstance(bound, Select)
    return bound


def where(condition: str, parameters: Any = None) -> Predicate | None:
    """The bound predicate of one condition."""
    return select(f"SELECT id FROM pay WHERE {condition}", parameters).where
