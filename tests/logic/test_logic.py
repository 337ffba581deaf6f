"""Every statement form, as files a user can read, on ``noop`` and on the real scheme.

The expected rows are DuckDB's: ``pytest --rewrite tests/logic`` asks it and writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import amaters as am

from .slt import Duck, Record, play, read, shown

FILES = sorted(Path(__file__).parent.glob("*.slt"))
OPTIONS: dict[str, dict[str, Any]] = {
    "noop": {"unsafe_scheme": "noop", "unsafe_parameters": "insecure_n1024"},
    "real": {"unsafe_parameters": "insecure_n1024"},
}


class Ours:
    """A database in memory."""

    def __init__(self, name: str, database: am.Database, folder: Path) -> None:
        self.name = name
        self.database = database
        self.folder = folder

    def run(self, record: Record) -> list[tuple[Any, ...]] | int | None:
        result = self.database.sql(record.sql.replace("$DIR", str(self.folder)))
        if record.kind in ("query", "contains"):
            return list(result.rows())
        counted = re.search(r"\b([\d,]+) rows?\b", result.message or "")
        return int(counted[1].replace(",", "")) if counted else None

    def load(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        self.database.table(table).insert(rows)


@contextmanager
def engine(name: str, folder: Path) -> Iterator[Ours]:
    """One of ``OPTIONS``."""
    with am.connect(":memory:", progress=lambda _: None, threads=1, **OPTIONS[name]) as database:
        yield Ours(name, database, folder)


@pytest.mark.parametrize("scheme", OPTIONS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_statements(path: Path, scheme: str, tmp_path: Path) -> None:
    """Each record of a file does what the file says."""
    duck = Duck(tmp_path)
    wrong = []
    with engine(scheme, tmp_path) as ours:
        for record in read(path):
            if record.only not in ("", scheme):
                continue
            if record.kind == "load":
                ours.load(record.argument, duck.connection.execute(record.sql).fetchall())
            elif record.kind == "file":
                duck.run(record)
            elif record.kind == "insert":
                rows = duck.connection.sql(record.sql).to_arrow_table()
                ours.database.table(record.argument).insert(rows)
            else:
                wrong.append(play(record, ours))
    assert not any(wrong), "\n".join(filter(None, wrong))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_expected_rows_are_duckdbs(
    path: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The files hold what DuckDB answers to the same statements, not what we do."""
    duck = Duck(tmp_path)
    records = read(path)
    for record in records:
        if record.kind == "insert":
            continue
        if record.kind == "load":
            duck.load(record.argument, duck.connection.execute(record.sql).fetchall())
            continue
        refused = record.argument.startswith("error")
        if refused or record.kind == "contains" or not duck.text(record).strip():
            continue
        found = duck.run(record)
        if record.kind == "query" and request.config.getoption("--rewrite"):
            assert isinstance(found, list)
            record.expected = shown(found, record.argument)
        wrong = play(record, _Answered(found))
        assert not wrong, wrong
    if request.config.getoption("--rewrite"):
        rewrite(path, records)


class _Answered:
    """An engine that has answered already."""

    name = "answered"

    def __init__(self, found: Any) -> None:
        self.found = found

    def run(self, record: Record) -> Any:
        return self.found

    def load(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        raise AssertionError(table)


def rewrite(path: Path, records: list[Record]) -> None:
    """Put the expected rows of all queries into the file."""
    parts = re.split(r"(\n[ \t]*\n)", path.read_text().rstrip("\n"))
    wanted = iter(records)
    for index in range(0, len(parts), 2):
        text = parts[index]
        lines = [x for x in text.splitlines() if x.strip() and not x.startswith("#")]
        if not lines:
            continue
        record = next(wanted)
        if record.kind == "query":
            head = text.split("\n----")[0]
            parts[index] = "\n".join([head, "----", *record.expected])
    path.write_text("".join(parts) + "\n")


def test_every_statement_form_has_a_file() -> None:
    """The forms of the contract, by the words that begin them, are all in some file."""
    text = "\n".join(path.read_text() for path in FILES)
    missing = [form for form in FORMS if not re.search(form, text)]
    assert missing == []


FORMS = (
    r"CREATE TABLE", r"CREATE TABLE IF NOT EXISTS", r"DROP TABLE", r"CREATE INDEX",
    r"CREATE UNIQUE INDEX", r"DROP INDEX", r"INSERT INTO", r"COPY \w+ FROM .*csv",
    r"COPY \w+ FROM .*parquet", r"UPDATE", r"DELETE FROM", r"EXPLAIN SELECT", r"EXPLAIN ANALYZE",
    r"EXPLAIN \(FORMAT json", r"GROUP BY", r"HAVING", r"ORDER BY", r"LIMIT", r"OFFSET", r"DISTINCT",
    r"ALTER TABLE \w+ ADD COLUMN", r"ALTER TABLE \w+ DROP COLUMN", r"RENAME COLUMN", r"RENAME TO",
    r"ADD QUERY", r"DROP QUERY", r"SET MAX", r"ADD VALUE", r"VACUUM ERASE", r"VACUUM \w+", r"BEGIN",
    r"COMMIT", r"ROLLBACK", r"ON CONFLICT", r"OR REPLACE", r"JOIN", r"WITH \w+ AS", r"LIKE 'PR",
    r"GENERATED ALWAYS", r"FILTER", r"CASE WHEN", r"median", r"quantile_cont", r"TIMESTAMP",
    r"BLOB",
    r"FETCH EXACT", r"FETCH PADDED", r"FETCH ALL", r"accumulate", r"DEPTH = 'deep'", r"LEFT JOIN",
    r"BETWEEN", r"\bIN \(", r"IS NULL", r"IS NOT NULL", r"<>", r"PUBLIC\(", r"NOT \(", r"\bOR\b",
)  # fmt: skip
