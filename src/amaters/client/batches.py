"""Changes of several tables that happen together or not at all.

A batch collects; ``commit`` turns each table's changes into one part, and all parts into one
request. Rows that are replaced or deleted go by primary key and row version: if somebody changed
one meanwhile, nothing is done, and the batch looks again. Only a row that was read through the
batch must still be what it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from amaters.base import errors
from amaters.client import lookup, unique
from amaters.client.attempts import repeated
from amaters.client.overlay import Overlay
from amaters.client.result import Result
from amaters.client.session import Session
from amaters.client.writer import (
    CHECKED,
    Insertion,
    extend_dictionaries,
    refuse_repeated_keys,
)
from amaters.columns.batch import ColumnBatch, concatenate, empty, from_storage_list
from amaters.columns.schema import Table
from amaters.columns.types import from_storage
from amaters.wire import service_pb2 as pb

ATTEMPTS_MAX = 32


@dataclass(slots=True)
class Changes:
    """What a batch does to one table, as it was given; and what it read, by key as stored: the row
    version, 0 where there was no row.
    """

    rows: list[tuple[object, Sequence[str] | None, bool]] = field(default_factory=list)
    deletes: list[object] = field(default_factory=list)
    read: dict[Any, int] = field(default_factory=dict)


class AsyncBatch:
    """Made by ``AsyncDatabase.batch``; commits at the end of ``async with``, unless it failed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._changes: dict[str, Changes] = {}
        self.is_over = False

    def _of(self, table: str) -> Changes:
        if self.is_over:
            errors.fail("AM-5007", what="a batch that is committed", fix="start another batch")
        return self._changes.setdefault(table, Changes())

    def insert(self, table: str, rows: object, columns: Sequence[str] | None = None) -> None:
        """Insert rows (whatever ``Table.insert`` takes); their keys must be new."""
        self._of(table).rows.append((rows, columns, False))

    def upsert(self, table: str, rows: object, columns: Sequence[str] | None = None) -> None:
        """Insert rows, or replace those of the same primary keys."""
        self._of(table).rows.append((rows, columns, True))

    def delete(self, table: str, keys: Iterable[object]) -> None:
        """Delete the rows with these primary keys that are there."""
        self._of(table).deletes.extend(keys)

    async def get(
        self, table: str, key: object, columns: Sequence[str] | None = None
    ) -> dict[str, Any] | None:
        """The row with this primary key, or None; as ``get_many``."""
        found = (await self.get_many(table, [key], columns)).dicts()
        return found[0] if found else None

    async def get_many(
        self, table: str, keys: Sequence[object], columns: Sequence[str] | None = None
    ) -> Result:
        """Rows by primary key as ``Table.get_many``: as committed, without this batch's changes. If
        the batch changes one of these keys, its row must still be the same when it commits: then
        read, decide and write are one step.
        """
        changes = self._of(table)
        found = await self._session.table(table)
        wanted = lookup.key_values(found, keys)
        result, versions = await lookup.get_versioned(self._session, found, wanted, columns)
        for key in wanted.values.tolist():
            changes.read.setdefault(key, versions.get(key, 0))
        return result

    async def commit(self) -> int:
        """Do all of it, durably; returns how many rows were inserted, replaced or deleted.

        Leaks: what inserting does; which rows are replaced or deleted; that it belongs together.
        Raises: InvalidError AM-20xx, AM-5011 (one key twice); ConflictError AM-5010 (a key that
        exists is inserted), AM-3060 (a row changed since it was read here), AM-3061.
        """
        self._session.require_open()
        self._of("")  # not committed yet
        changes = {name: found for name, found in self._changes.items() if name}

        async def attempt() -> int:
            return await (await _Commit.of(self._session, changes)).run()

        done = await repeated(self._session, attempt)
        self.is_over = True
        return done

    async def __aenter__(self) -> AsyncBatch:
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        if kind is None and not self.is_over:
            await self.commit()


