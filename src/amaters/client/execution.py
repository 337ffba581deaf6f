"""Running a compiled plan: constants up, progress, and decrypted totals or masks back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from amaters.base import errors
from amaters.client.finish import GroupKey, Totals, category_value
from amaters.client.selection import Packed
from amaters.client.session import Session
from amaters.client.vectors import Masks, Vectors, read_vectors
from amaters.columns.convert import storage_dtype
from amaters.columns.schema import Table
from amaters.columns.types import Storage
from amaters.fhe.serial import deserialize, serialize
from amaters.plan.circuit import CompiledPlan
from amaters.plan.outputs import shares
from amaters.plan.prepare import Prepared
from amaters.plan.recipes import ROWS
from amaters.wire import service_pb2 as pb
from amaters.wire.blocks import decode_block
from amaters.wire.service import Chunk, chunked

Mask = NDArray[np.bool_]
BOOLEAN_BOUND = (0, 1)
CONSTANTS_AT_ONCE = 32


@dataclass(slots=True)
class Received:
    """What one job delivered, decrypted."""

    totals: Totals = field(default_factory=Totals)
    packed: Packed = field(default_factory=Packed)
    stats: pb.StatsEvent = field(default_factory=pb.StatsEvent)
    failure: errors.AmatersError | None = None

    @property
    def masks(self) -> dict[bytes, Mask]:
        """Which slots match, by segment."""
        return self.packed.masks

    def require_intact(self) -> None:
        """Raise what went wrong with a result. Only after everything else was asked for."""
        if self.failure is not None:
            raise self.failure


async def execute(
    session: Session,
    table: Table,
    prepared: Prepared,
    handle: bytes,
    masks: Masks | None = None,
) -> Received:
    """Run ``prepared`` over the snapshot's segments. Cancelling this task cancels the job.

    ``masks``: what virtual columns hold that are not a join's (``client.refreshing``). A result
    that does not decrypt ends nothing early: the engine sees the same requests as if it had, and
    the caller calls ``require_intact`` after the last of them.
    """
    compiled = prepared.compiled
    assert compiled is not None
    vectors = await read_vectors(session, table, prepared, handle, masks)
    constants_id = await _send_constants(session, prepared, compiled, vectors)
    request = pb.ExecuteRequest(
        job_id=session.new_id(),
        handle=handle,
        plan=compiled.spec_bytes,
        constants_id=constants_id,
        threads=session.outside.threads,
        vector_segments=vectors.segment_ids,
    )
    reader = _Reader(session, table, prepared, compiled)
    stream = session.service.execute(request)
    try:
        async for event in stream:
            await reader.take(event)
    finally:
        await stream.aclose()  # type: ignore[attr-defined]
    return reader.received


async def _send_constants(
    session: Session, prepared: Prepared, compiled: CompiledPlan, vectors: Vectors
) -> bytes:
    """Encrypt and send constants, then vectors, a few at a time: all would fill the memory."""
    values, levels = prepared.constants, compiled.constant_levels
    if not values and not vectors.segments:
        return b""
    if len(values) != len(levels):
        errors.fail("AM-1000", what="a plan whose constants and levels differ in number")
    # The size of a ciphertext follows from its level, so one of each level tells all sizes.
    first_of = {level: index for index, level in reversed(list(enumerate(levels)))}
    first = await asyncio.to_thread(_encrypted, session, prepared, compiled, [*first_of.values()])
    sizes = {level: len(blob) for level, blob in zip(first_of, first, strict=True)}
    sizes |= await asyncio.to_thread(vectors.sizes)
    request = pb.PutConstantsRequest(
        constants_id=session.new_id(),
        name=session.key_name_of(prepared.select.table),
        sizes=[sizes[level] for level in (*levels, *vectors.levels)],
    )
    chunks = _constant_chunks(session, prepared, compiled, vectors)
    await session.service.put_constants(request, chunks)
    return request.constants_id


async def _constant_chunks(
    session: Session, prepared: Prepared, compiled: CompiledPlan, vectors: Vectors
) -> AsyncIterator[Chunk]:
    total = len(prepared.constants)
    for start in range(0, total, CONSTANTS_AT_ONCE):
        indices = range(start, min(start + CONSTANTS_AT_ONCE, total))
        for blob in await asyncio.to_thread(_encrypted, session, prepared, compiled, indices):
            for chunk in chunked(blob):
                yield chunk
    for segment in vectors.segments:
        for blob in await asyncio.to_thread(vectors.of_segment, segment, vectors.inputs):
            for chunk in chunked(blob):
                yield chunk


def _encrypted(
    session: Session, prepared: Prepared, compiled: CompiledPlan, indices: Sequence[int]
) -> list[bytes]:
    """One serialised ciphertext per constant named, each at the level its circuit reads it."""

    scheme = session.scheme_of(prepared.select.table)

    def one(index: int) -> bytes:
        (made,) = scheme.encrypt_scalars(
            [prepared.constants[index]], [BOOLEAN_BOUND], level=compiled.constant_levels[index]
        )
        return serialize(made)

    with ThreadPoolExecutor(session.outside.threads) as pool:
        return list(pool.map(one, indices))


class _Reader:
    """Takes events one by one and decrypts what they carry."""

    def __init__(
        self, session: Session, table: Table, prepared: Prepared, compiled: CompiledPlan
    ) -> None:
        self._session = session
        self._table = table
        self._public = table.public()
        self._prepared = prepared
        self._compiled = compiled
        self._scheme = session.scheme_of(table)
        self._modulus = self._scheme.parameters.plaintext_modulus
        spec = prepared.spec
        assert spec is not None
        self._groups: list[dict[int, Storage | None]] = [] if spec.public_groups else [{}]
        self.received = Received()

    async def take(self, event: pb.ExecuteEvent) -> None:
        match event.WhichOneof("event"):
            case "progress":
                done, total = event.progress.done, event.progress.total
                self._session.report("computing", done, total, "key switches")
            case "stats":
                self.received.stats = event.stats
            case kind if self.received.failure is None:
                try:
                    await self._take_result(kind, event)
                except errors.AmatersError as failure:
                    self.received.failure = failure

    async def _take_result(self, kind: str | None, event: pb.ExecuteEvent) -> None:
        if kind == "groups":
            self._take_groups(event.groups)
        elif kind == "accumulator":
            await asyncio.to_thread(self._take_accumulator, event.accumulator)
        elif kind == "mask":
            await asyncio.to_thread(self._take_mask, event.mask)

    def _take_groups(self, event: pb.GroupsEvent) -> None:
        """Public group keys; a count of rows that needs no ciphertext comes with them."""
        spec = self._prepared.spec
        assert spec is not None
        counted = ROWS in spec.terms and not spec.encrypted_groups and spec.filter is None
        if spec.public_groups:
            self._groups = self._public_groups(spec.public_groups, event.block)
        if len(self._groups) != event.groups or (counted and len(event.rows) != event.groups):
            _misfit("it has other groups than it says")
        if counted:
            for group, rows in zip(self._groups, event.rows, strict=True):
                self.received.totals.add(self._key(group, ()), ROWS, rows)

    def _public_groups(
        self, column_ids: Sequence[int], data: bytes
    ) -> list[dict[int, Storage | None]]:
        block = decode_block(data)
        if block.rows == 0:  # the engine skipped every segment and has no values to type
            return []
        for column_id in column_ids:
            expected = storage_dtype(self._table.column(column_id).type)
            if column_id not in block.columns or block.columns[column_id][0].dtype != expected:
                _misfit("its groups are of other columns or types")
        return [
            {
                column_id: block.columns[column_id][0][row]
                if block.columns[column_id][1][row]
                else None
                for column_id in column_ids
            }
            for row in range(block.rows)
        ]

    def _key(self, group: Mapping[int, Any], categories: Sequence[int]) -> GroupKey:
        """The group's key in the order of GROUP BY."""
        spec = self._prepared.spec
        assert spec is not None
        found: dict[int, Storage | None] = {key: _plain(value) for key, value in group.items()}
        for column_id, category in zip(spec.encrypted_groups, categories, strict=True):
            found[column_id] = category_value(self._table.column(column_id), category)
        return tuple(found[column_id] for column_id in self._prepared.select.fine_groups)

    def _take_accumulator(self, event: pb.AccumulatorEvent) -> None:
        """Add the slots of one accumulator to the total of its group and term."""
        spec = self._prepared.spec
        assert spec is not None
        if event.output >= len(self._compiled.accumulators) or event.group >= len(self._groups):
            _misfit("it has an output nobody asked for")
        accumulator = self._compiled.accumulators[event.output]
        slots = self._decrypted(event.ciphertext, accumulator.factor)
        low = accumulator.lo * accumulator.segments_max
        values = (slots - low) % self._modulus + low
        total = accumulator.weight * int(values.sum())
        for categories, sign in shares(spec, self._public, accumulator.categories):
            key = self._key(self._groups[event.group], categories)
            self.received.totals.add(key, spec.terms[accumulator.term], sign * total)

    def _take_mask(self, event: pb.MaskEvent) -> None:
        """Masks or values of some segments, the digits of each slot."""
        if event.output >= len(self._compiled.packed):
            _misfit("it has a mask nobody asked for")
        output = self._compiled.packed[event.output]
        slots = self._decrypted(event.ciphertext, output.factor)
        if int(slots.max()) >= output.radix ** len(event.segment_ids):
            errors.fail("AM-5001", table=self._table.name, count=1)
        part = (output.column_id, output.weight) if output.column_id else None
        for segment_id in event.segment_ids:
            slots, numbers = np.divmod(slots, output.radix)
            self.received.packed.add(part, segment_id, numbers)

    def _decrypted(self, data: bytes, factor: int) -> NDArray[np.int64]:
        """Slots in [0, t) without the circuit's public factor."""
        scheme, kind = self._scheme, self._session.keyset.scheme
        ciphertext = deserialize(data, scheme.parameters, scheme=kind, key_id=scheme.key_id)
        slots = scheme.decrypt(ciphertext)
        return slots * pow(factor, -1, self._modulus) % self._modulus


def _plain(value: Any) -> Storage | None:
    plain: Storage | None = value.item() if isinstance(value, np.generic) else value
    return plain


def _misfit(what: str) -> NoReturn:
    errors.fail("AM-5012", what=what)
