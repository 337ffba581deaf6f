"""Appends on their way: what waits, what a frame holds, and telling everybody how it went."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from amaters.storage.commitlog import frames


@dataclass(frozen=True, slots=True)
class Body:
    """A frame but for its header, at the start of an aligned buffer."""

    buffer: memoryview
    size: int
    digest: bytes
    count: int

    @property
    def length(self) -> int:
        return frames.blocks(frames.HEAD + self.size)


Waiting = Future[int] | asyncio.Future[int]
# Records, their bytes, the frame that large ones are laid out in already, and who waits for the
# last record's position, in which loop. A tuple, because there are so many of them.
Append = tuple[Sequence[bytes], int, Body | None, Waiting | None, asyncio.AbstractEventLoop | None]


@dataclass(slots=True)
class Flight:
    """A frame on its way to the disk, from ``offset`` on."""

    body: Body
    appends: Sequence[Append]
    first: int
    offset: int
    witness: int = 0
    durable: bool = False


class Told:
    """Results for those who wait; ``send`` wakes up each loop once for all of its tasks."""

    def __init__(self) -> None:
        self._by_loop: defaultdict[
            asyncio.AbstractEventLoop, list[tuple[Waiting, int | BaseException]]
        ] = defaultdict(list)

    def add(self, append: Append, result: int | BaseException) -> None:
        """Tell a thread at once, a task with ``send``."""
        future, loop = append[3], append[4]
        if future is None:
            return
        if loop is not None:
            self._by_loop[loop].append((future, result))
        else:
            _settle([(future, result)])

    def add_all(self, appends: Sequence[Append], position: int) -> None:
        """Tell appends their positions, the first of them ``position``."""
        position -= 1
        for records, _, _, future, loop in appends:
            position += len(records)
            if loop is not None and future is not None:
                self._by_loop[loop].append((future, position))
            elif future is not None:
                future.set_result(position)

    def send(self) -> None:
        for loop, settled in self._by_loop.items():
            with suppress(RuntimeError):  # the loop was closed with its tasks: nobody waits
                loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: list[tuple[Waiting, int | BaseException]]) -> None:
    for future, result in settled:
        if future.done():  # its task was cancelled
            continue
        if isinstance(result, int):
            future.set_result(result)
        else:
            future.set_exception(result)
