"""Backups through the public interface: taken while the program inserts, restored with its keys."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import amaters as am
from amaters.embedded import Embedded
from amaters.storage.backupset import open_target
from amaters.storage.restore import restore

DDL = (
    "CREATE TABLE t (k BIGINT PRIMARY KEY, b INTEGER, "
    "v SMALLINT NOT NULL ENCRYPTED WITH (QUERIES = 'range,sum', MIN = 0, MAX = 100))"
)
BATCH = 200


def connected(home: Path, database: str = "db") -> Embedded:
    return am.connect(
        home / database,
        keys=home / "keys",
        unsafe_scheme="noop",
        unsafe_parameters="insecure_n1024",
    )


def insert(db: am.Database, batch: int) -> None:
    db.table("t").insert([(batch * BATCH + i, batch, i % 100) for i in range(BATCH)])


def test_a_database_in_use_is_backed_up(tmp_path: Path) -> None:
    """Full and incremental, each while another thread inserts and exchanges tails: what
    was acknowledged before a backup began is in it, and each batch is in it whole or not at all.
    """
    made = []
    with connected(tmp_path) as db:
        db.sql(DDL)
        insert(db, 0)
        stop, done = threading.Event(), [1]

        def write() -> None:
            while not stop.is_set():
                insert(db, done[0])
                done[0] += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(3):
                before = done[0]
                info = db.backup(tmp_path / "backups", incremental=True)
                made.append((info, before, done[0] + 1))
            assert db.verify().ok
        finally:
            stop.set()
            writer.join()
    assert [bool(info.parent) for info, _, _ in made] == [False, True, True]
    for info, before, after in made:
        restore(open_target(str(tmp_path / "backups")), tmp_path / info.name, name=info.name)
        with connected(tmp_path, info.name) as db:
            counts = db.sql("SELECT b, count(*), sum(v) FROM t GROUP BY b ORDER BY b").rows()
            whole = sum(i % 100 for i in range(BATCH))
            assert counts == [(batch, BATCH, whole) for batch in range(len(counts))]
            assert before <= len(counts) <= after
            insert(db, 10_000)
            assert db.verify().ok


def test_asynchronous_programs_have_it_too(tmp_path: Path) -> None:
    """The same names, awaitable; a database in memory has nothing to copy."""

    async def main() -> None:
        options = {"unsafe_scheme": "noop", "unsafe_parameters": "insecure_n1024"}
        async with am.connect_async(tmp_path / "db", keys=tmp_path / "keys", **options) as db:
            await db.sql(DDL)
            report = await db.verify()
            assert report.ok and report.counts["tables"] == 1
            info = await db.backup(tmp_path / "backups")
            assert info.bytes_total > 0
        async with am.connect_async(":memory:", **options) as db:
            assert (await db.verify()).ok
            with pytest.raises(am.InvalidError) as caught:
                await db.backup(tmp_path / "backups")
            assert caught.value.code == "AM-4047"

    asyncio.run(main())
