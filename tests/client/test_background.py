"""Compaction in the background: repeated, patient with races, silent about nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import amaters as am
from amaters.base.errors import make
from amaters.client.background import BackgroundCompaction


def test_it_repeats_until_something_is_really_wrong() -> None:
    """Lost races and a full tail are met again later; damage ends it, and somebody is told."""

    async def work() -> list[str]:
        told: list[str] = []
        outcomes = iter(
            [None, make("AM-3071", {"table": "t"}), None, make("AM-4004", {"path": "x"})]
        )
        ended = asyncio.Event()

        async def compact() -> None:
            error = next(outcomes)
            if error is not None:
                raise error

        def notice(text: str) -> None:
            told.append(text)
            ended.set()

        background = BackgroundCompaction(compact, notice, every_seconds=0)
        await ended.wait()
        await background.stop()
        assert next(outcomes, "all were met") == "all were met"
        return told

    (text,) = asyncio.run(work())
    assert text.startswith("background compaction ended: ")


def test_stopping_interrupts_a_step() -> None:
    """Closing a database does not wait for a long rewriting."""

    async def work() -> None:
        begun, stopped = asyncio.Event(), False

        async def compact() -> None:
            nonlocal stopped
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped = True

        background = BackgroundCompaction(compact, pytest.fail, every_seconds=0)
        await begun.wait()
        await background.stop()
        assert stopped

    asyncio.run(work())


@pytest.fixture
def database() -> Iterator[am.Database]:
    with am.connect(
        ":memory:",
        unsafe_scheme="noop",
        unsafe_parameters="insecure_n1024",
        compact_rows_per_second=1000,
    ) as db:
        yield db


def test_a_database_with_it_opens_works_and_closes(database: am.Database) -> None:
    """The option of ``connect``; the blocking API closes it together with the database."""
    table = database.create_table("t", {"k": am.Int64(primary_key=True), "a": am.UInt8()})
    table.insert([{"k": 1, "a": 2}])
    assert database.compact().rows == 0
    assert database.sql("SELECT a FROM t").rows() == [(2,)]
