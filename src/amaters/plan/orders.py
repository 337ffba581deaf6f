"""Which columns' values a statement needs of the rows that match: for extremes and for LIMIT.

Pure decisions on the bound statement. Encrypted columns come masked from the engine, public ones
are fetched for all rows that pass the public conditions: neither tells which rows match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from amaters.base.errors import fail
from amaters.columns.schema import Column
from amaters.columns.types import TypeKind
from amaters.plan.capabilities import missing
from amaters.plan.cost import Statistics
from amaters.plan.dimensions import DIMENSION_STEP
from amaters.plan.expressions import (
    ORDER_AGGREGATES,
    Aggregate,
    ColumnRef,
    Select,
    scalar_columns,
)
from amaters.plan.joins import OPEN, offset_of, roots
from amaters.plan.spec import VALUES_MAX, PlanSpec, Term

# So many rows are fetched whole if no encrypted condition chooses among them: that shows nothing,
# while fetching those that come first shows which they are.
FETCHED_WHOLE = 4096

_NAMES = {"quantile_cont": "quantile", "quantile_disc": "quantile"}


def is_sortable(column: Column) -> bool:
    """Whether order may be asked of a column: any that is known here, others as declared."""
    return not _is_masked(column) or bool(column.queries & {"range", "group"})


def order_aggregates(select: Select) -> tuple[Aggregate, ...]:
    """The extremes and quantiles of a statement, each once."""
    return tuple(a for a in select.aggregates if a.function in ORDER_AGGREGATES)


def ordered_columns(select: Select) -> list[Column]:
    """The columns that extremes and quantiles read, and those that group totals, by id."""
    aggregates = order_aggregates(select)
    ids = frozenset(select.fine_groups if aggregates else ())
    ids = ids.union(*(scalar_columns(aggregate) for aggregate in aggregates))
    return [select.table.column(column_id) for column_id in sorted(ids)]


def masked_values(select: Select) -> tuple[int, ...]:
    """Encrypted columns whose values the extremes of an aggregate need from the engine."""
    return tuple(column.id for column in ordered_columns(select) if _is_masked(column))


def public_values(select: Select) -> tuple[int, ...]:
    """The other columns that the extremes of an aggregate need: public ones, and those of a join
    that follow from public ones.
    """
    return tuple(column.id for column in ordered_columns(select) if not _is_masked(column))


def split_terms(select: Select, terms: Sequence[Term]) -> tuple[tuple[Term, ...], tuple[Term, ...]]:
    """(totals that the engine makes, those that follow from the rows that extremes need anyway)."""
    known = {column.id for column in ordered_columns(select)}
    here = tuple(
        term
        for term in terms
        if not term.condition and known.issuperset((*term.columns, *term.required))
    )
    return tuple(term for term in terms if term not in here), here


def with_selection(select: Select, spec: PlanSpec) -> PlanSpec:
    """The plan of an aggregate with the rows that extremes need, if they are encrypted or chosen by
    encrypted conditions, and without the totals that follow from those rows.
    """
    values = masked_values(select)
    if not values and (spec.filter is None or not order_aggregates(select)):
        return spec
    terms, _ = split_terms(select, spec.terms)
    spec = replace(spec, selection=True, values=values, terms=terms)
    return spec if terms else replace(spec, public_groups=(), encrypted_groups=())


def _is_masked(column: Column) -> bool:
    """Whether values come from the engine: what a fact's partners hold is known here."""
    return column.encrypted and column.id < DIMENSION_STEP


def require_orderable(select: Select) -> None:
    """Refuse extremes of columns that were not declared for order (AM-2107), or of too many."""
    if len(masked_values(select)) > VALUES_MAX:
        what = f"extremes and groups over more than {VALUES_MAX} encrypted columns at once"
        fail("AM-2108", what=what, fix="ask for some of them in another statement")
    for aggregate in order_aggregates(select):
        compared = scalar_columns(aggregate.argument)
        for column_id in sorted(scalar_columns(aggregate)):
            column = select.table.column(column_id)
            kinds = {shape.kind for shape in column.encodings}
            readable = not _is_masked(column) or bool(kinds & {"digits", "onehot"})
            if readable and (column_id not in compared or is_sortable(column)):
                continue
            what = f"asked for its {_NAMES.get(aggregate.function, aggregate.function)}"
            needed = "group" if column.type.kind is TypeKind.TEXT else "range"
            missing(select.table, column, what, needed)


@dataclass(frozen=True, slots=True)
class First:
    """How the rows that come first are found: by the first ``keys`` sort keys, over ``values``
    (encrypted) and ``public`` columns, or those of partners. ``whole``: these are all keys, so ties
    may fall either way.
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
    values = tuple(dict.fromkeys(column.id for column in columns if _is_masked(column)))
    public = tuple(dict.fromkeys(column.id for column in columns if not _is_masked(column)))
    if not filtered and (not values or 0 < known <= FETCHED_WHOLE):
        return None
    return First(len(columns), values, public, len(columns) == len(select.order_by))


def _is_open(select: Select, column_id: int) -> bool:
    """Whether a column is the fact's, or its partners are found by public columns."""
    if column_id < DIMENSION_STEP:
        return True
    assert select.join is not None
    return roots(select.join)[offset_of(column_id)] == OPEN


def _leading(select: Select) -> list[Column]:
    """The columns of the leading sort keys whose values can be had without fetching rows."""
    found: list[Column] = []
    for order in select.order_by:
        key = order.key if isinstance(order.key, ColumnRef) else select.items[order.key].expression
        if not isinstance(key, ColumnRef) or not _is_open(select, key.column_id):
            break
        column = select.table.column(key.column_id)
        encrypted = {other.id for other in (*found, column) if _is_masked(other)}
        if not is_sortable(column) or len(encrypted) > VALUES_MAX:
            break
        found.append(column)
    return found
