"""The asynchronous API: databases, tables and queries. ``client.sync`` derives the blocking one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from amaters.base import errors
from amaters.client import expression as ex
from amaters.client import indexes, lookup, writer
from amaters.client.attempts import repeated
from amaters.client.batches import AsyncBatch
from amaters.client.compaction import Compacted, compact
from amaters.client.csvfile import read_csv
from amaters.client.lowering import (
    Question,
    Selected,
    Sorting,
    as_columns,
    to_delete,
    to_sql,
    to_update,
)
from amaters.client.parquetfile import read_parquet
from amaters.client.result import Result
from amaters.client.session import Session, find_table
from amaters.columns.batch import ColumnBatch
from amaters.columns.declare import Declaration, build_table
from amaters.columns.schema import Table
from amaters.fhe.parameters import Parameters
from amaters.plan.check import CONSTANTS_MAX
from amaters.plan.expressions import (
    CopyFrom,
    CreateIndex,
    CreateTable,
    Delete,
    DropIndex,
    DropTable,
    Explain,
    Insert,
    Select,
    Statement,
    Update,
)

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from amaters.sql.parser import Parsed

Arguments = Sequence[Any] | Mapping[str, Any] | None
UNKNOWN_TABLE = "AM-2203"


class AsyncDatabase:
    """An open database; made by ``connect_async``. Safe to use from several tasks."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def sql(self, text: str | Parsed, parameters: Arguments = None) -> Result:
        """Run one SQL statement. ``parameters`` fill ``?`` (a sequence) or ``:name`` (a mapping).

        Raises: InvalidError for a statement that cannot be answered, before anything is sent.
        """
        session = self._session.measured()

        async def attempt() -> Result:
            return await _run(session, await _bind(session, text, parameters))

        return await repeated(session, attempt)

    async def explain(
        self,
        text: str | Parsed,
        parameters: Arguments = None,
        *,
        format: str = "text",  # noqa: A002
    ) -> str:
        """How a SELECT, UPDATE or DELETE would run and what the engine would learn; ``format``:
        text, json, pgjson (PostgreSQL's keys) or mermaid.
        """
        session = self._session.measured()
        bound = await _bind(session, text, parameters)
        statement = bound.statement if isinstance(bound, Explain) else bound
        if not isinstance(statement, Select | Update | Delete):
            errors.fail(
                "AM-5007",
                what=f"EXPLAIN of {type(bound).__name__}",
                fix="explain a SELECT, UPDATE or DELETE",
            )
        from amaters.client.explaining import explain

        return await explain(session, statement, format)

    async def create_table(self, name: str, columns: Mapping[str, Declaration]) -> AsyncTable:
        """Create a table; columns are declared with ``am.Int32(...)`` and its siblings."""
        keyset = self._session.keyset
        table = build_table(
            name,
            dict(columns),
            parameter_set=keyset.parameters,
            scheme=keyset.scheme,  # type: ignore[arg-type]
            key_id=keyset.key_id,
        )
        await self._session.create_table(table)
        return AsyncTable(self._session, name)

    async def table(self, name: str) -> AsyncTable:
        """The table called ``name``. Raises: InvalidError AM-5009."""
        return AsyncTable(self._session, (await self._session.table(name)).name)

    async def tables(self) -> list[str]:
        """The names of all tables, in order."""
        return sorted(await self._session.tables())

    def batch(self) -> AsyncBatch:
        """Changes of any tables that happen together or not at all: use it in ``async with``."""
        return AsyncBatch(self._session.measured())

    async def drop_table(self, name: str) -> None:
        """Drop a table and all its rows. Raises: InvalidError AM-5009."""
        await self._session.drop_table(await self._session.table(name))

    async def compact(
        self, table: str | None = None, *, rows_per_second: float | None = None
    ) -> Compacted:
        """Write segments again of which half is dead, small ones together, and a long tail.

        ``table``: this one only; else all, one after the other. Each step is one commit, so it can
        be interrupted at any point. Raises: InvalidError AM-5009, ConflictError AM-5030.
        """
        names = [table] if table is not None else await self.tables()
        total = Compacted()
        for name in names:

            async def attempt(name: str = name) -> Compacted:
                found = await self._session.table(name)
                return await compact(self._session, found, rows_per_second=rows_per_second)

            total.add(await repeated(self._session, attempt))
        return total

    async def close(self) -> None:
        """Close the database; what was inserted stays."""
        await self._session.close()

    async def __aenter__(self) -> AsyncDatabase:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncTable:
    """A table by name; also the start of every query on it."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self.name = name

    async def insert(self, rows: object, columns: Sequence[str] | None = None) -> int:
        """Insert rows: sequences, dictionaries, a dictionary of columns, or anything with
        ``__arrow_c_stream__`` (Polars, pandas, DuckDB, pyarrow). All or nothing; returns how many.

        Raises: InvalidError AM-20xx for a value the schema does not allow, ConflictError AM-5010
        for an existing primary key.
        """
        first = await self._session.table(self.name)
        batch = await asyncio.to_thread(ColumnBatch.from_any, first, rows, columns)

        async def attempt() -> int:
            table = await self._session.table(self.name)
            return await writer.insert(self._session, table, batch)

        return await repeated(self._session, attempt)

    async def get(self, keys: Sequence[object], columns: Sequence[str] | None = None) -> Result:
        """The rows with these primary keys, in that order; keys without a row are left out.
        ``columns``: only these.

        Cost: one round trip, whatever the table's size. Leaks: the keys asked for.
        """
        session = self._session.measured()

        async def attempt() -> Result:
            known = await session.known_tables()
            table = known.get(self.name) or await session.table(self.name)
            return await lookup.get(session, table, keys, columns)

        return await repeated(session, attempt)

    async def upsert(self, rows: object, columns: Sequence[str] | None = None) -> int:
        """Insert rows, or replace those with the same primary keys. All or nothing; returns how
        many. Leaks: as ``insert``, and which rows are replaced.
        """
        batch = AsyncBatch(self._session.measured())
        batch.upsert(self.name, rows, columns)
        return await batch.commit()

    async def delete(self, keys: Iterable[object]) -> int:
        """Delete the rows with these primary keys that are there; returns how many. Rows by
        condition: ``filter(...).delete()``.
        """
        batch = AsyncBatch(self._session.measured())
        batch.delete(self.name, keys)
        return await batch.commit()

    async def schema(self) -> Table:
        """The table's columns as declared."""
        return await self._session.table(self.name)

    def query(self) -> AsyncQuery:
        """All rows and columns, to be narrowed."""
        return AsyncQuery(self._session, Question(self.name))

    def filter(self, condition: ex.Condition | ex.Column) -> AsyncQuery:
        """The rows for which ``condition`` is true."""
        return self.query().filter(condition)

    def select(self, *columns: str | ex.Column) -> AsyncQuery:
        """Some columns only."""
        return self.query().select(*columns)

    def group_by(self, *columns: str | ex.Column) -> AsyncQuery:
        """One row per distinct combination; follow with ``agg``."""
        return self.query().group_by(*columns)

    def agg(self, *aggregates: ex.Aggregation) -> AsyncQuery:
        """Totals over all rows."""
        return self.query().agg(*aggregates)


