"""EXPLAIN from what the client remembers: nothing passes the door."""

from __future__ import annotations

import asyncio

import e2e_support as support
import pytest

import amaters as am
from amaters.engine.service import open_engine

COLUMNS = {
    "id": am.Int64(primary_key=True),
    "dept": am.Text(nullable=True),
    "age": am.UInt8(encrypt=["range", "eq"], nullable=True),
}


def test_a_local_explain_asks_nobody() -> None:
    """Statements and points from memory; it says how old its sizes are, or that it has none."""

    async def work() -> None:
        spy = support.Spy(open_engine(":memory:", unsafe_scheme=True))
        database = await support.open_on(spy)
        table = await database.create_table("pay", COLUMNS)
        await table.insert([(n, None, n % 90) for n in range(support.FULL + 5)])
        spy.calls.clear()
        question = "SELECT count(*) FROM pay WHERE age > 3"
        plans = [
            await database.explain(question, local=True),
            await database.explain(f"EXPLAIN {question}", format="json", local=True),
            await table.explain("get", 2, local=True),
            await table.explain("upsert", local=True),
            await table.range(1, 9).explain(local=True),
        ]
        with pytest.raises(am.InvalidError, match="AM-2203"):
            await database.explain("SELECT a FROM nowhere", local=True)
        assert not spy.calls
        assert "has not seen the table" in plans[0] and '"stale": true' in plans[1]
        assert await database.refresh() == ["pay"]
        spy.calls.clear()
        known = await database.explain(question, local=True)
        assert not spy.calls
        asked = await database.explain(question)
        assert spy.calls["snapshot"] == 1
        assert [line for line in known.splitlines() if not line.startswith("note")] == (
            asked.splitlines()
        )
        assert "as this client saw them 0 s ago" in known

    asyncio.run(work())
