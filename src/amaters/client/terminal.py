"""Progress on a terminal: nothing for two seconds, then one line with done, total and ETA."""

from __future__ import annotations

from typing import TextIO

from amaters.base.clock import Clock
from amaters.base.progress import Progress

QUIET_SECONDS = 2.0
REDRAW_SECONDS = 0.2


class TerminalProgress:
    """A progress callback that draws on ``stream`` (standard error) while work takes long."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._what = ""
        self._began = 0.0
        self._drawn = 0.0
        self._visible = False

    def __call__(self, progress: Progress) -> None:
        now = self._clock.monotonic()
        if progress.what != self._what:
            self.clear()
            self._what, self._began, self._drawn = progress.what, now, now
        finished = progress.total > 0 and progress.done >= progress.total
        if finished:
            self.clear()
        elif now - self._began >= QUIET_SECONDS and now - self._drawn >= REDRAW_SECONDS:
            self._drawn, self._visible = now, True
            self._stream.write("\r\x1b[K" + line(progress, now - self._began))
            self._stream.flush()

    def clear(self) -> None:
        """Remove the line; the next progress starts over."""
        if self._visible:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
        self._what, self._visible = "", False


def line(progress: Progress, elapsed_seconds: float) -> str:
    """One line: what, done of total, and how long the rest takes at the speed so far."""
    if progress.total <= 0:
        return f"{progress.what}: {progress.done:,} {progress.unit}, {elapsed_seconds:.0f} s"
    share = progress.done / progress.total
    text = f"{progress.what}: {progress.done:,} of {progress.total:,} {progress.unit} ({share:.0%})"
    if progress.done > 0:
        text += f", {elapsed_seconds * (1 / share - 1):.0f} s left"
    return text
