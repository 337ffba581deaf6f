"""What aggregates are made of: products, weights and conditions, and what shape they show."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_support import make_table

from amaters.base.errors import DataError, InvalidError
from amaters.columns import declare
from amaters.columns.convert import ColumnValues
from amaters.columns.monomials import expand, values_of
from amaters.columns.scalars import Arithmetic, ColumnRef, Literal, Scalar, compute
from amaters.plan.expressions import Select
from amaters.plan.prepare import prepare
from amaters.plan.recipes import recipe
from amaters.plan.spec import PlanSpec, Term
from amaters.sql.binder import NewTables, bind
from amaters.sql.literals import Parameters
from amaters.sql.parser import parse_one

TABLE = make_table(
    {
        "p": declare.Int32(),
        "q": declare.Int32(nullable=True),
        "a": declare.Int16(min=-5, max=5, encrypt=["range", "sum"], nullable=True),
        "b": declare.Decimal(9, 2, min=0, max=900, encrypt=["sum"]),
        "d": declare.Decimal(4, 2, min=0, max=Decimal("0.1"), encrypt=["sum"]),
        "e": declare.Decimal(4, 2, min=0, max=Decimal("0.08"), encrypt=["sum"]),
        "g": declare.Enum(["x", "y"], encrypt=["group"]),
    }
)
ID = {column.name: column.id for column in TABLE.columns}
NEW = NewTables("noop", lambda _: (TABLE.parameter_set, TABLE.key_id))


def select(text: str, parameters: Parameters = None) -> Select:
    bound = bind(parse_one(f"SELECT {text} FROM t"), {"t": TABLE}, parameters, new=NEW)
    assert isinstance(bound, Select)
    return bound


def test_a_product_becomes_weighted_totals() -> None:
    """TPC-H's charge: four sums of products, in units of 10^-6, and one count."""
    bound = select("sum(b * (1 - d) * (1 + e))")
    made = recipe(bound).made[bound.aggregates[0]]
    b, d, e = ID["b"], ID["d"], ID["e"]
    weights = {term.columns: factor for factor, term in made.total}
    assert weights == {(b,): 10_000, (b, d): -100, (b, e): 100, (b, d, e): -1}
    assert made.scale == 6 and made.count == ((1, Term("count")),)


def test_rows_count_where_every_column_has_a_value() -> None:
    """A sum of nullable columns requires the other one in each total."""
    bound = select("sum(a + q)")
    made = recipe(bound).made[bound.aggregates[0]]
    a, q = ID["a"], ID["q"]
    assert {term for _, term in made.total} == {
        Term("sum", (a,), (q,)),
        Term("sum", (q,), (a,)),
    }
    assert made.count == ((1, Term("count", (q, a))),)


def test_case_is_totals_under_conditions() -> None:
    """ELSE is everything minus the branches; a second branch leaves out the first one's rows."""
    bound = select("sum(CASE WHEN a > 1 THEN b WHEN a < 0 THEN 2 * b ELSE 7 END)")
    found = recipe(bound)
    made = found.made[bound.aggregates[0]]
    assert len(found.conditions) == 4
    by_term = {term: factor for factor, term in made.total}
    assert by_term[Term("count")] == 700
    assert by_term[Term("sum", (ID["b"],), (), 1)] == 1
    assert by_term[Term("sum", (ID["b"],), (), 2)] == 2
    assert by_term[Term("sum", (ID["b"],), (), 3)] == -2


@pytest.mark.parametrize(
    "texts",
    [
        ("sum(b * (1 - d))", "sum(b * (0 - d))", "sum(b * (7 - 2 * d))"),
        ("sum(CASE WHEN a > 1 THEN b ELSE 0 END)", "sum(CASE WHEN a > 3 THEN b ELSE 9 END)"),
        ("sum(b) FILTER (WHERE a < 2)", "sum(5 * b) FILTER (WHERE a < 100)"),
        ("sum(CASE WHEN a > 1 THEN 2 * b ELSE 2 * b END)",
         "sum(CASE WHEN a > 1 THEN 2 * b ELSE 3 * b END)"),
    ],
)  # fmt: skip
def test_constants_do_not_show(texts: tuple[str, ...]) -> None:
    """Plans that differ in constants and weights alone are equal, byte for byte."""
    plans = [prepare(select(text), TABLE) for text in texts]
    for one, other in pairwise(plans):
        assert one.spec is not None and other.spec is not None
        assert one.spec.to_bytes() == other.spec.to_bytes()
        assert len(one.constants) == len(other.constants)


