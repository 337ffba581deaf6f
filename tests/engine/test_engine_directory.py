"""Directory databases: reopened, killed, locked, damaged."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import engine_support as support
import pytest

from amaters.base.errors import AmatersError, ConflictError, DataError
from amaters.base.ids import new_id
from amaters.engine.service import open_engine
from amaters.storage.directory import open_directory
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

KILLS = 10


async def contents(path: Path, table: support.Table) -> support.Rows:
    service = open_engine(path, unsafe_scheme=True, threads=1)
    try:
        return await support.read_all(service, table)
    finally:
        await service.close()


def test_reopening_gives_the_same_answers(tmp_path: Path) -> None:
    """Tables, rows, liveness, keysets, request ids and key reservations survive a clean close."""

    async def work() -> None:
        path = tmp_path / "db"
        service = open_engine(path, unsafe_scheme=True, threads=1)
        table = await support.setup(service)
        request = await support.commit_request(service, table, tail=[1, 2], segments=[[10, 11]])
        first = await service.commit(request)
        await support.commit(service, table, removed={1: 1, 11: 1}, version=2)
        before = await support.read_all(service, table)
        hello = await service.hello(pb.HelloRequest(protocol=1))
        await service.close()
        for _ in range(2):
            service = open_engine(path, unsafe_scheme=True, threads=1)
            assert await service.hello(pb.HelloRequest(protocol=1)) == hello
            assert (await service.has_keyset(support.KEY_NAME)).present
            assert await service.commit(request) == first
            assert await support.read_all(service, table) == before
            keys = pb.ReserveRequest(table_id=table.id, keys=1)
            assert (await service.reserve(keys)).first_key == 12
            await service.close()
        assert len(list(path.glob("state/state.db"))) == len(list(path.glob("log/*"))) == 1

    support.run(work)


def test_objects_that_nothing_names_are_swept(tmp_path: Path) -> None:
    """Uploads without a commit are gone after a reopen, those of dropped tables once no rebuild of
    the state can want them, also when the process ends without a close in between.
    """

    async def work() -> None:
        path = tmp_path / "db"
        service = open_engine(path, unsafe_scheme=True, threads=1)
        table = await support.setup(service)
        other = await support.setup(service, support.make_table("other"))
        await support.commit(service, table, segments=[[1, 2]])
        await support.commit(service, other, segments=[[1, 2]], tail=[3])
        named = len(list((path / "objects").iterdir()))
        await support.upload(service, b"never committed")
        drop = pb.DropTableRequest(request_id=new_id(), table_id=other.id)
        await service.drop_table(drop)
        assert len(list((path / "objects").iterdir())) == named + 1
        crashed = tmp_path / "crashed"
        shutil.copytree(path, crashed)
        await service.close()
        for place in (path, crashed):
            assert sorted(await contents(place, table)) == [1, 2]
            assert len(list((place / "objects").iterdir())) == named
            storage = open_directory(place)
            for _ in range(2):
                update = cb.SchemaUpdate(schema=storage.tables()[0].schema)
                storage.append(cb.Command(schema_update=update))
                storage.snapshot()
            assert storage.collect(set()) == named // 2  # all but the empty object of the keys
            storage.close()
            assert len(list((place / "objects").iterdir())) == named // 2 + 1
            assert sorted(await contents(place, table)) == [1, 2]

    support.run(work)


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    """The lock names the process id, in another process too, and goes with its holder."""

    async def work() -> None:
        path = tmp_path / "db"
        service = open_engine(path, unsafe_scheme=True, threads=1)
        with pytest.raises(ConflictError, match="AM-4002") as caught:
            open_engine(path)
        assert caught.value.fields["pid"] == str(os.getpid())
        async with support.engine_process(path) as (_, process):
            assert process.stderr is not None
            text = (await process.stderr.read()).decode()
            assert "AM-4002" in text and str(os.getpid()) in text
            assert await process.wait() == 1
        await service.close()
        await open_engine(path).close()

    support.run(work)


def test_other_directories_are_left_alone(tmp_path: Path) -> None:
    """A directory with foreign files, or a file, is refused and not touched."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="AM-4005"):
        open_engine(tmp_path)
    with pytest.raises(DataError, match="AM-4005"):
        open_engine(tmp_path / "notes.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    other = tmp_path / "other"
    (other / "log").mkdir(parents=True)
    (other / "log" / "app.log").write_text("mine")
    with pytest.raises(DataError, match="AM-4005"):
        open_engine(other)
    assert (other / "log" / "app.log").read_text() == "mine"


def test_an_interrupted_creation_is_taken_up(tmp_path: Path) -> None:
    """A database whose making was killed before its marker was there is made again."""

    async def work() -> None:
        path = tmp_path / "db"
        await open_engine(path, threads=1).close()
        (path / "AMATERS").rename(path / "AMATERS.tmp")
        (path / "objects").rmdir()
        service = open_engine(path, unsafe_scheme=True, threads=1)
        table = await support.setup(service)
        await support.commit(service, table, tail=[1])
        await service.close()
        assert sorted(await contents(path, table)) == [1]

    support.run(work)


def test_killed_writers_lose_nothing_acknowledged(tmp_path: Path) -> None:
    """SIGKILL at ten arbitrary moments: every acknowledged batch is whole, every other batch is
    whole or absent, and the database goes on.
    """

    async def work() -> None:
        path, table = tmp_path / "db", support.make_table()
        acknowledged: dict[int, int] = {}
        attempted: dict[int, list[int]] = {}
        batch = 0
        for kill in range(KILLS):
            async with support.engine_process(path) as (service, process):
                if kill == 0:
                    await support.setup(service, table)
                found = await support.read_all(service, table)
                check(found, acknowledged, attempted)
                killer = None
                try:
                    while True:
                        batch += 1
                        keys = list(range(batch * 100, batch * 100 + 3))
                        attempted[batch] = keys
                        halves = {"tail": keys} if batch % 4 else {"segments": [keys]}
                        reply = await support.commit(service, table, **halves)  # type: ignore[arg-type]
                        assert reply.position and not reply.conflicts
                        acknowledged[batch] = reply.position
                        killer = killer or asyncio.get_running_loop().call_later(
                            0.003 * kill * kill, process.kill
                        )
                except AmatersError as error:
                    assert error.code == "AM-3003"
        assert len(acknowledged) > KILLS
        check(await contents(path, table), acknowledged, attempted)

    support.run(work)


def check(
    found: support.Rows, acknowledged: dict[int, int], attempted: dict[int, list[int]]
) -> None:
    """Batches are whole or absent; acknowledged ones are there; nothing else is."""
    expected = {number: set(keys) for number, keys in attempted.items()}
    for number, keys in expected.items():
        there = keys & found.keys()
        assert there in (keys, set())
        assert there or number not in acknowledged
    assert found.keys() <= set().union(*expected.values(), set())


def stored_files(path: Path) -> Iterator[Path]:
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name != "LOCK":
            yield file


def test_missing_files_are_reported(tmp_path: Path) -> None:
    """Without any one of its files the database does not open or the query fails; nothing is
    swept away or answered from what is left.
    """

    async def work() -> None:
        path = tmp_path / "db"
        service = open_engine(path, unsafe_scheme=True, threads=1)
        table = await support.setup(service)
        await support.commit(service, table, tail=[1, 2], segments=[[10, 11, 12]])
        shutil.copytree(path, tmp_path / "killed")
        right = await support.read_all(service, table)
        await service.close()
        for source in (path, tmp_path / "killed"):
            for file in list(stored_files(source)):
                trial = tmp_path / "trial"
                shutil.copytree(source, trial)
                missing = trial / file.relative_to(source)
                missing.unlink()
                count = len(list(stored_files(trial)))
                try:
                    assert await contents(trial, table) == right
                    assert missing.parent.name in ("objects", "state")
                except DataError:
                    assert len(list(stored_files(trial))) == count
                shutil.rmtree(trial)

    support.run(work)


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "killed"])
def test_flipped_bits_are_reported_never_answered(tmp_path: Path, closed: bool) -> None:
    """In every stored file, bits at the start, the end and in between: reading everything gives
    the right answer, for the state is made again, or a Data error.
    """

    async def work() -> None:
        path = tmp_path / "db"
        service = open_engine(path, unsafe_scheme=True, threads=1)
        table = await support.setup(service)
        await support.commit(service, table, tail=[1, 2], segments=[[10, 11, 12]])
        await support.commit(service, table, removed={10: 1}, tail=[20], version=2)
        right = await support.read_all(service, table)
        if not closed:
            shutil.copytree(path, tmp_path / "copy")
        await service.close()
        if closed:
            shutil.copytree(path, tmp_path / "copy")
        path = tmp_path / "copy"
        reported = 0
        for file in list(stored_files(path)):
            whole = file.read_bytes()
            size = len(whole)
            for byte in {0, 3, 9, size // 3, size // 2, size - 17, size - 1} & set(range(size)):
                damaged = bytearray(whole)
                damaged[byte] ^= 1 << byte % 8
                trial = tmp_path / "trial"
                shutil.copytree(path, trial)
                (trial / file.relative_to(path)).write_bytes(damaged)
                try:
                    assert await contents(trial, table) == right
                except DataError:
                    reported += 1
                shutil.rmtree(trial)
        assert reported >= 16

    support.run(work)
