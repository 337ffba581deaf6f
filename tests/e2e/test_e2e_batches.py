"""Batches over tables: all or nothing, whoever writes at the same time."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import e2e_support as support
import pytest

import amaters as am
from amaters.base.errors import AmatersError, ConflictError, InvalidError
from amaters.client.database import AsyncDatabase
from amaters.client.guard import read_guards
from amaters.client.rows import snapshot
from amaters.engine.service import open_engine
from amaters.wire import service_pb2 as pb

PEOPLE = {
    "id": am.Int64(primary_key=True),
    "town": am.Text(encrypt=["eq"], nullable=True),
    "pay": am.Int32(min=0, max=100_000, encrypt=["sum"]),
}
MOVES = {"n": am.Int64(primary_key=True), "who": am.Int64(), "how": am.Text(nullable=True)}


async def opened(service: Any = None) -> AsyncDatabase:
    database = await support.open_on(service or open_engine(":memory:", unsafe_scheme=True))
    await database.create_table("people", PEOPLE)
    await database.create_table("moves", MOVES)
    return database


async def everything(database: AsyncDatabase, table: str) -> list[tuple[Any, ...]]:
    key = "id" if table == "people" else "n"
    return (await database.sql(f"SELECT * FROM {table} ORDER BY {key}")).rows()


def test_changes_of_tables_happen_together() -> None:
    """Inserts, replacements and deletions, in tail and segments, of two tables in one request."""

    async def work() -> None:
        spy = support.Spy(open_engine(":memory:", unsafe_scheme=True))
        database = await opened(spy)
        people = await database.table("people")
        rows = {key: (key, f"town{key % 3}", key) for key in range(0, 2000, 2)}
        await people.insert(list(rows.values()))
        assert await (await database.table("moves")).insert([(1, 7, "x"), (2, 8, None)]) == 2
        spy.calls.clear()
        async with database.batch() as batch:
            batch.upsert("people", [(0, "new", 5), (1001, None, 6), (1000, "moved", 7)])
            batch.delete("people", [4, 1990, 5])
            batch.insert("people", [(3001, "far", 1)])
            batch.upsert("moves", [{"n": 1, "who": 9}])
            batch.delete("moves", [2, 77])
        assert spy.calls["commit_batch"] == 1 and not spy.calls["commit"]
        rows |= {0: (0, "new", 5), 1001: (1001, None, 6), 1000: (1000, "moved", 7)}
        rows[3001] = (3001, "far", 1)
        del rows[4], rows[1990]
        assert await everything(database, "people") == [rows[key] for key in sorted(rows)]
        assert await everything(database, "moves") == [(1, 9, None)]
        total = (await database.sql("SELECT COUNT(*), SUM(pay) FROM people")).rows()
        assert total == [(len(rows), sum(row[2] for row in rows.values()))]
        await database.close()

    asyncio.run(work())


def test_a_batch_counts_what_it_changed_and_is_used_once() -> None:
    """Deleted rows count only if they were there."""

    async def work() -> None:
        database = await opened()
        batch = database.batch()
        batch.insert("moves", [(1, 1, None), (2, 2, None)])
        assert await batch.commit() == 2
        with pytest.raises(InvalidError, match="AM-5007"):
            batch.delete("moves", [1])
        second = database.batch()
        second.delete("moves", [1, 5])
        second.upsert("moves", [(2, 9, "z"), (3, 3, None)])
        assert await second.commit() == 3
        assert await database.batch().commit() == 0
        assert await everything(database, "moves") == [(2, 9, "z"), (3, 3, None)]
        await database.close()

    asyncio.run(work())


def test_nothing_is_done_when_one_part_is_refused() -> None:
    """An existing key in one table, a value out of bounds, an exception inside ``async with``."""

    async def work() -> None:
        database = await opened()
        async with database.batch() as batch:
            batch.insert("people", [(1, "a", 1)])
            batch.insert("moves", [(1, 1, None)])
        before = [await everything(database, name) for name in ("people", "moves")]
        with pytest.raises(ConflictError, match="AM-5010"):
            async with database.batch() as batch:
                batch.delete("moves", [1])
                batch.insert("people", [(2, "b", 2), (1, "c", 3)])
        with pytest.raises(InvalidError, match="AM-2003"):
            async with database.batch() as batch:
                batch.delete("moves", [1])
                batch.upsert("people", [(3, "b", -1)])
        with pytest.raises(InvalidError, match="AM-5011"):
            async with database.batch() as batch:
                batch.delete("moves", [1])
                batch.upsert("moves", [(1, 5, None)])
        with pytest.raises(ZeroDivisionError):
            async with database.batch() as batch:
                batch.delete("moves", [1])
                raise ZeroDivisionError
        assert [await everything(database, name) for name in ("people", "moves")] == before
        await database.close()

    asyncio.run(work())


def test_money_is_moved_by_many_and_none_is_lost() -> None:
    """Rows that were read in a batch must be what they were: transfers repeat until they are."""

    async def work() -> None:
        database = await opened()
        accounts = 6
        await (await database.table("people")).insert([(k, None, 100) for k in range(accounts)])
        lost = 0

        async def transfer(number: int) -> None:
            nonlocal lost
            giver, taker = number % accounts, (number * 5 + 1) % accounts
            if giver == taker:
                return
            while True:
                try:
                    async with database.batch() as batch:
                        found = dict(await batch.get_many("people", [giver, taker], ["id", "pay"]))
                        batch.upsert("people", [(giver, None, found[giver] - 1)])
                        batch.upsert("people", [(taker, None, found[taker] + 1)])
                        batch.insert("moves", [(number, giver, None)])
                    return
                except ConflictError as conflict:
                    assert conflict.code == "AM-3060"
                    lost += 1

        await asyncio.gather(*(transfer(number) for number in range(24)))
        rows = await everything(database, "people")
        moves = await everything(database, "moves")
        expected = [100] * accounts
        for number, giver, _ in moves:
            expected[giver] -= 1
            expected[(number * 5 + 1) % accounts] += 1
        assert lost > 0 and [row[2] for row in rows] == expected
        await database.close()

    asyncio.run(work())


def test_blind_changes_of_the_same_rows_all_happen() -> None:
    """Whoever did not read does not care what was there: none of them fails."""

    async def work() -> None:
        database = await opened()

        async def change(number: int) -> None:
            async with database.batch() as batch:
                batch.upsert("people", [(1, f"w{number}", number), (2, f"w{number}", number)])
                batch.delete("moves", [1])
                batch.insert("moves", [(100 + number, number, None)])

        await asyncio.gather(*(change(number) for number in range(12)))
        one, two = await everything(database, "people")
        assert one[1:] == two[1:] and len(await everything(database, "moves")) == 12
        await database.close()

    asyncio.run(work())


def test_a_row_that_came_since_it_was_missed_is_a_conflict() -> None:
    """Reading that there is no row is reading too."""

    async def work() -> None:
        database = await opened()
        batch = database.batch()
        assert (await batch.get_many("moves", [5])).rows() == []
        await (await database.table("moves")).insert([(5, 1, None)])
        batch.upsert("moves", [(5, 2, None)])
        with pytest.raises(ConflictError, match="AM-3060"):
            await batch.commit()
        batch = database.batch()
        assert (await batch.get_many("moves", [6, 7])).rows() == []
        batch.delete("moves", [6, 7])
        assert await batch.commit() == 0
        batch = database.batch()
        await batch.get_many("moves", [6])
        batch.delete("moves", [6])
        await (await database.table("moves")).insert([(6, 1, None)])
        with pytest.raises(ConflictError, match="AM-3060"):
            await batch.commit()
        async with database.batch() as batch:
            batch.delete("moves", [6])
        assert await everything(database, "moves") == [(5, 1, None)]
        await database.close()

    asyncio.run(work())


def test_keys_of_canaries_are_as_free_as_any(tmp_path: Path) -> None:
    """Upserting and deleting them works; a canary is no row that was replaced."""

    async def work() -> None:
        database = await opened()
        await (await database.table("people")).insert([(k, None, 1) for k in range(0, 3000, 3)])
        session = database._session
        table = await session.table("people")
        async with snapshot(session, table) as pinned:
            guards = await read_guards(session, table, pinned)
        fakes = [
            key
            for guard in guards.values()
            for key in guard.live_rows.columns[table.primary_key.id].values.tolist()
        ]
        batch = database.batch()
        batch.upsert("people", [(fakes[0], "mine", 2)])
        batch.insert("people", [(fakes[1], "mine", 2)])
        batch.delete("people", fakes[2:4])
        assert await batch.commit() == 2
        mine = (await (await database.table("people")).get_many(fakes[:4])).rows()
        assert mine == [(fakes[0], "mine", 2), (fakes[1], "mine", 2)]
        assert (await database.sql("SELECT COUNT(*) FROM people")).scalar() == 1002
        await database.close()

    asyncio.run(work())


def test_batches_larger_than_a_tail_replace_segments() -> None:
    """A thousand rows at once become a segment of their own; those they replace are dead."""

    async def work() -> None:
        database = await opened()
        first = [(k, None, 1) for k in range(2000)]
        await (await database.table("people")).insert(first)
        async with database.batch() as batch:
            batch.upsert("people", [(k, None, 2) for k in range(500, 1900)])
            batch.delete("people", range(100))
        found = (await database.sql("SELECT COUNT(*), SUM(pay) FROM people")).rows()
        assert found == [(1900, 500 + 2 * 1400)]
        for start in range(0, 1600, 400):  # the tail fills, and is exchanged on the way
            async with database.batch() as batch:
                batch.upsert("people", [(k, None, 3) for k in range(start, start + 400)])
        found = (await database.sql("SELECT COUNT(*), SUM(pay) FROM people")).rows()
        assert found == [(2000, 3 * 1600 + 2 * 300 + 100)]
        await database.close()

    asyncio.run(work())


def test_the_blocking_api_has_batches_too(tmp_path: Path) -> None:
    """On disk, and there after opening again; a failed ``with`` changes nothing."""
    keys = tmp_path / "keys"
    with am.connect(tmp_path / "db", keys=keys, **support.small("noop")) as database:
        database.create_table("people", PEOPLE)
        database.create_table("moves", MOVES)
        with database.batch() as batch:
            batch.insert("people", [(1, "a", 1), (2, "b", 2)])
            batch.upsert("moves", [(1, 1, "in")])
        with database.batch() as batch:
            (pay,) = batch.get_many("people", [2], ["pay"]).rows()[0]
            batch.upsert("people", {"id": [2], "pay": [pay + 40]})
            batch.delete("people", [1])
        with pytest.raises(AmatersError), database.batch() as batch:
            batch.delete("people", [2])
            batch.delete("nowhere", [1])
    with am.connect(tmp_path / "db", keys=keys, **support.small("noop")) as database:
        assert database.sql("SELECT * FROM people").rows() == [(2, None, 42)]
        assert database.table("moves").get_many([1]).rows() == [(1, 1, "in")]


def test_the_page_about_batches_runs() -> None:
    """Its example, as written."""
    page = Path(__file__).resolve().parents[2] / "docs" / "batches.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    with am.connect(":memory:", **support.small("noop")) as database:
        exec(code, {"db": database, "am": am})
        assert database.sql("SELECT SUM(euros) FROM accounts").scalar() == 150


class Stubborn(support.Spy):
    """An engine that always says that somebody was faster."""

    part = 0

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        if name != "commit_batch":
            return method

        async def single(_: Any) -> Any:
            self.calls[name] += 1
            return pb.BatchReply(conflicts=[pb.KeyConflict(new_segment=-2, part=self.part)])

        return single


def test_a_batch_that_always_loses_gives_up() -> None:
    """With a typed conflict; conflicts of parts or rows that were not sent are found out."""

    async def work() -> None:
        stubborn = Stubborn(open_engine(":memory:", unsafe_scheme=True))
        database = await opened(stubborn)
        await (await database.table("moves")).insert([(1, 1, None)])
        for part, keys, code in ((0, [1], "AM-3061"), (5, [1], "AM-5012"), (0, [2], "AM-5012")):
            stubborn.part = part
            batch = database.batch()
            batch.delete("moves", keys)
            with pytest.raises(AmatersError, match=code):
                await batch.commit()
        assert await everything(database, "moves") == [(1, 1, None)]
        await database.close()

    asyncio.run(work())
