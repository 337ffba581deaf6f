"""ALTER TABLE end to end: DuckDB's answers before, during and after, and what is refused."""

from __future__ import annotations

import asyncio
import random
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from e2e_support import COLUMNS, FULL, SCHEMES, SMALL, Spy, open_on, people, small

import amaters as am
from amaters.base import errors
from amaters.client.database import AsyncDatabase
from amaters.engine.service import Engine, open_engine
from amaters.storage.database import open_memory

DUCK = """CREATE TABLE p (id BIGINT, dept VARCHAR, age SMALLINT, salary INTEGER,
    bonus DECIMAL(9,2), grade VARCHAR, born DATE, city VARCHAR, notes VARCHAR)"""
ENCRYPTED = "INTEGER DEFAULT 5 ENCRYPTED WITH (QUERIES = 'eq,sum', MIN = 0, MAX = 100)"


class Both:
    """A database of ours and DuckDB, which get the same statements and must answer alike."""

    def __init__(self, scheme: str) -> None:
        self.ours = am.connect(":memory:", **small(scheme))
        self.duck = duckdb.connect()
        declared = {**COLUMNS, "age": am.UInt8(max=120, encrypt=["eq"])}
        self.table = self.ours.create_table("p", declared)
        self.duck.execute(DUCK)

    def insert(self, rows: list[dict[str, Any]]) -> None:
        self.ours.table(self.ours.tables()[0]).insert(rows)
        name = self.duck.execute("SELECT table_name FROM duckdb_tables()").fetchall()[0][0]
        columns = ", ".join(rows[0])
        marks = ", ".join("?" * len(rows[0]))
        statement = f"INSERT INTO {name} ({columns}) VALUES ({marks})"
        self.duck.executemany(statement, [list(row.values()) for row in rows])

    def run(self, statement: str, duck: str | None = None) -> str:
        """A change; ``duck``: what DuckDB, which encrypts nothing, is told instead."""
        for part in (statement if duck is None else duck).split(";"):
            if part.strip():
                self.duck.execute(part)
        return self.ours.sql(statement).message

    def check(self, *statements: str) -> None:
        for statement in statements:
            theirs = self.duck.execute(statement).fetchall()
            assert sorted(map(repr, self.ours.sql(statement).rows())) == sorted(map(repr, theirs))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_altered_tables_answer_like_duckdb(scheme: str) -> None:
    """Each action, with rows in segments and in the tail, on rows older and younger than it."""
    both = Both(scheme)
    rows = people(2 * FULL + 150)
    both.insert(rows[: 2 * FULL - 20])
    both.insert(rows[2 * FULL - 20 : 2 * FULL + 20])
    both.run("ALTER TABLE p ALTER COLUMN age ADD QUERY range, sum", "")
    both.check("SELECT count(*), sum(age), sum(salary) FROM p WHERE age > 40")
    both.run(
        f"ALTER TABLE p ADD COLUMN x INTEGER DEFAULT 7, ADD COLUMN y {ENCRYPTED}, ADD z TEXT "
        "ENCRYPTED",
        "ALTER TABLE p ADD COLUMN x INTEGER DEFAULT 7; ALTER TABLE p ADD COLUMN y INTEGER "
        "DEFAULT 5; ALTER TABLE p ADD COLUMN z VARCHAR",
    )
    both.insert([{**row, "x": None, "y": 9, "z": "new"} for row in rows[2 * FULL + 20 :][:20]])
    both.insert(rows[2 * FULL + 40 :][:20])
    both.check(
        "SELECT count(*), sum(x), sum(y), count(z), count(x) FROM p WHERE y = 5",
        "SELECT x, count(*), sum(y) FROM p WHERE x IS NULL OR x = 7 GROUP BY x",
        "SELECT id, x, y, z FROM p WHERE y <> 5",
        "SELECT count(*) FROM p WHERE z IS NULL",
    )
    both.run(
        "ALTER TABLE p DROP COLUMN salary, RENAME COLUMN bonus TO extra, RENAME TO q",
        "ALTER TABLE p DROP COLUMN salary; ALTER TABLE p RENAME COLUMN bonus TO extra; "
        "ALTER TABLE p RENAME TO q",
    )
    both.run(
        "ALTER TABLE q ALTER grade ADD VALUE 'D', 'E', ALTER age SET MAX 200, ALTER notes ADD "
        "QUERY eq, ALTER born SET MIN '1800-01-01'",
        "",
    )
    late = {"id": -5, "dept": "new", "age": 180, "extra": None, "grade": "E", "city": None}
    both.insert([{**late, "born": date(1801, 5, 6), "notes": "late"}])
    both.check(
        "SELECT grade, count(*), sum(extra) FROM q WHERE age > 100 GROUP BY grade",
        "SELECT id, grade, extra, x, y FROM q WHERE born < '1951-01-01'",
        "SELECT count(*) FROM q WHERE notes = 'late' OR notes = ''",
        "SELECT * FROM q WHERE id < 40",
    )
    both.run("ALTER TABLE q ALTER COLUMN age DROP QUERY sum, eq", "")
    with pytest.raises(am.InvalidError, match="AM-2107"):
        both.ours.sql("SELECT sum(age) FROM q")
    both.check("SELECT count(*) FROM q WHERE age BETWEEN 20 AND 190")
    assert both.ours.verify().ok
    both.ours.close()


