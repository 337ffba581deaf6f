"""Writes a small database as the sources on PYTHONPATH write it, and its answers, for the tests.

    git worktree add /tmp/old COMMIT
    PYTHONPATH=/tmp/old/src python tests/data/formats/make.py NAME tests/data/formats

``NAME.tar.xz`` holds ``db`` and ``keys``, ``NAME.json`` what each question returned. The database
was closed once, and later died with records in its log that no checkpoint holds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from decimal import Decimal
from pathlib import Path

SCHEMA = (
    "CREATE TABLE pay (id INTEGER PRIMARY KEY, dept TEXT, "
    "age SMALLINT ENCRYPTED WITH (QUERIES = 'eq,range', MIN = 0, MAX = 120), "
    "salary INTEGER ENCRYPTED WITH (QUERIES = 'range,sum', MIN = 0, MAX = 1000000), "
    "grade TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'A,B,C'), notes TEXT ENCRYPTED)",
    "CREATE TABLE names (name TEXT PRIMARY KEY, city TEXT ENCRYPTED WITH (QUERIES = 'eq'))",
    "CREATE TABLE gone (k BIGINT PRIMARY KEY, v INTEGER ENCRYPTED WITH (QUERIES = 'sum'))",
)
QUESTIONS = (
    "SELECT * FROM pay ORDER BY id LIMIT 60 OFFSET 470",
    "SELECT count(*), sum(salary) FROM pay WHERE age > 40",
    "SELECT grade, count(*), sum(salary) FROM pay GROUP BY grade ORDER BY grade",
    "SELECT dept, count(*) FROM pay WHERE age = 33 GROUP BY dept ORDER BY dept",
    "SELECT name, city FROM names ORDER BY name",
    "SELECT count(*) FROM names WHERE city = 'Nara'",
)


def rows(first: int, count: int) -> list[tuple[object, ...]]:
    return [
        (
            3 * i,
            ("R&D", "HR", "Ops")[i % 3],
            None if i % 7 == 0 else (i * 11) % 121,
            None if i % 5 == 0 else (i * 7919) % 1_000_001,
            (None, "A", "B", "C")[i % 4],
            None if i % 2 else f"note {i % 10}",
        )
        for i in range(first, first + count)
    ]


def opened(home: Path):  # type: ignore[no-untyped-def]
    import amaters as am

    return am.connect(
        home / "db", keys=home / "keys", unsafe_scheme="noop", unsafe_parameters="insecure_n1024"
    )


def first_run(home: Path) -> None:
    with opened(home) as db:
        for statement in SCHEMA:
            db.sql(statement)
        db.table("pay").insert(rows(0, 485))
        db.table("pay").insert(rows(485, 20))
        db.table("names").insert([(f"n{i:03}", ("Kyoto", "Nara", None)[i % 3]) for i in range(20)])


def last_run(home: Path) -> None:
    """Ends as a process that is killed: what follows is in the log alone."""
    db = opened(home)
    db.table("pay").insert(rows(1000, 15))
    db.table("gone").insert([(i, i) for i in range(500)])
    db.sql("DROP TABLE gone")
    db.table("names").insert([(f"n{i:03}", ("Osaka", "Nara")[i % 2]) for i in range(20, 30)])
    os._exit(0)


def answers(home: Path) -> dict[str, list[list[object]]]:
    with opened(home) as db:
        return {text: [list(map(plain, row)) for row in db.sql(text).rows()] for text in QUESTIONS}


def plain(value: object) -> object:
    """A value as JSON keeps it."""
    return str(value) if isinstance(value, Decimal) else value


def main() -> None:
    name, target = sys.argv[1], Path(sys.argv[2])
    if name in ("first_run", "last_run"):
        globals()[name](target)
        return
    with tempfile.TemporaryDirectory() as home:
        for run in ("first_run", "last_run"):
            subprocess.run([sys.executable, __file__, run, home], check=True)
        with tarfile.open(target / f"{name}.tar.xz", "w:xz") as archive:
            for part in ("db", "keys"):
                archive.add(Path(home) / part, part)
        found = json.dumps(answers(Path(home)), ensure_ascii=False).replace("]], ", "]],\n")
        (target / f"{name}.json").write_text(found + "\n")


if __name__ == "__main__":
    main()
