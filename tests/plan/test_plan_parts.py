"""Plans over merged segments: proven for more noise, another circuit, and still possible."""

from __future__ import annotations

import dataclasses

import pytest

import amaters as am
from amaters.base.errors import AmatersError
from amaters.columns.declare import build_table
from amaters.columns.schema import Table
from amaters.fhe.meta import REKEYS_MAX
from amaters.fhe.parameters import get_parameters
from amaters.plan.cost import Statistics
from amaters.plan.expressions import Select
from amaters.plan.prepare import Prepared, prepare
from amaters.plan.spec import PARTS, PlanSpec, parts_for
from amaters.sql.binder import bind
from amaters.sql.parser import parse_one

DEFAULT = get_parameters("bgv_n16384_q427_t65537")
DEEPEST = "SELECT k FROM t WHERE " + " OR ".join(f"{'ab'[i % 2]} = {i}" for i in range(16))
QUESTIONS = [
    DEEPEST,
    "SELECT count(*) FROM t WHERE a > 5",
    "SELECT sum(a * b) FROM t WHERE a > 5",
    "SELECT g, sum(b) FROM t WHERE a > 5 GROUP BY g",
]


def table() -> Table:
    wide = {"encrypt": ["eq", "range", "sum"], "min": -(2**31), "max": 2**31 - 1}
    columns = {
        "k": am.Int64(primary_key=True),
        "a": am.Int32(**wide),
        "b": am.Int32(**wide),
        "g": am.Enum(["A", "B"], encrypt=["group"]),
    }
    return build_table("t", columns, parameter_set=DEFAULT.name, scheme="bgv", key_id=b"i" * 16)


def planned(text: str, parts: int, rekeys: int = 0) -> Prepared:
    found = table()
    select = bind(parse_one(text), {"t": found}, None, new=None)
    assert isinstance(select, Select)
    return prepare(select, found, Statistics(parts=parts, rekeys=rekeys), DEFAULT)


@pytest.mark.parametrize("text", QUESTIONS)
def test_what_fits_fresh_segments_fits_merged_ones(text: str) -> None:
    """Eight encryptions are what leases lead to; the deepest filter that fits is among these."""
    fresh, merged = planned(text, 1).compiled, planned(text, 8).compiled
    assert fresh is not None and merged is not None
    assert fresh.digest != merged.digest
    bounds = {step.index: step.meta.noise for step in merged.steps if step.node.op == "input"}
    for step in fresh.steps:
        if step.index in bounds and step.node.op == "input":
            assert bounds[step.index] == pytest.approx(step.meta.noise + 1.5, abs=0.01)


def test_constants_stay_fresh() -> None:
    """Only what is stored may be merged: constants are sent for each statement."""
    compiled = planned(QUESTIONS[1], 8).compiled
    assert compiled is not None
    constants = {s.meta.noise for s in compiled.steps if s.node.op == "constant"}
    inputs = {s.meta.noise for s in compiled.steps if s.node.op == "input"}
    assert max(constants) < min(inputs)


def test_a_plan_says_for_how_many_parts_it_was_proven() -> None:
    """Rounded up to few values; anything else does not decode."""
    assert [parts_for(n) for n in (0, 1, 2, 8, 9, 64)] == [1, 1, 8, 8, 64, 64]
    spec = planned(QUESTIONS[1], 5).spec
    assert spec is not None and spec.parts == 8
    assert PlanSpec.from_bytes(spec.to_bytes()) == spec
    odd = dataclasses.replace(spec, parts=PARTS[1] + 1)
    with pytest.raises(AmatersError, match="AM-2101"):
        PlanSpec.from_bytes(odd.to_bytes())


def test_the_deepest_filter_does_not_fit_rotated_segments() -> None:
    """Refused before anything is sent: what is stored then has more noise."""
    assert planned(DEEPEST, 1).compiled is not None
    with pytest.raises(AmatersError, match="AM-1126") as caught:
        planned(DEEPEST, 1, rekeys=1)
    assert "--fresh" in caught.value.fix


@pytest.mark.parametrize("text", QUESTIONS[1:])
def test_what_fits_fresh_segments_fits_rotated_ones(text: str) -> None:
    """A change of key adds noise to what is stored, which is proven, at most one level more is
    used; constants stay fresh. The plan says for how many changes it was proven, and its circuit
    differs.
    """
    fresh, moved = planned(text, 1).compiled, planned(text, 1, rekeys=1).compiled
    assert fresh is not None and moved is not None
    assert fresh.digest != moved.digest
    assert fresh.level <= moved.level <= fresh.level + 1
    stored = {s.meta.noise for s in moved.steps if s.node.op == "input"}
    assert stored and min(stored) > 34 > max(
        s.meta.noise for s in fresh.steps if s.node.op == "input"
    )
    sent = {s.meta.noise for s in moved.steps if s.node.op == "constant"}
    assert not sent or max(sent) < 30
    spec = planned(text, 1, rekeys=1).spec
    assert spec is not None and PlanSpec.from_bytes(spec.to_bytes()) == spec
    with pytest.raises(AmatersError, match="AM-2101"):
        PlanSpec.from_bytes(dataclasses.replace(spec, rekeys=REKEYS_MAX + 1).to_bytes())
