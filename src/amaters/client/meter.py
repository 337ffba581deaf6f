"""A ``Service`` that counts the bytes passing through it: what statements report as moved."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from amaters.wire import service
from amaters.wire.service import METHODS, Chunk, Service


class Meter:
    """Bytes sent to and received from the engine so far."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0


def metered(inner: Service, meter: Meter) -> Service:
    """``inner`` with every call counted on ``meter``."""
    return _Metered(inner, meter)


class _Metered:
    """Forwards each method of the Protocol by its declared shape, so none can be forgotten."""

    def __init__(self, inner: Service, meter: Meter) -> None:
        self._inner = inner
        self._meter = meter

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        shape = METHODS.get(name)
        if shape is None:
            return method
        return self._streaming(method) if shape.streams else self._single(method, shape)

    def _single(self, method: Any, shape: service.Method) -> Any:
        async def call(request: Any, chunks: AsyncIterable[Chunk] | None = None) -> Any:
            self._meter.sent += request.ByteSize()
            if shape.uploads and chunks is not None:
                reply = await method(request, self._counted(chunks))
            else:
                reply = await method(request)
            self._meter.received += reply.ByteSize()
            return reply

        return call

    def _streaming(self, method: Any) -> Any:
        async def call(request: Any) -> AsyncIterator[Any]:
            self._meter.sent += request.ByteSize()
            stream = method(request)
            try:
                async for reply in stream:
                    self._meter.received += reply.ByteSize()
                    yield reply
            finally:
                await stream.aclose()

        return call

    async def _counted(self, chunks: AsyncIterable[Chunk]) -> AsyncIterator[Chunk]:
        async for chunk in chunks:
            self._meter.sent += len(chunk)
            yield chunk
