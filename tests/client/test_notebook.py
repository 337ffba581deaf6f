"""What a notebook shows: results, plans and progress; all of it escaped."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

import amaters as am
from amaters.base.progress import Progress
from amaters.client.planview import Plan
from amaters.client.sync import Database
from amaters.client.terminal import NotebookProgress, notebook_display

EVIL = "<script>alert('x')</script>&amp;"
VOID = ("br",)


class Checked(HTMLParser):
    """Collects text, and fails on tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def db() -> Iterator[Database]:
    with am.connect(":memory:", unsafe_scheme="noop") as opened:
        table = opened.create_table(
            "t",
            {
                "id": am.Int64(primary_key=True),
                EVIL: am.Text(nullable=True),
                "age": am.UInt8(encrypt=["range"]),
            },
        )
        table.insert([(n, EVIL if n else None, n) for n in range(100)])
        yield opened


def test_a_result(db: Database) -> None:
    """Some rows, how many there are, where they were decrypted, what was learned."""
    page = Checked(db.table("t").range().collect()._repr_html_())
    assert page.texts.count(EVIL) == 1 + 39 and "NULL" in page.texts
    assert any("100 rows, 40 shown, decrypted here" in text for text in page.texts)
    assert "the server learned" in page.texts
    assert "script" not in page.tags
    empty = Checked(db.table("t").filter(am.col("id") < 0).collect()._repr_html_())
    assert "0 rows, decrypted here" in empty.texts
    assert Checked(db.sql("DELETE FROM t WHERE id = 1")._repr_html_()).texts == ["deleted 1 rows"]


def test_a_plan(db: Database) -> None:
    """Text to Python, a tree to a notebook."""
    plan = db.table("t").filter((am.col("age") > 4) & (am.col(EVIL) == "x")).explain()
    assert isinstance(plan, Plan) and plan.startswith("Fetch")
    page = Checked(plan._repr_html_())
    assert "age > ?" in page.texts and "the server does not learn" in page.texts
    assert "script" not in page.tags
    assert plan in page.texts
    assert db.explain("DROP TABLE t").document["kind"] == "drop_table"


class Handle:
    def __init__(self, shown: list[str]) -> None:
        self.shown = shown

    def update(self, data: dict[str, str], raw: bool) -> None:
        self.shown.append(data["text/plain"])


class HeldClock:
    seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def cpu(self) -> float:
        return self.seconds


def test_progress_in_a_notebook() -> None:
    """One line below the cell after two seconds, in place; gone at the end."""
    shown: list[str] = []

    def display(data: dict[str, str], raw: bool, display_id: bool) -> Handle:
        shown.append(data["text/plain"])
        return Handle(shown)

    clock = HeldClock()
    show = NotebookProgress(display, clock)
    show(Progress("computing", 0, 100, "key switches"))
    clock.seconds = 1.0
    show(Progress("computing", 10, 100, "key switches"))
    assert shown == []
    clock.seconds = 4.0
    show(Progress("computing", 50, 100, "key switches"))
    clock.seconds = 5.0
    show(Progress("computing", 60, 100, "key switches"))
    show(Progress("computing", 100, 100, "key switches"))
    assert [text[:24] for text in shown] == [
        "computing: 50 of 100 key",
        "computing: 60 of 100 key",
        "",
    ]


def test_a_notebook_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel, not a program that merely loaded IPython."""
    assert notebook_display() is None
    shell: Any = types.SimpleNamespace()
    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    inner: Any = types.ModuleType("IPython.display")
    inner.display = "the display"
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", inner)
    assert notebook_display() is None
    shell.kernel = object()
    assert notebook_display() == "the display"
