"""Tables and the questions that start from them, in the asynchronous API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from amaters.base import errors
from amaters.base.progress import ProgressCallback
from amaters.client import expression as ex
from amaters.client import lookup, writer
from amaters.client.altermethods import Altering
from amaters.client.attempts import repeated
from amaters.client.batches import AsyncBatch
from amaters.client.lowering import (
    Question,
    Selected,
    Sorting,
    as_columns,
    to_delete,
    to_sql,
    to_update,
)
from amaters.client.result import Result
from amaters.client.session import Session, find_table
from amaters.columns.batch import ColumnBatch
from amaters.columns.schema import Table
from amaters.plan.fetching import MODES

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from amaters.client.database import AsyncDatabase
    from amaters.client.planview import Plan


class AsyncTable(Altering):
    """A table by name; also the start of every query on it."""

    def __init__(self, database: AsyncDatabase, session: Session, table: Table) -> None:
        self._database = database
        self._session = session
        self.name = table.name
        self._key = table.primary_key.name

    async def insert(self, rows: object, columns: Sequence[str] | None = None) -> int:
        """Insert rows: sequences, dictionaries, a dictionary of columns, or anything with
        ``__arrow_c_stream__`` (Polars, pandas, DuckDB, pyarrow). All or nothing; returns how many.

        Raises: InvalidError AM-20xx for a value the schema does not allow, ConflictError AM-5010
        for an existing primary key.
        """
        if self._database.open_transaction is not None:
            return await self._database.open_transaction.insert(self.name, rows, columns)
        first = await self._session.table(self.name)
        batch = await asyncio.to_thread(ColumnBatch.from_any, first, rows, columns)

        async def attempt() -> int:
            table = await self._session.table(self.name)
            return await writer.insert(self._session, table, batch.adapted(table))

        return await repeated(self._session, attempt)

    async def get(self, key: object, columns: Sequence[str] | None = None) -> dict[str, Any] | None:
        """The row with this primary key by column name, or None. ``columns``: only these.

        Cost: one round trip. Leaks: the key asked for.
        """
        found = (await self.get_many([key], columns)).dicts()
        return found[0] if found else None

    async def get_many(
        self, keys: Sequence[object], columns: Sequence[str] | None = None
    ) -> Result:
        """The rows with these primary keys, in that order; keys without a row are left out.
        ``columns``: only these.

        Cost: one round trip, whatever the table's size. Leaks: the keys asked for.
        """
        if self._database.open_transaction is not None:
            return await self._database.open_transaction.get_many(self.name, keys, columns)
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
        if self._database.open_transaction is not None:
            return await self._database.open_transaction.upsert(self.name, rows, columns)
        batch = AsyncBatch(self._session.measured())
        batch.upsert(self.name, rows, columns)
        return await batch.commit()

    async def delete(self, keys: Iterable[object]) -> int:
        """Delete the rows with these primary keys that are there; returns how many. Rows by
        condition: ``filter(...).delete()``.
        """
        if self._database.open_transaction is not None:
            return await self._database.open_transaction.delete(self.name, keys)
        batch = AsyncBatch(self._session.measured())
        batch.delete(self.name, keys)
        return await batch.commit()

    async def update(
        self, values: Mapping[str, Any], where: ex.Condition | ex.Column | None = None
    ) -> int:
        """Set columns to constants or expressions in the rows where ``where`` is true, or in all;
        returns how many. Leaks, Raises: as ``AsyncQuery.update``.
        """
        rows = self.query() if where is None else self.filter(where)
        return (await rows.update(values)).changed or 0

    async def explain(
        self,
        operation: str,
        count: int = 1,
        *,
        format: str = "text",  # noqa: A002
        local: bool = False,
    ) -> Plan:
        """What ``get``, ``insert``, ``upsert`` or ``delete`` of ``count`` rows does and shows to
        the engine. ``format``, ``local``: as ``AsyncDatabase.explain``.
        """
        from amaters.client.explaining import explain_rows

        session = self._session.locally() if local else self._session.measured()
        table = find_table(await session.known_tables(), self.name)
        return await explain_rows(session, table, operation, count, format)

    async def schema(self) -> Table:
        """The table's columns as declared."""
        return await self._session.table(self.name)

    def query(self) -> AsyncQuery:
        """All rows and columns, to be narrowed."""
        return AsyncQuery(self._database, Question(self.name))

    def range(self, low: object = None, high: object = None) -> AsyncQuery:
        """The rows with primary keys from ``low`` up to but without ``high``, in order; None leaves
        that end open. Leaks: both bounds, for keys are public.
        """
        key, query = ex.Column(self._key), self.query()
        if low is not None:
            query = query.filter(ex.Comparison(">=", key, ex.as_operand(low)))
        if high is not None:
            query = query.filter(ex.Comparison("<", key, ex.as_operand(high)))
        return query.order_by(key)

    def filter(self, condition: ex.Condition | ex.Column) -> AsyncQuery:
        """The rows for which ``condition`` is true."""
        return self.query().filter(condition)

    def select(self, *columns: Selected) -> AsyncQuery:
        """Some columns only."""
        return self.query().select(*columns)

    def group_by(self, *columns: str | ex.Column) -> AsyncQuery:
        """One row per distinct combination; follow with ``agg``."""
        return self.query().group_by(*columns)

    def agg(self, *aggregates: ex.Aggregation | ex.Labelled) -> AsyncQuery:
        """Totals over all rows."""
        return self.query().agg(*aggregates)


