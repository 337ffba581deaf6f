"""What the database needs of a commit log, and the one of databases in memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Log(Protocol):
    """Where commands become durable."""

    bytes_since_checkpoint: int

    @property
    def last(self) -> int:
        """The highest durable position."""

    def append(self, payload: bytes) -> int:
        """Make a record durable and return its position (consecutive, from 1).

        Raises: AM-4003, AM-4008; after those only AM-4004: the end of the log is unknown.
        """

    def append_all(self, payloads: Sequence[bytes]) -> int:
        """Make records durable together, in one write while they fit one, and return the position
        of the last. Raises: as ``append``.
        """

    def cut(self, position: int) -> None:
        """Forget records up to ``position``, which a durable checkpoint holds."""

    def forgetting(self) -> AbstractContextManager[None]:
        """What is appended inside shares no file with what was before, and a cut there leaves no
        bytes of what it cuts.
        """

    def close(self) -> None: ...


class MemoryLog:
    """The log of a database that ends with its process: it only counts."""

    def __init__(self) -> None:
        self.last = 0
        self.bytes_since_checkpoint = 0

    def append(self, payload: bytes) -> int:
        return self.append_all([payload])

    def append_all(self, payloads: Sequence[bytes]) -> int:
        self.last += len(payloads)
        return self.last

    def cut(self, position: int) -> None:
        """Nothing was kept."""

    def forgetting(self) -> AbstractContextManager[None]:
        """Nothing was kept."""
        return nullcontext()

    def close(self) -> None:
        """Nothing is open."""
