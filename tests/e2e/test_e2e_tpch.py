"""TPC-H: every query that is said to run equals DuckDB's answer, every other one is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import amaters as am
from amaters.bench import tpch_queries as tpch

ROOT = Path(__file__).resolve().parents[2]
SCALE = 0.01  # smaller ones repeat keys of partsupp
ORDERS_MAX = 18_000  # of 60,000 order keys: two segments of line items


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[am.Database, Any]]:
    """The declared layout in both engines."""
    folder = tmp_path_factory.mktemp("tpch")
    tpch.generate(folder, SCALE)
    with am.connect(":memory:", unsafe_scheme="noop") as database:
        rows = tpch.load(database, folder, ORDERS_MAX)
        assert rows["lineitem"] > 16_384
        yield database, tpch.oracle(folder, ORDERS_MAX)


@pytest.mark.parametrize("query", tpch.answered(), ids=lambda query: query.number)
def test_answers_equal_duckdb(query: tpch.Query, pair: tuple[am.Database, Any]) -> None:
    """The same text, the same rows in the same order."""
    database, plain = pair
    assert tpch.agree(database.sql(query.text).rows(), plain.sql(query.text).fetchall())


@pytest.mark.parametrize(
    "query", [q for q in tpch.QUERIES if q.verdict == "no"], ids=lambda query: query.number
)
def test_all_others_are_refused(query: tpch.Query, pair: tuple[am.Database, Any]) -> None:
    """With the error that the table names."""
    with pytest.raises(am.InvalidError) as refused:
        pair[0].sql(query.text)
    assert refused.value.code == query.code


def test_answers_that_differ_are_noticed() -> None:
    """The comparison is exact but for the last digit of doubles."""
    assert tpch.agree([(1, 0.1)], [(1, 0.1 + 1e-17)])
    assert not tpch.agree([(1, 0.1)], [(1, 0.1 + 1e-12)])
    assert not tpch.agree([(1,)], [(1,), (2,)])
    assert not tpch.agree([(1,)], [(2,)])


def test_the_page_is_current() -> None:
    """``tools/tpch.py`` would change nothing."""
    command = [sys.executable, str(ROOT / "tools" / "tpch.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
