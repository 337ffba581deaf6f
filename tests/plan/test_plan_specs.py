"""Plans as values: wire form, digests, refusals, depth, polynomials."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_support import make_table
from test_plan_circuits import COLUMNS, GRADE, MID, SIDE, SMALL

from amaters.base.errors import AmatersError, DataError, InvalidError
from amaters.columns import declare
from amaters.fhe.parameters import DEEP, DEFAULT, INSECURE_N1024, Parameters
from amaters.plan.circuit import compile_plan
from amaters.plan.cost import Statistics
from amaters.plan.expressions import (
    Aggregate,
    And,
    Between,
    ColumnRef,
    Compare,
    In,
    IsNull,
    Literal,
    Not,
    Or,
    OutputItem,
    Predicate,
    Select,
    Truth,
)
from amaters.plan.polynomials import SUPPORTED, equality_polynomial, size_for
from amaters.plan.predicate_wire import decode_predicate, encode_predicate
from amaters.plan.prepare import prepare
from amaters.plan.spec import (
    AndNode,
    EqualLeaf,
    MemberLeaf,
    NullLeaf,
    OrNode,
    PlanSpec,
    PublicNode,
    RangeLeaf,
    Term,
)

TABLE = make_table(COLUMNS)
PUBLIC = TABLE.public()


def spec(filter_, **more) -> PlanSpec:
    given_ = {
        "table_id": TABLE.id,
        "schema_version": TABLE.version,
        "parameter_set": TABLE.parameter_set,
        "scheme": TABLE.scheme,
        "output": "aggregate",
        "terms": (Term("count"),),
        "filter": filter_,
    }
    return PlanSpec(**{**given_, **more})


MID_SLICES = 25
PLANS = [
    spec(RangeLeaf(MID, "le")),
    spec(RangeLeaf(MID, "gt")),
    spec(RangeLeaf(MID, "between")),
    spec(RangeLeaf(SMALL, "le")),
    spec(RangeLeaf(MID, "le", codes=(5,))),
    spec(RangeLeaf(MID, "le", codes=(6,))),
    spec(EqualLeaf(MID, 1)),
    spec(EqualLeaf(MID, 1, negated=True)),
    spec(EqualLeaf(MID, 2)),
    spec(MemberLeaf(GRADE)),
    spec(MemberLeaf(GRADE, codes=(1, 0, 1))),
    spec(NullLeaf(MID)),
    spec(NullLeaf(MID, negated=True)),
    spec(RangeLeaf(MID, "le"), masked=False),
    spec(RangeLeaf(MID, "le"), public_filter=Compare("=", 1, Literal(3))),
    spec(RangeLeaf(MID, "le"), public_filter=Compare("=", 1, Literal(4))),
    spec(RangeLeaf(MID, "le"), public_groups=(1,)),
    spec(RangeLeaf(MID, "le"), encrypted_groups=(GRADE,)),
    spec(RangeLeaf(MID, "le"), encrypted_groups=(SIDE,)),
    spec(RangeLeaf(MID, "le"), terms=(Term("sum", (MID,)),)),
    spec(RangeLeaf(MID, "le"), terms=(), output="mask"),
    spec(AndNode((RangeLeaf(MID, "le"), NullLeaf(SMALL)))),
    spec(OrNode((RangeLeaf(MID, "le"), NullLeaf(SMALL)))),
    spec(OrNode((RangeLeaf(MID, "le"), PublicNode(Compare("=", 1, Literal(3)))))),
]


def test_digests_are_stable_and_tell_plans_apart() -> None:
    """Equal plans give equal circuits, after travelling too; differences change the digest."""
    digests = [compile_plan(plan, PUBLIC, INSECURE_N1024).digest for plan in PLANS]
    travelled = [PlanSpec.from_bytes(plan.with_digest(b"d" * 32).to_bytes()) for plan in PLANS]
    assert [replace(plan, digest=b"") for plan in travelled] == PLANS
    assert [compile_plan(plan, PUBLIC, INSECURE_N1024).digest for plan in travelled] == digests
    for (i, a), (j, b) in combinations(enumerate(digests), 2):
        assert a != b, (PLANS[i], PLANS[j])


def test_digests_do_not_depend_on_the_process() -> None:
    """Another process, with another hash seed, compiles to the same digest."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_plan_specs import PLANS, PUBLIC, INSECURE_N1024, compile_plan\n"
        "print(compile_plan(PLANS[-1], PUBLIC, INSECURE_N1024).digest.hex())"
    )
    here = str(__file__).rsplit("/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", code, here], capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "77", "PATH": "/usr/bin"},
    )  # fmt: skip
    assert done.stdout.strip() == compile_plan(PLANS[-1], PUBLIC, INSECURE_N1024).digest.hex()


