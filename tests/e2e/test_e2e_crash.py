"""Death and damage: acknowledged rows survive kill -9, and a damaged file is never an answer."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import amaters as am

WRITER = """
import os, sys, amaters as am
home, number, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def tell(*words):
    # One write per line: progress comes from another thread, and print() writes word by word.
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def told(progress):
    tell("progress")
with am.connect(home + "/db", keys=home + "/keys", unsafe_scheme="noop",
                unsafe_parameters="insecure_n1024", progress=told) as db:
    table = db.table("t")
    while True:
        rows = [(100_000 * number + i, number, number % 50, f"city{number}") for i in range(size)]
        tell("begin", number)
        table.insert(rows)
        tell("done", number)
        number += 1
"""
DDL = """CREATE TABLE t (
  k BIGINT PRIMARY KEY, batch INTEGER,
  v SMALLINT NOT NULL ENCRYPTED WITH (QUERIES = 'eq,range,sum', MIN = 0, MAX = 50),
  city TEXT ENCRYPTED WITH (QUERIES = 'eq')
)"""


def reopened(home: Path) -> am.Database:
    return am.connect(
        home / "db", keys=home / "keys", unsafe_scheme="noop", unsafe_parameters="insecure_n1024"
    )


def killed(home: Path, first: int, size: int, lines: int) -> tuple[list[int], int]:
    """Insert batches in another process and kill it after some lines of its output.

    Returns the acknowledged batches and the one in flight.
    """
    command = [sys.executable, "-c", WRITER, str(home), str(first), str(size)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        seen = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        seen += child.stdout.readlines()
    words = [line.split() for line in seen]
    done = [int(word[1]) for word in words if word and word[0] == "done"]
    begun = [int(word[1]) for word in words if word and word[0] == "begin"]
    assert begun
    return done, begun[-1]


def test_kill_9_loses_nothing_acknowledged_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    """A process that inserts is killed at several places, with batches that go to the tail, become
    a segment, or fill segments and tail: every acknowledged row is there, the batch in flight is
    there whole or not at all, and the database goes on.
    """
    with reopened(tmp_path) as db:
        db.sql(DDL)
    known: dict[int, int] = {}
    first = 1
    for size, lines in ((7, 9), (600, 4), (1100, 5), (300, 30)):
        done, in_flight = killed(tmp_path, first, size, lines)
        known |= dict.fromkeys(done, size)
        with reopened(tmp_path) as db:
            found = dict(db.sql("SELECT batch, count(*) FROM t GROUP BY batch").rows())
            if in_flight not in known and in_flight in found:
                known[in_flight] = size
            assert found == known
            city = f"city{in_flight}"
            count = db.sql("SELECT count(*), sum(v) FROM t WHERE city = ?", [city]).rows()
            expected = known.get(in_flight, 0)
            assert count == [(expected, expected * (in_flight % 50) or None)]
            total = sum(size * (batch % 50) for batch, size in known.items())
            assert db.sql("SELECT sum(v) FROM t WHERE v >= 0").scalar() == total
        first = in_flight + 1


QUESTIONS = (
    "SELECT count(*), sum(v) FROM t WHERE v > 10 AND city <> 'city4'",
    "SELECT k, city FROM t WHERE v = 7 ORDER BY k",
    "SELECT batch, count(*), sum(v) FROM t GROUP BY batch ORDER BY batch",
)


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """A copy with a bit flipped, a piece zeroed, cut off, or something appended."""
    place = rng.randrange(len(whole))
    match rng.randrange(6):
        case 0:
            return whole[:place]
        case 1:
            return whole[:place] + bytes(min(512, len(whole) - place)) + whole[place + 512 :]
        case 2:
            return whole + rng.randbytes(16)
        case _:
            flipped = whole[place] ^ (1 << rng.randrange(8))
            return whole[:place] + bytes([flipped]) + whole[place + 1 :]


TURNS = 3


@pytest.mark.parametrize("scheme", ["noop"])
def test_damage_is_an_error_or_harmless(scheme: str, tmp_path: Path) -> None:
    """Each file in turn flipped, zeroed, cut or grown at random places: opening and asking gives a
    Data error with a fix, or the right answers; and putting the file back puts the answers back.
    """
    rng = random.Random(scheme)
    with reopened(tmp_path) as db:
        db.sql(DDL)
        table = db.table("t")
        table.insert([(7 * i, i % 3, i % 50, f"city{i % 9}") for i in range(1000)])
        table.insert([(7 * i + 3, i % 3, i % 50, f"city{i % 9}") for i in range(100)])
        right = [db.sql(question).rows() for question in QUESTIONS]
    home = tmp_path / "db"
    whole = {p: p.read_bytes() for p in sorted(home.rglob("*")) if p.is_file()}
    noticed = set()
    for path, content in whole.items():
        for _ in range(TURNS if content else 0):
            path.write_bytes(damaged(content, rng))
            try:
                with reopened(tmp_path) as db:
                    assert [db.sql(question).rows() for question in QUESTIONS] == right, path
            except am.AmatersError as error:
                assert error.kind in ("Data", "Denied"), (path, error)
                assert error.fix
                noticed.add(path.parent.name)
            for changed in sorted(home.rglob("*")):
                if changed.is_file() and changed not in whole:
                    changed.unlink()
            for other, before in whole.items():
                other.write_bytes(before)
    assert len(noticed) >= 2
    with reopened(tmp_path) as db:
        assert [db.sql(question).rows() for question in QUESTIONS] == right
