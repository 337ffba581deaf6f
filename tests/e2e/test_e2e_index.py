"""Indexes from a user's side: the same answers, fewer segments, and unique means unique."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_support import small

import amaters as am

COLUMNS = {
    "id": am.Int64(primary_key=True),
    "town": am.Text(nullable=True),
    "day": am.Date(nullable=True),
    "n": am.Int32(nullable=True),
    "age": am.UInt8(max=120, encrypt=["eq", "range"], nullable=True),
    "pay": am.Int32(min=-1000, max=1000, encrypt=["sum"], nullable=True),
}
INDEXES = (
    "CREATE INDEX by_town ON t (town, n)",
    "CREATE INDEX by_day ON t (day)",
    "CREATE INDEX by_n ON t (n)",
)


@pytest.fixture
def db() -> Iterator[am.Database]:
    with am.connect(":memory:", **small("noop")) as opened:
        yield opened


def rows(count: int, first: int = 0, seed: int = 1) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [
        {
            "id": 5 * (first + i) + draw.randrange(3),
            "town": draw.choice(["Kyoto", "Nara", "", "Ōsaka", None]),
            "day": draw.choice([None, f"2024-0{1 + (first + i) // 1000}-{1 + i % 28:02}"]),
            "n": draw.choice([None, draw.randrange(-50, 50)]),
            "age": draw.choice([None, draw.randrange(121)]),
            "pay": draw.choice([None, draw.randrange(-1000, 1000)]),
        }
        for i in range(count)
    ]


def condition(draw: random.Random) -> str:
    """One on public columns, with constants of every kind."""
    number = draw.choice(["7", "-50", "1000000000000", "2.5", "NULL"])
    town = draw.choice(["'Kyoto'", "'Ōsaka'", "''", "'Z'", "NULL"])
    day = draw.choice(["DATE '2024-02-03'", "DATE '1999-01-01'", "DATE '2024-03-31'"])
    column, value = draw.choice([("n", number), ("town", town), ("day", day)])
    shape = draw.randrange(5)
    if shape == 0:
        other = {"n": "20", "town": "'Nara'", "day": "DATE '2024-02-20'"}[column]
        return f"{column} BETWEEN {value} AND {other}"
    if shape == 1:
        return f"{column} IN ({value}, {value})"
    return f"{column} {draw.choice(['=', '=', '<', '>=', '<>'])} {value}"


def statement(draw: random.Random) -> str:
    where = condition(draw)
    for _ in range(draw.randrange(3)):
        where = f"({where}) {draw.choice(['AND', 'AND', 'OR'])} {condition(draw)}"
    if draw.random() < 0.4:
        where = f"({where}) AND {draw.choice(['age > 60', 'age = 3', 'age IS NOT NULL'])}"
    what = draw.choice(
        ["id, n", "count(*), sum(pay)", "count(*), sum(n)", "town, count(*), sum(pay)"]
    )
    group = " GROUP BY town" if what.startswith("town") else ""
    order = " ORDER BY 1" if group or what.startswith("id") else ""
    return f"SELECT {what} FROM t WHERE {where}{group}{order}"


def test_answers_with_and_without_indexes_are_equal(db: am.Database) -> None:
    """Rows, counts, sums and groups over segments and tail, before any index, with all of them, and
    after more rows came; the engine touches fewer segments with them.
    """
    table = db.create_table("t", COLUMNS)
    table.insert(rows(3500))
    table.insert(rows(40, first=3500, seed=2))
    draw = random.Random(3)
    asked = [statement(draw) for _ in range(36)]
    before = [db.sql(text) for text in asked]
    for text in INDEXES:
        assert db.sql(text).message.startswith("created index by_")
    after = [db.sql(text) for text in asked]
    for text, old, new in zip(asked, before, after, strict=True):
        assert new.rows() == old.rows(), text
        assert new.stats.segments == old.stats.segments, text
        assert new.stats.key_switches == old.stats.key_switches, text
    used = sum("index: by_" in db.explain(text) for text in asked)
    assert used > 12
    table.insert(rows(900, first=5000, seed=4))
    grown = [db.sql(text).rows() for text in asked]
    for name in ("by_town", "by_day", "by_n"):
        db.sql(f"DROP INDEX {name}")
    assert [db.sql(text).rows() for text in asked] == grown
    assert "index" not in db.explain(asked[0])


def test_declared_indexes_are_ready_and_explained(db: am.Database) -> None:
    """``index=True`` needs no build; EXPLAIN tells text and JSON of it."""
    db.create_table("p", {**COLUMNS, "town": am.Text(index=True)})
    db.table("p").insert([{**row, "town": row["town"] or "x"} for row in rows(1000)])
    text = "SELECT count(*), sum(pay) FROM p WHERE town = 'Nara' AND age > 9"
    assert "index: p_town_idx (town = ...)" in db.explain(text)
    document = json.loads(db.explain(text, format="json"))
    assert '"name": "p_town_idx"' in json.dumps(document["plan"])


def test_a_unique_index_holds_against_rows_and_gives_way_for_canaries(db: am.Database) -> None:
    """Values of rows are refused, whatever segment or tail they lie in; a value that only a canary
    has is free, and counts stay right when canaries move aside.
    """
    table = db.create_table(
        "t", {"id": am.Int64(primary_key=True), "n": am.Int32(index="unique", nullable=True),
              "pay": am.Int32(min=0, max=9, encrypt=["sum"])}
    )  # fmt: skip
    even = [{"id": 3 * i, "n": 2 * i, "pay": 1} for i in range(1500)]
    table.insert(even)
    assert db.sql("SELECT count(*), sum(pay) FROM t WHERE n >= 0").rows() == [(1500, 1500)]
    # Canaries took odd numbers between: every one of them must be free for rows.
    table.insert([{"id": 10_001 + 3 * i, "n": 2 * i + 1, "pay": 1} for i in range(1500)])
    table.insert([{"id": 1, "n": None, "pay": 1}, {"id": 2, "n": None, "pay": 1}])
    assert db.sql("SELECT count(*), sum(pay) FROM t WHERE n >= 0").rows() == [(3000, 3000)]
    assert db.sql("SELECT count(*), sum(n) FROM t").rows() == [(3002, 2999 * 1500)]
    for wrong, row in (([9000, 7], 2), ([0], 1), ([2998], 1)):
        with pytest.raises(am.ConflictError, match=f"AM-3092.*row {row} "):
            table.insert([{"id": 50_000 + n, "n": n, "pay": 1} for n in wrong])
    with pytest.raises(am.InvalidError, match=r"AM-3093.*rows 1 and 3 "):
        table.insert([{"id": 50_000 + i, "n": n, "pay": 1} for i, n in enumerate([8000, 9, 8000])])
    assert db.sql("SELECT count(*) FROM t").scalar() == 3002


def test_a_value_that_is_not_unique_leaves_no_index(db: am.Database) -> None:
    """The statement fails, the schema is as before, and the rows may still repeat."""
    table = db.create_table("t", COLUMNS)
    table.insert(rows(1200))
    with pytest.raises(am.ConflictError, match="AM-3090"):
        db.sql("CREATE UNIQUE INDEX wrong ON t (town, n)")
    assert table.schema().indexes == ()
    table.insert([{"id": 100_000 + i, "town": "Nara", "n": 1} for i in range(3)])
    assert db.sql("CREATE UNIQUE INDEX right ON t (id, town)").message.startswith("created unique")


def test_names_are_those_of_the_database(db: am.Database) -> None:
    """IF NOT EXISTS, IF EXISTS, and the codes without them."""
    for name in ("t", "u"):
        db.create_table(name, {"id": am.Int64(primary_key=True), "n": am.Int32()})
    db.sql("CREATE INDEX i ON t (n)")
    with pytest.raises(am.ConflictError, match="AM-2350"):
        db.sql("CREATE INDEX I ON u (n)")
    assert db.sql("CREATE INDEX IF NOT EXISTS i ON t (n)").message == "index i exists already"
    db.sql("DROP INDEX I")
    assert db.sql("DROP INDEX IF EXISTS i").message == "there is no index i"
    with pytest.raises(am.InvalidError, match="AM-2351"):
        db.sql("DROP INDEX i")


def test_indexes_survive_a_restart_and_a_lost_state(tmp_path: Path) -> None:
    """They are there when the database is opened again, and when its state has to be made again
    from snapshot and log.
    """
    where = tmp_path / "db"
    options = {**small("noop"), "keys": tmp_path / "keys"}
    text = "SELECT count(*), sum(pay) FROM t WHERE n = 7"
    with am.connect(where, **options) as db:
        table = db.create_table("t", COLUMNS)
        table.insert(rows(1200))
        db.sql("CREATE INDEX by_n ON t (n)")
        table.insert(rows(30, first=2000))
        expected = db.sql(text).rows()
    for damage in (False, True):
        if damage:
            state = where / "state" / "state.db"
            state.write_bytes(bytes(len(state.read_bytes())))
        with am.connect(where, **options) as db:
            assert "index: by_n (n = ...)\n" in db.explain(text)
            assert db.sql(text).rows() == expected


def test_changes_keep_a_unique_index(db: am.Database) -> None:
    """Upsert, UPDATE and DELETE are refused or done as one: two rows may swap their values, all may
    shift by one, and a value that was deleted is free.
    """
    table = db.create_table(
        "t", {"id": am.Int64(primary_key=True), "n": am.Int32(index="unique", nullable=True),
              "pay": am.Int32(min=0, max=9, encrypt=["sum"])}
    )  # fmt: skip
    table.insert([{"id": i, "n": 10 * i, "pay": 1} for i in range(1200)])
    with pytest.raises(am.ConflictError, match=r"AM-3092.*row 1 "):
        table.upsert([{"id": 7, "n": 20, "pay": 2}])
    table.upsert([{"id": 7, "n": 20, "pay": 2}, {"id": 2, "n": 70, "pay": 2}])
    with pytest.raises(am.ConflictError, match="AM-3092"):
        db.sql("UPDATE t SET n = 50 WHERE id = 1000")
    with pytest.raises(am.InvalidError, match="AM-3093"):
        db.sql("UPDATE t SET n = 5 WHERE id < 3")
    db.sql("UPDATE t SET n = n + 10")
    db.sql("DELETE FROM t WHERE n BETWEEN 100 AND 199")
    table.insert([{"id": 5000 + n, "n": n, "pay": 3} for n in range(100, 200)])
    for text, expected in (
        ("SELECT count(*), sum(pay) FROM t WHERE n BETWEEN 95 AND 205", [(101, 301)]),
        ("SELECT id FROM t WHERE n IN (30, 80) ORDER BY id", [(2,), (7,)]),
    ):
        assert "index: t_n_key" in db.explain(text)
        assert db.sql(text).rows() == expected
    assert db.sql("SELECT count(*), count(n) FROM t").rows() == [(1290, 1290)]


def test_canaries_find_values_among_texts_that_count_on(db: am.Database) -> None:
    """Texts with numbers leave little room for canaries made from them: those that are refused are
    drawn again and the others kept, so that every batch gets through.
    """
    columns = {"id": am.Int64(primary_key=True), "mail": am.Text(index="unique")}
    table = db.create_table("t", {**columns, "pay": am.Int32(min=0, max=9, encrypt=["sum"])})
    for start in range(0, 3600, 900):
        batch = [{"id": 3 * i, "mail": f"m{i}@x", "pay": 1} for i in range(start, start + 900)]
        table.insert(batch)
    assert db.sql("SELECT count(*), sum(pay) FROM t").rows() == [(3600, 3600)]
    assert db.sql("SELECT id FROM t WHERE mail = 'm2345@x'").rows() == [(7035,)]
    assert not db.verify().findings
