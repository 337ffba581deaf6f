"""A small client: encrypts with the noop scheme and speaks ``wire.service`` to any engine."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from amaters.base.ids import new_id
from amaters.columns.batch import ColumnBatch
from amaters.columns.declare import Int32, Int64, Text, build_table
from amaters.columns.records import encode_public
from amaters.columns.schema import Table
from amaters.fhe.bundle import pack_bundle
from amaters.fhe.noop import NoopClientScheme
from amaters.fhe.parameters import get_parameters
from amaters.wire import blocks
from amaters.wire import service_pb2 as pb
from amaters.wire.pipe import STREAM_LIMIT, connect_streams
from amaters.wire.service import Service, chunks_of

PARAMETERS = get_parameters("insecure_n1024")
KEYSET_ID = b"k" * 16
KEY_ID = b"i" * 16
SCHEME = NoopClientScheme(PARAMETERS, KEY_ID)
KEY_NAME = pb.KeyName(
    keyset_id=KEYSET_ID, key_id=KEY_ID, parameter_set=PARAMETERS.name, scheme="noop"
)


def make_table(name: str = "people") -> Table:
    """id BIGINT key, town TEXT public nullable, age and pay encrypted."""
    return build_table(
        name,
        {
            "id": Int64(primary_key=True),
            "town": Text(nullable=True),
            "age": Int32(encrypt=["eq", "range"], min=0, max=127),
            "pay": Int32(encrypt=["sum"], min=-1000, max=1000, nullable=True),
        },
        parameter_set=PARAMETERS.name,
        scheme="noop",
        key_id=KEY_ID,
    )


def record(table: Table) -> pb.SchemaRecord:
    return pb.SchemaRecord(
        table_id=table.id,
        name=table.name,
        version=table.version,
        public_bytes=encode_public(table.public()),
        sealed_bytes=b"sealed",
        mac=b"mac",
    )


def rows_of(table: Table, keys: Sequence[int]) -> ColumnBatch:
    """Deterministic rows for these keys."""
    towns = [None if key % 5 == 0 else f"town{key % 3}" for key in keys]
    data = {
        "id": list(keys),
        "town": towns,
        "age": [key % 100 for key in keys],
        "pay": [None if key % 7 == 0 else key % 500 - 200 for key in keys],
    }
    return ColumnBatch.from_columns(table, data)


def sealed_of(batch: ColumnBatch, version: int) -> list[bytes]:
    """Stand-ins for sealed rows that name their row."""
    keys = batch.columns[1].values.tolist()
    return [f"sealed:{key}:{version}".encode() for key in keys]


def public_block(table: Table, batch: ColumnBatch) -> bytes:
    ids = [column.id for column in table.public_columns]
    return blocks.encode_block({i: (batch.columns[i].values, batch.columns[i].valid) for i in ids})


def key_block(keys: Sequence[int]) -> bytes:
    return blocks.encode_block({1: (np.array(keys, dtype=np.int64), None)})


async def setup(service: Service, table: Table | None = None) -> Table:
    """Keys and one table."""
    table = table or make_table()
    await service.hello(pb.HelloRequest(protocol=1, unsafe_scheme=True))
    put = pb.PutKeysetRequest(request_id=new_id(), name=KEY_NAME)
    await service.put_keyset(put, chunks_of())
    await service.create_table(pb.CreateTableRequest(request_id=new_id(), schema=record(table)))
    return table


async def upload(service: Service, data: bytes) -> bytes:
    object_id = (await service.reserve(pb.ReserveRequest(objects=1))).ids[0]
    request = pb.UploadRequest(object_id=object_id, size=len(data))
    await service.upload(request, chunks_of(data))
    return object_id


async def make_segment(
    service: Service, table: Table, batch: ColumnBatch, version: int
) -> pb.NewSegment:
    """Encrypt and upload a segment."""
    slots = PARAMETERS.slots
    segment = pb.NewSegment(rows=batch.length, canaries=b"canaries of " + b"%d" % batch.length)
    segment.segment_id = (await service.reserve(pb.ReserveRequest(objects=1))).ids[0]
    segment.public_object = await upload(service, public_block(table, batch))
    sealed = blocks.encode_pack(sealed_of(batch, version))
    segment.sealed_object = await upload(service, sealed)
    for column in table.encrypted_columns:
        cells = batch.columns[column.id]
        positions = np.arange(batch.length)
        encoded = column.encode(cells.values, cells.valid, slots=slots, positions=positions)
        for shape, data in zip(column.encodings, encoded, strict=True):
            bundle = pack_bundle(SCHEME.encrypt(data, shape.bounds), shape.kind)
            object_id = await upload(service, bundle)
            segment.encodings.add(column_id=column.id, encoding=shape.kind, object_id=object_id)
    return segment


async def commit(
    service: Service,
    table: Table,
    *,
    tail: Sequence[int] = (),
    segments: Sequence[Sequence[int]] = (),
    removed: Mapping[int, int] | None = None,
    moved: Mapping[int, int] | None = None,
    version: int = 1,
    request_id: bytes | None = None,
) -> pb.CommitReply:
    """Commit rows by key."""
    request = await commit_request(
        service, table, tail=tail, segments=segments, version=version, request_id=request_id
    )
    for field, listed in ((request.removed, removed), (request.moved, moved)):
        if listed:
            field.keys = key_block(list(listed))
            field.versions.extend(listed.values())
    return await service.commit(request)


async def commit_request(
    service: Service,
    table: Table,
    *,
    tail: Sequence[int] = (),
    segments: Sequence[Sequence[int]] = (),
    version: int = 1,
    request_id: bytes | None = None,
) -> pb.CommitRequest:
    request = pb.CommitRequest(
        request_id=request_id or new_id(),
        table_id=table.id,
        schema_version=table.version,
        row_version=version,
    )
    if tail:
        batch = rows_of(table, tail)
        request.tail.rows = batch.length
        request.tail.public_block = public_block(table, batch)
        request.tail.sealed_pack = blocks.encode_pack(sealed_of(batch, version))
    for keys in segments:
        batch = rows_of(table, keys)
        request.segments.append(await make_segment(service, table, batch, version))
    return request


async def snapshot(service: Service, table: Table) -> pb.SnapshotReply:
    request = pb.SnapshotRequest(table_id=table.id, schema_version=table.version)
    return await service.snapshot(request)


Rows = dict[int, tuple[bytes, int]]


def rows_in(block: pb.RowBlock) -> Rows:
    """key -> (sealed row, version); checks that the parts of a block agree."""
    decoded = blocks.decode_block(block.public_block)
    keys = decoded.columns[1][0].tolist()
    sealed = [bytes(b) for b in blocks.decode_pack(block.sealed_pack)]
    versions = list(block.versions) * (block.rows if len(block.versions) == 1 else 1)
    assert len(keys) == len(sealed) == len(versions) == block.rows == decoded.rows
    if block.segment_id:
        assert len(block.slots) == block.rows
    return dict(zip(keys, zip(sealed, versions, strict=True), strict=True))


async def read_all(service: Service, table: Table) -> Rows:
    """Every live row, tail and segments; each must be sealed for its key and version."""
    manifest = await snapshot(service, table)
    found: Rows = {}
    count = 0
    async for block in service.read_tail(pb.HandleRequest(handle=manifest.handle)):
        found.update(rows_in(block))
        count += block.rows
    fetch = pb.FetchRequest(handle=manifest.handle, all_rows=True, sealed=True)
    async for block in service.fetch_rows(fetch):
        found.update(rows_in(block))
        count += block.rows
    await service.release(pb.HandleRequest(handle=manifest.handle))
    assert len(found) == count, "a key appears twice"
    for key, (sealed, version) in found.items():
        assert sealed == f"sealed:{key}:{version}".encode()
    return found


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(work())


@asynccontextmanager
async def engine_process(location: str | Path, *flags: str) -> AsyncIterator[tuple[Service, Any]]:
    """An engine behind a pipe; the process is ended if the test did not close it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "amaters.engine.pipe",
        str(location),
        "--unsafe-scheme",
        *flags,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=STREAM_LIMIT,
    )
    assert process.stdout is not None and process.stdin is not None
    service = connect_streams(process.stdout, process.stdin)
    try:
        yield service, process
    finally:
        await service.close()
        await process.wait()
