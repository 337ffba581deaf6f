"""Rows by primary key: one round trip, canaries unseen, whatever the engine says."""

from __future__ import annotations

import asyncio
from typing import Any

import e2e_support as support
import pytest

import amaters as am
from amaters.base.errors import AmatersError, InvalidError
from amaters.client.database import AsyncDatabase
from amaters.client.guard import read_guards
from amaters.client.rows import snapshot
from amaters.engine.service import open_engine
from amaters.wire import blocks
from amaters.wire import service_pb2 as pb

COLUMNS = {
    "id": am.Int64(primary_key=True),
    "town": am.Text(nullable=True),
    "pay": am.Int32(min=0, max=10_000, encrypt=["sum"]),
}
ROWS = {key: (key, f"town {key % 4}" if key % 5 else None, key * 3) for key in range(0, 3000, 2)}


async def opened(service: Any, rows: dict[int, tuple[Any, ...]] = ROWS) -> AsyncDatabase:
    """Two segments and a tail of some hundred rows."""
    database = await support.open_on(service)
    table = await database.create_table("t", COLUMNS)
    listed = list(rows.values())
    await table.insert(listed[: 2 * support.FULL])
    await table.insert(listed[2 * support.FULL :])
    return database


def test_rows_come_in_the_order_of_their_keys_in_one_round_trip() -> None:
    """From segments and tail; keys without a row are left out, repeated ones come once."""

    async def work() -> None:
        spy = support.Spy(open_engine(":memory:", unsafe_scheme=True))
        database = await opened(spy)
        table = await database.table("t")
        spy.calls.clear()
        keys = [2998, 0, 7, 1000, 0, -5, 2000]
        found = await table.get_many(keys)
        assert dict(spy.calls) == {"fetch_rows": 1}
        assert found.names == ("id", "town", "pay")
        assert found.rows() == [ROWS[key] for key in (2998, 0, 1000, 2000)]
        assert (await table.get_many([1000, 1001], ["pay"])).rows() == [(3000,)]
        assert (await table.get_many([])).rows() == [] == (await table.get_many([5])).rows()
        assert "primary keys" in found.learned[0]
        every = await table.get_many(range(3000))
        assert every.rows() == list(ROWS.values())
        await database.close()

    asyncio.run(work())


def test_a_canary_has_no_row() -> None:
    """The keys of canaries are answered as if nothing were there."""

    async def work() -> None:
        database = await opened(open_engine(":memory:", unsafe_scheme=True))
        session = database._session
        table = await session.table("t")
        async with snapshot(session, table) as pinned:
            guards = await read_guards(session, table, pinned)
        rows = [guard.live_rows for guard in guards.values()]
        fakes = [key for block in rows for key in block.columns[1].values.tolist()]
        assert len(fakes) >= 64 and not set(fakes) & ROWS.keys()
        assert (await (await database.table("t")).get_many([*fakes, 4])).rows() == [ROWS[4]]
        await database.close()

    asyncio.run(work())


def test_keys_and_columns_that_cannot_be_are_refused() -> None:
    """Before anything is sent."""

    async def work() -> None:
        spy = support.Spy(open_engine(":memory:", unsafe_scheme=True))
        database = await opened(spy, {1: ROWS[2]})
        table = await database.table("t")
        spy.calls.clear()
        for keys, columns in ((["x"], None), ([None], None), ([1], ["nope"]), ([1 << 70], None)):
            with pytest.raises(InvalidError):
                await table.get_many(keys, columns)
        assert not spy.calls
        await database.close()

    asyncio.run(work())


class Liar(support.Spy):
    """An engine that changes the blocks it returns."""

    how = ""

    def changed(self, name: str, item: Any) -> Any:
        if name != "fetch_rows" or not self.how:
            return item
        changed = pb.RowBlock()
        changed.CopyFrom(item)
        if self.how == "no canaries":
            changed.ClearField("canaries")
        elif self.how == "other row":
            columns = blocks.decode_block(changed.public_block).columns
            values, valid = columns[1]
            columns[1] = (values + 2, valid)
            changed.public_block = blocks.encode_block(columns)
        elif self.how == "canaries of another":
            changed.canaries.segment_id = b"z" * 16
        elif self.how == "damaged row":
            changed.sealed_pack = changed.sealed_pack[:-1] + b"?"
        return changed


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("no canaries", "AM-5012"),
        ("canaries of another", "AM-5012"),
        ("other row", "AM-5012|AM-2053"),
        ("damaged row", "AM-2053"),
    ],
)
def test_an_engine_that_answers_with_something_else_is_found_out(how: str, code: str) -> None:
    """A row nobody asked for, a row that was changed, a segment without its canaries."""

    async def work() -> None:
        liar = Liar(open_engine(":memory:", unsafe_scheme=True))
        database = await opened(liar)
        table = await database.table("t")
        liar.how = how
        with pytest.raises(AmatersError, match=code):
            await table.get_many([100])
        liar.how = ""
        assert (await table.get_many([100])).rows() == [ROWS[100]]
        await database.close()

    asyncio.run(work())


class Hasty(support.Spy):
    """An engine that says its leases are short, and tells when one was renewed."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.renewed = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        if name not in ("snapshot", "renew"):
            return method

        async def single(request: Any) -> Any:
            reply = await method(request)
            reply.lease_seconds = 1e-9
            if name == "renew":
                assert not reply.expired
                self.renewed.set()
            return reply

        return single


def test_a_reader_renews_what_it_holds() -> None:
    """While it is busy elsewhere, until it lets go."""

    async def work() -> None:
        hasty = Hasty(open_engine(":memory:", unsafe_scheme=True))
        database = await opened(hasty, {1: ROWS[2]})
        session = database._session
        table = await session.table("t")
        async with snapshot(session, table) as pinned:
            await hasty.renewed.wait()
            stream = session.service.read_tail(pb.HandleRequest(handle=pinned.handle))
            assert sum([block.rows async for block in stream]) == 1
        assert hasty.calls["release"] >= 1
        await database.close()

    asyncio.run(work())


def test_conditions_on_the_key_are_answered_by_it() -> None:
    """=, IN, AND, contradictions and NULL on the primary key say what a scan says, before and
    after the rows changed; blocks of segments without such a row are not read.
    """

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        database = await opened(engine)
        asked = {
            "id = 100": [100],
            "id = 101": [],
            "id IN (4, 2998, 1998, 7) AND town IS NOT NULL": [4, 1998, 2998],
            "id = 100 AND id > 200": [],
            "id IN (10, 20, 30) AND id >= 20": [20, 30],
            "id IN (10, 20) OR town = 'nowhere'": [10, 20],
            "id = 1.5": [],
        }
        for change in (None, "replace"):
            if change:
                async with database.batch() as batch:
                    batch.upsert("t", [ROWS[key] for key in (100, 4, 20)])
                    batch.delete("t", [5, 30])
            gone = {30} if change else set()
            for condition, keys in asked.items():
                found = await database.sql(f"SELECT * FROM t WHERE {condition} ORDER BY id")
                assert found.rows() == [ROWS[key] for key in keys if key not in gone], condition
        total = "SELECT COUNT(*), SUM(pay) FROM t WHERE id IN (4, 100, 1998)"
        expected = sum(ROWS[key][2] for key in (4, 100, 1998))
        assert (await database.sql(total)).rows() == [(3, expected)]
        await database.close()

    asyncio.run(work())
