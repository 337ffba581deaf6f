"""Bugs planted in binder, evaluator, finish and client: generated statements notice each of them.

The same statements are asked with and without the bug; without it all answers are right, so that
what is noticed is the bug.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import amaters
from amaters.base.errors import AmatersError
from amaters.client import finish, reader
from amaters.columns import constants
from amaters.columns.batch import ColumnBatch
from amaters.plan import evaluate, prepare
from amaters.sql import predicates

from .constants import Case
from .generator import Generator
from .oracle import Oracle, Rows, same
from .plain import Plain
from .runner import database
from .tables import TableCase, make_table

PLAIN_STATEMENTS = 600
NOOP_STATEMENTS = 60
Patch = pytest.MonkeyPatch
Answers = list[tuple[Case, Rows]]


def prepared(rows: int, indices: range, count: int) -> tuple[list[TableCase], Answers]:
    """Tables, and statements with DuckDB's answers."""
    rng = random.Random(77)
    tables = [make_table(f"t{index}", index, rows, rng) for index in indices]
    oracle, generator = Oracle(tables), Generator(tables, rng, leaves_max=4)
    cases = [generator.case() for _ in range(count)]
    return tables, [(case, oracle.rows(case)) for case in cases]


def wrong_answers(ask: Callable[[str, Any], Rows], answers: Answers) -> int:
    """How many answers differ; a refusal of a statement that is answered otherwise counts too."""
    wrong = 0
    for case, expected in answers:
        try:
            wrong += not same(case, ask(case.sql, case.parameters), expected)
        except AmatersError:
            wrong += 1
    return wrong


@pytest.fixture(scope="module")
def plain() -> tuple[Plain, Answers]:
    """Small tables for bugs that plaintext shows."""
    tables, answers = prepared(200, range(4), PLAIN_STATEMENTS)
    found = Plain(tables)
    assert wrong_answers(found.rows, answers) == 0
    return found, answers


@pytest.fixture(scope="module")
def noop() -> Iterator[tuple[amaters.Database, Answers]]:
    """One table with a full segment and a tail, for bugs that need an engine."""
    tables, answers = prepared(1150, range(2, 3), NOOP_STATEMENTS)
    options = {"unsafe_scheme": "noop", "unsafe_parameters": "insecure_n1024"}
    with database(tables, **options) as opened:
        assert wrong_answers(lambda s, p: opened.sql(s, p or None).rows(), answers) == 0
        yield opened, answers


def mirrored_wrongly(patch: Patch) -> None:
    """Binder: 5 < x becomes x < 5."""
    patch.setattr(predicates, "_MIRRORED", {op: op for op in predicates._MIRRORED})


def not_null_is_true(patch: Patch) -> None:
    """Evaluator: NOT of NULL is TRUE."""
    original = evaluate._evaluate

    def patched(predicate: Any, batch: Any, table: Any) -> Any:
        found = original(predicate, batch, table)
        if isinstance(predicate, evaluate.Not):
            inner = original(predicate.child, batch, table)
            return evaluate._Truths(~inner.true, inner.true)
        return found

    patch.setattr(evaluate, "_evaluate", patched)


def null_in_list_forgotten(patch: Patch) -> None:
    """Evaluator: x NOT IN (1, NULL) is TRUE for x = 2."""
    original = evaluate._member

    def patched(column: Any, data: Any, literals: Any) -> Any:
        return original(column, data, [item for item in literals if item.value is not None])

    patch.setattr(evaluate, "_member", patched)


def fractions_round_up(patch: Patch) -> None:
    """Evaluator: x <= 40.5 becomes x <= 41."""
    patch.setattr(evaluate.math, "floor", evaluate.math.ceil)


def averages_count_nulls(patch: Patch) -> None:
    """Finish: AVG divides by the number of rows."""
    original = finish.totals_of

    def patched(select: Any, batch: ColumnBatch, terms: Any = None) -> Any:
        found = original(select, batch, terms)
        for key, amounts in found.groups.items():
            rows = int(original(select, batch, [finish.ROWS]).groups[key][finish.ROWS])
            for term in amounts:
                if term.kind == "count" and len(term.columns) == 1:
                    amounts[term] = rows
        return found

    patch.setattr("statements.plain.totals_of", patched)


def descending_nulls_first(patch: Patch) -> None:
    """Finish: DESC turns the NULLs' side round as well."""
    original = finish._ranks
    patch.setattr(finish, "_ranks", lambda column, nulls_first: original(column, nulls_first=True))


@pytest.mark.parametrize(
    "plant",
    [
        mirrored_wrongly,
        not_null_is_true,
        null_in_list_forgotten,
        fractions_round_up,
        averages_count_nulls,
        descending_nulls_first,
    ],
    ids=lambda plant: plant.__name__,
)
def test_plaintext_bugs_are_noticed(
    plant: Callable[[Patch], None], plain: tuple[Plain, Answers], monkeypatch: Patch
) -> None:
    """Each bug makes at least one answer of 600 wrong."""
    plant(monkeypatch)
    assert wrong_answers(plain[0].rows, plain[1]) > 0


def canaries_counted(patch: Patch) -> None:
    """Client: the canaries' part of a total is not taken away."""
    patch.setattr(reader, "matching_canaries", lambda *_: [])


def tail_forgotten(patch: Patch) -> None:
    """Client: only segments are asked."""
    original = reader.joined
    patch.setattr(reader, "joined", lambda table, blocks: original(table, []))


def strict_bound_is_not(patch: Patch) -> None:
    """Constants: x < c is normalised like x <= c."""
    original = constants.normalize_compare

    def patched(column: Any, op: Any, value: Any) -> Any:
        return original(column, {"<": "<=", ">=": ">"}.get(op, op), value)

    patch.setattr(prepare, "normalize_compare", patched)


@pytest.mark.parametrize(
    "plant",
    [canaries_counted, tail_forgotten, strict_bound_is_not],
    ids=lambda plant: plant.__name__,
)
def test_bugs_on_segments_are_noticed(
    plant: Callable[[Patch], None],
    noop: tuple[amaters.Database, Answers],
    monkeypatch: Patch,
) -> None:
    """Each bug makes at least one answer of 60 wrong."""
    opened, answers = noop
    plant(monkeypatch)
    assert wrong_answers(lambda s, p: opened.sql(s, p or None).rows(), answers) > 0
