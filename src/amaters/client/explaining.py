"""EXPLAIN [ANALYZE] of SELECT, UPDATE and DELETE."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from amaters.base import errors
from amaters.client import changes, reader
from amaters.client.result import Result
from amaters.client.rows import snapshot
from amaters.client.session import Session
from amaters.plan.cost import Statistics
from amaters.plan.explain import changing
from amaters.plan.explain import explain as explained
from amaters.plan.explain_formats import FORMATS, render
from amaters.plan.expressions import (
    ColumnRef,
    Delete,
    Explain,
    Explainable,
    OutputItem,
    Select,
    Update,
)
from amaters.plan.prepare import prepare


async def explain(
    session: Session, statement: Explainable, form: str, *, analyze: bool = False
) -> str:
    """EXPLAIN in one of ``FORMATS``; ``analyze`` runs the statement (a change is made) and adds
    what it really cost.

    Without ``analyze`` the engine is asked for the sizes of the table only.
    """
    if form not in FORMATS:
        fix = f"the formats are {', '.join(FORMATS)}"
        errors.fail("AM-5007", what=f"EXPLAIN format {form!r}", fix=fix)
    async with snapshot(session, statement.table) as pinned:
        known = reader.statistics_of(pinned)
    actual = None
    if analyze:
        stats = (await _run(session, statement)).stats
        actual = {key: float(value) for key, value in asdict(stats).items()}
    return await asyncio.to_thread(_explained, session, statement, known, actual, form)


async def _run(session: Session, statement: Explainable) -> Result:
    match statement:
        case Update():
            return await changes.update(session, statement)
        case Delete():
            return await changes.delete(session, statement)
    return await reader.select(session, statement)


def _explained(
    session: Session,
    statement: Explainable,
    known: Statistics,
    actual: dict[str, float] | None,
    form: str,
) -> str:
    table, question = statement.table, statement
    if not isinstance(question, Select):
        items = tuple(OutputItem(column.name, ColumnRef(column.id)) for column in table.columns)
        question = Select(table, question.where, items)
    parameters = session.parameters_of(table)
    prepared = prepare(question, table, known, parameters)
    document = explained(prepared, table, known, parameters=parameters, actual=actual)
    return render(changing(document, statement), form)


async def explain_result(session: Session, statement: Explain) -> Result:
    """EXPLAIN as a result with one column of lines."""
    text = await explain(session, statement.statement, statement.format, analyze=statement.analyze)
    lines = [text] if statement.format in ("json", "pgjson") else text.splitlines()
    return Result(("explain",), ("VARCHAR",), (lines,), stats=session.stats())
