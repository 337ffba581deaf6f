"""EXPLAIN of a SELECT with subqueries: the documents of all of them as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaters.fhe.parameters import Parameters
from amaters.plan.expressions import Select

Document = dict[str, Any]
_ADDED = (
    "key_switches", "products", "transforms", "bytes_read", "upload_bytes", "download_bytes",
    "seconds", "cold_seconds", "rounds",
)  # fmt: skip


def explain_staged(stages: Sequence[tuple[str, Document]]) -> Document:
    """``stages``: what each answer is called and how it is found, in order; the last is the
    statement's own.
    """
    documents = [document for _, document in stages]
    last = documents[-1]
    children = []
    for index, (name, document) in enumerate(stages):
        title = "Finally" if index == len(stages) - 1 else f"First {name}"
        children.append(_operator(f"stage {index + 1}", title, [document["plan"]]))
    estimated = dict(last["estimated"])
    for key in _ADDED:
        found = [d["estimated"][key] for d in documents if key in d["estimated"]]
        if found:
            estimated[key] = sum(found)
    estimated["levels"] = max(d["estimated"]["levels"] for d in documents)
    learns = dict.fromkeys(s for d in documents for s in d["server_learns"])
    hidden = dict.fromkeys(s for d in documents for s in d["server_does_not_learn"])
    return {
        **last,
        "kind": "staged",
        "plan": _operator("out", "Statements one after the other", children),
        "estimated": estimated,
        "server_learns": list(learns),
        "server_does_not_learn": ["the answers of subqueries", *hidden],
    }


def explain_local(select: Select, parameters: Parameters) -> Document:
    """The document of a SELECT over an answer that is here."""
    detail = f"Finish on this client, from the answer of {select.table.name}"
    plan = {"id": "out", "operator": "Local", "detail": detail, "estimated": {}, "children": []}
    return {
        "version": 1,
        "kind": "client",
        "table": select.table.name,
        "plan": plan,
        "parameters": {
            "name": parameters.name,
            "scheme": select.table.scheme,
            "slots": parameters.slots,
            "levels": parameters.max_level,
            "modulus_bits": round(parameters.modulus_bits, 1),
        },
        "statistics": {
            "segments": 0,
            "rows": 0,
            "tail_rows": 0,
            "slots_per_segment": parameters.slots,
            "stale": False,
        },
        "estimated": {"key_switches": 0, "levels": 0, "seconds": 0.0},
        "actual": None,
        "server_learns": [],
        "server_does_not_learn": ["the result"],
    }


def _operator(path: str, detail: str, children: list[Document]) -> Document:
    return {
        "id": path,
        "operator": "Stage",
        "detail": detail,
        "estimated": {},
        "children": children,
    }