@pytest.mark.parametrize(
    "change",
    [
        {"table_id": b"x" * 16},
        {"schema_version": 2},
        {"scheme": "bgv"},
        {"parameter_set": DEFAULT.name},
        {"filter": RangeLeaf(1, "le")},
        {"filter": RangeLeaf(99, "le")},
        {"filter": RangeLeaf(GRADE, "le")},
        {"filter": RangeLeaf(MID, "le", slot=1)},
        {"filter": AndNode((RangeLeaf(MID, "le"), RangeLeaf(MID, "gt")))},
        {"filter": RangeLeaf(MID, "le", codes=(1 << 16,))},
        {"filter": MemberLeaf(GRADE, codes=(1, 2, 0))},
        {"filter": MemberLeaf(GRADE, codes=(1, 0))},
        {"filter": PublicNode(Compare("=", 1, Literal(3)))},
        {"public_filter": Compare("=", MID, Literal(3))},
        {"public_groups": (GRADE,)},
        {"encrypted_groups": (MID,)},
        {"encrypted_groups": (1,)},
        {"terms": (Term("sum", (GRADE,)),)},
        {"terms": (Term("sum", (2,)),)},
        {"filter": None},
    ],
)
def test_plans_that_do_not_fit_the_table_are_refused(change: dict) -> None:
    """Whatever a stranger sends is checked against the schema before it is compiled."""
    with pytest.raises(DataError) as caught:
        compile_plan(replace(PLANS[0], **change), PUBLIC, INSECURE_N1024)
    assert caught.value.code == "AM-2102"


PREDICATES = [
    Compare("<=", 1, Literal(2**64 - 1)),
    Between(1, Literal(None), Literal(-5), True),
    In(2, (Literal("a\u00e9"), Literal(""), Literal(None))),
    IsNull(1, True),
    Not(Or((Compare("=", 1, Literal(True)), Truth(None), And((Truth(True), Truth(False)))))),
]


@pytest.mark.parametrize("predicate", PREDICATES, ids=repr)
def test_public_predicates_survive_the_wire(predicate: Predicate) -> None:
    """Values of every type come back as they were."""
    from datetime import date
    from decimal import Decimal

    for literal in (date(1, 1, 1), date(9999, 12, 31), Decimal("-0.010"), Decimal("1E+30")):
        both = And((predicate, Compare("=", 1, Literal(literal))))
        assert decode_predicate(encode_predicate(both)) == both


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(PLANS) - 1), st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_damaged_plans_are_typed_errors(index: int, at: int, value: int, cut: bool) -> None:
    """A flipped byte or a cut gives a plan that is checked, or a typed refusal; never anything
    else.
    """
    data = bytearray(PLANS[index].to_bytes())
    at %= len(data)
    if cut:
        data = data[:at]
    else:
        data[at] = value
    try:
        compile_plan(PlanSpec.from_bytes(bytes(data)), PUBLIC, INSECURE_N1024)
    except AmatersError as error:
        assert error.code in {"AM-2101", "AM-2102", "AM-2301"}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_typed_errors(data: bytes) -> None:
    """Nothing that arrives can raise anything but AM-2101."""
    try:
        PlanSpec.from_bytes(data)
    except DataError as error:
        assert error.code == "AM-2101"


def test_size_limits() -> None:
    """Too long, too deep, too many children: refused before work is done."""
    deep = NullLeaf(MID)
    for _ in range(30):
        deep = AndNode((deep, NullLeaf(SMALL)))
    wide = OrNode(tuple(NullLeaf(MID) for _ in range(600)))
    for plan in (spec(deep), spec(wide), spec(EqualLeaf(MID, 257)), spec(None, output="mask")):
        with pytest.raises(DataError):
            PlanSpec.from_bytes(plan.to_bytes() if plan.filter else b"\xff" * 10)
    with pytest.raises(DataError):
        PlanSpec.from_bytes(b"\0" * (1 << 19))


