"""3,000 generated statements on noop, changes of rows and tables among them, equal DuckDB's."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from .runner import Changed, run_changing

SEED = 2026
STATEMENTS = 3000
ROWS = 2200
REFUSED_MAX = 0.05
CHANGES = ("INSERT", "REPLACE", "UPDATE", "UPDATE by key", "DELETE", "CREATE INDEX", "DROP INDEX")
ALTERS = ("ADD COLUMN", "DROP COLUMN", "RENAME COLUMN", "ALTER COLUMN ADD QUERY")
ALTERS += ("ALTER COLUMN DROP QUERY", "ALTER COLUMN SET MAX", "ALTER COLUMN ADD VALUE")


@pytest.fixture(scope="module")
def changed() -> Changed:
    """All statements, in two processes; each ends with all rows of its tables compared."""
    total = Changed()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = [pool.submit(run_changing, part, SEED, ROWS, STATEMENTS // 2) for part in (0, 1)]
        for part in parts:
            total.add(part.result())
    return total


def test_answers_stay_equal_while_tables_change(changed: Changed) -> None:
    """No answer differs, whatever was inserted, updated, deleted, altered or packed before it."""
    report = changed.report
    assert report.wrong == []
    assert report.asked + changed.changes.total() + changed.refused.total() == STATEMENTS
    assert report.with_rows > 0.6 * report.asked
    assert report.on_segments > 0.6 * report.asked


def test_few_statements_are_refused(changed: Changed) -> None:
    """Questions that are too deep or whose products are too large, and values out of bounds."""
    assert changed.report.refused.total() <= REFUSED_MAX * changed.report.asked
    assert set(changed.report.refused) <= {"AM-2301", "AM-2123"}
    assert changed.refused.total() <= REFUSED_MAX * changed.changes.total()
    assert {kind.split()[-1] for kind in changed.refused} <= {"AM-2003"}


def test_every_change_was_made(changed: Changed) -> None:
    """Each kind at least five times."""
    wanted = [*CHANGES, *(f"ALTER {form}" for form in ALTERS)]
    assert {kind: changed.changes[kind] for kind in wanted if changed.changes[kind] < 5} == {}
