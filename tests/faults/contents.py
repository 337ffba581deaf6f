"""What a storage holds, read as the engine reads it, and whether all that must agree does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from amaters.storage.database import Storage
from amaters.storage.index_build import find_rows, find_tail_rows
from amaters.storage.index_reader import IndexRow
from amaters.storage.index_runs import KeyRange
from amaters.storage.rows import Key
from amaters.storage.versions import SegmentRow, TableVersion, TailBlock, live_slots
from amaters.wire import blocks

Row = tuple[int, str]  # version, note
Rows = dict[int, Row]
Tables = dict[str, Rows]
KEY, NUMBER, NOTE = 1, 2, 3
_VALUES_ASKED = 6


def number_of(note: str) -> int:
    """The public number of a row, which indexes are about: few values, from the note."""
    return len(note) % 7


@dataclass(frozen=True)
class Part:
    """Live rows of a place."""

    place: int
    rows: Rows
    slots: dict[int, int]  # key -> slot


def contents(storage: Storage) -> Tables:
    """Every live row of every table. Counts of live rows, places of keys, and what indexes find
    agree with them, or this fails.
    """
    found: Tables = {}
    for version in storage.tables():
        rows: Rows = {}
        places: dict[Key, tuple[int, int]] = {}
        parts = [*_segment_parts(storage, version), *tail_parts(version)]
        for part in parts:
            assert not rows.keys() & part.rows.keys(), "a key is live twice"
            rows |= part.rows
            places |= {key: (part.place, slot) for key, slot in part.slots.items()}
        assert storage.places(version.tid, sorted(rows)) == places, "keys and rows disagree"
        assert not storage.places(version.tid, [-1, 1 << 40])
        for index in version.indexes:
            if index.is_ready:
                _check_index(storage, version, index, parts)
        found[version.schema.name] = rows
    return found


def _segment_parts(storage: Storage, version: TableVersion) -> Iterator[Part]:
    for segment in version.segments:
        ref = segment.object(segment.manifest.segment.public_object)
        yield _part(segment.sid, segment, storage.objects.open(ref).read())


def tail_parts(version: TableVersion) -> list[Part]:
    """Live rows of each block of the tail."""
    return [_part(-block.bid, block, block.public) for block in version.tail]


def _part(place: int, found: SegmentRow | TailBlock, data: bytes | memoryview) -> Part:
    block = blocks.decode_block(data)
    keys, notes = block.columns[KEY][0].tolist(), block.columns[NOTE][0].tolist()
    assert block.rows == found.rows == len(keys)
    assert block.columns[NUMBER][0].tolist() == list(map(number_of, notes))
    slots = np.flatnonzero(live_slots(found.rows, found.live_bits))
    assert len(slots) == found.live, "the count of live rows is not the rows'"
    versions = found.versions_of(slots)
    if len(versions) == 1:
        versions = versions * len(slots)
    listed = list(zip(slots.tolist(), versions, strict=True))
    rows = {keys[slot]: (version, notes[slot]) for slot, version in listed}
    assert len(rows) == len(slots), "a key is live twice"
    return Part(place, rows, {keys[slot]: slot for slot in slots.tolist()})


def _check_index(
    storage: Storage, version: TableVersion, index: IndexRow, parts: list[Part]
) -> None:
    """For some values, and for one that no row has: what the index finds alive is what is there."""
    wanted: dict[tuple[Key, ...], set[tuple[int, int]]] = {}
    alive = {(part.place, slot) for part in parts for slot in part.slots.values()}
    for part in parts:
        for key, (_, note) in part.rows.items():
            values: dict[int, Key] = {NUMBER: number_of(note), NOTE: note}
            entry = tuple(values[column] for column in index.columns)
            wanted.setdefault(entry, set()).add((part.place, part.slots[key]))
    asked = sorted(wanted, key=repr)[:_VALUES_ASKED]
    for entry in (*asked, tuple("-" if column == NOTE else -1 for column in index.columns)):
        reach = KeyRange(prefix=entry)
        by_place = find_rows(storage, version, index.number, [reach])
        assert by_place is not None and set(by_place) == {s.sid for s in version.segments}
        found = {(place, slot) for place, slots in by_place.items() for slot in slots.tolist()}
        found |= set(find_tail_rows(storage, version, index.number, reach))
        assert found & alive == wanted.get(entry, set()), "an index disagrees with the rows"
