"""SELECTs with subqueries: one after the other, the answers of the first ones staying here."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from amaters.client.finish import Answer, finish_rows, finish_totals, totals_of
from amaters.client.orders import ordered_values
from amaters.client.result import Result, Stats
from amaters.client.session import Session
from amaters.columns.batch import ColumnBatch
from amaters.plan.cost import Statistics
from amaters.plan.evaluate import matches
from amaters.plan.expressions import Select, Staged
from amaters.plan.joins import roots
from amaters.plan.refresh import plan_select

_ADDED = (
    "engine_cpu_seconds",
    "bytes_read",
    "bytes_cached",
    "key_switches",
    "segments",
    "tail_rows",
)


async def answer(session: Session, statement: Select | Staged) -> Result:
    """The answer of a SELECT, behind those of its subqueries."""
    from amaters.client.reader import select

    if isinstance(statement, Staged):
        return await _select_staged(session, statement)
    return await select(session, statement)


async def _select_staged(session: Session, statement: Staged) -> Result:
    """The answer of the last SELECT. Raises: what any of them does; what can be known to be
    impossible, before anything is sent.
    """
    await asyncio.to_thread(check, session, statement)
    learned: dict[str, None] = {}
    spent: list[Stats] = []
    rest: Select | Staged = statement
    while isinstance(rest, Staged):
        found = await answer(session, rest.first)
        learned |= dict.fromkeys(found.learned)
        spent.append(found.stats)
        rest = await asyncio.to_thread(rest.resume, found.columns)
    last = await answer(session, rest)
    learned |= dict.fromkeys(last.learned)
    total = {name: sum(getattr(stats, name) for stats in (*spent, last.stats)) for name in _ADDED}
    return replace(last, learned=tuple(learned), stats=replace(last.stats, **total))


def check(session: Session, statement: Select | Staged) -> None:
    """Raise what a statement would be refused for, whatever the answers of its subqueries are."""
    if isinstance(statement, Staged):
        check(session, statement.first)
        check(session, statement.resume(None))
    elif statement.join is not None:
        roots(statement.join)
    elif not statement.table.is_local:
        table = statement.table
        known = Statistics(masked=False)  # as the reader plans first: a circuit is made once
        plan_select(statement, table, known, session.parameters_of(table))


def select_local(session: Session, statement: Select) -> Result:
    """The answer of a SELECT over rows that are here: nothing is sent."""
    local = statement.table.local
    assert local is not None
    rows = local.batch.take(matches(statement.where, local.batch, statement.table))
    answer = answer_here(statement, rows)
    return Result(answer.names, answer.types, answer.columns, stats=session.stats())


def answer_here(select: Select, rows: ColumnBatch) -> Answer:
    """What follows from all matching rows in plaintext."""
    if select.is_aggregate:
        return finish_totals(select, totals_of(select, rows), ordered_values(select, rows))
    return finish_rows(select, rows)
