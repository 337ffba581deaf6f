"""``amaters admin``: what it prints, what it changes, and its exit codes."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import amaters as am
from amaters.base import errors
from amaters.cli import main as cli_main
from amaters.engine.service import Engine

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "storage"))
from formats_support import unpacked

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs ``amaters admin ARGUMENTS`` in this process: (exit code, stdout, stderr)."""
    monkeypatch.setenv("AMATERS_KEYRING", str(tmp_path / "keys"))

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli_main.main(["admin", *map(str, arguments)])
        out, err = capsys.readouterr()
        return int(str(stop.value.code or 0)), out, err

    return call


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return unpacked("directory-1", tmp_path)


def test_backup_and_restore(run: Run, database: Path, tmp_path: Path) -> None:
    """A full backup, an increment, a list of both, and the newest restored; a second restore to
    the same place needs --replace.
    """
    target = tmp_path / "backups"
    code, out, err = run("backup", database, target)
    assert code == 0 and "full" in out
    assert "was brought from format 1" in err
    code, out, _ = run("backup", database, target, "--incremental", "-o", "json")
    (made,) = json.loads(out)
    assert code == 0 and made["parent"] and made["bytes_written"] == 0
    code, out, _ = run("backups", target)
    assert code == 0 and len(out.splitlines()) == 2 and f"since {made['parent']}" in out
    code, out, err = run("restore", target, tmp_path / "new")
    assert code == 0 and made["name"] in out and "the keys are not in it" in err
    code, _, err = run("restore", target, tmp_path / "new")
    assert code == 1 and "AM-4043" in err and "--replace" in err
    code, _, _ = run("restore", target, tmp_path / "new", "--replace", "--name", made["parent"])
    assert code == 0
    code, out, _ = run("verify", tmp_path / "new")
    assert code == 0 and out.startswith("ok    position 13")


def test_the_first_increment_is_a_full_backup(run: Run, database: Path, tmp_path: Path) -> None:
    """A cron job needs one command line."""
    code, out, err = run("backup", database, tmp_path / "backups", "--incremental")
    assert code == 0 and "full" in out and "a full one was made" in err


def test_damage_is_exit_code_6(run: Run, database: Path, tmp_path: Path) -> None:
    """Of a database and of a backup; the findings are data, on standard output."""
    run("backup", database, tmp_path / "backups")
    assert run("verify", "--backups", tmp_path / "backups")[0] == 0
    victim = max((database / "objects").iterdir(), key=lambda path: path.stat().st_size)
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    code, out, err = run("verify", database)
    assert code == 6 and victim.name in out and "AM-4046" in err
    code, out, _ = run("verify", database, "-o", "json")
    report = json.loads(out)
    assert code == 6 and report["ok"] is False and len(report["findings"]) == 1
    code, _, err = run("backup", database, tmp_path / "backups")
    assert code == 6 and "AM-4001" in err
    (kept,) = (tmp_path / "backups" / "data").iterdir()
    shutil.rmtree(kept / "objects")
    code, out, err = run("verify", "--backups", tmp_path / "backups")
    assert code == 6 and "FAIL" in out and "AM-4041" in err
    code, _, err = run("restore", tmp_path / "backups", tmp_path / "new")
    assert code == 6 and "AM-4041" in err and not (tmp_path / "new").exists()


def test_a_damaged_newest_backup_is_not_passed_over_silently(
    run: Run, database: Path, tmp_path: Path
) -> None:
    """An older one is restored, and the person is told which could not be."""
    target = tmp_path / "backups"
    run("backup", database, target)
    code, out, _ = run("backup", database, target, "-o", "json")
    name = json.loads(out)[0]["name"]
    (target / "manifests" / name).write_bytes(b"torn")
    code, out, _ = run("backups", target)
    assert code == 6 and "DAMAGED" in out
    code, out, err = run("restore", target, tmp_path / "new")
    assert code == 0 and name not in out and f"damaged and cannot be the newest: {name}" in err


