"""Random statements as circuits on the noop scheme, against the plaintext evaluator."""

from __future__ import annotations

import random

import numpy as np
import pytest
from plan_support import Database, make_table

from amaters.base.errors import DataError, InvalidError
from amaters.columns import declare
from amaters.columns.types import integer
from amaters.engine.executor import Executor
from amaters.plan.expressions import (
    Aggregate,
    And,
    Arithmetic,
    Between,
    ColumnRef,
    Compare,
    In,
    IsNull,
    Literal,
    Not,
    Or,
    OutputItem,
    Predicate,
    Select,
    Truth,
)

CATEGORIES = ["A", "B", "C"]
COLUMNS = {
    "pub": declare.Int32(nullable=True),
    "kind": declare.Text(nullable=True),
    "small": declare.Int8(encrypt=["eq", "range"], nullable=True, min=0, max=15),
    "mid": declare.UInt16(encrypt=["eq", "range", "sum"], nullable=True),
    "one": declare.Int8(encrypt=["eq", "range"], min=0, max=3),
    "grade": declare.Enum(CATEGORIES, encrypt=["group"], nullable=True),
    "side": declare.Enum(["L", "R"], encrypt=["group"]),
    "amount": declare.Int32(encrypt=["sum"], nullable=True, min=-100_000, max=100_000),
    "rate": declare.Int8(encrypt=["sum"], min=0, max=10),
}
PUB, KIND, SMALL, MID, ONE, GRADE, SIDE, AMOUNT, RATE = range(1, 10)
ROW = (OutputItem("x", Literal(1)),)


def random_row(rng: random.Random) -> dict:
    def maybe(value, share=0.2):
        return None if rng.random() < share else value

    return {
        "pub": maybe(rng.randrange(6)),
        "kind": maybe(rng.choice(["x", "y", "z"])),
        "small": maybe(rng.randrange(16)),
        "mid": maybe(rng.choice([0, 1, 255, 256, 40000, 65535, rng.randrange(65536)])),
        "one": rng.randrange(4),
        "grade": maybe(rng.choice(CATEGORIES)),
        "side": rng.choice(["L", "R"]),
        "amount": maybe(rng.choice([-100_000, 100_000, 0, rng.randrange(-100_000, 100_001)])),
        "rate": rng.randrange(11),
    }


def make_database(seed: int, rows: int = 150, segment_rows: int = 64) -> Database:
    rng = random.Random(seed)
    table = make_table(COLUMNS)
    dead = [i for i in range(rows) if rng.random() < 0.1]
    return Database(
        table, [random_row(rng) for _ in range(rows)], segment_rows=segment_rows, dead=dead
    )


@pytest.fixture(scope="module")
def database() -> Database:
    return make_database(1)


def random_leaf(rng: random.Random) -> Predicate:
    public = rng.random() < 0.25
    kind = rng.randrange(9)
    if kind == 0:
        return Compare(rng.choice(["=", "<>"]), GRADE, Literal(rng.choice("ABCD"), public))
    if kind == 1:
        return IsNull(rng.choice([SMALL, MID, GRADE, AMOUNT, PUB]), rng.random() < 0.5)
    if kind == 2:
        values = tuple(Literal(rng.choice([0, 3, 9, 15, 77]), public) for _ in range(2))
        return In(rng.choice([SMALL, MID]), values, rng.random() < 0.5)
    if kind == 3:
        column = rng.choice([PUB, PUB, KIND])
        value = rng.choice("xyz") if column == KIND else rng.randrange(6)
        return Compare(rng.choice(["=", "<>", "<"]), column, Literal(value))
    if kind == 4:
        low, high = rng.randrange(-2, 18), rng.randrange(-2, 18)
        return Between(SMALL, Literal(low, public), Literal(high, public), rng.random() < 0.5)
    if kind == 5:
        return Compare(rng.choice(["=", "<>"]), SIDE, Literal(rng.choice("LR"), public))
    if kind == 6 and rng.random() < 0.3:
        return Truth(rng.choice([True, False, None]))
    column = rng.choice([SMALL, MID, ONE])
    value = rng.choice([None, -1, 0, 1, 2, 3, 7, 15, 16, 256, 40000, 65535, 70000])
    op = rng.choice(["=", "<>", "<", "<=", ">", ">="])
    return Compare(op, column, Literal(value, public))


def random_predicate(rng: random.Random, depth: int) -> Predicate:
    choice = rng.random()
    if depth == 0 or choice < 0.2:
        return random_leaf(rng)
    if choice < 0.35:
        return Not(random_predicate(rng, depth - 1))
    children = tuple(random_predicate(rng, depth - 1) for _ in range(rng.choice([2, 2, 3])))
    return And(children) if rng.random() < 0.5 else Or(children)


