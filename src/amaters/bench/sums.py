"""SUM over a 32-bit column: of all rows, and where an encrypted predicate holds."""

from __future__ import annotations

import numpy as np

from amaters.bench.questions import Question, measure_rows, measure_totals
from amaters.bench.record import Record
from amaters.bench.workbench import Stored, Workbench
from amaters.columns.declare import Int32, UInt8
from amaters.plan.expressions import (
    Aggregate,
    ColumnRef,
    Compare,
    Literal,
    OutputItem,
    Predicate,
    Select,
)

ROWS = 65536
_LIMIT = 100


def sums(bench: Workbench, rows: int | None) -> list[Record]:
    """``sum``: no filter. ``sum_where``: behind a less-than on 8 bits, whose cost ``mask`` is.

    ``masked_us_per_row_and_limb`` of ``sum_where``: what is left of it without the mask.
    """
    random = np.random.default_rng(32)
    count = rows or ROWS
    values = random.integers(-(1 << 31), (1 << 31) - 1, count, endpoint=True)
    keys = random.integers(0, 255, count, endpoint=True)
    table = bench.table("facts", {"k": UInt8(encrypt=["range"]), "x": Int32(encrypt=["sum"])})
    stored = bench.store(table, {"k": keys, "x": values})
    where = Compare("<", table.column("k").id, Literal(_LIMIT))
    chosen = keys < _LIMIT
    expected = [int(values.sum()), count], [int(values[chosen].sum()), int(chosen.sum())]
    whole = _total(bench, stored, "sum", None, expected[0])
    masked = _total(bench, stored, "sum_where", where, expected[1])
    items = (OutputItem("k", ColumnRef(table.column("k").id)),)
    mask = measure_rows(bench, stored, Question("mask", Select(table, where, items), 8), chosen)
    limbs = len(table.column("x").encodings[0].bounds)
    assert masked.core_us_per_row is not None
    assert mask.core_us_per_row is not None
    rest = masked.core_us_per_row - mask.core_us_per_row
    masked.extra["masked_us_per_row_and_limb"] = max(rest, 0.0) / limbs
    return [whole, masked, mask]


def _total(
    bench: Workbench, stored: Stored, name: str, where: Predicate | None, expected: list[int]
) -> Record:
    column = stored.table.column("x").id
    items = (OutputItem("total", Aggregate("sum", ColumnRef(column))),)
    select = Select(stored.table, where, items)
    return measure_totals(bench, stored, Question(name, select, 32), expected)
