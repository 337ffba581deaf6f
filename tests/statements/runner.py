"""Statements run on a database of ours and on DuckDB, and what came of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import amaters
from amaters.base.errors import InvalidError

from .changing import Change, Changer
from .constants import Case, Cell, named
from .generator import Generator
from .oracle import Oracle, same
from .tables import TableCase, make_table

TAIL_ROWS = 150


@dataclass
class Report:
    """Counts over some statements. ``wrong`` holds those whose answer differs, for the reader."""

    asked: int = 0
    with_rows: int = 0
    on_segments: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, list[Any]]] = field(default_factory=list)
    seen: Counter[Cell] = field(default_factory=Counter)
    secret: Counter[Cell] = field(default_factory=Counter)

    def add(self, other: Report) -> None:
        """Add the counts of another part."""
        self.asked += other.asked
        self.with_rows += other.with_rows
        self.on_segments += other.on_segments
        self.refused.update(other.refused)
        self.wrong += other.wrong
        self.seen.update(other.seen)
        self.secret.update(other.secret)


@contextmanager
def database(tables: list[TableCase], **options: Any) -> Iterator[amaters.Database]:
    """A database in memory that holds ``tables``: full segments, a part of one, and a tail."""
    opened = amaters.connect(":memory:", progress=lambda _: None, **options)
    try:
        for case in tables:
            opened.sql(case.ddl())
            table = opened.table(case.name)
            cut = case.rows - TAIL_ROWS
            for part in (slice(0, cut), slice(cut, None)):
                table.insert({name: values[part] for name, values in case.data.items()})
        yield opened
    finally:
        opened.close()


def ask(opened: amaters.Database, oracle: Oracle, case: Case, report: Report) -> None:
    """Run one statement on both sides. A refusal must be typed and name a fix."""
    report.asked += 1
    expected = oracle.rows(case)
    try:
        result = opened.sql(case.sql, case.parameters or None)
    except InvalidError as error:
        assert error.fix
        report.refused[error.code] += 1
        return
    report.with_rows += bool(expected)
    report.on_segments += result.stats.segments > 0
    if not same(case, result.rows(), expected):
        report.wrong.append((case.sql, case.parameters))


def run(opened: amaters.Database, oracle: Oracle, generator: Generator, count: int) -> Report:
    """Run the generator's next ``count`` statements."""
    report = Report()
    for _ in range(count):
        ask(opened, oracle, generator.case(), report)
    report.seen, report.secret = generator.seen, generator.secret
    return report


def run_part(part: int, seed: int, rows: int, count: int) -> Report:
    """``count`` statements on ``noop`` over two tables; parts 0 and 1 hold all combinations."""
    rng = random.Random(seed + part)
    tables = [make_table(f"t{index}", index, rows, rng) for index in (part, part + 2)]
    options = {"unsafe_scheme": "noop", "unsafe_parameters": "insecure_n1024"}
    with database(tables, threads=1, **options) as opened:
        return run(opened, Oracle(tables), Generator(tables, rng), count)


@dataclass
class Changed:
    """Counts over a stream of SELECTs and changes."""

    report: Report = field(default_factory=Report)
    changes: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, other: Changed) -> None:
        """Add the counts of another part."""
        self.report.add(other.report)
        self.changes.update(other.changes)
        self.refused.update(other.refused)


def make_change(opened: amaters.Database, oracle: Oracle, change: Change, found: Changed) -> None:
    """Change both sides. What is refused is typed, names a fix, and changed nothing (the SELECTs
    that follow would see it).
    """
    try:
        result = opened.sql(change.sql, change.parameters or None)
    except InvalidError as error:
        assert error.fix
        found.refused[f"{change.kind} {error.code}"] += 1
        return
    found.changes[change.kind] += 1
    change.done()
    if not change.duck:
        return
    count = oracle.connection.execute(change.duck, change.parameters).fetchall()
    if change.counts:
        assert f" {count[0][0]:,} " in f" {result.message} ", (change.sql, result.message, count)


def whole(opened: amaters.Database, oracle: Oracle, table: TableCase) -> bool:
    """Whether all rows of a table are the same on both sides."""
    columns = ", ".join(map(named, table.columns))
    text = f"SELECT {columns} FROM {table.name} ORDER BY k"
    case = Case(text, text, [], table, Counter(), set(), ordered=True)
    return same(case, opened.sql(text).rows(), oracle.rows(case))


def run_changing(part: int, seed: int, rows: int, count: int) -> Changed:
    """``count`` statements on ``noop`` over two tables, every third of them a change."""
    rng = random.Random(seed + part)
    tables = [make_table(f"t{index}", index, rows, rng) for index in (part, part + 2)]
    options = {"unsafe_scheme": "noop", "unsafe_parameters": "insecure_n1024"}
    found = Changed()
    with database(tables, threads=1, **options) as opened:
        oracle, generator = Oracle(tables), Generator(tables, rng, leaves_max=5)
        changer = Changer(generator, rng)
        for n in range(count):
            if n % 3 == 0:
                make_change(opened, oracle, changer.change(), found)
            else:
                ask(opened, oracle, generator.case(), found.report)
            if n % 300 == 299:
                opened.compact()
        for table in tables:
            assert whole(opened, oracle, table), table.name
    return found
