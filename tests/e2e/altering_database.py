"""Forks programs that alter or vacuum a database until they are killed.

Input, a line per life: home, scheme, parameters, what to do. Every request that changes something
says `before` and `after` it; when all is done the program says `done`, again and again.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import amaters as am
from amaters.embedded import Embedded
from amaters.engine.service import Engine

STATEMENTS = {
    "alter": "ALTER TABLE t ALTER COLUMN a ADD QUERY range, sum, ADD COLUMN n INTEGER DEFAULT 3 "
    "ENCRYPTED WITH (QUERIES = 'sum', MIN = 0, MAX = 9)",
    "erase": "VACUUM ERASE t",
}
TOLD = ("reserve", "upload", "add_encodings", "update_schema", "commit", "forget_history")


def connected(home: Path, scheme: str, parameters: str) -> Embedded:
    options: dict[str, Any] = {"unsafe_scheme": "noop" if scheme == "noop" else None}
    if parameters != "default":
        options["unsafe_parameters"] = parameters
    return am.connect(home / "db", keys=home / "keys", **options)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + " .\n").encode())


def telling(name: str) -> Callable[..., Awaitable[Any]]:
    """An engine's method that says when it is called, and when it is done."""
    method = getattr(Engine, name)

    async def told(self: Engine, *arguments: Any) -> Any:
        say("before", name)
        found = await method(self, *arguments)
        say("after", name)
        return found

    return told


def live(home: Path, scheme: str, parameters: str, what: str) -> None:
    for name in TOLD:
        setattr(Engine, name, telling(name))
    db = connected(home, scheme, parameters)
    if what == "alter" and not db.table("t").schema().is_altering:
        columns = {column.name for column in db.table("t").schema().columns}
        what = "done" if "n" in columns else what
    if what == "alter" and db.table("t").schema().is_altering:
        db.resume()
    elif what != "done":
        db.sql(STATEMENTS[what])
    while True:
        say("done", what)
        time.sleep(0.001)  # whoever reads this kills it


def main() -> None:
    import amaters.client.vacuum
    import amaters.sql.parser  # noqa: F401 - so that the children need not

    for line in sys.stdin:
        home, scheme, parameters, what = line.split()
        child = os.fork()
        if child == 0:
            try:
                live(Path(home), scheme, parameters, what)
            except BaseException:  # noqa: BLE001 - told to whoever reads stderr
                traceback.print_exc()
            os._exit(1)
        say("pid", child)
        os.waitpid(child, 0)
        os.write(1, b"\ndead .\n")


if __name__ == "__main__":
    main()
