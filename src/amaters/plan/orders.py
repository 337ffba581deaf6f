"""Which columns' values a statement needs of the rows that match: for ORDER BY and LIMIT.

Pure decisions on the bound statement. Encrypted columns come masked from the engine, public ones
are fetched for all rows that pass the public conditions: neither tells which rows match.
"""

from __future__ import annotations

from dataclasses import dataclass

from amaters.columns.schema import Column
from amaters.plan.cost import Statistics
from amaters.plan.expressions import ColumnRef, Select
from amaters.plan.spec import VALUES_MAX

# So many rows are fetched whole if no encrypted condition chooses among them: that shows nothing,
# while fetching those that come first shows which they are.
FETCHED_WHOLE = 4096


def is_sortable(column: Column) -> bool:
    """Whether order may be asked of a column: any public one, encrypted ones as declared."""
    return not column.encrypted or bool(column.queries & {"range", "group"})


@dataclass(frozen=True, slots=True)
class First:
    """How the rows that come first are found: by the first ``keys`` sort keys, over ``values``
    (encrypted) and ``public`` columns. ``whole``: these are all keys, so ties may fall either way.
    """

    keys: int
    values: tuple[int, ...]
    public: tuple[int, ...]
    whole: bool


def first_rows(select: Select, statistics: Statistics, *, filtered: bool) -> First | None:
    """How to fetch only the rows that come first; None: all that match are fetched.

    ``filtered``: the statement has an encrypted condition.
    """
    if select.limit is None or select.distinct or select.is_aggregate:
        return None
    known = statistics.rows
    if known and select.limit + select.offset >= known:
        return None
    columns = _leading(select)
    if select.order_by and not columns:
        return None
    values = tuple(dict.fromkeys(column.id for column in columns if column.encrypted))
    public = tuple(dict.fromkeys(column.id for column in columns if not column.encrypted))
    if not filtered and (not values or 0 < known <= FETCHED_WHOLE):
        return None
    return First(len(columns), values, public, len(columns) == len(select.order_by))


def _leading(select: Select) -> list[Column]:
    """The columns of the leading sort keys whose values can be had without fetching rows."""
    found: list[Column] = []
    for order in select.order_by:
        key = order.key if isinstance(order.key, ColumnRef) else select.items[order.key].expression
        if not isinstance(key, ColumnRef):
            break
        column = select.table.column(key.column_id)
        encrypted = {other.id for other in (*found, column) if other.encrypted}
        if not is_sortable(column) or len(encrypted) > VALUES_MAX:
            break
        found.append(column)
    return found
