"""FETCH exact, padded, all: what is asked of the engine, so that it sees less of which rows match;
and UPDATEs that do not show which rows they change.

``exact`` fetches the rows that match. ``padded`` fetches decoys with them, as many as the next
power of two, in every segment. ``all`` sends nothing of the condition and fetches every row; this
client then looks which match.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from amaters.base.errors import fail
from amaters.columns.schema import Table
from amaters.plan.expressions import ColumnRef, Explainable, InsertFrom, OutputItem, Select, Update

MODES = ("exact", "padded", "all")
DECOYS_MIN = 16  # rows that are fetched of a segment in which fewer match


def with_mode(statement: Explainable, mode: str) -> Explainable:
    """The statement with its rows fetched in this way. Raises: AM-2150."""
    if isinstance(statement, InsertFrom):
        return replace(statement, source=_select(statement.source, mode))
    return _select(statement, mode)


def _select(statement: object, mode: str) -> Select:
    simple = isinstance(statement, Select) and not statement.is_aggregate
    if not simple or statement.join is not None or statement.table.is_local:  # type: ignore[attr-defined]
        fail("AM-2150", mode=mode.upper())
    assert isinstance(statement, Select)
    return replace(statement, fetch=mode)


def asked(select: Select, needed: Collection[int]) -> Select:
    """The SELECT that the engine is asked; ``needed``: ids of the columns that are fetched."""
    if select.fetch == "padded":
        return replace(select, order_by=(), limit=None, offset=0, distinct=False)
    if select.fetch == "all":
        return Select(select.table, None, _columns(select.table, needed), fetch="all")
    return select


def _columns(table: Table, needed: Collection[int]) -> tuple[OutputItem, ...]:
    wanted = [column for column in table.columns if column.id in needed]
    return tuple(OutputItem(column.name, ColumnRef(column.id)) for column in wanted)


def hides(update: Update) -> bool:
    """Whether an UPDATE must not show which rows it changes: it sets ``accumulate`` columns."""
    return any("accumulate" in update.table.column(c).queries for c, _ in update.assignments)


def padded_count(matching: int) -> int:
    """How many rows of a segment are fetched for so many that match, if it has as many."""
    return max(DECOYS_MIN, 1 << max(matching - 1, 0).bit_length())
