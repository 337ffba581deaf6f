"""Constants that are answers of subqueries: what a client must not show to the server."""

from __future__ import annotations

from amaters.base.errors import fail
from amaters.columns.schema import Table
from amaters.plan.expressions import (
    And,
    Between,
    Compare,
    In,
    Like,
    Literal,
    Not,
    Or,
    Predicate,
    Relation,
    Scalar,
    predicate_columns,
    scalar_parts,
)


def shows_answer(predicate: Predicate) -> bool:
    """Whether the answer of a subquery is among a predicate's constants."""
    match predicate:
        case And(children) | Or(children):
            return any(shows_answer(child) for child in children)
        case Not(child):
            return shows_answer(child)
        case Relation(left=left, right=right):
            return _holds_answer(left) or _holds_answer(right)
    return any(literal.answered for literal in _constants(predicate))


def refuse_shown(predicate: Predicate, table: Table) -> None:
    """Raise AM-2108 where the server would see the answer of a subquery, or how long a list is."""
    if not shows_answer(predicate):
        return
    columns = [table.column(column_id) for column_id in sorted(predicate_columns(predicate))]
    names = ", ".join(column.name for column in columns)
    if isinstance(predicate, In) and columns[0].encrypted:
        what = f"IN (SELECT ...) over {names}, whose length the server would see,"
        fail("AM-2108", what=what, fix="write a join, or declare the column for group")
    what = f"comparing {names}, which is public, with the answer of a subquery"
    fail("AM-2108", what=what, fix="the server would see it: write the constant")


def _constants(predicate: Predicate) -> tuple[Literal, ...]:
    match predicate:
        case Compare(literal=literal) | Like(pattern=literal):
            return (literal,)
        case Between(low=low, high=high):
            return low, high
        case In(literals=literals):
            return literals
    return ()


def _holds_answer(scalar: Scalar) -> bool:
    if isinstance(scalar, Literal):
        return scalar.answered
    return any(_holds_answer(part) for part in scalar_parts(scalar))
