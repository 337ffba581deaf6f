"""Results and plans as HTML, for notebooks. Every text is escaped: data is not markup."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amaters.client.result import Result

_NUMBER = ' style="text-align:right"'
_NOTE = ' style="font-size:smaller;opacity:.7"'


def result_html(result: Result) -> str:
    """A table of the first rows, or the message of a statement without rows."""
    from amaters.client.result import LEFT, ROWS_SHOWN, text_of

    if not result.names:
        return f"<p>{escape(result.message)}</p>"
    sides = ["" if kind in LEFT else _NUMBER for kind in result.types]
    head = "".join(
        f'<th title="{escape(kind)}">{escape(name)}</th>'
        for name, kind in zip(result.names, result.types, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(_cell(text_of(v), v is None, s) for v, s in zip(row, sides, strict=True))
        + "</tr>"
        for row in islice(result, ROWS_SHOWN)
    )  # fmt: skip
    count = f"{len(result):,} row{'' if len(result) == 1 else 's'}"
    if len(result) > ROWS_SHOWN:
        count += f", {ROWS_SHOWN} shown"
    note = f"{count}, decrypted here"
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p{_NOTE}>{note}</p>{_learned(result.learned)}"
    )


def _cell(text: str, is_null: bool, side: str) -> str:
    shown = f"<i>{escape(text)}</i>" if is_null else escape(text)
    return f"<td{side}>{shown}</td>"


def _learned(sentences: tuple[str, ...]) -> str:
    if not sentences:
        return ""
    return _details("the server learned", sentences)


def plan_html(document: dict[str, Any], text: str) -> str:
    """The operators as a nested list that opens and closes, then both lists of what is learned."""
    lists = _details("the server learns", document["server_learns"], opened=True)
    lists += _details("the server does not learn", document["server_does_not_learn"], opened=True)
    tree = "".join(_operator(document["plan"]))
    whole = f"<details><summary>as text</summary><pre>{escape(text)}</pre></details>"
    return f"<ul>{tree}</ul>{lists}{whole}"


def _operator(operator: dict[str, Any]) -> Iterator[str]:
    estimated = operator["estimated"]
    costs = [
        f"{value:,} {name.replace('_', ' ')}"
        for name, value in estimated.items()
        if name in ("key_switches", "segments", "ciphertexts") and value
    ]
    if estimated.get("seconds"):
        costs.append(f"{1000 * estimated['seconds']:,.1f} ms")
    note = f" <span{_NOTE}>{escape(', '.join(costs))}</span>" if costs else ""
    yield f"<li>{escape(str(operator['detail']))}{note}"
    if operator["children"]:
        yield "<ul>"
        for child in operator["children"]:
            yield from _operator(child)
        yield "</ul>"
    yield "</li>"


def _details(title: str, sentences: Any, *, opened: bool = False) -> str:
    items = "".join(f"<li>{escape(str(sentence))}</li>" for sentence in sentences)
    return (
        f"<details{' open' if opened else ''}><summary>{escape(title)}</summary>"
        f"<ul>{items}</ul></details>"
    )
