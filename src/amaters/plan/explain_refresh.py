"""EXPLAIN of a plan in parts (``plan.refresh``): each part's circuit, then what runs after them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from amaters.columns.schema import Column, Table
from amaters.columns.types import BOOLEAN
from amaters.fhe.parameters import Parameters
from amaters.plan.cost import Statistics
from amaters.plan.prepare import Prepared
from amaters.plan.splitting import Combination, PartRef

Document = dict[str, Any]
ADDED = (
    *("key_switches", "products", "transforms", "bytes_read", "upload_bytes", "download_bytes"),
    *("seconds", "cold_seconds", "accumulators", "packed_outputs", "constants"),
)
SHOWN_MAX = 80  # characters of a combination in the tree


def in_parts(
    prepared: Prepared, table: Table, parameters: Parameters, statistics: Statistics
) -> tuple[Document, Document, Document]:
    """(plan, estimated, refresh) of the document of a plan in parts."""
    from amaters.plan.explain import explain, operator

    refresh = prepared.refresh
    assert refresh is not None
    parts = [explain(part, table, statistics, parameters=parameters) for part in refresh.parts]
    masks = [
        _named(document["plan"]["children"][0], number)
        for number, document in enumerate(parts, start=1)
    ]
    text = f"Client refresh: masks of {len(parts)} parts, combined by this client"
    combined = combination_text(refresh.masks[0].combination)
    if len(combined) <= SHOWN_MAX:
        text += f": {combined}"
    below = operator("refresh", "ClientRefresh", text, {}, masks)
    jobs = [document["estimated"] for document in parts]
    if prepared.compiled is None:
        detail = f"Fetch matching rows of {table.name}"
        name = "Fetch"
        if prepared.kind == "aggregate":
            name, detail = "Aggregate", "Aggregate count(*), counted in the mask by this client"
        plan = operator("out", name, detail, {}, [below])
    else:
        last = explain(
            replace(prepared, refresh=None),
            _with_masks(prepared, table),
            statistics,
            parameters=parameters,
        )
        plan = {**last["plan"], "children": [*last["plan"]["children"], below]}
        jobs.append(last["estimated"])
    estimated = {key: _rounded(sum(job[key] for job in jobs)) for key in ADDED}
    estimated["levels"] = max(job["levels"] for job in jobs)
    estimated["rounds"] = 1 if prepared.compiled is None else 2
    estimated["digest"] = jobs[-1]["digest"]
    masks_up = 0 if prepared.compiled is None else len(refresh.masks)
    described: Document = {
        "reason": refresh.reason,
        "parts": len(parts),
        "combination": combined,
        "requests": len(jobs),
        "masks_down_bytes": sum(document["estimated"]["download_bytes"] for document in parts),
        "masks_up": masks_up * statistics.segments,
    }
    return plan, estimated, described


def combination_text(combination: Combination) -> str:
    """Parts by number, from 1."""
    if isinstance(combination, PartRef):
        return str(combination.number + 1)
    word = " AND " if combination.conjunction else " OR "
    return word.join(
        combination_text(child) if isinstance(child, PartRef) else f"({combination_text(child)})"
        for child in combination.children
    )


def _named(mask: Document, number: int) -> Document:
    """A part's tree under ids of its own."""
    children = [_named(child, number) for child in mask["children"]]
    detail = mask["detail"]
    if mask["operator"] == "Mask":
        detail = f"Part {number}: {detail[0].lower()}{detail[1:]}"
    return {**mask, "id": f"part {number}: {mask['id']}", "detail": detail, "children": children}


def _with_masks(prepared: Prepared, table: Table) -> Table:
    """``table`` with the refreshed masks as columns, so that what reads them can be named."""
    refresh = prepared.refresh
    assert refresh is not None
    columns = tuple(
        Column(mask.column_id, f"fresh mask {number}", BOOLEAN, nullable=True, encrypted=True)
        for number, mask in enumerate(refresh.masks, start=1)
    )
    return replace(table, columns=(*table.columns, *columns))


def _rounded(value: float) -> float:
    return round(value, 6)
