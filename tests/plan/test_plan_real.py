"""Statements on the real scheme (small ring): right answers, noise below its bound."""

from __future__ import annotations

import random

import pytest
from plan_support import Database
from test_plan_circuits import (
    AMOUNT,
    COLUMNS,
    GRADE,
    MID,
    PUB,
    RATE,
    ROW,
    SIDE,
    SMALL,
    random_row,
)

from amaters.columns.declare import build_table
from amaters.fhe.parameters import INSECURE_N1024
from amaters.fhe.scheme import ClientScheme, Evaluator, make_evaluator
from amaters.fhe.secret import SecretKey, make_client_scheme
from amaters.plan.expressions import (
    Aggregate,
    And,
    Arithmetic,
    Between,
    ColumnRef,
    Compare,
    In,
    IsNull,
    Literal,
    Not,
    Or,
    OutputItem,
    Select,
)


@pytest.fixture(scope="module")
def scheme() -> tuple[ClientScheme, Evaluator]:
    key = SecretKey.generate(INSECURE_N1024)
    client = make_client_scheme("bgv", INSECURE_N1024, key)
    return client, make_evaluator("bgv", INSECURE_N1024, client.evaluation_keys())


@pytest.fixture(scope="module")
def database(scheme) -> Database:
    rng = random.Random(11)
    table = build_table(
        "t", COLUMNS, parameter_set=INSECURE_N1024.name, scheme="bgv", key_id=scheme[0].key_id
    )
    rows = [random_row(rng) for _ in range(500)]
    return Database(table, rows, segment_rows=250, dead=(3, 260), scheme=scheme)


STATEMENTS = [
    (
        Compare("<", MID, Literal(40000)),
        (Aggregate("count_star"), Aggregate("sum", ColumnRef(MID))),
        (),
    ),
    (
        And((In(MID, (Literal(255), Literal(0))), Compare("<", PUB, Literal(4)))),
        (Aggregate("sum", Arithmetic("*", ColumnRef(AMOUNT), ColumnRef(RATE))),),
        (GRADE,),
    ),
    (
        Or((Compare("=", MID, Literal(65535)), Compare("=", PUB, Literal(2)), IsNull(SMALL))),
        (Aggregate("avg", ColumnRef(AMOUNT)), Aggregate("sum", ColumnRef(PUB))),
        (PUB, SIDE),
    ),
    (Not(Between(SMALL, Literal(4, True), Literal(9, True))), None, ()),
    (And((Compare("<>", GRADE, Literal("B")), Compare(">=", MID, Literal(255)))), None, ()),
    (None, (Aggregate("sum", ColumnRef(AMOUNT)), Aggregate("count", ColumnRef(MID))), (SIDE,)),
]


@pytest.mark.parametrize("number", range(len(STATEMENTS)))
def test_statements_on_the_real_scheme(database: Database, number: int) -> None:
    """Answers equal the plaintext evaluator's; measured noise stays below the proven bound."""
    where, aggregates, groups = STATEMENTS[number]
    items = (
        ROW
        if aggregates is None
        else tuple(OutputItem(f"a{i}", a) for i, a in enumerate(aggregates))
    )
    prepared = database.check(Select(database.table, where, items, groups), threads=2)
    _, outcome, _ = database.execute(prepared)
    for total in outcome.totals:
        ciphertext = total.ciphertext
        bound = database.evaluator.rules.coefficient_bound(ciphertext.meta)
        assert database.client.exact_noise(ciphertext) < ciphertext.meta.noise
        assert bound < INSECURE_N1024.log_modulus(ciphertext.level) - 1
    for pack in outcome.masks:
        assert pack.ciphertext.level == 0