def test_a_column_of_an_earlier_name_is_not_the_earlier_column() -> None:
    """Values of a dropped column do not come back, in tables with keys of their own or none."""
    both = Both("noop")
    both.insert(people(FULL))
    both.run("ALTER TABLE p DROP COLUMN notes")
    both.run("ALTER TABLE p ADD COLUMN notes VARCHAR")
    both.run("ALTER TABLE p DROP COLUMN city")
    both.run("ALTER TABLE p ADD COLUMN city VARCHAR ENCRYPTED WITH (QUERIES = 'eq')",
             "ALTER TABLE p ADD COLUMN city VARCHAR")  # fmt: skip
    both.insert([{**people(1, first=9000)[0], "notes": "back", "city": "Nara"}])
    both.check(
        "SELECT count(*), count(notes), count(city) FROM p",
        "SELECT notes, city, age FROM p WHERE city = 'Nara' OR notes = 'back'",
    )
    both.ours.sql("CREATE TABLE r (a INTEGER ENCRYPTED WITH (QUERIES = 'sum'))")
    both.ours.table("r").insert([{"a": n} for n in range(FULL)])
    both.ours.sql("ALTER TABLE r ADD COLUMN b TEXT DEFAULT 'x'")
    both.ours.table("r").insert([{"a": 1, "b": "y"}])
    assert both.ours.sql("SELECT b, sum(a) FROM r GROUP BY b ORDER BY b").rows() == [
        ("x", sum(range(FULL))), ("y", 1),
    ]  # fmt: skip
    assert both.ours.sql("SELECT * FROM r WHERE b = 'y'").names == ("a", "b")
    both.ours.close()


def test_indexes_know_the_defaults_of_younger_columns() -> None:
    """An index over a column that most blocks lack, unique or not, says what a scan says."""
    both = Both("noop")
    rows = people(FULL + 60)
    both.insert(rows[:FULL])
    both.run("ALTER TABLE p ADD COLUMN x INTEGER DEFAULT 7")
    both.run("ALTER TABLE p ADD COLUMN u INTEGER")
    both.insert([{**row, "x": at, "u": at} for at, row in enumerate(rows[FULL:])])
    both.run("CREATE INDEX px ON p (x)", "")
    both.run("CREATE UNIQUE INDEX pu ON p (u)", "")
    assert "Index scan" in both.ours.explain("SELECT count(*) FROM p WHERE x = 7")
    both.check("SELECT count(*) FROM p WHERE x = 7", "SELECT id, u FROM p WHERE u = 13")
    with pytest.raises(am.ConflictError, match="AM-3092"):
        both.table.insert([{**people(1, first=5000)[0], "u": 13}])
    assert both.ours.verify().ok
    both.run("DROP INDEX p_dept_idx; ", "")
    both.run("ALTER TABLE p DROP COLUMN dept")
    both.check("SELECT count(*) FROM p WHERE x = 3")
    both.ours.close()


