"""Writers of a table wait for a moment, so that its tail stays as it is while its keys change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from amaters.base.clock import Clock

SECONDS_MAX = 5.0


class Holds:
    """Which tables are held, each for a few seconds at most: a client that dies holds nobody up.
    On the engine's event loop.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[bytes, tuple[asyncio.Event, float]] = {}

    def hold(self, table_id: bytes, seconds: float) -> None:
        """Let writers wait from now on; 0 seconds: no longer."""
        over, _ = self._held.pop(table_id, (asyncio.Event(), 0.0))
        if seconds <= 0:
            over.set()
            return
        until = self._clock.monotonic() + min(seconds, SECONDS_MAX)
        self._held[table_id] = over, until

    async def wait(self, tables: Iterable[bytes]) -> None:
        """Until none of these tables is held."""
        for table_id in tables:
            over, until = self._held.get(table_id, (None, 0.0))
            left = until - self._clock.monotonic()
            if over is not None and left > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), left)
