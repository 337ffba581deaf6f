"""kill -9 of databases at random points: what was acknowledged is there, the rest whole or not."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from faults.contents import Tables, contents
from faults.lives import QUICK
from faults.mortal import changed
from mortals import mortals

from amaters.storage.backupset import list_backups, open_target
from amaters.storage.commitlog.devices import BACKENDS
from amaters.storage.directory import open_directory
from amaters.storage.restore import restore
from amaters.storage.verify import verify

HERE = Path(__file__).parent.parent


def recovered(path: Path, tables: Tables, said: list[list[str]]) -> Tables:
    """What is there after a kill, which agrees with what was said and with itself."""
    candidates = [tables]
    told = 0
    for kind, *rest in said:
        if kind == "begun":
            candidates.append(changed(candidates[-1], rest[0]))
        elif kind == "told":
            told += int(rest[0])
    storage = open_directory(path, options=QUICK)
    try:
        found = contents(storage)
        report = verify(storage)
    finally:
        storage.abandon()
    assert found in candidates[told:], "something acknowledged is lost, or something came in part"
    assert report.ok, report.findings
    return found


def kills(path: Path, backend: str, count: int) -> None:
    rng = Random(count)
    tables: Tables = {}
    done = set()
    backups: set[str] = set()
    with mortals("faults.mortal", HERE, path / "errors") as server:
        for number in range(count):
            arguments = (path / "db", backend, number, 1 + 100_000 * number)
            said = server.live(arguments, rng.choice((0, 1, 2, 5, 20, 60, 150)))
            tables = recovered(path / "db", tables, said)
            did = [words[1].split() for words in said if words[0] == "did"]
            done |= {words[0] for words in did}
            backups |= {words[1] for words in did if words[0] == "backup"}
    assert tables and {"snapshot", "collect", "backup"} <= done
    check_backups(path, backups)


def check_backups(path: Path, made: set[str]) -> None:
    """Those that were acknowledged are listed, and what is listed restores."""
    target = open_target(str(path / "backups"))
    listed = {info.name for info in list_backups(target)}
    assert made <= listed
    for name in sorted(listed)[-3:]:
        restore(target, path / name, name=name)
        storage = open_directory(path / name, options=QUICK)
        assert contents(storage) and verify(storage).ok
        storage.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_kills(tmp_path: Path, backend: str) -> None:
    """One database through all its lives, while snapshots, backups and collection go on."""
    kills(tmp_path, backend, 14)


@pytest.mark.stress
@pytest.mark.parametrize("backend", BACKENDS)
def test_three_hundred_kills(tmp_path: Path, backend: str) -> None:
    """The same for longer."""
    kills(tmp_path, backend, 300)
