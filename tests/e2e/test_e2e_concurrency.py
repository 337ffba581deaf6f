"""Several things at once: races on dictionaries, cancelled statements, readers beside writers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from e2e_support import COLUMNS, FULL, SMALL, Spy, open_on, outside, people

import amaters as am
from amaters.base.progress import Progress
from amaters.client.database import AsyncDatabase
from amaters.client.keymaking import Choice
from amaters.client.session import Keys, open_session
from amaters.engine.service import open_engine


def test_new_dictionary_codes_race_without_loss() -> None:
    """Two clients of one keyset insert new texts at once; readers look on; all rows are there."""

    async def run() -> None:
        db = await open_on(open_engine(":memory:", unsafe_scheme=True))
        table = await db.create_table("t", {"city": am.Text(encrypt=["eq"]), "n": am.Int32()})

        async def insert(batch: int) -> None:
            await table.insert([{"city": f"city {batch} {i}", "n": i} for i in range(20)])

        async def read(batch: int) -> int:
            found = await db.sql("SELECT count(*) FROM t WHERE city = ?", [f"city {batch} 3"])
            return int(str(found.scalar()))

        inserts = [insert(batch) for batch in range(8)]
        counts = await asyncio.gather(*inserts, *(read(batch) for batch in range(8)))
        assert all(count in (0, 1) for count in counts[8:])
        assert [await read(batch) for batch in range(8)] == [1] * 8
        assert (await db.sql("SELECT count(*) FROM t")).scalar() == 160
        await db.close()

    asyncio.run(run())


class Held(Spy):
    """An engine whose jobs stop after their first event until somebody lets them go on."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.reached = asyncio.Event()
        self.closed = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return self._execute if name == "execute" else super().__getattr__(name)

    async def _execute(self, request: Any) -> Any:
        stream = self.inner.execute(request)
        try:
            async for event in stream:
                yield event
                self.reached.set()
                await asyncio.Event().wait()
        finally:
            await stream.aclose()
            self.closed.set()


def test_a_cancelled_statement_ends_on_the_engine_too() -> None:
    """Cancelling closes the job's stream and releases its snapshot; the database goes on."""

    async def run() -> None:
        held = Held(open_engine(":memory:", unsafe_scheme=True))
        db = await open_on(held)
        table = await db.create_table("people", COLUMNS)
        await table.insert(people(FULL))
        query = table.filter(am.col("age") > 40).agg(am.count())
        running = asyncio.create_task(query.scalar())
        await held.reached.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert held.closed.is_set()
        assert held.calls["snapshot"] == held.calls["release"] == 1
        assert (await db.sql("SELECT count(*) FROM people")).scalar() == FULL
        await db.close()

    asyncio.run(run())


def test_progress_reaches_the_callback_with_known_totals() -> None:
    """Rows while inserting, key switches while computing; done never passes total."""

    async def run() -> list[Progress]:
        seen: list[Progress] = []
        engine = open_engine(":memory:", unsafe_scheme=True)
        taken = outside()
        session = await open_session(
            engine,
            url="test",
            keys=Keys(None),
            choice=Choice("bgv", SMALL),
            outside=type(taken)(taken.clock, taken.rng, taken.notice, seen.append, 1),
        )
        db = AsyncDatabase(session)
        table = await db.create_table("people", COLUMNS)
        await table.insert(people(2 * FULL))
        await table.filter(am.col("salary") > 5).agg(am.count()).scalar()
        await db.close()
        return seen

    seen = asyncio.run(run())
    rows = [step for step in seen if step.unit == "rows"]
    switches = [step for step in seen if step.unit == "key switches"]
    assert rows[-1].done == rows[-1].total == 2 * FULL
    assert switches
    assert all(step.done <= step.total for step in switches)
    assert [step.done for step in switches] == sorted(step.done for step in switches)
