"""EXPLAIN for other tools: PostgreSQL's keys, and a flowchart that has every operator."""

from __future__ import annotations

import json
import re

from test_plan_explain import document, operators

from amaters.plan.explain_formats import FORMATS, as_mermaid, as_pgjson, render


def test_pgjson_is_a_postgresql_plan() -> None:
    """The keys plan viewers need, a cost that includes what is below, every operator once."""
    found = document(actual={"wall_seconds": 0.25})
    (statement,) = as_pgjson(found)
    assert statement["Execution Time"] == 250.0

    def nodes(node: dict) -> list[dict]:
        return [node, *(inner for child in node.get("Plans", ()) for inner in nodes(child))]

    every = nodes(statement["Plan"])
    assert len(every) == len(operators(found["plan"]))
    assert {"Node Type", "Startup Cost", "Total Cost", "Plan Rows", "Plan Width"} <= every[0].keys()
    for node in every:
        assert node["Total Cost"] >= sum(child["Total Cost"] for child in node.get("Plans", ()))
    seconds = sum(o["estimated"].get("seconds", 0) for o in operators(found["plan"]))
    assert abs(every[0]["Total Cost"] - 1000 * seconds) < 0.1
    assert [n["Relation Name"] for n in every if n["Node Type"] == "Scan"] == [found["table"]]


def test_mermaid_draws_every_operator_and_edge() -> None:
    """One box per operator, one arrow per child, and no character Mermaid would read as its own."""
    found = document()
    found["plan"]["detail"] = 'a "b" <c> #1'
    lines = as_mermaid(found).splitlines()
    boxes = [line for line in lines if re.fullmatch(r'  \w+\["[^"]*"\]', line)]
    arrows = [line for line in lines if re.fullmatch(r"  \w+ --> \w+", line)]
    assert lines[0] == "flowchart BT"
    assert len(boxes) == len(operators(found["plan"])) == len(arrows) + 1
    assert len(lines) == 1 + len(boxes) + len(arrows)
    assert 'n["a #34;b#34; #60;c#62; #35;1' in lines[1]


def test_every_format_is_rendered() -> None:
    """json and pgjson parse; text and mermaid are text."""
    found = document()
    shown = {form: render(found, form) for form in FORMATS}
    assert json.loads(shown["json"]) == found
    assert json.loads(shown["pgjson"])[0]["Plan"]["Node Type"] == "Aggregate"
    assert "the server learns" in shown["text"]
    assert shown["mermaid"].startswith("flowchart")
