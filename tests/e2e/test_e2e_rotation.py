"""Rotation of keys: the same answers before, during and after; nothing opens with the old keyset;
what is interrupted goes on.
"""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import e2e_support as support
import pytest
from rotation_support import QUESTIONS, ROWS, Interrupting, Stops, answers, filled, rekeys, table_id

import amaters as am
from amaters.base.errors import AmatersError, ConflictError, DeniedError
from amaters.client.database import AsyncDatabase
from amaters.client.keyring import Keyring
from amaters.engine.service import open_engine
from amaters.wire import blocks
from amaters.wire import service_pb2 as pb


@pytest.mark.parametrize("scheme", support.SCHEMES)
def test_answers_stay_and_changes_go_on(scheme: str, tmp_path: Path) -> None:
    """All kinds of questions; then inserts, updates and compactions under the new keyset."""

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        db = await filled(engine, scheme, tmp_path)
        before = await answers(db)
        old = db._session.keyset.key_id
        done = await db.rotate_keys()
        assert (done.old, done.new) == (old, db._session.keyset.key_id)
        assert (done.tables, done.segments) == (3, 5)
        assert await answers(db) == before
        tables = (await db._session.tables()).values()
        assert {db._session.keyset_of(table).key_id for table in tables} == {done.new}
        reply = await engine.hello(pb.HelloRequest(protocol=1))
        assert (reply.keyset_id, reply.rotating_to) == (done.new, b"")
        await db.sql("UPDATE t SET salary = 1 WHERE age > 100")
        table = await db.table("t")
        await table.insert(support.people(1000, seed=2, first=9000))
        changed = await answers(db)
        await db.compact()
        assert await answers(db) == changed != before
        assert max(await rekeys(db)) == 1
        shown = await db.explain(QUESTIONS[1])
        assert "changed keys 1x" in shown and "--fresh" in shown
        again = await db.rotate_keys()
        assert again.old == done.new and await answers(db) == changed
        assert max(await rekeys(db)) == 2
        await db.compact(fresh=True)
        assert not any(await rekeys(db)) and await answers(db) == changed
        assert "changed keys" not in await db.explain(QUESTIONS[1])
        assert (await engine.verify(lambda _: None)).ok
        await db.close()

    asyncio.run(work())


def test_a_new_session_needs_the_new_keyset(tmp_path: Path) -> None:
    """The old keyset opens nothing any more: not the database, no schema, no row; it is retired,
    and stays.
    """
    options = {**support.small("noop"), "keys": tmp_path / "keys"}
    with am.connect(tmp_path / "db", **options) as db:
        db.sql("CREATE TABLE t (a INTEGER ENCRYPTED WITH (QUERIES = 'sum'))")
        db.table("t").insert({"a": list(range(2000))})
        backup = db.backup(tmp_path / "backups")
        done = db.rotate_keys(backups=[tmp_path / "backups"])
        held = [(holder.kind, holder.name) for holder in done.holders]
        assert held == [("backup", f"{tmp_path / 'backups'}/{backup.name}")]
    keyring = Keyring(tmp_path / "keys")
    assert keyring.is_retired(done.old) and not keyring.is_retired(done.new)
    with am.connect(tmp_path / "db", **options) as db:
        assert db.sql("SELECT sum(a) FROM t").scalar() == sum(range(2000))
        assert db.verify().ok
    keyring.path(done.new).rename(tmp_path / "away")
    with pytest.raises(DeniedError, match="AM-1101"):
        am.connect(tmp_path / "db", **options)


def test_nothing_of_the_old_keys_is_left_in_the_directory(tmp_path: Path) -> None:
    """After a rotation no object is under the old secret key, and no old evaluation keys."""
    options = {**support.small("bgv"), "keys": tmp_path / "keys"}
    with am.connect(tmp_path / "db", **options) as db:
        db.sql("CREATE TABLE t (a INTEGER ENCRYPTED WITH (QUERIES = 'range,sum'))")
        db.table("t").insert({"a": list(range(2300))})
        (table,) = db._asynchronous._engine._storage.tables()
        sealed = [bytes(box) for block in table.tail for box in blocks.decode_pack(block.sealed)]
        assert len(sealed) == 2300 - 2 * support.FULL
        done = db.rotate_keys()
    files = [path for path in (tmp_path / "db").rglob("*") if path.is_file()]
    objects = [path.read_bytes() for path in files if "objects" in path.parts]
    assert objects and not [data for data in objects if done.old in data]
    assert [data for data in objects if done.new in data]
    everything = b"".join(path.read_bytes() for path in files)
    assert done.new in everything and not any(box in everything for box in sealed)


