"""EXPLAIN and EXPLAIN ANALYZE of every kind of statement, in every form; what is sent for it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from e2e_support import FULL, Spy, open_on, small

import amaters as am
from amaters.engine.service import open_engine
from amaters.plan.explain_formats import FORMATS

DDL = """CREATE TABLE t (k INTEGER PRIMARY KEY, p TEXT,
  a INTEGER ENCRYPTED WITH (QUERIES = 'eq,range', MIN = 0, MAX = 1000),
  e TEXT ENCRYPTED WITH (QUERIES = 'eq'), n TEXT ENCRYPTED)"""
STATEMENTS = {
    "SELECT count(*) FROM t WHERE a > 3": "aggregate",
    "SELECT k FROM t WHERE a > 3": "rows",
    "UPDATE t SET n = 'x' WHERE k = 1": "update",
    "DELETE FROM t WHERE k = 2": "delete",
    "INSERT INTO t VALUES (9001, 'x', 5, 'e', 'n')": "insert",
    "INSERT INTO t (k, a) VALUES (1, 2) ON CONFLICT (k) DO UPDATE SET a = EXCLUDED.a": "upsert",
    "INSERT OR IGNORE INTO t (k, a) VALUES (1, 2)": "upsert",
    "INSERT INTO u SELECT k FROM t WHERE a > 950": "insert",
    "COPY t FROM '{file}' (HEADER)": "insert",
    "CREATE TABLE v (k INTEGER PRIMARY KEY, b BIGINT ENCRYPTED)": "create_table",
    "CREATE INDEX i ON t (p)": "create_index",
    "DROP INDEX i": "drop_index",
    "DROP TABLE v": "drop_table",
}
SECRET = "4711"


def rows(count: int) -> list[tuple[Any, ...]]:
    return [(i, "xy"[i % 2], i % 1000, f"e{i % 3}", "note") for i in range(count)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("k,a\n7001,1\n7002,2\n")
    return path


def test_every_statement_in_every_form(file: Path) -> None:
    """Documents of one shape; nothing happens. ANALYZE then does it, and says so."""
    with am.connect(":memory:", **small("noop")) as db:
        db.sql(DDL)
        db.sql("CREATE TABLE u (k INTEGER PRIMARY KEY)")
        db.table("t").insert(rows(FULL + 10))
        for text, kind in STATEMENTS.items():
            sql = text.format(file=file)
            before = [sorted(db.sql(f"SELECT * FROM {name}").rows()) for name in db.tables()]
            shown = {form: db.explain(sql, format=form) for form in FORMATS}
            document = json.loads(shown["json"])
            assert document["kind"] == kind, sql
            assert json.loads(shown["pgjson"])[0]["Plan"]["Node Type"]
            assert shown["mermaid"].startswith("flowchart")
            assert "the server learns" in shown["text"]
            assert document["server_learns"] and document["actual"] is None
            after = [sorted(db.sql(f"SELECT * FROM {name}").rows()) for name in db.tables()]
            assert after == before, sql
            done = "\n".join(line for (line,) in db.sql(f"EXPLAIN ANALYZE {sql}").rows())
            assert "wall_seconds" in done, sql
            assert ("executed" in done) == (kind not in ("aggregate", "rows")), sql
        assert db.tables() == ["t", "u"]
        assert db.sql("SELECT n FROM t WHERE k = 1").scalar() == "x"
        assert len(db.sql("SELECT k FROM t WHERE k IN (2, 7001, 7002, 9001)").rows()) == 3
        assert len(db.sql("SELECT * FROM u").rows()) > 5


def test_what_a_write_costs_and_shows() -> None:
    """Ciphertexts and bytes of a segment as they will be; what is learned of an upsert."""
    with am.connect(":memory:", unsafe_parameters="insecure_n1024") as db:
        db.sql(DDL)
        values = ", ".join(f"({i}, {i})" for i in range(FULL + 5))
        document = json.loads(db.explain(f"INSERT INTO t (k, a) VALUES {values}", format="json"))
        done = db.sql(f"INSERT INTO t (k, a) VALUES {values}")
        estimated = document["estimated"]
        slices = 3 * 5 + 1 + 3 * 8 + 1 + 1  # a: 10 bits; e: 16 of a dictionary; n: not NULL
        assert estimated["ciphertexts"] == slices
        assert abs(done.stats.bytes_sent / estimated["upload_bytes"] - 1) < 0.15
        details = [child["detail"] for child in document["plan"]["children"]]
        assert details[1] == "Seal 5 rows for the tail of 0 rows"
        sql = (
            "INSERT INTO t (k, p) VALUES (1, 'x') ON CONFLICT (k) DO UPDATE SET p = 'y' WHERE a > 7"
        )
        learned = db.explain(sql)
        for sentence in (
            "which of these keys existed",
            "for which existing rows",
            "which rows are",
        ):
            assert sentence in learned
        assert "any value of the encrypted columns a, e, n" in learned
        assert "7" not in learned.split("the server learns")[1]


def test_nothing_is_sent_when_sizes_are_known(tmp_path: Path) -> None:
    """After a query EXPLAIN is answered from this client's cache, and says that it may be old;
    after a write of its own it asks.
    """

    async def work() -> None:
        spy = Spy(open_engine(":memory:", unsafe_scheme=True))
        db = await open_on(spy)
        await db.sql(DDL)
        await db.sql("INSERT INTO t (k, a) VALUES (1, 2)")
        sql = "SELECT count(*) FROM t WHERE a > 3"
        first = await db.explain(sql)
        assert "may be out of date" not in first
        spy.calls.clear()
        for text in (
            sql,
            "INSERT INTO t (k) VALUES (5)",
            "DROP TABLE t",
            "DELETE FROM t WHERE a = 1",
        ):
            assert "may be out of date" in await db.explain(text) or text.startswith("DROP")
        assert spy.calls.total() == 0
        await db.sql("INSERT INTO t (k, a) VALUES (2, 2)")
        spy.calls.clear()
        assert "may be out of date" not in await db.explain(sql)
        assert spy.calls["snapshot"] == 1
        await db.close()

    asyncio.run(work())
