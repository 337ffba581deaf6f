"""How the tables of a join hang together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amaters.columns.schema import Table
    from amaters.plan.expressions import Predicate

DIMENSION_STEP = 1 << 16  # between the column ids of two tables of a join
PARTS_OFFSET = 255 * DIMENSION_STEP  # ids of computed columns lie above this


@dataclass(frozen=True, slots=True)
class Dimension:
    """A table of a join of which every row of the fact has at most one row: the one whose columns
    ``right`` (its own ids) equal ``left`` (ids of the joined table).

    In the joined table the id of its column c is ``offset`` + c. ``is_outer``: a row of the fact
    without one stays, its columns NULL. ``only``: which of its rows may be partners at all.
    """

    table: Table
    name: str
    offset: int
    left: tuple[int, ...]
    right: tuple[int, ...]
    is_outer: bool = False
    only: Predicate | None = None


@dataclass(frozen=True, slots=True)
class DatePart:
    """A column ``column_id`` of the joined table: year, quarter, month or day of a DATE in
    ``source``, a column of a dimension.
    """

    column_id: int
    part: str
    source: int


@dataclass(frozen=True, slots=True)
class Join:
    """An inner join: ``fact``, called ``name`` in the statement, and its dimensions in an order in
    which each hangs on the fact or on earlier ones. ``parts``: columns computed from theirs.
    """

    fact: Table
    name: str
    dimensions: tuple[Dimension, ...]
    parts: tuple[DatePart, ...] = ()
