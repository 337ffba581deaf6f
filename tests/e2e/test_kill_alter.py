"""kill -9 of programs that run ALTER TABLE or VACUUM ERASE, at random requests: whoever opens the
database next finds every row and every answer, and what was begun goes on where it stopped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from altering_database import STATEMENTS, connected
from e2e_support import FULL, SMALL
from mortals import Mortals, mortals

import amaters as am
from amaters.embedded import Embedded

HERE = Path(__file__).parent
QUESTIONS = (
    "SELECT count(*), sum(b) FROM t WHERE a = 7",
    "SELECT g, count(*), sum(b) FROM t GROUP BY g ORDER BY g",
    "SELECT k, a, b, g, note FROM t WHERE k BETWEEN 200 AND 230 ORDER BY k",
    "SELECT count(*) FROM t",
)


@dataclass(frozen=True, slots=True)
class Size:
    """How large, how often, and with what."""

    scheme: str
    parameters: str
    rows: int
    kills: int


def row(key: int) -> dict[str, object]:
    return {"k": key, "a": key % 50, "b": key % 1000, "g": "xyz"[key % 3], "note": f"note {key}"}


def fill(home: Path, size: Size) -> set[int]:
    """A table of which some rows were deleted; the keys of the others."""
    with connected(home, size.scheme, size.parameters) as db:
        table = db.create_table("t", {
            "k": am.Int64(primary_key=True),
            "a": am.UInt8(max=49, encrypt=["eq"]),
            "b": am.Int16(min=0, max=999, encrypt=["sum"]),
            "g": am.Enum(["x", "y", "z"], encrypt=["group"]),
            "note": am.Text(encrypt=[]),
        })  # fmt: skip
        keys = range(size.rows)
        for start in range(0, size.rows, 20_000):
            table.insert([row(key) for key in keys[start : start + 20_000]])
        gone = [*range(0, size.rows, 97), size.rows - 1]
        table.delete(gone)
    return set(keys) - set(gone)


def answers(db: Embedded) -> list[list[tuple[object, ...]]]:
    return [db.sql(question).rows() for question in QUESTIONS]


def left(db: Embedded) -> int:
    """Segments that have not all that they are to have, or dead rows."""
    engine = db._asynchronous._engine  # type: ignore[attr-defined]
    version = engine._storage.tables()[0]
    table = engine._catalogue.entry(version).table
    wanted = {(column.id, shape.name) for column in table.columns for shape in column.written}
    found = 0
    for segment in version.segments:
        there = {(e.column_id, e.encoding) for e in segment.manifest.segment.encodings}
        found += not wanted <= there
    return found


def dead(db: Embedded) -> int:
    engine = db._asynchronous._engine  # type: ignore[attr-defined]
    return sum(row.live < row.rows for row in engine._storage.tables()[0].segments)


def killed(server: Mortals, home: Path, size: Size, what: str, before: object) -> int:
    """Lives that end at random requests; how many of them were killed amid their work."""
    rng = Random(f"{size.kills} {what}")
    progress = None
    amid = 0
    segments = size.rows // (FULL if size.parameters == SMALL else 16_320)
    for _ in range(size.kills):
        lines = rng.randrange(1, 6 + 4 * segments)  # each segment says more than that
        said = server.live((home, size.scheme, size.parameters, what), lines)
        amid += not any(words[0] == "done" for words in said)
        with connected(home, size.scheme, size.parameters) as db:
            assert answers(db) == before
            assert db.verify().ok
            now = left(db) if what == "alter" else dead(db)
        assert what != "erase" or progress is None or now <= progress
        progress = now
    return amid


def survives(home: Path, size: Size) -> None:
    keys = fill(home, size)
    with connected(home, size.scheme, size.parameters) as db:
        before = answers(db)
        assert dead(db)
    with mortals("altering_database", HERE, home / "errors") as server:
        assert killed(server, home, size, "alter", before)
        with connected(home, size.scheme, size.parameters) as db:
            if not db.table("t").schema().is_altering and "n" not in columns(db):
                db.sql(STATEMENTS["alter"])
            db.resume()
            assert not left(db)
            known = [key for key in keys if key % 50 > 20]
            found = db.sql("SELECT count(*), sum(a), sum(n) FROM t WHERE a > 20").rows()
            assert found == [(len(known), sum(key % 50 for key in known), 3 * len(known))]
            assert answers(db) == before
        assert killed(server, home, size, "erase", before)
        with connected(home, size.scheme, size.parameters) as db:
            assert not db.sql(STATEMENTS["erase"]).rows()
            assert not dead(db)
            assert answers(db) == before
            assert db.sql("SELECT count(*), sum(a), sum(n) FROM t WHERE a > 20").rows() == found
            assert db.verify().ok


def columns(db: Embedded) -> set[str]:
    return {column.name for column in db.table("t").schema().columns}


@pytest.mark.parametrize(("scheme", "kills"), [("noop", 5), ("bgv", 2)])
def test_kills(tmp_path: Path, scheme: str, kills: int) -> None:
    """A few segments, killed a few times."""
    survives(tmp_path, Size(scheme, SMALL, 2_900, kills))


@pytest.mark.stress
@pytest.mark.parametrize(
    ("scheme", "parameters"),
    [
        ("noop", SMALL),
        ("bgv", SMALL),
        ("noop", "default"),
        ("bgv", "default"),
    ],
)
def test_a_hundred_thousand_rows(tmp_path: Path, scheme: str, parameters: str) -> None:
    """The same for a larger table; with default parameters its segments are as large as can be."""
    began = time.monotonic()
    survives(tmp_path, Size(scheme, parameters, 100_000, 12))
    print(f"{scheme} {parameters}: {time.monotonic() - began:.0f} s")
