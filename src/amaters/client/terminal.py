"""Progress for people: nothing for two seconds, then one line with done, total and ETA, on a
terminal or below the cell of a notebook.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import Any, TextIO

from amaters.base.clock import Clock
from amaters.base.progress import Progress

QUIET_SECONDS = 2.0
REDRAW_SECONDS = 0.2


class DelayedProgress(ABC):
    """A progress callback that shows one line while work takes long."""

    def __init__(self, clock: Clock) -> None:
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
            self._show(line(progress, now - self._began))

    def clear(self) -> None:
        """Remove the line; the next progress starts over."""
        if self._visible:
            self._erase()
        self._what, self._visible = "", False

    @abstractmethod
    def _show(self, text: str) -> None: ...

    @abstractmethod
    def _erase(self) -> None: ...


class TerminalProgress(DelayedProgress):
    """Draws on ``stream`` (standard error)."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        super().__init__(clock)
        self._stream = stream

    def _show(self, text: str) -> None:
        self._stream.write("\r\x1b[K" + text)
        self._stream.flush()

    def _erase(self) -> None:
        self._stream.write("\r\x1b[K")
        self._stream.flush()


class NotebookProgress(DelayedProgress):
    """Shows the line in a notebook by IPython's ``display``, given as an argument."""

    def __init__(self, display: Any, clock: Clock) -> None:
        super().__init__(clock)
        self._display = display
        self._handle: Any = None

    def _show(self, text: str) -> None:
        shown = {"text/plain": text}
        if self._handle is None:
            self._handle = self._display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)

    def _erase(self) -> None:
        self._handle.update({"text/plain": ""}, raw=True)


def notebook_display() -> Any:
    """IPython's ``display`` if this program is a notebook's kernel, else None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from importlib import import_module

    return import_module("IPython.display").display


def line(progress: Progress, elapsed_seconds: float) -> str:
    """One line: what, done of total, and how long the rest takes at the speed so far."""
    if progress.total <= 0:
        return f"{progress.what}: {progress.done:,} {progress.unit}, {elapsed_seconds:.0f} s"
    share = progress.done / progress.total
    text = f"{progress.what}: {progress.done:,} of {progress.total:,} {progress.unit} ({share:.0%})"
    if progress.done > 0:
        text += f", {elapsed_seconds * (1 / share - 1):.0f} s left"
    return text
