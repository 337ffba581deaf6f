"""The only door to the clock: passed to whoever needs time, so that tests can hold it still."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of wall, monotonic and CPU time, all in seconds."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...

    def cpu(self) -> float: ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def cpu(self) -> float:
        """CPU seconds of this process, all threads."""
        return time.process_time()
