"""EXPLAIN [ANALYZE] of every kind of statement.

Sizes come from what this client saw last, if it saw anything since its own last write, and nothing
is sent then; otherwise the engine is asked for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from amaters.base import errors
from amaters.client.alter import missing_in
from amaters.client.needs import needed_columns, statistics_of
from amaters.client.planview import Plan
from amaters.client.result import Result
from amaters.client.rows import snapshot
from amaters.client.session import Session, find_table
from amaters.client.sources import read_file
from amaters.client.writer import divide
from amaters.columns import altering as al
from amaters.columns.schema import Table
from amaters.fhe.parameters import Parameters
from amaters.plan.altercost import segment_cost, total
from amaters.plan.cost import Statistics
from amaters.plan.explain import Document, changing
from amaters.plan.explain import explain as explained
from amaters.plan.explain_alter import Change, Rewriting, explain_alter, explain_vacuum
from amaters.plan.explain_formats import FORMATS, render
from amaters.plan.explain_staged import explain_local, explain_staged
from amaters.plan.explain_writes import (
    Arrival,
    explain_create_table,
    explain_drop_table,
    explain_hidden,
    explain_index,
    explain_insert,
    explain_insert_from,
)
from amaters.plan.expressions import (
    AlterTable,
    ColumnRef,
    CopyFrom,
    CreateIndex,
    CreateTable,
    Delete,
    DropIndex,
    DropTable,
    Explain,
    Explainable,
    Insert,
    InsertFrom,
    OnConflict,
    OutputItem,
    Select,
    Staged,
    Update,
    Vacuum,
    excluded_id,
)
from amaters.plan.fetching import asked, hides
from amaters.plan.points import explain_point
from amaters.plan.refresh import plan_select
from amaters.wire import service_pb2 as pb

Run = Callable[[Session, Explainable], Awaitable[Result]]


async def explain(
    session: Session, statement: Explainable, form: str, run: Run | None = None
) -> Plan:
    """EXPLAIN in one of ``FORMATS``; with ``run`` (ANALYZE) the statement is run, changes and all,
    and what it really cost is added.
    """
    check_format(form)
    document = await _document(session, statement)
    if session.is_local:
        await _tell_age(session, document)
    if run is not None:
        done = await run(session, statement)
        actual = {key: float(value) for key, value in asdict(done.stats).items()}
        document = {**document, "actual": actual, "executed": done.message}
    return Plan(render(document, form), document)


async def explain_result(session: Session, statement: Explain, run: Run) -> Result:
    """EXPLAIN as a result with one column of lines."""
    analyze = run if statement.analyze else None
    text = await explain(session, statement.statement, statement.format, analyze)
    lines = [text] if statement.format in ("json", "pgjson") else text.splitlines()
    return Result(("explain",), ("VARCHAR",), (lines,), stats=session.stats())


async def _document(session: Session, statement: Explainable) -> Document:
    match statement:
        case Staged():
            return await _of_stages(session, statement)
        case Select() | Update() | Delete():
            return await _of_rows(session, statement)
        case Insert(table=table, batch=batch, conflict=conflict):
            return await _of_insert(session, table, batch.length, conflict)
        case InsertFrom(source=source):
            return explain_insert_from(await _of_rows(session, source), statement)
        case CopyFrom(table=table):
            batch = await asyncio.to_thread(read_file, statement)
            return await _of_insert(session, table, batch.length, None)
    return await _of_schema(session, statement)


async def _of_stages(session: Session, statement: Staged) -> Document:
    """Each statement as it would be run; what depends on answers is bound to any of them."""
    from amaters.client.staged import check

    await asyncio.to_thread(check, session, statement)
    stages: list[tuple[str, Document]] = []
    rest: Select | Staged = statement
    while isinstance(rest, Staged):
        stages.append((rest.name, await _document(session, rest.first)))
        rest = rest.resume(None)
    return explain_staged([*stages, ("", await _document(session, rest))])


async def _of_schema(session: Session, statement: Explainable) -> Document:
    tables = await session.known_tables()
    match statement:
        case CreateTable(table=table):
            return explain_create_table(statement, session.parameters_of(table))
        case DropTable(name=name):
            table = find_table(tables, name)
            return explain_drop_table(statement, table, session.parameters_of(table))
        case AlterTable():
            return await _of_alter(session, statement)
        case Vacuum():
            return await _of_vacuum(session, statement)
        case CreateIndex(table=table):
            pass
        case DropIndex(name=name):
            table = _table_of_index(tables, name)
        case _:
            kind = type(statement).__name__
            errors.fail("AM-5007", what=f"EXPLAIN of {kind}", fix="explain another statement")
    known, stale = await _sizes(session, table)
    return explain_index(statement, table, session.parameters_of(table), known, stale=stale)


async def _of_alter(session: Session, statement: AlterTable) -> Document:
    table = find_table(await session.known_tables(), statement.name)
    parameters = session.parameters_of(table)
    changed = al.altered(table, statement.actions)
    async with snapshot(session, table) as pinned:
        known = statistics_of(pinned)
        missing = [(missing_in(changed, segment), segment.live) for segment in pinned.segments]
    parts = [(names, rows) for names, rows in missing if names]
    cost = total(segment_cost(changed, names.items(), rows, parameters) for names, rows in parts)
    by_column = {
        column: total(
            segment_cost(changed, [(column, names[column])], 0, parameters)
            for names, _ in parts
            if column in names
        )
        for column in al.pending_of(changed)
    }
    change = Change(table, changed, known, cost, by_column)
    return explain_alter(statement, change, parameters, stale=session.is_local)


async def _of_vacuum(session: Session, statement: Vacuum) -> Document:
    tables = await session.known_tables()
    names = statement.names or tuple(sorted(tables))
    if not names:
        errors.fail("AM-5007", what="EXPLAIN VACUUM without tables", fix="create a table first")
    found = []
    for name in names:
        table = tables[name]
        parameters = session.parameters_of(table)
        encodings = [(c.id, [shape.name for shape in c.written]) for c in table.encrypted_columns]
        async with snapshot(session, table) as pinned:
            due = [s for s in pinned.segments if _is_due(s, table, erase=statement.erase)]
            known = statistics_of(pinned)
        cost = total(segment_cost(table, encodings, s.live, parameters) for s in due)
        found.append(Rewriting(table, known, cost))
    chosen = {one.table.id: session.parameters_of(one.table) for one in found}
    return explain_vacuum(found, chosen, erase=statement.erase, stale=session.is_local)


def _is_due(segment: pb.SegmentInfo, table: Table, *, erase: bool) -> bool:
    """Whether VACUUM would write a segment again, as far as its sizes tell."""
    dead = segment.rows - segment.live
    if erase:
        return dead > 0 or segment.schema_version < table.dropped_version
    return 2 * dead > segment.rows


def _table_of_index(tables: dict[str, Table], name: str) -> Table:
    names = {index.name.lower(): table for table in tables.values() for index in table.indexes}
    if name.lower() not in names:
        errors.fail("AM-2351", index=name, indexes=", ".join(sorted(names)) or "none")
    return names[name.lower()]


async def _sizes(session: Session, table: Table) -> tuple[Statistics, bool]:
    """What is known of a table, and whether it may have changed since."""
    known = None if session.is_local else session.known_sizes(table)
    if known is not None:
        return known, True
    async with snapshot(session, table) as pinned:
        found = statistics_of(pinned)
    if not session.is_local:
        session.note_sizes(table, found)
    return found, session.is_local


async def _of_rows(session: Session, statement: Select | Update | Delete) -> Document:
    table, question = statement.table, statement
    if table.is_local and isinstance(statement, Select) and statement.join is None:
        return explain_local(statement, session.parameters_of(table))
    if isinstance(statement, Select) and statement.join is not None:
        from amaters.client.joins import explain_joined

        return await explain_joined(session, statement)  # reads what the statement reads first
    if not isinstance(question, Select):
        items = tuple(OutputItem(column.name, ColumnRef(column.id)) for column in table.columns)
        hidden = isinstance(question, Update) and hides(question)
        question = Select(table, None if hidden else question.where, items)
    known, stale = await _sizes(session, table)
    parameters = session.parameters_of(table)

    def document() -> Document:
        select = asked(question, needed_columns(question))
        prepared = plan_select(select, table, known, parameters)
        return explained(prepared, table, known, parameters=parameters, stale=stale)

    found = await asyncio.to_thread(document)
    if isinstance(statement, Update) and hides(statement):
        return explain_hidden(
            found, statement, _arrival(known.rows + known.tail_rows, parameters), parameters
        )
    return changing(found, statement)


async def _of_insert(
    session: Session, table: Table, rows: int, conflict: OnConflict | None
) -> Document:
    known, stale = await _sizes(session, table)
    parameters = session.parameters_of(table)
    arrival = _arrival(rows, parameters)
    return explain_insert(table, arrival, conflict, parameters, known, stale=stale)


async def explain_rows(
    session: Session, table: Table, operation: str, count: int, form: str
) -> Plan:
    """EXPLAIN of ``operation`` on ``count`` rows by primary key. Raises: AM-5007."""
    check_format(form)
    match operation:
        case "insert":
            document = await _of_insert(session, table, count, None)
        case "upsert":
            document = await _of_insert(session, table, count, _replacing(table))
        case _:
            known, stale = await _sizes(session, table)
            parameters = session.parameters_of(table)
            document = explain_point(table, operation, count, known, parameters, stale=stale)
    if session.is_local:
        await _tell_age(session, document)
    return Plan(render(document, form), document)


def _replacing(table: Table) -> OnConflict:
    """A row that comes takes the place of the one with its key."""
    ids = [column.id for column in table.columns if not column.primary_key]
    return OnConflict(tuple((column_id, ColumnRef(excluded_id(column_id))) for column_id in ids))


async def _tell_age(session: Session, document: Document) -> None:
    """Add how old the sizes are that a plan was made for without asking the server."""
    tables = await session.known_tables()
    table = tables.get(document["table"])
    age = None if table is None else session.sizes_age_seconds(table)
    document["statistics"] = {**document["statistics"], "age_seconds": age}


def check_format(form: str) -> None:
    """Raises: InvalidError AM-5007."""
    if form not in FORMATS:
        fix = f"the formats are {', '.join(FORMATS)}"
        errors.fail("AM-5007", what=f"EXPLAIN format {form!r}", fix=fix)


def _arrival(rows: int, parameters: Parameters) -> Arrival:
    division = divide(rows, parameters.slots)
    return Arrival(rows, len(division.segments), rows - division.tail_start)
