"""The command line: what goes to which stream, in which form, and the exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from amaters.base.progress import Progress
from amaters.cli import main as cli_main
from amaters.client.terminal import TerminalProgress

SETUP = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, "
    "a SMALLINT ENCRYPTED WITH (QUERIES = 'range', MIN = 0, MAX = 9), d DECIMAL(4,1)); "
    "INSERT INTO t VALUES (1, 3, 1.5), (2, NULL, 2.0), (3, 7, NULL);"
)
QUERY = "SELECT id, a, d FROM t ORDER BY id"


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> object:
    """Runs ``amaters ARGUMENTS`` in this process: (exit code, stdout, stderr)."""
    monkeypatch.setenv("AMATERS_KEYRING", str(tmp_path / "keys"))

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli_main.main(list(arguments))
        out, err = capsys.readouterr()
        return int(str(stop.value.code or 0)), out, err

    return call


def noop(*arguments: str) -> tuple[str, ...]:
    return ("sql", ":memory:", "--unsafe-scheme", "noop", "-c", SETUP, *arguments)


def test_forms_of_output(run: object) -> None:
    """Data goes to standard output only, exact in every form."""
    code, out, err = run(*noop("-c", QUERY, "-o", "json"))  # type: ignore[operator]
    assert code == 0
    assert json.loads(out) == [
        {"id": 1, "a": 3, "d": "1.5"},
        {"id": 2, "a": None, "d": "2.0"},
        {"id": 3, "a": 7, "d": None},
    ]
    assert "created table t" in err
    _, out, _ = run(*noop("-c", QUERY, "-o", "jsonl"))  # type: ignore[operator]
    assert [json.loads(line)["id"] for line in out.splitlines()] == [1, 2, 3]
    _, out, _ = run(*noop("-c", QUERY, "-o", "csv"))  # type: ignore[operator]
    assert out == "id,a,d\n1,3,1.5\n2,,2.0\n3,7,\n"
    _, out, _ = run(*noop("-c", QUERY))  # type: ignore[operator]
    assert "│ NULL │" in out
    assert out.endswith("3 rows\n")


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "AMATERS_KEYRING": str(tmp_path / "keys"), "HOME": str(tmp_path)}


def amaters(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).parent / "amaters"), *arguments]


def test_arrow_on_standard_output_and_statements_from_standard_input(tmp_path: Path) -> None:
    """A pipeline: SQL in, an Arrow stream out, nothing else on either stream."""
    command = amaters("sql", ":memory:", "--unsafe-scheme", "noop", "-o", "arrow")
    done = subprocess.run(
        command,
        input=(SETUP + QUERY).encode(),
        capture_output=True,
        check=True,
        env=environment(tmp_path),
    )
    table = pa.ipc.open_stream(io.BytesIO(done.stdout)).read_all()
    assert table.column("id").to_pylist() == [1, 2, 3]
    assert table.schema.field("d").type == pa.decimal128(4, 1)


def test_an_interrupt_is_exit_130(tmp_path: Path) -> None:
    """Ctrl-C while it waits for input: no traceback, nothing on standard output."""
    child = subprocess.Popen(
        amaters("sql", ":memory:", "--unsafe-scheme", "noop"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(tmp_path),
    )
    assert child.stderr is not None
    assert b"UNSAFE" in child.stderr.readline()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate()
    assert child.returncode == 130
    assert out == b""
    assert b"Traceback" not in err


FAILURES = {
    1: noop("-c", "SELECT nothing FROM t"),
    2: ("sql", "--output", "xml"),
    5: noop("-c", "SELECT sum(a) FROM t"),
}


@pytest.mark.parametrize("code", FAILURES)
def test_exit_codes(run: object, code: int) -> None:
    """1 failed, 2 usage, 5 not allowed by what was declared; a hint on standard error."""
    got, out, err = run(*FAILURES[code])  # type: ignore[operator]
    assert (got, out) == (code, "")
    assert err


def test_exit_codes_for_keys_damage_and_servers(run: object, tmp_path: Path) -> None:
    """3 unavailable, 4 keys, 6 data: each is told apart by a script."""
    target = str(tmp_path / "db")
    assert run("sql", target, "-c", "CREATE TABLE t (a INTEGER)")[0] == 0  # type: ignore[operator]
    keyset = next((tmp_path / "keys").glob("*.keyset"))
    assert run("--keyring", str(tmp_path / "none"), "sql", target, "-c", QUERY)[0] == 4  # type: ignore[operator]
    text = keyset.read_text()
    keyset.write_text(text.replace('"scheme": "bgv"', '"scheme": "bgx"'))
    assert run("sql", target, "-c", QUERY)[0] == 6  # type: ignore[operator]
    keyset.write_text(text)
    keyset.chmod(0o644)
    code, _, err = run("sql", target, "-c", QUERY)  # type: ignore[operator]
    assert code == 4
    assert "chmod 600" in err


def test_keys(run: object, tmp_path: Path) -> None:
    """Create prints the id, list and inspect show it, and none of them shows a secret."""
    code, out, err = run("keys", "create")  # type: ignore[operator]
    key_id = out.strip()
    assert (code, len(key_id)) == (0, 32)
    assert "lost keyset is lost data" in err
    _, listed, _ = run("keys", "list")  # type: ignore[operator]
    assert key_id in listed
    code, shown, _ = run("keys", "inspect", key_id[:6])  # type: ignore[operator]
    assert code == 0
    assert "128 bits" in shown
    keyset = next((tmp_path / "keys").glob("*.keyset"))
    secrets = json.loads(keyset.read_text().splitlines()[1])["secrets"].values()
    assert not [secret for secret in secrets if secret in listed + shown]
    assert run("keys", "inspect", "zz")[0] == 2  # type: ignore[operator]


def test_keys_are_planned_before_any_is_made(
    run: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes, time and security of both kinds of parameters; the keyring stays empty. The size of
    the evaluation keys is the one that is made.
    """
    code, out, _ = run("keys", "plan")  # type: ignore[operator]
    assert code == 0 and not list(tmp_path.glob("keys/*"))
    lines = {line[:26].strip(): line[26:].split("  ") for line in out.splitlines()}
    assert [cell for cell in lines["parameters"] if cell] == ["default", "deep"]
    assert "128 bits" in out and "19.0 MB" in out and "154.5 MB" in out
    code, out, _ = run("keys", "plan", "insecure_n1024")  # type: ignore[operator]
    assert "NONE (tests)" in out
    assert run("keys", "plan", "nonsense")[0] != 0  # type: ignore[operator]