@pytest.mark.parametrize("scheme", support.SCHEMES)
def test_stopped_anywhere_it_goes_on(scheme: str, tmp_path: Path) -> None:
    """After every request that changes something: others go on reading and writing meanwhile, and
    the next call finishes with the same keyset. Sessions from before follow by themselves.
    """

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        spy = Interrupting(engine)
        db = await filled(spy, scheme, tmp_path)
        other = await support.open_on(engine, scheme, keyring=tmp_path)
        expected = await answers(db)
        steps, new = 0, set()
        while True:
            spy.left = 3 if scheme == "noop" else 6
            steps += 1
            try:
                done = await db.rotate_keys()
                break
            except Stops:
                pass
            spy.left = 1 << 30
            hello = await engine.hello(pb.HelloRequest(protocol=1))
            new |= {hello.rotating_to} - {b""}
            assert await answers(other) == expected
            db = await support.open_on(spy, scheme, keyring=tmp_path)
            assert await answers(db) == expected
            key = 500_000 + steps
            await other.sql("INSERT INTO open VALUES (?, 'new')", [key])
            await db.sql("DELETE FROM open WHERE k = ?", [key])
        assert steps > 2 and new == {done.new}
        assert await answers(other) == await answers(db) == expected
        assert len(Keyring(tmp_path).headers()) == 2
        assert (await engine.verify(lambda _: None)).ok
        await engine.close()

    asyncio.run(work())


def test_writers_and_readers_while_it_runs(tmp_path: Path) -> None:
    """Rows that come, change and go at any moment of a rotation are there after it."""

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        db = await filled(engine, "noop", tmp_path)
        writer = await support.open_on(engine, "noop", keyring=tmp_path)
        written: dict[int, int] = {}
        over = asyncio.Event()

        async def write() -> None:
            table = await writer.table("t")
            people = support.people(4000, seed=9, first=50_000)
            for number, row in enumerate(people):
                if over.is_set():
                    break
                await table.upsert([{**row, "salary": number}])
                written[row["id"]] = number
                if number % 7 == 3:
                    gone = people[number - 2]["id"]
                    await table.delete([gone])
                    written.pop(gone)
                if number % 50 == 10:
                    big = support.people(support.FULL, seed=number, first=200_000 + 2000 * number)
                    await table.insert(big)
                    written.update({one["id"]: one["salary"] for one in big})

        async def read() -> None:
            while not over.is_set():
                found = await writer.sql("SELECT count(*) FROM t WHERE age <= 120")
                assert found.scalar() >= len(ROWS) - 4

        async def turn() -> None:
            for _ in range(3):
                await db.rotate_keys()
            over.set()

        await asyncio.gather(turn(), write(), read())
        assert len(written) > 20
        total = "SELECT count(*), sum(salary) FROM t WHERE id >= 350000"
        salaries = [one for one in written.values() if one is not None]
        assert (await db.sql(total)).rows() == [(len(written), sum(salaries))]
        assert (await engine.verify(lambda _: None)).ok
        await engine.close()

    asyncio.run(work())


class Hasty(support.Spy):
    """Lets another client write just before a table changes over, unless writers wait."""

    writer: AsyncDatabase
    written = 0

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        if name != "switch_keys":
            return method

        async def single(request: Any) -> Any:
            insert = self.writer.sql(f"INSERT INTO t VALUES ({700_000 + self.written}, 1)")
            self.written += 1
            waiting.append(asyncio.ensure_future(insert))
            await asyncio.wait(waiting[-1:], timeout=0.5)
            return await method(request)

        waiting: list[asyncio.Future[Any]] = self.inserts
        return single

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.inserts: list[asyncio.Future[Any]] = []


def test_writers_that_are_always_faster_wait_for_a_moment(tmp_path: Path) -> None:
    """Each attempt to change a table over meets a row that has just come: the next time the engine
    lets writers wait, and they go on under the new keys.
    """

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        hasty = Hasty(engine)
        db = await support.open_on(hasty, "noop", keyring=tmp_path)
        encrypted = "a INTEGER ENCRYPTED WITH (QUERIES = 'sum')"
        await db.sql(f"CREATE TABLE t (k BIGINT PRIMARY KEY, {encrypted})")
        await (await db.table("t")).insert([(3 * key, 1) for key in range(1300)])
        hasty.writer = await support.open_on(engine, "noop", keyring=tmp_path)
        done = await db.rotate_keys()
        await asyncio.gather(*hasty.inserts)
        assert done.tables == 1 and hasty.calls["hold_writes"] >= 1
        assert (await db.sql("SELECT sum(a) FROM t")).scalar() == 1300 + hasty.written
        await engine.close()

    asyncio.run(work())


def test_a_rotation_that_somebody_else_began_is_refused_without_its_keyset(tmp_path: Path) -> None:
    """Whoever lacks the new keyset is told, with the progress and what to do."""

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        spy = Interrupting(engine)
        db = await filled(spy, "noop", tmp_path / "one")
        (tmp_path / "two").mkdir(mode=0o700)
        old = Keyring(tmp_path / "one").path(db._session.keyset.key_id)
        (tmp_path / "two" / old.name).write_bytes(old.read_bytes())
        (tmp_path / "two" / old.name).chmod(0o600)
        spy.left = 8
        with pytest.raises(Stops):
            await db.rotate_keys()
        without = await support.open_on(engine, "noop", keyring=tmp_path / "two")
        for attempt in (without.tables, without.rotate_keys):
            with pytest.raises(DeniedError, match="AM-1123"):
                await attempt()
        with pytest.raises(ConflictError, match="AM-3121"):
            await without.abandon_rotation()
        await engine.close()

    asyncio.run(work())


