"""SELECT over several tables: read the dimensions, then ask the fact.

Every dimension is read whole, so that what is asked of it stays here. A fact of which nothing
encrypted is needed, or that is small, is read too and joined here; any other one is asked with
virtual columns (``plan.joins``) that say what its partners are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

from amaters.base import errors
from amaters.client.finish import Answer
from amaters.client.keyed import answer_by_key
from amaters.client.needs import needed_columns, statistics_of
from amaters.client.partners import JoinedRows
from amaters.client.reader import Selection, matching_rows
from amaters.client.result import Result
from amaters.client.rows import snapshot
from amaters.client.session import Session
from amaters.client.staged import answer_here
from amaters.columns.batch import ColumnBatch
from amaters.columns.convert import null_filler
from amaters.columns.joined import JoinedTable
from amaters.columns.schema import Table
from amaters.plan.answers import shows_answer
from amaters.plan.cost import Statistics
from amaters.plan.evaluate import matches
from amaters.plan.explain import Document, explain
from amaters.plan.explain_joins import Sizes, explain_here, with_join
from amaters.plan.expressions import (
    And,
    Join,
    Predicate,
    Select,
    predicate_columns,
)
from amaters.plan.joins import Lowered, Partners, is_of_fact, lower
from amaters.plan.keyed import Keyed, keyed
from amaters.plan.refresh import plan_select

DIMENSION_ROWS_MAX = 200_000
WHOLE_SHARE = 4  # a fact of less than a quarter of a segment is read rather than asked


@dataclass(frozen=True, slots=True)
class Question:
    """A join whose dimensions have been read. ``lowered``: what the fact is asked, None when the
    fact is read whole. ``sizes``: rows of the fact, then of each dimension. ``keyed``: it is asked
    for totals by its key, which are joined here.
    """

    select: Select
    rows: JoinedRows
    lowered: Lowered | None
    sizes: tuple[int, ...]
    keyed: Keyed | None = None

    @property
    def table(self) -> JoinedTable:
        """The fact with what its partners say."""
        lowered = self.lowered
        assert lowered is not None
        extend = partial(self.rows.extended, sources=lowered.sources)
        return _joined_table(_join(self.select), lowered, extend)


async def select_joined(session: Session, statement: Select) -> Result:
    """The answer of a SELECT over several tables. Raises: AM-2143 to AM-2147; as ``select``."""
    question = await ask(session, statement)
    if question.lowered is None:
        return await _read_whole(session, question)
    select = replace(question.lowered.select, table=question.table)
    found = await Selection(session, select).run()
    if question.keyed is None:
        return found
    made = await asyncio.to_thread(
        answer_by_key, statement, question.keyed, found.columns, question.rows
    )
    return replace(found, names=made.names, types=made.types, columns=made.columns)


async def ask(session: Session, statement: Select) -> Question:
    """Read the dimensions and decide how to ask the fact.

    Leaks: that these tables were read whole. Raises: AM-2143 to AM-2146.
    """
    join = _join(statement)
    tables = [join.fact, *(dimension.table for dimension in join.dimensions)]
    sizes = [await _size(session, table) for table in tables]
    for table, size in zip(tables[1:], sizes[1:], strict=True):
        if size > DIMENSION_ROWS_MAX:
            errors.fail("AM-2145", table=table.name, rows=size, limit=DIMENSION_ROWS_MAX)
    slots = session.parameters_of(join.fact).slots
    is_asked = _is_asked(statement, join) and sizes[0] > slots // WHOLE_SHARE
    if is_asked:
        await asyncio.to_thread(_check, session, statement, sizes[1:])
    read: dict[bytes, ColumnBatch] = {}
    for table in tables[1:]:
        if table.id not in read:
            read[table.id] = await read_whole(session, table)
    parts = [read[dimension.table.id] for dimension in join.dimensions]
    rows = await asyncio.to_thread(JoinedRows, join, statement.table, parts)
    lowered, by_key = None, None
    if is_asked:
        by_key = keyed(statement)
        asked = statement if by_key is None else by_key.select
        lowered = await asyncio.to_thread(lower, asked, rows.partners)
    return Question(statement, rows, lowered, tuple(sizes), by_key)


def _check(session: Session, statement: Select, sizes: Sequence[int]) -> None:
    """Raise what the fact could not answer, whatever the dimensions hold, before they are read."""
    join = _join(statement)
    rows = {d.offset: size for d, size in zip(join.dimensions, sizes, strict=True)}
    any_value = Partners(
        values=lambda column_id: (null_filler(statement.table.column(column_id).type),),
        keys=lambda _, __: (),
        rows=lambda dimension: rows[dimension.offset],
    )
    by_key = keyed(statement)
    lowered = lower(statement if by_key is None else by_key.select, any_value)
    table = _joined_table(join, lowered, lambda batch: batch)
    select = replace(lowered.select, table=table)
    known = Statistics(masked=False)  # as the reader plans first, so that a circuit is made once
    plan_select(select, table, known, session.parameters_of(join.fact))


async def read_whole(session: Session, table: Table) -> ColumnBatch:
    """All rows and columns of a table; of an answer that is here already nothing is read."""
    if table.local is not None:
        return table.local.batch
    return (await matching_rows(session, table, None)).rows


async def explain_joined(session: Session, statement: Select) -> Document:
    """EXPLAIN's document. Leaks: as the statement until the fact is asked: dimensions are read."""
    question = await ask(session, statement)
    join = _join(statement)
    parameters = session.parameters_of(join.fact)
    sizes = Sizes(question.sizes[0], question.sizes[1:])
    if question.lowered is None:
        public = _public_part(statement, join.fact)
        document = explain_here(statement, sizes, public, parameters)
        return with_join(document, join, sizes, None, parameters)
    async with snapshot(session, join.fact) as pinned:
        known = statistics_of(pinned)
    table = question.table
    select = replace(question.lowered.select, table=table)
    prepared = await asyncio.to_thread(plan_select, select, table, known, parameters)
    document = explain(prepared, table, known, parameters=parameters)
    by_key = question.keyed is not None
    return with_join(document, join, sizes, prepared.compiled, parameters, by_key=by_key)


