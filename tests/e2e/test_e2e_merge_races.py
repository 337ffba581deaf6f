"""What comes between the making of a merged segment and its commit: the merge is thrown away, and
every answer stays what it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from e2e_support import SMALL, open_on
from rotation_support import Interrupting, Stops
from test_e2e_compaction import COLUMNS, Table, quiet_engine, run, spread, with_full_tail

import amaters as am
from amaters.client.database import AsyncDatabase

Between = Callable[[AsyncDatabase], Awaitable[Any]]
ENCODED = "ALTER TABLE t ALTER COLUMN a ADD QUERY sum"


async def rotated(db: AsyncDatabase) -> None:
    """The table is under another key; its segments keep their ids."""
    await db.rotate_keys()


async def encoded(db: AsyncDatabase) -> None:
    """What ALTER TABLE had begun is finished: the parts have what they lacked."""
    await db.sql(ENCODED)


async def dropped_and_added(db: AsyncDatabase) -> None:
    """Encodings of the same kinds with another origin."""
    for change in ("DROP QUERY range", "DROP QUERY sum", "SET MIN -20", "ADD QUERY range, sum"):
        await db.sql(f"ALTER TABLE t ALTER COLUMN a {change}")


def meanwhile(table: Table, between: Between) -> list[str]:
    """Let ``between`` happen before the next merge is committed; the codes of its refusals."""
    merger: Any = table.engine._merger
    commit, loop, codes = merger._commit, asyncio.get_running_loop(), list[str]()

    def late(*arguments: Any) -> None:
        merger._commit = commit
        asyncio.run_coroutine_threadsafe(between_of(), loop).result()
        try:
            commit(*arguments)
        except Exception as error:
            codes.append(getattr(error, "code", ""))
            raise

    async def between_of() -> None:
        await between(table.db)

    merger._commit = late
    return codes


@pytest.mark.parametrize("scheme", ["noop", "bgv"])
@pytest.mark.parametrize("between", [rotated, encoded, dropped_and_added])
def test_a_merge_of_what_changed_is_thrown_away(between: Between, scheme: str) -> None:
    """The change comes when the merged segment is made and not yet committed."""

    async def work() -> None:
        engine = quiet_engine()
        spy = Interrupting(engine)
        table = Table(engine, await open_on(spy, scheme, SMALL))
        queries = ["range"] if between is encoded else ["range", "sum"]
        column = am.Int16(min=0, max=1000, encrypt=queries)
        await table.db.create_table("t", {**COLUMNS, "a": column})
        await with_full_tail(table)
        for number in range(2):
            await table.insert(spread(300, 2000 + 1000 * number))
        if between is encoded:
            spy.left = 1
            with pytest.raises(Stops):
                await table.db.sql(ENCODED)
            spy.left = 1 << 30
        codes = meanwhile(table, between)
        before = await table.shape()
        assert await table.engine.merge() == 0 and codes == ["AM-3073"]
        assert await table.shape() == before
        await table.check()
        if between is not rotated:  # what changed keys has no seeds to add
            assert await table.engine.merge() == 1
            await table.check()
        assert (await table.engine.verify(lambda _: None)).ok
        await table.engine.close()

    run(work())