@dataclass(frozen=True, slots=True)
class AsyncQuery:
    """A question being built; nothing is sent before ``collect`` or one of its siblings."""

    _database: AsyncDatabase
    _question: Question

    def _with(self, **changes: Any) -> AsyncQuery:
        return AsyncQuery(self._database, replace(self._question, **changes))

    def filter(self, condition: ex.Condition | ex.Column) -> AsyncQuery:
        """Narrow to the rows for which ``condition`` is true as well."""
        made = ex.as_condition(condition)
        earlier = self._question.where
        return self._with(where=made if earlier is None else earlier & made)

    def select(self, *columns: Selected) -> AsyncQuery:
        """Return these columns, in place of all."""
        return self._with(selected=columns)

    def group_by(self, *columns: str | ex.Column) -> AsyncQuery:
        """One row per distinct combination of these columns."""
        return self._with(groups=as_columns(columns))

    def agg(self, *aggregates: ex.Aggregation | ex.Labelled) -> AsyncQuery:
        """Return these aggregates, one row per group."""
        return self._with(selected=aggregates)

    def having(self, condition: ex.Condition) -> AsyncQuery:
        """Narrow to the groups for which ``condition``, on aggregates, is true as well; this client
        decides that after decryption.
        """
        made = ex.as_condition(condition)
        earlier = self._question.having
        return self._with(having=made if earlier is None else earlier & made)

    def order_by(self, *keys: Sorting) -> AsyncQuery:
        """Sort by columns, or by ``col("a").desc()``; NULLs last unless asked otherwise."""
        return self._with(order=keys)

    def limit(self, count: int, offset: int = 0) -> AsyncQuery:
        """At most ``count`` rows, after ``offset``."""
        return self._with(count=count, offset=offset)

    def fetch(self, mode: str) -> AsyncQuery:
        """How rows are fetched: ``exact``, ``padded`` with decoys, or ``all`` (docs/fetching.md):
        what the engine learns of which rows match.
        """
        if mode not in MODES:
            fix = f"the modes are {', '.join(MODES)}"
            errors.fail("AM-5007", what=f"FETCH {mode}", fix=fix)
        return self._with(fetch=mode)

    def distinct(self) -> AsyncQuery:
        """Each different row once."""
        return self._with(distinct=True)

    async def collect(
        self, *, timeout_seconds: float | None = None, progress: ProgressCallback | None = None
    ) -> Result:
        """The answer. Raises: as ``AsyncDatabase.sql``."""
        text, parameters = to_sql(self._question)
        return await self._database.sql(
            text, parameters, timeout_seconds=timeout_seconds, progress=progress
        )

    async def stream(
        self, *, progress: ProgressCallback | None = None
    ) -> AsyncGenerator[Result, None]:
        """The answer in parts, as ``AsyncDatabase.stream``."""
        text, parameters = to_sql(self._question)
        async with aclosing(self._database.stream(text, parameters, progress=progress)) as parts:
            async for part in parts:
                yield part

    async def __aiter__(self) -> AsyncGenerator[tuple[Any, ...], None]:
        async with aclosing(self.stream()) as parts:
            async for part in parts:
                for row in part:
                    yield row

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
        """Set columns to these values (constants, or expressions of the row's own columns) in all
        rows of the query; ``changed`` says how many.

        Leaks: which rows change. Raises: InvalidError AM-20xx; nothing is changed then.
        """
        text, parameters = to_update(self._question, values)
        return await self._database.sql(text, parameters)

    async def delete(self) -> Result:
        """Delete all rows of the query; ``changed`` says how many. Leaks: which rows go."""
        text, parameters = to_delete(self._question)
        return await self._database.sql(text, parameters)

    async def explain(self, *, format: str = "text", local: bool = False) -> Plan:  # noqa: A002
        """How the query would run and what the engine would learn; ``format``: text, json, pgjson
        (PostgreSQL's keys) or mermaid. ``local``: as ``AsyncDatabase.explain``.
        """
        text, parameters = to_sql(self._question)
        return await self._database.explain(text, parameters, format=format, local=local)


__all__ = ["AsyncQuery", "AsyncTable", "Selected"]
