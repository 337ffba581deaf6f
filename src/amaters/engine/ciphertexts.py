"""Ciphertexts in the evaluator's form: stored slices through a cache, constants, keys."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate

from amaters.base.errors import AmatersError, fail
from amaters.base.ids import ID_BYTES
from amaters.base.lru import Lru
from amaters.engine.catalogue import TableEntry, invalid
from amaters.fhe.bundle import BundleReader
from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.merged import MergedReader
from amaters.fhe.parameters import get_parameters
from amaters.fhe.scheme import Evaluator, make_evaluator
from amaters.fhe.serial import deserialize_seeded
from amaters.plan.check import CONSTANTS_BYTES_MAX
from amaters.storage.objects import ObjectStore
from amaters.storage.versions import SegmentRow
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb
from amaters.wire.service import CHUNK_BYTES_MAX, Chunk

CONSTANTS_MAX = 1 << 14
CONSTANTS_BUDGET = 512 << 20
SliceKey = tuple[bytes, int]


@dataclass(slots=True)
class Usage:
    """What one job read; several threads add to it."""

    bytes_read: int = 0
    bytes_cached: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *, read: int = 0, cached: int = 0) -> None:
        with self._lock:
            self.bytes_read += read
            self.bytes_cached += cached


@dataclass(frozen=True, slots=True)
class _Stored:
    """One encoding of a segment: its object, how many encryptions each ciphertext sums, and how
    many changes of key it has behind it.
    """

    ref: cb.ObjectRef
    parts: int
    rekeys: int


class Evaluators:
    """One evaluator per secret key, made when first needed."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._lock = threading.Lock()
        self._made: dict[tuple[bytes, str, str], Evaluator] = {}

    def get(self, name: pb.KeyName, ref: cb.ObjectRef) -> Evaluator:
        """The evaluator of these keys. Raises: AM-1210 for keys that are none."""
        key = (name.key_id, name.parameter_set, name.scheme)
        with self._lock:
            found = self._made.get(key)
            if found is None:
                data = bytes(self._objects.open(ref).read())
                parameters = get_parameters(name.parameter_set)
                found = self._made[key] = make_evaluator(name.scheme, parameters, data)
        return found


class Slices:
    """Stored slices, truncated to the level a plan needs and expanded; hot ones stay in memory."""

    def __init__(self, objects: ObjectStore, cache_bytes: int) -> None:
        self._objects = objects
        self._cache: Lru[SliceKey, Ciphertext] = Lru(cache_bytes)

    @property
    def cached_bytes(self) -> int:
        """Bytes of expanded ciphertexts held."""
        return self._cache.held_bytes

    def begin_job(self) -> None:
        """What this job and the last one use stays."""
        self._cache.begin_round()

    def load(
        self,
        evaluator: Evaluator,
        entry: TableEntry,
        segment: SegmentRow,
        wanted: tuple[int, str, Sequence[int], int],
        usage: Usage,
    ) -> list[Ciphertext]:
        """Slices of one encoding: ``wanted`` is column id, encoding kind, slices, level.

        A slice that is cached at a higher level is truncated. Raises: AM-3053, AM-4001, AM-4007.
        """
        column_id, kind, indices, level = wanted
        item = _object_of(segment, column_id, _name(entry, column_id, kind))
        object_id = item.object_id
        found: dict[int, Ciphertext] = {}
        for index in indices:
            held = self._cache.get((object_id, index))
            if held is not None and held.level >= level:
                found[index] = held if held.level == level else evaluator.truncate(held, level)
        usage.add(cached=sum(ct.data.nbytes for ct in found.values()))
        missing = [index for index in indices if index not in found]
        if missing:
            ref = segment.object(object_id)
            stored = _Stored(ref, item.parts or segment.parts, item.rekeys)
            for index, ct in zip(
                missing,
                self._read(evaluator, entry, stored, (column_id, kind, missing, level), usage),
                strict=True,
            ):
                self._cache.put((object_id, index), ct, ct.data.nbytes)
                found[index] = ct
        return [found[index] for index in indices]

    def _read(
        self,
        evaluator: Evaluator,
        entry: TableEntry,
        stored: _Stored,
        wanted: tuple[int, str, Sequence[int], int],
        usage: Usage,
    ) -> list[Ciphertext]:
        column_id, kind, indices, level = wanted
        table, parts = entry.table, stored.parts
        column = table.column(column_id)
        count = next(shape.slices for shape in column.encodings if shape.kind == kind)
        fresh = BundleReader(entry.parameters, table.key_id, table.scheme)
        merged = MergedReader(
            entry.parameters, table.key_id, table.scheme, parts=parts, rekeys=stored.rekeys
        )
        is_sum = parts > 1 or stored.rekeys > 0
        reader = merged if is_sum else fresh
        size = reader.prefix_bytes(level, count)
        data = self._objects.open(stored.ref).read_prefix(size, reader.header_bytes(count))
        usage.add(read=size)
        try:
            if is_sum:
                return merged.load(data, level, indices, count)
            return evaluator.load(fresh, data, level, indices)
        except AmatersError as error:
            fail("AM-3053", column=column.name, what=error.message)


def _name(entry: TableEntry, column_id: int, kind: str) -> str:
    shapes = entry.table.column(column_id).encodings
    return next((shape.name for shape in shapes if shape.kind == kind), kind)


def _object_of(segment: SegmentRow, column_id: int, name: str) -> pb.EncodingObject:
    for item in segment.manifest.segment.encodings:
        if item.column_id == column_id and item.encoding == name:
            return item
    fail("AM-3053", column=f"number {column_id}", what=f"the segment has no {name} encoding")


class Constants:
    """Expanded constants of statements by the id their client gave them."""

    def __init__(self) -> None:
        self._held: Lru[bytes, list[Ciphertext]] = Lru(CONSTANTS_BUDGET, keep_last=True)

    def find(self, constants_id: bytes) -> list[Ciphertext]:
        """Constants that were put. Raises: AM-3050."""
        if not constants_id:
            return []
        found = self._held.get(constants_id)
        if found is None:
            fail("AM-3050")
        return found

    def expand(
        self, request: pb.PutConstantsRequest, data: bytearray, evaluator: Evaluator, threads: int
    ) -> None:
        """Keep uploaded constants in the evaluator's form. Raises: AM-12xx for anything else."""
        name, view = request.name, memoryview(data)
        stops = list(accumulate(request.sizes))

        def one(index: int) -> Ciphertext:
            part = view[stops[index] - request.sizes[index] : stops[index]]
            parameters = evaluator.parameters
            seeded = deserialize_seeded(part, parameters, scheme=name.scheme, key_id=name.key_id)
            return evaluator.expand_seeded(seeded)

        with ThreadPoolExecutor(threads) as pool:
            made = list(pool.map(one, range(len(stops))))
        self._held.put(request.constants_id, made, sum(ct.data.nbytes for ct in made))


async def receive_constants(
    request: pb.PutConstantsRequest, chunks: AsyncIterable[Chunk]
) -> bytearray:
    """The uploaded bytes. Raises: AM-3005, AM-3031."""
    total = sum(request.sizes)
    if len(request.constants_id) != ID_BYTES or not 0 < len(request.sizes) <= CONSTANTS_MAX:
        invalid("constants without id or sizes")
    if total > CONSTANTS_BYTES_MAX:
        invalid("constants beyond the size limit")
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(chunk) > CHUNK_BYTES_MAX or len(data) > total:
            break
    if len(data) != total:
        fail("AM-3031", expected=total, received=len(data))
    return data
