"""Values of the rows that match, as circuits on the noop scheme and the real one: the number of
every row is compared, for columns of every encoding, with and without filters, NULLs, dead rows.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from plan_support import Database, make_table
from test_plan_circuits import (
    GRADE,
    KIND,
    MID,
    ONE,
    PUB,
    SIDE,
    SMALL,
    database,
    random_predicate,
)
from test_plan_real import database as real_database
from test_plan_real import scheme

from amaters.base.errors import AmatersError, DataError
from amaters.columns import declare
from amaters.plan.circuit import CompiledPlan, Parts, compile_plan
from amaters.plan.expressions import (
    Aggregate,
    And,
    ColumnRef,
    Compare,
    Literal,
    Or,
    OutputItem,
    Predicate,
    Select,
)
from amaters.plan.graph import Vector
from amaters.plan.prepare import Prepared
from amaters.plan.spec import PlanSpec
from amaters.plan.values import PRESENT, PackedOutput, ValueCircuits

__all__ = ["database", "real_database", "scheme"]
ENCRYPTED = (SMALL, MID, ONE, GRADE, SIDE)


def asking(database: Database, where: Predicate | None, *columns: int, groups=()) -> Select:
    items = tuple(OutputItem(f"x{c}", Aggregate("max", ColumnRef(c))) for c in columns)
    return Select(database.table, where, items, tuple(groups))


def numbers(
    database: Database, prepared: Prepared, compile_=compile_plan
) -> tuple[CompiledPlan, list[np.ndarray]]:
    """The decrypted numbers of each packed output, row by row."""
    plan, outcome, _ = database.execute(prepared, compile_=compile_)
    modulus = database.parameters.plaintext_modulus
    found = [np.zeros(database.full.length, dtype=np.int64) for _ in plan.packed]
    for pack in outcome.masks:
        output = plan.packed[pack.output]
        slots = database.client.decrypt(pack.ciphertext) * pow(output.factor, -1, modulus) % modulus
        for source in pack.sources:
            start, stop = database.spans[source]
            slots, own = np.divmod(slots, output.radix)
            found[pack.output][start:stop] = own[: stop - start]
            if plan.spec.filter is not None:
                assert not own[stop - start :].any(), "an empty slot has a value"
        assert not slots.any(), "more segments than there are"
    return plan, found


def check(database: Database, select: Select, compile_=compile_plan) -> Prepared:
    """Every number that means something is right, and zero where a row does not match."""
    prepared = database.prepare(select)
    plan, found = numbers(database, prepared, compile_)
    chosen = database.plain_mask(select)
    np.testing.assert_array_equal(found[0].astype(bool), chosen)
    codes = {column: np.zeros(len(chosen), dtype=np.int64) for column in plan.spec.values}
    present = {column: np.ones(len(chosen), dtype=np.int64) for column in plan.spec.values}
    for output, own in zip(plan.packed[1:], found[1:], strict=True):
        assert not own[~chosen].any()
        assert own.max(initial=0) < output.radix
        if output.weight == PRESENT:
            present[output.column_id] = own
        else:
            codes[output.column_id] += output.weight * own
    for column_id, code in codes.items():
        column, data = database.table.column(column_id), database.full.columns[column_id]
        values = data.values.tolist()
        if column.encoding("digits") is None:
            expected = [
                column.category_index(v) if ok else 0
                for v, ok in zip(values, data.valid, strict=True)
            ]
        else:
            expected = [v - column.bounds[0] for v in values]
        there = chosen & np.asarray(data.valid)
        np.testing.assert_array_equal(code[there], np.array(expected)[there], column.name)
        if bool((chosen & ~np.asarray(data.valid)).any()):
            np.testing.assert_array_equal(present[column_id][chosen], data.valid[chosen])
    return prepared


@pytest.mark.parametrize("seed", range(40))
def test_random_filters(database: Database, seed: int) -> None:
    rng = random.Random(seed)
    where = None if seed % 10 == 0 else random_predicate(rng, 2)
    groups = rng.choice([(), (), (GRADE,), (KIND,), (SIDE, PUB)])
    columns = rng.sample(ENCRYPTED, rng.randint(1, 3))
    check(database, asking(database, where, *columns, groups=groups))


REAL = [
    None,
    Compare("<", MID, Literal(40000)),
    Compare("<", PUB, Literal(4)),
    Or((Compare("=", MID, Literal(65535)), Compare("=", PUB, Literal(2)))),
    And((Compare("<>", GRADE, Literal("B")), Compare("=", MID, Literal(255)))),
]


@pytest.mark.parametrize("where", REAL, ids=range(len(REAL)))
def test_real_scheme(real_database: Database, where: Predicate | None) -> None:
    """Exact after packing, the switches to one limb, and the download modulus."""
    prepared = check(real_database, asking(real_database, where, MID, SMALL, GRADE))
    _, outcome, _ = real_database.execute(prepared)
    assert outcome.masks
    for pack in outcome.masks:
        noise = real_database.client.exact_noise(pack.ciphertext)
        assert noise <= pack.ciphertext.meta.noise


def test_wide_columns_come_in_parts_of_sixteen_bits() -> None:
    rows = [{"w": v} for v in (0, 1, 2**64 - 1, 2**32, 65535, 65536)]
    made = Database(make_table({"w": declare.UInt64(encrypt=["range"])}), rows)
    prepared = made.prepare(asking(made, None, 1))
    plan, found = numbers(made, prepared)
    assert [output.radix for output in plan.packed] == [2, 65536, 65536, 65536, 65536]
    total = [0] * len(rows)
    for output, own in zip(plan.packed[1:], found[1:], strict=True):
        total = [t + output.weight * int(n) for t, n in zip(total, own, strict=True)]
    assert total == [row["w"] for row in rows]


def test_narrow_values_of_many_segments_share_ciphertexts() -> None:
    """As many as stay below the plaintext modulus: 16 masks, 8 of four values, two of 8 bits."""
    shared = {radix: PackedOutput(0, 1, radix).segments for radix in (2, 4, 256, 65536)}
    assert shared == {2: 16, 4: 8, 256: 2, 65536: 1}
    assert all(radix**count <= 65537 for radix, count in shared.items())


class FourthIndicatorForgotten(ValueCircuits):
    """Lower digits of 3 come out as 0."""

    def _parts(self, column):
        for weight, radix, node in super()._parts(column):
            old = self.graph.nodes[node]
            made = self.graph.linear(
                list(zip(old.factors, old.operands, strict=True)), 0, (0, radix - 1)
            )
            yield weight, radix, made


class NullForgotten(ValueCircuits):
    """Nothing tells NULL from a value."""

    def outputs(self, truth, literals, known):
        made = super().outputs(truth, literals, known)
        return [output for output in made if output.weight != PRESENT]


class NotMasked(ValueCircuits):
    """Values of all rows: dead ones and those that do not match."""

    def _masked(self, lead, node, radix):
        return node


class MaskForgotten(ValueCircuits):
    """Without a filter the rows that are dead or not selected count as matching."""

    def _selected(self, truth, literals):
        made = super()._selected(truth, literals)
        if truth is not None:
            return made
        zero = self.graph.nodes[made.node].operands[0]
        return type(made)(self.graph.shift(zero, Vector(occupied=True)))


BUGS = {
    "fourth indicator": (FourthIndicatorForgotten, Compare(">=", ONE, Literal(0)), MID),
    "null": (NullForgotten, Compare(">=", ONE, Literal(0)), SMALL),
    "not masked": (NotMasked, Compare("<", ONE, Literal(2)), MID),
    "not masked, no filter": (NotMasked, None, ONE),
    "mask": (MaskForgotten, Compare("<", PUB, Literal(3)), ONE),
}


@pytest.mark.parametrize("name", BUGS)
def test_planted_bugs_are_seen(database: Database, name: str) -> None:
    values, where, column = BUGS[name]
    select = asking(database, where, column)
    check(database, select)
    with pytest.raises((AssertionError, AmatersError)):
        check(database, select, partial(compile_plan, parts=Parts(values=values)))


def test_plans_from_elsewhere_are_checked(database: Database) -> None:
    """Values without a selection, of public or sealed columns, or twice: refused, typed."""
    spec = database.prepare(asking(database, Compare("<", ONE, Literal(2)), MID)).spec
    assert spec is not None
    assert PlanSpec.from_bytes(spec.to_bytes()) == spec
    for change in (
        {"selection": False},
        {"values": (MID, MID)},
        {"output": "mask", "selection": True},
        {"values": tuple(range(1, 18))},
    ):
        with pytest.raises(DataError) as caught:
            PlanSpec.from_bytes(replace(spec, **change).to_bytes())
        assert caught.value.code == "AM-2101"
    for change in ({"values": (PUB,)}, {"values": (8,)}, {"values": (), "filter": None}):
        with pytest.raises(DataError) as caught:
            compile_plan(replace(spec, **change), database.table.public(), database.parameters)
        assert caught.value.code == "AM-2102"
