"""Compaction while the database is open, for whoever does not want to think of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from amaters.base.errors import AmatersError, ConflictError, UnavailableError

EVERY_SECONDS = 60.0


class BackgroundCompaction:
    """Calls ``compact`` again and again, with pauses; one that loses a race is repeated later.

    ``notice`` is told of any other error, after which it ends: what is wrong then is wrong for
    every statement, and they say so.
    """

    def __init__(
        self,
        compact: Callable[[], Awaitable[object]],
        notice: Callable[[str], None],
        *,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._compact = compact
        self._notice = notice
        self._every = every_seconds
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self._compact()
            except (ConflictError, UnavailableError):
                continue
            except AmatersError as error:
                self._notice(f"background compaction ended: {error.message}")
                return

    async def stop(self) -> None:
        """End it; a step that is not committed yet has no effect."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
