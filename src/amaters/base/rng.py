"""The only door to randomness. Everything here comes from the operating system's CSPRNG.

There is no way to pass a seed: a production path that could be seeded could be predicted.
"""

from __future__ import annotations

import os
from typing import Protocol


class Rng(Protocol):
    """A source of cryptographically secure bytes."""

    def bytes(self, count: int) -> bytes: ...


class SystemRng:
    """``os.urandom``: blocking until seeded, never repeating."""

    def bytes(self, count: int) -> bytes:
        return os.urandom(count)
