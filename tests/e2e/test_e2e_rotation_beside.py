"""Rotation of keys beside everything else: deep tables, ALTER, lost state, backups, long sleeps."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path

import e2e_support as support
import pytest
from rotation_support import QUESTIONS, ROWS, Interrupting, Stops, answers, filled

import amaters as am
from amaters.client import rotation
from amaters.client.keyring import Keyring
from amaters.engine.service import open_engine
from amaters.storage.backupset import open_target
from amaters.storage.restore import restore


def test_a_long_tail_becomes_a_segment_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """One command cannot replace many megabytes of rows."""
    monkeypatch.setattr(rotation, "TAIL_BYTES_MAX", 1 << 18)
    with am.connect(":memory:", **support.small("noop")) as db:
        db.sql("CREATE TABLE t (k INTEGER PRIMARY KEY, note TEXT ENCRYPTED)")
        rows = [(7 * key, f"{key}" * 400) for key in range(400)]
        db.table("t").insert(rows)
        done = db.rotate_keys()
        assert (done.tables, done.segments) == (1, 1)
        assert db.sql("SELECT * FROM t ORDER BY k").rows() == rows


def test_tables_come_go_and_change_meanwhile(tmp_path: Path) -> None:
    """In the middle of a rotation: a table is altered, one is dropped, one is made, an index is
    built, indexes and statements work as before.
    """

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        spy = Interrupting(engine)
        db = await filled(spy, "noop", tmp_path)
        expected = (await db.sql(QUESTIONS[2])).rows()
        for left, change in (
            (2, "DROP TABLE empty"),
            (1, "CREATE INDEX by_v ON open (v)"),
            (6, "ALTER TABLE t ALTER COLUMN bonus ADD QUERY range"),
            (2, "ALTER TABLE t RENAME COLUMN grade TO class"),
            (3, "CREATE TABLE late (a INTEGER ENCRYPTED WITH (QUERIES = 'sum'))"),
        ):
            spy.left = left
            with pytest.raises(Stops):
                await db.rotate_keys()
            spy.left = 1 << 30
            await db.sql(change)
        await db.sql("INSERT INTO late VALUES (5)")
        await db.rotate_keys()
        assert (await db.sql(QUESTIONS[2].replace("grade", "class"))).rows() == expected
        found = await db.sql("SELECT count(*) FROM t WHERE bonus >= 2500.5")
        bonuses = [row["bonus"] for row in ROWS if row["bonus"] is not None]
        assert found.scalar() == pytest.approx(sum(b >= 2500.5 for b in bonuses), abs=4)
        assert (await db.sql("SELECT sum(a) FROM late")).scalar() == 5
        tables = (await db._session.tables()).values()
        assert len({db._session.keyset_of(table).key_id for table in tables}) == 1
        assert (await engine.verify(lambda _: None)).ok
        await engine.close()

    asyncio.run(work())


@pytest.mark.parametrize("scheme", support.SCHEMES)
def test_deep_tables_have_a_secret_of_their_own(scheme: str, tmp_path: Path) -> None:
    """Both secret keys of a keyset are rotated, the second one where it is used."""
    options = {**support.small(scheme), "keys": tmp_path / "keys"}
    with am.connect(tmp_path / "db", **options) as db:
        encrypted = "v INTEGER ENCRYPTED WITH (QUERIES = 'range,sum', MIN = 0, MAX = 4000)"
        for name, depth in (("a", "default"), ("b", "deep")):
            db.sql(
                f"CREATE TABLE {name} (k INTEGER PRIMARY KEY, {encrypted}) WITH (DEPTH = '{depth}')"
            )
            db.table(name).insert([(3 * key, key) for key in range(2100)])
        before = [db.sql(f"SELECT sum(v) FROM {name} WHERE v > 900").scalar() for name in "ab"]
        done = db.rotate_keys()
        assert done.tables == 2 and done.segments == 3
        after = [db.sql(f"SELECT sum(v) FROM {name} WHERE v > 900").scalar() for name in "ab"]
        assert before == after == [sum(range(901, 2100))] * 2
    with am.connect(tmp_path / "db", **options) as db:
        assert db.sql("SELECT sum(v) FROM b WHERE v > 900").scalar() == before[1]


def test_a_session_may_sleep_through_rotations(tmp_path: Path) -> None:
    """It finds the successor of the successor of its keyset, in the user's own keyring."""

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        db = await filled(engine, "noop", tmp_path)
        sleeper = await support.open_on(engine, "noop", keyring=tmp_path)
        expected = await answers(sleeper)
        for _ in range(3):
            await db.rotate_keys()
        assert await answers(sleeper) == expected
        await sleeper.sql("DELETE FROM open WHERE k < 10")
        assert sleeper._session.keyset.key_id == db._session.keyset.key_id
        await engine.close()

    asyncio.run(work())


