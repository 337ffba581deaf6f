"""Writes docs/reference/conformance.md: forms of SQL, each tried, with what came of it.

``--check`` only compares. The list is of what users of PostgreSQL and DuckDB try first; nothing is
said of a form that was not run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import amaters as am
from amaters.base.errors import AmatersError

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "conformance.md"

FORMS = Path(__file__).with_suffix(".sql")
TABLES = "tables"


def sections() -> dict[str, list[str]]:
    """The statements of ``conformance.sql`` by title; the first section makes the tables."""
    found: dict[str, list[str]] = {}
    for part in FORMS.read_text().split("\n\n")[1:]:
        title, *statements = part.strip().splitlines()
        found[title.removeprefix("-- ")] = statements
    return found


@dataclass(frozen=True)
class Tried:
    """A form and what came of it; ``code`` is empty when it was accepted."""

    sql: str
    code: str = ""
    what: str = ""


def tried(forms: list[str], database: am.Database) -> Iterator[Tried]:
    """Each form, run in turn on one database."""
    for sql in forms:
        try:
            database.sql(sql)
        except AmatersError as error:
            message = str(error).split("] ", 1)[-1].split("\n")[0]
            yield Tried(sql, error.code, f"{message}; *{error.fix}*")
        else:
            yield Tried(sql)


def page() -> str:
    """The whole page."""
    lines = [
        "# SQL: what is answered and what is refused",
        "",
        "Made by `make docs`: every line was run. A refusal is typed, comes before anything is",
        "sent, and says what to do instead. The tables are those at the end.",
    ]
    options = {"unsafe_scheme": "noop", "unsafe_parameters": "insecure_n1024"}
    with am.connect(":memory:", threads=1, progress=lambda _: None, **options) as database:
        all_forms = sections()
        tables = all_forms.pop(TABLES)
        for statement in tables:
            database.sql(statement)
        for title, forms in all_forms.items():
            lines += ["", f"## {title}", "", "| statement | |", "|---|---|"]
            for item in tried(forms, database):
                said = "yes" if not item.code else f"{item.code}: {item.what}"
                lines.append(f"| `{_cell(item.sql)}` | {_cell(said)} |")
    lines += ["", "## The tables", "", "```sql", *tables, "```", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> int:
    """Exit status 1 when ``--check`` finds the page is not up to date."""
    text = page()
    if PAGE.exists() and PAGE.read_text() == text:
        return 0
    if "--check" in sys.argv:
        print("docs/reference/conformance.md is not up to date; run make docs", file=sys.stderr)
        return 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
