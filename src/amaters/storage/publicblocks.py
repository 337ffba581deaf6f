"""Public columns of places, decoded once, within a budget. For any thread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amaters.base.lru import Lru
from amaters.storage.objects import ObjectStore
from amaters.storage.versions import SegmentRow, TailBlock
from amaters.wire import blocks

PUBLIC_CACHE_BYTES = 128 << 20
_EXPANSION = 4  # bytes in memory per encoded byte, about

Place = SegmentRow | TailBlock


class PublicBlocks:
    """What ``blocks.decode_block`` makes of the public block of a segment or tail block."""

    def __init__(self, objects: ObjectStore, budget: int = PUBLIC_CACHE_BYTES) -> None:
        self._objects = objects
        self._decoded: Lru[bytes | int, blocks.Block] = Lru(budget)

    def of(self, place: Place) -> blocks.Block:
        """All public columns of a place, dead rows included. Raises: AM-3002, AM-4001, AM-4007."""
        segment = place if isinstance(place, SegmentRow) else None
        name = segment.manifest.segment.public_object if segment else place_id(place)
        block = self._decoded.get(name)
        if block is None:
            data = self._read(place)
            block = blocks.decode_block(data)
            self._decoded.put(name, block, _EXPANSION * len(data))
        return block

    def keys(self, place: Place, key_column: int) -> NDArray[np.generic]:
        """Primary keys of a place as the state keeps them: int64 or str."""
        values, _ = self.of(place).columns[key_column]
        return values if values.dtype == object else values.view(np.int64)

    def _read(self, place: Place) -> memoryview | bytes:
        if isinstance(place, TailBlock):
            return place.public
        ref = place.object(place.manifest.segment.public_object)
        return self._objects.open(ref).read()


def place_id(place: Place) -> int:
    """The number of a place: of a segment positive, of a tail block negative."""
    return place.sid if isinstance(place, SegmentRow) else -place.bid
