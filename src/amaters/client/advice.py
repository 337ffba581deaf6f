"""Refusals with what only a client knows: how far ALTER TABLE is, and what one would cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from amaters.base import errors
from amaters.client.alter import missing_in
from amaters.client.rows import snapshot
from amaters.client.session import Session
from amaters.columns import altering as al
from amaters.columns.schema import Table
from amaters.plan.altercost import cost_of, cost_text

MISSING, NOT_YET = "AM-2107", "AM-2060"


@asynccontextmanager
async def advised(session: Session) -> AsyncIterator[None]:
    """Errors for capabilities that a column lacks leave this with a cost, or with progress.

    The cost is that for the rows this client last saw of the table: nothing is sent for it.
    """
    try:
        yield
    except errors.InvalidError as refused:
        if refused.code not in (MISSING, NOT_YET):
            raise
        raise await _better(session, refused) from refused.__cause__


async def _better(session: Session, refused: errors.InvalidError) -> errors.AmatersError:
    fields = dict(refused.fields)
    table = (await session.known_tables()).get(str(fields["table"]))
    if table is None:  # the answer of a subquery, or gone
        return refused
    if refused.code == NOT_YET:
        fields["progress"] = await _progress(session, table)
    else:
        fields["cost"] = _cost(session, table, str(fields["column"]), str(fields["needed"]))
    return errors.make(refused.code, fields)


async def _progress(session: Session, table: Table) -> str:
    async with snapshot(session, table) as pinned:
        total = sum(segment.live for segment in pinned.segments)
        left = sum(s.live for s in pinned.segments if missing_in(table, s))
    return f", {total - left:,} of {total:,} rows are done"


def _cost(session: Session, table: Table, column: str, needed: str) -> str:
    rows = session.rows_seen(table.id)
    try:
        changed = al.altered(table, (al.AddQueries(column, (needed.strip("'"),)),))
    except errors.InvalidError:
        return ""
    if rows is None and al.pending_of(changed):
        return ""
    return f" ({cost_text(cost_of(changed, rows or 0, session.parameters_of(table)))})"
