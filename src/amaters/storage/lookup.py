"""Where the rows of some keys lie in one version of a table.

The state knows where a key lies now. That holds for the version too if the place is in it and was
alive: slots are written once and never come back to life. Only a key that changed since the version
is looked for in the version's own public blocks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np

from amaters.base.errors import fail
from amaters.storage.database import Storage
from amaters.storage.publicblocks import Place, PublicBlocks
from amaters.storage.rows import Key
from amaters.storage.versions import TableVersion, live_slots

GLANCES = 8  # at the newest version, before one of them is searched

Spot = tuple[Place, int]  # where a row lies, and its slot there


class Lookup:
    """Finds rows by key, at any version. For any thread; waits for no writer."""

    def __init__(self, storage: Storage, public: PublicBlocks) -> None:
        self._storage = storage
        self._public = public

    def find(self, version: TableVersion, keys: Sequence[Key], key_column: int) -> dict[Key, Spot]:
        """The live rows of ``version`` with these keys.

        Cost: one index lookup per key; a pass over the version's keys if some changed since.
        """
        found, missing, position = self._glance(version, keys)
        if missing and not self._is_current(version, position):
            found.update(self._scan(version, missing, key_column))
        return found

    def find_now(
        self, table_id: bytes, keys: Sequence[Key], key_column: int
    ) -> tuple[TableVersion, dict[Key, Spot]]:
        """The same in a version that is published by now, and that version. Raises: AM-3021."""
        for _ in range(GLANCES):
            version = self._version(table_id)
            found, missing, position = self._glance(version, keys)
            if not missing or self._is_current(version, position):
                return version, found
        version = self._version(table_id)
        return version, self.find(version, keys, key_column)

    def _version(self, table_id: bytes) -> TableVersion:
        version = self._storage.version(table_id)
        if version is None:
            fail("AM-3021")
        return version

    def _glance(
        self, version: TableVersion, keys: Sequence[Key]
    ) -> tuple[dict[Key, Spot], list[Key], int]:
        """What the state knows now that holds for the version; other keys; the state's position."""
        position, places = self._storage.places_at(version.tid, keys)
        found: dict[Key, Spot] = {}
        missing: list[Key] = []
        for key in keys:
            spot = _spot(version, *places[key]) if key in places else None
            if spot is not None:
                found[key] = spot
            else:
                missing.append(key)
        return found, missing, position

    def _is_current(self, version: TableVersion, position: int) -> bool:
        """Whether what was read of the state at ``position`` is what the version says."""
        published = self._storage.position  # before the version: it is set after it
        return published >= position and self._storage.version(version.table_id) is version

    def _scan(
        self, version: TableVersion, keys: Sequence[Key], key_column: int
    ) -> Iterator[tuple[Key, Spot]]:
        wanted = np.array(keys, dtype=object if isinstance(keys[0], str) else np.int64)
        lies: tuple[Place, ...] = (*version.segments, *version.tail)
        for place in lies:
            there = self._public.keys(place, key_column)
            hits = np.isin(there, wanted) & live_slots(place.rows, place.live_bits)
            for slot in np.flatnonzero(hits).tolist():
                yield there[slot : slot + 1].tolist()[0], (place, slot)


def _spot(version: TableVersion, place: int, slot: int) -> Spot | None:
    found = _place(version, place)
    return (found, slot) if found is not None and is_alive(found, slot) else None


def _place(version: TableVersion, place: int) -> Place | None:
    """A place of a version by its number: both lists are in order of it."""
    if place > 0:
        at = bisect_left(version.segments, place, key=lambda row: row.sid)
        if at < len(version.segments) and version.segments[at].sid == place:
            return version.segments[at]
        return None
    at = bisect_left(version.tail, -place, key=lambda block: block.bid)
    if at < len(version.tail) and version.tail[at].bid == -place:
        return version.tail[at]
    return None


def is_alive(place: Place, slot: int) -> bool:
    """Whether one slot of a place is alive."""
    bits = place.live_bits
    return not bits or bool(bits[slot >> 3] >> (slot & 7) & 1)
