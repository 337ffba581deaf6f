"""EXPLAIN: figures that add up, leakage lists, readable text and a stable document."""

from __future__ import annotations

import json

import pytest
from plan_support import make_table
from test_plan_circuits import AMOUNT, COLUMNS, GRADE, MID, PUB, RATE, SMALL

from amaters.fhe.parameters import INSECURE_N1024
from amaters.plan.cost import Statistics, estimate
from amaters.plan.explain import explain
from amaters.plan.explain_text import as_text
from amaters.plan.expressions import (
    Aggregate,
    And,
    Arithmetic,
    ColumnRef,
    Compare,
    In,
    Literal,
    Or,
    OutputItem,
    Predicate,
    Select,
)
from amaters.plan.prepare import prepare

TABLE = make_table(COLUMNS)
STATISTICS = Statistics(segments=3, rows=2500, tail_rows=40)
WHERE = And(
    (
        Compare("=", PUB, Literal(17)),
        Or((Compare("=", MID, Literal(4242)), Compare("<", SMALL, Literal(9)))),
        In(GRADE, (Literal("A"), Literal("B"))),
    )
)
TOTAL = (
    OutputItem("s", Aggregate("sum", Arithmetic("*", ColumnRef(AMOUNT), ColumnRef(RATE)))),
    OutputItem("n", Aggregate("count_star")),
)


def document(where: Predicate | None = WHERE, items=TOTAL, groups=(GRADE,), **more) -> dict:
    prepared = prepare(Select(TABLE, where, items, groups), TABLE, STATISTICS)
    return explain(prepared, TABLE, STATISTICS, **more)


def operators(operator: dict) -> list[dict]:
    return [operator, *(found for child in operator["children"] for found in operators(child))]


def test_operators_add_up_to_the_totals() -> None:
    """Key switches and bytes of the tree are those of the compiled circuit; ids are paths."""
    found = document()
    tree = operators(found["plan"])
    assert (
        sum(o["estimated"].get("key_switches", 0) for o in tree)
        == found["estimated"]["key_switches"]
    )
    total = sum(o["estimated"].get("bytes_read", 0) for o in tree)
    assert total == found["estimated"]["bytes_read"] > 0
    assert [o["id"] for o in tree] == ["out", "0", "0.0", "0.0.0", "0.0.1", "0.1", "public", "scan"]
    assert [o["operator"] for o in tree] == [
        "Aggregate", "And", "Or", "Equal", "Range", "Member", "PublicFilter", "Scan",
    ]  # fmt: skip


def test_document_is_json_and_complete() -> None:
    """Documented keys exist, everything survives JSON, actuals are carried."""
    found = document(actual={"seconds": 0.25, "key_switches": 99})
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {
        "version", "kind", "table", "plan", "parameters", "statistics", "estimated", "actual",
        "server_learns", "server_does_not_learn",
    }  # fmt: skip
    assert found["version"] == 1 and found["actual"]["key_switches"] == 99
    assert found["estimated"]["levels"] >= found["plan"]["estimated"]["level_out"]


def test_constants_of_encrypted_columns_appear_nowhere() -> None:
    """Neither text nor document contains a secret constant; public ones are named as learned."""
    found = document()
    assert "4242" not in json.dumps(found) and "4242" not in as_text(found)
    learned = "\n".join(found["server_learns"])
    assert "conditions on the public columns pub" in learned
    hidden = "\n".join(found["server_does_not_learn"])
    assert "the constants compared with mid, small, grade" in hidden
    assert "which rows match" in hidden and "the result" in hidden


def test_leakage_of_rows_public_constants_and_lists() -> None:
    """Row selection tells which rows matched; PUBLIC and IN lengths are listed."""
    row = (OutputItem("x", Literal(1)),)
    selection = document(Compare("<", MID, Literal(5, True)), row, ())
    learned = "\n".join(selection["server_learns"])
    assert (
        "and so which matched" in learned
        and "constants compared with mid, marked PUBLIC" in learned
    )
    assert "which rows match" not in "\n".join(selection["server_does_not_learn"])
    listed = document(In(MID, tuple(Literal(v) for v in (1, 2, 3))), TOTAL, ())
    assert "the length of the IN list for mid (3)" in listed["server_learns"]
    public = document(Compare("<", PUB, Literal(5)), row, ())
    assert public["kind"] == "public" and "key switches" not in as_text(public)


def test_text_is_a_tree_with_a_summary() -> None:
    """One line per operator in order, then estimate, traffic, parameters and the two lists."""
    text = as_text(document(stale=True))
    lines = text.splitlines()
    assert lines[0].startswith("Aggregate sum(amount * rate), count(*) by grade")
    assert "total: sum(amount * rate)" in text
    lines = [line for line in lines if " total: " not in line]
    assert lines[1].startswith("└─ And")
    assert any(line.lstrip("│ ").startswith("├─ mid = ?") for line in lines)
    assert "upload" in text and "download" in text and "may be out of date" in text
    assert "WARNING      scheme noop" in text
    assert text.index("the server learns:") < text.index("the server does not learn:")


@pytest.mark.parametrize("segments", [0, 1, 40])
def test_costs_grow_with_segments(segments: int) -> None:
    """Work is per segment; constants are uploaded once."""
    prepared = prepare(Select(TABLE, WHERE, TOTAL), TABLE, STATISTICS)
    one = estimate(prepared.compiled, TABLE.public(), INSECURE_N1024, Statistics(1))
    many = estimate(prepared.compiled, TABLE.public(), INSECURE_N1024, Statistics(segments))
    assert many.key_switches == segments * one.key_switches
    assert many.bytes_read == segments * one.bytes_read
    assert many.upload_bytes == one.upload_bytes
    assert (many.seconds > 0) == (segments > 0)
