"""The tree of commands, pinned; the commands that run statements, and their exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from amaters.cli import main as cli_main
from amaters.cli.app import cli, register

Run = Callable[..., tuple[int, str, str]]
CREATE = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, "
    "a SMALLINT ENCRYPTED WITH (QUERIES = 'range', MIN = 0, MAX = 9)); "
)
INSERT = "INSERT INTO t VALUES (1, 3), (2, NULL), (3, 7);"
COUNT = "SELECT count(*) FROM t WHERE a > 3"


def described(command: click.Command, path: str) -> Iterator[str]:
    """A line for each command, argument and option."""
    yield path
    for parameter in command.params:
        kind = parameter.type.name
        if isinstance(parameter.type, click.Choice):
            kind = "|".join(map(str, parameter.type.choices))
        words = [*sorted(parameter.opts + parameter.secondary_opts), kind]
        words += ["required"] if parameter.required else []
        words += ["repeated"] if getattr(parameter, "multiple", False) else []
        yield "    " + " ".join(words)
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            yield from described(child, f"{path} {name}")


def test_the_tree_of_commands_is_pinned(golden: Callable[[str, str], None]) -> None:
    """Scripts depend on it."""
    register()
    golden("commands.txt", "\n".join(described(cli, "amaters")) + "\n")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs ``amaters ARGUMENTS`` in this process: (exit code, stdout, stderr)."""
    monkeypatch.setenv("AMATERS_KEYRING", str(tmp_path / "keys"))

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli_main.main(list(arguments))
        out, err = capsys.readouterr()
        return int(str(stop.value.code or 0)), out, err

    return call


def batch(run: Run, tmp_path: Path, text: str, *options: str) -> tuple[int, str, str]:
    file = tmp_path / "batch.sql"
    file.write_text(text)
    return run("batch", ":memory:", str(file), "--unsafe-scheme", "noop", *options)


def test_batch_runs_a_file(run: Run, tmp_path: Path) -> None:
    """Results to standard output, in every form; what was done to standard error."""
    code, out, err = batch(run, tmp_path, f"{CREATE}\n-- rows\n{INSERT}\n{COUNT};", "-o", "jsonl")
    assert (code, json.loads(out)) == (0, {"count_star()": 1})
    assert "inserted 3 rows" in err


def test_batch_stops_at_the_first_failure_or_goes_on(run: Run, tmp_path: Path) -> None:
    """With its number; nothing at all runs when the file is not SQL."""
    bad = f"{CREATE} SELECT nothing FROM t; {INSERT} SELECT sum(a) FROM t; {COUNT};"
    code, out, err = batch(run, tmp_path, bad)
    assert (code, out) == (1, "") and "statement 2 of 5" in err and "inserted" not in err
    code, out, err = batch(run, tmp_path, bad, "--keep-going", "-o", "csv")
    assert code == 5 and out == "count_star()\n1\n"
    assert "statement 2 of 5" in err and "statement 4 of 5" in err
    code, _, err = batch(run, tmp_path, f"{CREATE} SELECT (;")
    assert code == 1 and "created" not in err


def test_an_atomic_batch_is_all_or_nothing(run: Run, tmp_path: Path) -> None:
    """A failure undoes what came before it."""
    place, noop = str(tmp_path / "db"), ("--unsafe-scheme", "noop")
    assert run("sql", place, *noop, "-c", CREATE + INSERT)[0] == 0
    file = tmp_path / "batch.sql"
    file.write_text("DELETE FROM t WHERE id = 1; UPDATE t SET a = 99 WHERE id = 3;")
    code, _, err = run("batch", place, str(file), *noop, "--atomic")
    assert code == 1 and "statement 2 of 2" in err
    file.write_text("DELETE FROM t WHERE id = 2; UPDATE t SET a = 9 WHERE id = 3;")
    code, _, err = run("batch", place, str(file), *noop, "--atomic")
    assert code == 0 and "committed 2 rows" in err
    code, out, _ = run("sql", place, *noop, "-o", "csv", "-c", "SELECT * FROM t ORDER BY id")
    assert out == "id,a\n1,3\n3,9\n"
    assert run("batch", place, str(file), *noop, "--atomic", "--keep-going")[0] == 2


def test_explain(run: Run, tmp_path: Path) -> None:
    """Of a statement in a database that is there, in every form; --analyze runs it."""
    place = str(tmp_path / "db")
    noop = ("--unsafe-scheme", "noop")
    assert run("sql", place, *noop, "-c", CREATE + INSERT)[0] == 0
    code, out, _ = run("explain", place, COUNT, *noop)
    assert code == 0 and "the server does not learn" in out
    code, out, _ = run("explain", place, COUNT, "--format", "json", *noop)
    assert json.loads(out)["actual"] is None
    code, out, _ = run("explain", place, COUNT, "--analyze", "--format", "json", *noop)
    assert json.loads(out)["actual"]["wall_seconds"] > 0
    assert run("explain", place, "SELECT sum(a) FROM t", *noop)[0] == 5


def test_a_time_limit_is_exit_3(run: Run) -> None:
    """Unavailable: nothing is wrong with the statement."""
    code, out, err = run(
        "sql", ":memory:", "--unsafe-scheme", "noop", "--timeout", "0", "-c", CREATE
    )
    assert (code, out) == (3, "") and "AM-5041" in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(run: Run, shell: str) -> None:
    """A script that asks us; and what we answer it."""
    code, out, _ = run("completions", shell)
    assert code == 0 and "_AMATERS_COMPLETE" in out


def test_what_a_shell_is_told() -> None:
    """As the bash script asks: commands after the name, options after a dash."""
    main = "from amaters.cli.main import main; main()"

    def asked(words: str) -> str:
        own = {
            "_AMATERS_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
        environment: dict[str, Any] = {**os.environ, **own}
        command = [sys.executable, "-c", main]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.stdout

    assert {"plain,sql", "plain,batch", "plain,explain"} <= set(asked("amaters ").split())
    assert "plain,--format" in asked("amaters explain --f").split()