MADE = """CREATE TABLE made (a SMALLINT NOT NULL ENCRYPTED, b SMALLINT NOT NULL,
    g INTEGER GENERATED ALWAYS AS (a * b) STORED NOT NULL ENCRYPTED WITH (QUERIES = 'sum'))"""


def test_defaults_fill_what_an_insert_does_not_name() -> None:
    """DEFAULT in CREATE TABLE, public and encrypted; NULL that is written is NULL."""
    both = Both("noop")
    for ours, duck in (("ENCRYPTED WITH (QUERIES = 'eq')", ""), ("", "")):
        name = "d1" if ours else "d2"
        columns = (
            "k BIGINT PRIMARY KEY, n INTEGER DEFAULT 7 {0}, t TEXT DEFAULT 'none' {0}, "
            "d DATE DEFAULT '2020-02-29' {0}, b BOOLEAN DEFAULT TRUE {0}, "
            "x DECIMAL(9,2) DEFAULT 1.5"
        )
        both.ours.sql(f"CREATE TABLE {name} ({columns.format(ours)})")
        both.duck.execute(f"CREATE TABLE {name} ({columns.format(duck)})")
        for statement in (
            f"INSERT INTO {name} (k) VALUES (1), (2)",
            f"INSERT INTO {name} (k, n, t) VALUES (3, NULL, 'other'), (4, 9, NULL)",
        ):
            both.run(statement)
        both.check(
            f"SELECT * FROM {name}",
            f"SELECT count(*) FROM {name} WHERE n = 7",
            f"SELECT k FROM {name} WHERE t = 'none' OR t IS NULL",
        )
    for column in ("n INTEGER DEFAULT 'x'", "n SMALLINT DEFAULT 70000", "k INTEGER PRIMARY KEY "
                   "DEFAULT 3", "g TEXT DEFAULT 'D' ENCRYPTED WITH (VALUES = 'A,B')"):  # fmt: skip
        with pytest.raises(am.InvalidError, match="AM-2064"):
            both.ours.sql(f"CREATE TABLE bad ({column}, other INTEGER)")
    both.ours.close()


