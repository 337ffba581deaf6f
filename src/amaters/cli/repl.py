"""The prompt of ``amaters sql``: several lines, history, completion, dot commands.

What reaches the history on disk is cleaned of secrets first (``cli.history``). ``explain`` answers
from what this client knows, without asking the server.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import ThreadedCompleter
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.output import ColorDepth

from amaters.base import errors, settings
from amaters.base.clock import Clock, SystemClock
from amaters.cli.completion import StatementCompleter
from amaters.cli.context import say
from amaters.cli.history import CleanHistory
from amaters.cli.output import FORMATS, write_result
from amaters.cli.points import is_point, read_point
from amaters.cli.sql import run_statement
from amaters.cli.style import RED, has_colours, paint
from amaters.client.result import Result
from amaters.client.sync import Database, Table
from amaters.columns.schema import Table as Schema
from amaters.sql.parser import Parsed, parse

HELP = """statements end with ; and may take several lines
get TABLE KEY ...                 rows by primary key
range TABLE FROM TO               rows from one key up to another; a dash leaves an end open
set TABLE KEY COLUMN=VALUE ...    change or add a row
delete TABLE KEY ...              remove rows
explain STATEMENT | get ... | range ... | set ... | delete ...
                                  what it would cost and show, without asking the server
.tables            all tables
.schema TABLE      a table's columns
.explain STATEMENT the same as explain
.refresh           look at the sizes of all tables, for explain
.learned           what the engine learned from the last statement
.mode [FORM]       table, json, jsonl, csv or arrow (binary: after .output FILE)
.timer on|off      how long each statement took
.read FILE         run the statements in a file
.output [FILE]     write results to a new file; without FILE to the terminal again
.quit              leave (also Ctrl-D); Ctrl-C stops a running statement"""


class Repl:
    """Reads, runs and prints statements until the end of input."""

    def __init__(
        self, db: Database, output: str, clock: Clock | None = None, *, unsafe: bool = False
    ) -> None:
        self._db = db
        self._form = output
        self._clock = clock or SystemClock()
        self._unsafe = unsafe
        self._timer = False
        self._file: TextIO | None = None
        self._learned: tuple[str, ...] = ()
        self._tables: dict[str, Table] = {}
        self._catalogue: dict[str, Schema] = {}
        completer = StatementCompleter([*self._commands, ".quit"], lambda: self._catalogue)
        self._prompt: PromptSession[str] = PromptSession(
            history=self._history(),
            completer=ThreadedCompleter(completer),
            multiline=Condition(lambda: not is_complete(get_app().current_buffer.text)),
            prompt_continuation=lambda width, number, soft: "...> ".rjust(width),
            color_depth=None if has_colours(sys.stdout) else ColorDepth.DEPTH_1_BIT,
        )

    def _history(self) -> History:
        """The file in the user's data directory, or none where it cannot be written."""
        path = settings.data_home(os.environ) / "amaters" / "history"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return CleanHistory(path, lambda: self._catalogue)
        except OSError as error:
            say(f"no history: {path} cannot be written ({_why(error)})")
            return InMemoryHistory()

    def run(self) -> None:
        """The loop. Errors of one statement do not end it."""
        say("AmateRS; .help for help")
        try:
            self._refresh("")
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
                say(paint(str(error), RED, sys.stderr))

    def _read(self) -> str:
        """One command, or lines up to a semicolon."""
        name = "amaters UNSAFE" if self._unsafe else "amaters"
        name += "*> " if self._db.in_transaction else "> "
        text: str = self._prompt.prompt(name)
        return text.strip()

    def _run(self, text: str) -> None:
        command, _, rest = text.partition(" ")
        if command in self._commands:
            self._commands[command](self, rest.strip())
        elif command.startswith("."):
            say(f"there is no command {command}; .help lists them")
        elif command.lower() == "explain" and is_point(rest):
            self._explain(rest)
        elif is_point(text):
            point = read_point(text, self._catalogue)
            self._timed(lambda: self._show(point.run(self._db, self._tables[point.table.name])))
        elif text:
            self._timed(lambda: self._statements(text))

    def _timed(self, work: Callable[[], None]) -> None:
        start = self._clock.monotonic()
        try:
            work()
        finally:
            if self._timer:
                say(f"{self._clock.monotonic() - start:.3f} s")

    def _statements(self, text: str) -> None:
        """Every statement in turn; those that may change tables are followed by a new look."""
        for statement in parse(text):
            if statement.explain is not None and not statement.explain.analyze:
                self._explain_statement(statement)
                continue
            result = run_statement(self._db, statement, self._form, self._file)
            self._learned = result.learned
            if statement.tree.key in ("create", "drop", "alter"):
                self._refresh("")

    def _show(self, result: Result) -> None:
        self._learned = result.learned
        if result.names:
            write_result(result, self._form, self._file)
        if result.message:
            say(result.message)

    # ---- commands ----------------------------------------------------------------------------

    def _refresh(self, _: str) -> None:
        """Schemas and sizes, for completion, history and explain."""
        names = self._db.refresh()
        self._tables = {name: self._db.table(name) for name in names}
        self._catalogue = {name: table.schema() for name, table in self._tables.items()}

    def _list_tables(self, _: str) -> None:
        print("\n".join(self._db.tables()))

    def _schema(self, name: str) -> None:
        for column in self._db.table(name.rstrip(" ;")).schema().columns:
            kind = "encrypted " + ",".join(sorted(column.queries)) if column.encrypted else ""
            print(f"{column.name}  {column.type.sql_name}  {kind}".rstrip())

    def _explain(self, text: str) -> None:
        if is_point(text):
            point = read_point(text, self._catalogue)
            self._print(point.explain(self._tables[point.table.name]))
            return
        for statement in parse(text):
            self._explain_statement(statement)

    def _explain_statement(self, statement: Parsed) -> None:
        form = statement.explain.format if statement.explain is not None else "text"
        self._print(self._db.explain(statement, format=form, local=True))

    def _print(self, text: str) -> None:
        print(text, file=self._file or sys.stdout)

    def _what_was_learned(self, _: str) -> None:
        print("\n".join(self._learned) or "nothing")

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
        self._timed(lambda: self._statements(text))

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
        ".tables": _list_tables,
        ".schema": _schema,
        ".explain": _explain,
        ".refresh": _refresh,
        ".learned": _what_was_learned,
        ".mode": _mode,
        ".timer": _time,
        ".read": _read_file,
        ".output": _output,
    }


def is_complete(text: str) -> bool:
    """Whether Enter runs ``text`` instead of starting another line."""
    words = text.strip()
    explained = words.partition(" ")[2] if words.lower().startswith("explain ") else ""
    return (
        not words or words[0] == "." or words[-1] == ";" or is_point(words) or is_point(explained)
    )


def _why(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not text"
