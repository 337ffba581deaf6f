"""The blocking API: every method is derived from its asynchronous twin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from amaters.client.batches import AsyncBatch
from amaters.client.blocking import (
    Blocking,
    blocking,
    blocking_as,
    chaining,
    iterating,
    starting,
)
from amaters.client.database import AsyncDatabase
from amaters.client.result import record_batch_reader
from amaters.client.table import AsyncQuery, AsyncTable
from amaters.client.transactions import AsyncTransaction

if TYPE_CHECKING:
    import pyarrow


class Query(Blocking[AsyncQuery]):
    """A question being built; nothing is sent before ``collect`` or one of its siblings."""

    filter = chaining(AsyncQuery.filter)
    select = chaining(AsyncQuery.select)
    group_by = chaining(AsyncQuery.group_by)
    agg = chaining(AsyncQuery.agg)
    having = chaining(AsyncQuery.having)
    order_by = chaining(AsyncQuery.order_by)
    limit = chaining(AsyncQuery.limit)
    distinct = chaining(AsyncQuery.distinct)
    fetch = chaining(AsyncQuery.fetch)
    collect = blocking(AsyncQuery.collect)
    stream = iterating(AsyncQuery.stream)
    __iter__ = iterating(AsyncQuery.__aiter__)
    rows = blocking(AsyncQuery.rows)
    dicts = blocking(AsyncQuery.dicts)
    scalar = blocking(AsyncQuery.scalar)
    arrow = blocking(AsyncQuery.arrow)
    polars = blocking(AsyncQuery.polars)
    pandas = blocking(AsyncQuery.pandas)
    update = blocking(AsyncQuery.update)
    delete = blocking(AsyncQuery.delete)
    explain = blocking(AsyncQuery.explain)

    def reader(self) -> pyarrow.RecordBatchReader:
        """The answer as a stream of Arrow record batches, fetched as they are read."""
        return record_batch_reader(self.stream())

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        """The Arrow C stream interface: DuckDB, Polars and pyarrow read the query itself."""
        return self.reader().__arrow_c_stream__(requested_schema)


class Table(Blocking[AsyncTable]):
    """A table by name; also the start of every query on it."""

    insert = blocking(AsyncTable.insert)
    upsert = blocking(AsyncTable.upsert)
    delete = blocking(AsyncTable.delete)
    get = blocking(AsyncTable.get)
    get_many = blocking(AsyncTable.get_many)
    update = blocking(AsyncTable.update)
    schema = blocking(AsyncTable.schema)
    add_column = blocking(AsyncTable.add_column)
    drop_column = blocking(AsyncTable.drop_column)
    rename_column = blocking(AsyncTable.rename_column)
    rename = blocking(AsyncTable.rename)
    add_query = blocking(AsyncTable.add_query)
    drop_query = blocking(AsyncTable.drop_query)
    widen = blocking(AsyncTable.widen)
    set_nullable = blocking(AsyncTable.set_nullable)
    explain = blocking(AsyncTable.explain)
    query = starting(AsyncTable.query, Query)
    range = starting(AsyncTable.range, Query)
    filter = starting(AsyncTable.filter, Query)
    select = starting(AsyncTable.select, Query)
    group_by = starting(AsyncTable.group_by, Query)
    agg = starting(AsyncTable.agg, Query)

    @property
    def name(self) -> str:
        """The table's name."""
        return self._asynchronous.name


class Batch(Blocking[AsyncBatch]):
    """Changes of several tables that happen together or not at all; commits at the end of
    ``with``, unless it failed.
    """

    get = blocking(AsyncBatch.get)
    get_many = blocking(AsyncBatch.get_many)
    commit = blocking(AsyncBatch.commit)

    def insert(self, table: str, rows: object, columns: Sequence[str] | None = None) -> None:
        """Insert rows (whatever ``Table.insert`` takes); their keys must be new."""
        self._asynchronous.insert(table, rows, columns)

    def upsert(self, table: str, rows: object, columns: Sequence[str] | None = None) -> None:
        """Insert rows, or replace those of the same primary keys."""
        self._asynchronous.upsert(table, rows, columns)

    def delete(self, table: str, keys: Iterable[object]) -> None:
        """Delete the rows with these primary keys that are there."""
        self._asynchronous.delete(table, keys)

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and not self._asynchronous.is_over:
            self.commit()


class Transaction(Blocking[AsyncTransaction]):
    """Statements that happen together or not at all; commits at the end of ``with``, unless it
    failed or was rolled back.
    """

    sql = blocking(AsyncTransaction.sql)
    sql_many = blocking(AsyncTransaction.sql_many)
    insert = blocking(AsyncTransaction.insert)
    upsert = blocking(AsyncTransaction.upsert)
    delete = blocking(AsyncTransaction.delete)
    get = blocking(AsyncTransaction.get)
    get_many = blocking(AsyncTransaction.get_many)
    commit = blocking(AsyncTransaction.commit)
    rollback = blocking(AsyncTransaction.rollback)

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to commit."""
        return self._asynchronous.is_changed

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if not self._asynchronous.is_over:
            (self.commit if kind is None else self.rollback)()


class Database(Blocking[AsyncDatabase]):
    """An open database; made by ``connect``. Safe to use from several threads."""

    sql = blocking(AsyncDatabase.sql)
    sql_many = blocking(AsyncDatabase.sql_many)
    stream = iterating(AsyncDatabase.stream)
    explain = blocking(AsyncDatabase.explain)
    create_table = blocking_as(AsyncDatabase.create_table, Table)
    table = blocking_as(AsyncDatabase.table, Table)
    tables = blocking(AsyncDatabase.tables)
    refresh = blocking(AsyncDatabase.refresh)
    drop_table = blocking(AsyncDatabase.drop_table)
    batch = starting(AsyncDatabase.batch, Batch)
    transaction = starting(AsyncDatabase.transaction, Transaction)
    compact = blocking(AsyncDatabase.compact)
    rotate_keys = blocking(AsyncDatabase.rotate_keys)
    abandon_rotation = blocking(AsyncDatabase.abandon_rotation)
    resume = blocking(AsyncDatabase.resume)
    erase = blocking(AsyncDatabase.erase)

    @property
    def in_transaction(self) -> bool:
        """Whether BEGIN was run, and neither COMMIT nor ROLLBACK since."""
        return self._asynchronous.in_transaction

    def close(self) -> None:
        """Close the database; what was inserted stays. Closing twice is harmless."""
        if self._portal.running:
            self._portal.call(self._asynchronous.close())
            self._portal.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