@pytest.mark.parametrize("values", [[5, 5], [5, 6]])
def test_equal_parameters_do_not_show(values: list[int]) -> None:
    """Two parameters that happen to be equal make the same plan as two that differ: a condition
    for each; a name that is used twice makes one.
    """
    text = "sum(b) FILTER (WHERE a < {}), sum(d) FILTER (WHERE a < {})"
    found = recipe(select(text.format("?", "?"), values))
    assert len(found.conditions) == 2
    assert len(recipe(select(text.format(":x", ":x"), {"x": 5})).conditions) == 1


def test_plans_with_conditions_survive_the_wire() -> None:
    """Terms and conditions come back as they were; impossible ones are refused."""
    bound = select("sum(a * b) FILTER (WHERE a > 1 AND p < q + 2), count(q), sum(p * a)")
    spec = prepare(bound, TABLE).spec
    assert spec is not None
    data = spec.to_bytes()
    assert PlanSpec.from_bytes(data) == spec
    from amaters.wire import plan_pb2 as pb

    for change in ("number", "kind", "empty", "operator", "both"):
        message = pb.Plan.FromString(data)
        if change == "number":
            message.terms[0].condition = 9
        elif change == "kind":
            message.terms[0].kind = "max"
        elif change == "empty":
            message.conditions.add()
        else:
            relation = message.conditions[0].public
            assert relation.kind == "relation"
            relation.scalars[1].op = "/" if change == "operator" else ""
            relation.scalars[1].column_id = 1
        with pytest.raises(DataError, match="AM-2101"):
            PlanSpec.from_bytes(message.SerializeToString())


def test_products_that_no_slot_holds_are_refused() -> None:
    """By the planner with a fix, and by the checks of what arrives."""
    with pytest.raises(InvalidError, match="AM-2123"):
        prepare(select("sum(b * b * b)"), TABLE)
    good = prepare(select("sum(b * d * e)"), TABLE).spec
    assert good is not None
    from dataclasses import replace

    from amaters.plan.check import check_spec

    bad = replace(good, terms=(Term("sum", (ID["b"],) * 3),))
    with pytest.raises(DataError, match="AM-2102"):
        check_spec(bad, TABLE.public())


@st.composite
def scalars(draw: st.DrawFn, depth: int = 3) -> Scalar:
    if depth == 0 or draw(st.booleans()):
        if draw(st.booleans()):
            return ColumnRef(draw(st.integers(0, 2)))
        return Literal(draw(st.one_of(st.integers(-9, 9), st.decimals(-9, 9, places=2))))
    op = draw(st.sampled_from("+-*"))
    return Arithmetic(op, draw(scalars(depth - 1)), draw(scalars(depth - 1)))


def evaluated(scalar: Scalar, row: tuple[int, ...]) -> Fraction:
    match scalar:
        case ColumnRef(column_id=column):
            return Fraction(row[column], 10**column)
        case Literal(value=value):
            return Fraction(value)  # type: ignore[arg-type]
        case Arithmetic(op=op, left=left, right=right):
            a, b = evaluated(left, row), evaluated(right, row)
            return {"+": a + b, "-": a - b, "*": a * b}[op]
    raise AssertionError


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no reason to fail
@given(scalars(), st.integers(0, 1 << 30))
def test_polynomials_are_exact(scalar: Scalar, seed: int) -> None:
    """Multiplied out, in int64 or Python integers, every row has the scalar's value."""
    rng = random.Random(seed)
    large = rng.choice([10, 1 << 40])
    rows = [tuple(rng.randint(-large, large) for _ in range(3)) for _ in range(4)]
    columns = {
        column: ColumnValues(np.array([row[column] for row in rows]), np.ones(4, dtype=np.bool_))
        for column in range(3)
    }
    polynomial = expand(scalar, lambda column: column)
    found = values_of(polynomial, columns, 4)
    expected = [evaluated(scalar, row) for row in rows]
    assert [Fraction(int(value), 10**polynomial.scale) for value in found] == expected


@pytest.mark.parametrize(
    ("op", "left", "right", "expected"),
    [
        ("/", 7, 2, 3.5),
        ("/", Decimal("1.5"), 0, float("inf")),
        ("/", -1, 0, float("-inf")),
        ("//", -7, 2, -3),
        ("//", Decimal(7), 2, 3.5),
        ("*", Decimal("1.50"), 3, Decimal("4.50")),
        ("-", 1.5, Decimal("0.5"), 1.0),
        ("+", None, 3, None),
        ("/", -(10**400), 2, float("-inf")),
    ],
    ids=lambda value: str(value)[:9],
)
def test_arithmetic_of_values(op: str, left: object, right: object, expected: object) -> None:
    """Exact where SQL is, doubles where DuckDB's are."""
    found = compute(op, left, right)
    assert repr(found) == repr(expected)
