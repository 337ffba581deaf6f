"""A segment leaves between the reading of a slice of an index build and its commit."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from test_e2e_compaction import Table, died, run, spread

from amaters.engine import indexer
from amaters.storage.directory import STATE
from amaters.storage.recovery import BAD
from amaters.storage.verify import verify


def test_a_slice_of_a_segment_that_left_is_not_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its objects may be gone: what is logged must be readable when the database is opened."""

    async def work() -> None:
        table = await Table.open(path=tmp_path)
        await table.insert(spread(1300))
        storage = table.engine._storage
        loop, inner = asyncio.get_running_loop(), indexer.next_slice

        async def leave() -> None:
            await table.delete(key for key in sorted(table.keys) if key % 9)
            await table.db.compact()
            for number in range(3):
                await table.insert([90_000 + number])
                await loop.run_in_executor(None, table.engine._storage.snapshot)
            await table.engine._collect()

        def late(*arguments: Any) -> Any:
            step = inner(*arguments)
            monkeypatch.setattr(indexer, "next_slice", inner)
            asyncio.run_coroutine_threadsafe(leave(), loop).result()
            named = {ref.object_id for ref in step.command.index_build.objects}
            assert named and not named & {*storage.objects.ids()}
            return step

        monkeypatch.setattr(indexer, "next_slice", late)
        await table.db.sql("CREATE INDEX by_town ON t (town, k)")
        await table.check()
        (
            tmp_path / "db" / STATE / BAD
        ).touch()  # the state is made again from a snapshot and the log
        table = await died(table, tmp_path)
        await table.check()
        assert verify(table.engine._storage).findings == []
        await table.engine.close()

    run(work())
