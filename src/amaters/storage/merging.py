"""One segment in the place of the partial ones it was added up from: keys keep their slots."""

from __future__ import annotations

import numpy as np

from amaters.base.errors import fail
from amaters.storage.places import BY_PART, Places
from amaters.storage.rows import BatchRows, Key, NewRows, ReadObject
from amaters.storage.versions import live_slots
from amaters.wire import blocks
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb


def merge_rows(merge: cb.SegmentMerge, read: ReadObject) -> BatchRows:
    """The keys of a merged segment, one for each slot of its parts, and its block.

    Raises: AM-3032 when the block has no key in such a slot.
    """
    segment = merge.merged.segment
    ref = next(ref for ref in merge.merged.objects if ref.object_id == segment.public_object)
    block = blocks.decode_block(read(ref))
    nothing = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)
    values, valid = block.columns.get(merge.key_column, nothing)
    slots = part_slots(segment)
    if block.rows != segment.rows or not len(values) or not bool(valid[slots].all()):
        fail("AM-3032", table="", what="a merged block without a key for each of its slots")
    found = values[slots]
    keys: list[Key] = found.tolist() if found.dtype == object else found.view(np.int64).tolist()
    return BatchRows((NewRows(0, keys, block),), [], [], -1)


def part_slots(segment: pb.NewSegment) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The slots of all parts of a merged segment, in order."""
    return np.concatenate(
        [np.arange(part.first_slot, part.first_slot + part.rows) for part in segment.parts]
    )


def apply_merge(places: Places, tid: int, merge: cb.SegmentMerge, rows: BatchRows) -> None:
    """The effects of a merge: liveness and row versions are those of the parts as they are now.

    Raises: AM-3073 when a part is not there any more.
    """
    segment = merge.merged.segment
    alive = np.zeros(segment.rows, dtype=np.bool_)
    old = []
    for segment_id in merge.replaced:
        found = places.find_segment(tid, segment_id)
        if found is None:
            fail("AM-3073", table=merge.table_id.hex())
        place, count, bits = found
        alive[:count] |= live_slots(count, bits)
        old.append(place)
    new = places.add_segment(tid, merge.merged, BY_PART)
    bits = np.packbits(alive, bitorder="little").tobytes()
    places.set_alive(tid, new, (int(alive.sum()), b"" if bool(alive.all()) else bits))
    (part,) = rows.parts
    slots = part_slots(segment)
    living = [key for key, lives in zip(part.keys, alive[slots].tolist(), strict=True) if lives]
    places.replace_place(tid, living, new)
    for place in old:
        places.remove_segment(tid, place)
    places.indexes.apply_block(tid, (new, 0), part.block)
