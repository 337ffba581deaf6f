"""What the end-to-end tests share: databases over a service that records and lies, and DuckDB."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from amaters.base.clock import SystemClock
from amaters.base.progress import no_progress
from amaters.base.rng import SystemRng
from amaters.client.blocking import Portal
from amaters.client.database import AsyncDatabase
from amaters.client.keymaking import choose
from amaters.client.keyring import Keyring
from amaters.client.session import Keys, Outside, open_session
from amaters.client.sync import Database
from amaters.engine.service import open_engine
from amaters.wire.service import METHODS, Chunk, Service

SMALL = "insecure_n1024"


@dataclass
class Call:
    """One call that crossed the door: the request as sent, the chunks after it, the replies."""

    name: str
    request: Any
    uploads: list[bytes] = field(default_factory=list)
    replies: list[Any] = field(default_factory=list)
    finished: bool = False

    @property
    def sent(self) -> bytes:
        """Every byte of this call that the engine sees."""
        return self.request.SerializeToString() + b"".join(self.uploads)


Lie = Callable[[Any, Any], Any]


class Door:
    """A ``Service`` around an engine: records every call, and changes replies where told to.

    ``lies`` maps a method to a function of request and reply (of a streaming method: the list of
    its replies) that returns what the client gets instead.
    """

    def __init__(self, engine: Service) -> None:
        self.engine: Any = engine
        self.calls: list[Call] = []
        self.lies: dict[str, Lie] = {}

    def names(self) -> list[str]:
        """The methods called, in order."""
        return [call.name for call in self.calls]

    def of(self, name: str) -> list[Call]:
        """The calls of one method."""
        return [call for call in self.calls if call.name == name]

    def forget(self) -> None:
        """Begin a new record."""
        self.calls.clear()

    def honest(self) -> None:
        """No more lies, and a new record."""
        self.lies.clear()
        self.forget()

    async def close(self) -> None:
        await self.engine.close()

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(name)
        return self._stream(name) if METHODS[name].streams else self._single(name)

    def _recorded(self, name: str, request: Any) -> Call:
        call = Call(name, type(request).FromString(request.SerializeToString()))
        self.calls.append(call)
        return call

    def _single(self, name: str) -> Any:
        async def invoke(request: Any, chunks: AsyncIterable[Chunk] | None = None) -> Any:
            call = self._recorded(name, request)
            method = getattr(self.engine, name)
            if chunks is None:
                reply = await method(request)
            else:
                reply = await method(request, _copied(chunks, call))
            if name in self.lies:
                reply = self.lies[name](request, reply)
            call.replies.append(reply)
            call.finished = True
            return reply

        return invoke

    def _stream(self, name: str) -> Any:
        async def invoke(request: Any) -> AsyncIterator[Any]:
            call = self._recorded(name, request)
            stream = getattr(self.engine, name)(request)
            if name in self.lies:
                replies = [reply async for reply in stream]
                for reply in self.lies[name](request, replies):
                    call.replies.append(reply)
                    yield reply
            else:
                try:
                    async for reply in stream:
                        call.replies.append(reply)
                        yield reply
                finally:
                    await stream.aclose()
            call.finished = True

        return invoke


async def _copied(chunks: AsyncIterable[Chunk], call: Call) -> AsyncIterator[Chunk]:
    async for chunk in chunks:
        call.uploads.append(bytes(chunk))
        yield chunk


@dataclass
class Opened:
    """A database whose client reaches its engine through ``door``."""

    db: Database
    door: Door
    notices: list[str]


def open_through_door(
    location: str | Path = ":memory:",
    *,
    scheme: str | None = "noop",
    parameters: str | None = SMALL,
    keyring: Path | None = None,
    engine: Any = None,
    rng: Any = None,
    clock: Any = None,
    threads: int = 2,
) -> Opened:
    """Like ``amaters.connect``, with a ``Door`` between client and engine.

    ``engine``: a coroutine that makes another service than the engine in this process.
    """
    choice = choose(scheme, parameters)
    notices: list[str] = []
    outside = Outside(
        clock or SystemClock(), rng or SystemRng(), notices.append, no_progress, threads
    )
    keys = Keys(None if keyring is None else Keyring(keyring))
    portal = Portal()

    async def opening() -> tuple[AsyncDatabase, Door]:
        if engine is not None:
            door = Door(await engine())
        else:
            door = Door(open_engine(location, unsafe_scheme=choice.unsafe, threads=threads))
        try:
            session = await open_session(
                door, url=str(location), keys=keys, choice=choice, outside=outside
            )
        except BaseException:
            await door.close()
            raise
        return AsyncDatabase(session), door

    try:
        opened, door = portal.call(opening())
    except BaseException:
        portal.close()
        raise
    return Opened(Database(opened, portal), door, notices)


class Plain:
    """DuckDB with the same tables in the clear."""

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.connection.execute("CREATE MACRO public(x) AS x")

    def table(self, ddl: str, name: str, rows: Sequence[Sequence[Any]]) -> None:
        """Make and fill a table."""
        self.connection.execute(ddl)
        for start in range(0, len(rows), 500):
            part = rows[start : start + 500]
            marks = ", ".join(f"({', '.join('?' * len(row))})" for row in part)
            values = [value for row in part for value in row]
            self.connection.execute(f"INSERT INTO {name} VALUES {marks}", values)

    def rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """DuckDB's answer."""
        return self.connection.execute(sql, parameters).fetchall()
