"""The asynchronous API: a database and its statements. ``client.sync`` derives the blocking one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from amaters.base import errors
from amaters.base.progress import ProgressCallback
from amaters.client import indexes, many, writer
from amaters.client.advice import advised
from amaters.client.alter import alter_table, resume
from amaters.client.attempts import repeated, within
from amaters.client.batches import AsyncBatch
from amaters.client.compaction import Compacted, compact
from amaters.client.result import Result
from amaters.client.rotation import Rotated, abandon, rotate
from amaters.client.rows import snapshot
from amaters.client.session import Session, find_table
from amaters.client.sources import read_file
from amaters.client.table import AsyncTable
from amaters.client.transactions import AsyncTransaction
from amaters.client.vacuum import Erased, erase, forget, vacuum
from amaters.columns.declare import Declaration, build_table
from amaters.columns.schema import Table
from amaters.plan.explain import Document
from amaters.plan.explain_formats import render
from amaters.plan.expressions import (
    AlterTable,
    CopyFrom,
    CreateIndex,
    CreateTable,
    Delete,
    DropIndex,
    DropTable,
    Explain,
    Insert,
    InsertFrom,
    Select,
    Staged,
    Statement,
    Transact,
    Update,
    Vacuum,
)
from amaters.plan.fitting import fitting_text

if TYPE_CHECKING:
    from amaters.client.planview import Plan
    from amaters.sql.parser import Parsed

Arguments = Sequence[Any] | Mapping[str, Any] | None
UNKNOWN_TABLE = "AM-2203"


class AsyncDatabase:
    """An open database; made by ``connect_async``. Safe to use from several tasks."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.open_transaction: AsyncTransaction | None = None

    @property
    def in_transaction(self) -> bool:
        """Whether BEGIN was run, and neither COMMIT nor ROLLBACK since."""
        return self.open_transaction is not None

    async def sql(
        self,
        text: str | Parsed,
        parameters: Arguments = None,
        *,
        timeout_seconds: float | None = None,
        progress: ProgressCallback | None = None,
    ) -> Result:
        """Run one SQL statement. ``parameters`` fill ``?`` (a sequence) or ``:name`` (a mapping).
        ``timeout_seconds`` and ``progress`` are the connection's unless they are given here.

        Raises: InvalidError for a statement that cannot be answered, before anything is sent;
        UnavailableError AM-5041 when the time is over.
        """
        session = self._session.measured(progress)

        async def attempt() -> Result:
            return await self._perform(session, await _bind(session, text, parameters))

        async with within(session, timeout_seconds), advised(session):
            return await repeated(session, attempt)

    async def sql_many(
        self,
        text: str | Parsed,
        parameter_sets: Iterable[Sequence[Any] | Mapping[str, Any]],
        *,
        timeout_seconds: float | None = None,
        progress: ProgressCallback | None = None,
    ) -> Result:
        """Run one INSERT, UPDATE or DELETE for each set of parameters; ``changed`` counts all rows.

        The rows of an INSERT go in together or not at all. UPDATE and DELETE run one after the
        other. Raises: as ``sql``; InvalidError AM-5040 for another statement.
        """
        session = self._session.measured(progress)
        parsed = await asyncio.to_thread(many.parsed_change, text)
        sets = list(parameter_sets)

        async def attempt() -> Result:
            return await self._perform(session, await _bind(session, parsed, sets, bound_rows))

        async with within(session, timeout_seconds):
            if sets and many.is_insert(parsed):
                return await repeated(session, attempt)
            done = [await self.sql(parsed, one, progress=progress) for one in sets]
            return many.total(done, session.stats())

    async def stream(
        self,
        text: str | Parsed,
        parameters: Arguments = None,
        *,
        progress: ProgressCallback | None = None,
    ) -> AsyncGenerator[Result, None]:
        """The answer of a SELECT in parts, the first ones while others are still on their way; what
        needs all rows at once, such as ORDER BY, comes as one part. Raises: as ``sql``.
        """
        from amaters.client.streaming import is_streamed, parts

        session = self._session.measured(progress)
        found: AsyncGenerator[Result, None] | None = None

        async def begin() -> Result:
            nonlocal found
            bound = await _bind(session, text, parameters)
            if self.in_transaction or not isinstance(bound, Select) or not is_streamed(bound):
                return await self.sql(text, parameters, progress=progress)
            found = parts(session, bound)
            return await anext(found)

        async with advised(session):
            first = await repeated(session, begin)
        async with aclosing(found or _none()) as others:
            yield first
            async for part in others:
                yield part

    async def explain(
        self,
        text: str | Parsed,
        parameters: Arguments = None,
        *,
        format: str = "text",  # noqa: A002
        local: bool = False,
    ) -> Plan:
        """How a statement would run and what the engine would learn; ``format``: text, json, pgjson
        (PostgreSQL's keys) or mermaid. Asks the engine for sizes that this client does not know;
        with ``local`` it is not asked anything: schemas and sizes are those that this client saw
        last, and the plan says how old they are.
        """
        session = self._session.locally() if local else self._session.measured()
        bound = await _bind(session, text, parameters)
        statement = bound.statement if isinstance(bound, Explain) else bound
        if isinstance(statement, Transact):
            from amaters.client.planview import Plan

            document = self._explained(statement)
            return Plan(render(document, format), document)
        from amaters.client.explaining import explain

        return await explain(session, statement, format)

    async def create_table(
        self, name: str, columns: Mapping[str, Declaration], *, depth: str = "default"
    ) -> AsyncTable:
        """Create a table; columns are declared with ``am.Int32(...)`` and its siblings.

        ``depth="deep"``: for filters of many more conditions (docs/depth.md); the first such table
        of a database sends 155 MB of evaluation keys. Raises: AM-2310 where the keyset is too old.
        """
        scheme = await asyncio.to_thread(self._session.schemes.of_depth, depth)
        table = build_table(
            name,
            dict(columns),
            parameter_set=scheme.parameters.name,
            scheme=self._session.keyset.scheme,  # type: ignore[arg-type]
            key_id=scheme.key_id,
        )
        self._require_no_transaction("CREATE TABLE")
        await self._session.create_table(table)
        return AsyncTable(self, self._session, table)

    async def table(self, name: str) -> AsyncTable:
        """The table called ``name``. Raises: InvalidError AM-5009."""
        return AsyncTable(self, self._session, await self._session.table(name))

    async def tables(self) -> list[str]:
        """The names of all tables, in order."""
        return sorted(await self._session.tables())

    def batch(self) -> AsyncBatch:
        """Changes of any tables that happen together or not at all: use it in ``async with``."""
        return AsyncBatch(self._session.measured())

    async def refresh(self) -> list[str]:
        """Look at all tables and their sizes anew, so that a local EXPLAIN knows them; returns
        their names.
        """

        async def attempt() -> list[str]:
            tables = await self._session.tables()
            for table in tables.values():
                async with snapshot(self._session, table):
                    pass
            return sorted(tables)

        return await repeated(self._session, attempt)

    def transaction(self) -> AsyncTransaction:
        """Statements that happen together or not at all: use it in ``async with``."""
        return AsyncTransaction(self._session, _bind)

    async def drop_table(self, name: str) -> None:
        """Drop a table and all its rows. Raises: InvalidError AM-5009."""
        self._require_no_transaction("DROP TABLE")
        await self._session.drop_table(await self._session.table(name))

    async def compact(
        self,
        table: str | None = None,
        *,
        rows_per_second: float | None = None,
        fresh: bool = False,
    ) -> Compacted:
        """Write segments again of which half is dead, small ones together, and a long tail.

        ``table``: this one only; else all, one after the other. ``fresh``: also what has changed
        keys, so that it takes less space and answers the deepest questions again. Each step is one
        commit, so it can be interrupted at any point.

        Raises: InvalidError AM-5009, ConflictError AM-5030.
        """
        names = [table] if table is not None else await self.tables()
        total = Compacted()
        for name in names:

            async def attempt(name: str = name) -> Compacted:
                found = await self._session.table(name)
                return await compact(
                    self._session, found, rows_per_second=rows_per_second, fresh=fresh
                )

            total.add(await repeated(self._session, attempt))
        return total

    async def erase(
        self, table: str | None = None, *, backups: Sequence[str | os.PathLike[str]] = ()
    ) -> Erased:
        """VACUUM ERASE: deleted rows and dropped columns of one table, or all, leave every file
        that the engine can let go of. ``holders`` lists what still has them, and until when;
        ``backups``: directories or URLs to look for this database's backups in.
        """
        session = self._session.measured()
        addresses = [os.fspath(one) for one in backups]

        async def attempt() -> Erased:
            known = await session.tables()
            wanted = list(known.values()) if table is None else [find_table(known, table)]
            return await erase(session, wanted, addresses)

        return await repeated(session, attempt)

    async def resume(self, table: str | None = None) -> int:
        """Go on with what an interrupted ALTER TABLE has begun, of one table or all; returns how
        many rows were encrypted. Can be interrupted again.
        """
        names = [table] if table is not None else await self.tables()
        session = self._session.measured()
        rows = 0
        for name in names:
            rows += (await resume(session, await session.table(name))).rows
        return rows

    async def rotate_keys(
        self,
        *,
        rows_per_second: float | None = None,
        progress: ProgressCallback | None = None,
        backups: Sequence[str | os.PathLike[str]] = (),
    ) -> Rotated:
        """Move everything to a new keyset, while the database is in use; called again after an
        interruption it goes on where it was (docs/keys.md). ``backups``: directories or URLs in
        which to look for backups that need the old keyset from here on; the result names them.

        The engine switches stored ciphertexts, which are not downloaded; rows are sealed anew here.
        The old keyset stays in the keyring, retired: backups from before need it.
        Raises: ConflictError AM-1125, AM-3120, InvalidError AM-3122.
        """
        session = self._session.measured(progress)
        done = await rotate(session, rows_per_second=rows_per_second)
        done.holders = await forget(session, [os.fspath(one) for one in backups])
        return done

    async def abandon_rotation(self) -> None:
        """Give up a rotation of keys of which no table has changed over yet: for when its new
        keyset is lost. Raises: ConflictError AM-3121 when one has.
        """
        await abandon(self._session)

    # ---- statements ------------------------------------------------------------------------------

    async def _perform(self, session: Session, statement: Statement) -> Result:
        """One statement, in the transaction that BEGIN has begun if there is one."""
        match statement:
            case Transact():
                return await self._transact(session, statement)
            case Explain(statement=Transact() as inner, format=form, analyze=analyze):
                document = self._explained(inner)
                if analyze:
                    done = await self._transact(session, inner)
                    document = {**document, "executed": done.message}
                lines = [render(document, form)]
                return Result(("explain",), ("VARCHAR",), (lines,), stats=session.stats())
        if self.open_transaction is not None:
            return await self.open_transaction.run(session, statement)
        return await _run(session, statement)

    async def _transact(self, session: Session, statement: Transact) -> Result:
        if statement.action == "begin":
            if self.open_transaction is not None:
                errors.fail("AM-3132")
            self.open_transaction = self.transaction()
            return _message(session, "began a transaction")
        transaction = self._begun(statement)
        self.open_transaction = None
        if statement.action == "rollback":
            await transaction.rollback()
            return _message(session, "rolled back")
        count = await transaction.commit()
        return _message(session, f"committed {count:,} rows", count)

    def _begun(self, statement: Transact) -> AsyncTransaction:
        if self.open_transaction is None:
            errors.fail("AM-3133", what=f"nothing to {statement.action}")
        return self.open_transaction

    def _explained(self, statement: Transact) -> Document:
        if statement.action == "begin":
            return self.transaction().explained(statement)
        return self._begun(statement).explained(statement)

    def _require_no_transaction(self, what: str) -> None:
        if self.open_transaction is not None:
            errors.fail("AM-3131", what=what)

    async def close(self) -> None:
        """Close the database; what was inserted stays."""
        await self._session.close()

    async def __aenter__(self) -> AsyncDatabase:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _none() -> AsyncGenerator[Result, None]:
    """No further parts."""
    none: tuple[Result, ...] = ()
    for part in none:
        yield part


