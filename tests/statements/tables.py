"""Random tables for generated statements: every type, encrypted or public, nullable or not.

A ``TableCase`` says how AmateRS and DuckDB declare the same table and holds its rows.
"""

from __future__ import annotations

import datetime
import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

TYPES = (
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT",
    "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "DECIMAL", "DATE", "BOOLEAN", "TEXT", "TIMESTAMP",
)  # fmt: skip
INTEGERS = TYPES[:8]
NUMBERS = TYPES[:9]
WORDS = ("", "a", "A", "b", "it's", "é", "日本", "x" * 40, "B c", "z-9", "0", "null")
MICROSECOND = datetime.timedelta(microseconds=1)


def limits(kind: str) -> tuple[int, int]:
    """Smallest and largest value of an integer type."""
    bits = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64}
    bits |= {"UINTEGER": 32, "UBIGINT": 64, "UTINYINT": 8, "USMALLINT": 16}
    if kind.startswith("U"):
        return 0, (1 << bits[kind]) - 1
    return -(1 << (bits[kind] - 1)), (1 << (bits[kind] - 1)) - 1


@dataclass
class ColumnCase:
    """One column: its declaration and the values that statements may ask for."""

    name: str
    kind: str
    sql_type: str
    nullable: bool
    encrypted: bool
    queries: tuple[str, ...] = ()
    low: Any = None
    high: Any = None
    categories: tuple[Any, ...] = ()
    pool: list[Any] = field(default_factory=list)
    unique: bool = False

    @property
    def cell(self) -> tuple[str, bool]:
        """What coverage is counted by."""
        return self.kind, self.nullable

    def can(self, query: str) -> bool:
        """Whether the declaration allows this use: eq, range, sum, group."""
        if not self.encrypted:
            return query != "sum" or self.kind in NUMBERS
        if query == "any":
            return True
        return query in self.queries or (query == "eq" and "group" in self.queries)

    def ddl(self) -> str:
        """The column as AmateRS declares it."""
        text = f'"{self.name}" {self.sql_type}'
        if self.unique:
            return f"{text} PRIMARY KEY"
        if self.encrypted:
            options = []
            if self.queries:
                options.append(f"QUERIES = '{','.join(self.queries)}'")
            if self.categories and self.kind != "BOOLEAN":
                options.append(f"VALUES = ({', '.join(map(quoted, self.categories))})")
            if self.low is not None:
                options += [f"MIN = {quoted(self.low)}", f"MAX = {quoted(self.high)}"]
            text += " ENCRYPTED" + (f" WITH ({', '.join(options)})" if options else "")
        return text if self.nullable else f"{text} NOT NULL"

    def value(self, rng: random.Random) -> Any:
        """One cell: NULL, an extreme, something frequent or anything."""
        if self.nullable and rng.random() < 0.15:
            return None
        if self.categories:
            return rng.choice(self.categories)
        if rng.random() < 0.6:
            return rng.choice(self.pool)
        return anything(self, rng)


