"""Transactions: statements collect their writes on this client, COMMIT makes one batch of them.

Optimistic: nothing is locked. What a transaction fetched (rows by key, rows of a SELECT, rows that
UPDATE and DELETE found) must still be so when it commits, else nothing of it happens (AM-3060).
It sees its own writes: rows that are fetched are merged with them, totals of the engine corrected
by them. Totals do not take part in that check, because nobody knows which rows they are about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from amaters.base import errors
from amaters.client import lookup, many, reader, upserts
from amaters.client.attempts import within
from amaters.client.batches import commit_overlays
from amaters.client.changes import rewritten, rows_read
from amaters.client.finish import Totals, totals_of
from amaters.client.overlay import Overlay
from amaters.client.result import Result
from amaters.client.session import Session
from amaters.client.sources import read_file
from amaters.client.staged import answer_here
from amaters.client.writer import refuse_repeated_keys, reserved_keys
from amaters.columns.batch import ColumnBatch, ColumnValues, from_storage_list
from amaters.columns.schema import Table
from amaters.columns.types import from_storage
from amaters.plan.evaluate import matches
from amaters.plan.explain import Document
from amaters.plan.explain_formats import render
from amaters.plan.explain_writes import Pending, explain_transaction
from amaters.plan.expressions import (
    CopyFrom,
    Delete,
    Explain,
    Insert,
    InsertFrom,
    Join,
    OnConflict,
    Predicate,
    Select,
    Staged,
    Statement,
    Transact,
    Update,
)
from amaters.plan.fetching import hides
from amaters.plan.indexes import primary_keys
from amaters.plan.orders import order_aggregates

if TYPE_CHECKING:
    from amaters.sql.parser import Parsed

Bind = Callable[..., Awaitable[Statement]]


class AsyncTransaction:
    """Made by ``AsyncDatabase.transaction``; commits at the end of ``async with``, unless it failed
    or was rolled back. For one task at a time; a statement that fails leaves it as it was.
    """

    def __init__(self, session: Session, bind: Bind) -> None:
        self._session = session
        self._bind = bind
        self._overlays: dict[bytes, Overlay] = {}
        self._busy = asyncio.Lock()
        self.is_over = False

    # ---- the interface ---------------------------------------------------------------------------

    async def sql(
        self, text: str | Parsed, parameters: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> Result:
        """Run one statement as part of the transaction, within the connection's time limit.

        Raises: as ``AsyncDatabase.sql``; AM-3130, AM-3131.
        """
        session = self._session.measured()
        async with within(session, None):
            return await self.run(session, await self._bind(session, text, parameters))

    async def sql_many(
        self,
        text: str | Parsed,
        parameter_sets: Iterable[Sequence[Any] | Mapping[str, Any]],
    ) -> Result:
        """As ``AsyncDatabase.sql_many``, as part of the transaction."""
        from amaters.client.database import bound_rows

        session = self._session.measured()
        parsed = await asyncio.to_thread(many.parsed_change, text)
        sets = list(parameter_sets)
        if sets and many.is_insert(parsed):
            async with within(session, None):
                bound = await self._bind(session, parsed, sets, bound_rows)
                return await self.run(session, bound)
        done = [await self.sql(parsed, one) for one in sets]
        return many.total(done, session.stats())

    async def insert(self, table: str, rows: object, columns: Sequence[str] | None = None) -> int:
        """Insert rows (whatever ``Table.insert`` takes); their keys must be new."""
        found = await self._session.table(table)
        batch = await asyncio.to_thread(ColumnBatch.from_any, found, rows, columns)
        return (await self.run(self._session, Insert(found, batch))).changed or 0

    async def upsert(self, table: str, rows: object, columns: Sequence[str] | None = None) -> int:
        """Insert rows, or replace those of the same primary keys, without looking for them."""
        found = await self._session.table(table)
        batch = await asyncio.to_thread(ColumnBatch.from_any, found, rows, columns)
        if found.primary_key.hidden:
            errors.fail("AM-5007", what="UPSERT into a table without a key", fix="insert")
        refuse_repeated_keys(found, batch)
        async with self._busy:
            self._overlay(found).put(batch, blind=True)
        return batch.length

    async def delete(self, table: str, keys: Iterable[object]) -> int:
        """Delete the rows with these primary keys that are there; returns how many."""
        found = await self._session.table(table)
        wanted = lookup.key_values(found, list(keys))
        async with self._busy:
            overlay = self._overlay(found)
            await self._by_key(self._session, overlay, wanted)
            listed = wanted.values.tolist()
            await self._look(self._session, overlay, overlay.unchecked(listed))
            return overlay.remove(listed)

    async def get(
        self, table: str, key: object, columns: Sequence[str] | None = None
    ) -> dict[str, Any] | None:
        """The row with this primary key as the transaction sees it, or None."""
        found = (await self.get_many(table, [key], columns)).dicts()
        return found[0] if found else None

    async def get_many(
        self, table: str, keys: Sequence[object], columns: Sequence[str] | None = None
    ) -> Result:
        """The rows with these primary keys, in that order, as the transaction sees them."""
        session = self._session.measured()
        found = await session.table(table)
        wanted = lookup.key_values(found, keys)
        async with self._busy:
            rows = await self._by_key(session, self._overlay(found), wanted)
        return lookup.ordered(session, found, wanted, rows, columns)

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to commit."""
        return any(overlay.is_changed for overlay in self._overlays.values())

    async def commit(self) -> int:
        """Make all of it happen, durably; returns how many rows were written or deleted.

        Leaks: what writing these rows does, that it belongs together, and which rows were read.
        Raises: ConflictError AM-3060 when a row it fetched has changed, AM-5010; nothing is done.
        """
        async with self._busy:
            self._require_open()
            self.is_over = True
            changed = [overlay for overlay in self._overlays.values() if overlay.is_changed]
            if not changed:
                return 0
            return await commit_overlays(self._session.measured(), list(self._overlays.values()))

    async def rollback(self) -> None:
        """Forget all of it. Nothing was ever sent."""
        self.is_over = True
        self._overlays.clear()

    async def __aenter__(self) -> AsyncTransaction:
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        if self.is_over:
            return
        await (self.commit() if kind is None else self.rollback())

    # ---- statements ------------------------------------------------------------------------------

    async def run(self, session: Session, statement: Statement) -> Result:
        """One bound statement. Raises: AM-3130, AM-3131, AM-3132 and as outside a transaction."""
        async with self._busy:
            self._require_open()
            return await self._run(session, statement)

    async def _run(self, session: Session, statement: Statement) -> Result:  # noqa: PLR0911
        match statement:
            case Select() | Staged():
                return await self._answer(session, statement)
            case Insert(table=table, batch=batch, conflict=conflict):
                return await self._insert(session, table, batch, conflict)
            case InsertFrom(table=table, conflict=conflict):
                answer = await self._answer(session, statement.source)
                batch = await asyncio.to_thread(upserts.batch_of, statement, answer)
                return await self._insert(session, table, batch, conflict)
            case CopyFrom(table=table):
                batch = await asyncio.to_thread(read_file, statement)
                return await self._insert(session, table, batch, None)
            case Update():
                return await self._update(session, statement)
            case Delete():
                return await self._delete(session, statement)
            case Explain():
                return await self._explain(session, statement)
            case Transact(action="begin"):
                errors.fail("AM-3132")
        errors.fail("AM-3131", what=_words(statement))

    async def _explain(self, session: Session, statement: Explain) -> Result:
        from amaters.client.explaining import explain_result

        inner = statement.statement
        if isinstance(inner, Transact) and not statement.analyze:
            lines = [render(self.explained(inner), statement.format)]
            return Result(("explain",), ("VARCHAR",), (lines,), stats=session.stats())
        return await explain_result(session, statement, self._run)

    async def _answer(self, session: Session, statement: Select | Staged) -> Result:
        while isinstance(statement, Staged):
            found = await self._answer(session, statement.first)
            statement = await asyncio.to_thread(statement.resume, found.columns)
        return await self._select(session, statement)

    async def _select(self, session: Session, statement: Select) -> Result:
        if statement.table.is_local:
            return await reader.select(session, statement)
        if statement.join is not None:
            return await self._joined(session, statement, statement.join)
        overlay = self._overlay(statement.table)
        keys = primary_keys(statement.where, statement.table)
        keys = None if statement.fetch != "exact" else keys
        if statement.is_aggregate and keys is None:
            if not overlay.is_changed:
                return await reader.select(session, statement)
            if order_aggregates(statement):
                errors.fail("AM-3130", table=statement.table.name)
            unread = [key for key in overlay.touched() if key not in overlay.read]
            await self._look(session, overlay, unread)
            return await reader.select(session, statement, self._own(session, overlay, statement))
        rows, learned = await self._matching(
            session, overlay, statement.where, fetch=statement.fetch
        )
        answer = await asyncio.to_thread(answer_here, statement, rows)
        return Result(
            answer.names, answer.types, answer.columns, learned=learned, stats=session.stats()
        )

    def _own(self, session: Session, overlay: Overlay, statement: Select) -> reader.Adjust:
        """What this transaction's writes do to committed totals.

        All rows it has written over were read before the version that is totalled was pinned, and
        are looked up again after. If they still are what was read, they are so in that version too.
        Leaks: the keys written so far. Raises: ConflictError AM-3060 when one has changed.
        """
        table, where = overlay.table, statement.where

        async def adjust(totals: Totals) -> None:
            found = await self._look(session, overlay, overlay.touched())
            old, new = found.rows, overlay.rows()
            old = old.take(matches(where, old, table))
            new = new.take(matches(where, new, table))
            totals.merge(totals_of(statement, old), sign=-1)
            totals.merge(totals_of(statement, new))

        return adjust

    async def _joined(self, session: Session, statement: Select, join: Join) -> Result:
        """Joins are answered from what is committed."""
        for table in (join.fact, *(dimension.table for dimension in join.dimensions)):
            overlay = self._overlays.get(table.id)
            if overlay is not None and overlay.is_changed:
                errors.fail("AM-3130", table=table.name)
        return await reader.select(session, statement)

    async def _matching(
        self,
        session: Session,
        overlay: Overlay,
        where: Predicate | None,
        *,
        fetch: str = "exact",
        replaces: bool = False,
    ) -> tuple[ColumnBatch, tuple[str, ...]]:
        """The rows where a condition is true as this transaction sees them; all columns."""
        table = overlay.table
        keys = primary_keys(where, table) if fetch == "exact" else None
        if keys is not None:
            listed = sorted(keys)
            wanted = from_storage_list(table.primary_key.type, listed)
            rows = await self._by_key(session, overlay, wanted)
            learned: tuple[str, ...] = (f"the {len(keys)} primary keys asked for",)
        else:
            found = await reader.matching_rows(session, table, where, fetch=fetch)
            if replaces:
                overlay.dropped.update(found.fakes)
            if fetch == "exact":  # what COMMIT checks it names, and that would tell what matched
                overlay.note(dict(zip(overlay.keys_of(found.rows), found.versions, strict=True)))
            rows, learned = overlay.merged(found.rows), found.learned
        return rows.take(matches(where, rows, table)), learned

    async def _by_key(
        self, session: Session, overlay: Overlay, wanted: ColumnValues
    ) -> ColumnBatch:
        """Rows by key. What nobody has looked at before is asked for."""
        listed = wanted.values.tolist()
        asked = [key for key in listed if key not in overlay.places and key not in overlay.gone]
        found = await self._look(session, overlay, asked)
        return overlay.merged(found.rows, set(listed))

    async def _look(self, session: Session, overlay: Overlay, keys: Sequence[Any]) -> lookup.Found:
        """The committed rows of these keys (as stored), which must be what was seen before.

        Leaks: the keys. Raises: ConflictError AM-3060, AM-5010 as ``Overlay.note``.
        """
        wanted = from_storage_list(overlay.table.primary_key.type, list(keys))
        found = await lookup.find_rows(session, overlay.table, wanted)
        overlay.note({key: found.versions.get(key, 0) for key in keys}, found.canaries)
        return found

    async def _insert(
        self, session: Session, table: Table, batch: ColumnBatch, conflict: OnConflict | None
    ) -> Result:
        overlay = self._overlay(table)
        key = table.primary_key
        if key.id not in batch.columns and batch.length:
            batch = await _numbered(session, table, batch)
            overlay.reserved.update(overlay.keys_of(batch))
        if conflict is not None:
            return await self._upsert(session, overlay, batch, conflict)
        refuse_repeated_keys(table, batch)
        for row, value in enumerate(overlay.keys_of(batch) if batch.length else (), start=1):
            if overlay.exists(value):
                shown = from_storage(key.type, value)
                errors.fail("AM-5010", table=table.name, key=shown, row=row)
        if batch.length:
            overlay.put(batch)
        return _done(session, "inserted", batch.length)

    async def _upsert(
        self, session: Session, overlay: Overlay, batch: ColumnBatch, conflict: OnConflict
    ) -> Result:
        table = overlay.table
        if conflict.assignments:
            refuse_repeated_keys(table, batch)
        else:
            batch = upserts.first_of_each_key(table, batch)
        rows = await self._by_key(session, overlay, batch.columns[table.primary_key.id])
        found = lookup.Found(rows, dict.fromkeys(overlay.keys_of(rows), 1))
        written, _ = await asyncio.to_thread(upserts.decided, table, batch, found, conflict)
        if written.length:
            overlay.put(written)
        return _done(session, "wrote", written.length)

    async def _update(self, session: Session, statement: Update) -> Result:
        overlay = self._overlay(statement.table)
        rows, learned = await self._matching(
            session, overlay, rows_read(statement), replaces=hides(statement)
        )
        written, count = await asyncio.to_thread(rewritten, statement, rows)
        if written.length:
            overlay.put(written)
        return _done(session, "updated", count, learned)

    async def _delete(self, session: Session, statement: Delete) -> Result:
        overlay = self._overlay(statement.table)
        rows, learned = await self._matching(session, overlay, statement.where)
        listed = overlay.keys_of(rows)
        await self._look(session, overlay, overlay.unchecked(listed))
        overlay.remove(listed)
        return _done(session, "deleted", rows.length, learned)

    # ---- state -----------------------------------------------------------------------------------

    def _overlay(self, table: Table) -> Overlay:
        self._require_open()
        overlay = self._overlays.setdefault(table.id, Overlay(table))
        overlay.adapt(table)
        return overlay

    def _require_open(self) -> None:
        if self.is_over:
            errors.fail("AM-3133", what="this transaction is over")

    def pending(self) -> list[Pending]:
        """What COMMIT would do, table by table."""
        return [
            Pending(
                overlay.table,
                written=len(overlay.places),
                replaced=len(overlay.replaced()),
                deleted=len(overlay.gone),
                checked=len(overlay.checks()),
            )
            for overlay in self._overlays.values()
        ]

    def explained(self, statement: Transact) -> Document:
        """EXPLAIN of BEGIN, COMMIT or ROLLBACK."""
        parameters = self._session.parameters_of
        return explain_transaction(statement, self.pending(), parameters)


async def _numbered(session: Session, table: Table, batch: ColumnBatch) -> ColumnBatch:
    """Rows of a table without a key of its own, with keys that nobody else gets."""
    first = await reserved_keys(session, table, batch.length)
    numbers = np.arange(first, first + batch.length, dtype=np.int64)
    valid = np.ones(batch.length, dtype=np.bool_)
    return batch.with_column(table.primary_key, ColumnValues(numbers, valid))


def _words(statement: Statement) -> str:
    name = type(statement).__name__
    return "".join(f" {letter}" if letter.isupper() else letter for letter in name).strip().upper()


def _done(session: Session, verb: str, count: int, learned: tuple[str, ...] = ()) -> Result:
    message = f"{verb} {count:,} rows, not committed yet"
    return Result(message=message, learned=learned, stats=session.stats(), changed=count)
