"""The service over a pair of byte streams: a proxy for the client and a host for the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from typing import Any, cast

from google.protobuf.message import DecodeError, Message

from amaters.base.errors import AmatersError, fail, make
from amaters.wire import service_pb2 as pb
from amaters.wire.errors import decode_error, encode_error
from amaters.wire.frames import WINDOW, Credit, Frame, FrameStream, Kind
from amaters.wire.service import METHODS, Chunk, Method, Service

STREAM_LIMIT = 4 << 20


class _Call:
    """One call in flight, either side: frames that arrived, credit to send."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.credit = Credit()

    def deliver(self, frame: Frame | None) -> None:
        if frame is not None and frame.kind is Kind.ACK:
            self.credit.give()
        else:
            self.inbox.put_nowait(frame)


class PipeClient:
    """A ``Service`` whose engine is at the other end of the streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._frames = FrameStream(reader, writer)
        self._calls: dict[int, _Call] = {}
        self._next = 1
        self._lost = False
        self._receiver = asyncio.create_task(self._receive())

    async def _receive(self) -> None:
        try:
            while (frame := await self._frames.receive()) is not None:
                call = self._calls.get(frame.call)
                if call is not None:
                    call.deliver(frame)
        except AmatersError:
            self._frames.close()
        finally:
            self._lost = True
            for call in self._calls.values():
                call.deliver(None)

    async def invoke(
        self, name: str, request: Message, chunks: AsyncIterable[Chunk] | None = None
    ) -> AsyncIterator[Any]:
        """All replies of one call. Closing the iterator early cancels the call."""
        if self._lost:
            fail("AM-3003")
        number, call, method = self._next, _Call(), METHODS[name]
        self._next += 1
        self._calls[number] = call
        upload: asyncio.Task[None] | None = None
        finished = False
        try:
            payload = name.encode() + b"\0" + request.SerializeToString()
            await self._frames.send(number, Kind.CALL, payload)
            if chunks is not None:
                upload = asyncio.create_task(self._upload(number, call, chunks))
            while True:
                frame = await self._next_frame(call, upload)
                if frame.kind is not Kind.ITEM:
                    finished = True
                    self._end(frame)
                    return
                reply = _parse(method.reply, frame.payload)
                yield reply
                await self._frames.send(number, Kind.ACK)
        finally:
            del self._calls[number]
            if upload is not None:
                upload.cancel()
            if not finished and not self._lost:
                await self._frames.send(number, Kind.CANCEL)

    async def _next_frame(self, call: _Call, upload: asyncio.Task[None] | None) -> Frame:
        """The next answer; a failure of the caller's own chunks ends the call too."""
        answer = asyncio.create_task(call.inbox.get())
        waiting: set[asyncio.Task[Any]] = {answer}
        if upload is not None:
            waiting.add(upload)
        try:
            while not answer.done():
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if upload is not None and upload in done:
                    waiting.discard(upload)
                    upload.result()
        finally:
            answer.cancel()
        frame = answer.result()
        if frame is None:
            fail("AM-3003")
        return frame

    async def _upload(self, number: int, call: _Call, chunks: AsyncIterable[Chunk]) -> None:
        async for chunk in chunks:
            await call.credit.take()
            await self._frames.send(number, Kind.CHUNK, chunk)
        await self._frames.send(number, Kind.END)

    @staticmethod
    def _end(frame: Frame) -> None:
        if frame.kind is Kind.ERROR:
            raise decode_error(_parse(pb.Error, frame.payload))
        if frame.kind is not Kind.END:
            fail("AM-3002", what=f"an unexpected {frame.kind.name} frame")

    async def close(self) -> None:
        self._frames.close()
        with suppress(asyncio.CancelledError):
            await self._receiver

    def __getattr__(self, name: str) -> Any:
        """The methods of ``METHODS``: all have the same body."""
        if name not in METHODS:
            raise AttributeError(name)
        method = METHODS[name]

        def stream(request: Message) -> AsyncIterator[Any]:
            return self.invoke(name, request)

        async def single(request: Message, chunks: AsyncIterable[Chunk] | None = None) -> Any:
            reply = None
            async for item in self.invoke(name, request, chunks):
                reply = item
            if reply is None:
                fail("AM-3002", what=f"{name} ended without a reply")
            return reply

        return stream if method.streams else single


def _parse(kind: type[Any], payload: bytes) -> Any:
    try:
        return kind.FromString(payload)
    except DecodeError:
        fail("AM-3002", what=f"not a {kind.__name__}")


def connect_streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Service:
    """The service at the other end of two streams."""
    return cast(Service, PipeClient(reader, writer))


class _Host:
    """Answers the calls of one client."""

    def __init__(self, frames: FrameStream, service: Service) -> None:
        self._frames = frames
        self._service = service
        self._calls: dict[int, tuple[_Call, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        try:
            while (frame := await self._frames.receive()) is not None:
                self._dispatch(frame)
        finally:
            tasks = [task for _, task in self._calls.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _dispatch(self, frame: Frame) -> None:
        if frame.kind is Kind.CALL and frame.call not in self._calls:
            call = _Call()
            task = asyncio.create_task(self._answer(frame, call))
            self._calls[frame.call] = (call, task)
            task.add_done_callback(lambda _: self._calls.pop(frame.call, None))
            return
        known = self._calls.get(frame.call)
        if known is None:
            return
        if frame.kind is Kind.CANCEL:
            known[1].cancel()
        else:
            known[0].deliver(frame)

    async def _answer(self, frame: Frame, call: _Call) -> None:
        number = frame.call
        try:
            name, _, body = frame.payload.partition(b"\0")
            method = METHODS.get(name.decode("ascii", "replace"))
            if method is None:
                fail("AM-3005", what="there is no such method")
            await self._run(number, call, name.decode(), _parse(method.request, body))
            await self._frames.send(number, Kind.END)
        except AmatersError as error:
            await self._refuse(number, error)
        except Exception as error:
            what = f"{type(error).__name__} in {frame.payload[:16].partition(bytes(1))[0]!r}"
            await self._refuse(number, make("AM-1000", {"what": what}))
            raise

    async def _run(self, number: int, call: _Call, name: str, request: Message) -> None:
        method: Method = METHODS[name]
        target = getattr(self._service, name)
        if method.uploads:
            await self._item(number, call, await target(request, self._chunks(number, call)))
        elif not method.streams:
            await self._item(number, call, await target(request))
        else:
            items = target(request)
            try:
                async for item in items:
                    await self._item(number, call, item)
            finally:
                await items.aclose()

    async def _item(self, number: int, call: _Call, message: Message) -> None:
        await call.credit.take()
        await self._frames.send(number, Kind.ITEM, message.SerializeToString())

    async def _chunks(self, number: int, call: _Call) -> AsyncIterator[Chunk]:
        while True:
            frame = await call.inbox.get()
            if frame is None or frame.kind is not Kind.CHUNK:
                return
            yield frame.payload
            await self._frames.send(number, Kind.ACK)

    async def _refuse(self, number: int, error: AmatersError) -> None:
        with suppress(AmatersError):
            await self._frames.send(number, Kind.ERROR, encode_error(error).SerializeToString())


async def serve_streams(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, service: Service
) -> None:
    """Answer calls until the client closes its side. Raises: AM-3002 when it sends garbage."""
    frames = FrameStream(reader, writer)
    try:
        await _Host(frames, service).run()
    finally:
        frames.close()


assert WINDOW >= 2, "a sender must be able to work while the reader acknowledges"
