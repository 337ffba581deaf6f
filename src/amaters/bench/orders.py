"""MIN of a 32-bit column: of all rows, and where an encrypted predicate holds.

What is measured serves MAX, every quantile and ORDER BY ... LIMIT as well: the engine returns the
values of the rows that match, zero elsewhere, and the client ranks them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.bench.questions import Question, measure, measure_rows
from amaters.bench.record import Record
from amaters.bench.workbench import Asked, Stored, Workbench
from amaters.columns.declare import Int32, UInt8
from amaters.engine.executor import Outcome
from amaters.fhe.serial import serialize
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


def orders(bench: Workbench, rows: int | None) -> list[Record]:
    """``min``: no filter. ``min_where``: behind a less-than on 8 bits, whose cost ``mask`` is.

    ``values_us_per_row`` of ``min_where``: what is left of it without the mask;
    ``download_bytes_per_row``: of mask and values.
    """
    random = np.random.default_rng(32)
    count = rows or ROWS
    values = random.integers(-(1 << 31), (1 << 31) - 1, count, endpoint=True)
    keys = random.integers(0, 255, count, endpoint=True)
    table = bench.table("facts", {"k": UInt8(encrypt=["range"]), "x": Int32(encrypt=["range"])})
    stored = bench.store(table, {"k": keys, "x": values})
    where = Compare("<", table.column("k").id, Literal(_LIMIT))
    chosen = keys < _LIMIT
    whole = _extreme(bench, stored, "min", None, (values, np.ones(count, dtype=np.bool_)))
    masked = _extreme(bench, stored, "min_where", where, (values, chosen))
    items = (OutputItem("k", ColumnRef(table.column("k").id)),)
    mask = measure_rows(bench, stored, Question("mask", Select(table, where, items), 8), chosen)
    assert masked.core_us_per_row is not None
    assert mask.core_us_per_row is not None
    rest = masked.core_us_per_row - mask.core_us_per_row
    masked.extra["values_us_per_row"] = max(rest, 0.0)
    return [whole, masked, mask]


def _extreme(
    bench: Workbench,
    stored: Stored,
    name: str,
    where: Predicate | None,
    expected: tuple[NDArray[np.int64], NDArray[np.bool_]],
) -> Record:
    """Every row's value is compared: the number itself where the row matches, else zero."""
    column = stored.table.column("x")
    items = (OutputItem("least", Aggregate("min", ColumnRef(column.id))),)
    values, chosen = expected
    codes = np.where(chosen, values - column.bounds[0], 0)
    sent: list[int] = []

    def check(asked: Asked, outcome: Outcome) -> None:
        total = np.zeros(stored.rows, dtype=np.int64)
        for index, output in enumerate(asked.plan.packed):
            if output.column_id:
                total += output.weight * bench.numbers(asked, stored, outcome, index)
        matching = bench.matching(asked, stored, outcome)
        wrong = int(((total != codes) | (matching != chosen)).sum())
        if wrong:
            fail("AM-1000", what=f"benchmark {name}: {wrong} of {stored.rows} rows are wrong")
        sent.append(sum(len(serialize(pack.ciphertext)) for pack in outcome.masks))

    question = Question(name, Select(stored.table, where, items), 32)
    record = measure(bench, stored, question, check)
    record.extra["download_bytes_per_row"] = sent[-1] / stored.rows
    return record
