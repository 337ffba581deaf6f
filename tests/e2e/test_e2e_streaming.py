"""Answers in parts: the rows of the collected answer, checked as strictly, while others come."""

from __future__ import annotations

import asyncio
from typing import Any

import e2e_support as support
import pytest

import amaters as am
from amaters.client.sync import Query
from amaters.engine.service import open_engine

COUNT = 3 * support.FULL + 40


@pytest.mark.parametrize("scheme", support.SCHEMES)
def test_parts_are_the_answer(scheme: str) -> None:
    """By an encrypted condition, a public one, none; and what needs all rows at once."""
    with am.connect(":memory:", **support.small(scheme)) as db:
        people = db.create_table("people", support.COLUMNS)
        people.insert(support.people(COUNT))
        people.filter(am.col("id") < 70).delete()
        encrypted = people.filter((am.col("age") > 60) & (am.col("dept") == "HR"))
        public = people.filter(am.col("dept") == "R&D").select("id", "notes")
        queries: list[tuple[Query, bool]] = [
            (encrypted, True),
            (public, True),
            (people.query(), True),
            (people.filter(am.col("age") > 200), False),
            (encrypted.order_by("id"), False),
            (encrypted.limit(7), False),
            (people.select("grade").distinct(), False),
            (people.group_by("grade").agg(am.count()), False),
        ]
        for query, streamed in queries:
            parts = list(query.stream())
            assert len(parts) > 1 if streamed else len(parts) == 1
            assert [row for part in parts for row in part] == query.rows()
            assert all(part.learned for part in parts)
        assert [*encrypted] == encrypted.rows()
        assert len(list(db.stream("SELECT id FROM people WHERE age > ?", [50]))) > 1


def test_leaving_early_lets_go() -> None:
    """The snapshot is released, and what is left is neither fetched nor waited for."""

    async def work() -> None:
        spy = support.Spy(open_engine(":memory:", unsafe_scheme=True))
        database = await support.open_on(spy)
        people = await database.create_table("people", support.COLUMNS)
        await people.insert(support.people(8 * support.FULL))
        spy.calls.clear()
        stream = people.filter(am.col("age") >= 0).stream()
        first = await anext(stream)
        assert len(first) == support.FULL
        await stream.aclose()
        assert spy.calls["release"] == spy.calls["snapshot"] == 1
        assert spy.calls["fetch_rows"] < 8

    asyncio.run(work())


def test_a_part_that_fails_is_not_followed_by_others() -> None:
    """Masks that miss canaries are refused before the first part; the error reaches the reader."""

    class Lying(support.Spy):
        def changed(self, name: str, item: Any) -> Any:
            if name == "fetch_rows" and self.calls["fetch_rows"] == 2:
                item.versions[0] += 1
            return item

    async def work() -> None:
        database = await support.open_on(Lying(open_engine(":memory:", unsafe_scheme=True)))
        people = await database.create_table("people", support.COLUMNS)
        await people.insert(support.people(3 * support.FULL))
        seen = []
        with pytest.raises(am.DataError):
            async for part in people.filter(am.col("age") >= 0).stream():
                seen.append(len(part))
        assert seen == [support.FULL]

    asyncio.run(work())


def test_a_filter_in_parts_is_streamed_too() -> None:
    """Conditions that are too deep for one circuit: masks of parts, then rows as they come."""
    with am.connect(":memory:", **support.small("noop")) as db:
        people = db.create_table("people", support.COLUMNS)
        people.insert(support.people(COUNT))
        pairs = (f"(age <> {i} OR salary > {1000 * i})" for i in range(24))
        sql = f"SELECT id FROM people WHERE {' AND '.join(pairs)}"
        assert "parts of the filter" in db.explain(sql)
        parts = list(db.stream(sql))
        assert len(parts) > 1
        assert [row for part in parts for row in part] == db.sql(sql).rows()


def test_a_schema_that_moved_on_is_looked_at_again() -> None:
    """As for a collected answer: another client's change of the table is no error here."""

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        one = await support.open_on(engine)
        people = await one.create_table("people", support.COLUMNS)
        await people.insert(support.people(5))
        first = await people.select("id").collect()
        moved: list[int] = []

        class Moving(support.Spy):
            async def _move(self) -> None:
                moved.append(1)
                await one.sql("ALTER TABLE people ADD COLUMN more INTEGER")

        spy = Moving(one._session.service)
        inner = one._session.service.snapshot

        async def snapshot(request: Any) -> Any:
            if not moved:
                await spy._move()
            return await inner(request)

        object.__setattr__(one._session, "service", spy)
        spy.__dict__["snapshot"] = snapshot
        stream = people.select("id").stream()
        assert [row async for part in stream for row in part] == first.rows()
        assert moved

    asyncio.run(work())
