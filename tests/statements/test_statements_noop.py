"""Generated statements on the noop scheme equal DuckDB's answers, over every type and operator.

Everything but the arithmetic of ciphertexts takes part: SQL, planner, circuits with their levels
and bounds, engine, segments, tail, canaries, public masks, row fetches, finishing of answers.
"""

from __future__ import annotations

import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor

import pytest

from amaters.base.errors import InvalidError

from .generator import ALL_CELLS, Generator
from .runner import Report, database, run_part
from .tables import make_table

SEED = 1994
STATEMENTS = 1600
ROWS = 2200
OFTEN = 30
REFUSED_MAX = 0.05


@pytest.fixture(scope="module")
def report() -> Report:
    """All statements, in two processes."""
    total = Report()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = [pool.submit(run_part, part, SEED, ROWS, STATEMENTS // 2) for part in (0, 1)]
        for part in parts:
            total.add(part.result())
    return total


def test_answers_equal_duckdb(report: Report) -> None:
    """At least 1,000 statements, not one answer different, most of them with rows in it."""
    assert report.wrong == []
    assert report.asked - report.refused.total() >= 1000
    assert report.with_rows > 0.7 * report.asked
    assert report.on_segments > 0.6 * report.asked


def test_few_are_refused(report: Report) -> None:
    """At most one in twenty, all for being too deep; ``ask`` has checked type and fix."""
    assert report.refused.total() <= REFUSED_MAX * report.asked
    assert set(report.refused) <= {"AM-2301"}


def test_every_operator_met_every_type(report: Report) -> None:
    """Each operator x type x nullability at least 30 times, so no combination goes untried."""
    thin = {cell: report.seen[cell] for cell in ALL_CELLS if report.seen[cell] < OFTEN}
    assert thin == {}


def test_encrypted_columns_met_every_operator_they_allow(report: Report) -> None:
    """The same over encrypted columns alone, wherever a declaration can allow the operator."""
    ordering = ("<", "<=", ">", ">=", "BETWEEN")
    possible = [cell for cell in ALL_CELLS if not (cell[1] == "TEXT" and cell[0] in ordering)]
    thin = {cell: report.secret[cell] for cell in possible if report.secret[cell] < OFTEN // 5}
    assert thin == {}


def test_what_a_column_was_not_declared_for_is_refused() -> None:
    """100 statements that need a missing capability: AM-2107 and the ALTER TABLE to use."""
    rng = random.Random(SEED)
    tables = [make_table(f"t{index}", index, 200, rng) for index in range(4)]
    generator = Generator(tables, rng)
    options = {"unsafe_scheme": "noop", "unsafe_parameters": "insecure_n1024"}
    with database(tables, **options) as opened:
        for _ in range(100):
            with pytest.raises(InvalidError) as caught:
                opened.sql(generator.impossible())
            assert caught.value.code == "AM-2107"
            assert "ADD QUERY" in caught.value.fix
