"""The prompt, driven through a pretended terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

import amaters as am
from amaters.cli.repl import Repl

SESSION = """.help
CREATE TABLE t (id INTEGER PRIMARY KEY,
  a SMALLINT ENCRYPTED WITH (QUERIES = 'range', MIN = 0, MAX = 99));
INSERT INTO t VALUES (1, 42), (2, 7);
.tables
.schema t
SELECT id FROM t WHERE a > 41;
SELECT nothing FROM t;
BEGIN;
DELETE FROM t;
ROLLBACK;
.explain SELECT count(*) FROM t WHERE a > 41
.nonsense
.quit
"""


def typed_in(text: str) -> None:
    """A session on a new database in which somebody types ``text``."""
    with (
        create_pipe_input() as typed,
        create_app_session(input=typed, output=DummyOutput()),
        am.connect(":memory:", unsafe_scheme="noop") as db,
    ):
        typed.send_text(text)
        Repl(db, "table").run()


def test_a_session(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Statements over several lines, dot commands, an error that does not end the session; the
    history on disk has no constant.
    """
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    typed_in(SESSION)
    out, err = capsys.readouterr()
    assert "statements end with ;" in out
    assert "\nt\n" in out
    assert "a  SMALLINT  encrypted range" in out
    assert "│  1 │" in out
    assert "the server learns" in out
    assert "error[AM-2204]" in err
    assert "rolled back" in err
    assert "no command .nonsense" in err
    lines = (tmp_path / "amaters" / "history").read_text().splitlines()
    history = "\n".join(line for line in lines if line.startswith("+"))
    assert "SELECT id FROM t WHERE a > ?" in history
    assert "41" not in history
    assert "42" not in history


def test_forms_files_and_times(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """.read runs a file, .mode and .output say where results go and how they look, .timer tells the
    time; what cannot be done is said and changes nothing.
    """
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    script, out_file = tmp_path / "setup.sql", tmp_path / "out.csv"
    script.write_text(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT);\nINSERT INTO t VALUES (1, 'x');"
    )
    typed_in(
        f".read {script}\n.read {tmp_path / 'none'}\n.mode csv\n.mode xml\n.timer maybe\n"
        f".output {out_file}\nSELECT * FROM t;\n.output {script}\n.output\n.mode jsonl\n"
        ".timer on\nSELECT id FROM t;\n.quit\n"
    )
    out, err = capsys.readouterr()
    assert out_file.read_text() == "id,a\n1,x\n"
    assert out == '{"id": 1}\n'
    assert "error[AM-5004]" in err
    assert "error[AM-1112]" in err
    assert script.read_text().startswith("CREATE")
    assert "there is no form xml" in err
    assert "say .timer on" in err
    assert err.splitlines()[-1].endswith(" s")


def test_without_a_place_for_history(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The prompt works, and says so."""
    (tmp_path / "amaters").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    typed_in(".tables\n.quit\n")
    assert "no history" in capsys.readouterr().err
