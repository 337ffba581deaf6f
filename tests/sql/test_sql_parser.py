"""Text to trees: guards, positions, EXPLAIN, parameters, several statements."""

from __future__ import annotations

import pytest

from amaters.base.errors import InvalidError
from amaters.sql.parser import ExplainOptions, parse, parse_one, split


def code(text: str) -> str:
    with pytest.raises(InvalidError) as caught:
        parse_one(text)
    return caught.value.code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("EXPLAIN SELECT a FROM t", ExplainOptions(False, "text")),
        ("explain analyze select a from t", ExplainOptions(True, "text")),
        ("EXPLAIN (FORMAT JSON) SELECT a FROM t", ExplainOptions(False, "json")),
        ("EXPLAIN (ANALYZE, FORMAT text) SELECT a FROM t", ExplainOptions(True, "text")),
        ("EXPLAIN (ANALYZE false) SELECT a FROM t", ExplainOptions(False, "text")),
        ("SELECT explain FROM t", None),
    ],
)
def test_explain_options(text: str, expected: ExplainOptions | None) -> None:
    """EXPLAIN is read in all its spellings and leaves the SELECT behind."""
    parsed = parse_one(text)
    assert parsed.explain == expected
    assert parsed.tree.key == "select"


def test_parameters_are_counted_in_the_order_of_the_text() -> None:
    """OFFSET is written after LIMIT but parsed into another place of the tree."""
    parsed = parse_one("SELECT ? FROM t WHERE a BETWEEN ? AND ? LIMIT ? OFFSET ?")
    assert parsed.positional == 5
    assert parsed.tree.args["offset"].expression.meta["parameter"] == 4
    assert parse_one("SELECT a FROM t WHERE a = :x OR b = :y OR c = :x").names == ("x", "y")


def test_several_statements_and_their_texts() -> None:
    """``split`` keeps semicolons inside quotes and comments inside statements."""
    text = "SELECT ';' FROM t; -- nothing\n ;\nDROP TABLE t;"
    assert split(text) == ["SELECT ';' FROM t", "DROP TABLE t"]
    assert [parsed.tree.key for parsed in parse(text)] == ["select", "drop"]
    assert code(text) == "AM-2201"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "AM-2201"),
        ("SELEC 1", "AM-2201"),
        ("SELECT a FROM t WHERE", "AM-2201"),
        ("SELECT 'abc", "AM-2201"),
        ("EXPLAIN (ANALYZE SELECT 1", "AM-2201"),
        ("EXPLAIN (VERBOSE) SELECT a FROM t", "AM-2205"),
        ("EXPLAIN EXPLAIN SELECT a FROM t", "AM-2201"),
        ("EXPLAIN", "AM-2205"),
        ("CALL t", "AM-2205"),
        ("MERGE INTO t USING u ON TRUE WHEN MATCHED THEN DELETE", "AM-2205"),
        ("ALTER VIEW t ADD COLUMN b INTEGER", "AM-2201"),
        ("SELECT a FROM t UNION SELECT a FROM t", "AM-2205"),
        ("SELECT a FROM t WHERE a = $1", "AM-2205"),
        ("SELECT " + "(" * 65 + "1", "AM-2202"),
        ("SELECT a FROM t WHERE " + "NOT " * 20_000 + "a", "AM-2202"),
        ("SELECT '" + "x" * (4 << 20) + "'", "AM-2202"),
    ],
    ids=lambda text: text[:40],
)
def test_refusals_are_typed(text: str, expected: str) -> None:
    """Text that is no SQL, too much of it, or a statement of another kind."""
    assert code(text) == expected


def test_messages_name_the_place_and_not_the_text() -> None:
    """A message may end up in a log, so it repeats no constant of the statement."""
    with pytest.raises(InvalidError) as caught:
        parse_one("SELECT a\nFROM t WHERE b = 'secret' 5")
    assert "line 2" in str(caught.value)
    assert "secret" not in str(caught.value)
