"""A process that forks databases which work until they are killed, and says what they were told.

Input, a line per life: path, backend, seed, first row version. Output lines end with " ." when they
are whole: `pid`, `begun` changes, `told` count, `did` what, and `dead` after a life.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from random import Random

from amaters.storage.backup import backup
from amaters.storage.backupset import Target, open_target
from amaters.storage.commitlog.devices import LogOptions
from amaters.storage.database import Storage
from amaters.storage.directory import open_directory
from faults.contents import Tables, contents
from faults.workload import Step, Workload


def say(*words: object) -> None:
    # One write per line: lines of several threads and processes must not mix.
    os.write(1, (" ".join(map(str, words)) + " .\n").encode())


def changes(before: Tables, after: Tables) -> str:
    """Rows that are new or gone (null); whole tables that are gone (null)."""
    found: dict[str, object] = {}
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if new is None:
            found[name] = None
        elif new != old:
            rows = {key: row for key, row in new.items() if (old or {}).get(key) != row}
            found[name] = rows | dict.fromkeys((old or {}).keys() - new.keys())
    return json.dumps(found)


def changed(tables: Tables, said: str) -> Tables:
    """Tables after ``changes``."""
    after = {name: dict(rows) for name, rows in tables.items()}
    for name, rows in json.loads(said).items():
        if rows is None:
            del after[name]
            continue
        there = after.setdefault(name, {})
        for key, row in rows.items():
            if row is None:
                del there[int(key)]
            else:
                there[int(key)] = (row[0], row[1])
    return after


def upkeep(storage: Storage, target: Target, rng: Random) -> None:
    parent: str | None = None
    while True:
        what = rng.choice(("snapshot", "collect", "backup"))
        if what == "snapshot":
            storage.snapshot()
        elif what == "collect":
            storage.collect(set())
        else:
            parent = backup(storage, target, parent=parent if rng.random() < 0.7 else None).name
            what = f"backup {parent}"
        say("did", what)


def work(path: Path, backend: str, seed: int, version: int) -> None:
    options = LogOptions(backend=backend, segment_bytes=1 << 20, spare_segments=1)  # type: ignore[arg-type]
    storage = open_directory(path, options=options)
    tables = contents(storage)
    ids = {found.schema.name: found.table_id for found in storage.tables()}
    rng = Random(seed)
    workload = Workload(rng, storage, tables, ids, version)
    if seed % 3:
        target = open_target(str(path.parent / "backups"))
        threading.Thread(target=upkeep, args=(storage, target, Random(seed)), daemon=True).start()
    while True:
        steps: list[Step] = []
        with storage.group() as group:
            for number in range(rng.choice((1, 1, 2, 5))):
                step = workload.choose(alone=number == 0)
                say("begun", changes(workload.tables, step.after))
                group.apply(step.command, step.rows)
                workload.tables = step.after
                steps.append(step)
        say("told", len(steps))


def main() -> None:
    for line in sys.stdin:
        path, backend, seed, version = line.split()
        child = os.fork()
        if child == 0:
            try:
                work(Path(path), backend, int(seed), int(version))
            except BaseException:  # noqa: BLE001 - told to whoever reads stderr
                traceback.print_exc()
            os._exit(1)
        say("pid", child)
        os.waitpid(child, 0)
        os.write(1, b"\ndead .\n")


if __name__ == "__main__":
    main()
