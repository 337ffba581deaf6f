"""The trust boundary: what is refused before anything is sent, and lies that are noticed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from e2e_support import COLUMNS, FULL, SCHEMES, SMALL, Spy, open_on, people, small

import amaters as am
from amaters.base import errors
from amaters.engine.service import open_engine
from amaters.fhe.bundle import BundleReader
from amaters.fhe.parameters import get_parameters
from amaters.fhe.scheme import make_evaluator
from amaters.fhe.serial import serialize
from amaters.wire import service_pb2 as pb

ROWS = people(FULL)
PARAMETERS = get_parameters(SMALL)


class Liar(Spy):
    """An engine that answers a selection with a stored indicator instead of the mask.

    Everything it needs is what any engine has: uploads, evaluation keys, its own evaluator.
    """

    def __init__(self, inner: Any, column_id: int) -> None:
        super().__init__(inner)
        self.column_id = column_id
        self.objects: dict[bytes, bytes] = {}
        self.keys = b""
        self.bundle = b""
        self.name = pb.KeyName()

    async def put_keyset(self, request: pb.PutKeysetRequest, chunks: Any) -> pb.Done:
        self.name.CopyFrom(request.name)
        self.keys = b"".join([bytes(chunk) async for chunk in chunks])
        return await self.inner.put_keyset(request, _again(self.keys))

    async def upload(self, request: pb.UploadRequest, chunks: Any) -> pb.UploadReply:
        data = b"".join([bytes(chunk) async for chunk in chunks])
        self.objects[request.object_id] = data
        return await self.inner.upload(request, _again(data))

    async def commit(self, request: pb.CommitRequest) -> pb.CommitReply:
        for item in request.segments[0].encodings:
            if item.column_id == self.column_id:
                self.bundle = self.objects[item.object_id]
        return await self.inner.commit(request)

    def changed(self, name: str, item: Any) -> Any:
        if name == "execute" and item.WhichOneof("event") == "mask":
            item.mask.ciphertext = self.indicator()
        return item

    def indicator(self) -> bytes:
        """A stored slice, shrunk like a mask: its slots are 0 or 1, so it looks like one."""
        evaluator = make_evaluator(self.name.scheme, PARAMETERS, self.keys)
        reader = BundleReader(PARAMETERS, self.name.key_id, self.name.scheme)
        (stored,) = evaluator.load(reader, self.bundle, 1, [2])
        return serialize(evaluator.shrink(stored))


async def _again(data: bytes) -> Any:
    for start in range(0, len(data), 1 << 20):
        yield data[start : start + (1 << 20)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_canaries_catch_a_stored_indicator_before_any_fetch(scheme: str) -> None:
    """The lie decrypts fine, and would show the engine one digit of every age it is asked for."""

    async def run() -> Spy:
        engine = open_engine(":memory:", unsafe_scheme=True)
        liar = Liar(engine, column_id=3)
        db = await open_on(liar, scheme)
        table = await db.create_table("people", COLUMNS)
        await table.insert(ROWS)
        with pytest.raises(errors.DataError) as caught:
            await table.filter(am.col("age") > 60).select("id", "notes").rows()
        assert caught.value.code == "AM-5001"
        await db.close()
        return liar

    calls = asyncio.run(run()).calls
    assert calls["execute"] == 1
    assert calls["fetch_rows"] == 0


def test_a_plan_that_is_too_large_is_refused_before_anything_is_sent() -> None:
    """The double sees no call at all."""

    async def run() -> Spy:
        spy = Spy(open_engine(":memory:", unsafe_scheme=True))
        db = await open_on(spy)
        await db.sql("CREATE TABLE t (a BIGINT ENCRYPTED WITH (QUERIES = 'range'))")
        values = ", ".join(str(number) for number in range(300))
        spy.calls.clear()
        with pytest.raises(am.AmatersError) as caught:
            await db.sql(f"SELECT count(*) FROM t WHERE a IN ({values})")
        assert caught.value.code == "AM-2108"
        await db.close()
        return spy

    assert not asyncio.run(run()).calls


class Downgrade(Spy):
    """An engine that hands out an old or forged schema."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.forged: pb.SchemaRecord | None = None
        self.forge: Any = None

    async def list_tables(self, request: pb.ListTablesRequest) -> pb.ListTablesReply:
        self.calls["list_tables"] += 1
        reply = await self.inner.list_tables(request)
        if self.forge is not None:
            reply.tables[0].CopyFrom(self.forge(reply.tables[0]))
        return reply


def _claim_public(record: pb.SchemaRecord) -> pb.SchemaRecord:
    """The salary column suddenly is a public one: the next insert would send it in clear."""
    from amaters.wire import schema_pb2

    public = schema_pb2.PublicTable.FromString(record.public_bytes)
    for column in public.columns:
        if column.name == "salary":
            column.encrypted = False
            del column.queries[:]
            del column.encodings[:]
    changed = pb.SchemaRecord()
    changed.CopyFrom(record)
    changed.public_bytes = public.SerializeToString(deterministic=True)
    return changed


def test_a_forged_or_older_schema_is_refused_and_nothing_is_sent() -> None:
    """The MAC and the version decide, not the engine's word."""

    async def run() -> None:
        double = Downgrade(open_engine(":memory:", unsafe_scheme=True))
        db = await open_on(double)
        table = await db.create_table("people", COLUMNS)
        old = (await double.inner.list_tables(pb.ListTablesRequest())).tables[0]
        await table.insert(ROWS[:10])
        for forge, code in ((_claim_public, "AM-2050"), (lambda _: old, "AM-2051")):
            double.forge = forge
            double.calls.clear()
            with pytest.raises(am.AmatersError) as caught:
                await table.insert(ROWS[10:20])
            assert caught.value.code == code
            assert set(double.calls) == {"list_tables"}
        double.forge = None
        await db.close()

    asyncio.run(run())


def test_an_engine_process_loads_no_code_that_could_use_a_secret() -> None:
    """Everything an engine imports, its lazy parts included: neither client nor secret side."""
    code = (
        "import sys, amaters.engine.pipe, amaters.engine.executor, amaters.fhe.evaluator\n"
        "import amaters.fhe.noop\n"
        "print(*sorted(name for name in sys.modules if name.startswith('amaters')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "amaters.engine.service" in loaded
    secret = ("amaters.fhe.secret", "amaters.client", "amaters.embedded", "amaters.sql")
    assert not [name for name in loaded if name.startswith(secret)]


def test_the_engine_refuses_a_scheme_it_was_not_started_for(tmp_path: Path) -> None:
    """``noop`` needs the flag on both sides, and an encrypted database never opens as noop."""

    async def run() -> None:
        engine = open_engine(":memory:")
        with pytest.raises(errors.DeniedError) as caught:
            await open_on(engine, "noop")
        assert caught.value.code == "AM-1106"
        await engine.close()

    asyncio.run(run())
    keys = tmp_path / "keys"
    am.connect(tmp_path / "db", keys=keys, **small("bgv")).close()
    for wrong in (small("noop"), {}):
        with pytest.raises(errors.DeniedError) as caught:
            am.connect(tmp_path / "db", keys=keys, **wrong)
        assert caught.value.code == "AM-1106"