@dataclass(frozen=True, slots=True)
class AsyncQuery:
    """A question being built; nothing is sent before ``collect`` or one of its siblings."""

    _session: Session
    _question: Question

    def _with(self, **changes: Any) -> AsyncQuery:
        return AsyncQuery(self._session, replace(self._question, **changes))

    def filter(self, condition: ex.Condition | ex.Column) -> AsyncQuery:
        """Narrow to the rows for which ``condition`` is true as well."""
        made = ex.as_condition(condition)
        earlier = self._question.where
        return self._with(where=made if earlier is None else earlier & made)

    def select(self, *columns: str | ex.Column) -> AsyncQuery:
        """Return these columns."""
        return self._with(selected=columns)

    def group_by(self, *columns: str | ex.Column) -> AsyncQuery:
        """One row per distinct combination of these columns."""
        return self._with(groups=as_columns(columns))

    def agg(self, *aggregates: ex.Aggregation) -> AsyncQuery:
        """Return these aggregates, one row per group."""
        return self._with(selected=aggregates)

    def order_by(self, *keys: Sorting) -> AsyncQuery:
        """Sort by columns, or by ``col("a").desc()``; NULLs last unless asked otherwise."""
        return self._with(order=keys)

    def limit(self, count: int, offset: int = 0) -> AsyncQuery:
        """At most ``count`` rows, after ``offset``."""
        return self._with(count=count, offset=offset)

    def distinct(self) -> AsyncQuery:
        """Each different row once."""
        return self._with(distinct=True)

    async def collect(self) -> Result:
        """The answer."""
        text, parameters = to_sql(self._question)
        return await AsyncDatabase(self._session).sql(text, parameters)

    async def rows(self) -> list[tuple[Any, ...]]:
        """The answer as tuples."""
        return (await self.collect()).rows()

    async def dicts(self) -> list[dict[str, Any]]:
        """The answer as dictionaries."""
        return (await self.collect()).dicts()

    async def scalar(self) -> Any:
        """The only value of the answer."""
        return (await self.collect()).scalar()

    async def arrow(self) -> pyarrow.Table:
        """The answer as a ``pyarrow.Table``."""
        return (await self.collect()).arrow()

    async def polars(self) -> polars.DataFrame:
        """The answer as a Polars data frame."""
        return (await self.collect()).polars()

    async def pandas(self) -> pandas.DataFrame:
        """The answer as a pandas data frame."""
        return (await self.collect()).pandas()

    async def update(self, values: Mapping[str, Any]) -> Result:
        """Set columns to these values in all rows of the query; ``message`` says how many.

        Leaks: which rows change. Raises: InvalidError AM-20xx; nothing is changed then.
        """
        text, parameters = to_update(self._question, values)
        return await AsyncDatabase(self._session).sql(text, parameters)

    async def delete(self) -> Result:
        """Delete all rows of the query; ``message`` says how many. Leaks: which rows go."""
        text, parameters = to_delete(self._question)
        return await AsyncDatabase(self._session).sql(text, parameters)

    async def explain(self, *, format: str = "text") -> str:  # noqa: A002
        """How the query would run and what the engine would learn."""
        text, parameters = to_sql(self._question)
        return await AsyncDatabase(self._session).explain(text, parameters, format=format)


