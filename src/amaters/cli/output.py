"""Results on standard output: table, json, jsonl, csv or arrow."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import BinaryIO, TextIO

from amaters.client.result import Result, render_table, text_of

FORMATS = ("table", "json", "jsonl", "csv", "arrow")


def write_result(result: Result, form: str, out: TextIO | None = None) -> None:
    """Write ``result`` in one of ``FORMATS``. JSON keeps integers exact and decimals as strings."""
    stream = out or sys.stdout
    if form == "table":
        stream.write(render_table(result) + "\n")
    elif form == "json":
        stream.write(json.dumps(list(_objects(result)), indent=2, ensure_ascii=False) + "\n")
    elif form == "jsonl":
        for item in _objects(result):
            stream.write(json.dumps(item, ensure_ascii=False) + "\n")
    elif form == "csv":
        stream.write(_csv(result))
    else:
        write_arrow(result, stream.buffer if hasattr(stream, "buffer") else sys.stdout.buffer)
    stream.flush()


def write_arrow(result: Result, out: BinaryIO) -> None:
    """The result as an Arrow IPC stream."""
    import pyarrow

    table = result.arrow()
    with pyarrow.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)


def _objects(result: Result) -> Iterable[dict[str, object]]:
    for row in result.rows():
        yield {name: _plain(value) for name, value in zip(result.names, row, strict=True)}


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value, "f")
    return text_of(value) if isinstance(value, date | bytes) else value


def _csv(result: Result) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(result.names)
    for row in result.rows():
        writer.writerow(["" if value is None else _csv_text(value) for value in row])
    return buffer.getvalue()


def _csv_text(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _plain(value)