async def _bind(
    session: Session,
    text: str | Parsed,
    parameters: Any,
    bound: Callable[[Session, Mapping[str, Table], str | Parsed, Any], Statement] | None = None,
) -> Statement:
    """Parse and bind in a worker thread: sqlglot is slow to load."""
    bound = bound or _bound
    catalogue = await session.known_tables()
    try:
        return await asyncio.to_thread(bound, session, catalogue, text, parameters)
    except errors.InvalidError as refused:
        if refused.code != UNKNOWN_TABLE or session.is_local:
            raise
    catalogue = await session.tables()
    return await asyncio.to_thread(bound, session, catalogue, text, parameters)


def _bound(
    session: Session, catalogue: Mapping[str, Table], text: str | Parsed, parameters: Arguments
) -> Statement:
    from amaters.sql.binder import NewTables, bind
    from amaters.sql.parser import parse_one

    parsed = parse_one(text) if isinstance(text, str) else text

    def key_of(depth: str) -> tuple[str, bytes]:
        scheme = session.schemes.of_depth(depth)
        return scheme.parameters.name, scheme.key_id

    new = NewTables(session.keyset.scheme, key_of)  # type: ignore[arg-type]
    return bind(parsed, catalogue, parameters, new=new)


def bound_rows(
    session: Session,
    catalogue: Mapping[str, Table],
    parsed: str | Parsed,
    sets: Sequence[Arguments],
) -> Statement:
    """One INSERT of the rows of all sets of parameters."""
    return many.joined([_bound(session, catalogue, parsed, one) for one in sets])


