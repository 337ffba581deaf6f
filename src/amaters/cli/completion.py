"""What the prompt offers while a statement is typed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from amaters.cli.output import FORMATS
from amaters.columns.schema import Column, Table

KEYWORDS = tuple(
    """SELECT FROM WHERE GROUP BY HAVING ORDER LIMIT OFFSET DISTINCT COUNT SUM AVG BETWEEN IN IS
    NULL AND OR NOT LIKE AS ASC DESC INSERT INTO VALUES UPDATE SET DELETE CREATE DROP ALTER TABLE
    UNIQUE INDEX ON PRIMARY KEY COPY EXPLAIN ANALYZE ENCRYPTED WITH QUERIES MIN MAX PUBLIC TRUE
    FALSE DATE DECIMAL SMALLINT INTEGER BIGINT BOOLEAN TEXT TIMESTAMP BLOB BEGIN COMMIT ROLLBACK
    VACUUM ERASE ADD COLUMN RENAME JOIN USING CASE WHEN THEN ELSE END FILTER
    FETCH PADDED MEDIAN""".split()  # noqa: SIM905
)
POINTS = ("get", "set", "delete", "range")
_TABLE_AFTER = ("FROM", "INTO", "UPDATE", "TABLE", "JOIN", "COPY", *(p.upper() for p in POINTS))
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CHOICES: Mapping[str, Sequence[str]] = {".mode": FORMATS, ".timer": ("on", "off")}


class StatementCompleter(Completer):
    """Tables after FROM and its like, columns of the tables named, keywords; dot commands."""

    def __init__(self, commands: Iterable[str], catalogue: Callable[[], Mapping[str, Table]]):
        self._commands = sorted(commands)
        self._catalogue = catalogue
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor
        first, space, rest = text.lstrip().partition(" ")
        if text.lstrip().startswith(".") and not space:
            yield from _matching(self._commands, first)
        elif first in (".read", ".output"):
            yield from self._paths.get_completions(Document(rest), event)
        elif first in _CHOICES:
            yield from _matching(_CHOICES[first], rest.strip())
        elif first == ".schema":
            yield from _matching(self._catalogue(), rest.strip())
        else:
            yield from self._of_statement(text)

    def _of_statement(self, text: str) -> Iterator[Completion]:
        found = _WORD.search(text)
        typed = found[0] if found else ""
        before = re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text[: len(text) - len(typed)])
        catalogue = self._catalogue()
        if before and before[-1].upper() in _TABLE_AFTER:
            yield from _matching(catalogue, typed, "table")
            return
        if not typed:
            return
        words = {word.lower() for word in before}
        named = [table for name, table in catalogue.items() if name.lower() in words]
        for table in named or catalogue.values():
            for column in table.visible_columns:
                yield from _matching([column.name], typed, _kind(column))
        yield from _matching(KEYWORDS, typed)
        if not before:
            yield from _matching(POINTS, typed, "rows by key")


def _kind(column: Column) -> str:
    """A column's type and what may be asked of it."""
    if not column.encrypted:
        return column.type.sql_name
    return f"{column.type.sql_name} encrypted {','.join(sorted(column.queries))}".rstrip()


def _matching(words: Iterable[str], typed: str, meta: str = "") -> Iterator[Completion]:
    for word in words:
        if word.lower().startswith(typed.lower()):
            yield Completion(word, start_position=-len(typed), display_meta=meta)