async def _bind(session: Session, text: str | Parsed, parameters: Arguments) -> Statement:
    """Parse and bind in a worker thread: sqlglot is slow to load."""
    catalogue = await session.known_tables()
    try:
        return await asyncio.to_thread(_bound, session, catalogue, text, parameters)
    except errors.InvalidError as refused:
        if refused.code != UNKNOWN_TABLE:
            raise
    catalogue = await session.tables()
    return await asyncio.to_thread(_bound, session, catalogue, text, parameters)


def _bound(
    session: Session, catalogue: Mapping[str, Table], text: str | Parsed, parameters: Arguments
) -> Statement:
    from amaters.sql.binder import NewTables, bind
    from amaters.sql.parser import parse_one

    keyset = session.keyset
    parsed = parse_one(text) if isinstance(text, str) else text
    new = NewTables(keyset.parameters, keyset.scheme, keyset.key_id)  # type: ignore[arg-type]
    return bind(parsed, catalogue, parameters, new=new)


async def _run(session: Session, statement: Statement) -> Result:  # noqa: PLR0911 - one per kind
    match statement:
        case Select():
            from amaters.client.reader import select

            return await select(session, statement)
        case Explain():
            from amaters.client.explaining import explain_result

            return await explain_result(session, statement)
        case Insert():
            count = await writer.insert(session, statement.table, statement.batch)
            return _message(session, f"inserted {count:,} rows")
        case CopyFrom():
            options = dict(statement.options)
            read = read_parquet if statement.format == "parquet" else read_csv
            batch = await asyncio.to_thread(read, statement.table, statement.path, options)
            count = await writer.insert(session, statement.table, batch)
            return _message(session, f"copied {count:,} rows")
        case Update():
            from amaters.client.changes import update

            return await update(session, statement)
        case Delete():
            from amaters.client.changes import delete

            return await delete(session, statement)
        case CreateTable():
            return await _create(session, statement)
        case DropTable():
            return await _drop(session, statement)
        case CreateIndex():
            return _message(session, await indexes.create_index(session, statement))
        case DropIndex():
            return _message(session, await indexes.drop_index(session, statement))


async def _create(session: Session, statement: CreateTable) -> Result:
    name = statement.table.name
    if statement.if_not_exists and name in await session.tables():
        return _message(session, f"table {name} exists already")
    await session.create_table(statement.table)
    fits = what_fits(statement.table, session.parameters)
    return _message(session, f"created table {name}{fits}")


def what_fits(table: Table, parameters: Parameters) -> str:
    """How many conditions a filter may combine, for the widest column that can be compared.

    A condition takes 1 + log2(digits) levels and AND/OR log2(conditions); totals keep one level for
    their last product. Source: FHE section 6, depth rules.
    """
    widths = [column.width for column in table.columns if column.queries & {"eq", "range"}]
    if not widths:
        return ""
    width = max(widths)
    digits = width // 2
    spare = parameters.max_level - 2 - (digits - 1).bit_length()
    slices = 3 * digits + 1
    count = min(1 << max(spare, 0), CONSTANTS_MAX // slices)
    return (
        f"; a filter may combine up to {count} conditions of {width} bits, "
        f"{max(count // 2, 1)} with SUM or GROUP BY"
    )


async def _drop(session: Session, statement: DropTable) -> Result:
    tables = await session.tables()
    known = {name.lower() for name in tables}
    if statement.if_exists and statement.name.lower() not in known:
        return _message(session, f"there is no table {statement.name}")
    await session.drop_table(find_table(tables, statement.name))
    return _message(session, f"dropped table {statement.name}")


def _message(session: Session, text: str) -> Result:
    return Result(message=text, stats=session.stats())


__all__ = ["AsyncDatabase", "AsyncQuery", "AsyncTable", "Selected"]
