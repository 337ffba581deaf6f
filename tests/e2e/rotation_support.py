"""A database of several segments, tables and a tail, whose keys are rotated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import e2e_support as support

from amaters.client.database import AsyncDatabase
from amaters.client.rows import snapshot

ROWS = support.people(3000)
QUESTIONS = (
    "SELECT count(*), sum(salary), avg(bonus) FROM t",
    "SELECT count(*), sum(salary) FROM t WHERE age > 40 AND dept = 'HR'",
    "SELECT grade, count(*), sum(bonus) FROM t WHERE salary < 500000 GROUP BY grade ORDER BY grade",
    "SELECT id, notes, city FROM t WHERE city = 'Nara' AND born < DATE '1960-01-01' ORDER BY id",
)


async def filled(service: Any, scheme: str, keyring: Path | None = None) -> AsyncDatabase:
    """Three segments, one of them with dead rows, and a tail; two tables more."""
    db = await support.open_on(service, scheme, keyring=keyring)
    table = await db.create_table("t", support.COLUMNS)
    await table.insert(ROWS[: 2 * support.FULL])
    await table.insert(ROWS[2 * support.FULL : 3 * support.FULL])
    await table.insert(ROWS[3 * support.FULL :])
    await db.sql("DELETE FROM t WHERE id IN (70, 77, 84, 20000)")
    await db.sql("CREATE TABLE open (k INTEGER PRIMARY KEY, v TEXT)")
    await (await db.table("open")).insert([(i, f"v{i}") for i in range(1500)])
    await db.sql("CREATE TABLE empty (a INTEGER ENCRYPTED WITH (QUERIES = 'sum'))")
    return db


async def answers(db: AsyncDatabase) -> list[Any]:
    found = [(await db.sql(question)).rows() for question in QUESTIONS]
    found.append((await db.sql("SELECT count(v) FROM open WHERE k > 700")).rows())
    found.append((await (await db.table("t")).get_many([ROWS[5]["id"], ROWS[2999]["id"]])).rows())
    return found


async def table_id(db: AsyncDatabase) -> bytes:
    return (await db._session.table("t")).id


async def rekeys(db: AsyncDatabase) -> list[int]:
    """How often each segment of t has changed keys."""
    session = db._session
    async with snapshot(session, await session.table("t")) as pinned:
        return [segment.rekeys for segment in pinned.segments]


CHANGES = (
    "put_keyset",
    "upload",
    "rekey_segment",
    "switch_keys",
    "end_rotation",
    "add_encodings",
    "update_schema",
)


class Stops(Exception):  # noqa: N818
    """What an interrupted client sees."""


class Interrupting(support.Spy):
    """Lets so many calls that change something through, then none."""

    left = 1 << 30

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        if name not in CHANGES:
            return method

        async def single(*arguments: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise Stops
            return await method(*arguments)

        return single