REFUSED = [
    ("ALTER TABLE p DROP COLUMN id", "AM-2062"),
    ("ALTER TABLE p DROP COLUMN dept", "AM-2062"),  # an index is on it
    ("ALTER TABLE p DROP COLUMN nothing", "AM-2001"),
    ("ALTER TABLE p RENAME COLUMN age TO Dept", "AM-2021"),
    ("ALTER TABLE p RENAME COLUMN age TO ''", "AM-2020"),
    ("ALTER TABLE p RENAME TO other", "AM-3020"),
    ("ALTER TABLE p ADD COLUMN age INTEGER", "AM-2021"),
    ("ALTER TABLE p ADD COLUMN n INTEGER NOT NULL", "AM-2063"),
    ("ALTER TABLE p ADD COLUMN n INTEGER PRIMARY KEY", "AM-2205"),
    ("ALTER TABLE p ADD COLUMN n INTEGER DEFAULT 'x'", "AM-2064"),
    (f"ALTER TABLE p ADD COLUMN n {ENCRYPTED.replace('5', '500')}", "AM-2064"),
    ("ALTER TABLE other ADD COLUMN n INTEGER ENCRYPTED", "AM-2061"),
    ("ALTER TABLE p ALTER COLUMN dept ADD QUERY eq", "AM-2062"),
    ("ALTER TABLE p ALTER COLUMN city ADD QUERY sum", "AM-2024"),
    ("ALTER TABLE p ALTER COLUMN age ADD QUERY group", "AM-2025"),
    ("ALTER TABLE p ALTER COLUMN age ADD QUERY magic", "AM-2028"),
    ("ALTER TABLE p ALTER COLUMN age SET MAX 90", "AM-2062"),
    ("ALTER TABLE p ALTER COLUMN age SET MAX 900", "AM-2003"),
    ("ALTER TABLE p ALTER COLUMN city SET MIN 1", "AM-2062"),
    ("ALTER TABLE p ALTER COLUMN age ADD VALUE 3", "AM-2062"),
    ("ALTER TABLE p ALTER COLUMN city SET NOT NULL", "AM-2063"),
    ("ALTER TABLE p ALTER COLUMN id DROP NOT NULL", "AM-2062"),
    ("ALTER TABLE made DROP COLUMN a", "AM-2062"),
    ("ALTER TABLE made ALTER COLUMN a DROP NOT NULL", "AM-2062"),
    ("ALTER TABLE made ADD COLUMN h INTEGER GENERATED ALWAYS AS (a + 1) STORED", "AM-2061"),
    ("ALTER TABLE nothing ADD COLUMN n INTEGER", "AM-2203"),
    ("ALTER TABLE p ALTER COLUMN age EXPLODE", "AM-2201"),
    ("ALTER VIEW p RENAME TO q", "AM-2201"),
]


def test_what_cannot_be_is_refused_and_changes_nothing() -> None:
    """Each refusal by its code, after which the schema is what it was."""
    db = am.connect(":memory:", **small("noop"))
    db.create_table("p", COLUMNS).insert(people(50))
    db.create_table("other", {"n": am.Int32()})
    db.sql(MADE)
    before = db.table("p").schema()
    for statement, code in REFUSED:
        with pytest.raises(am.AmatersError) as caught:
            db.sql(statement)
        assert caught.value.code == code, (statement, caught.value)
    assert db.table("p").schema() == before
    assert db.sql("ALTER TABLE IF EXISTS nothing ADD COLUMN n INTEGER").message
    db.close()


def test_python_says_the_same_as_sql() -> None:
    """The methods of a table."""
    db = am.connect(":memory:", **small("noop"))
    table = db.create_table("p", COLUMNS)
    table.insert(people(FULL))
    table.add_column("n", am.Int16(min=0, max=9, encrypt=["sum"], default=3))
    table.add_query("n", "eq")
    table.rename_column("n", "m")
    table.widen("m", max=90)
    table.widen("grade", values=["Z"])
    table.set_nullable("m", nullable=True)
    table.drop_query("m", "sum")
    table.drop_column("notes")
    table.rename("r")
    column = table.schema().column("m")
    assert (column.maximum, column.nullable, set(column.queries)) == (90, True, {"eq"})
    assert table.filter(am.col("m") == 3).agg(am.count()).scalar() == FULL
    with pytest.raises(am.InvalidError, match="AM-2001"):
        table.schema().column("notes")
    db.close()


# ---- interrupted -------------------------------------------------------------------------------


class Mortal(Spy):
    """An engine that is gone after some segments were encrypted."""

    def __init__(self, inner: Any, lives: int) -> None:
        super().__init__(inner)
        self.lives = lives

    async def add_encodings(self, request: Any) -> Any:
        self.lives -= 1
        if self.lives < 0:
            errors.fail("AM-3004")
        return await self.inner.add_encodings(request)


def quiet_engine() -> Engine:
    return Engine(open_memory(), unsafe_scheme=True, merge_bytes_per_second=0)