@pytest.mark.parametrize("left", [4, 9, 15, 1 << 30])
def test_a_lost_state_is_made_again_from_the_log(left: int, tmp_path: Path) -> None:
    """Every command of a rotation replays: before a table changes over, between two, after all."""

    async def work() -> None:
        where = tmp_path / "db"
        spy = Interrupting(open_engine(where, unsafe_scheme=True))
        db = await filled(spy, "noop", tmp_path / "keys")
        expected = await answers(db)
        spy.left = left
        with contextlib.suppress(Stops):
            await db.rotate_keys()
        await spy.inner.close()
        shutil.rmtree(where / "state")
        engine = open_engine(where, unsafe_scheme=True)
        assert (await engine.verify(lambda _: None)).ok
        db = await support.open_on(engine, "noop", keyring=tmp_path / "keys")
        assert await answers(db) == expected
        await db.rotate_keys()
        assert await answers(db) == expected
        await engine.close()

    asyncio.run(work())


def test_a_table_that_is_half_altered(tmp_path: Path) -> None:
    """ALTER TABLE stops when some segments have the new encodings; keys are rotated; ALTER TABLE
    goes on: old encodings have changed keys, new ones are fresh, and both answer.
    """

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        spy = Interrupting(engine)
        db = await filled(spy, "noop", tmp_path)
        expected = await answers(db)
        spy.left = 4
        with pytest.raises(Stops):
            await db.sql("ALTER TABLE t ALTER COLUMN bonus ADD QUERY range")
        spy.left = 1 << 30
        await db.rotate_keys()
        assert await answers(db) == expected
        assert await db.resume("t") > 0
        found = await db.sql("SELECT count(*), sum(salary) FROM t WHERE bonus > 1000 AND age > 30")
        whole = (await db.sql("SELECT bonus, salary, age FROM t")).rows()
        chosen = [row[1] for row in whole if row[0] is not None and row[0] > 1000 and row[2] > 30]
        assert found.rows() == [(len(chosen), sum(one for one in chosen if one is not None))]
        await db.rotate_keys()
        assert (await db.sql("SELECT count(*) FROM t WHERE bonus > 1000 AND age > 30")).rows() == [
            (len(chosen),)
        ]
        assert (await engine.verify(lambda _: None)).ok
        await engine.close()

    asyncio.run(work())


def test_a_database_without_tables(tmp_path: Path) -> None:
    """There is nothing to switch, and the keys change all the same."""
    options = {**support.small("bgv"), "keys": tmp_path / "keys"}
    with am.connect(tmp_path / "db", **options) as db:
        done = db.rotate_keys()
        assert (done.tables, done.segments, done.rows) == (0, 0, 0)
        db.sql("CREATE TABLE t (a INTEGER ENCRYPTED WITH (QUERIES = 'range'))")
        db.table("t").insert({"a": list(range(1500))})
    with am.connect(tmp_path / "db", **options) as db:
        assert db.sql("SELECT count(*) FROM t WHERE a < 100").scalar() == 100