@pytest.mark.parametrize("seed", range(60))
def test_random_row_selections(database: Database, seed: int) -> None:
    """Masks of random predicates: three-valued logic, public parts inside ORs, PUBLIC constants."""
    rng = random.Random(seed)
    for _ in range(2):
        database.check(Select(database.table, random_predicate(rng, 2), ROW))


AGGREGATES = [
    Aggregate("count_star"),
    Aggregate("count", ColumnRef(GRADE)),
    Aggregate("count", ColumnRef(AMOUNT)),
    Aggregate("count", ColumnRef(KIND)),
    Aggregate("sum", ColumnRef(AMOUNT)),
    Aggregate("avg", ColumnRef(MID)),
    Aggregate("sum", ColumnRef(PUB)),
    Aggregate("sum", Arithmetic("*", ColumnRef(AMOUNT), ColumnRef(RATE))),
    Aggregate("sum", Arithmetic("*", ColumnRef(PUB), ColumnRef(RATE))),
]
GROUPS = [(), (), (PUB,), (GRADE,), (KIND, GRADE), (PUB, KIND), (GRADE, SIDE), (SIDE, PUB)]


@pytest.mark.parametrize("seed", range(60))
def test_random_aggregates(database: Database, seed: int) -> None:
    """Totals per public, encrypted and mixed groups, of encrypted and public columns."""
    rng = random.Random(1000 + seed)
    items = tuple(OutputItem(f"a{i}", a) for i, a in enumerate(rng.sample(AGGREGATES, 2)))
    where = None if rng.random() < 0.25 else random_predicate(rng, 1)
    select = Select(database.table, where, items, rng.choice(GROUPS))
    database.check(select)


def test_metas_at_run_time_are_those_of_the_proof() -> None:
    """Level, degree and interval of every step as compiled; noise equal without public vectors."""
    seen: list[str] = []

    class Watching(Executor):
        def _bounded(self, step, made):
            bounded = super()._bounded(step, made)
            assert (bounded.level, bounded.degree) == (step.meta.level, step.degree)
            assert step.meta.lo <= bounded.meta.lo <= bounded.meta.hi <= step.meta.hi
            assert bounded.meta.noise <= step.meta.noise + 1e-9
            if not masked:
                assert bounded.meta.noise == pytest.approx(step.meta.noise, abs=1e-9)
            seen.append(step.node.op)
            return bounded

    database = make_database(7)
    database.dead.clear()
    database.live[:] = True
    for masked, where in [
        (False, Compare("<", MID, Literal(700))),
        (False, Or((Compare("=", MID, Literal(1)), Between(SMALL, Literal(2), Literal(9))))),
        (True, Or((Compare("=", MID, Literal(1)), Compare("<", PUB, Literal(4))))),
    ]:
        items = (OutputItem("s", Aggregate("sum", ColumnRef(AMOUNT))),)
        prepared = database.prepare(Select(database.table, where, items, (SIDE,)), masked)
        plan = prepared.compiled
        constants = database.constants(prepared)
        executor = Watching(plan, database.table.public(), database.evaluator, constants)
        sources, _ = database.sources(prepared.spec)
        executor.run(sources)
    assert {"linear", "dot", "switch", "mask", "shift"} <= set(seen)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_and_full_accumulators(threads: int) -> None:
    """More segments than one accumulator may hold: several parts, the same totals."""
    rng = random.Random(5)
    table = make_table(
        {
            "v": declare.Int8(encrypt=["range"], min=0, max=3),
            "w": declare.declare(integer(16), encrypt=["sum"], min=-128 * 256, max=32767),
        }
    )
    rows = [{"v": rng.randrange(4), "w": rng.choice([-32768, 32767, 0])} for _ in range(7)]
    database = Database(table, rows, segment_rows=1)
    items = (OutputItem("s", Aggregate("sum", Arithmetic("*", ColumnRef(2), ColumnRef(2)))),)
    select = Select(table, Compare("<", 1, Literal(3)), items)
    prepared = database.prepare(select, masked=False)
    limits = {a.segments_max for a in prepared.compiled.accumulators if a.lo < 0}
    assert max(limits) < 7
    database.check(select, threads=threads)
    _, outcome, _ = database.execute(prepared, threads)
    assert max(total.part for total in outcome.totals) >= 1


def test_masks_of_many_segments_share_ciphertexts() -> None:
    """19 segments give two packs; each bit goes to its segment."""
    table = make_table({"v": declare.Int8(encrypt=["eq"], min=0, max=63)})
    database = Database(table, [{"v": i % 5} for i in range(19 * 4)], segment_rows=4)
    select = Select(table, Compare("=", 1, Literal(3)), ROW)
    prepared = database.check(select, threads=2)
    _, outcome, _ = database.execute(prepared, 2)
    assert [len(pack.sources) for pack in outcome.masks] == [16, 3]
    assert {pack.ciphertext.level for pack in outcome.masks} == {0}


