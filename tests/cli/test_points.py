"""Rows by key, EXPLAIN of them, completion: pieces of the prompt, without a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

import amaters as am
from amaters.cli.completion import StatementCompleter
from amaters.cli.points import is_point, read_point
from amaters.cli.repl import is_complete
from amaters.client.sync import Database

COLUMNS = {
    "id": am.Int64(primary_key=True),
    "dept": am.Text(nullable=True),
    "age": am.UInt8(encrypt=["range", "eq"], nullable=True),
}


@pytest.fixture
def db() -> Iterator[Database]:
    with am.connect(":memory:", unsafe_scheme="noop") as opened:
        opened.create_table("pay", COLUMNS).insert([(1, "R&D", 44), (2, None, 7), (5, "x", None)])
        yield opened


def run(db: Database, text: str) -> am.Result:
    table = db.table("pay")
    return read_point(text, {"pay": table.schema()}).run(db, table)


def test_rows_by_key(db: Database) -> None:
    """With the table's name or, if there is only one, without; set keeps what it does not name."""
    assert run(db, "get pay 1 5").rows() == [(1, "R&D", 44), (5, "x", None)]
    assert run(db, "GET 2;").rows() == [(2, None, 7)]
    assert run(db, "range pay 1 5").rows() == [(1, "R&D", 44), (2, None, 7)]
    assert run(db, "range - -").rows() == run(db, "range 1 -").rows()
    assert run(db, 'set pay 1 age=45 dept="Human Resources"').changed == 1
    assert run(db, "set pay 9 age=1").changed == 1
    assert run(db, "set pay 2 age=null").changed == 1
    assert db.table("pay").range().rows() == [
        (1, "Human Resources", 45), (2, None, None), (5, "x", None), (9, None, 1),
    ]  # fmt: skip
    assert run(db, "delete pay 1 77").message == "deleted 1 rows"


WRONG = {
    "get nowhere 1": "AM-5009",
    "get pay": "AM-1001",
    "get pay one": "AM-2002",
    "set pay 1 nothing=1": "AM-2001",
    "set pay 1 age": "AM-1001",
    "set pay 1 age=300": "AM-2003",
    "range pay 1": "AM-1001",
    "get pay 'x": "AM-1001",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said(db: Database, text: str) -> None:
    """Typed errors, nothing done."""
    catalogue = {name: db.table("pay").schema() for name in ("pay", "other")}
    with pytest.raises(am.AmatersError, match=WRONG[text]):
        read_point(text, catalogue).run(db, db.table("pay"))


def test_statements_and_commands_are_told_apart() -> None:
    """DELETE FROM is SQL; a statement ends with a semicolon, a command with its line."""
    assert is_point("delete pay 1") and not is_point("DELETE FROM pay WHERE id = 1")
    assert not is_point("select 1")
    complete = ["", " ", ".help", "SELECT 1;", "get pay 1", "explain get pay 1"]
    assert all(map(is_complete, complete))
    assert not any(map(is_complete, ["SELECT 1", "explain SELECT 1", "DELETE FROM t", "explain"]))


@pytest.mark.parametrize("operation", ["get", "insert", "upsert", "delete"])
def test_explain_of_points_says_what_shows(db: Database, operation: str) -> None:
    """Keys always; public values when they are written; encrypted values never."""
    learns, hidden = db.table("pay").explain(operation, 2).split("the server does not learn:")
    assert "primary keys" in learns
    assert ("the values of the public columns dept" in learns) == (
        operation in ("insert", "upsert")
    )
    assert "any value of the encrypted columns age" in hidden
    with pytest.raises(am.InvalidError, match="AM-5007"):
        db.table("pay").explain("guess")


def offered(text: str, db: Database) -> list[str]:
    catalogue = {"pay": db.table("pay").schema()}
    completer = StatementCompleter([".mode", ".read", ".timer", ".schema"], lambda: catalogue)
    event = CompleteEvent()
    return [found.text for found in completer.get_completions(Document(text), event)]


def test_completion_knows_the_place(db: Database) -> None:
    """Tables after FROM, columns with what may be asked of them, keywords, arguments."""
    assert offered("SELECT a FROM ", db) == ["pay"]
    assert "age" in offered("SELECT id FROM pay WHERE a", db)
    assert offered("SELECT id FROM pay WHERE ag", db) == ["age"]
    assert offered("sel", db) == ["SELECT"]
    assert "get" in offered("ge", db) and "get" not in offered("SELECT ge", db)
    assert offered(".m", db) == [".mode"]
    assert offered(".mode j", db) == ["json", "jsonl"]
    assert offered(".schema ", db) == ["pay"]
    assert offered("SELECT id FROM pay WHERE ", db) == offered("SELECT id FROM pay\n", db) == []
    completer = StatementCompleter([], lambda: {"pay": db.table("pay").schema()})
    (found,) = completer.get_completions(Document("SELECT ag"), CompleteEvent())
    assert found.display_meta_text == "UTINYINT encrypted eq,range"
