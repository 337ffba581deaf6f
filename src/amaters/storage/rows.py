"""A batch with its primary keys decoded: what the state needs to know, whether live or replayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from amaters.base.errors import fail
from amaters.wire import blocks
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

Key = int | str
ReadObject = Callable[[cb.ObjectRef], memoryview]
TAIL = -1
REMOVED = -2
CHECKED = -3


@dataclass(frozen=True, slots=True)
class NewRows:
    """Keys of one segment (``part`` >= 0, its index) or of the tail (``TAIL``), by row; the first
    one has slot ``first_slot``.
    """

    part: int
    keys: list[Key]
    block: blocks.Block | None = None  # what indexes are made of, if the table has some
    first_slot: int = 0


@dataclass(frozen=True, slots=True)
class BatchRows:
    """All keys of a commit."""

    parts: tuple[NewRows, ...]
    removed: list[tuple[Key, int]]
    moved: list[tuple[Key, int]]
    top_key: int
    dropped: list[tuple[Key, int]] = field(default_factory=list)
    checked: list[tuple[Key, int]] = field(default_factory=list)

    @property
    def replaces(self) -> bool:
        """Whether rows that are there go."""
        return bool(self.removed or self.moved or self.dropped)


CommandRows = BatchRows | tuple[BatchRows, ...]  # of a batch; of each part of several


def read_rows(
    batch: cb.Batch,
    key_column: int,
    read: ReadObject,
    decoded: Mapping[bytes, blocks.Block] | None = None,
) -> BatchRows:
    """The keys of a batch; segments' keys come from their public objects. ``decoded``: blocks that
    were read before, by object id; of the tail under an empty one.

    Raises: AM-3032 when a block lacks the key column or has another number of rows, AM-3033 when a
    key appears twice.
    """
    request, refs = batch.request, {ref.object_id: ref for ref in batch.objects}
    known, parts, top = decoded or {}, [], -1
    for part, segment in enumerate(request.segments):
        block = known.get(segment.public_object)
        if block is None:
            block = blocks.decode_block(read(refs[segment.public_object]))
        keys, highest = _keys(block, key_column, segment.rows, segment.first_slot)
        kept = block if batch.indexed else None
        parts.append(NewRows(part, keys, kept, segment.first_slot))
        top = max(top, highest)
    if request.tail.rows:
        block = known.get(b"") or blocks.decode_block(request.tail.public_block)
        keys, highest = _keys(block, key_column, request.tail.rows)
        parts.append(NewRows(TAIL, keys, block if batch.indexed else None))
        top = max(top, highest)
    _check_distinct(parts)
    removed = _versions(request.removed, key_column)
    moved = _versions(request.moved, key_column)
    dropped = _versions(request.dropped, key_column)
    checked = _versions(request.checked, key_column)
    return BatchRows(tuple(parts), removed, moved, top, dropped, checked)


def build_rows(build: cb.IndexBuild, read: ReadObject) -> BatchRows:
    """The blocks of the segments of a slice of an index build, as parts in their order."""
    parts = tuple(
        NewRows(number, [], blocks.decode_block(read(ref)))
        for number, ref in enumerate(build.objects)
    )
    return BatchRows(parts, [], [], -1)


def block_keys(data: bytes | memoryview, key_column: int, rows: int) -> tuple[list[Key], int]:
    """Keys as SQLite keeps them (uint64 as its two's complement) and the highest integer one."""
    return _keys(blocks.decode_block(data), key_column, rows)


def _keys(block: blocks.Block, key_column: int, rows: int, first: int = 0) -> tuple[list[Key], int]:
    """Keys from slot ``first`` on."""
    values, valid = block.columns.get(key_column, (np.empty(0), np.empty(0, dtype=np.bool_)))
    values, valid = values[first:], valid[first:]
    if block.rows != rows or len(values) != rows - first or not bool(valid.all()):
        fail("AM-3032", table="", what="a block without one primary key per row")
    if values.dtype == object:
        return values.tolist(), -1
    highest = int(values.max()) if len(values) else -1
    return values.view(np.int64).tolist(), highest


def _versions(listed: pb.KeyVersions, key_column: int) -> list[tuple[Key, int]]:
    if not listed.keys:
        return []
    versions = list(listed.versions)
    keys, _ = block_keys(listed.keys, key_column, len(versions))
    _check_distinct([NewRows(REMOVED, keys)])
    return list(zip(keys, versions, strict=True))


def _check_distinct(parts: list[NewRows]) -> None:
    total = sum(len(part.keys) for part in parts)
    if len({key for part in parts for key in part.keys}) == total:
        return
    seen: dict[Key, int] = {}
    every = (key for part in parts for key in part.keys)
    for row, key in enumerate(every):
        if key in seen:
            fail("AM-3033", first=seen[key] + 1, second=row + 1)
        seen[key] = row