@dataclass(slots=True)
class _Part:
    """One table's changes, validated, and the insertion that carries them."""

    insertion: Insertion
    upserts: set[Any]
    deletes: set[Any]
    read: Mapping[Any, int]
    there: dict[Any, int] = field(default_factory=dict)  # rows that will go, canaries apart

    @property
    def table(self) -> Table:
        return self.insertion.table

    async def look(self, session: Session) -> None:
        """Find the rows to be replaced or deleted. Canaries among them go like rows: one that
        stayed would give itself away.
        """
        table = self.table
        wanted = self.upserts | self.deletes
        unread = [key for key in wanted if key not in self.read]
        keys = from_storage_list(table.primary_key.type, unread)
        found = await lookup.find_rows(session, table, keys, {table.primary_key.id})
        known = {key: self.read[key] for key in wanted & self.read.keys()}
        self.there = {**found.versions, **{key: v for key, v in known.items() if v}}
        absent = {key: 0 for key in self.deletes if known.get(key) == 0}
        self.insertion.replace({**self.there, **found.canaries, **absent})

    def require_unchanged(self, conflicts: Sequence[pb.KeyConflict]) -> None:
        """Raises: ConflictError AM-3060 when a row that was only read has changed."""
        for conflict in conflicts:
            if conflict.new_segment == CHECKED:
                key = self.insertion.checked_key(conflict)
                shown = from_storage(self.table.primary_key.type, key)
                errors.fail("AM-3060", key=shown, table=self.table.name)

    def is_stale(self, conflicts: Sequence[pb.KeyConflict]) -> bool:
        """Whether a row to be replaced or deleted is another one by now; those are taken out of
        ``conflicts``. Raises: ConflictError AM-3060 if it was read in the batch.
        """
        stale = [key for key in map(self.insertion.going_key, conflicts) if key is not None]
        new = [key for key in map(self.insertion.new_key, conflicts) if key in self.upserts]
        for key in (*stale, *new):
            if key in self.read:
                shown = from_storage(self.table.primary_key.type, key)
                errors.fail("AM-3060", key=shown, table=self.table.name)
        return bool(stale or new)


@dataclass(slots=True)
class _Commit:
    """One batch on its way, through as many attempts as it takes."""

    session: Session
    parts: list[_Part]

    @classmethod
    async def of(cls, session: Session, changes: Mapping[str, Changes]) -> _Commit:
        parts = []
        for name, given in changes.items():
            table = await session.table(name)
            part = await _validated(session, table, given)
            if part is not None:
                parts.append(part)
        return cls(session, parts)

    async def run(self) -> int:
        if not self.parts:
            return 0
        try:
            for part in self.parts:
                await part.look(self.session)
                await part.insertion.begin()
            await self._attempts()
        except BaseException:
            for part in self.parts:
                await part.insertion.give_up()
            raise
        given = sum(part.insertion.given for part in self.parts)
        return given + sum(len(part.deletes & part.there.keys()) for part in self.parts)

    async def _attempts(self) -> None:
        for _ in range(ATTEMPTS_MAX):
            request = pb.BatchRequest(request_id=self.session.new_id())
            for part in self.parts:
                request.parts.append(await part.insertion.request())
                request.parts[-1].request_id = b""
            reply = await self.session.service.commit_batch(request)
            if not reply.conflicts:
                self.session.forget_sizes()
                return
            if any(conflict.part >= len(self.parts) for conflict in reply.conflicts):
                errors.fail("AM-5012", what="it names conflicts in parts that were not sent")
            for number, part in enumerate(self.parts):
                conflicts = [c for c in reply.conflicts if c.part == number]
                part.require_unchanged(conflicts)
                await self._settle(part, conflicts)
        errors.fail("AM-3061", attempts=ATTEMPTS_MAX)

    async def _settle(self, part: _Part, conflicts: list[pb.KeyConflict]) -> None:
        if not conflicts:
            return
        if part.is_stale(conflicts):
            await part.look(self.session)
            await part.insertion.begin()
        else:
            await part.insertion.give_way(conflicts)


