"""Frames of the pipe transport: many calls at once over two byte streams.

    frame   length (4), call (4), kind (1), payload

A call is opened by CALL (method name, NUL, request), may be followed by CHUNKs and one END, and is
answered by ITEMs and one END, or by ERROR. A sender keeps at most ``WINDOW`` chunks or items
unread; the reader gives credit with ACK. CANCEL from the caller ends a call early.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from enum import IntEnum

from amaters.base.errors import fail
from amaters.wire.service import MESSAGE_BYTES_MAX, Chunk

WINDOW = 8
_HEADER = struct.Struct("<IIB")
_PAYLOAD_MAX = MESSAGE_BYTES_MAX + 64


class Kind(IntEnum):
    """What a frame says about its call."""

    CALL = 1
    CHUNK = 2
    END = 3
    ITEM = 4
    ERROR = 5
    ACK = 6
    CANCEL = 7


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame."""

    call: int
    kind: Kind
    payload: bytes


class FrameStream:
    """Frames over an asyncio reader and writer; several tasks may send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sending = asyncio.Lock()

    async def send(self, call: int, kind: Kind, payload: Chunk = b"") -> None:
        """Send one frame. Raises: AM-3003 when the other side is gone."""
        async with self._sending:
            try:
                self._writer.write(_HEADER.pack(len(payload), call, kind))
                if payload:
                    self._writer.write(payload)
                await self._writer.drain()
            except (OSError, RuntimeError):
                fail("AM-3003")

    async def receive(self) -> Frame | None:
        """The next frame; None at the end of the stream. Raises: AM-3002."""
        try:
            head = await self._reader.readexactly(_HEADER.size)
            length, call, kind = _HEADER.unpack(head)
            if length > _PAYLOAD_MAX or kind not in Kind._value2member_map_:
                fail("AM-3002", what="a frame that is none")
            payload = await self._reader.readexactly(length) if length else b""
        except (asyncio.IncompleteReadError, OSError):
            return None
        return Frame(call, Kind(kind), payload)

    def close(self) -> None:
        """Stop sending."""
        self._writer.close()


class Credit:
    """How many frames the other side still lets us send on one call."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(WINDOW)

    async def take(self) -> None:
        """Wait for room."""
        await self._free.acquire()

    def give(self) -> None:
        """The other side has read one."""
        self._free.release()
