"""TPC-H query 1, the pricing summary report: eight aggregates over two encrypted group columns.

The statement is the specification's (clause 2.4.1) with DELTA = 90. Every column is encrypted, and
so is the date. Answers are compared with exact integers computed from the plaintext.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.bench.questions import Question, measure
from amaters.bench.record import Record
from amaters.bench.workbench import Asked, Workbench
from amaters.client.finish import Totals, category_value, finish_totals
from amaters.columns import declare
from amaters.columns.declare import Declaration
from amaters.engine.executor import Outcome
from amaters.plan.expressions import Select
from amaters.plan.outputs import shares, slot_values
from amaters.sql.binder import NewTables, bind
from amaters.sql.parser import parse_one

SQL = """
SELECT l_returnflag, l_linestatus, sum(l_quantity) AS sum_qty,
  sum(l_extendedprice) AS sum_base_price,
  sum(l_extendedprice * (1 - l_discount)) AS sum_disc_price,
  sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge,
  avg(l_quantity) AS avg_qty, avg(l_extendedprice) AS avg_price, avg(l_discount) AS avg_disc,
  count(*) AS count_order
FROM lineitem WHERE l_shipdate <= DATE '1998-12-01' - INTERVAL '90' DAY
GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus
"""
_LAST_DAY = (date(1998, 9, 2) - date(1970, 1, 1)).days
Columns = Mapping[str, NDArray[Any]]


def declarations() -> dict[str, Declaration]:
    """The columns that query 1 reads, within the bounds of clause 4.2.3."""
    return {
        "l_quantity": declare.Decimal(15, 2, encrypt=["sum"], min=1, max=50),
        "l_extendedprice": declare.Decimal(15, 2, encrypt=["sum"], min=900, max=105_000),
        "l_discount": declare.Decimal(15, 2, encrypt=["sum"], min=0, max=Decimal("0.10")),
        "l_tax": declare.Decimal(15, 2, encrypt=["sum"], min=0, max=Decimal("0.08")),
        "l_returnflag": declare.Enum(["A", "N", "R"], encrypt=["group"]),
        "l_linestatus": declare.Enum(["F", "O"], encrypt=["group"]),
        "l_shipdate": declare.Date(encrypt=["range"], min=date(1992, 1, 1), max=date(1998, 12, 31)),
    }


def query_1(bench: Workbench, data: Columns) -> Record:
    """The whole query in one run of the engine; every group and aggregate checked."""
    table = bench.table("lineitem", declarations())
    stored = bench.store(table, {name: data[name] for name in declarations()})
    new = NewTables("bgv", lambda _: (table.parameter_set, table.key_id))
    select = bind(parse_one(SQL), {"lineitem": table}, new=new)
    assert isinstance(select, Select)
    expected = _expected(data)

    def check(asked: Asked, outcome: Outcome) -> None:
        answer = finish_totals(select, _totals(bench, asked, outcome))
        if list(zip(*answer.columns, strict=True)) != expected:
            fail("AM-1000", what="benchmark q1: an answer is wrong")

    return measure(bench, stored, Question("q1", select), check)


def _totals(bench: Workbench, asked: Asked, outcome: Outcome) -> Totals:
    """What the engine returned, decrypted, by group and term."""
    spec, table = asked.plan.spec, asked.prepared.select.table
    columns = [table.column(column) for column in spec.encrypted_groups]
    totals = Totals()
    for part in outcome.totals:
        accumulator = asked.plan.accumulators[part.accumulator]
        slots = bench.client.decrypt(part.ciphertext)
        amount = accumulator.weight * int(slot_values(slots, accumulator).sum())
        for group, sign in shares(spec, table.public(), accumulator.categories):
            key = tuple(category_value(c, i) for c, i in zip(columns, group, strict=True))
            totals.add(key, spec.terms[accumulator.term], sign * amount)
    return totals


def _expected(data: Columns) -> list[tuple[Any, ...]]:
    """The answer from plaintext: integers in hundredths and finer, nothing rounded but averages."""
    chosen = data["l_shipdate"] <= _LAST_DAY
    flag, status = data["l_returnflag"], data["l_linestatus"]
    rows = []
    for key in sorted(set(zip(flag[chosen], status[chosen], strict=True))):
        rows.append(key + _summary(data, chosen & (flag == key[0]) & (status == key[1])))
    return rows


def _summary(data: Columns, own: NDArray[np.bool_]) -> tuple[Any, ...]:
    names = ("l_quantity", "l_extendedprice", "l_discount", "l_tax")
    quantity, price, discount, tax = (data[name][own].astype(np.int64) for name in names)
    count = int(own.sum())
    sums = [int(column.sum()) for column in (quantity, price, discount)]
    discounted = int((price * (100 - discount)).sum())
    charge = int((price * (100 - discount) * (100 + tax)).sum())
    totals = [(sums[0], 2), (sums[1], 2), (discounted, 4), (charge, 6)]
    decimals = (Decimal(total).scaleb(-scale) for total, scale in totals)
    return (*decimals, *(total / (100 * count) for total in sums), count)
