"""What fits a table: how many conditions a filter may combine in one circuit.

Found by proving circuits, not by a formula: AND and OR alternate over copies of the table's widest
condition, liveness masked, and the number doubles until no circuit is provable. Copies of one leaf
are one leaf in a graph, which makes the proof as quick as that of one condition and takes no credit
for conditions being independent of each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from amaters.columns.schema import PublicColumn, PublicTable
from amaters.fhe.parameters import Parameters
from amaters.plan.check import CONSTANTS_BYTES_MAX, constant_slots
from amaters.plan.circuit import CompiledPlan, provable
from amaters.plan.spec import (
    AndNode,
    EqualLeaf,
    MemberLeaf,
    Node,
    OrNode,
    PlanSpec,
    RangeLeaf,
    Term,
)

CONDITIONS_MAX = 64  # more are not tried


@dataclass(frozen=True, slots=True)
class Fits:
    """Conditions of ``bits`` bits that one circuit may combine: for rows and COUNT, and for SUM and
    GROUP BY as far as the table's columns allow these. ``sent``: of how many of them, each a
    BETWEEN, the encrypted constants are taken with one request.
    """

    bits: int
    rows: int
    totals: int
    sent: int


def what_fits(table: PublicTable, parameters: Parameters) -> Fits | None:
    """The limits of a table, None when no condition can be asked of its encrypted columns.

    Cost: some tenths of a second, once per kind of table.
    """
    asked = max(table.columns, key=_width, default=None)
    if asked is None or not _width(asked):
        return None
    summed = [c for c in table.columns if c.encoding("limbs") is not None]
    grouped = [c for c in table.columns if c.encoding("onehot") is not None]
    # Only what decides the answer, so that tables alike share it.
    columns = dict.fromkeys((asked, *summed[:1], *grouped[:1]))
    plain = tuple(
        replace(column, id=number, name=f"c{number}", primary_key=False)
        for number, column in enumerate(columns, start=1)
    )
    ids = {column: number for number, column in enumerate(columns, start=1)}
    numbers = (ids[asked], *(ids[c] for c in summed[:1]), *(ids[c] for c in grouped[:1]))
    alike = replace(
        table, id=bytes(16), name="t", version=1, columns=plain, key_id=bytes(16), indexes=()
    )
    shape = (numbers[0], numbers[1] if summed else 0, numbers[-1] if grouped else 0)
    return _found(alike, shape, parameters)


def fitting_text(table: PublicTable, parameters: Parameters) -> str:
    """What a filter on a table may combine, for a person; empty if it has nothing to compare."""
    fits = what_fits(table, parameters)
    if fits is None:
        return ""
    sent = f" (encrypted constants of up to {fits.sent})" if fits.sent < fits.rows else ""
    conditions = "equalities" if fits.bits == 1 else f"conditions of {fits.bits} bits"
    return (
        f"one circuit combines up to {fits.rows} {conditions}{sent}, "
        f"{fits.totals} with SUM and GROUP BY; larger filters are asked in parts"
    )


@lru_cache(maxsize=256)
def _found(table: PublicTable, shape: tuple[int, int, int], parameters: Parameters) -> Fits:
    asked, summed, grouped = shape
    leaf = _leaf(table.column(asked))
    base = PlanSpec(
        table_id=table.id,
        schema_version=table.version,
        parameter_set=parameters.name,
        scheme=table.scheme,
        output="mask",
    )
    terms = (Term("count"), Term("sum", (summed,)), Term("count", (summed,)))
    totals = replace(
        base,
        output="aggregate",
        terms=terms if summed else terms[:1],
        encrypted_groups=(grouped,) if grouped else (),
    )
    rows, plan = _most(base, leaf, table, parameters)
    most, _ = _most(totals, leaf, table, parameters, rows)
    sent = 0
    if plan is not None:
        each = constant_slots(replace(base, filter=leaf), table)
        levels = plan.constant_levels[:each]
        size = sum(sum(parameters.residue_bytes(level)) for level in levels) * parameters.slots
        sent = CONSTANTS_BYTES_MAX // size
    return Fits(_width(table.column(asked)), rows, most, sent)


def _most(
    spec: PlanSpec,
    leaf: Node,
    table: PublicTable,
    parameters: Parameters,
    limit: int = CONDITIONS_MAX,
) -> tuple[int, CompiledPlan | None]:
    """The largest power of two of copies of ``leaf``, up to ``limit``, for which there is a proof,
    and its circuit.
    """
    count = limit
    while count:
        made = replace(spec, filter=_alternating(leaf, count, conjunction=True))
        found = provable(made, table, parameters)
        if found is not None:
            return count, found
        count //= 2
    return 0, None


def _alternating(leaf: Node, count: int, *, conjunction: bool) -> Node:
    if count == 1:
        return leaf
    half = _alternating(leaf, count // 2, conjunction=not conjunction)
    return AndNode((half, half)) if conjunction else OrNode((half, half))


def _leaf(column: PublicColumn) -> Node:
    if column.encoding("digits") is None:
        return MemberLeaf(column.id)
    if "range" in column.queries:
        return RangeLeaf(column.id, "between")
    return EqualLeaf(column.id, 1)


def _width(column: PublicColumn) -> int:
    """Bits of the conditions a column answers, 0 for none; categories count as one bit."""
    digits = column.encoding("digits")
    if digits is not None:
        return digits.bits
    return 1 if column.encoding("onehot") is not None else 0