async def _size(session: Session, table: Table) -> int:
    """Rows of a table, canaries included."""
    if table.local is not None:
        return table.local.batch.length
    async with snapshot(session, table) as pinned:
        known = statistics_of(pinned)
    return known.rows + known.tail_rows


async def _read_whole(session: Session, question: Question) -> Result:
    """The answer when the fact's rows are joined here."""
    select, join = question.select, _join(question.select)
    if join.fact.local is not None:
        stored = join.fact.local.batch
    else:
        needed = frozenset(c for c in needed_columns(select) if is_of_fact(c)) | _keys(join)
        where = _public_part(select, join.fact)
        stored = (await matching_rows(session, join.fact, where, needed)).rows
    answer = await asyncio.to_thread(_finished, select, question.rows, stored)
    sizes = Sizes(question.sizes[0], question.sizes[1:])
    public = _public_part(select, join.fact)
    document = explain_here(select, sizes, public, session.parameters_of(join.fact))
    return Result(
        names=answer.names,
        types=answer.types,
        columns=answer.columns,
        learned=tuple(document["server_learns"]),
        stats=session.stats(),
    )


def _finished(select: Select, rows: JoinedRows, stored: ColumnBatch) -> Answer:
    whole = rows.complete(stored)
    whole = whole.take(matches(select.where, whole, select.table))
    return answer_here(select, whole)


def _join(statement: Select) -> Join:
    assert statement.join is not None
    return statement.join


def _is_asked(statement: Select, join: Join) -> bool:
    """Whether an answer needs encrypted columns of the fact."""
    if join.fact.is_local:
        return False
    needed = needed_columns(statement) | _keys(join)
    return any(join.fact.column(c).encrypted for c in needed if is_of_fact(c))


def _keys(join: Join) -> frozenset[int]:
    """Columns of the fact that lead to dimensions."""
    ways = (column_id for dimension in join.dimensions for column_id in dimension.left)
    return frozenset(column_id for column_id in ways if is_of_fact(column_id))


def _public_part(select: Select, fact: Table) -> Predicate | None:
    """The conditions that the server can check: over public columns of the fact alone."""
    where = select.where
    parts = where.children if isinstance(where, And) else (where,) if where is not None else ()
    public = tuple(part for part in parts if _is_public(part, fact))
    if not public:
        return None
    return public[0] if len(public) == 1 else And(public)


def _is_public(predicate: Predicate, fact: Table) -> bool:
    columns = predicate_columns(predicate)
    if shows_answer(predicate) or not all(is_of_fact(column_id) for column_id in columns):
        return False
    return not any(fact.column(column_id).encrypted for column_id in columns)


def _joined_table(
    join: Join, lowered: Lowered, extend: Callable[[ColumnBatch], ColumnBatch]
) -> JoinedTable:
    """What the reader takes for the table."""
    table, sources = lowered.select.table, lowered.sources
    known = {column_id for s in sources for column_id in predicate_columns(s.truth)}
    keys = _keys(join) | {column_id for column_id in known if is_of_fact(column_id)}
    encrypted = {column.id for column in join.fact.encrypted_columns}
    given = {f.name: getattr(table, f.name) for f in fields(Table) if f.init}
    return JoinedTable(
        **given,
        fact=join.fact,
        extend=extend,
        keys=frozenset(keys - encrypted),
        virtual=tuple(source.column for source in sources),
    )
