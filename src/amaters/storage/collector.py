"""Garbage on a store that others write to as well: what nothing names, seen twice, by the owner.

An object can be unnamed because it is on its way into a command, or because the one who looks has
been deposed and does not know of newer commands. So an id is deleted when it was unnamed at two
looks a grace period apart, and only while the coordinator still names this process the owner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from amaters.base.clock import Clock
from amaters.storage.objects import ObjectStore

GRACE_SECONDS = 3600.0
_BATCH = 100


class SharedObjects(ObjectStore, Protocol):
    """Objects on a shared store."""

    @property
    def reserved(self) -> set[bytes]:
        """Ids that this process made and may still name."""


class Collector:
    """Looks when it is told to. ``owns``: whether this process owns the shard, linearizable.

    What was seen is kept in memory: after a restart the grace period starts again.
    """

    def __init__(
        self,
        objects: SharedObjects,
        owns: Callable[[], bool],
        clock: Clock,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._objects, self._owns = objects, owns
        self._clock, self._grace = clock, grace_seconds
        self._seen: dict[bytes, float] = {}

    def look(self, named: Callable[[], set[bytes]]) -> int:
        """Delete what may go and return how much. ``named``: ids in state, garbage, kept snapshots,
        backups and pins; it is called after the listing, so that what is named meanwhile stays.
        """
        listed = self._objects.ids()
        known = named() | self._objects.reserved
        now = self._clock.monotonic()
        self._seen = {one: self._seen.get(one, now) for one in listed if one not in known}
        due = [one for one, since in self._seen.items() if now - since >= self._grace]
        deleted = 0
        for start in range(0, len(due), _BATCH):
            if not self._owns():
                break
            part = due[start : start + _BATCH]
            self._objects.delete_many(part)
            for one in part:
                del self._seen[one]
            deleted += len(part)
        return deleted
