"""What a statement returns: columns in memory, handed out as rows, Arrow, Polars or pandas."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

from amaters.base import errors
from amaters.columns import blobs

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

Value = int | float | Decimal | str | bytes | bool | date | None

ROWS_SHOWN = 40
LEFT = ("TEXT", "VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP", "BLOB")
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")


@dataclass(frozen=True, slots=True)
class Stats:
    """What one statement cost. Bytes count everything that passed between client and engine."""

    wall_seconds: float = 0.0
    engine_cpu_seconds: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    bytes_read: int = 0
    bytes_cached: int = 0
    key_switches: int = 0
    segments: int = 0
    tail_rows: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """An immutable result. ``types`` are SQL type names such as ``BIGINT`` or ``DECIMAL(38,2)``.

    Statements without rows (CREATE TABLE, INSERT) have no columns and a ``message``; ``changed``
    says how many rows INSERT, COPY, UPDATE or DELETE wrote. ``learned`` lists what the engine
    learned from the statement.
    """

    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    columns: tuple[Sequence[Value], ...] = ()
    message: str = ""
    learned: tuple[str, ...] = ()
    stats: Stats = field(default_factory=Stats)
    changed: int | None = None

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def __iter__(self) -> Iterator[tuple[Value, ...]]:
        return zip(*self.columns, strict=True)

    def rows(self) -> list[tuple[Value, ...]]:
        """All rows as tuples of Python values; exact integers and decimals, None for NULL."""
        return list(self)

    def dicts(self) -> list[dict[str, Value]]:
        """All rows as dictionaries by column name."""
        return [dict(zip(self.names, row, strict=True)) for row in self]

    def scalar(self) -> Value:
        """The only value. Raises: InvalidError AM-5007 unless there is one row and one column."""
        if len(self.columns) != 1 or len(self) != 1:
            errors.fail(
                "AM-5007",
                what=f"the result has {len(self)} rows and {len(self.columns)} columns, not one",
                fix="use rows()",
            )
        return self.columns[0][0]

    def arrow(self) -> pyarrow.Table:
        """The result as a ``pyarrow.Table``; HUGEINT becomes ``decimal128(38, 0)``, and totals with
        more than 38 digits a ``decimal256``.
        """
        pa = require("pyarrow", "Arrow results")
        arrays = [
            pa.array(_for_arrow(column, name), type=_type_of(column, name))
            for column, name in zip(self.columns, self.types, strict=True)
        ]
        return pa.Table.from_arrays(arrays, names=list(self.names))

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        """The Arrow C stream interface, which DuckDB, Polars, pandas and others read directly."""
        return self.arrow().__arrow_c_stream__(requested_schema)

    def polars(self) -> polars.DataFrame:
        """The result as a Polars data frame."""
        pl = require("polars", "polars()")
        return pl.DataFrame(self.arrow())

    def pandas(self) -> pandas.DataFrame:
        """The result as a pandas data frame; decimals stay ``decimal.Decimal`` objects."""
        require("pandas", "pandas()")
        return self.arrow().to_pandas()

    def __repr__(self) -> str:
        return render_table(self) if self.names else self.message

    def _repr_html_(self) -> str:
        """For notebooks: at most ``ROWS_SHOWN`` rows, and where they were decrypted."""
        from amaters.client.html import result_html

        return result_html(self)


def record_batch_reader(parts: Iterator[Result]) -> pyarrow.RecordBatchReader:
    """Record batches of the parts of an answer, at least one, which are asked for one by one."""
    pa = require("pyarrow", "Arrow results")
    first = next(parts).arrow()

    def batches() -> Iterator[Any]:
        yield from first.to_batches()
        for part in parts:
            yield from part.arrow().to_batches()

    return pa.RecordBatchReader.from_batches(first.schema, batches())


def require(package: str, what: str) -> Any:
    """An optional package. Raises: UnavailableError AM-5008 naming it."""
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        errors.fail("AM-5008", what=what, package=package)


def arrow_type(name: str) -> Any:
    """The Arrow type of an SQL type name."""
    import pyarrow as pa

    decimal = _DECIMAL.fullmatch(name)
    if decimal:
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    simple = {
        "TINYINT": pa.int8(),
        "SMALLINT": pa.int16(),
        "INTEGER": pa.int32(),
        "BIGINT": pa.int64(),
        "UTINYINT": pa.uint8(),
        "USMALLINT": pa.uint16(),
        "UINTEGER": pa.uint32(),
        "UBIGINT": pa.uint64(),
        "HUGEINT": pa.decimal128(38, 0),
        "DOUBLE": pa.float64(),
        "DATE": pa.date32(),
        "TIMESTAMP": pa.timestamp("us"),
        "BLOB": pa.binary(),
        "BOOLEAN": pa.bool_(),
        "TEXT": pa.string(),
        "VARCHAR": pa.string(),
        "NULL": pa.null(),
    }
    return simple[name]


def _type_of(column: Sequence[Value], name: str) -> Any:
    """``arrow_type``, or a wider decimal for totals that have outgrown it."""
    if name == "HUGEINT" or name.startswith("DECIMAL(38"):
        found = _DECIMAL.fullmatch(name)
        scale = int(found[2]) if found else 0
        limit = Decimal(10) ** (38 - scale)
        numbers = (Decimal(value) for value in column if isinstance(value, int | Decimal))
        if any(number.copy_abs() >= limit for number in numbers):
            return require("pyarrow", "Arrow results").decimal256(76, scale)
    return arrow_type(name)


def _for_arrow(column: Sequence[Value], name: str) -> Sequence[Value]:
    if name != "HUGEINT":
        return column
    return [None if value is None else Decimal(int(value)) for value in column]  # type: ignore[arg-type]


def text_of(value: Value) -> str:
    """A value as a person reads it; NULL is spelled out."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    return blobs.spelled(value) if isinstance(value, bytes) else str(value)


def render_table(result: Result) -> str:
    """The result as a text table: at most ``ROWS_SHOWN`` rows, numbers to the right."""
    shown = [[text_of(value) for value in row] for row in islice(result, ROWS_SHOWN)]
    left = [name in LEFT for name in result.types]
    widths = [max(map(len, column)) for column in zip(result.names, *shown, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(cells, widths, left, strict=True)
        ]
        return ("│ " + " │ ".join(padded) + " │").rstrip()

    rule = "─┼─".join("─" * width for width in widths)
    top, bottom = rule.replace("┼", "┬"), rule.replace("┼", "┴")
    body = [line(row) for row in shown]
    count = f"{len(result):,} row{'' if len(result) == 1 else 's'}"
    if len(result) > ROWS_SHOWN:
        count += f", {ROWS_SHOWN} shown"
    return "\n".join(
        [f"┌─{top}─┐", line(result.names), f"├─{rule}─┤", *body, f"└─{bottom}─┘", count]
    )
