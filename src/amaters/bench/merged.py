"""Cold reads of merged segments, and what merging costs: per row of a 32-bit column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amaters.bench import meter
from amaters.bench.record import Record
from amaters.bench.workbench import Workbench
from amaters.fhe.bundle import BundleReader, pack_bundle
from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.merged import MergedReader
from amaters.fhe.merging import Shape, Source, merge_bundles

SLICES = 4  # measured; a 32-bit column for comparisons has 49
COLUMN_SLICES = 49
LEVEL = 6  # that a comparison of 32 bits reads
PARTS = (1, 2, 8)


@dataclass(frozen=True, slots=True)
class _Memory:
    data: bytes

    def read(self, offset: int = 0, length: int | None = None) -> memoryview:
        stop = len(self.data) if length is None else offset + length
        return memoryview(self.data)[offset:stop]


def merged(bench: Workbench, rows: int | None) -> list[Record]:
    """``rows`` is not used: a segment is full. Field ``cold_us_per_row``: checking, unpacking and
    expanding; ``core_us_per_row``: adding up, which a segment pays once; ``stored_bytes_per_row``:
    c0 and seeds, beyond two parts c0 and c1.
    """
    slots = bench.parameters.slots
    shape = Shape(
        bench.parameters,
        bench.client.key_id,
        "bgv",
        "digits",
        SLICES,
        bench.parameters.max_level,
    )
    values = np.random.default_rng(1).integers(0, 2, (SLICES, slots))
    fresh = []
    for part in range(max(PARTS)):
        window = np.zeros_like(values)
        share = slots // max(PARTS)
        window[:, part * share : (part + 1) * share] = values[:, part * share : (part + 1) * share]
        bundle = pack_bundle(bench.client.encrypt(window, [(0, 1)] * SLICES), shape.kind)
        fresh.append(Source(_Memory(bundle), 1))
    whole = pack_bundle(bench.client.encrypt(values, [(0, 1)] * SLICES), shape.kind)
    made = [_fresh(shape, whole)]
    for parts in PARTS[1:]:
        made.append(_summed(bench, shape, fresh[:parts], values))
    return made


def _fresh(shape: Shape, data: bytes) -> Record:
    reader = BundleReader(shape.parameters, shape.key_id)
    cold = meter.each_microseconds(lambda: reader.expand(data, LEVEL))
    return _record(shape, 1, cold, None, len(data))


def _summed(
    bench: Workbench, shape: Shape, sources: Sequence[Source], values: np.ndarray
) -> Record:
    def add() -> bytes:
        return b"".join(merge_bundles(shape, sources)[1])

    data = add()
    reader = MergedReader(shape.parameters, shape.key_id, parts=len(sources))

    def load() -> list[Ciphertext]:
        return reader.load(data, LEVEL, range(SLICES), SLICES)

    filled = shape.parameters.slots // max(PARTS) * len(sources)
    for ciphertext, expected in zip(load(), values, strict=True):
        if not np.array_equal(bench.client.decrypt(ciphertext)[:filled], expected[:filled]):
            raise AssertionError("a merged ciphertext holds other rows than its parts")
    cold, core = meter.each_microseconds(load), meter.each_microseconds(add)
    return _record(shape, len(sources), cold, core, len(data))


def _record(shape: Shape, parts: int, cold: float, core: float | None, stored_bytes: int) -> Record:
    """Figures of ``SLICES`` ciphertexts as those of one row of a whole column."""
    slots = shape.parameters.slots
    scale = COLUMN_SLICES / SLICES / slots
    return Record(
        f"merged_{parts}" if parts > 1 else "fresh",
        32,
        slots,
        limbs=LEVEL,
        cold_us_per_row=cold * scale,
        core_us_per_row=None if core is None else core * scale,
        extra={"parts": parts, "stored_bytes_per_row": stored_bytes * scale},
    )
