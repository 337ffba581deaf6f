"""VACUUM ERASE: what was deleted is in no file, and what holds it all the same is named."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_support import COLUMNS, FULL, SCHEMES, Spy, open_on, people, small

import amaters as am
from amaters.client.compaction import Load, Step
from amaters.client.vacuum import choose
from amaters.engine.service import Engine
from amaters.storage.database import open_memory
from amaters.storage.directory import DirectoryStorage, open_directory
from amaters.storage.sqlite import Connection, page_key
from amaters.wire import service_pb2 as pb
from amaters.wire.blocks import decode_block, decode_pack

QUESTION = "SELECT grade, count(*), sum(salary) FROM p WHERE age > 30 GROUP BY grade ORDER BY grade"
ROWS = people(2 * FULL + 60)
GONE = [row["id"] for row in (*ROWS[:40], *ROWS[2 * FULL :][:9])]  # of a segment and of the tail


def fill(path: Path, scheme: str = "noop") -> am.Embedded:
    """A database of two segments and a tail."""
    db = am.connect(path / "db", keys=path / "keys", **small(scheme))
    table = db.create_table("p", COLUMNS)
    table.insert(ROWS[:FULL])
    table.insert(ROWS[FULL : 2 * FULL])
    for start in (2 * FULL, 2 * FULL + 20, 2 * FULL + 40):
        table.insert(ROWS[start : start + 20])
    return db


def boxes(db: am.Embedded) -> list[bytes]:
    """The sealed rows of ``GONE``, as they are stored, and the log and state hold them."""

    async def fetch() -> list[bytes]:
        engine = db._asynchronous._engine  # type: ignore[attr-defined]
        version = engine._storage.tables()[0]
        found: list[bytes] = []
        for row in version.segments:
            ref = row.object(row.manifest.segment.sealed_object)
            block = engine._rows.public(row, engine._catalogue.entry(version).table)
            ids = block.columns[1][0].tolist()
            pack = decode_pack(engine._storage.read_object(ref))
            found += [bytes(pack[at]) for at, key in enumerate(ids) if key in GONE]
        for block in version.tail:
            found += [bytes(box) for box in decode_pack(block.sealed)]
        return found

    return asyncio.run(fetch())


def copies(path: Path, work: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of a database that is closed, the state and its snapshots decrypted."""
    for file in sorted((path / "db").rglob("*")):
        if file.is_file() and "state" not in file.parts:
            yield str(file.relative_to(path)), file.read_bytes()
    storage = open_directory(path / "db")
    database_id, kept = storage.database_id, list(storage.snapshots.kept)
    images = [b"".join(map(bytes, storage.snapshots.chunks(one))) for one in kept]
    storage.close()
    images.append((path / "db" / "state" / "state.db").read_bytes())
    for number, image in enumerate(images):
        copy = work / f"{number}.db"
        copy.write_bytes(image)
        db = Connection(copy, page_key(database_id))
        db.run("PRAGMA journal_mode = DELETE")
        db.run("PRAGMA rekey = ''")
        db.close()
        yield f"state {number}", copy.read_bytes()


