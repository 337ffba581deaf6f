"""Clocks and memory of this process."""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from amaters.base.clock import SystemClock

T = TypeVar("T")

CLOCK = SystemClock()
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_IO = Path("/proc/self/io")


def cpu(work: Callable[[], T]) -> tuple[T, float]:
    """(result, CPU seconds of this process while ``work`` ran, all threads)."""
    before = CLOCK.cpu()
    made = work()
    return made, CLOCK.cpu() - before


def best_of(repeats: int, work: Callable[[], T]) -> tuple[T, float, float]:
    """(last result, lowest CPU seconds, lowest wall seconds): neighbours only ever add to both."""
    lowest_cpu, lowest_wall = float("inf"), float("inf")
    for _ in range(repeats):
        wall = CLOCK.monotonic()
        made, seconds = cpu(work)
        lowest_cpu = min(lowest_cpu, seconds)
        lowest_wall = min(lowest_wall, CLOCK.monotonic() - wall)
    return made, lowest_cpu, lowest_wall


def each_microseconds(work: Callable[[], object]) -> float:
    """CPU microseconds of one call, the best of five runs of about 50 ms."""
    _, once = cpu(work)
    count = max(1, min(1000, int(0.05 / max(once, 1e-6))))
    lowest = float("inf")
    for _ in range(5):
        before = CLOCK.cpu()
        for _ in range(count):
            work()  # results are dropped at once, or memory would grow and page faults be measured
        lowest = min(lowest, (CLOCK.cpu() - before) / count)
    return lowest * 1e6


def reset_peak() -> None:
    """Start a new peak of memory, where the system can (Linux, glibc).

    What earlier benchmarks freed goes back to the system first, or it would count for this one.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    if _RESET.exists():
        try:
            _RESET.write_text("5")
        except OSError:  # containers may forbid it: the peak is then that of the whole process
            return


def peak_mib() -> float:
    """Highest resident memory since ``reset_peak``, MiB."""
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def written_bytes() -> int:
    """Bytes that this process gave to write calls so far; 0 where the system does not say."""
    if _IO.exists():
        for line in _IO.read_text().splitlines():
            if line.startswith("wchar:"):
                return int(line.split()[1])
    return 0
