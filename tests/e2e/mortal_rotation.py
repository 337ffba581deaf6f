"""Forks programs that rotate the keys of a database, and write to it, until they are killed.

Input, a line per life: home, scheme, parameter set ("default": the real one), number of the life.
Output lines end with " ." when they are whole: `pid`, `begun` key, `told` key, `did` segments or
`turned` (a rotation is over), and `dead` after a life.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import amaters as am
from amaters.embedded import Embedded

DDL = (
    "CREATE TABLE t (k BIGINT PRIMARY KEY, place TEXT, "
    "v INTEGER ENCRYPTED WITH (QUERIES = 'range,sum', MIN = 0, MAX = 1000), "
    "g TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'A,B,C'), note TEXT ENCRYPTED)"
)
NEW = 10_000_000  # keys of rows that are written meanwhile begin here


def options(home: Path, scheme: str, parameters: str) -> dict[str, Any]:
    found: dict[str, Any] = {"keys": home / "keys"}
    if scheme == "noop":
        found["unsafe_scheme"] = "noop"
    if parameters != "default":
        found["unsafe_parameters"] = parameters
    return found


def row(key: int) -> tuple[int, str, int | None, str | None, str]:
    value = key % 1001 if key % 17 else None
    return key, f"place {key % 5}", value, "ABC"[key % 3] if key % 11 else None, f"note {key % 100}"


def say(*words: object) -> None:
    # One write per line: lines of several threads and processes must not mix.
    os.write(1, (" ".join(map(str, words)) + " .\n").encode())


def write(db: Embedded, life: int, moved: threading.Semaphore) -> None:
    """A row after each step of the rotation."""
    for number in itertools.count(NEW + life * 1000):
        moved.acquire()
        say("begun", number)
        db.table("t").insert([row(number)])
        say("told", number)


def live(home: Path, scheme: str, parameters: str, life: int) -> None:
    moved = threading.Semaphore(0)

    def progress(event: am.Progress) -> None:
        if event.what.startswith("rotating"):
            say("did", event.done)
            moved.release()

    db = am.connect(home / "db", progress=progress, **options(home, scheme, parameters))
    threading.Thread(target=write, args=(db, life, moved), daemon=True).start()
    while True:
        db.rotate_keys()
        say("turned", life)


def main() -> None:
    import amaters.client.batches
    import amaters.client.rotation
    import amaters.engine.service
    import amaters.fhe.evaluator
    import amaters.fhe.secret.client
    import amaters.sql.parser  # noqa: F401 - so that the children need not

    for line in sys.stdin:
        home, scheme, parameters, life = line.split()
        child = os.fork()
        if child == 0:
            try:
                live(Path(home), scheme, parameters, int(life))
            except BaseException:  # noqa: BLE001 - told to whoever reads stderr
                traceback.print_exc()
            os._exit(1)
        say("pid", child)
        os.waitpid(child, 0)
        os.write(1, b"\ndead .\n")


if __name__ == "__main__":
    main()
