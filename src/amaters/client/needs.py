"""What an answer needs of a table: which columns, how many rows, at which sizes."""

from __future__ import annotations

from amaters.plan.cost import Statistics
from amaters.plan.expressions import ColumnRef, Select, predicate_columns, scalar_columns
from amaters.plan.orders import order_aggregates
from amaters.plan.recipes import ROWS, recipe
from amaters.wire import service_pb2 as pb


def statistics_of(pinned: pb.SnapshotReply) -> Statistics:
    """What a plan may know of a snapshot."""
    return Statistics(
        segments=len(pinned.segments),
        rows=sum(segment.live for segment in pinned.segments),
        tail_rows=pinned.tail_rows,
        masked=any(segment.live != segment.rows for segment in pinned.segments),
        parts=max((segment.parts for segment in pinned.segments), default=1) or 1,
        rekeys=max((segment.rekeys for segment in pinned.segments), default=0),
        ready_indexes=tuple(pinned.ready_indexes),
    )


def needed_columns(statement: Select) -> frozenset[int]:
    """The columns that an answer reads, and the primary key, so that a row is never empty."""
    found = {statement.table.primary_key.id, *statement.group_by, *statement.table.always_needed}
    found |= predicate_columns(statement.where)
    for item in statement.items:
        found |= scalar_columns(item.expression)
    keys = (order.key for order in statement.order_by)
    return frozenset(found | {key.column_id for key in keys if isinstance(key, ColumnRef)})


def counts_everything(statement: Select) -> bool:
    """COUNT(*) of the whole table, which needs no row."""
    plain = statement.where is None and not statement.fine_groups
    return plain and not order_aggregates(statement) and recipe(statement).terms == (ROWS,)


def rows_needed(statement: Select) -> int | None:
    """How many rows suffice, if any of them do."""
    if statement.limit is None or statement.order_by or statement.distinct:
        return None
    if statement.fetch == "all":  # how many are read would say where the matching ones are
        return None
    return None if statement.is_aggregate else statement.limit + statement.offset
