"""COPY FROM a CSV file: cells as text, checked row by row before anything is inserted."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from amaters.base import errors
from amaters.columns.batch import ColumnBatch
from amaters.columns.schema import Table


def read_csv(table: Table, path: str, options: Mapping[str, Any]) -> ColumnBatch:
    """The validated rows of a file. An empty cell (or the NULL option's text) is NULL.

    With HEADER the first line names the columns; otherwise they are the table's, or those COPY
    lists, in order.
    Raises: InvalidError AM-5004, AM-5005 naming the line, AM-20xx naming row and column.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            return _read(table, path, csv.reader(file, **_dialect(options)), options)
    except OSError as error:
        errors.fail("AM-5004", path=path, what=error.strerror or "it cannot be read")
    except UnicodeDecodeError:
        errors.fail("AM-5004", path=path, what="it is not UTF-8 text")


def _dialect(options: Mapping[str, Any]) -> dict[str, Any]:
    quote = options.get("quote", '"')
    escape = options.get("escape", quote)
    return {
        "delimiter": options.get("delimiter", ","),
        "quotechar": quote,
        "doublequote": escape == quote,
        "escapechar": None if escape == quote else escape,
        "strict": True,
    }


def _read(table: Table, path: str, lines: Any, options: Mapping[str, Any]) -> ColumnBatch:
    rows = _rows(path, lines)
    listed: Sequence[str] | None = options.get("columns")
    names = list(listed or (column.name for column in table.written_columns))
    if options.get("header", False):
        _, header = next(rows, (1, names))
        names = list(listed or header)
    null = options.get("null", "")
    cells: list[list[str | None]] = [[] for _ in names]
    for line, row in rows:
        if len(row) != len(names):
            what = f"it has {len(row)} cells instead of {len(names)}"
            errors.fail("AM-5005", path=path, line=line, what=what)
        for column, text in zip(cells, row, strict=True):
            column.append(None if text == null else text)
    return ColumnBatch.from_text(table, names, cells)


def _rows(path: str, lines: Any) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row; blank lines are passed over."""
    while True:
        try:
            row = next(lines, None)
        except csv.Error:
            what = "a quote is not closed, or text follows one"
            errors.fail("AM-5005", path=path, line=lines.line_num, what=what)
        if row is None:
            return
        if row:
            yield lines.line_num, row
