"""Disks that fail while partial segments are merged: no row is lost, whether the merge happened or
not.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_support import SMALL, open_on
from faults.failing import FailingDisk, Faults
from faults.lives import quick_directory
from test_e2e_compaction import Table, spread, with_full_tail

import amaters as am
from amaters.base.errors import AmatersError
from amaters.engine.service import Engine
from amaters.storage.commitlog.devices import LogOptions
from amaters.storage.directory import open_directory
from amaters.storage.files import Disk
from amaters.storage.verify import verify

CALLS = ("write", "sync", "names", "remove")


async def opened(path: Path, keys: set[int] | None, disk: Disk | None = None) -> Table:
    storage = open_directory(path / "db", disk, LogOptions(backend="buffered"))
    engine = Engine(storage, unsafe_scheme=True, threads=2, merge_bytes_per_second=0)
    made = Table(engine, await open_on(engine, "noop", SMALL, path / "keys"))
    made.keys |= keys or set()
    return made


async def dead(table: Table) -> None:
    """As a killed process leaves it."""
    engine = table.engine
    await asyncio.get_running_loop().run_in_executor(None, engine._merger.close)
    engine._committer.close()
    engine._storage.abandon()


class Template:
    """A database with three partial segments that wait to be merged, and what is in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        asyncio.run(self._make())

    async def _make(self) -> None:
        table = await Table.open(path=self.home)
        await with_full_tail(table)
        for number in range(3):
            await table.insert(spread(300, 2000 + 1000 * number))
        self.keys = table.keys
        self._copies = 0
        await dead(table)

    def copy(self) -> Path:
        self._copies += 1
        made = self.home.with_name(f"{self.home.name}.{self._copies}")
        shutil.copytree(self.home, made)
        return made


async def leave_garbage(table: Table) -> None:
    """Objects that the next collection deletes."""
    await table.db.create_table(
        "gone", {"k": am.Int64(primary_key=True), "v": am.UInt8(encrypt=["sum"])}
    )
    await (await table.db.table("gone")).insert([(n, n % 200) for n in range(1500)])
    await table.db.drop_table("gone")
    table.engine._storage.snapshot()
    await table.db.sql("CREATE TABLE more (k BIGINT PRIMARY KEY)")
    table.engine._storage.snapshot()


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    with quick_directory() as made:
        yield Template(made / "home")


@pytest.mark.parametrize("kind", CALLS)
def test_a_call_fails_while_merging(template: Template, kind: str) -> None:
    """Each call in turn; the merge of one run and the next open agree on what there is."""

    async def attempt(path: Path, first: int) -> int:
        faults = Faults()
        table = await opened(path, template.keys, FailingDisk(faults))
        if kind == "remove":
            await leave_garbage(table)
        faults.arm(kind, first=first)
        try:
            await table.engine.merge()
            table.engine._storage.snapshot()
            await table.engine.merge()
        except AmatersError as error:
            assert error.code in ("AM-4003", "AM-4004"), error
        await table.check()
        hits = faults.hits
        faults.disarm()
        await dead(table)
        return hits

    async def check(path: Path) -> None:
        table = await opened(path, template.keys)
        assert verify(table.engine._storage).findings == []
        await table.check()
        await table.engine.merge()
        await table.check()
        await table.engine.close()

    first = 0
    hits: Any = 1
    while hits:
        path = template.copy()
        hits = asyncio.run(attempt(path, first))
        asyncio.run(check(path))
        shutil.rmtree(path)
        first += 1 + first // 2
