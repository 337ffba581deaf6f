"""What the state says of its tables, as immutable values: published after each commit, so that
reading a version takes no lock and waits for nobody.

Slots of a segment and rows of a tail block never change; only their liveness does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amaters.storage.index_reader import IndexRow
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb


@dataclass(frozen=True, slots=True)
class TableRow:
    """A table as the state keeps it."""

    tid: int
    schema: pb.SchemaRecord
    top_key: int
    tail_version: int


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A segment with the liveness it had when it was read. ``live_bits`` empty: all are live."""

    sid: int
    manifest: cb.SegmentManifest
    live: int
    version: int
    live_bits: bytes

    @property
    def segment_id(self) -> bytes:
        return self.manifest.segment.segment_id

    @property
    def rows(self) -> int:
        """Slots that may be occupied: 0 .. rows - 1. A shared segment has dead ones among them
        that no row was ever in.
        """
        return self.manifest.segment.rows

    @property
    def parts(self) -> int:
        """How many encryptions each of its ciphertexts is the sum of."""
        return max(len(self.manifest.segment.parts), 1)

    @property
    def rekeys(self) -> int:
        """How many changes of key its ciphertexts have behind them, at most."""
        return max((item.rekeys for item in self.manifest.segment.encodings), default=0)

    def versions_of(self, slots: NDArray[np.int64]) -> list[int]:
        """The row version of each of these slots, or the one they all have."""
        parts = self.manifest.segment.parts
        if not parts:
            return [self.version]
        starts = np.array([part.first_slot for part in parts], dtype=np.int64)
        versions = [part.row_version for part in parts]
        return [versions[i] for i in np.searchsorted(starts, slots, side="right") - 1]

    def object(self, object_id: bytes) -> cb.ObjectRef:
        """The reference of one of its objects."""
        return next(ref for ref in self.manifest.objects if ref.object_id == object_id)


@dataclass(frozen=True, slots=True)
class TailBlock:
    """Rows of one small batch with the liveness they had when this was read; ``bid`` is never
    reused.
    """

    bid: int
    rows: int
    live: int
    version: int
    public: bytes
    sealed: bytes
    live_bits: bytes

    @property
    def size(self) -> int:
        """Bytes of its public and sealed rows."""
        return len(self.public) + len(self.sealed)

    def versions_of(self, _slots: NDArray[np.int64]) -> list[int]:
        """The row version that all its rows have."""
        return [self.version]


def live_slots(rows: int, live_bits: bytes) -> NDArray[np.bool_]:
    """Liveness of each of ``rows`` slots."""
    if not live_bits:
        return np.ones(rows, dtype=np.bool_)
    bits = np.unpackbits(np.frombuffer(live_bits, dtype=np.uint8), count=rows, bitorder="little")
    return bits.astype(np.bool_)


@dataclass(frozen=True)
class TableVersion:
    """One table as it was after the command at ``position``, the last one that changed it."""

    tid: int
    schema: pb.SchemaRecord
    top_key: int
    tail_version: int
    position: int
    segments: tuple[SegmentRow, ...]
    tail: tuple[TailBlock, ...]
    indexes: tuple[IndexRow, ...] = ()
    tail_rows: int = 0  # live ones
    tail_bytes: int = 0  # of its blocks

    @property
    def table_id(self) -> bytes:
        return self.schema.table_id

    def object_ids(self) -> set[bytes]:
        """Every object this version reads."""
        return {ref.object_id for row in self.segments for ref in row.manifest.objects}
