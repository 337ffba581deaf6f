"""Forks programs that use a database until they are killed, and says what they were told.

Input, a line per life: home, log backend, number of the life. Output lines end with " ." when they
are whole: `pid`, `begun` writer changes, `told` writer, `did` what, and `dead` after a life.
Changes: table -> batch -> rows in it (0: they go). Every writer has batches of its own.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import traceback
from pathlib import Path
from random import Random

import amaters as am
from amaters.embedded import Embedded

DDL = (
    "CREATE TABLE secret (k BIGINT PRIMARY KEY, batch INTEGER, "
    "v SMALLINT NOT NULL ENCRYPTED WITH (QUERIES = 'range,sum', MIN = 0, MAX = 50))",
    "CREATE TABLE plain (k BIGINT PRIMARY KEY, batch INTEGER, note TEXT)",
    "CREATE INDEX by_batch ON plain (batch)",
)
ROWS_MAX = 1000  # of a batch; keys are batch * ROWS_MAX + i
WRITERS = 2


def connected(home: Path, database: str = "db", backend: str = "direct") -> Embedded:
    return am.connect(
        home / database,
        keys=home / "keys",
        unsafe_scheme="noop",
        unsafe_parameters="insecure_n1024",
        log_backend=backend,
    )


def say(*words: object) -> None:
    # One write per line: lines of several threads and processes must not mix.
    os.write(1, (" ".join(map(str, words)) + " .\n").encode())


def secret_rows(batch: int, count: int) -> list[tuple[int, int, int]]:
    return [(batch * ROWS_MAX + i, batch, i % 51) for i in range(count)]


def plain_rows(batch: int, count: int) -> list[tuple[int, int, str]]:
    return [(batch * ROWS_MAX + i, batch, f"note {i}") for i in range(count)]


def write(db: Embedded, writer: int, life: int) -> None:
    rng = Random(life * WRITERS + writer)
    mine: list[tuple[int, int, tuple[str, ...]]] = []  # batch, rows, tables
    for n in itertools.count(life * 1000):
        number = n * WRITERS + writer
        count = rng.choice((1, 7, 40, 300, 900))
        kind = rng.randrange(4)
        changes: dict[str, dict[int, int]] = {}
        if kind != 1:
            changes["secret"] = {number: count}
        if kind != 0:
            changes["plain"] = {number: count}
        gone = mine.pop(rng.randrange(len(mine))) if kind == 3 and mine else None
        if gone is not None:
            for table in gone[2]:
                changes[table][gone[0]] = 0
        say("begun", writer, json.dumps(changes))
        if kind == 0:
            db.table("secret").insert(secret_rows(number, count))
        elif kind == 1:
            db.table("plain").insert(plain_rows(number, count))
        else:
            with db.batch() as batch:
                batch.insert("secret", secret_rows(number, count))
                batch.insert("plain", plain_rows(number, count))
                for table in gone[2] if gone else ():
                    batch.delete(table, [gone[0] * ROWS_MAX + i for i in range(gone[1])])
        say("told", writer)
        mine.append((number, count, tuple(table for table in changes)))


def tend(db: Embedded, home: Path, life: int) -> None:
    """What else goes on: space is reclaimed, backups are made, an index comes and goes."""
    rng = Random(life)
    has_index = None
    while True:
        what = rng.choice(("compact", "backup", "index", "verify"))
        if what == "compact":
            try:
                db.compact()
            except am.ConflictError as error:
                assert error.code == "AM-5030"  # writers were faster, time and again
        elif what == "backup":
            info = db.backup(home / "backups", incremental=rng.random() < 0.8)
            what = f"backup {info.name}"
        elif what == "verify":
            found = db.verify()
            assert found.ok, found.findings
        elif has_index:
            db.sql("DROP INDEX secret_batch")
            has_index = False
        else:
            if has_index is None:
                db.sql("DROP INDEX IF EXISTS secret_batch")
            db.sql("CREATE INDEX secret_batch ON secret (batch)")
            has_index = True
        say("did", what)


def live(home: Path, backend: str, life: int) -> None:
    db = connected(home, backend=backend)
    threads = [threading.Thread(target=write, args=(db, n, life)) for n in range(WRITERS)]
    threads.append(threading.Thread(target=tend, args=(db, home, life)))
    for thread in threads:
        thread.daemon = True
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    import amaters.client.batches
    import amaters.client.compaction
    import amaters.engine.service
    import amaters.sql.parser  # noqa: F401 - so that the children need not

    for line in sys.stdin:
        home, backend, life = line.split()
        child = os.fork()
        if child == 0:
            try:
                live(Path(home), backend, int(life))
            except BaseException:  # noqa: BLE001 - told to whoever reads stderr
                traceback.print_exc()
            os._exit(1)
        say("pid", child)
        os.waitpid(child, 0)
        os.write(1, b"\ndead .\n")


if __name__ == "__main__":
    main()
