"""Vectors on their way up: for every segment what the partners of its slots in a join say, or what
a mask says that was decrypted (``client.refreshing``), encrypted.

All slots of all segments are sent whatever is in them, so the size of a request depends on how many
segments and vectors there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from amaters.base import errors
from amaters.client.rows import open_block
from amaters.client.session import Session
from amaters.columns.batch import ColumnBatch, concatenate
from amaters.columns.schema import Table
from amaters.fhe.parameters import Parameters
from amaters.fhe.serial import serialize
from amaters.plan.circuit import CompiledPlan
from amaters.plan.prepare import Prepared
from amaters.plan.virtual import VectorInput
from amaters.wire import service_pb2 as pb

Slots = NDArray[np.int64]
Segment = tuple[bytes, Slots, ColumnBatch]
Masks = Mapping[bytes, Mapping[int, NDArray[np.bool_]]]  # by segment and column id; all slots
BYTES_MAX = 2 << 30  # what an engine takes with one statement


@dataclass(frozen=True, slots=True)
class Vectors:
    """Rows of the fact by segment with their virtual columns; none for a plan without any.

    ``masks``: the virtual columns that are no part of these rows.
    """

    session: Session
    table: Table
    inputs: tuple[VectorInput, ...] = ()
    segments: tuple[Segment, ...] = ()
    masks: Masks = field(default_factory=dict)

    @property
    def segment_ids(self) -> list[bytes]:
        """Segments in the order of their vectors."""
        return [segment_id for segment_id, _, _ in self.segments]

    @property
    def levels(self) -> list[int]:
        """The level of each ciphertext, in the order they are sent."""
        return [item.level for item in self.inputs] * len(self.segments)

    def sizes(self) -> dict[int, int]:
        """Bytes of a ciphertext of each level."""
        firsts = {item.level: item for item in reversed(self.inputs)}
        if not self.segments:
            return {}
        made = self.of_segment(self.segments[0], tuple(firsts.values()))
        return {level: len(blob) for level, blob in zip(firsts, made, strict=True)}

    def of_segment(self, segment: Segment, inputs: Sequence[VectorInput]) -> list[bytes]:
        """Serialised ciphertexts of one segment. Cost: about 3 ms each."""
        segment_id, places, rows = segment
        masks = self.masks.get(segment_id, {})
        wanted = {item.column_id for item in inputs}.difference(masks)
        slots = {column_id: self._slots(column_id, places, rows) for column_id in wanted}

        scheme = self.session.scheme_of(self.table)

        def one(item: VectorInput) -> bytes:
            if item.column_id in masks:
                bits = masks[item.column_id].astype(np.int64)[np.newaxis]
                (made,) = scheme.encrypt(bits, [(0, 1)], item.level)
                return serialize(made)
            column = self.table.column(item.column_id)
            kinds = [shape.kind for shape in column.encodings]
            at = kinds.index(item.kind)  # type: ignore[arg-type]
            values = slots[item.column_id][at][item.index : item.index + 1]
            bounds = [column.encodings[at].bounds[item.index]]
            (made,) = scheme.encrypt(values, bounds, item.level)
            return serialize(made)

        with ThreadPoolExecutor(self.session.outside.threads) as pool:
            return list(pool.map(one, inputs))

    def _slots(self, column_id: int, places: Slots, rows: ColumnBatch) -> tuple[Slots, ...]:
        data = rows.columns[column_id]
        return self.table.column(column_id).encode(
            data.values,
            data.valid,
            slots=self.session.parameters_of(self.table).slots,
            positions=places,
        )


async def read_vectors(
    session: Session, table: Table, prepared: Prepared, handle: bytes, masks: Masks | None = None
) -> Vectors:
    """What the vectors of a plan hold, from the public keys of all rows it may select.

    Leaks: that the public key columns were read. Raises: AM-2147 when they are too large to send.
    """
    compiled = prepared.compiled
    assert compiled is not None
    inputs = compiled.vectors_sent
    if not inputs:
        return Vectors(session, table)
    made = masks or {}
    if all(item.column_id in of for of in made.values() for item in inputs) and masks is not None:
        segments = [(segment_id, np.empty(0, np.int64), ColumnBatch({}, 0)) for segment_id in made]
        return Vectors(session, table, inputs, tuple(segments), made)
    found: dict[bytes, list[tuple[Slots, ColumnBatch]]] = {}
    request = pb.FetchRequest(
        handle=handle, plan=prepared.fetch.to_bytes(), column_ids=sorted(table.always_needed)
    )
    async for block in session.service.fetch_rows(request):
        opened = open_block(session, table, block, table.always_needed)
        found.setdefault(block.segment_id, []).append((opened.slots, opened.rows))
    size = len(found) * vector_bytes(compiled, session.parameters_of(table))
    if size > BYTES_MAX:
        errors.fail("AM-2147", table=table.name, bytes=size, limit=BYTES_MAX)
    joined = tuple(_joined(found, session.parameters_of(table)))
    return Vectors(session, table, inputs, joined, made)


def vector_bytes(compiled: CompiledPlan, parameters: Parameters) -> int:
    """Bytes of the vectors of one segment, nearly."""
    return sum(
        sum(parameters.residue_bytes(item.level)) * parameters.slots
        for item in compiled.vectors_sent
    )


def _joined(
    found: Mapping[bytes, list[tuple[Slots, ColumnBatch]]], parameters: Parameters
) -> Iterator[Segment]:
    for segment_id, parts in found.items():
        places = np.concatenate([slots for slots, _ in parts])
        if len(set(places.tolist())) != len(places) or int(places.max()) >= parameters.slots:
            errors.fail("AM-5012", what="it returned one slot twice, or one that cannot be")
        yield segment_id, places, concatenate([rows for _, rows in parts])
