"""Binder, evaluator and finish alone, without an engine, against DuckDB."""

from __future__ import annotations

import random

from .generator import Generator
from .oracle import Oracle, same
from .plain import Plain
from .tables import make_table


def test_plaintext_statements_equal_duckdb() -> None:
    """500 statements over four tables of all types: what the tail and canaries rely on."""
    rng = random.Random(20260)
    tables = [make_table(f"t{index}", index, 300, rng) for index in range(4)]
    oracle, plain, generator = Oracle(tables), Plain(tables), Generator(tables, rng, leaves_max=7)
    answered = 0
    for _ in range(500):
        case = generator.case()
        ours, theirs = plain.rows(case.sql, case.parameters), oracle.rows(case)
        assert same(case, ours, theirs), (case.sql, case.parameters)
        answered += bool(theirs)
    assert answered > 350