async def interrupted(statement: str, lives: int = 1) -> tuple[AsyncDatabase, Mortal]:
    """A table of three segments and a tail; a statement on it stopped after ``lives`` steps."""
    service = Mortal(quiet_engine(), lives)
    db = await open_on(service)
    declared = {**COLUMNS, "age": am.UInt8(max=120, encrypt=["eq"])}
    table = await db.create_table("p", declared)
    for start in range(0, 3 * FULL, FULL):
        await table.insert(people(FULL, first=start))
    await table.insert(people(30, first=3 * FULL))
    with pytest.raises(am.ClosedError):
        await db.sql(statement)
    service.lives = 1000
    return db, service


def test_an_interrupted_change_goes_on_where_it_stopped() -> None:
    """Everything but the new capability works meanwhile; rows written then have it."""
    statement = "ALTER TABLE p ALTER COLUMN age ADD QUERY sum"

    async def run() -> None:
        db, service = await interrupted(statement)
        with pytest.raises(am.InvalidError, match="AM-2060") as caught:
            await db.sql("SELECT sum(age) FROM p")
        assert "1,024 of 3,072 rows are done" in str(caught.value)
        assert (await db.sql("SELECT count(*) FROM p WHERE age = 40")).scalar() is not None
        table = await db.table("p")
        await table.insert([{**row, "age": 41} for row in people(FULL, first=5 * FULL)])
        lives = service.lives
        assert "1,920 rows" in (await db.sql(statement)).message
        assert service.lives == lives - 2
        rows = people(FULL) + people(FULL, first=FULL) + people(FULL, first=2 * FULL)
        rows += people(30, first=3 * FULL)
        older = sum(row["age"] for row in rows)
        found = (await db.sql("SELECT sum(age) FROM p")).scalar()
        assert found == older + 41 * FULL
        await db.close()

    asyncio.run(run())


def test_another_client_may_go_on_and_one_may_take_back() -> None:
    """``resume`` by anybody; DROP QUERY of what is on its way ends it, and its objects go."""

    async def run() -> None:
        db, service = await interrupted("ALTER TABLE p ADD COLUMN n INTEGER DEFAULT 4 ENCRYPTED "
                                        "WITH (QUERIES = 'range', MIN = 0, MAX = 9)")  # fmt: skip
        some = await db.sql("SELECT n FROM p WHERE id < 60")
        assert {row[0] for row in some.rows()} == {4}
        with pytest.raises(am.InvalidError, match="AM-2060"):
            await db.sql("SELECT count(*) FROM p WHERE n > 3")
        other = AsyncDatabase(db._session)
        assert await other.resume() == 2 * FULL
        assert (await db.sql("SELECT count(*) FROM p WHERE n > 3")).scalar() == 3 * FULL + 30
        service.lives = 1
        with pytest.raises(am.ClosedError):
            await db.sql("ALTER TABLE p ALTER COLUMN n ADD QUERY sum")
        service.lives = 1000
        await db.sql("ALTER TABLE p ALTER COLUMN n DROP QUERY sum")
        assert not (await (await db.table("p")).schema()).is_altering
        stored = service.inner._storage.tables()[0].segments
        kinds = {
            e.encoding for s in stored for e in s.manifest.segment.encodings if e.column_id == 10
        }
        assert kinds == {"digits"}
        with pytest.raises(am.InvalidError, match="AM-2107"):
            await db.sql("SELECT sum(n) FROM p")
        await db.close()

    asyncio.run(run())


