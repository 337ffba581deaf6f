"""CREATE INDEX and DROP INDEX: what they mean, and what is refused with which code."""

from __future__ import annotations

import pytest
from sql_support import run

from amaters.base.errors import AmatersError
from amaters.columns.indexes import IndexDefinition
from amaters.plan.expressions import CreateIndex, DropIndex

UNIQUE = IndexDefinition(1, "Pay_dept_key", (2,), True)
BOTH = IndexDefinition(1, "Pay_dept_id_idx", (2, 1))


@pytest.mark.parametrize(
    ("text", "expected", "exists"),
    [
        ("CREATE INDEX i ON pay (dept)", IndexDefinition(1, "i", (2,)), False),
        ("create index if not exists I on Pay(DEPT, id)", IndexDefinition(1, "I", (2, 1)), True),
        (
            "CREATE UNIQUE INDEX ON pay (dept)",
            IndexDefinition(1, "Pay_dept_key", (2,), True),
            False,
        ),
        (
            "CREATE INDEX ON pay (dept ASC, id)",
            IndexDefinition(1, "Pay_dept_id_idx", (2, 1)),
            False,
        ),
    ],
)
def test_create_index(text: str, expected: IndexDefinition, exists: bool) -> None:
    """Names of columns in any letter case, a name of its own, PostgreSQL's name without one."""
    bound = run(text)
    assert isinstance(bound, CreateIndex)
    assert (bound.index, bound.if_not_exists, bound.table.name) == (expected, exists, "Pay")


def test_drop_index() -> None:
    """By name alone; which table has it is asked when it is dropped."""
    assert run("DROP INDEX i") == DropIndex("i")
    assert run("drop index if exists I") == DropIndex("I", if_exists=True)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("CREATE INDEX i ON nope (dept)", "AM-2203"),
        ("CREATE INDEX i ON pay (nope)", "AM-2204"),
        ("CREATE INDEX i ON pay (age)", "AM-2031"),
        ("CREATE INDEX i ON pay (dept, dept)", "AM-2352"),
        ("CREATE INDEX i ON pay (dept DESC)", "AM-2205"),
        ("CREATE INDEX i ON pay (lower(dept))", "AM-2205"),
        ("CREATE INDEX i ON pay (dept) WHERE id > 3", "AM-2205"),
        ("CREATE INDEX i ON pay USING hash (dept)", "AM-2205"),
        ("CREATE OR REPLACE INDEX i ON pay (dept)", "AM-2205"),
        ("DROP INDEX i CASCADE", "AM-2205"),
        ("DROP INDEX s.i", "AM-2205"),
        ("CREATE VIEW v AS SELECT 1", "AM-2205"),
        ("DROP VIEW v", "AM-2205"),
    ],
)
def test_refusals(text: str, code: str) -> None:
    """Every clause is understood or refused, none is ignored."""
    with pytest.raises(AmatersError) as caught:
        run(text)
    assert caught.value.code == code
