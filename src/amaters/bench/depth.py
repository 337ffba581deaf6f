"""Default and deep parameters beside each other, and a filter that only one of them holds at once.

The filter has 64 conditions. On default parameters it is asked in parts (``plan.refresh``), on deep
ones in one circuit; constants are PUBLIC, so that those of one circuit fit into memory.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.bench.meter import CLOCK
from amaters.bench.predicates import compared, uniform
from amaters.bench.record import Record
from amaters.bench.workbench import Asked, Segment, Stored, Workbench
from amaters.columns.declare import UInt8, UInt16
from amaters.fhe.bundle import pack_bundle
from amaters.fhe.parameters import deeper
from amaters.plan.cost import Statistics
from amaters.plan.expressions import (
    Aggregate,
    And,
    ColumnRef,
    Compare,
    Literal,
    Or,
    OutputItem,
    Predicate,
    Select,
)
from amaters.plan.refresh import plan_select
from amaters.plan.splitting import combine

ROWS = 65536
CONDITIONS_ROWS = 32768
COLUMNS, GROUPS = 4, 16  # 16 ORs of 4 ANDs
BITS = 32
Columns = dict[str, NDArray[np.int64]]
Mask = NDArray[np.bool_]


def depth(bench: Workbench, rows: int | None) -> list[Record]:
    """Equality and less-than at both depths, then the large filter both ways."""
    deep = Workbench(deeper(bench.parameters))
    made = []
    for label, at in (("default", bench), ("deep", deep)):
        stored, values = uniform(at, BITS, rows or ROWS)
        for name in ("eq", "lt"):
            found = compared(at, stored, values, (name, BITS, False))
            made.append(replace(found, name=f"{name}_{label}"))
    columns = _columns(rows or CONDITIONS_ROWS)
    made.append(_in_parts(bench, _stored(bench, columns), columns))
    made.append(_in_one_circuit(deep, _stored(deep, columns), columns))
    return made


def _columns(rows: int) -> Columns:
    random = np.random.default_rng(64)
    made = {f"x{n}": random.integers(0, 1 << 16, rows) for n in range(COLUMNS)}
    return {**made, "v": random.integers(0, 100, rows)}


def _stored(bench: Workbench, columns: Columns) -> Stored:
    declared = {f"x{n}": UInt16(encrypt=["range"]) for n in range(COLUMNS)}
    table = bench.table("wide", {**declared, "v": UInt8(max=100, encrypt=["sum"])})
    return bench.store(table, columns)


def _bound(group: int, column: int) -> int:
    return 30_000 + 500 * group + 77 * column


def _select(stored: Stored) -> Select:
    table = stored.table

    def one(group: int, number: int) -> Predicate:
        limit = Literal(_bound(group, number), public=True)
        return Compare("<", table.column(f"x{number}").id, limit)

    every = [And(tuple(one(group, n) for n in range(COLUMNS))) for group in range(GROUPS)]
    total = Aggregate("sum", ColumnRef(table.column("v").id))
    return Select(table, Or(tuple(every)), (OutputItem("s", total),))


def _expected(columns: Columns) -> Mask:
    chosen = [
        np.logical_and.reduce([columns[f"x{n}"] < _bound(group, n) for n in range(COLUMNS)])
        for group in range(GROUPS)
    ]
    return np.asarray(np.logical_or.reduce(chosen), dtype=np.bool_)


def _in_one_circuit(bench: Workbench, stored: Stored, columns: Columns) -> Record:
    asked = bench.ask(_select(stored))
    bench.execute(asked, stored)  # expands the data
    began = CLOCK.cpu()
    outcome = bench.execute(asked, stored)
    core = CLOCK.cpu() - began
    found, expected = bench.totals(asked, outcome), _expected(columns)
    _require(_total(asked, found) == int(columns["v"][expected].sum()))
    return _record("where64_deep", stored, asked.plan.level, core, outcome.key_switches)


def _in_parts(bench: Workbench, stored: Stored, columns: Columns) -> Record:
    """Every part, the masks decrypted and combined, fresh encryptions of them, and the total."""
    known = Statistics(len(stored.segments), stored.rows, masked=False)
    prepared = plan_select(_select(stored), stored.table, known, bench.parameters)
    refresh, final = prepared.refresh, prepared.compiled
    if refresh is None or final is None:
        fail("AM-1000", what="a large filter that is not asked in parts")
    parts = [
        Asked(part, part.compiled, [], 0.0, 0)  # type: ignore[arg-type]
        for part in refresh.parts
    ]
    for part in parts:
        bench.execute(part, stored)  # expands the data
    began = CLOCK.cpu()
    outcomes = [bench.execute(part, stored) for part in parts]
    core = CLOCK.cpu() - began
    began = CLOCK.cpu()
    masks = [
        bench.matching(part, stored, outcome) for part, outcome in zip(parts, outcomes, strict=True)
    ]
    mask = combine(refresh.masks[0].combination, masks)
    fresh = _with_mask(bench, stored, mask, refresh.masks[0].column_id)
    client = CLOCK.cpu() - began
    asked = Asked(prepared, final, [], 0.0, 0)
    began = CLOCK.cpu()
    outcome = bench.execute(asked, fresh)
    core += CLOCK.cpu() - began
    expected = _expected(columns)
    _require(bool((mask == expected).all()))
    _require(_total(asked, bench.totals(asked, outcome)) == int(columns["v"][expected].sum()))
    level = max(part.plan.level for part in parts)
    switches = outcome.key_switches + sum(found.key_switches for found in outcomes)
    made = _record("where64_refresh", stored, level, core, switches)
    made.client_us_per_row = client * 1e6 / stored.rows
    made.extra["parts"] = len(parts)
    return made


def _with_mask(bench: Workbench, stored: Stored, mask: Mask, column_id: int) -> Stored:
    """The segments with a fresh encryption of their masks as one more column."""
    segments, start = [], 0
    for segment in stored.segments:
        slots = np.zeros((1, bench.parameters.slots), dtype=np.int64)
        slots[0, : segment.rows] = mask[start : start + segment.rows]
        start += segment.rows
        bundle = pack_bundle(bench.client.encrypt(slots, [(0, 1)]), "notnull")
        bundles = {**segment.bundles, (column_id, "notnull"): (bundle, 1)}
        segments.append(Segment(segment.rows, bundles, segment.evaluator, segment.reader))
    return replace(stored, segments=segments)


def _total(asked: Asked, found: dict[int, int]) -> int:
    assert asked.prepared.spec is not None
    (index,) = (i for i, term in enumerate(asked.prepared.spec.terms) if term.kind == "sum")
    return found[index]


def _record(name: str, stored: Stored, level: int, core: float, switches: int) -> Record:
    return Record(
        name=name,
        bits=16,
        rows=stored.rows,
        public=True,
        limbs=level,
        core_us_per_row=core * 1e6 / stored.rows,
        extra={"key_switches": switches},
    )


def _require(right: bool) -> None:
    if not right:
        fail("AM-1000", what="benchmark depth: an answer is wrong")
