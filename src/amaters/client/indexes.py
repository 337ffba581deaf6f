"""Creating and dropping indexes: the schema says what there is, the engine builds it."""

from __future__ import annotations

from amaters.base import errors
from amaters.client.session import Session, find_table
from amaters.plan.expressions import CreateIndex, DropIndex
from amaters.wire import service_pb2 as pb

NOT_UNIQUE, MOVED_ON = "AM-3090", "AM-3022"
ATTEMPTS_MAX = 32


async def create_index(session: Session, statement: CreateIndex) -> str:
    """Create an index and wait until it is ready; what happened, in words.

    Raises: ConflictError AM-3090 when a unique index meets two rows of one value: it is dropped
    again, AM-2350 when another client was quicker, AM-3022 when the schema changed meanwhile.
    """
    table, index = statement.table, statement.index
    tables = await session.tables()
    known = {other.name.lower() for found in tables.values() for other in found.indexes}
    if index.name.lower() in known:
        if not statement.if_not_exists:
            errors.fail("AM-2350", index=index.name)
        return f"index {index.name} exists already"
    await session.update_table(table.with_indexes([*table.indexes, index]))
    request = pb.BuildIndexRequest(table_id=table.id, number=index.number)
    try:
        async for event in session.service.build_index(request):
            session.report("building an index", event.done, event.total, "blocks of rows")
    except errors.ConflictError as error:
        if error.code == NOT_UNIQUE:
            await _remove(session, table.name, index.name)
        raise
    kind = "unique index" if index.unique else "index"
    return f"created {kind} {index.name} on {table.name}"


async def drop_index(session: Session, statement: DropIndex) -> str:
    """Drop an index; what happened, in words. Raises: InvalidError AM-2351."""
    names = {}
    for table in (await session.tables()).values():
        names.update({index.name.lower(): table.name for index in table.indexes})
    found = names.get(statement.name.lower())
    if found is None and statement.if_exists:
        return f"there is no index {statement.name}"
    if found is None:
        errors.fail("AM-2351", index=statement.name, indexes=", ".join(sorted(names)) or "none")
    await _remove(session, found, statement.name)
    return f"dropped index {statement.name}"


async def _remove(session: Session, table_name: str, name: str) -> None:
    """Take an index out of the schema, as often as others change the schema first."""
    for attempt in range(ATTEMPTS_MAX):
        table = find_table(await session.tables(), table_name)
        kept = [index for index in table.indexes if index.name.lower() != name.lower()]
        if len(kept) == len(table.indexes):
            return
        try:
            return await session.update_table(table.with_indexes(kept))
        except errors.ConflictError as conflict:
            if conflict.code != MOVED_ON or attempt == ATTEMPTS_MAX - 1:
                raise
