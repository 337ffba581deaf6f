"""Which index a public condition uses: never fewer rows than match, and the best one of several."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_support import make_table

import amaters as am
from amaters.columns.batch import ColumnBatch
from amaters.columns.indexes import IndexDefinition
from amaters.plan.cost import Statistics
from amaters.plan.evaluate import matches
from amaters.plan.explain import explain
from amaters.plan.explain_text import as_text
from amaters.plan.expressions import (
    And,
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
from amaters.plan.indexes import IndexUse, Span, choose
from amaters.plan.prepare import prepare

ID, TOWN, RATE, BIG = 1, 2, 3, 4
COLUMNS = {
    "id": am.Int64(primary_key=True),
    "town": am.Text(nullable=True),
    "rate": am.Decimal(6, 2, nullable=True),
    "big": am.UInt64(),
    "pay": am.Int32(encrypt=["sum"], min=0, max=9),
}
PLAIN = make_table(COLUMNS)
BY_TOWN = IndexDefinition(1, "by_town", (TOWN,))
BY_BOTH = IndexDefinition(2, "by_both", (TOWN, RATE, ID))
BY_BIG = IndexDefinition(3, "by_big", (BIG,))
BY_ID = IndexDefinition(4, "by_id", (ID,), True)
TABLE = dataclasses.replace(PLAIN, indexes=(BY_TOWN, BY_BOTH, BY_BIG, BY_ID))
TOWNS = ["", "a", "a\0", "b", "\U0001f600", "\uffff"]
ROWS = ColumnBatch.from_any(
    PLAIN,
    [
        {
            "id": i - 40,
            "town": [*TOWNS, None][i % 7],
            "rate": None if i % 5 == 0 else Decimal(i % 9 - 4) / 4,
            "big": (1 << 64) - 1 - i if i % 2 else i,
            "pay": 1,
        }
        for i in range(200)
    ],
    None,
)

VALUES = {
    ID: st.none() | st.integers(-45, 170) | st.sampled_from([10**30, -(10**30), Decimal("3.5")]),
    TOWN: st.none() | st.sampled_from([*TOWNS, "aa", "zz"]),
    RATE: st.none() | st.sampled_from([Decimal("0.25"), Decimal("0.255"), Decimal(9), 0, -1]),
    BIG: st.none() | st.sampled_from([0, 2, -1, (1 << 64) - 2, 1 << 64, Decimal("0.5")]),
}
FIVE = (Span((5,)),)
OPERATORS = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])


@st.composite
def leaves(draw: st.DrawFn) -> Predicate:
    column = draw(st.sampled_from([ID, TOWN, RATE, BIG]))
    literal = VALUES[column].map(Literal)
    shape = draw(st.sampled_from(["compare", "compare", "between", "in", "null", "truth"]))
    if shape == "between":
        return Between(column, draw(literal), draw(literal), draw(st.booleans()))
    if shape == "in":
        listed = draw(st.lists(literal, max_size=4))
        return In(column, tuple(listed), draw(st.integers(0, 4)) == 0)
    if shape == "null":
        return IsNull(column, draw(st.booleans()))
    if shape == "truth":
        return Truth(draw(st.sampled_from([True, False, None])))
    return Compare(draw(OPERATORS), column, draw(literal))


def branches(children: st.SearchStrategy[Predicate]) -> st.SearchStrategy[Predicate]:
    several = st.lists(children, min_size=1, max_size=4).map(tuple)
    return several.map(And) | several.map(Or) | children.map(Not)


PREDICATES = st.recursive(leaves(), branches, max_leaves=8)


def covered(use: IndexUse) -> np.ndarray:
    """Rows in the ranges of a use, one by one."""
    found = np.zeros(ROWS.length, dtype=bool)
    for row in range(ROWS.length):
        values = []
        for column in use.index.columns:
            data = ROWS.columns[column]
            values.append(data.values.tolist()[row] if data.valid[row] else None)
        found[row] = any(holds(span, values) for span in use.spans)
    return found


def holds(span: Span, values: list) -> bool:
    if values[: len(span.prefix)] != list(span.prefix):
        return False
    if span.low is None and span.high is None:
        return True
    value = values[len(span.prefix)]
    if value is None:
        return False
    low, high = span.low, span.high
    above = low is None or value > low[0] or (low[1] and value == low[0])
    return above and (high is None or value < high[0] or (high[1] and value == high[0]))


@settings(max_examples=250, deadline=None)
@given(PREDICATES, st.sets(st.integers(1, 4)))
def test_ranges_hold_every_row_that_matches(condition: Predicate, ready: set[int]) -> None:
    """Whatever the condition, its constants and the indexes that are ready; exact ranges hold no
    others.
    """
    uses = choose(condition, TABLE, ready)
    if uses is None:
        return
    assert {use.index.number for use in uses} <= ready
    found = np.logical_or.reduce([covered(use) for use in uses])
    wanted = matches(condition, ROWS, TABLE)
    assert not (wanted & ~found).any()
    if all(use.exact for use in uses):
        assert (wanted == found).all()


def one(condition: Predicate) -> IndexUse:
    uses = choose(condition, TABLE)
    assert uses is not None
    assert len(uses) == 1
    return uses[0]


def equal(column: int, value: object) -> Compare:
    return Compare("=", column, Literal(value))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("condition", "index", "spans"),
    [
        (equal(TOWN, "a"), "by_town", (Span(("a",)),)),
        (And((equal(TOWN, "a"), equal(RATE, 1))), "by_both", (Span(("a", 100)),)),
        (
            And((equal(TOWN, "a"), Compare("<", RATE, Literal(Decimal("0.255"))))),
            "by_both",
            (Span(("a",), None, (25, True)),),
        ),
        (And((equal(TOWN, "a"), equal(ID, 3))), "by_id", (Span((3,)),)),
        (In(ID, (Literal(5), Literal(None), Literal(2))), "by_id", (Span((2,)), Span((5,)))),
        (
            And((In(ID, (Literal(5), Literal(2))), Compare(">", ID, Literal(2)))),
            "by_id",
            (Span((5,)),),
        ),
        (equal(ID, Decimal("1.5")), "by_id", ()),
        (Compare(">", BIG, Literal(1 << 64)), "by_big", ()),
        (Compare(">=", TOWN, Literal("b")), "by_town", (Span((), ("b", True)),)),
    ],
)
def test_the_best_index_and_its_ranges(
    condition: Predicate, index: str, spans: tuple[Span, ...]
) -> None:
    """Most columns win, then uniqueness; constants become storage values within the domain."""
    use = one(condition)
    assert use.index.name == index
    assert use.spans == spans


@pytest.mark.parametrize(
    ("condition", "exact"),
    [
        (equal(TOWN, "a"), True),
        (And((equal(TOWN, "a"), Compare("<", RATE, Literal(1)), equal(TOWN, "b"))), True),
        (And((equal(TOWN, "a"), Compare("<>", RATE, Literal(1)))), False),
        (And((equal(TOWN, "a"), equal(BIG, 1))), False),
        (And((equal(TOWN, "a"), IsNull(RATE, True))), False),
        (And((equal(TOWN, "a"), Or((equal(ID, 1), equal(BIG, 1))))), False),
        (And((Or((equal(ID, 1), equal(BIG, 1))), IsNull(RATE))), False),
        (Or((equal(ID, 1), And((equal(TOWN, "a"), equal(RATE, 1))))), True),
    ],
)
def test_what_is_left_to_evaluate(condition: Predicate, exact: bool) -> None:
    """Ranges are exact when every condition is about a column they use, and a range can say it."""
    uses = choose(condition, TABLE)
    assert uses is not None
    assert all(use.exact for use in uses) == exact


@pytest.mark.parametrize(
    "condition",
    [
        None,
        Compare("<>", TOWN, Literal("a")),
        IsNull(TOWN),
        equal(RATE, 1),
        Or((equal(TOWN, "a"), equal(RATE, 1))),
        Not(equal(TOWN, "a")),
        In(TOWN, (Literal("a"),), negated=True),
    ],
)
def test_what_no_index_answers(condition: Predicate | None) -> None:
    """No range says it, or its column is no index's first."""
    assert choose(condition, TABLE) is None
    assert choose(equal(TOWN, "a"), TABLE, ()) is None


def test_explain_names_the_index() -> None:
    """In text and document, with the columns it is asked by; one that is being built is named as
    not used.
    """
    where = And((equal(TOWN, "a"), Compare(">", RATE, Literal(0))))
    select = Select(TABLE, where, (OutputItem("id", ColumnRef(ID)),))
    known = Statistics(segments=3, rows=2500, ready_indexes=(1, 2, 3, 4))
    document = explain(prepare(select, TABLE, known), TABLE, known)
    scan = document["plan"]["children"][0]["children"][0]
    assert scan["operator"] == "IndexScan"
    conditions = ["town = ...", "rate >= ..."]
    assert scan["indexes"] == [{"name": "by_both", "conditions": conditions, "state": "ready"}]
    assert "index: by_both (town = ..., rate >= ...)\n" in as_text(document)
    building = dataclasses.replace(known, ready_indexes=())
    text = as_text(explain(prepare(select, TABLE, building), TABLE, building))
    assert "index: by_both (town = ..., rate >= ...), not used: building" in text
    assert "Index scan" not in text
    assert "a" not in [word for line in text.splitlines() for word in line.split("'")]
