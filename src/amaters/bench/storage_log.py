"""The commit log: durable appends of every backend, beside plain files."""

from __future__ import annotations

import asyncio
import gc
import mmap
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from amaters.base.settings import LogBackend
from amaters.bench import meter
from amaters.bench.record import Record
from amaters.storage.commitlog.core import SegmentLog
from amaters.storage.commitlog.devices import BACKENDS, LogOptions
from amaters.storage.files import Disk

_SMALL, _SMALL_WRITERS = 100, 64
_LARGE, _LARGE_WRITERS = 1 << 20, 8
_PLAIN_APPENDS = 100
_ROUNDS = 5
_WARM_LARGE = 6  # until the log has segments of full size to use again
_ID = bytes(16)

Timed = dict[str, Callable[[], tuple[int, float]]]


def appends(path: Path, small: int, large: int) -> list[Record]:
    """``small`` appends of 100 bytes by 64 tasks, ``large`` ones of 1 MiB by 8. ``per_second``:
    durable appends, the median of interleaved rounds; ``of_plain``: the same by a loop over plain
    files in the same rounds, which is a sync per record, or O_DIRECT with RWF_DSYNC over a file
    that was written before. ``backend``: what was really used.
    """
    gc.collect()
    gc.freeze()  # modules and test data are not looked at again at every turn
    logs = {backend: _open(path / backend, backend) for backend in BACKENDS}
    used = {backend: log.backend for backend, log in logs.items()}
    try:
        found = _compare(_small(path, logs, small), warm=1)
        found_large = _compare(_large(path, logs, large), warm=_WARM_LARGE)
    finally:
        for log in logs.values():
            log.close()
        gc.unfreeze()
    return [
        *_records("append_100B", _SMALL, found, used),
        *_records("append_1MiB", _LARGE, found_large, used),
    ]


def _open(path: Path, backend: LogBackend) -> SegmentLog:
    log = SegmentLog(path, Disk(), _ID, LogOptions(backend=backend))
    log.create()
    if list(log.replay(0)):
        raise AssertionError("a new log is not empty")
    return log


def _small(path: Path, logs: dict[LogBackend, SegmentLog], appends: int) -> Timed:
    payload = b"x" * _SMALL
    work: Timed = {"plain": lambda: _plain(path / "plain", payload)}
    for backend, log in logs.items():
        work[backend] = partial(_appended, log, payload, _SMALL_WRITERS, appends)
    return work


def _large(path: Path, logs: dict[LogBackend, SegmentLog], appends: int) -> Timed:
    payload = os.urandom(_LARGE)
    work: Timed = {"plain": lambda: _raw(path / "raw", payload, appends)}
    for backend, log in logs.items():
        work[backend] = partial(_appended, log, payload, _LARGE_WRITERS, appends)
    return work


def _compare(work: Timed, *, warm: int) -> dict[str, tuple[int, float]]:
    """Appends of one round, and median seconds per append; the first ``warm`` rounds, which make
    the files that the others write over, do not count.
    """
    counts: dict[str, int] = {}
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(warm + _ROUNDS):
        for name, call in work.items():
            counts[name], taken = call()
            seconds[name].append(taken / counts[name])
    return {name: (counts[name], median(found[warm:])) for name, found in seconds.items()}


def _appended(log: SegmentLog, payload: bytes, writers: int, appends: int) -> tuple[int, float]:
    """Appends by tasks that each wait for their own, and what they took together."""
    each = -(-appends // writers)

    async def writer() -> None:
        for _ in range(each):
            await log.append_async(payload)

    async def all_writers() -> float:
        begun = meter.CLOCK.monotonic()
        await asyncio.gather(*(writer() for _ in range(writers)))
        return meter.CLOCK.monotonic() - begun

    before = log.last
    taken = asyncio.run(all_writers())
    if log.last != before + each * writers:
        raise AssertionError("appends are missing")
    log.cut(log.last)
    return each * writers, taken


def _plain(path: Path, payload: bytes) -> tuple[int, float]:
    disk = Disk()
    disk.remove(path)
    fd = disk.create(path)
    try:
        begun = meter.CLOCK.monotonic()
        for _ in range(_PLAIN_APPENDS):
            disk.write(fd, payload, path)
            disk.sync(fd, path)
        return _PLAIN_APPENDS, meter.CLOCK.monotonic() - begun
    finally:
        disk.close(fd)


def _raw(path: Path, payload: bytes, appends: int) -> tuple[int, float]:
    disk = Disk()
    if not path.exists():
        disk.allocate(path, _LARGE * appends)
    direct = disk.takes_direct(path, 4096)
    buffer = memoryview(mmap.mmap(-1, _LARGE))
    buffer[:] = payload
    fd = disk.open_segment(path, direct=direct)
    try:
        begun = meter.CLOCK.monotonic()
        for n in range(appends):
            disk.write_at(fd, [buffer], n * _LARGE, path, durable=True)
        return appends, meter.CLOCK.monotonic() - begun
    finally:
        disk.close(fd)


def _records(
    name: str, size: int, found: dict[str, tuple[int, float]], used: dict[LogBackend, str]
) -> list[Record]:
    plain = found["plain"][1]
    made = []
    for asked, (count, seconds) in found.items():
        extra: dict[str, object] = {
            "backend": next((used[b] for b in BACKENDS if b == asked), "-"),
            "per_second": 1 / seconds,
            "mib_per_second": size / seconds / (1 << 20),
            "of_plain": plain / seconds,
        }
        made.append(
            Record(f"{name}_{asked}", rows=count, wall_seconds=count * seconds, extra=extra)
        )
    return made
