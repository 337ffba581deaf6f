"""The prompt of ``amaters sql``: several lines, history, completion, dot commands.

The history on disk never holds a constant: every literal is written as ``?``, because it may be the
value of an encrypted column.
"""

from __future__ import annotations

import os
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import TokenType

from amaters.base import errors, settings
from amaters.cli.context import say
from amaters.cli.sql import run_text
from amaters.client.sync import Database
from amaters.sql.dialect import AmateRS

HELP = """statements end with ;
.tables            all tables
.schema TABLE      a table's columns
.explain SELECT    how a SELECT would run and what the engine would learn
.quit              leave (also Ctrl-D); Ctrl-C stops a running statement"""
KEYWORDS = tuple(
    """SELECT FROM WHERE GROUP BY ORDER LIMIT COUNT SUM AVG BETWEEN IN IS NULL AND OR NOT INSERT
    INTO VALUES CREATE DROP TABLE COPY EXPLAIN ANALYZE ENCRYPTED WITH QUERIES PUBLIC""".split()  # noqa: SIM905
)
LITERALS = (TokenType.NUMBER, TokenType.STRING)


class Repl:
    """Reads, runs and prints statements until the end of input."""

    def __init__(self, db: Database, output: str) -> None:
        self._db = db
        self._output = output
        path = settings.data_home(os.environ) / "amaters" / "history"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        words = [*KEYWORDS, *db.tables(), *self._columns()]
        self._prompt: PromptSession[str] = PromptSession(
            history=_CleanHistory(path), completer=WordCompleter(words, ignore_case=True)
        )

    def _columns(self) -> set[str]:
        tables = (self._db.table(name).schema() for name in self._db.tables())
        return {column.name for table in tables for column in table.columns}

    def run(self) -> None:
        """The loop. Errors of one statement do not end it."""
        say("AmateRS; .help for help")
        while True:
            try:
                text = self._read()
                if text in (".quit", ".exit"):
                    return
                self._run(text)
            except KeyboardInterrupt:
                say("cancelled")
            except EOFError:
                return
            except errors.AmatersError as error:
                say(str(error))

    def _read(self) -> str:
        """One dot command, or lines up to a semicolon."""
        text: str = self._prompt.prompt("amaters> ").strip()
        while text and not text.startswith(".") and not text.endswith(";"):
            text += "\n" + self._prompt.prompt("    ...> ").rstrip()
        return text

    def _run(self, text: str) -> None:
        command, _, rest = text.partition(" ")
        if command == ".help":
            print(HELP)
        elif command == ".tables":
            print("\n".join(self._db.tables()))
        elif command == ".schema":
            for column in self._db.table(rest.strip(" ;")).schema().columns:
                kind = "encrypted " + ",".join(sorted(column.queries)) if column.encrypted else ""
                print(f"{column.name}  {column.type.sql_name}  {kind}".rstrip())
        elif command == ".explain":
            print(self._db.explain(rest))
        elif command.startswith("."):
            say(f"there is no command {command}; .help lists them")
        elif text:
            run_text(self._db, text, self._output)


class _CleanHistory(FileHistory):
    """A history file without literals."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        super().__init__(str(path))

    def store_string(self, string: str) -> None:
        super().store_string(without_literals(string))


def without_literals(text: str) -> str:
    """``text`` with every number and string replaced by ``?``; nothing if it cannot be read."""
    try:
        tokens = AmateRS().tokenize(text)
    except TokenError:
        return ""
    parts, position = [], 0
    for token in tokens:
        if token.token_type in LITERALS:
            parts += [text[position : token.start], "?"]
            position = token.end + 1
    return "".join([*parts, text[position:]])
