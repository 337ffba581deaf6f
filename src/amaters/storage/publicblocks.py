"""Public columns of places, decoded once, within a budget. For any thread."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.base.lru import Lru
from amaters.storage.objects import ObjectStore
from amaters.storage.versions import SegmentRow, TailBlock
from amaters.wire import blocks

PUBLIC_CACHE_BYTES = 128 << 20
_EXPANSION = 4  # bytes of a decoded block per encoded byte, about

Place = SegmentRow | TailBlock


def place_id(place: Place) -> int:
    """The number of a place: of a segment positive, of a tail block negative."""
    return place.sid if isinstance(place, SegmentRow) else -place.bid


class PublicBlocks:
    """Decoded blocks of segments and tail blocks. Both methods raise AM-3002, AM-4001, AM-4007."""

    def __init__(self, objects: ObjectStore, budget: int = PUBLIC_CACHE_BYTES) -> None:
        self._objects = objects
        self._blocks: Lru[bytes | int, blocks.Block] = Lru(budget)
        self._frames: Lru[bytes | int, blocks.Frame] = Lru(budget)

    def of(self, place: Place) -> blocks.Block:
        """All public columns of a place, dead rows included: for conditions on many rows."""
        name = _name(place)
        block = self._blocks.get(name)
        if block is None:
            data = self._read(place)
            block = blocks.decode_block(data)
            self._blocks.put(name, block, _EXPANSION * len(data))
        return block

    def frame(self, place: Place, *, keep: bool = True) -> blocks.Frame:
        """The same for a few rows, or a few columns. ``keep``: somebody may want it again."""
        name = _name(place)
        frame = self._frames.get(name)
        if frame is None:
            frame = blocks.Frame(self._read(place))
            if keep:
                self._frames.put(name, frame, frame.size)
        return frame

    def keys(self, place: Place, key_column: int) -> NDArray[Any]:
        """Primary keys of a place as the state keeps them: int64 or str."""
        values, _ = self.frame(place).column(key_column)
        return values if values.dtype == object else values.view(np.int64)

    def _read(self, place: Place) -> memoryview | bytes:
        if isinstance(place, TailBlock):
            return place.public
        ref = place.object(place.manifest.segment.public_object)
        return self._objects.open(ref).read()


def _name(place: Place) -> bytes | int:
    """What names the block for good: objects and tail blocks never change."""
    if isinstance(place, TailBlock):
        return -place.bid
    return place.manifest.segment.public_object
