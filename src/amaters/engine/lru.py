"""A thread-safe cache with a budget in bytes; the least recently used entries go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Values with sizes. A value larger than the whole budget is not kept, unless ``keep_last``:
    then the newest value always is.
    """

    def __init__(self, budget: int, *, keep_last: bool = False) -> None:
        self._budget = budget
        self._keep_last = keep_last
        self._lock = threading.Lock()
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = 0

    @property
    def held_bytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    def get(self, key: K) -> V | None:
        """The value, now the most recently used."""
        with self._lock:
            found = self._held.get(key)
            if found is None:
                return None
            self._held.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value, at the cost of others."""
        with self._lock:
            self._remove(key)
            if size > self._budget and not self._keep_last:
                return
            self._held[key] = (value, size)
            self._bytes += size
            while self._bytes > self._budget and len(self._held) > 1:
                _, (_, freed) = self._held.popitem(last=False)
                self._bytes -= freed

    def remove(self, key: K) -> None:
        """Forget a value."""
        with self._lock:
            self._remove(key)

    def _remove(self, key: K) -> None:
        found = self._held.pop(key, None)
        if found is not None:
            self._bytes -= found[1]