def test_stats(run: Run, database: Path) -> None:
    """For people and for programs."""
    code, out, _ = run("stats", database)
    assert code == 0
    for word in ("table pay", "rows ", "encoding   salary digits", "snapshots", "bytes each"):
        assert word in out
    code, out, _ = run("stats", database, "-o", "json")
    found = json.loads(out)
    assert code == 0 and {table["name"] for table in found["tables"]} == {"names", "pay"}


def test_compact_writes_the_tail_into_a_segment(run: Run, tmp_path: Path) -> None:
    """Half a segment's worth of tail rows becomes a segment; a second run finds nothing to do."""
    home = tmp_path / "db"
    with am.connect(home, keys=tmp_path / "keys", unsafe_scheme="noop") as db:
        db.sql("CREATE TABLE t (k BIGINT PRIMARY KEY, v INTEGER ENCRYPTED)")
        for start in range(0, 9000, 1800):
            db.table("t").insert([(start + i, i) for i in range(1800)])
    code, out, err = run("compact", home, "--unsafe-scheme", "noop", "-o", "json")
    counts = json.loads(out)["t"]
    assert code == 0, err
    assert counts["segments_written"] == 1 and counts["rows"] >= 480
    code, out, _ = run("compact", home, "t", "--unsafe-scheme", "noop")
    assert code == 0 and "segments written 0" in out
    assert run("verify", home)[0] == 0
    code, _, err = run("compact", home, "other", "--unsafe-scheme", "noop")
    assert code == 1 and "AM-5009" in err
    assert run("compact", tmp_path / "nothing", "--unsafe-scheme", "noop")[0] == 2


def test_resume_goes_on_with_an_interrupted_alter(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a database that was restored from a backup made amid it."""
    home, keys = tmp_path / "db", tmp_path / "keys"

    async def fails(*_: object) -> None:
        errors.fail("AM-3004")

    with am.connect(home, keys=keys, unsafe_scheme="noop") as db:
        db.sql("CREATE TABLE t (k BIGINT PRIMARY KEY, v INTEGER ENCRYPTED)")
        db.table("t").insert([(i, i) for i in range(9000)])
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "add_encodings", fails)
            with pytest.raises(am.ClosedError):
                db.sql("ALTER TABLE t ALTER COLUMN v ADD QUERY sum")
        db.backup(tmp_path / "backups")
    code, out, err = run("resume", home, "--unsafe-scheme", "noop")
    assert (code, out) == (0, "table t: encrypted 9,000 rows\n"), err
    assert run("restore", tmp_path / "backups", tmp_path / "other")[0] == 0
    for seen in keys.glob("*.versions"):  # the older schema is to be believed now
        seen.unlink()
    code, out, err = run("resume", tmp_path / "other", "t", "--unsafe-scheme", "noop")
    assert (code, out) == (0, "table t: encrypted 9,000 rows\n"), err
    with am.connect(tmp_path / "other", keys=keys, unsafe_scheme="noop") as db:
        assert db.sql("SELECT sum(v) FROM t").scalar() == sum(range(9000))
    assert run("resume", tmp_path / "nothing", "--unsafe-scheme", "noop")[0] == 2


def test_nothing_is_made_by_looking(run: Run, database: Path, tmp_path: Path) -> None:
    """A wrong name is a mistake of the caller, not an empty database; so are targets without
    backups and backups of another name.
    """
    for command in ("verify", "stats", "backup"):
        rest = [tmp_path / "backups"] if command == "backup" else []
        code, _, err = run(command, tmp_path / "nothing", *rest)
        assert code == 2 and "no database" in err
    assert not (tmp_path / "nothing").exists()
    code, out, _ = run("backups", tmp_path / "nothing")
    assert code == 0 and out == ""
    code, _, err = run("restore", tmp_path / "nothing", tmp_path / "new")
    assert code == 2 and "AM-4042" in err
    run("backup", database, tmp_path / "backups")
    code, _, err = run("restore", tmp_path / "backups", tmp_path / "new", "--name", "other")
    assert code == 2 and "AM-4042" in err
