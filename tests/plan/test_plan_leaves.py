"""Every leaf over every value of small domains, NULL, and constants inside and outside of them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from plan_support import Database, make_table

from amaters.columns import declare
from amaters.plan.expressions import (
    Aggregate,
    And,
    Between,
    Compare,
    In,
    IsNull,
    Literal,
    Not,
    OutputItem,
    Predicate,
    Select,
)

COUNT = (OutputItem("n", Aggregate("count_star")),)
OPERATORS = ("=", "<>", "<", "<=", ">", ">=")


def six_bits() -> Database:
    """Values 10 .. 73 (a 6-bit domain), NULL, and rows that are dead."""
    table = make_table({"v": declare.Int16(encrypt=["eq", "range"], nullable=True, min=10, max=73)})
    rows = [{"v": value} for value in [*range(10, 74), None, 20, 30, None]]
    return Database(table, rows, dead=(65, 67))


@pytest.fixture(scope="module")
def database() -> Database:
    return six_bits()


def rows_where(database: Database, predicate: Predicate) -> None:
    """The mask of ``predicate`` equals the plaintext's, with and without liveness in the plan."""
    select = Select(database.table, predicate, (OutputItem("v", Literal(1)),))
    database.check(select)


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("op", OPERATORS)
def test_comparisons_over_all_six_bit_values(database: Database, op: str, public: bool) -> None:
    """x op c for all 64 values and NULL, c from below the domain to above it, and fractions."""
    for constant in [
        -(10**9),
        9,
        *range(10, 74, 1 if not public else 3),
        74,
        137,
        138,
        10**12,
        Decimal("40.5"),
    ]:
        rows_where(database, Compare(op, 1, Literal(constant, public)))


@pytest.mark.parametrize("negated", [False, True])
def test_between_and_in(database: Database, negated: bool) -> None:
    """Ranges that are empty, inverted, partly or wholly outside; lists with repeats and NULL."""
    for low, high in [(10, 73), (20, 20), (30, 20), (-5, 15), (70, 500), (80, 90), (-9, -1)]:
        rows_where(database, Between(1, Literal(low), Literal(high), negated))
        rows_where(database, Between(1, Literal(low, True), Literal(high, True), negated))
    rows_where(database, Between(1, Literal(None), Literal(20), negated))
    rows_where(database, Between(1, Literal(20), Literal(None), negated))
    for values in [(10,), (10, 10, 12), (5, 73, 99), (None, 12), (None,), (500,)]:
        rows = tuple(Literal(value) for value in values)
        if any(value is not None for value in values) and not (negated and None in values):
            rows_where(database, In(1, rows, negated))


def test_two_bounds_of_one_column_become_one_range(database: Database) -> None:
    """x > a AND x <= b, and x <= a OR x > b, with empty, full and touching ranges."""
    from amaters.plan.expressions import Or

    for low, high in [(20, 30), (30, 20), (25, 25), (0, 99), (70, 300), (9, 10), (73, 80)]:
        for public in (False, True):
            above = Compare(">", 1, Literal(low, public))
            below = Compare("<=", 1, Literal(high, public))
            for where in (And((above, below)), Or((below, above)), Not(And((below, above)))):
                select = Select(database.table, where, COUNT)
                assert type(database.check(select).spec.filter).__name__ == "RangeLeaf"


def test_null_tests_and_double_negation(database: Database) -> None:
    """IS NULL needs the occupied slots, and NOT reaches the leaf."""
    rows_where(database, IsNull(1))
    rows_where(database, IsNull(1, negated=True))
    rows_where(database, Not(IsNull(1)))
    rows_where(database, Not(Not(Compare("<", 1, Literal(40)))))
    rows_where(database, Not(Between(1, Literal(20), Literal(None))))


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("signed", [False, True])
def test_edges_of_wide_types(bits: int, signed: bool) -> None:
    """First and last values of each width, neighbours of the constants, digits that carry."""
    kind = {
        (8, True): declare.Int8, (16, True): declare.Int16,
        (32, True): declare.Int32, (64, True): declare.Int64,
        (8, False): declare.UInt8, (16, False): declare.UInt16,
        (32, False): declare.UInt32, (64, False): declare.UInt64,
    }[bits, signed]  # fmt: skip
    low = -(1 << (bits - 1)) if signed else 0
    high = low + (1 << bits) - 1
    middle = low + (1 << (bits - 1))
    values = sorted(
        {low, low + 1, low + 3, low + 4, middle - 1, middle, middle + 1, high - 1, high}
    )
    table = make_table({"v": kind(encrypt=["eq", "range"], nullable=True)})
    database = Database(table, [{"v": v} for v in [*values, None]])
    for constant in values[:: 1 if bits < 32 else 3]:
        for op in OPERATORS if bits < 32 else ("=", "<", ">="):
            rows_where(database, Compare(op, 1, Literal(constant)))
    rows_where(database, Between(1, Literal(values[1]), Literal(values[-2])))


@pytest.mark.parametrize("public", [False, True])
def test_categories(public: bool) -> None:
    """One-hot membership: every category, several, none, something that is no category."""
    table = make_table({"g": declare.Enum(["A", "B", "C"], encrypt=["group"], nullable=True)})
    database = Database(table, [{"g": g} for g in ["A", "B", "C", None, "A"]], dead=(4,))
    for value in ("A", "B", "C", "D", ""):
        for op in ("=", "<>"):
            rows_where(database, Compare(op, 1, Literal(value, public)))
    for negated in (False, True):
        rows_where(database, In(1, (Literal("A", public), Literal("C", public)), negated))
        rows_where(database, IsNull(1, negated))


def test_careful_masks() -> None:
    """Where key switches are spent instead of a level, the answers are the same."""
    columns = {f"c{i}": declare.Int32(encrypt=["eq"], nullable=True) for i in range(2)}
    columns["c0"] = declare.Int32(encrypt=["range"], nullable=True)
    database = Database(
        make_table(columns), [{"c0": i, "c1": 7} for i in range(-3, 9)], dead=(2, 10)
    )
    from amaters.plan import circuit

    def careful(spec, table, parameters):
        program = circuit._Program(spec, table, parameters, "careful", circuit.Parts())
        return next(
            made for level in range(2, 6) if (made := program.attempt(level, 0)) is not None
        )

    for op in ("=", "<>", "<", ">="):
        where = And((Compare(op, 1, Literal(7)), Compare("=", 2, Literal(7))))
        select = Select(database.table, where, (OutputItem("v", Literal(1)),))
        prepared = database.prepare(select)
        found = database.mask(prepared, compile_=careful)
        assert found.tolist() == database.plain_mask(select).tolist()
