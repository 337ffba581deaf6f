"""The prompt of ``amaters sql``: several lines, history, completion, dot commands.

The history on disk never holds a constant: every literal is written as ``?``, because it may be the
value of an encrypted column.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import TokenType

from amaters.base import errors, settings
from amaters.base.clock import Clock, SystemClock
from amaters.cli.context import say
from amaters.cli.output import FORMATS
from amaters.cli.sql import run_text
from amaters.client.sync import Database
from amaters.sql.dialect import AmateRS

HELP = """statements end with ;
.tables            all tables
.schema TABLE      a table's columns
.explain SELECT    how a SELECT would run and what the engine would learn
.mode [FORM]       table, json, jsonl, csv or arrow (binary: after .output FILE)
.timer on|off      how long each statement took
.read FILE         run the statements in a file
.output [FILE]     write results to a new file; without FILE to the terminal again
.quit              leave (also Ctrl-D); Ctrl-C stops a running statement"""
KEYWORDS = tuple(
    """SELECT FROM WHERE GROUP BY ORDER LIMIT COUNT SUM AVG BETWEEN IN IS NULL AND OR NOT INSERT
    INTO VALUES CREATE DROP TABLE UNIQUE INDEX ON COPY EXPLAIN ANALYZE ENCRYPTED WITH
    QUERIES PUBLIC""".split()  # noqa: SIM905
)
LITERALS = (TokenType.NUMBER, TokenType.STRING, TokenType.HEX_STRING)


class Repl:
    """Reads, runs and prints statements until the end of input."""

    def __init__(self, db: Database, output: str, clock: Clock | None = None) -> None:
        self._db = db
        self._form = output
        self._clock = clock or SystemClock()
        self._timer = False
        self._file: TextIO | None = None
        path = settings.data_home(os.environ) / "amaters" / "history"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        words = [*KEYWORDS, *self._commands, *db.tables(), *self._columns()]
        self._prompt: PromptSession[str] = PromptSession(
            history=_CleanHistory(path),
            completer=WordCompleter(words, ignore_case=True, WORD=True),
        )

    def _columns(self) -> set[str]:
        tables = (self._db.table(name).schema() for name in self._db.tables())
        return {column.name for table in tables for column in table.columns}

    def run(self) -> None:
        """The loop. Errors of one statement do not end it."""
        say("AmateRS; .help for help")
        try:
            self._loop()
        finally:
            self._output("")

    def _loop(self) -> None:
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
        if not command.startswith("."):
            self._statements(text)
        elif command in self._commands:
            self._commands[command](self, rest.strip())
        else:
            say(f"there is no command {command}; .help lists them")

    def _statements(self, text: str) -> None:
        if not text:
            return
        start = self._clock.monotonic()
        try:
            run_text(self._db, text, self._form, self._file)
        finally:
            if self._timer:
                say(f"{self._clock.monotonic() - start:.3f} s")

    def _tables(self, _: str) -> None:
        print("\n".join(self._db.tables()))

    def _schema(self, name: str) -> None:
        for column in self._db.table(name.rstrip(" ;")).schema().columns:
            kind = "encrypted " + ",".join(sorted(column.queries)) if column.encrypted else ""
            print(f"{column.name}  {column.type.sql_name}  {kind}".rstrip())

    def _explain(self, text: str) -> None:
        print(self._db.explain(text))

    def _mode(self, form: str) -> None:
        if form and form not in FORMATS:
            say(f"there is no form {form}; there are {', '.join(FORMATS)}")
            return
        self._form = form or self._form
        say(f"results as {self._form}")

    def _time(self, word: str) -> None:
        if word not in ("on", "off"):
            say("say .timer on or .timer off")
            return
        self._timer = word == "on"

    def _read_file(self, name: str) -> None:
        try:
            text = Path(name).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            errors.fail("AM-5004", path=name, what=_why(error))
        self._statements(text)

    def _output(self, name: str) -> None:
        """Never over a file that exists: its owner may need it. Only this user can read it."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if not name:
            return
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            descriptor = os.open(Path(name).expanduser(), flags, 0o600)
            self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="")
        except OSError as error:
            errors.fail("AM-1112", path=name, what=_why(error))

    def _help(self, _: str) -> None:
        print(HELP)

    _commands: ClassVar[dict[str, Callable[[Repl, str], None]]] = {
        ".help": _help,
        ".tables": _tables,
        ".schema": _schema,
        ".explain": _explain,
        ".mode": _mode,
        ".timer": _time,
        ".read": _read_file,
        ".output": _output,
    }


def _why(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not text"


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
