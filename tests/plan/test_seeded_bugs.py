"""Bugs planted in planner and circuits through the parts they are built from: the suite's check
sees each of them. ``Database.check`` is the check that every circuit test here uses.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from plan_support import Database
from test_plan_circuits import (
    AMOUNT,
    GRADE,
    MID,
    ONE,
    PUB,
    ROW,
    SMALL,
    make_database,
)

from amaters.base.errors import AmatersError
from amaters.plan.circuit import Parts, compile_plan
from amaters.plan.expressions import (
    Aggregate,
    And,
    Arithmetic,
    ColumnRef,
    Compare,
    Literal,
    Or,
    OutputItem,
    Predicate,
    Select,
)
from amaters.plan.leaves import INDICATOR, LeafCircuits, Truth
from amaters.plan.levels import Prover
from amaters.plan.logic import FilterCircuits
from amaters.plan.outputs import OutputCircuits


class LastDigitStrict(LeafCircuits):
    """x <= c compares the least digit with < (an off-by-one)."""

    def _less(self, data, constant, *, top, least):
        return super()._less(data, constant, top=top, least=False)


class NegationForgetsNull(LeafCircuits):
    """NOT uses 1 - x instead of nn - x, so NULL rows match a negated comparison."""

    def not_null(self, column, vector=None):
        return self.graph.linear([(0, super().not_null(column, vector))], 1, INDICATOR)


class DisjunctionIsSum(FilterCircuits):
    """OR forgets the product: rows that satisfy both sides count twice."""

    def _either(self, a, b):
        nodes = [(b.factor, self.graph.switch(a.node)), (a.factor, self.graph.switch(b.node))]
        return Truth(self.graph.linear(nodes, bound=INDICATOR), a.factor * b.factor % 65537)


class FactorForgotten(FilterCircuits):
    """OR does not bring both sides to one public factor."""

    def _either(self, a, b):
        made = super()._either(Truth(a.node), Truth(b.node))
        return Truth(made.node, a.factor * b.factor % 65537)


class MaskOnOneSide(FilterCircuits):
    """Liveness is applied to the first child of an OR only: dead rows match through the others."""

    def _or(self, node, literals):
        truths = [
            self._build(child, literals if index == 0 else None)
            for index, child in enumerate(node.children)
        ]
        return self._joined(truths, self._either)


class ComplementForgotten(FilterCircuits):
    """A public side of an OR is added without excluding its rows from the encrypted side."""

    def literal(self, predicate, truth):
        index, _ = super().literal(predicate, True)
        return index, True


class NullsAreCounted(OutputCircuits):
    """COUNT(c) counts all rows."""

    def _values(self, term, column_id, known):
        return [None] if term.kind == "count" else super()._values(term, column_id, known)


class SegmentsUnlimited(OutputCircuits):
    """The slot-value bound of limbs is ignored: too many segments share an accumulator."""

    def _accumulator(self, *arguments):
        return replace(super()._accumulator(*arguments), lo=0, hi=0)


class NoiseForgotten(Prover):
    """The proof takes every result for a fresh one, so plans come out too shallow."""

    def _checked(self, node, operands, level, drops, *, origin):
        made = super()._checked(node, operands, level, drops, origin=origin)
        return made and replace(made, noise=min(made.noise, 25.0))


def counted(*aggregates: Aggregate) -> tuple[OutputItem, ...]:
    return tuple(OutputItem(f"a{i}", a) for i, a in enumerate(aggregates))


SQUARE = Arithmetic("*", ColumnRef(AMOUNT), ColumnRef(AMOUNT))
COUNT = counted(Aggregate("count_star"))
BUGS: dict[str, tuple[Parts, Predicate | None, tuple[OutputItem, ...], tuple[int, ...]]] = {
    "last digit strict": (
        Parts(leaves=LastDigitStrict), Compare("<=", SMALL, Literal(7)), ROW, ()
    ),
    "negation forgets null": (
        Parts(leaves=NegationForgetsNull), Compare("<>", MID, Literal(255)), ROW, ()
    ),
    "disjunction is a sum": (
        Parts(filter=DisjunctionIsSum),
        Or((Compare("<", SMALL, Literal(9)), Compare("=", ONE, Literal(1)))), COUNT, (),
    ),
    "factor forgotten": (
        Parts(filter=FactorForgotten),
        Or((Compare("=", MID, Literal(255)), Compare("<", SMALL, Literal(9)))), ROW, (),
    ),
    "mask on one side": (
        Parts(filter=MaskOnOneSide),
        Or((Compare("<", SMALL, Literal(3)), Compare("<", MID, Literal(999)))), ROW, (),
    ),
    "complement forgotten": (
        Parts(filter=ComplementForgotten),
        Or((Compare("<", SMALL, Literal(9)), Compare("<", PUB, Literal(4)))), COUNT, (),
    ),
    "nulls are counted": (
        Parts(outputs=NullsAreCounted),
        None, counted(Aggregate("count", ColumnRef(AMOUNT))), (GRADE,)
    ),
    "segments unlimited": (
        Parts(outputs=SegmentsUnlimited),
        Compare(">=", ONE, Literal(0)), counted(Aggregate("sum", SQUARE)), (),
    ),
    "noise forgotten": (
        Parts(prover=NoiseForgotten),
        And((Compare("=", MID, Literal(255)), Compare("<", SMALL, Literal(9)))),
        counted(Aggregate("sum", ColumnRef(AMOUNT))), (GRADE,),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def database() -> Database:
    """One row per segment, so that accumulators fill up; many NULLs and dead rows."""
    return make_database(3, rows=24, segment_rows=4)


@pytest.mark.parametrize("name", BUGS)
def test_the_check_passes_without_and_fails_with_the_bug(database: Database, name: str) -> None:
    """The honest circuit passes; the planted bug gives a wrong answer or a typed refusal."""
    parts, where, items, groups = BUGS[name]
    select = Select(database.table, where, items, groups)
    database.check(select)
    with pytest.raises((AssertionError, AmatersError)):
        database.check(select, compile_=partial(compile_plan, parts=parts))
