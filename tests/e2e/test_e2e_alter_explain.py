"""EXPLAIN of ALTER TABLE and VACUUM: what would be encrypted, what is learned; nothing happens."""

from __future__ import annotations

import json

import pytest
from e2e_support import COLUMNS, FULL, people, small

import amaters as am

CASES = {
    "ALTER TABLE p ALTER COLUMN age ADD QUERY sum": (
        "Encrypt limbs of age for 2 segments", "ciphertexts 2", "which segments this client"),
    "ALTER TABLE p ALTER COLUMN bonus ADD QUERY eq, ADD COLUMN n INTEGER DEFAULT 4": (
        "Encrypt digits of bonus", "segment by segment", "the DEFAULT of a column that is not"),
    "ALTER TABLE p ALTER COLUMN age SET MAX 127, RENAME COLUMN city TO town": (
        "in one step", "estimate     at once", "bounds and categories, but whether"),
    "ALTER TABLE p ALTER COLUMN notes ADD QUERY eq": (
        "Encrypt digits of notes", "whether a dictionary of texts grows"),
    "ALTER TABLE p ALTER COLUMN dept SET NOT NULL": ("Check that dept holds no NULL",),
    "VACUUM ERASE p": (
        "Write 1,021 rows of 1 segments of p again", "a tail of 7 rows", "Make the state anew",
        "which rows move together"),
    "VACUUM": ("Compact p", "0 segments"),
}  # fmt: skip


def test_every_form_is_explained_before_anything_is_done() -> None:
    """The texts, and that the table is the same afterwards."""
    db = am.connect(":memory:", **small("noop"))
    table = db.create_table("p", COLUMNS)
    rows = people(2 * FULL + 7)
    table.insert(rows[:FULL])
    table.insert(rows[FULL : 2 * FULL])
    table.insert(rows[2 * FULL :])
    table.delete([row["id"] for row in rows[:3]])
    before = table.schema()
    for statement, shown in CASES.items():
        text = db.explain(statement)
        for part in shown:
            assert part in text, (statement, part, text)
        document = json.loads(db.explain(statement, format="json"))
        assert document["estimated"]["ciphertexts"] >= 0
        assert db.explain(statement, format="pgjson")
        assert db.explain(statement, format="mermaid")
    assert table.schema() == before
    lines = db.sql("EXPLAIN ANALYZE ALTER TABLE p ALTER COLUMN age ADD QUERY sum").rows()
    assert any("encrypted 1,917 rows" in str(line) for line in lines)
    assert table.schema().column("age").queries == {"eq", "range", "sum"}
    db.close()


def test_a_refusal_says_what_it_would_cost_to_allow_it() -> None:
    """Rows and time where the sizes are known; at once where the stored encodings serve."""
    db = am.connect(":memory:", **small("noop"))
    table = db.create_table("p", {**COLUMNS, "age": am.UInt8(max=120, encrypt=["eq"])})
    with pytest.raises(am.InvalidError) as caught:
        db.sql("SELECT sum(age) FROM p")
    assert "ADD QUERY sum, or declare" in str(caught.value)
    table.insert(people(FULL))
    db.sql("SELECT count(*) FROM p WHERE age = 3")
    with pytest.raises(am.InvalidError) as caught:
        db.sql("SELECT sum(age) FROM p")
    assert "ADD QUERY sum (re-encrypts 1,024 rows on this client, about a second)" in str(
        caught.value
    )
    with pytest.raises(am.InvalidError) as caught:
        db.sql("SELECT count(*) FROM p WHERE age > 3")
    assert "ADD QUERY range (at once)" in str(caught.value)
    db.close()
