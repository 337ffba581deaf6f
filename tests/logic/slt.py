"""SQL-logic files: statements and what comes of them, for a reader and for every engine.

    # a comment
    statement ok                     the statement is accepted
    UPDATE ...

    statement count 3                it reports three rows
    statement error AM-2107          it is refused with this code
    query [unordered]                its rows, one line each, values separated by |
    SELECT ...
    ----
    1|NULL|2.50

    load pay                         rows that DuckDB makes, inserted into a table
    SELECT i, i % 7 FROM range(1200) AS r(i)

    insert lines                     the same for named columns, for our table alone
    SELECT * FROM source

    file                             DuckDB writes a file
    COPY (SELECT ...) TO '$DIR/t.csv'

    contains                         the text of the one value has each of the lines below
    EXPLAIN ...
    ----
    the server learns

Records are separated by blank lines. A line that begins with ``duckdb:`` holds the statement as
DuckDB is asked, where that differs by more than declarations (``duckdb: -``: not at all).
``only real`` or ``only noop`` above a record limits it. ``$DIR`` is a folder for files.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import duckdb

from amaters.base.errors import AmatersError

SAME = None


@dataclass
class Record:
    """One record of a file. ``duck``: DuckDB's text, None when it is the same, "" for none."""

    kind: str
    argument: str
    sql: str
    expected: list[str]
    duck: str | None = SAME
    only: str = ""
    line: int = 0


class Engine(Protocol):
    """Something that answers SQL."""

    name: str

    def run(self, record: Record) -> list[tuple[Any, ...]] | int | None:
        """Rows of a query, the number of changed rows if it is reported, else None."""

    def load(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Insert rows."""


def read(path: Path) -> list[Record]:
    """The records of a file."""
    found = []
    line = 1
    for part in re.split(r"\n[ \t]*\n", path.read_text()):
        record = _record(part, line)
        if record is not None:
            found.append(record)
        line += part.count("\n") + 2
    return found


def _record(part: str, line: int) -> Record | None:
    lines = [text for text in part.splitlines() if not text.startswith("#")]
    lines = [text for text in lines if text.strip()]
    if not lines:
        return None
    only = ""
    if lines[0].startswith("only "):
        only = lines.pop(0).split()[1]
    kind, _, argument = lines.pop(0).partition(" ")
    duck: list[str] = [text.removeprefix("duckdb:").strip() for text in lines if _is_duck(text)]
    lines = [text for text in lines if not _is_duck(text)]
    cut = lines.index("----") if "----" in lines else len(lines)
    text = None if not duck else "" if duck == ["-"] else " ".join(duck)
    return Record(kind, argument, "\n".join(lines[:cut]), lines[cut + 1 :], text, only, line)


def _is_duck(text: str) -> bool:
    return text.startswith("duckdb:")


def shown(rows: list[tuple[Any, ...]], argument: str) -> list[str]:
    """Rows as lines of a file."""
    lines = ["|".join(_text(value) for value in row) for row in rows]
    return sorted(lines) if argument == "unordered" else lines


def _text(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, bytes | bytearray):
        return "0x" + bytes(value).hex()
    return str(value)


class Duck:
    """DuckDB with the same tables in the clear."""

    name = "duckdb"

    def __init__(self, folder: Path) -> None:
        self.connection = duckdb.connect()
        self.connection.execute("CREATE MACRO public(x) AS x")
        self.folder = folder

    def text(self, record: Record) -> str:
        """The statement for DuckDB, "" for none."""
        own = record.sql if record.duck is None else record.duck
        return _public(own).replace("$DIR", str(self.folder))

    def run(self, record: Record) -> list[tuple[Any, ...]] | int | None:
        done = self.connection.execute(self.text(record))
        if record.kind == "query":
            return done.fetchall()
        if record.argument.startswith("count"):
            (changed,) = done.fetchone() or (0,)
            return int(changed)
        return None

    def load(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" * len(rows[0]))
        self.connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def _public(sql: str) -> str:
    """A statement without what only AmateRS knows of declarations."""
    found = re.search(r"\bENCRYPTED\b(\s+WITH\s*\()?", sql)
    while found is not None:
        end = found.end()
        depth = 1 if found.group(1) else 0
        quoted = False
        while depth:
            quoted ^= sql[end] == "'"
            depth += 0 if quoted else (sql[end] == "(") - (sql[end] == ")")
            end += 1
        sql = sql[: found.start()] + sql[end:]
        found = re.search(r"\bENCRYPTED\b(\s+WITH\s*\()?", sql)
    return re.sub(r"\)\s*WITH\s*\(DEPTH[^)]*\)", ")", sql)


def play(record: Record, engine: Engine) -> str:
    """What went wrong with a record on an engine; empty when nothing did."""
    where = f"line {record.line}: {' '.join(record.sql.split())[:200]}"
    try:
        found = engine.run(record)
    except AmatersError as error:
        if record.kind == "statement" and record.argument == f"error {error.code}":
            return "" if error.fix else f"{where}: {error.code} names no fix"
        return f"{where}: {error}"
    if record.argument.startswith("error"):
        return f"{where}: it was accepted, {record.argument} was expected"
    if record.kind == "contains":
        assert isinstance(found, list)
        text = "\n".join(str(value) for row in found for value in row)
        missing = [line for line in record.expected if line not in text]
        return f"{where}: {missing} not in\n{text}" if missing else ""
    if record.kind == "query":
        assert isinstance(found, list)
        lines = shown(found, record.argument)
        return "" if lines == record.expected else f"{where}: {lines} is not {record.expected}"
    if record.argument.startswith("count") and found != int(record.argument.split()[1]):
        return f"{where}: {found} rows"
    return ""
