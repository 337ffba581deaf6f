"""kill -9 of databases at random points: what was acknowledged is there, the rest whole or not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from faults.contents import Tables, contents
from faults.lives import QUICK
from faults.mortal import changed

from amaters.storage.commitlog.devices import BACKENDS
from amaters.storage.directory import open_directory

HERE = Path(__file__).parent


class Mortals:
    """Databases one after another, each killed after some lines of what it says."""

    def __init__(self, server: subprocess.Popen[bytes], errors: Path) -> None:
        self._server, self.errors = server, errors

    def _line(self) -> list[str]:
        assert self._server.stdout is not None
        while True:
            line = self._server.stdout.readline()
            assert line, "the server of databases is gone"
            if line.endswith(b" .\n"):
                return line.decode()[:-3].split(" ", 1)

    def live(self, arguments: tuple[object, ...], lines: int) -> list[list[str]]:
        """What one said; it is killed after about ``lines`` of them."""
        assert self._server.stdin is not None
        self._server.stdin.write((" ".join(map(str, arguments)) + "\n").encode())
        self._server.stdin.flush()
        kind, pid = self._line()
        assert kind == "pid"
        said: list[list[str]] = []
        while True:
            if len(said) == lines:
                os.kill(int(pid), signal.SIGKILL)
            words = self._line()
            if words == ["dead"]:
                break
            said.append(words)
        assert len(said) >= lines, f"it died of itself: {self.errors.read_text()}"
        return said


@contextmanager
def mortals(errors: Path) -> Iterator[Mortals]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(HERE)])}
    command = [sys.executable, "-m", "faults.mortal"]
    pipe = subprocess.PIPE
    with (
        errors.open("wb") as log,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, env=environment) as server,
    ):
        try:
            yield Mortals(server, errors)
        finally:
            assert server.stdin is not None
            server.stdin.close()
            server.wait()


def recovered(path: Path, tables: Tables, said: list[list[str]]) -> Tables:
    """What is there after a kill, which agrees with what was said."""
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
    finally:
        storage.abandon()
    assert found in candidates[told:], "something acknowledged is lost, or something came in part"
    return found


def kills(path: Path, backend: str, count: int) -> None:
    rng = Random(count)
    tables: Tables = {}
    done = set()
    with mortals(path / "errors") as server:
        for number in range(count):
            arguments = (path / "db", backend, number, 1 + 100_000 * number)
            said = server.live(arguments, rng.choice((0, 1, 2, 5, 20, 60, 150)))
            tables = recovered(path / "db", tables, said)
            done |= {words[1] for words in said if words[0] == "did"}
    assert tables and (count < 20 or {"snapshot", "collect"} <= done)
    assert not (path / "errors").read_text()


@pytest.mark.parametrize("backend", BACKENDS)
def test_kills(tmp_path: Path, backend: str) -> None:
    """One database through all its lives."""
    kills(tmp_path, backend, 14)


@pytest.mark.stress
@pytest.mark.parametrize("backend", BACKENDS)
def test_three_hundred_kills(tmp_path: Path, backend: str) -> None:
    """The same for longer."""
    kills(tmp_path, backend, 300)
