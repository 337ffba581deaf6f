"""Power failures under an engine that exchanges tails, leases slots, merges and reclaims: from
whatever is left a database opens whole, at a position it acknowledged or beyond, with the keys
that belong to it.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from random import Random
from typing import Any

from e2e_support import SMALL, open_on
from faults.images import Image, crash_images
from faults.journal import Journal
from faults.lives import QUICK, quick_directory
from faults.recording import RecordingDisk, RecordingVfs
from test_e2e_compaction import COLUMNS, Table, spread, with_full_tail

from amaters.engine.service import Engine
from amaters.storage.database import Storage
from amaters.storage.directory import open_directory
from amaters.storage.verify import verify

IMAGES = 60
Keys = list[tuple[int, Any]]


def keys_of(storage: Storage) -> Keys:
    """Every key of every table, canaries included."""
    with storage.reading() as db:
        return db.all("SELECT tid, key FROM keys ORDER BY tid, key")


class Recorded:
    """An engine's work under a journal; ``known``: keys by position, where it was told."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.journal = Journal(root)
        self.vfs = RecordingVfs(self.journal)
        disk = RecordingDisk(self.journal)
        self.storage = open_directory(root, disk, QUICK, state_vfs=self.vfs.name)
        self.known: dict[int, Keys] = {0: []}

    def told(self) -> None:
        self.known[self.storage.position] = keys_of(self.storage)
        self.journal.mark(self.storage.position)

    async def work(self, keyring: Path) -> None:
        engine = Engine(self.storage, unsafe_scheme=True, threads=2, merge_bytes_per_second=0)
        table = Table(engine, await open_on(engine, "noop", SMALL, keyring))
        await table.db.create_table("t", COLUMNS)
        self.told()
        await with_full_tail(table)
        self.told()
        for number in range(3):
            await table.insert(spread(300, 2000 + 1000 * number))
            self.told()
        self.storage.snapshot()
        await table.delete(spread(120, 3000))
        self.told()
        assert await table.engine.merge() == 1
        self.told()
        await table.delete(key for key in list(table.keys) if key > 6000 and key % 5)
        self.told()
        self.storage.snapshot()
        done = await table.db.compact()
        assert done.rows > 0
        self.told()
        await table.db.sql("CREATE INDEX by_town ON t (town)")
        self.told()
        self.storage.snapshot()
        await table.insert(spread(30, 90_000))
        self.told()
        await table.check()
        await engine.close()

    def check(self, image: Image, path: Path) -> None:
        image.write(path)
        storage = open_directory(path, options=QUICK)
        try:
            assert verify(storage).findings == []
            acknowledged = [mark for mark in image.marks if isinstance(mark, int)]
            assert storage.position >= max(acknowledged, default=0)
            found = keys_of(storage)
            assert found == self.known.get(storage.position, found)
        finally:
            storage.abandon()
        shutil.rmtree(path)


def test_power_fails_under_an_engine() -> None:
    """Images over all of it; most are of a position that was told."""
    with quick_directory() as home:
        recorded = Recorded(home / "db")
        asyncio.run(recorded.work(home / "keys"))
        recorded.vfs.unregister()
        for number, image in enumerate(crash_images(recorded.journal, Random(3), IMAGES)):
            if "AMATERS" in image.files:  # else it was not made yet, and would be now
                recorded.check(image, home / str(number))
