"""Equality and less-than over uniform columns of 8 to 64 bits, constants encrypted and public."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amaters.bench.questions import Question, measure_rows
from amaters.bench.record import Record
from amaters.bench.workbench import Stored, Workbench
from amaters.columns.declare import UInt8, UInt16, UInt32, UInt64
from amaters.plan.expressions import ColumnRef, Compare, Literal, OutputItem, Select

ROWS = 65536
_TYPES = {8: UInt8, 16: UInt16, 32: UInt32, 64: UInt64}
_OPERATORS = {"eq": "=", "lt": "<"}


def predicates(bench: Workbench, rows: int | None) -> list[Record]:
    """Eight pairs of records: operator and width, encrypted constants and PUBLIC ones."""
    made = []
    for bits in _TYPES:
        stored, values = uniform(bench, bits, rows or ROWS)
        for name in _OPERATORS:
            for public in (False, True):
                made.append(compared(bench, stored, values, (name, bits, public)))
    return made


def uniform(bench: Workbench, bits: int, rows: int) -> tuple[Stored, NDArray[np.uint64]]:
    """A table with one column of uniform values, and these."""
    values = _values(bits, rows)
    table = bench.table("uniform", {"x": _TYPES[bits](encrypt=["eq", "range"])})
    return bench.store(table, {"x": _stored(values, bits)}), values


def compared(
    bench: Workbench,
    stored: Stored,
    values: NDArray[np.uint64],
    case: tuple[str, int, bool],
) -> Record:
    """One comparison; ``case``: operator, bits, whether its constant is PUBLIC."""
    name, bits, public = case
    # A value that occurs; for less-than the median, so that both answers are frequent.
    constant = int(values[0]) if name == "eq" else int(np.sort(values)[len(values) // 2])
    column = stored.table.column("x").id
    where = Compare(_OPERATORS[name], column, Literal(constant, public=public))
    select = Select(stored.table, where, (OutputItem("x", ColumnRef(column)),))
    limit = np.uint64(constant)
    expected = values == limit if name == "eq" else values < limit
    return measure_rows(bench, stored, Question(name, select, bits, public), expected)


def _values(bits: int, rows: int) -> NDArray[np.uint64]:
    """Uniform over the whole domain, with its ends; the same every time, so runs compare."""
    random = np.random.default_rng(bits)
    values = random.integers(0, (1 << bits) - 1, rows, dtype=np.uint64, endpoint=True)
    values[-2:] = 0, (1 << bits) - 1
    return values


def _stored(values: NDArray[np.uint64], bits: int) -> NDArray[np.uint64] | NDArray[np.int64]:
    return values if bits == 64 else values.astype(np.int64)
