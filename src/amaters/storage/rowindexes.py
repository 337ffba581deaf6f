"""Rows by the values of an index, at the moment they are asked for.

The state knows more than a published version when a writer is between the two; then its tail
entries may lack rows that the version still has. What was read counts if nothing moved meanwhile;
else the tail, and segments that an index no longer covers, are looked at row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from amaters.base.errors import fail
from amaters.storage.database import Storage
from amaters.storage.index_reader import IndexRow
from amaters.storage.index_runs import KeyRange, Slots, encode_rows
from amaters.storage.publicblocks import Place, PublicBlocks
from amaters.storage.rows import Key
from amaters.storage.versions import TableVersion, live_slots

GLANCES = 4

Spots = list[tuple[Place, Slots]]


def find_spots(
    storage: Storage, public: PublicBlocks, table_id: bytes, name: str, wanted: KeyRange
) -> tuple[IndexRow, Spots]:
    """Places and slots of the live rows whose values in the index of a name lie in a range.

    Raises: AM-3021, AM-3091 (no such index, or it is not ready).
    """
    for _ in range(GLANCES):
        version = _version(storage, table_id)
        index = _index(version, name)
        with storage.reading() as db:
            reader = storage.state.indexes.reader
            segments = reader.find(db, version.tid, index, [wanted])
            tail = reader.find_in_tail(db, version.tid, index.number, wanted)
            row = db.one("SELECT position FROM applied")
        is_current = storage.position >= (row or (0,))[0]
        if is_current and storage.version(table_id) is version:
            return index, _living(version, segments, tail)
    found: Spots = []
    places: list[Place] = [*version.segments, *version.tail]
    for place in places:
        slots = _scanned(storage, public, place, index, wanted)
        if len(slots):
            found.append((place, slots))
    return index, found


def _version(storage: Storage, table_id: bytes) -> TableVersion:
    version = storage.version(table_id)
    if version is None:
        fail("AM-3021")
    return version


def _index(version: TableVersion, name: str) -> IndexRow:
    for index in version.indexes:
        if index.name.lower() == name.lower() and index.is_ready:
            return index
    fail("AM-3091")


def _living(
    version: TableVersion, segments: dict[int, Slots], tail: Sequence[tuple[int, int]]
) -> Spots:
    """The places of a version with those of the slots that are alive."""
    listed: dict[int, list[int]] = {}
    for place, slot in tail:
        listed.setdefault(-place, []).append(slot)
    candidates: list[tuple[Place, Slots]] = [
        (segment, segments[segment.sid]) for segment in version.segments
    ]
    candidates.extend(
        (block, np.array(listed[block.bid], dtype=np.int64))
        for block in version.tail
        if block.bid in listed
    )
    alive = (
        (place, slots[live_slots(place.rows, place.live_bits)[slots]])
        for place, slots in candidates
        if len(slots)
    )
    return [(place, slots) for place, slots in alive if len(slots)]


def _scanned(
    storage: Storage, public: PublicBlocks, place: Place, index: IndexRow, wanted: KeyRange
) -> Slots:
    """The live slots of a place whose values lie in a range, by looking at every row."""
    extracted = storage.state.indexes.extractor.extract(public.of(place), index.columns)
    given = {field.column: field for field in extracted}
    first, end = wanted.interval()
    entries = encode_rows([given[column] for column in index.columns])
    hits = np.fromiter((first <= entry < end for entry in entries), np.bool_, count=len(entries))
    return np.flatnonzero(hits & live_slots(place.rows, place.live_bits))


def in_order(
    rows: Iterator[tuple[Key | None, ...]], positions: Sequence[int]
) -> list[tuple[Key | None, ...]]:
    """Rows in order of some of their values, NULL last."""
    return sorted(rows, key=lambda row: tuple(_rank(row[at]) for at in positions))


def _rank(value: Key | None) -> tuple[bool, Key]:
    return (True, 0) if value is None else (False, value)
