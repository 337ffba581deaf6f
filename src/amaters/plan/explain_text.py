"""The EXPLAIN document as text: a tree, a summary, and what the server learns."""

from __future__ import annotations

from amaters.plan.explain import Document
from amaters.plan.explain_keys import rotated
from amaters.plan.explain_values import values_text


def as_text(document: Document) -> str:
    """The document as a tree, one line per operator, and a summary."""
    rows: list[tuple[str, str]] = []
    _draw(document["plan"], "", "", rows)
    width = min(max(len(label) for label, _ in rows), 60)
    lines = [f"{label:<{width}}  {detail}".rstrip() for label, detail in rows]
    lines += ["", _summary(document)]
    if "refresh" in document:
        lines.append(_refresh(document["refresh"]))
    if "considered" in document:
        lines.append(f"considered   {document['considered']}")
    actual = document["actual"]
    if actual is not None:
        shown = ", ".join(f"{key} {value:,.6g}" for key, value in actual.items())
        lines.append(f"actual       {shown}")
    if document.get("executed"):
        lines.append(f"executed     {document['executed']}: EXPLAIN ANALYZE runs the statement")
    lines += _notes(document)
    for title, key in (
        ("the server learns", "server_learns"),
        ("the server does not learn", "server_does_not_learn"),
    ):
        lines.append(f"{title}:")
        lines.extend(f"  - {sentence}" for sentence in document[key])
    return "\n".join(lines)


def _notes(document: Document) -> list[str]:
    """Under what parameters, and how far to trust it."""
    parameters = document["parameters"]
    if parameters is None:
        return []
    lines = [
        f"parameters   {parameters['name']}: {parameters['slots']:,} slots, "
        f"{parameters['levels']} levels, {parameters['modulus_bits']} bits"
    ]
    if parameters["scheme"] == "noop":
        lines.append("WARNING      scheme noop: nothing is encrypted")
    lines.extend(rotated(document))
    if document["statistics"] and document["statistics"]["stale"]:
        lines.append(f"note         {_staleness(document['statistics'])}")
    return lines


def _draw(operator: Document, lead: str, below: str, rows: list[tuple[str, str]]) -> None:
    rows.append((lead + operator["detail"], _costs_text(operator["estimated"])))
    children = operator["children"]
    for used in operator.get("indexes", ()):
        note = "" if used["state"] == "ready" else f", not used: {used['state']}"
        rows.append((f"{below}  index: {used['name']} ({', '.join(used['conditions'])}){note}", ""))
    for total in operator.get("totals", ()):
        rows.append((f"{below}  total: {total['total']}", _total_text(total)))
    rows += [(f"{below}  {text}", note) for text, note in values_text(operator.get("values", ()))]
    for index, child in enumerate(children):
        last = index == len(children) - 1
        branch, rest = ("└─ ", "   ") if last else ("├─ ", "│  ")
        _draw(child, below + branch, below + rest, rows)


def _total_text(total: Document) -> str:
    if not total["ciphertexts"]:
        return f"{total.get('source', 'of public columns')}, computed by the client"
    products, size = f"products {total['products']:,}", _bytes(total["download_bytes"])
    made = f"ciphertexts {total['ciphertexts']:,}"
    return f"{products:<22} {made:<15} {f'down {size}':<16} {_seconds(total['seconds'])}"


def _costs_text(estimated: Document) -> str:
    if "segments" in estimated:
        return f"segments {estimated['segments']:,}"
    if not estimated:
        return ""
    if "ciphertexts" in estimated:
        count = f"ciphertexts {estimated['ciphertexts']:,}"
        return f"{count:<22} {_bytes(estimated['bytes']):<16} {_seconds(estimated['seconds'])}"
    levels = f"levels {estimated['level_in']} to {estimated['level_out']}"
    switches = f"key switches {estimated['key_switches']:,}"
    read = f"reads {_bytes(estimated['bytes_read'])}"
    return f"{switches:<22} {levels:<15} {read:<16} {_seconds(estimated['seconds'])}"


def _staleness(statistics: Document) -> str:
    if "age_seconds" not in statistics:
        return "sizes come from this client's cache and may be out of date"
    age = statistics["age_seconds"]
    if age is None:
        return "the server was not asked, and this client has not seen the table: no rows assumed"
    return f"the server was not asked: sizes as this client saw them {age:,.0f} s ago"


def _refresh(described: Document) -> str:
    return (
        f"refresh      {described['parts']} parts in {described['requests']} requests, "
        f"{described['masks_up']:,} fresh masks sent back: {described['reason']}"
    )


def _summary(document: Document) -> str:
    if "summary" in document:
        return str(document["summary"])
    estimated = document["estimated"]
    if "ciphertexts" in estimated:
        return (
            f"estimate     {_seconds(estimated['seconds'])} of encryption on this client, "
            f"{estimated['ciphertexts']:,} ciphertexts\n"
            f"upload       {_bytes(estimated['upload_bytes'])} and the rows themselves"
        )
    if "upload_bytes" not in estimated:
        return "no encrypted computation: rows are fetched and finished on this client"
    cold = _seconds(estimated["cold_seconds"])
    rounds = "one round" if estimated["rounds"] == 1 else f"{estimated['rounds']} rounds"
    return (
        f"estimate     {_seconds(estimated['seconds'])} on one core (+ {cold} when cold), "
        f"{estimated['key_switches']:,} key switches, {estimated['levels']} levels\n"
        f"upload       {_bytes(estimated['upload_bytes'])}   "
        f"download {_bytes(estimated['download_bytes'])}, in {rounds} whose size does not "
        "depend on data"
    )


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{count} B"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
