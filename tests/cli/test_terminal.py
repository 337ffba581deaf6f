"""The real prompt in a real (pseudo-)terminal, as a person drives it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MAIN = "from amaters.cli.main import main; main()"
PROMPT = "UNSAFE>"
WAIT_SECONDS = 20.0
CREATE = "CREATE TABLE t (id INTEGER PRIMARY KEY, salary INTEGER ENCRYPTED WITH (QUERIES='range'));"


class Terminal:
    """A child on a pseudo-terminal; ``seen`` is what it wrote, without control sequences."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.master, child = pty.openpty()
        command = [sys.executable, "-c", MAIN, "sql", ":memory:", "--unsafe-scheme", "noop"]
        own = {"XDG_DATA_HOME": str(directory), "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm"}
        kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        self.process = subprocess.Popen(
            command, stdin=child, stdout=child, stderr=child, cwd=directory,
            env={**kept, **own, **environment}, start_new_session=True,
        )  # fmt: skip
        os.close(child)
        self.raw = self.log = ""

    @property
    def seen(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r", "", self.raw)

    def send(self, text: str) -> None:
        os.write(self.master, text.encode())

    def until(self, text: str) -> str:
        """What came, up to and with ``text``, which is taken away."""
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], WAIT_SECONDS)
            assert ready, f"{text!r} did not come; there is {self.seen!r}"
            got = os.read(self.master, 65536).decode(errors="replace")
            self.raw, self.log = self.raw + got, self.log + got
        before, _, rest = self.seen.partition(text)
        self.raw = rest
        return before + text

    def run(self, line: str, answer: str) -> str:
        """Type a line and wait for an answer and the next prompt."""
        self.send(line + "\r")
        return self.until(answer) + self.until(PROMPT)

    def end(self) -> int:
        self.send("\x04")
        code = self.process.wait(WAIT_SECONDS)
        os.close(self.master)
        return code


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()


def test_a_person_at_the_prompt(terminal: Terminal, tmp_path: Path) -> None:
    """Several lines, completion, history, points, local explain, Ctrl-C and Ctrl-D."""
    terminal.until(PROMPT)
    terminal.run(CREATE, "created table t")
    terminal.run("INSERT INTO t VALUES (1, 81000), (2, 64000);", "inserted 2 rows")
    terminal.send("SELECT id FROM t\r")
    terminal.until("...>")
    assert "1 row" in terminal.run("WHERE salary > 70000;", "1 row")
    terminal.send("SELECT id FROM t WHERE sal")
    terminal.until("encrypted range")  # the menu is there
    terminal.send("\t")
    terminal.run(" < 70000;", "1 row")
    assert "81000" in terminal.run("get t 1", "row")
    plan = terminal.run("explain SELECT count(*) FROM t WHERE salary > 5;", "does not learn")
    assert "the server was not asked" in plan
    assert "deleted 1 rows" in terminal.run("delete t 2", "deleted 1 rows")
    terminal.send("\x1b[A")
    terminal.until("delete t 2")
    terminal.send("\x03")
    terminal.until("cancelled")
    error = terminal.run("SELECT nothing FROM t;", "AM-2204")
    assert "its columns are" in error
    assert "\x1b[31merror" in terminal.log
    terminal.run(".timer on", "on")
    terminal.run("SELECT id FROM t;", " s\n")
    assert terminal.end() == 0
    kept = (tmp_path / "amaters" / "history").read_text()
    assert "WHERE salary > ?" in kept and "get t 1" in kept
    for secret in ("81000", "64000", "70000"):
        assert secret not in kept
    assert (tmp_path / "amaters" / "history").stat().st_mode & 0o777 == 0o600


def test_no_colours_where_they_are_not_wanted(tmp_path: Path) -> None:
    """NO_COLOR."""
    terminal = Terminal(tmp_path, NO_COLOR="1")
    terminal.until(PROMPT)
    terminal.run("SELECT nothing FROM t;", "CREATE TABLE first")
    assert "\x1b[31m" not in terminal.log
    assert terminal.end() == 0
