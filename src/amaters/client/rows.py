"""Rows on their way back: public columns and sealed rows joined into batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amaters.base import errors
from amaters.client.session import Session
from amaters.columns.batch import ColumnBatch, concatenate, empty
from amaters.columns.convert import ColumnValues, storage_dtype
from amaters.columns.schema import Table
from amaters.columns.sealing import open_rows
from amaters.wire import service_pb2 as pb
from amaters.wire.blocks import decode_block, decode_pack

RENEWALS_PER_LEASE = 3
RENEWAL_SECONDS_MAX = 3600.0


@dataclass(frozen=True, slots=True)
class OpenedRows:
    """Rows in plaintext with their row versions; ``slots`` is empty for the tail."""

    segment_id: bytes
    slots: NDArray[np.int64]
    rows: ColumnBatch
    versions: NDArray[np.uint64]


@asynccontextmanager
async def snapshot(session: Session, table: Table) -> AsyncIterator[pb.SnapshotReply]:
    """One pinned read version, its lease renewed, released at the end whatever happens."""
    request = pb.SnapshotRequest(table_id=table.id, schema_version=table.version)
    reply = await session.service.snapshot(request)
    session.note_snapshot(table, reply)
    renewing = asyncio.create_task(_renew(session, reply))
    try:
        yield reply
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await session.service.release(pb.HandleRequest(handle=reply.handle))


async def _renew(session: Session, pinned: pb.SnapshotReply) -> None:
    """Keep a snapshot while its reader is busy elsewhere: decrypting, or waiting for another."""
    seconds = pinned.lease_seconds
    request = pb.RenewRequest(handles=[pinned.handle])
    while seconds > 0:
        # An engine that claims an absurd lease must not make its client spin.
        await asyncio.sleep(min(RENEWAL_SECONDS_MAX, max(0.05, seconds / RENEWALS_PER_LEASE)))
        reply = await session.service.renew(request)
        seconds = 0.0 if reply.expired else reply.lease_seconds


async def read_tail(session: Session, table: Table, handle: bytes) -> list[OpenedRows]:
    """All live tail rows."""
    stream = session.service.read_tail(pb.HandleRequest(handle=handle))
    return [open_block(session, table, block) async for block in stream]


def open_block(
    session: Session, table: Table, block: pb.RowBlock, needed: Collection[int] | None = None
) -> OpenedRows:
    """One block in plaintext: all columns, or those with the ids ``needed`` and the primary key.

    Raises: DataError AM-2053 for a sealed row that is not what its key and version say, AM-5012 for
    a block of another shape than the table's.
    """
    decoded = decode_block(block.public_block)
    whole, table = table, table.stored
    columns = {}
    for column in table.public_columns:
        if needed is not None and column.id not in needed and not column.primary_key:
            continue
        if column.id not in decoded.columns:
            _misfit(table, f"column {column.name} is missing")
        values, valid = decoded.columns[column.id]
        if values.dtype != storage_dtype(column.type):
            _misfit(table, f"column {column.name} has another type")
        columns[column.id] = ColumnValues(values, valid)
    if decoded.rows != block.rows or len(block.versions) not in (1, block.rows):
        _misfit(table, "rows and versions differ in number")
    if len(block.slots) != (block.rows if block.segment_id else 0):
        _misfit(table, "rows and slots differ in number")
    versions = np.broadcast_to(np.array(block.versions, dtype=np.uint64), (block.rows,))
    rows = ColumnBatch(columns, block.rows)
    if needs_sealed(table, needed):
        boxes = [bytes(box) for box in decode_pack(block.sealed_pack)]
        key = columns[table.primary_key.id]
        opened = open_rows(session.keyset_of(table), table, boxes, key, row_version=versions)
        rows = ColumnBatch({**columns, **opened.columns}, block.rows)
    slots = np.array(block.slots, dtype=np.int64)
    return OpenedRows(block.segment_id, slots, whole.seen(rows), versions)


def needs_sealed(table: Table, needed: Collection[int] | None) -> bool:
    """Whether any encrypted column is among those needed."""
    return any(needed is None or column.id in needed for column in table.encrypted_columns)


def joined(table: Table, blocks: list[OpenedRows]) -> ColumnBatch:
    """All rows of ``blocks`` as one batch; no rows if there are none."""
    if not blocks:
        return empty(table.columns)
    return concatenate([block.rows for block in blocks])


def _misfit(table: Table, what: str) -> None:
    errors.fail("AM-5012", what=f"rows of table {table.name}: {what}")
