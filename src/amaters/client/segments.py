"""One segment on its way in: canaries planted, columns encrypted, rows sealed, objects uploaded."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.base import errors
from amaters.client.leases import Lease
from amaters.client.session import Session
from amaters.columns.batch import ColumnBatch, concatenate, nulls
from amaters.columns.canaries import (
    CANARIES,
    PART_CANARIES,
    Planted,
    in_window,
    plant,
    seal_canaries,
    with_witnesses,
)
from amaters.columns.schema import Column, PublicColumn, Table
from amaters.columns.sealing import seal_rows
from amaters.fhe.bundle import pack_bundle
from amaters.wire import service_pb2 as pb
from amaters.wire.blocks import encode_block, encode_pack
from amaters.wire.service import chunks_of


@dataclass(frozen=True, slots=True)
class Prepared:
    """A segment that is uploaded and waits for the commit that names it."""

    planted: Planted
    message: pb.NewSegment


async def upload_segment(
    session: Session,
    table: Table,
    rows: ColumnBatch,
    *,
    row_version: int,
    first_key: int | None,
    taken: Collection[object],
    used: Mapping[int, Collection[object]] | None = None,
    kept: Mapping[int, Sequence[Any]] | None = None,
    lease: Lease | None = None,
    has_moved: bool = False,
) -> Prepared:
    """Plant canaries, encrypt and upload one segment of at most N - 64 rows; see
    ``upload_planted``. ``has_moved``: the engine has seen some of the rows before.
    """
    count = CANARIES if lease is None or not lease.slots else PART_CANARIES
    planted = await asyncio.to_thread(
        plant,
        table,
        rows,
        rng=session.outside.rng,
        first_key=first_key,
        taken=taken,
        used=used,
        kept=kept,
        count=count,
    )
    if has_moved:
        planted = with_witnesses(planted, rng=session.outside.rng)
    return await upload_planted(session, table, planted, row_version=row_version, lease=lease)


async def upload_planted(
    session: Session,
    table: Table,
    planted: Planted,
    *,
    row_version: int,
    lease: Lease | None = None,
) -> Prepared:
    """Encrypt and upload one segment, canaries included; nobody sees it before a commit.

    ``lease``: kept meanwhile; one of slots makes it a partial segment in these slots.
    Cost: per encrypted column about 10 us per row; memory of one column's ciphertexts at a time.
    """
    rng = session.outside.rng
    first_slot = lease.granted.first_slot if lease is not None and lease.slots else 0
    encodings = [(column, kind) for column in table.encrypted_columns for kind in _kinds(column)]
    wanted = 3 + len(encodings)
    reply = await session.service.reserve(pb.ReserveRequest(objects=wanted))
    if len(set(reply.ids)) != wanted or len(reply.ids) != wanted:
        errors.fail("AM-5012", what="it reserved other ids than were asked for")
    segment_id, public_id, sealed_id, *encoding_ids = reply.ids
    message = pb.NewSegment(segment_id=segment_id, rows=first_slot + planted.rows.length)
    canaries = planted.canaries
    if lease is not None and lease.slots:
        message.first_slot, message.lease_id = first_slot, lease.granted.lease_id
        message.open_segment = lease.granted.open_segment
        canaries = in_window(canaries, first_slot, planted.rows.length)
    message.public_object = public_id
    await upload(session, public_id, encode_public(table, planted.rows, before=first_slot))
    if table.encrypted_columns:
        sealed = await asyncio.to_thread(
            seal_pack,
            session,
            table,
            planted.rows,
            row_version=row_version,
            before=first_slot,
        )
        message.sealed_object = sealed_id
        await upload(session, sealed_id, sealed)
    message.canaries = seal_canaries(session.keyset_of(table), table, segment_id, canaries, rng=rng)
    ids = iter(encoding_ids)
    for column in table.encrypted_columns:
        if lease is not None:
            await lease.keep()
        bundles = await asyncio.to_thread(
            _encrypt, session, (table, column), planted.rows, first_slot
        )
        for kind, bundle in zip(_kinds(column), bundles, strict=True):
            object_id = next(ids)
            await upload(session, object_id, bundle)
            message.encodings.add(column_id=column.id, encoding=kind, object_id=object_id)
    return Prepared(planted, message)


async def discard(session: Session, made: pb.NewSegment) -> None:
    """Let the engine delete what was uploaded for a segment that nobody will commit."""
    ids = [made.public_object, made.sealed_object, *(item.object_id for item in made.encodings)]
    await session.service.discard(pb.DiscardRequest(object_ids=[one for one in ids if one]))


def encode_public(table: Table, rows: ColumnBatch, *, before: int = 0) -> bytes:
    """The block of all public columns of ``rows``, behind ``before`` slots that are NULL."""
    if before:
        columns = table.public_columns
        empty = ColumnBatch({c.id: nulls(c.type, before) for c in columns}, before)
        rows = concatenate([empty, rows.select([column.id for column in columns])])
    return encode_columns(table.public_columns, rows)


def encode_columns(columns: Collection[Column | PublicColumn], rows: ColumnBatch) -> bytes:
    """The block of some columns of ``rows``."""
    found = {column.id: rows.columns[column.id] for column in columns}
    return encode_block({key: (column.values, column.valid) for key, column in found.items()})


def seal_pack(
    session: Session, table: Table, rows: ColumnBatch, *, row_version: int, before: int = 0
) -> bytes:
    """The pack of sealed rows, behind ``before`` slots that are empty."""
    rng = session.outside.rng
    sealed = seal_rows(session.keyset_of(table), table, rows, row_version=row_version, rng=rng)
    return encode_pack([b""] * before + sealed)


def _kinds(column: Column) -> list[str]:
    return [shape.name for shape in column.written]


def _encrypt(
    session: Session, place: tuple[Table, Column], rows: ColumnBatch, first_slot: int = 0
) -> list[bytes]:
    """One bundle per encoding of a table's column; slots outside of the rows' are zero."""
    positions = np.arange(first_slot, first_slot + rows.length, dtype=np.int64)
    return encrypt(session, place, (rows, positions), _kinds(place[1]))


def encrypt(
    session: Session,
    place: tuple[Table, Column],
    where: tuple[ColumnBatch, NDArray[np.int64]],
    names: Collection[str],
) -> list[bytes]:
    """Bundles of those encodings of a table's column that ``names`` has, in the order of
    ``written``. ``where``: rows and their slots; all other slots are zero.
    """
    (table, column), (rows, positions) = place, where
    scheme = session.scheme_of(table)
    data = rows.columns[column.id]
    slots = column.encode(
        data.values,
        data.valid,
        slots=scheme.parameters.slots,
        positions=positions,
        names=names,
    )
    bundles = []
    for shape, values in zip(
        (shape for shape in column.written if shape.name in names), slots, strict=True
    ):
        fresh = scheme.encrypt(values, shape.bounds, threads=session.outside.threads)
        bundles.append(pack_bundle(fresh, shape.name))
    return bundles


async def upload(session: Session, object_id: bytes, data: bytes) -> None:
    request = pb.UploadRequest(object_id=object_id, size=len(data))
    await session.service.upload(request, chunks_of(data))
