"""kill -9 of programs that rotate keys, at random points: whatever they were at, the next one opens
the database, every answer is the same, every acknowledged row is there, and the rotation goes on.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from mortal_rotation import DDL, NEW, options, row
from mortals import mortals

import amaters as am
from amaters.client.keyring import Keyring
from amaters.embedded import Embedded

HERE = Path(__file__).parent
QUESTIONS = (
    "SELECT count(*), count(v), sum(v) FROM t WHERE k < ?",
    "SELECT g, count(*), sum(v) FROM t WHERE v BETWEEN 100 AND 700 AND k < ? GROUP BY g ORDER BY g",
    "SELECT k, note FROM t WHERE v = 5 AND place = 'place 0' AND k < ? ORDER BY k LIMIT 20",
)


def answers(db: Embedded) -> list[Any]:
    return [db.sql(question, [NEW]).rows() for question in QUESTIONS]


def kills(home: Path, scheme: str, parameters: str, rows: int, count: int) -> dict[str, int]:
    """Rotations that ended, steps that were made, over all lives."""
    rng, given = Random(count), options(home, scheme, parameters)
    with am.connect(home / "db", **given) as db:
        db.sql(DDL)
        step = 50_000
        for start in range(0, rows, step):
            some = range(start, min(start + step, rows))
            db.table("t").insert([row(3 * key) for key in some])
        db.sql("DELETE FROM t WHERE k IN (3, 6, 300)")
        expected = answers(db)
    counts = {"turned": 0, "did": 0}
    told: set[int] = set()
    open_ones: set[int] = set()
    with mortals("mortal_rotation", HERE, home / "errors") as server:
        for life in range(count):
            lines = rng.choice((1, 2, 3, 5, 8, 15, 30))
            said = server.live((home, scheme, parameters, life), lines)
            for kind, rest in said:
                if kind in counts:
                    counts[kind] += 1
                elif kind == "begun":
                    open_ones.add(int(rest))
                else:
                    open_ones.discard(int(rest))
                    told.add(int(rest))
            with am.connect(home / "db", **given) as db:
                assert answers(db) == expected
                found = db.sql("SELECT k FROM t WHERE k >= ?", [NEW]).rows()
                there = {key for (key,) in found}
                assert told <= there <= told | open_ones
                total = sum(row(key)[2] or 0 for key in there)
                assert (db.sql("SELECT sum(v) FROM t WHERE k >= ?", [NEW]).scalar() or 0) == total
                told, open_ones = there, set()
                assert db.verify().ok
    with am.connect(home / "db", **given) as db:
        done = db.rotate_keys()
        assert answers(db) == expected and db.verify().ok
    keyring = Keyring(home / "keys")
    in_use = [h.key_id for _, h in keyring.headers() if not keyring.is_retired(h.key_id)]
    assert in_use == [done.new]
    return counts


@pytest.mark.parametrize("scheme", ["noop", "bgv"])
def test_kills(tmp_path: Path, scheme: str) -> None:
    """Some thousand rows, a few lives."""
    counts = kills(tmp_path, scheme, "insecure_n1024", 2000, 4)
    assert counts["did"]


@pytest.mark.stress
def test_a_hundred_thousand_rows(tmp_path: Path) -> None:
    """Real parameters, many lives."""
    counts = kills(tmp_path, "bgv", "default", 100_000, 20)
    assert counts["did"] > 20 and counts["turned"]