def test_keys_are_locked_and_opened(
    run: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A passphrase from a file or the environment; a wrong one is exit code 4; no passphrase is
    printed.
    """
    key_id = run("keys", "create")[1].strip()  # type: ignore[operator]
    (tmp_path / "new").write_text("open sesame\n")
    (tmp_path / "empty").write_text("\n")
    protect = ("keys", "protect", key_id, "--new-passphrase-file")
    assert run(*protect, str(tmp_path / "empty"))[0] == 2  # type: ignore[operator]
    code, out, err = run(*protect, str(tmp_path / "new"))  # type: ignore[operator]
    assert code == 0 and "sesame" not in out + err
    assert "passphrase" in run("keys", "list")[1]  # type: ignore[operator]
    assert run("keys", "unprotect", key_id)[0] == 4  # type: ignore[operator]
    monkeypatch.setenv("AMATERS_PASSPHRASE", "open barley")
    code, _, err = run("keys", "unprotect", key_id)  # type: ignore[operator]
    assert code == 4 and "barley" not in err
    monkeypatch.setenv("AMATERS_PASSPHRASE", "open sesame")
    assert run("keys", "unprotect", key_id)[0] == 0  # type: ignore[operator]
    assert "none" in run("keys", "inspect", key_id)[1]  # type: ignore[operator]


def test_keys_are_rotated(run: object, tmp_path: Path) -> None:
    """The new id goes to standard output, what is left to do to the other; the old keyset is
    retired, backups that need it are named, and the new one is locked like it.
    """
    target, keys = str(tmp_path / "db"), tmp_path / "keys"
    assert run("sql", target, "-c", SETUP)[0] == 0  # type: ignore[operator]
    (old,) = (path.stem for path in keys.glob("*.keyset"))
    backups = str(tmp_path / "backups")
    assert run("admin", "backup", target, backups)[0] == 0  # type: ignore[operator]
    (tmp_path / "secret").write_text("open sesame\n")
    locked = ("--passphrase-file", str(tmp_path / "secret"))
    protect = ("keys", "protect", old, "--new-passphrase-file", str(tmp_path / "secret"))
    assert run(*protect)[0] == 0  # type: ignore[operator]
    rotate = ("keys", "rotate", target, "--backups", backups)
    assert run(*rotate)[0] == 4  # type: ignore[operator]
    code, out, err = run(*locked, *rotate)  # type: ignore[operator]
    assert code == 0 and len(out.strip()) == 32 and not out.startswith(old)
    assert f"backup {backups}/" in err and "export" in err and old in err
    listed = run("keys", "list")[1].splitlines()  # type: ignore[operator]
    assert [("retired" in line) for line in listed] == [line.startswith(old) for line in listed]
    assert all("passphrase" in line for line in listed) and len(listed) == 2
    code, out, _ = run(*locked, "sql", target, "-c", QUERY, "-o", "csv")  # type: ignore[operator]
    assert code == 0 and out == "id,a,d\n1,3,1.5\n2,,2.0\n3,7,\n"
    compact = (*locked, "admin", "compact", target, "--fresh")
    assert run(*compact)[0] == 0  # type: ignore[operator]
    assert "retired" in run("keys", "inspect", old)[1]  # type: ignore[operator]


def test_a_created_keyset_serves_a_new_database(run: object, tmp_path: Path) -> None:
    """``--keyring FILE.keyset`` uses exactly that keyset."""
    key_id = run("keys", "create")[1].strip()  # type: ignore[operator]
    path = tmp_path / "keys" / f"{key_id[:16]}.keyset"
    target = str(tmp_path / "db")
    create = ("sql", target, "-c", "CREATE TABLE t (a INTEGER)")
    assert run("--keyring", str(path), *create)[0] == 0  # type: ignore[operator]
    assert [item.name for item in (tmp_path / "keys").glob("*.keyset")] == [path.name]


def test_doctor(run: object, tmp_path: Path) -> None:
    """It computes on ciphertexts, opens what it is given, and says what is wrong."""
    target = str(tmp_path / "db")
    assert run("sql", target, "-c", SETUP)[0] == 0  # type: ignore[operator]
    code, out, _ = run("doctor", target)  # type: ignore[operator]
    assert code == 0
    assert "t (3 rows)" in out
    next((tmp_path / "keys").glob("*.keyset")).chmod(0o640)
    code, out, _ = run("doctor", target)  # type: ignore[operator]
    assert code == 4
    assert "FAIL keyring" in out


class HeldClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def cpu(self) -> float:
        return self.seconds


def test_progress_appears_after_two_seconds_with_an_eta() -> None:
    """Quick work draws nothing; long work draws done, total and the rest; the end clears it."""
    clock, stream = HeldClock(), io.StringIO()
    show = TerminalProgress(stream, clock)
    show(Progress("computing", 0, 100, "key switches"))
    clock.seconds = 1.9
    show(Progress("computing", 20, 100, "key switches"))
    assert stream.getvalue() == ""
    clock.seconds = 4.0
    show(Progress("computing", 50, 100, "key switches"))
    assert "computing: 50 of 100 key switches (50%), 4 s left" in stream.getvalue()
    show(Progress("computing", 100, 100, "key switches"))
    assert stream.getvalue().endswith("\r\x1b[K")


def test_explain_in_other_forms(run: object) -> None:
    """EXPLAIN (FORMAT ...) prints what PostgreSQL's viewers and Mermaid read."""
    question = "SELECT count(*) FROM t WHERE a > 3"
    _, out, _ = run(*noop("-c", f"EXPLAIN (FORMAT pgjson) {question}"))  # type: ignore[operator]
    assert json.loads(out)[0]["Plan"]["Node Type"] == "Aggregate"
    _, out, _ = run(*noop("-c", f"EXPLAIN (FORMAT mermaid) {question}"))  # type: ignore[operator]
    assert out.startswith("flowchart BT\n")
    code, _, err = run(*noop("-c", f"EXPLAIN (FORMAT xml) {question}"))  # type: ignore[operator]
    assert code == 1
    assert "pgjson" in err
