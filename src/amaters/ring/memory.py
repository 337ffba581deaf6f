"""Buffers for polynomials: aligned to cache lines and recycled when the last array on them dies.

A query makes hundreds of arrays of a few megabytes. Fresh memory costs a page fault every 4 KiB,
which can exceed the arithmetic done on it; and vectors that straddle cache lines slow a transform
by 8 %.
"""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from math import prod

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_LINE = 64
_IDLE_BYTES_MAX = 256 << 20


class _Pool:
    """Idle slabs by size. The lock is reentrant: a collection inside may give slabs back."""

    def __init__(self) -> None:
        self._idle: dict[int, list[FloatArray]] = defaultdict(list)
        self._bytes = 0
        self._lock = threading.RLock()

    def take(self, count: int) -> FloatArray:
        with self._lock:
            if self._idle[count]:
                self._bytes -= 8 * count
                return self._idle[count].pop()
        raw = np.empty(8 * count + _LINE, dtype=np.uint8)
        start = -raw.ctypes.data % _LINE
        return raw[start : start + 8 * count].view(np.float64)

    def give(self, slab: FloatArray) -> None:
        with self._lock:
            if self._bytes + slab.nbytes <= _IDLE_BYTES_MAX:
                self._bytes += slab.nbytes
                self._idle[slab.size].append(slab)


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
