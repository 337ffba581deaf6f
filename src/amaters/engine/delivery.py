"""Outcomes on their way from the writer's thread to the event loops that wait for them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from amaters.storage.committer import Settle

Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Delivery:
    """Wakes each loop once for all outcomes of a group: a wake-up costs more than a row."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ready: dict[asyncio.AbstractEventLoop, list[Outcome]] = {}

    def expect(self) -> tuple[asyncio.Future[Any], Settle]:
        """A future of the running loop and what settles it, from any thread."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            with self._lock:
                waiting = self._ready.setdefault(loop, [])
                waiting.append((future, result, error))
                if len(waiting) > 1:
                    return
            try:
                loop.call_soon_threadsafe(self._deliver, loop)
            except RuntimeError:  # the loop is closed: nobody waits any more
                with self._lock:
                    self._ready.pop(loop, None)

        return future, settle

    def _deliver(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            ready = self._ready.pop(loop, [])
        for future, result, error in ready:
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