async def _validated(session: Session, table: Table, given: Changes) -> _Part | None:
    """One table's changes with its dictionaries extended; None when there are none."""
    key = table.primary_key.id
    batches: list[ColumnBatch] = []
    upserts: set[Any] = set()
    for rows, columns, is_upsert in given.rows:
        batch = await asyncio.to_thread(ColumnBatch.from_any, table, rows, columns)
        if is_upsert:
            if key not in batch.columns and batch.length:
                errors.fail("AM-5007", what="UPSERT into a table without a key", fix="insert")
            upserts.update(batch.columns[key].values.tolist() if batch.length else ())
        batches.append(batch)
    whole = concatenate(batches) if batches else empty(table.columns)
    deletes = lookup.key_values(table, given.deletes)
    if not whole.length and not len(deletes.values):
        return None
    if whole.length:
        refuse_repeated_keys(table, whole)
        unique.refuse_repeated_values(table, whole)
        table = await extend_dictionaries(session, table, whole)
    doomed = set(deletes.values.tolist())
    if key in whole.columns:
        for row, value in enumerate(whole.columns[key].values.tolist(), start=1):
            if value in doomed:
                shown = from_storage(table.primary_key.type, value)
                errors.fail("AM-5011", key=shown, first=row, row=row)
    return _Part(Insertion(session, table, whole), upserts, doomed, given.read)


async def commit_rows(
    session: Session,
    table: Table,
    rows: ColumnBatch,
    going: Mapping[Any, int],
    dropped: Mapping[Any, int] | None = None,
) -> None:
    """One commit: the rows of ``going`` (keys as stored, with the row versions they must still
    have) leave, ``rows``, which are valid, come. ``dropped``: canaries of segments that are left.

    Raises: ConflictError AM-3060 when one changed since, AM-5010 for a new key that exists,
    AM-3061.
    """
    session.require_open()
    if rows.length:
        unique.refuse_repeated_values(table, rows)
        table = await extend_dictionaries(session, table, rows)
    keys = set(rows.columns[table.primary_key.id].values.tolist()) if rows.length else set()
    replaced, removed = keys & going.keys(), going.keys() - keys
    insertion = Insertion(session, table, rows, dropped=dict(dropped or {}))
    part = _Part(insertion, replaced, set(removed), going)
    await _Commit(session, [part]).run()


async def commit_overlays(session: Session, overlays: Sequence[Overlay]) -> int:
    """One commit of what a transaction has written, if the rows that it read are what they were;
    returns how many rows were written or deleted.

    Raises: ConflictError AM-3060, AM-5010, AM-3061; AM-3021 for a table that is gone.
    """
    session.require_open()

    async def attempt() -> int:
        tables = {table.id: table for table in (await session.tables()).values()}
        parts = []
        for overlay in overlays:
            part = await _overlaid(session, tables.get(overlay.table.id), overlay)
            if part is not None:
                parts.append(part)
        return await _Commit(session, parts).run()

    return await repeated(session, attempt)


async def _overlaid(session: Session, table: Table | None, overlay: Overlay) -> _Part | None:
    if table is None:
        errors.fail("AM-3021", table=overlay.table.name)
    overlay.adapt(table)
    rows, checks = overlay.to_insert(), overlay.checks()
    if not rows.length and not overlay.gone and not checks:
        return None
    if rows.length:
        unique.refuse_repeated_values(table, rows)
        table = await extend_dictionaries(session, table, rows)
    # A canary whose key is a row's now gives way to it, like any canary.
    dropped = {key: v for key, v in overlay.dropped.items() if key not in overlay.places}
    insertion = Insertion(session, table, rows, checks=checks, dropped=dropped)
    return _Part(insertion, overlay.replaced(), set(overlay.gone), overlay.read)
