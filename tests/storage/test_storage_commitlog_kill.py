"""kill -9 at random points: every acknowledged record is there, at its position, once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from commitlog_support import opened, options

from amaters.storage.commitlog.devices import BACKENDS

HERE = Path(__file__).parent


def live_and_die(path: Path, applied: dict[str, int], lines: int) -> list[list[str]]:
    """What a child said until it was killed after about ``lines`` lines."""
    command = [sys.executable, str(HERE / "commitlog_child.py"), str(path)]
    command += [str(applied[backend]) for backend in BACKENDS]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(HERE)])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        said += child.stdout.readlines()
    assert child.returncode == -9, said
    return [line.decode().split() for line in said if line.endswith(b"\n")]


def kills(path: Path, count: int) -> None:
    draw = random.Random(count)
    applied = dict.fromkeys(BACKENDS, 0)
    acknowledged: dict[str, dict[int, str]] = {backend: {} for backend in BACKENDS}
    for _ in range(count):
        for backend, kind, position, *rest in live_and_die(path, applied, draw.randrange(1, 400)):
            if kind == "cut":
                applied[backend] = max(applied[backend], int(position))
            else:
                assert acknowledged[backend].setdefault(int(position), rest[0]) == rest[0]
        for backend in BACKENDS:
            log, found = opened(path / backend, options(backend), applied[backend])
            log.close()
            there = {r.position: sha256(r.payload).hexdigest() for r in found}
            told = acknowledged[backend].items()
            assert there.items() >= {(p, d) for p, d in told if p > applied[backend]}
    assert all(len(told) > 5 * count for told in acknowledged.values())
    assert all(position > 0 for position in applied.values())


def test_ten_kills_of_every_backend(tmp_path: Path) -> None:
    """Three appenders and a checkpointer per backend, one log through all its lives."""
    kills(tmp_path, 10)


@pytest.mark.stress
def test_three_hundred_kills_of_every_backend(tmp_path: Path) -> None:
    """The same for longer."""
    kills(tmp_path, 300)
