"""Logs on an object store for tests."""

from __future__ import annotations

import threading
from collections.abc import Callable

from amaters.storage.commitlog.object import ObjectLog, ObjectLogOptions
from amaters.storage.commitlog.segments import Record
from amaters.storage.coordinator import Coordinator, LocalOwnership, StoreCoordinator
from amaters.storage.remote import Blobs, ObstoreBlobs, Patience

DATABASE = b"d" * 16
QUICK = Patience(6, 0.0, lambda _: False)


def memory_blobs() -> Blobs:
    """Blobs that end with the test."""
    from obstore.store import MemoryStore

    store = MemoryStore()
    return ObstoreBlobs("memory", store, store)


def store_owner(blobs: Blobs) -> Coordinator:
    return StoreCoordinator(blobs, QUICK)


def options(**more: object) -> ObjectLogOptions:
    return ObjectLogOptions(**{"attempts": 6, "pause_seconds": 0.0, **more})  # type: ignore[arg-type]


def opened(
    blobs: Blobs,
    applied: int = 0,
    *,
    owner: Coordinator | None = None,
    newest_snapshot: Callable[[], int] = lambda: 0,
    **more: object,
) -> tuple[ObjectLog, list[Record]]:
    """A log that is ready, and what it held after ``applied``."""
    log = ObjectLog(
        blobs,
        owner or store_owner(blobs),
        DATABASE,
        options(**more),
        newest_snapshot=newest_snapshot,
    )
    if next(getattr(blobs, "inner", blobs).list("log/"), None) is None:
        log.create()
    return log, list(log.replay(applied))


def payloads_of(blobs: Blobs, applied: int = 0) -> list[bytes]:
    """What a log holds, read by a new owner."""
    log, found = opened(blobs, applied)
    log.close()
    assert [record.position for record in found] == list(
        range(applied + 1, applied + 1 + len(found))
    )
    return [record.payload for record in found]


class PausedOwner:
    """A coordinator whose ``holds`` waits for ``go`` before it asks, as a stopped process would."""

    def __init__(self, inner: Coordinator) -> None:
        self._inner = inner
        self.paused, self.go = threading.Event(), threading.Event()
        self.pause = False

    def acquire(self) -> int:
        return self._inner.acquire()

    def holds(self, epoch: int) -> bool:
        if self.pause:
            self.paused.set()
            self.go.wait()
        return self._inner.holds(epoch)

    def release(self) -> None:
        self._inner.release()


__all__ = ["DATABASE", "LocalOwnership", "PausedOwner", "memory_blobs", "opened", "options"]