async def _run(  # noqa: PLR0911, PLR0912 - one per kind
    session: Session, statement: Statement
) -> Result:
    match statement:
        case Select() | Staged():
            from amaters.client.staged import answer

            return await answer(session, statement)
        case Explain():
            from amaters.client.explaining import explain_result

            return await explain_result(session, statement, _run)
        case Insert() | InsertFrom():
            from amaters.client.upserts import insert

            return await insert(session, statement)
        case CopyFrom():
            batch = await asyncio.to_thread(read_file, statement)
            count = await writer.insert(session, statement.table, batch)
            return _message(session, f"copied {count:,} rows", count)
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
        case AlterTable():
            return _message(session, await alter_table(session, statement))
        case Vacuum():
            return await vacuum(session, statement)
        case CreateIndex():
            return _message(session, await indexes.create_index(session, statement))
        case DropIndex():
            return _message(session, await indexes.drop_index(session, statement))
        case Transact(action=action):
            errors.fail("AM-3133", what=f"nothing to {action}")


async def _create(session: Session, statement: CreateTable) -> Result:
    name = statement.table.name
    if statement.if_not_exists and name in await session.tables():
        return _message(session, f"table {name} exists already")
    await session.create_table(statement.table)
    parameters = session.parameters_of(statement.table)
    fits = await asyncio.to_thread(fitting_text, statement.table.public(), parameters)
    fits = f"; {fits}" if fits else ""
    return _message(session, f"created table {name}{fits}")


async def _drop(session: Session, statement: DropTable) -> Result:
    tables = await session.tables()
    known = {name.lower() for name in tables}
    if statement.if_exists and statement.name.lower() not in known:
        return _message(session, f"there is no table {statement.name}")
    await session.drop_table(find_table(tables, statement.name))
    return _message(session, f"dropped table {statement.name}")


def _message(session: Session, text: str, changed: int | None = None) -> Result:
    return Result(message=text, stats=session.stats(), changed=changed)
