"""What EXPLAIN says of masked values: per column its parts, ciphertexts and bytes, in one round."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from amaters.columns.schema import Table
from amaters.fhe.parameters import Parameters
from amaters.plan.circuit import CompiledPlan
from amaters.plan.cost import Statistics, download_bytes
from amaters.plan.prepare import Prepared


def values_of(
    plan: CompiledPlan, table: Table, parameters: Parameters, statistics: Statistics
) -> list[dict[str, Any]]:
    """The mask (if values come with it) and each column of ``spec.values``, as they travel."""
    if not plan.spec.values and not plan.spec.selection:
        return []
    found = []
    for column_id in (0, *plan.spec.values):
        parts = tuple(output for output in plan.packed if output.column_id == column_id)
        own = replace(plan, accumulators=(), packed=parts)
        count = sum(-(-statistics.segments // output.segments) for output in parts)
        found.append(
            {
                "column": table.column(column_id).name if column_id else "",
                "parts": [output.radix for output in parts],
                "ciphertexts": count,
                "download_bytes": download_bytes(own, parameters, statistics.segments),
            }
        )
    return found


def derived(prepared: Prepared, table: Table) -> list[dict[str, Any]]:
    """Totals of rows whose values are returned anyway: the engine makes none of them."""
    made = prepared.spec.terms if prepared.spec is not None else ()
    found = []
    for term in (term for term in prepared.terms if term not in made):
        product = " * ".join(table.column(column).name for column in term.columns) or "*"
        nothing = {"ciphertexts": 0, "products": 0, "download_bytes": 0, "seconds": 0.0}
        found.append({"total": f"{term.kind}({product})", **nothing, "source": "from the values"})
    return found


def values_text(values: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """A line per column: what is returned for every row alike, and how many ciphertexts that is."""
    lines = []
    for value in values:
        name = value["column"]
        label = f"values: {name} in {len(value['parts'])} parts" if name else "mask of the rows"
        lines.append((label, f"{value['ciphertexts']} ciphertexts"))
    return lines