@pytest.mark.parametrize("size", SUPPORTED)
def test_equality_polynomials_at_every_count(size: int) -> None:
    """Zero at 0 .. d-1, the public factor at d, for every number of digits that is shifted up."""
    polynomial = equality_polynomial(size)
    assert [polynomial(count) for count in range(size)] == [0] * size
    assert polynomial(size) == polynomial.factor != 0
    assert size_for(size) == size
    digits = [d for d in range(2, 33) if size_for(d) == size]
    assert digits and all(size // 2 < d <= size or size == 4 for d in digits)


# ---- depth -----------------------------------------------------------------------------------


def wide_table(parameters: Parameters, leaves: int, bits: int = 32):
    kind = {16: declare.Int16, 32: declare.Int32, 64: declare.Int64}[bits]
    columns = {f"c{i}": kind(encrypt=["eq", "range", "sum"], nullable=True) for i in range(leaves)}
    columns["v"] = declare.Int32(encrypt=["sum"], nullable=True)
    columns["g"] = declare.Enum(["A", "B", "C"], encrypt=["group"], nullable=True)
    columns["p"] = declare.Int32(nullable=True)
    return make_table(columns, parameters)


def tree(kind, leaves: int) -> Predicate:
    """Alternating = and < over different columns."""
    return kind(tuple(Compare("=" if i % 2 else "<", i + 1, Literal(77)) for i in range(leaves)))


def statement(table, where: Predicate, groups: tuple[str, ...] = (), summed: str = "v") -> Select:
    total = Aggregate("sum", ColumnRef(table.column(summed).id))
    ids = tuple(table.column(name).id for name in groups)
    return Select(table, where, (OutputItem("s", total),), ids)


@pytest.mark.parametrize("kind", [And, Or])
@pytest.mark.parametrize("groups", [(), ("g",), ("p",)])
@pytest.mark.parametrize("masked", [False, True])
def test_eight_nullable_leaves_of_32_bits_with_sum_and_group_by(kind, groups, masked) -> None:
    """What PRODUCT promises of the default parameters, with dead rows and without."""
    table = wide_table(DEFAULT, 8)
    statistics = Statistics(10, 100_000, 0, masked)
    prepared = prepare(statement(table, tree(kind, 8), groups), table, statistics, DEFAULT)
    assert prepared.compiled.level <= DEFAULT.max_level


@pytest.mark.parametrize("groups", [(), ("g",), ("p",)])
@pytest.mark.parametrize("pairs", [False, True])
def test_eight_leaves_and_the_sum_of_one_of_them(groups, pairs) -> None:
    """A summed column that the filter reads too is no independent factor of the last product."""
    table = wide_table(DEFAULT, 8)
    where = tree(Or, 8)
    if pairs:
        where = Or(tuple(And(where.children[i : i + 2]) for i in range(0, 8, 2)))
    asked = statement(table, where, groups, summed="c0")
    prepared = prepare(asked, table, Statistics(10, 100_000, 0, False), DEFAULT)
    assert prepared.compiled.level <= DEFAULT.max_level
    assert all(accumulator.segments_max >= 1 for accumulator in prepared.compiled.accumulators)


@pytest.mark.parametrize(("bits", "leaves"), [(16, 32), (32, 16), (64, 8)])
def test_depth_rules_for_counts(bits: int, leaves: int) -> None:
    """32 leaves of 16 bits, 16 of 32, 8 of 64 for COUNT and row selection (FHE section 6)."""
    table = wide_table(DEFAULT, leaves, bits)
    for items in ((OutputItem("n", Aggregate("count_star")),), (OutputItem("x", Literal(1)),)):
        where = Or(tuple(Compare("<", i + 1, Literal(7)) for i in range(leaves)))
        prepared = prepare(Select(table, where, items), table, Statistics(masked=False), DEFAULT)
        assert prepared.compiled.level <= DEFAULT.max_level


def test_too_deep_is_refused_at_bind_time_and_deep_parameters_allow_it() -> None:
    """DepthExceeded names needed and available levels; N = 32768 answers the same statement."""
    where = tree(And, 40)
    table = wide_table(DEFAULT, 40)
    with pytest.raises(InvalidError) as caught:
        prepare(statement(table, where), table, Statistics(), DEFAULT)
    assert caught.value.code == "AM-2301"
    assert "needs 13 levels, 10 in bgv_n16384" in str(caught.value)
    deep = wide_table(DEEP, 40)
    prepared = prepare(statement(deep, where), deep, Statistics(), DEEP)
    assert DEFAULT.max_level < prepared.compiled.level <= DEEP.max_level


def test_statements_beyond_the_limits_are_refused_on_the_client() -> None:
    """Too many groups times limbs, or too large a filter: AM-2108 before anything is sent."""
    names = [f"k{i}" for i in range(1000)]
    table = make_table(
        {
            "g": declare.Enum(names, encrypt=["group"]),
            "v": declare.Int64(encrypt=["sum"]),
            "e": declare.Int64(encrypt=["eq"]),
        }
    )
    total = (OutputItem("s", Aggregate("sum", ColumnRef(2))),)
    wide = In(3, tuple(Literal(i) for i in range(250)))
    for where, items, groups in [
        (None, total, (1,)),
        (Or((wide, Not(wide))), total, ()),
        (In(3, tuple(Literal(i) for i in range(300))), total, ()),
    ]:
        with pytest.raises(InvalidError) as caught:
            prepare(Select(table, where, items, groups), table)
        assert caught.value.code == "AM-2108"


def test_capabilities_are_checked_at_bind_time() -> None:
    """A missing capability is named with the ALTER that adds it; nothing is compiled."""
    table = make_table(
        {
            "e": declare.Int16(encrypt=["eq"]),
            "s": declare.Int16(encrypt=["sum"]),
            "g": declare.Enum(["A"], encrypt=["group"]),
        }
    )
    row = (OutputItem("x", Literal(1)),)
    for select, needed in [
        (Select(table, Compare("<", 1, Literal(3)), row), "range"),
        (Select(table, Between(1, Literal(1), Literal(2)), row), "range"),
        (Select(table, Compare("=", 2, Literal(3)), row), "eq"),
        (Select(table, In(2, (Literal(3),)), row), "eq"),
        (Select(table, None, (OutputItem("s", Aggregate("sum", ColumnRef(1))),)), "sum"),
        (Select(table, None, (OutputItem("n", Aggregate("count_star")),), (2,)), "group"),
    ]:
        with pytest.raises(InvalidError) as caught:
            prepare(select, table)
        assert caught.value.code == "AM-2107"
        assert f"ADD QUERY {needed}" in str(caught.value)
