"""The EXPLAIN document in the forms other tools read.

``pgjson`` has the keys of PostgreSQL's ``EXPLAIN (FORMAT JSON)``, so that its plan viewers draw it;
``mermaid`` is a flowchart for a page of Markdown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from amaters.plan.explain import Document
from amaters.plan.explain_text import as_text

FORMATS = ("text", "json", "pgjson", "mermaid")
_OURS = {
    "key_switches": "Key Switches",
    "level_in": "Level In",
    "level_out": "Level Out",
    "bytes_read": "Bytes Read",
    "segments": "Segments",
}


def render(document: Document, form: str) -> str:
    """``document`` in one of ``FORMATS``."""
    if form == "json":
        return json.dumps(document, indent=2)
    if form == "pgjson":
        return json.dumps(as_pgjson(document), indent=2)
    return as_mermaid(document) if form == "mermaid" else as_text(document)


def as_pgjson(document: Document) -> list[Document]:
    """A list of one statement. Costs are milliseconds of one core and include those below, as a
    viewer expects; what PostgreSQL has no key for stands under names of its own.
    """
    statement: Document = {"Plan": _pg_node(document["plan"], document)}
    actual = document["actual"]
    if actual is not None:
        statement["Execution Time"] = actual.get("wall_seconds", 0.0) * 1000
        statement["Actual"] = actual
    statement["Parameters"] = document["parameters"]
    statement["Server Learns"] = document["server_learns"]
    statement["Server Does Not Learn"] = document["server_does_not_learn"]
    return [statement]


def _pg_node(operator: Document, document: Document) -> Document:
    children = [_pg_node(child, document) for child in operator["children"]]
    estimated = operator["estimated"]
    own = 1000 * estimated.get("seconds", 0.0)
    statistics = document["statistics"] or {"rows": 0, "tail_rows": 0}
    node: Document = {
        "Node Type": operator["operator"],
        "Startup Cost": 0.0,
        "Total Cost": round(own + sum(child["Total Cost"] for child in children), 3),
        "Plan Rows": statistics["rows"] + statistics["tail_rows"],
        "Plan Width": 0,
    }
    if operator["operator"] in ("Scan", "Fetch"):
        node["Relation Name"] = document["table"]
    else:
        node["Filter"] = operator["detail"]
    node |= {name: estimated[key] for key, name in _OURS.items() if key in estimated}
    if children:
        node["Plans"] = children
    return node


def as_mermaid(document: Document) -> str:
    """A flowchart from the scan at the bottom to the answer at the top."""
    lines = ["flowchart BT", *_mermaid(document["plan"], "n")]
    return "\n".join(lines)


def _mermaid(operator: Document, name: str) -> Iterator[str]:
    yield f'  {name}["{_label(operator)}"]'
    for index, child in enumerate(operator["children"]):
        below = f"{name}_{index}"
        yield from _mermaid(child, below)
        yield f"  {below} --> {name}"


def _label(operator: Document) -> str:
    estimated = operator["estimated"]
    label = str(operator["detail"])
    if "key_switches" in estimated:
        label += (
            f"\n{estimated['key_switches']:,} key switches, {1000 * estimated['seconds']:.1f} ms"
        )
    elif "segments" in estimated:
        label += f"\n{estimated['segments']:,} segments"
    # Mermaid takes entity codes between quotes, and would read brackets or quotes as its own.
    for character in '#"<>&':
        label = label.replace(character, f"#{ord(character)};" if character != "#" else "#35;")
    return label.replace("\n", "<br/>")
