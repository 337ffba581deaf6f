"""Partial totals by key, joined here with the rows of the dimension."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import prod
from typing import Any

from amaters.client.finish import Answer, Totals, finish_totals
from amaters.client.partners import JoinedRows
from amaters.columns.batch import ColumnBatch, from_storage_list
from amaters.columns.types import to_storage
from amaters.plan.expressions import Select
from amaters.plan.joins import is_of_fact
from amaters.plan.keyed import Keyed
from amaters.plan.recipes import recipe


def answer_by_key(
    select: Select, asked: Keyed, columns: Sequence[Sequence[Any]], rows: JoinedRows
) -> Answer:
    """The statement's answer from that of ``asked``."""
    table = select.table
    found = {}
    for column_id, values in zip(asked.groups, columns, strict=False):
        type_ = table.column(column_id).type
        found[column_id] = from_storage_list(type_, [to_storage(type_, value) for value in values])
    length = len(columns[0])
    keys = ColumnBatch(found, length)
    whole, there = rows.joined(keys)
    totals = Totals()
    groups = [_listed(whole, column_id) for column_id in select.fine_groups]
    for term in recipe(select).terms:
        theirs = [c for c in term.columns if not is_of_fact(c)]
        own = [c for c in term.columns if is_of_fact(c)]
        scale = sum(table.column(c).type.scale for c in own) if term.kind == "sum" else 0
        needed = [_listed(whole, c) for c in (*theirs, *term.required) if not is_of_fact(c)]
        factors = [_listed(whole, c) for c in theirs] if term.kind == "sum" else []
        partial = columns[asked.partials[term]]
        for row in range(length):
            if not there[row] or any(values[row] is None for values in needed):
                continue
            amount = _units(partial[row], scale) * prod(values[row] for values in factors)
            totals.add(tuple(values[row] for values in groups), term, amount)
    return finish_totals(select, totals)


def _listed(rows: ColumnBatch, column_id: int) -> list[Any]:
    """Storage values, None for NULL."""
    data = rows.columns[column_id]
    pairs = zip(data.values.tolist(), data.valid.tolist(), strict=True)
    return [value if ok else None for value, ok in pairs]


def _units(total: Any, scale: int) -> int:
    """A total in units of 10^-scale; of no rows it is NULL, which adds nothing."""
    return 0 if total is None else int(Decimal(total).scaleb(scale))
