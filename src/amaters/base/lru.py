"""A thread-safe cache with a budget in bytes; the least recently used entries go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
ROUNDS_SAFE = 2


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    size: int
    used: int


class Lru(Generic[K, V]):
    """Values with sizes. A value larger than the whole budget is not kept, unless ``keep_last``:
    then the newest value always is.

    With rounds (see ``begin_round``) nothing used in this or the last round makes room for others:
    scans of more than the budget then hit the part that is held, where plain LRU would hit nothing.
    """

    def __init__(self, budget: int, *, keep_last: bool = False) -> None:
        self._budget = budget
        self._keep_last = keep_last
        self._lock = threading.Lock()
        self._held: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._bytes = 0
        self._round = 0

    @property
    def held_bytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    def begin_round(self) -> None:
        """A new scan begins."""
        with self._lock:
            self._round += 1

    def get(self, key: K) -> V | None:
        """The value, now the most recently used."""
        with self._lock:
            found = self._held.get(key)
            if found is None:
                return None
            found.used = self._round
            self._held.move_to_end(key)
            return found.value

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value at the cost of others, if there is room to be had."""
        with self._lock:
            old = self._held.pop(key, None)
            self._bytes -= old.size if old else 0
            if size > self._budget and not self._keep_last:
                return
            while self._bytes + size > self._budget and self._held:
                if self._round and self._oldest().used > self._round - ROUNDS_SAFE:
                    return
                self._bytes -= self._held.popitem(last=False)[1].size
            self._held[key] = _Entry(value, size, self._round)
            self._bytes += size

    def _oldest(self) -> _Entry[V]:
        return next(iter(self._held.values()))