def holding(path: Path, work: Path, wanted: list[bytes]) -> set[str]:
    """The files in which some sealed row is."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    return {name for name, data in copies(path, work) if any(box in data for box in wanted)}


def test_deleted_rows_are_in_no_file_any_more(tmp_path: Path) -> None:
    """Their sealed bytes are searched for in everything that the directory holds."""
    db = fill(tmp_path)
    wanted = boxes(db)
    assert len(wanted) == 40 + 60
    db.table("p").delete(GONE)
    answer = db.sql(QUESTION).rows()
    db.backup(tmp_path / "backups")
    db.close()
    before = holding(tmp_path, tmp_path / "work", wanted)
    assert {name.split("/")[1] for name in before if "/" in name} >= {"log", "objects"}
    assert any(name.startswith("state") for name in before)

    db = am.connect(tmp_path / "db", keys=tmp_path / "keys", **small("noop"))
    result = db.sql(f"VACUUM ERASE p WITH (BACKUPS = '{tmp_path / 'backups'}')")
    held = {row[0]: row for row in result.rows()}
    assert held.keys() == {"backup", "dictionary"}
    assert held["backup"][1].startswith(str(tmp_path / "backups"))
    assert "it is deleted" in held["backup"][3]
    assert db.sql(QUESTION).rows() == answer
    assert db.verify().ok
    db.close()
    assert holding(tmp_path, tmp_path / "work", wanted) == set()
    stored = [file for file in (tmp_path / "backups").rglob("*") if file.is_file()]
    assert any(box in file.read_bytes() for box in wanted for file in stored)
    db = am.connect(tmp_path / "db", keys=tmp_path / "keys", **small("noop"))
    assert db.sql(QUESTION).rows() == answer
    db.backup(tmp_path / "backups")
    assert {row[0] for row in db.sql("VACUUM ERASE").rows()} == {"dictionary"}
    db.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_erasing_and_compacting_change_no_answer(scheme: str, tmp_path: Path) -> None:
    """Also of a column that was dropped: segments that may hold it are written again."""
    db = fill(tmp_path, scheme)
    db.table("p").delete(GONE)
    db.sql("ALTER TABLE p DROP COLUMN notes")
    answer = db.sql(QUESTION).rows()
    wanted = boxes(db)
    erased = db.erase("p")
    assert erased.done.rows == 2 * FULL - 40
    assert erased.done.tail_rows == 60 - 9
    assert {one.kind for one in erased.holders} == {"dictionary"}
    assert db.sql(QUESTION).rows() == answer
    again = db.erase()
    assert again.done.segments_read == 0
    assert "rows of 0 segments" in db.sql("VACUUM p").message
    assert db.sql(QUESTION).rows() == answer
    db.close()
    assert holding(tmp_path, tmp_path / "work", wanted) == set()


def test_a_reader_of_an_older_version_is_named_until_it_lets_go() -> None:
    """Its objects stay for it; it is listed, and gone from the list when it is gone."""

    async def run() -> None:
        engine = Engine(open_memory(), unsafe_scheme=True, merge_bytes_per_second=0)
        db = await open_on(engine)
        table = await db.create_table("p", COLUMNS)
        await table.insert(ROWS[:FULL])
        schema = await table.schema()
        request = pb.SnapshotRequest(table_id=schema.id, schema_version=schema.version)
        pinned = await engine.snapshot(request)
        await table.delete(GONE[:20])
        erased = await db.erase("p")
        readers = [one for one in erased.holders if one.kind == "reader"]
        assert [one.name for one in readers] == ["p"]
        assert "its client lets go" in readers[0].until
        await engine.release(pb.HandleRequest(handle=pinned.handle))
        erased = await db.erase("p")
        assert not [one for one in erased.holders if one.kind == "reader"]
        await db.close()

    asyncio.run(run())


def test_what_is_written_again() -> None:
    """Every segment with something dead in it, and old ones; the tail where there is room."""

    def load(name: str, real: int, dead: int) -> Load:
        return Load(name.encode(), real, dead, real + dead)

    whole = [load("a", 900, 0), load("b", 500, 1), load("c", 300, 700), load("d", 200, 0)]
    assert choose(whole, (), 100, 960) == Step((b"c", b"b"), 100)
    assert choose(whole, (), 300, 960) == Step((b"c", b"b"), 0)
    assert choose(whole, (b"a", b"d"), 10, 960) == Step((b"d", b"c"), 10)
    assert choose([load("a", 900, 0)], (), 100, 960) is None
    assert choose([load("a", 960, 3)], (), 100, 960) == Step((b"a",), 0)


def test_statements_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    """BACKUPS without ERASE, tables that are not there."""
    db: Any = am.connect(":memory:", **small("noop"))
    db.create_table("p", COLUMNS)
    for statement, code in (
        ("VACUUM p WITH (BACKUPS = 'x')", "AM-2208"),
        ("VACUUM ERASE p WITH (SPEED = 9)", "AM-2201"),
        ("VACUUM ERASE nothing", "AM-2203"),
        ("VACUUM FULL p q", "AM-2201"),
    ):
        with pytest.raises(am.AmatersError) as caught:
            db.sql(statement)
        assert caught.value.code == code, statement
    assert isinstance(db.sql("VACUUM").message, str)
    db.close()


def test_the_log_and_its_spares_are_new_files(tmp_path: Path) -> None:
    """Recycled files keep the bytes of what was in them: there are none afterwards."""
    db = fill(tmp_path)
    storage: DirectoryStorage = db._asynchronous._engine._storage  # type: ignore[attr-defined]
    storage.snapshot()
    db.table("p").insert(people(5, first=9000))
    storage.snapshot()
    before = {file.name for file in (tmp_path / "db" / "log").iterdir()}
    db.erase()
    assert before.isdisjoint(file.name for file in (tmp_path / "db" / "log").iterdir())
    db.table("p").insert(people(5, first=9500))
    db.close()


def test_a_rewriting_that_met_conflicts_leaves_no_objects_behind() -> None:
    """What was uploaded for canaries whose keys others took is deleted, not swept some day."""

    async def run() -> None:
        engine = Engine(open_memory(), unsafe_scheme=True, merge_bytes_per_second=0)
        spy = Conflicting(engine)
        db = await open_on(spy)
        table = await db.create_table("p", {"k": am.Int64(primary_key=True), "a": am.Int32()})
        await table.insert([{"k": 3 * k, "a": k} for k in range(FULL)])
        await table.delete([3, 6])
        spy.refuses = 1
        erased = await db.erase("p")
        assert spy.refuses == 0
        assert erased.holders == []
        assert set(engine._storage.objects.ids()) == engine._storage.state.object_ids()
        await db.close()

    asyncio.run(run())


class Conflicting(Spy):
    """An engine that says of a new canary that its key is taken."""

    refuses = 0

    async def commit(self, request: pb.CommitRequest) -> pb.CommitReply:
        if self.refuses and request.segments and request.moved.versions:
            self.refuses -= 1
            blocks = self.inner._storage.objects
            ref = self.inner._uploads.waiting([request.segments[0].public_object])[0]
            keys = decode_block(blocks.open(ref).read()).columns[1][0].tolist()
            at = next(slot for slot, key in enumerate(keys) if key % 3)
            return pb.CommitReply(conflicts=[pb.KeyConflict(new_segment=0, new_row=at)])
        found: pb.CommitReply = await self.inner.commit(request)
        return found


def test_a_place_of_backups_that_cannot_be_looked_into() -> None:
    """It is refused with a typed error before anything is erased."""
    with am.connect(":memory:", **small("noop")) as db:
        db.sql("CREATE TABLE p (id BIGINT PRIMARY KEY, s INTEGER ENCRYPTED)")
        db.table("p").insert([(1, 1)])
        with pytest.raises(am.InvalidError, match="AM-4028"):
            db.erase("p", backups=["x" * 300])
        assert db.erase("p").holders == []