def test_a_lost_new_keyset_is_not_a_lost_database(tmp_path: Path) -> None:
    """As long as no table has changed over, a rotation can be given up: all is as before, nothing
    is left of it, and another one begins.
    """

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        spy = Interrupting(engine)
        db = await support.open_on(spy, "noop", keyring=tmp_path)
        await (await db.create_table("t", support.COLUMNS)).insert(ROWS)
        before = await engine.table_stats(pb.TableStatsRequest(table_id=await table_id(db)))
        spy.left = 6
        with pytest.raises(Stops):
            await db.rotate_keys()
        new = db._session.keyset
        Keyring(tmp_path).path(new.key_id).unlink()
        db = await support.open_on(engine, "noop", keyring=tmp_path)
        assert (await db.sql("SELECT count(*) FROM t")).scalar() == len(ROWS)
        with pytest.raises(DeniedError, match="AM-1123"):
            await db.rotate_keys()
        await db.abandon_rotation()
        hello = await engine.hello(pb.HelloRequest(protocol=1))
        assert (hello.keyset_id, hello.rotating_to) == (db._session.keyset.key_id, b"")
        after = await engine.table_stats(pb.TableStatsRequest(table_id=await table_id(db)))
        assert after.segment_bytes == before.segment_bytes
        done = await db.rotate_keys()
        assert done.new != new.key_id
        assert (await db.sql("SELECT count(*) FROM t WHERE age <= 120")).scalar() == len(ROWS)
        assert (await engine.verify(lambda _: None)).ok
        await engine.close()

    asyncio.run(work())


class Liar(support.Spy):
    """Says that the database is rotated to some keyset."""

    claimed = b""

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)

        async def hello(request: Any) -> Any:
            reply = await method(request)
            reply.rotating_to = self.claimed
            return reply

        return hello if name == "hello" and self.claimed else method


def test_an_engine_cannot_choose_the_keyset(tmp_path: Path) -> None:
    """A keyset of another database is not one that replaces this one's."""

    async def work() -> None:
        liar = Liar(open_engine(":memory:", unsafe_scheme=True))
        db = await filled(liar, "noop", tmp_path)
        other = await support.open_on(
            open_engine(":memory:", unsafe_scheme=True), "noop", keyring=tmp_path
        )
        liar.claimed = other._session.keyset.key_id
        with pytest.raises(DeniedError, match="AM-1124"):
            await support.open_on(liar, "noop", keyring=tmp_path)
        with pytest.raises(DeniedError, match="AM-1124"):
            await db.rotate_keys()
        await db.close()

    asyncio.run(work())


def test_requests_out_of_turn_are_refused(tmp_path: Path) -> None:
    """A second rotation beside the first, an end that comes too early, a change of keys of a table
    that is not ready or that changes something else.
    """

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        spy = Interrupting(engine)
        db = await filled(spy, "noop", tmp_path)
        spy.left = 4
        with pytest.raises(Stops):
            await db.rotate_keys()
        session = db._session
        new = session.keyset.key_id
        end = pb.EndRotationRequest(request_id=session.new_id(), keyset_id=new)
        with pytest.raises(ConflictError, match="AM-3121"):
            await engine.end_rotation(end)
        end.keyset_id = b"x" * 16
        with pytest.raises(DeniedError, match="AM-3010"):
            await engine.end_rotation(end)
        table = await session.table("t")
        name = pb.KeyName(
            keyset_id=b"y" * 16,
            key_id=b"y" * 16,
            from_key_id=table.key_id,
            parameter_set=table.parameter_set,
            scheme="noop",
        )

        async def nothing() -> Any:
            return
            yield b""

        put = pb.PutKeysetRequest(request_id=session.new_id(), name=name)
        with pytest.raises(ConflictError, match="AM-3120"):
            await engine.put_keyset(put, nothing())
        with pytest.raises(AmatersError, match="AM-3120"):
            await engine.has_keyset(name)
        moved = dataclasses.replace(table, version=table.version + 1, key_id=new)
        switch = pb.SwitchKeysRequest(
            request_id=session.new_id(),
            expected_version=table.version,
            schema=session.sealed(moved),
        )
        with pytest.raises(ConflictError, match="AM-3121"):
            await engine.switch_keys(switch)
        renamed = dataclasses.replace(moved, name="u")
        switch.schema.CopyFrom(session.sealed(renamed))
        with pytest.raises(AmatersError, match="AM-3005"):
            await engine.switch_keys(switch)
        spy.left = 1 << 30
        await db.rotate_keys()
        assert len(await answers(db)) == len(QUESTIONS) + 2
        await engine.close()

    asyncio.run(work())