def quoted(value: Any) -> str:
    """A value as SQL text."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, datetime.datetime):
        return f"TIMESTAMP '{value}'"
    if isinstance(value, datetime.date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def bounds(column: ColumnCase) -> tuple[Any, Any]:
    """Smallest and largest value the column may hold."""
    if column.low is not None:
        return column.low, column.high
    if column.kind == "DECIMAL":
        precision, scale = map(int, column.sql_type[8:-1].split(","))
        top = Decimal(10**precision - 1).scaleb(-scale)
        return -top, top
    if column.kind == "DATE":
        return datetime.date(1900, 1, 1), datetime.date(2100, 12, 31)
    if column.kind == "TIMESTAMP":
        return datetime.datetime(1900, 1, 1), datetime.datetime(2100, 12, 31, 23, 59)
    if column.kind == "BOOLEAN":
        return False, True
    return limits(column.kind)


def anything(column: ColumnCase, rng: random.Random) -> Any:
    """Any value inside the column's bounds, the bounds themselves often."""
    if column.kind == "TEXT":
        return rng.choice(WORDS)
    low, high = bounds(column)
    if rng.random() < 0.1:
        return rng.choice([low, high])
    if column.kind == "BOOLEAN":
        return rng.random() < 0.5
    if column.kind == "DATE":
        return low + datetime.timedelta(days=rng.randint(0, (high - low).days))
    if column.kind == "TIMESTAMP":
        return low + rng.randint(0, (high - low) // MICROSECOND) * MICROSECOND
    if column.kind == "DECIMAL":
        scale = int(column.sql_type[8:-1].split(",")[1])
        unit = 10**scale
        return Decimal(rng.randint(int(low * unit), int(high * unit))).scaleb(-scale)
    return rng.randint(low, high)


@dataclass
class TableCase:
    """A table: columns, rows by column name, and whether it has a declared primary key."""

    name: str
    columns: list[ColumnCase]
    rows: int
    data: dict[str, list[Any]]

    def ddl(self) -> str:
        """CREATE TABLE for AmateRS."""
        return f"CREATE TABLE {self.name} ({', '.join(c.ddl() for c in self.columns)})"

    def duck_ddl(self) -> str:
        """CREATE TABLE for DuckDB."""
        columns = (f'"{c.name}" {c.sql_type}' for c in self.columns)
        return f"CREATE TABLE {self.name} ({', '.join(columns)})"

    @property
    def unique(self) -> ColumnCase:
        """The column whose values tell rows apart."""
        return next(column for column in self.columns if column.name == "k")


def make_table(
    name: str, index: int, rows: int, rng: random.Random, *, kinds: tuple[str, ...] = TYPES
) -> TableCase:
    """A table in which the i-th of ``kinds`` is nullable and encrypted as ``index + i`` says.

    Four tables of consecutive indices hold every combination of type, nullability and encryption,
    as a column of many values (``v0`` ...) and as a column of few (``g0`` ...).
    """
    columns = [ColumnCase("k", "BIGINT", "BIGINT", False, False, unique=index % 2 == 0)]
    for i, kind in enumerate(kinds):
        columns.append(_many_valued(f"v{i}", kind, (index + i) % 4, rng))
        columns.append(_few_valued(f"G {i}" if i % 5 == 0 else f"g{i}", kind, index + i + 1, rng))
    data = {c.name: [c.value(rng) for _ in range(rows)] for c in columns[1:]}
    # Dense keys in the first table: canaries that sit in the gaps must give way to later rows.
    spread = 1 if index == 0 else 50
    keys = rng.sample(range(-spread * rows // 2, spread * rows // 2 + 1), rows)
    columns[0].pool = keys
    return TableCase(name, columns, rows, {"k": keys, **data})


def new_column(name: str, rng: random.Random) -> ColumnCase:
    """A nullable column of many values, of any type, more often encrypted than not."""
    return _many_valued(name, rng.choice(TYPES), rng.choice([1, 3, 3]), rng)


def _sql_type(kind: str, rng: random.Random) -> str:
    if kind != "DECIMAL":
        return kind
    precision, scale = rng.choice([(4, 2), (9, 2), (12, 4), (18, 0), (18, 6)])
    return f"DECIMAL({precision},{scale})"


def _many_valued(name: str, kind: str, variant: int, rng: random.Random) -> ColumnCase:
    column = ColumnCase(name, kind, _sql_type(kind, rng), bool(variant & 1), variant >= 2)
    if column.encrypted:
        column.queries = _queries(kind, rng)
        if kind != "TEXT" and rng.random() < 0.6:
            ends = sorted(anything(column, rng) for _ in range(2))
            if ends[0] != ends[1] and kind != "BOOLEAN":
                column.low, column.high = ends
    column.pool = [anything(column, rng) for _ in range(6)]
    return column


def _queries(kind: str, rng: random.Random) -> tuple[str, ...]:
    if kind == "TEXT":
        return rng.choice([("eq",), ("eq",), ("eq",), ()])
    everything = ("eq", "range", "sum") if kind in NUMBERS else ("eq", "range")
    return everything


def _few_valued(name: str, kind: str, variant: int, rng: random.Random) -> ColumnCase:
    """A column for GROUP BY: two to five values, declared as categories when encrypted."""
    column = ColumnCase(name, kind, _sql_type(kind, rng), bool(variant & 1), variant % 4 >= 2)
    values = list(dict.fromkeys(anything(column, rng) for _ in range(rng.randint(3, 5))))
    if kind == "BOOLEAN":
        values = [False, True]
    column.categories = tuple(values)
    column.pool = values
    if column.encrypted:
        column.queries = ("group",)
        if kind in NUMBERS and rng.random() < 0.4:
            column.queries = ("group", "sum")
    return column
