"""Building an index online, and asking it: what works on a whole storage, for the engine and for
programs that embed it.

A build goes slice by slice: the blocks of some places are read on any thread, then a logged command
lets them enter. Rows written meanwhile are in the index from the start, so a build that was cut off
goes on where it was: at what the index does not know yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amaters.base.errors import fail
from amaters.storage.database import Group, Storage
from amaters.storage.index_reader import FAILED, REGISTERED_FROM, IndexRow
from amaters.storage.index_runs import KeyRange, Slots
from amaters.storage.rows import BatchRows, build_rows
from amaters.storage.versions import TableVersion
from amaters.wire import commands_pb2 as cb

SEGMENTS_PER_SLICE = 4
TAIL_BLOCKS_PER_SLICE = 1024


@dataclass(frozen=True, slots=True)
class Slice:
    """One step of a build, ready to be logged and applied. ``left``: places that wait after it."""

    command: cb.Command
    rows: BatchRows
    left: int

    def apply(self, storage: Storage, group: Group) -> bytes:
        """Log and apply it. Not when a segment of it has left: its objects may be gone, and what is
        logged must be readable when the state is made again. Then nothing is returned.
        """
        build = self.command.index_build
        version = storage.version(build.table_id)
        there = {segment.sid for segment in version.segments} if version is not None else set()
        if not there.issuperset(place for place in build.places if place > 0):
            return b""
        return group.apply(self.command, self.rows)


def next_slice(storage: Storage, table_id: bytes, number: int) -> Slice:
    """The next step of a build; one without places when nothing is missing, after which the index
    is ready. For any thread.
    """
    version = storage.version(table_id)
    if version is None:
        fail("AM-3091")
    with storage.reading() as db:
        reader = storage.state.indexes.reader
        waiting = reader.uncovered(db, version.tid, number)
    build = cb.IndexBuild(table_id=table_id, number=number)
    named = {segment.sid: segment for segment in version.segments}
    segments = [place for place in waiting if place in named][:SEGMENTS_PER_SLICE]
    tail = [place for place in waiting if place < 0][:TAIL_BLOCKS_PER_SLICE]
    build.places.extend(segments or tail)
    for place in segments:
        segment = named[place]
        build.objects.append(segment.object(segment.manifest.segment.public_object))
    rows = build_rows(build, storage.read_object)
    return Slice(cb.Command(index_build=build), rows, len(waiting) - len(build.places))


def find_index(storage: Storage, table_id: bytes, number: int) -> IndexRow:
    """An index of a table as last published. Raises: AM-3091."""
    version = storage.version(table_id)
    for index in version.indexes if version is not None else ():
        if index.number == number:
            return index
    fail("AM-3091")


def build_index(storage: Storage, table_id: bytes, number: int) -> None:
    """The whole build, on the calling thread. Raises: AM-3090 (its index is failed), AM-3091."""
    while not (index := find_index(storage, table_id, number)).is_ready:
        require_unique(storage, table_id, index)
        step = next_slice(storage, table_id, number)
        with storage.group() as group:
            step.apply(storage, group)


def require_unique(storage: Storage, table_id: bytes, index: IndexRow) -> None:
    """Raises: AM-3090 when a build found two rows with one value."""
    if index.state == FAILED:
        version = storage.version(table_id)
        table = version.schema.name if version is not None else ""
        fail("AM-3090", index=index.name, table=table)


def register_index(
    storage: Storage,
    table_id: bytes,
    name: str,
    columns: Sequence[int],
    *,
    unique: bool = False,
) -> int:
    """Keep an index beside those of the schema and build it; its number. ``columns``: what the
    extractor calls them. An index of this name and kind is kept as it is.

    Raises: AM-3090 (the index goes again), AM-3091 (no such table).
    """
    version = storage.version(table_id)
    if version is None:
        fail("AM-3091")
    known = {index.name: index for index in version.indexes if index.number >= REGISTERED_FROM}
    same = known.get(name)
    taken = [index.number for index in version.indexes if index.number >= REGISTERED_FROM]
    number = same.number if same else max(taken, default=REGISTERED_FROM - 1) + 1
    if same is None or (same.columns, same.unique) != (tuple(columns), unique):
        wanted = cb.IndexRegister(
            table_id=table_id, number=number, name=name, columns=columns, unique=unique
        )
        storage.append(cb.Command(index_register=wanted))
    index = find_index(storage, table_id, number)
    try:
        build_index(storage, table_id, number)
    finally:
        if find_index(storage, table_id, number).state == FAILED:
            unregister_index(storage, table_id, index.number)
    return number


def unregister_index(storage: Storage, table_id: bytes, number: int) -> None:
    """Let go of an index that ``register_index`` made."""
    gone = cb.IndexRegister(table_id=table_id, number=number)
    storage.append(cb.Command(index_register=gone))


def find_rows(
    storage: Storage, version: TableVersion, number: int, ranges: Sequence[KeyRange]
) -> dict[int, Slots] | None:
    """Slots of a version's segments whose values lie in some of ``ranges``, dead ones included.

    None: the version has no such index, or it is not ready. A segment that is not named is not
    covered any more, because it was replaced after the version was pinned. Cost: a few
    microseconds per segment.
    """
    index = next((index for index in version.indexes if index.number == number), None)
    if index is None or not index.is_ready:
        return None
    with storage.reading() as db:
        return storage.state.indexes.reader.find(db, version.tid, index, ranges)


def find_tail_rows(
    storage: Storage, version: TableVersion, number: int, wanted: KeyRange
) -> list[tuple[int, int]]:
    """Place and slot of tail rows in a range as last committed, dead ones included, by value."""
    with storage.reading() as db:
        return storage.state.indexes.reader.find_in_tail(db, version.tid, number, wanted)
