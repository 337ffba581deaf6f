"""A generated statement, how it spells columns, and the constants it compares them with."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .tables import INTEGERS, ColumnCase, TableCase, anything, bounds

Cell = tuple[str, str, bool]


@dataclass
class Case:
    """One statement in both dialects. ``averages``: outputs that DuckDB gives as {s, n, a}.

    ``ordered``: ORDER BY fixes the order of all rows.
    """

    sql: str
    duck: str
    parameters: list[Any]
    table: TableCase
    cells: Counter[Cell]
    averages: set[int]
    ordered: bool


def named(column: ColumnCase) -> str:
    """The column as a statement spells it."""
    return f'"{column.name}"' if " " in column.name else column.name


def needed(operator: str) -> str:
    """The capability that a condition needs; IS NULL needs none."""
    if operator in ("=", "<>", "IN"):
        return "eq"
    return "any" if operator == "IS NULL" else "range"


def constant_of(column: ColumnCase, table: TableCase, rng: random.Random) -> Any:
    """A constant to compare with: stored, beside one, at the bounds, beyond them, or NULL."""
    draw = rng.random()
    if draw < 0.02:
        return None
    if draw < 0.55:
        stored = rng.choice(table.data[column.name][:50])
        return rng.choice(column.pool) if stored is None else stored
    if column.kind == "TIMESTAMP" and draw > 0.8:
        return rng.choice(column.pool).date()
    if column.kind == "TEXT":
        return rng.choice(["a", "zz", "unknown", "é", ""])
    if column.kind in ("BOOLEAN", "DATE", "TIMESTAMP") or draw < 0.65:
        return anything(column, rng)
    low, high = bounds(column)
    if column.kind == "DECIMAL":
        return rng.choice([low, high, rng.choice(column.pool) + Decimal("0.005"), Decimal("1.5")])
    assert column.kind in INTEGERS
    near = rng.choice(column.pool)
    between = Decimal(near) + rng.choice([Decimal("0.5"), Decimal("-0.5")])
    return rng.choice([low - 1, low, high, high + 1, near + 1, near - 1, 0, between])
