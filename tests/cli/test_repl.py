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
.explain SELECT count(*) FROM t WHERE a > 41
.nonsense
.quit
"""


def test_a_session(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Statements over several lines, dot commands, an error that does not end the session; the
    history on disk has no constant.
    """
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with (
        create_pipe_input() as typed,
        create_app_session(input=typed, output=DummyOutput()),
        am.connect(":memory:", unsafe_scheme="noop") as db,
    ):
        typed.send_text(SESSION)
        Repl(db, "table").run()
    out, err = capsys.readouterr()
    assert "statements end with ;" in out
    assert "\nt\n" in out
    assert "a  SMALLINT  encrypted range" in out
    assert "│  1 │" in out
    assert "the server learns" in out
    assert "error[AM-2204]" in err
    assert "no command .nonsense" in err
    lines = (tmp_path / "amaters" / "history").read_text().splitlines()
    history = "\n".join(line for line in lines if line.startswith("+"))
    assert "SELECT id FROM t WHERE a > ?" in history
    assert "41" not in history
    assert "42" not in history
