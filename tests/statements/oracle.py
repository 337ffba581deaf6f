"""DuckDB's answers on the plaintext, and the comparison with ours: exact, types included."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import duckdb

from .constants import Case
from .tables import TableCase, quoted

Rows = list[tuple[Any, ...]]


class Oracle:
    """DuckDB holding the same tables in the clear."""

    def __init__(self, tables: list[TableCase]) -> None:
        self.connection = duckdb.connect()
        self.connection.execute("CREATE MACRO public(x) AS x")
        for table in tables:
            self.connection.execute(table.duck_ddl())
            columns = (table.data[c.name] for c in table.columns)
            rows = (f"({', '.join(map(quoted, row))})" for row in zip(*columns, strict=True))
            self.connection.execute(f"INSERT INTO {table.name} VALUES {', '.join(rows)}")

    def rows(self, case: Case) -> Rows:
        """DuckDB's answer, averages as the correctly rounded quotient of its exact totals."""
        found = self.connection.execute(case.duck, case.parameters).fetchall()
        return [
            tuple(_average(v) if i in case.averages else v for i, v in enumerate(row))
            for row in found
        ]


def _average(totals: dict[str, Any]) -> float | None:
    """The exact average as a double; DuckDB's own must be within its rounding of it."""
    if totals["n"] == 0:
        assert totals["a"] is None
        return None
    exact = Fraction(totals["s"]) / totals["n"]
    assert abs(Fraction(totals["a"]) - exact) <= abs(exact) / 2**50
    return exact.numerator / exact.denominator


def same(case: Case, ours: Rows, theirs: Rows) -> bool:
    """Whether two answers are equal: in order where the statement orders all rows."""
    mine, other = [_typed(row) for row in ours], [_typed(row) for row in theirs]
    return mine == other if case.ordered else sorted(mine) == sorted(other)


def _typed(row: tuple[Any, ...]) -> tuple[str, ...]:
    """Values with their Python types, so that 1, True, 1.0 and Decimal('1') differ."""
    return tuple(f"{type(v).__name__} {_text(v)}" for v in row)


def _text(value: Any) -> str:
    return format(value, "f") if isinstance(value, Decimal) else repr(value)