def test_backups_of_any_moment_open(tmp_path: Path) -> None:
    """From before, from the middle of and from after a rotation, full and incremental: each opens
    with the keysets that are kept, answers, and can be rotated on.
    """
    options = {**support.small("noop"), "keys": tmp_path / "keys"}
    question = "SELECT sum(a) FROM {} WHERE a < 100"

    def stops(event: am.Progress) -> None:
        if event.what == "rotating u":
            raise Stops

    with am.connect(tmp_path / "db", **options) as db:
        for name in "tu":
            encrypted = "a INTEGER ENCRYPTED WITH (QUERIES = 'range,sum')"
            db.sql(f"CREATE TABLE {name} (k INTEGER PRIMARY KEY, {encrypted})")
            db.table(name).insert([(3 * key, key) for key in range(1200)])
        made = [db.backup(tmp_path / "backups").name]
        with pytest.raises(Stops):
            db.rotate_keys(progress=stops)
        made.append(db.backup(tmp_path / "backups", incremental=True).name)
        done = db.rotate_keys(backups=[tmp_path / "backups"])
        assert [holder.name.rsplit("/")[-1] for holder in done.holders] == made
        made.append(db.backup(tmp_path / "backups", incremental=True).name)
    left = []
    for number, name in enumerate(made):
        where = tmp_path / f"restored {number}"
        restore(open_target(str(tmp_path / "backups")), where, name=name)
        for seen in (tmp_path / "keys").glob("*.versions"):  # older schemas are to be believed now
            seen.unlink()
        with am.connect(where, **options) as db:
            assert all(db.sql(question.format(one)).scalar() == sum(range(100)) for one in "tu")
            left.append(db.rotate_keys().tables)
            assert all(db.sql(question.format(one)).scalar() == sum(range(100)) for one in "tu")
            assert db.verify().ok
    assert left == [2, 1, 2]


def test_somebody_else_who_has_both_keysets_rotates_the_first_time(tmp_path: Path) -> None:
    """Only the keyring whose rotation was interrupted at its end has nothing left to do; copies of
    both keysets, in which nothing says that the first is retired, are not that.
    """

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        mine, theirs = tmp_path / "mine", tmp_path / "theirs"
        db = await support.open_on(engine, "noop", keyring=mine)
        await db.sql("CREATE TABLE t (a INTEGER ENCRYPTED WITH (QUERIES = 'sum'))")
        await db.sql("INSERT INTO t VALUES (41)")
        first = await db.rotate_keys()
        shutil.copytree(mine, theirs)
        for path in theirs.glob("*.retired"):
            path.unlink()
        other = await support.open_on(engine, "noop", keyring=theirs)
        second = await other.rotate_keys()
        assert (second.old, second.was_over, second.tables) == (first.new, False, 1)
        ring = Keyring(theirs)
        assert ring.is_retired(first.old) and ring.is_retired(first.new)
        assert (await other.sql("SELECT sum(a) FROM t")).scalar() == 41
        await engine.close()

    asyncio.run(work())


def test_an_interruption_after_the_last_step_is_no_new_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next call retires the keyset and is over; the one after that rotates."""

    async def work() -> None:
        engine = open_engine(":memory:", unsafe_scheme=True)
        db = await filled(engine, "noop", tmp_path)
        with monkeypatch.context() as patch, pytest.raises(Stops):
            patch.setattr(Keyring, "retire", _stop)
            await db.rotate_keys()
        db = await support.open_on(engine, "noop", keyring=tmp_path)
        done = await db.rotate_keys()
        assert done.was_over and Keyring(tmp_path).is_retired(done.old)
        again = await db.rotate_keys()
        assert not again.was_over and again.old == done.new
        await engine.close()

    asyncio.run(work())


def _stop(*_: object) -> None:
    raise Stops
