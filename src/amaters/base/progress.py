"""Progress of long work, in units that are known in advance (key switches, rows, bytes)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` ``unit`` of the step named ``what``; ``total`` 0: not known yet."""

    what: str
    done: int
    total: int
    unit: str


ProgressCallback = Callable[[Progress], None]


def no_progress(_: Progress) -> None:
    """A callback for callers that do not want to know."""
