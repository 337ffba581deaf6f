"""Tables of two depths in one database, under one keyset: every part of their lives."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
from e2e_support import SCHEMES, SMALL, Spy, open_on, outside, small

import amaters as am
from amaters.base.errors import AmatersError
from amaters.client.database import AsyncDatabase
from amaters.client.keymaking import Choice
from amaters.client.keyring import Keyring
from amaters.client.keyshare import export_locked, import_text
from amaters.client.session import Keys, open_session
from amaters.engine.service import Engine
from amaters.fhe.parameters import DEEP, DEFAULT, INSECURE_DEEP_N2048, INSECURE_N1024, deeper
from amaters.plan import refresh
from amaters.storage.database import open_memory

DEEP_SLOTS = INSECURE_DEEP_N2048.slots
DEEP_FULL = DEEP_SLOTS - 64
COLUMNS = {
    "k": am.Int64(primary_key=True),
    "a": am.UInt8(encrypt=["eq", "range", "sum"], nullable=True),
    "g": am.Enum(["x", "y"], encrypt=["group"], nullable=True),
    "note": am.Text(encrypt=[], nullable=True),
}
QUESTIONS = [
    "SELECT count(*), sum(a) FROM {t} WHERE a > 100 AND k < 1000000",
    "SELECT g, count(*), sum(a) FROM {t} WHERE a = 7 OR a < 60 GROUP BY g ORDER BY g",
    "SELECT k, a, g, note FROM {t} WHERE a BETWEEN 40 AND 42 ORDER BY k",
]


def rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "k": 7 * key,
            "a": None if key % 11 == 0 else key * 7 % 200,
            "g": [None, "x", "y"][key % 3],
            "note": f"note {key}",
        }
        for key in range(first, first + count)
    ]


def answers(db: am.Database, table: str) -> list[Any]:
    return [db.sql(question.format(t=table)).rows() for question in QUESTIONS]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_both_depths_live_in_one_database(scheme: str, tmp_path: Path) -> None:
    """One statement of DDL and one call make deep tables beside a default one; all three hold the
    same rows and give the same answers, also after the database was closed and opened again.
    """
    options = small(scheme) | {"keys": tmp_path / "ring"}
    ddl = (
        "CREATE TABLE s (k BIGINT PRIMARY KEY, "
        "a UTINYINT ENCRYPTED WITH (QUERIES = 'eq,range,sum'), "
        "g TEXT ENCRYPTED WITH (QUERIES = 'group', VALUES = 'x,y'), "
        "note TEXT ENCRYPTED) WITH (DEPTH = 'deep')"
    )
    held = rows(DEEP_FULL + 40)
    with am.connect(tmp_path / "db", **options) as db:
        plain = db.create_table("p", COLUMNS)
        deep = db.create_table("d", COLUMNS, depth="deep")
        db.sql(ddl)
        assert plain.schema().parameter_set == INSECURE_N1024.name
        assert deep.schema().parameter_set == INSECURE_DEEP_N2048.name
        assert db.table("s").schema().parameter_set == INSECURE_DEEP_N2048.name
        for table in (plain, deep, db.table("s")):
            table.insert(held)
        expected = answers(db, "p")
        assert answers(db, "d") == answers(db, "s") == expected
        assert all(expected)
        stats = [db.sql(QUESTIONS[0].format(t=name)).stats for name in "pd"]
        assert [(found.segments, found.tail_rows) for found in stats] == [(2, 104), (1, 40)]
        db.table("d").filter(am.col("a") == 7).update({"note": "seven"})
        db.table("d").filter(am.col("a") == 9).delete()
    with am.connect(tmp_path / "db", **options) as db:
        assert answers(db, "p") == answers(db, "s") == expected
        changed = db.sql("SELECT count(*) FROM d WHERE a = 9").rows()
        assert changed == [(0,)]
        seven = db.sql("SELECT DISTINCT note FROM d WHERE a = 7").rows()
        assert seven == [("seven",)]
        before = answers(db, "d")
        db.compact("d")
        assert answers(db, "d") == before
        with db.batch() as batch:
            batch.insert("p", rows(3, first=9000))
            batch.insert("d", rows(3, first=9000))
        counts = [db.sql(f"SELECT count(*) FROM {name} WHERE k >= 63000").scalar() for name in "pd"]
        assert counts == [3, 3]


def test_parts_of_a_deep_segment_are_merged() -> None:
    """Slot leases, partial segments and the engine's additions know the table's own slots."""

    async def run() -> None:
        engine = Engine(open_memory(), unsafe_scheme=True, merge_bytes_per_second=0)
        db = await open_on(engine, "bgv")
        table = await db.create_table("d", COLUMNS, depth="deep")
        batches = [rows(900, 1000 * n) for n in range(2)] + [rows(170, 5000)]  # a full tail
        batches += [rows(300, 10_000), rows(300, 20_000), rows(300, 30_000)]  # which share
        for batch in batches:
            await table.insert(batch)
        question = "SELECT count(*), count(a), sum(a) FROM d WHERE a < 60"
        before = await db.sql(question)
        assert (before.stats.segments, before.stats.tail_rows) == (3, 1970)
        assert await engine.merge() == 1
        after = await db.sql(question)
        assert after.stats.segments == 1
        chosen = [r["a"] for batch in batches for r in batch if r["a"] is not None and r["a"] < 60]
        assert after.rows() == before.rows() == [(len(chosen), len(chosen), sum(chosen))]
        await db.close()

    asyncio.run(run())


def test_evaluation_keys_are_sent_once_when_first_needed() -> None:
    """A database without deep tables never has their keys; the second deep table sends none."""

    async def run() -> list[int]:
        spy = Spy(Engine(open_memory(), unsafe_scheme=True))
        db = await open_on(spy, "bgv")
        counts = []
        for name, depth in (("p", "default"), ("d", "deep"), ("e", "deep"), ("q", "default")):
            await db.create_table(name, COLUMNS, depth=depth)
            counts.append(spy.calls["put_keyset"])
        await db.close()
        return counts

    assert asyncio.run(run()) == [1, 2, 2, 2]


def test_an_export_opens_both_depths_and_old_keysets_say_what_they_lack(tmp_path: Path) -> None:
    """A colleague's copy has both secrets. A keyset from before there were two makes default
    tables, refuses deep ones with what to do, and cannot read somebody else's.
    """
    options = small("bgv")
    first, second, old = (tmp_path / name for name in ("first", "second", "old"))
    with am.connect(tmp_path / "db", keys=first, **options) as db:
        db.create_table("d", COLUMNS, depth="deep").insert(rows(DEEP_FULL))
    ((path, header),) = Keyring(first).headers()
    keyset = Keyring(first).find(header.key_id, "db")
    assert keyset.deep_key and keyset.deep_key != keyset.secret_key
    copied = import_text(export_locked(keyset, "open"), str(path), Keyring(second), "open")
    Keyring(second).save(copied)
    with am.connect(tmp_path / "db", keys=second, **options) as db:
        found = db.sql("SELECT count(*) FROM d WHERE a >= 0")
        assert (found.scalar(), found.stats.segments) == (DEEP_FULL - DEEP_FULL // 11 - 1, 1)
    Keyring(old).save(replace(keyset, deep_key=b""))
    with am.connect(tmp_path / "db", keys=old, **options) as db:
        with pytest.raises(am.DeniedError) as denied:
            db.sql("SELECT count(*) FROM d WHERE a >= 0")
        assert denied.value.code == "AM-2311"
    file = Keyring(old).path(keyset.key_id)
    with am.connect(tmp_path / "other", keys=file, **options) as db:
        db.create_table("p", COLUMNS).insert(rows(20))
        assert db.sql("SELECT count(*) FROM p WHERE a >= 0").scalar() == 18
        for work in (
            lambda: db.create_table("e", COLUMNS, depth="deep"),
            lambda: db.sql("CREATE TABLE e (a INTEGER) WITH (DEPTH = 'deep')"),
        ):
            with pytest.raises(am.InvalidError) as caught:
                work()
            assert caught.value.code == "AM-2310"
        db.rotate_keys()
    with am.connect(tmp_path / "other", keys=old, **options) as db:
        db.create_table("e", COLUMNS, depth="deep").insert(rows(DEEP_FULL))
        before = answers(db, "e")
        db.rotate_keys()
        assert answers(db, "e") == before
        assert db.sql("SELECT count(*) FROM p WHERE a >= 0").scalar() == 18


def test_an_unknown_depth_is_refused() -> None:
    with am.connect(":memory:", **small("noop")) as db, pytest.raises(am.UsageError):
        db.create_table("t", COLUMNS, depth="abyss")


def test_every_secure_set_has_a_deeper_one() -> None:
    """More levels, the same plaintext modulus, at least twice the slots."""
    assert deeper(DEFAULT) is DEEP is deeper(DEEP)
    assert deeper(INSECURE_N1024) is INSECURE_DEEP_N2048
    assert DEEP.max_level == 2 * DEFAULT.max_level == INSECURE_DEEP_N2048.max_level
    assert DEEP.slots == 2 * DEFAULT.slots


def test_a_keyset_of_other_keys_is_denied() -> None:
    """A table whose key this keyset does not have is not touched with a key that it has."""

    async def run() -> None:
        engine = Engine(open_memory(), unsafe_scheme=True)
        db = await open_on(engine, "noop")
        table = await (await db.create_table("d", COLUMNS, depth="deep")).schema()
        session = await open_session(
            Engine(open_memory(), unsafe_scheme=True),
            url="other",
            keys=Keys(None),
            choice=Choice("noop", SMALL),
            outside=outside(),
        )
        with pytest.raises(AmatersError) as caught:
            session.scheme_of(table)
        assert caught.value.code == "AM-2311"
        await AsyncDatabase(session).close()
        await db.close()

    asyncio.run(run())


def test_true_parameters_of_both_depths_under_one_keyset(monkeypatch: pytest.MonkeyPatch) -> None:
    """One full segment of 32,768 slots and one of 16,384 in a database with real keys: a filter
    that is too deep for one is a single circuit on the other (which would be run in parts as well,
    for that is faster), and both answer it. CREATE TABLE says what fits, EXPLAIN what keys are
    sent.
    """
    monkeypatch.setattr(refresh, "SECONDS_MIN", inf)
    ddl = (
        "CREATE TABLE {name} (k BIGINT PRIMARY KEY, "
        "a UTINYINT NOT NULL ENCRYPTED WITH (QUERIES = 'group,sum', VALUES = (1, 2, 3)), "
        "b UTINYINT ENCRYPTED WITH (QUERIES = 'range', MIN = 0, MAX = 15)) WITH (DEPTH = '{depth}')"
    )
    count = DEEP.slots - 64
    values = {
        "k": [5 * number for number in range(count)],
        "a": [1 + number % 3 for number in range(count)],
        "b": [None if number % 7 == 0 else number % 16 for number in range(count)],
    }
    where = "b < 3"
    for number in range(10):
        op, word = ("=", "AND") if number % 2 else ("<>", "OR")
        where = f"(a {op} {1 + number % 3} {word} {where})"
    with am.connect(":memory:") as db:
        text = db.explain(ddl.format(name="d", depth="deep"))
        assert "Evaluation keys: 154.5 MB" in text and "one circuit combines up to" in text
        made = db.sql(ddl.format(name="d", depth="deep")).message
        assert "one circuit combines up to" in made
        db.sql(ddl.format(name="p", depth="default"))
        db.table("d").insert(values)
        few = {name: found[:16_320] for name, found in values.items()}
        db.table("p").insert(few)
        for name, held in (("d", values), ("p", few)):
            sql = f"SELECT count(*), sum(a) FROM {name} WHERE {where}"
            assert ("Client refresh" in db.explain(sql)) == (name == "p")
            found = db.sql(sql)
            pairs = zip(held["a"], held["b"], strict=True)
            expected = [a for a, b in pairs if a is not None and chosen(a, b)]
            assert found.rows() == [(len(expected), sum(expected))]
            assert (found.stats.segments, found.stats.tail_rows) == (1, 0)


def chosen(a: int, b: int | None) -> bool:
    """The filter of the test above: ``b < 3`` is NULL, so not TRUE, where b is NULL."""
    truth: bool | None = None if b is None else b < 3
    for number in range(10):
        other = (a == 1 + number % 3) if number % 2 else (a != 1 + number % 3)
        if number % 2:
            truth = False if not other else truth
        else:
            truth = True if other else truth
    return truth is True