def test_progress_counts_every_key_switch_and_cancelling_stops(database: Database) -> None:
    """The total is known in advance; a cancelled run raises and delivers nothing."""
    from amaters.base.errors import ClosedError

    select = Select(database.table, Compare("<", MID, Literal(9)), ROW)
    prepared = database.prepare(select)
    executor = Executor(
        prepared.compiled, database.table.public(), database.evaluator, database.constants(prepared)
    )
    sources, _ = database.sources(prepared.spec)
    steps: list[tuple[int, int]] = []
    outcome = executor.run(sources, progress=lambda done, total: steps.append((done, total)))
    total = executor.total_switches(sources)
    assert [done for done, _ in steps] == list(range(1, total + 1))
    assert outcome.key_switches == total == len(sources) * prepared.compiled.key_switches
    with pytest.raises(ClosedError):
        executor.run(sources, is_cancelled=lambda: True)


def test_groups_beyond_memory_are_refused_and_fewer_threads_need_less(database: Database) -> None:
    """Accumulators of all groups and threads stay within a budget; a typed refusal otherwise."""
    items = (OutputItem("s", Aggregate("sum", ColumnRef(AMOUNT))),)
    select = Select(database.table, Compare("<", MID, Literal(9)), items, (PUB,))
    prepared = database.prepare(select)
    sources, keys = database.sources(prepared.spec)
    constants = database.constants(prepared)
    public = database.table.public()

    def executor(budget: int) -> Executor:
        return Executor(
            prepared.compiled, public, database.evaluator, constants, accumulator_bytes=budget
        )

    need = executor(1)._group_bytes() * len(keys)
    assert executor(2 * need)._threads_that_fit(sources, 8) == 2
    assert executor(need).run(sources, threads=8).totals
    with pytest.raises(InvalidError) as caught:
        executor(need - 1).run(sources)
    assert caught.value.code == "AM-3054"


def test_a_plan_without_masks_refuses_dead_rows(database: Database) -> None:
    """A plan made for segments that are wholly live never counts a dead row: it does not run."""
    select = Select(database.table, Compare("<", MID, Literal(9)), ROW)
    prepared = database.prepare(select, masked=False)
    with pytest.raises(DataError) as caught:
        database.execute(prepared)
    assert caught.value.code == "AM-2102"


def test_stored_data_that_is_worse_than_assumed_is_refused(database: Database) -> None:
    """A ciphertext with a wider interval or more noise than the proof assumed never enters it."""
    from dataclasses import replace

    select = Select(database.table, Compare("<", MID, Literal(9)), ROW)
    prepared = database.prepare(select)
    constants = database.constants(prepared)
    for change in ({"noise": 40.0}, {"hi": 2}, {"level": 2}):
        sources, _ = database.sources(prepared.spec)
        source = sources[0]
        honest = source.load

        def load(column, kind, slices, level, *, honest=honest, change=change):
            return [
                replace(ct, meta=replace(ct.meta, **change))
                for ct in honest(column, kind, slices, level)
            ]

        source.load = load
        executor = Executor(
            prepared.compiled, database.table.public(), database.evaluator, constants
        )
        with pytest.raises(DataError) as caught:
            executor.run([*sources[1:], source], threads=2)
        assert caught.value.code == "AM-3053"


def test_three_valued_truth_tables() -> None:
    """AND, OR, NOT over TRUE, FALSE and NULL operands, all nine pairs."""
    table = make_table(
        {
            "a": declare.Int8(encrypt=["eq"], nullable=True, min=0, max=1),
            "b": declare.Int8(encrypt=["range"], nullable=True, min=0, max=1),
        }
    )
    rows = [{"a": a, "b": b} for a in (0, 1, None) for b in (0, 1, None)]
    database = Database(table, rows)
    a, b = Compare("=", 1, Literal(1)), Compare(">", 2, Literal(0))
    value = {0: False, 1: True, None: None}

    def truth(row, op):
        x, y = value[row["a"]], value[row["b"]]
        if op == "and":
            return False if x is False or y is False else (None if None in (x, y) else True)
        return True if x or y else (None if None in (x, y) else False)

    for op, joined in (("and", And((a, b))), ("or", Or((a, b)))):
        for negated in (False, True):
            where = Not(joined) if negated else joined
            prepared = database.prepare(Select(table, where, ROW))
            found = database.mask(prepared)
            expected = [truth(row, op) is (not negated) for row in rows]
            np.testing.assert_array_equal(found, expected)


def test_group_without_aggregates_and_empty_answers(database: Database) -> None:
    """GROUP BY alone still counts rows per group; a filter nobody passes gives no totals."""
    table = database.table
    database.check(Select(table, None, (OutputItem("g", ColumnRef(GRADE)),), (GRADE,)))
    none = And((Compare("<", SMALL, Literal(0)), Compare("=", ONE, Literal(1))))
    prepared = database.check(Select(table, none, (OutputItem("n", Aggregate("count_star")),)))
    assert database.totals(prepared) == {}