def test_readers_and_writers_go_on_while_a_table_is_altered(tmp_path: Path) -> None:
    """Inserts, updates, deletes, compactions and queries beside ALTER; nothing is lost."""

    async def run() -> None:
        engine = Engine(open_memory(), unsafe_scheme=True, merge_bytes_per_second=None)
        db = await open_on(engine, keyring=tmp_path)
        other = await open_on(engine, keyring=tmp_path)
        table = await db.create_table("t", {
            "k": am.Int64(primary_key=True),
            "a": am.UInt8(encrypt=["eq"]),
            "b": am.Int32(min=0, max=100_000, encrypt=["sum"]),
        })  # fmt: skip
        await table.insert([{"k": k, "a": k % 200, "b": k} for k in range(4 * FULL)])
        done = asyncio.Event()
        written: set[int] = set(range(4 * FULL))
        draw = random.Random(7)

        async def write() -> None:
            at = 10 * FULL
            while not done.is_set() or at < 10 * FULL + 300:
                count = draw.choice([20, 170, FULL])
                theirs = await other.table("t")
                await theirs.insert([{"k": k, "a": k % 200, "b": k} for k in range(at, at + count)])
                written.update(range(at, at + count))
                at += count
                gone = draw.sample(sorted(written), 25)
                await theirs.delete(gone)
                written.difference_update(gone)
                await other.compact("t")

        async def read() -> None:
            while not done.is_set():
                found = (await db.sql("SELECT count(*), sum(b) FROM t WHERE a = 40")).rows()
                assert found[0][0] > 0

        async def alter() -> None:
            await db.sql("ALTER TABLE t ALTER COLUMN a ADD QUERY range, sum")
            await db.sql("ALTER TABLE t ADD COLUMN c INTEGER DEFAULT 3 ENCRYPTED WITH "
                         "(QUERIES = 'sum', MIN = 0, MAX = 10)")  # fmt: skip
            await db.sql("ALTER TABLE t ALTER COLUMN b ADD QUERY range, ALTER b SET MAX 200000")
            done.set()

        await asyncio.gather(write(), read(), alter())
        found = await db.sql("SELECT count(*), sum(a), sum(c) FROM t WHERE a > 50 AND b < 11000")
        kept = [k for k in written if k % 200 > 50 and k < 11000]
        expected = (len(kept), sum(k % 200 for k in kept), 3 * len(kept))
        assert found.rows() == [expected]
        await db.close()

    asyncio.run(run())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_partial_segments_are_merged_beside_an_alter(scheme: str) -> None:
    """Parts that have the new encoding and parts that lack it become one segment all the same."""

    async def run() -> None:
        service = Mortal(quiet_engine(), 1000)
        db = await open_on(service, scheme, SMALL)
        table = await db.create_table("t", {
            "k": am.Int64(primary_key=True), "a": am.UInt8(encrypt=["eq"]),
        })  # fmt: skip
        keys = iter(range(100_000))

        async def insert(count: int) -> None:
            await table.insert(
                [{"k": k, "a": k % 200} for _, k in zip(range(count), keys, strict=False)]
            )

        await insert(FULL // 2 - 10)
        while len(service.inner._storage.tables()[0].segments) < 3:
            await insert(200)
        service.lives = 1
        with pytest.raises(am.ClosedError):
            await db.sql("ALTER TABLE t ALTER COLUMN a ADD QUERY sum")
        assert await service.inner.merge() >= 1
        service.lives = 1000
        await db.resume()
        await insert(200)
        await service.inner.merge()
        top = next(keys)
        expected = sum(k % 200 for k in range(top) if k % 200 != 7)
        assert (await db.sql("SELECT sum(a) FROM t WHERE a <> 7")).scalar() == expected
        await db.close()

    asyncio.run(run())


def test_the_engine_refuses_a_schema_that_segments_do_not_fit() -> None:
    """A client that calls a capability ready too early, and one that gives ids again."""
    from dataclasses import replace

    from amaters.columns import altering as al

    async def run() -> None:
        db = await open_on(open_engine(":memory:", unsafe_scheme=True))
        table = await db.create_table("p", COLUMNS)
        await table.insert(people(FULL))
        found = await table.schema()
        began = al.altered(found, (al.AddQueries("age", ("sum",)),))
        await db._session.update_table(began)
        with pytest.raises(am.ConflictError, match="AM-3101"):
            await db._session.update_table(al.finished(began))
        again = replace(began, version=began.version + 1, next_column=1)
        with pytest.raises(am.AmatersError):
            await db._session.update_table(again)
        await db.close()

    asyncio.run(run())
