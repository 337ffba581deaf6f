"""The pipe transport: many calls at once, back pressure, cancellation, errors, damage."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from amaters.base.errors import AmatersError, fail
from amaters.wire import service_pb2 as pb
from amaters.wire.frames import WINDOW
from amaters.wire.pipe import STREAM_LIMIT, connect_streams, serve_streams
from amaters.wire.service import METHODS, Chunk, Service, chunks_of

END = pb.HandleRequest(handle=b"end")


class Double:
    """A service that shows what reached it."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.sent = 0
        self.received = b""

    async def hello(self, request: pb.HelloRequest) -> pb.HelloReply:
        if request.version == "wait":
            await self.gate.wait()
        if request.version == "refuse":
            fail("AM-3034", table="t", rows=7, limit=5)
        if request.version == "crash":
            raise ZeroDivisionError("a bug")
        return pb.HelloReply(version=request.version)

    async def upload(
        self, request: pb.UploadRequest, chunks: AsyncIterable[Chunk]
    ) -> pb.UploadReply:
        data = bytearray()
        async for chunk in chunks:
            data += chunk
            if request.size and len(data) > request.size:
                fail("AM-3031", expected=request.size, received=len(data))
        self.received = bytes(data)
        return pb.UploadReply(size=len(data))

    async def read_tail(self, request: pb.HandleRequest) -> AsyncIterator[pb.RowBlock]:
        try:
            for number in range(int(request.handle)):
                self.sent += 1
                yield pb.RowBlock(rows=number)
        finally:
            self.cancelled.set()


async def stream_pair() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Two ends of one operating system pipe."""
    loop = asyncio.get_running_loop()
    read, write = os.pipe()
    reader = asyncio.StreamReader(limit=STREAM_LIMIT)
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb", 0)
    )
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(write, "wb", 0)
    )
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Service, Double]]:
    there, to_there = await stream_pair()
    here, to_here = await stream_pair()
    double = Double()
    host = asyncio.create_task(serve_streams(there, to_here, cast(Service, double)))
    client = connect_streams(here, to_there)
    try:
        yield client, double
    finally:
        await client.close()
        await host


def run(work: Any) -> None:
    asyncio.run(work())


def test_calls_overtake_each_other() -> None:
    """A waiting call does not hold up others."""

    async def work() -> None:
        async with connected() as (client, double):
            slow = asyncio.create_task(client.hello(pb.HelloRequest(version="wait")))
            quick = await asyncio.gather(
                *(client.hello(pb.HelloRequest(version=str(n))) for n in range(50))
            )
            assert [reply.version for reply in quick] == [str(n) for n in range(50)]
            assert not slow.done()
            double.gate.set()
            assert (await slow).version == "wait"

    run(work)


def test_errors_arrive_as_themselves() -> None:
    """Code, fields, message and fix are those of the error that was raised."""

    async def work() -> None:
        async with connected() as (client, _):
            with pytest.raises(AmatersError) as caught:
                await client.hello(pb.HelloRequest(version="refuse"))
            error = caught.value
            assert (error.code, error.kind) == ("AM-3034", "Unavailable")
            assert error.fields == {"table": "t", "rows": 7, "limit": 5}
            assert "7 rows of at most 5" in str(error)

    run(work)


def test_uploads_of_many_chunks() -> None:
    """More chunks than the window, of all sizes, arrive in order."""

    async def work() -> None:
        async with connected() as (client, double):
            data = os.urandom(5 << 20)
            reply = await client.upload(
                pb.UploadRequest(), chunks_of(memoryview(data), b"", b"tail")
            )
            assert reply.size == len(data) + 4
            assert double.received == data + b"tail"

    run(work)


def test_a_refused_upload_stops() -> None:
    """The engine's error ends an endless upload."""

    async def work() -> None:
        async def endless() -> AsyncIterator[Chunk]:
            while True:
                yield bytes(1 << 16)

        async with connected() as (client, _):
            with pytest.raises(AmatersError, match="AM-3031"):
                await client.upload(pb.UploadRequest(size=1 << 20), endless())
            assert (await client.hello(pb.HelloRequest(version="on"))).version == "on"

    run(work)


def test_failing_chunks_fail_the_call() -> None:
    """An error in the caller's own chunk source comes back to the caller."""

    async def work() -> None:
        async def broken() -> AsyncIterator[Chunk]:
            yield b"x"
            raise KeyError("source")

        async with connected() as (client, _):
            with pytest.raises(KeyError):
                await client.upload(pb.UploadRequest(), broken())
            assert (await client.hello(pb.HelloRequest(version="on"))).version == "on"

    run(work)


def test_streams_wait_for_their_reader_and_can_be_closed() -> None:
    """A slow reader holds the sender back; closing the iterator ends the engine's work."""

    async def work() -> None:
        async with connected() as (client, double):
            found = []
            stream = client.read_tail(pb.HandleRequest(handle=b"100"))
            async for block in stream:
                found.append(block.rows)
            assert found == list(range(100))
            double.cancelled.clear()
            double.sent = 0
            stream = client.read_tail(pb.HandleRequest(handle=b"1000000"))
            async for block in stream:
                if block.rows == 3:
                    break
            await stream.aclose()  # type: ignore[attr-defined]
            await asyncio.wait_for(double.cancelled.wait(), 30)
            assert double.sent <= 4 + 2 * WINDOW

    run(work)


def test_a_lost_engine_is_an_error_for_every_call() -> None:
    """Calls in flight and new ones raise AM-3003 when the other side is gone."""

    async def work() -> None:
        there, to_there = await stream_pair()
        here, to_here = await stream_pair()
        client = connect_streams(here, to_there)
        waiting = asyncio.create_task(client.hello(pb.HelloRequest()))
        assert len(await there.readexactly(9)) == 9
        to_here.close()
        with pytest.raises(AmatersError, match="AM-3003"):
            await waiting
        with pytest.raises(AmatersError, match="AM-3003"):
            await client.hello(pb.HelloRequest())
        await client.close()

    run(work)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 64,
        b"\x05\0\0\0\x01\0\0\0\x01nope\0",
        b"\x09\0\0\0\x01\0\0\0\x01hello\0\xff\xff\xff",
        b"\x00\0\0\0\x07\0\0\0\x02" * 3,
        b"\x0a\0\0\0\x01\0\0\0\x01hel",
    ],
    ids=["noise", "no method", "no request", "chunks of no call", "half a frame"],
)
def test_garbage_ends_or_is_answered(garbage: bytes) -> None:
    """Whatever bytes come in, the host answers with an error or stops; it never breaks."""

    async def work() -> None:
        there, to_there = await stream_pair()
        here, to_here = await stream_pair()
        host = asyncio.create_task(serve_streams(there, to_here, cast(Service, Double())))
        to_there.write(garbage)
        to_there.close()
        answer = await here.read()
        assert answer == b"" or b"AM-300" in answer
        try:
            await host
        except AmatersError as error:
            assert error.code == "AM-3002"

    run(work)


def test_the_protocol_and_its_table_agree() -> None:
    """Every method of the Protocol can travel, and nothing else."""
    named = {name for name in vars(Service) if not name.startswith("_")}
    assert named == {*METHODS, "close"}
