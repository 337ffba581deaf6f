"""Public vectors of one segment: liveness, public predicates, public groups, public values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from amaters.columns.batch import ColumnBatch
from amaters.columns.schema import PublicTable
from amaters.fhe.ciphertext import Ciphertext, PublicVector
from amaters.fhe.scheme import Evaluator
from amaters.plan.circuit import CompiledPlan
from amaters.plan.evaluate import matches
from amaters.plan.graph import Vector
from amaters.plan.outputs import NOT_NULL, public_limbs

Slots = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Source(Protocol):
    """One segment as a circuit sees it.

    ``selected``: live and passing the public filter; ``members``: public group, -1 where there is
    none; both per occupied slot, as is ``batch``, the public columns.
    """

    @property
    def rows(self) -> int:
        """Occupied slots: 0 .. rows - 1."""

    @property
    def batch(self) -> ColumnBatch: ...
    @property
    def selected(self) -> Mask: ...
    @property
    def members(self) -> NDArray[np.int64]: ...

    @property
    def load(self) -> Callable[[int, str, Sequence[int], int], list[Ciphertext]]:
        """(column id, encoding kind, slices, level) -> ciphertexts at that level."""


class SegmentVectors:
    """The vectors of one segment and public group, each encoded when first used."""

    def __init__(
        self,
        plan: CompiledPlan,
        table: PublicTable,
        evaluator: Evaluator,
        source: Source,
        group: int = -1,
    ) -> None:
        self._plan = plan
        self._table = table
        self._evaluator = evaluator
        self._source = source
        self._group = group
        self._encoded: dict[int, PublicVector] = {}
        self._slots: dict[int, Slots] = {}

    def for_group(self, group: int) -> SegmentVectors:
        """The same segment for one public group."""
        return SegmentVectors(self._plan, self._table, self._evaluator, self._source, group)

    def is_neutral(self, index: int) -> bool:
        """Whether multiplying a stored value changes nothing: 1 in every occupied slot."""
        return bool(np.all(self._values(index) == 1))

    def is_zero(self, index: int) -> bool:
        """Whether the vector is 0 everywhere."""
        return not self._values(index).any()

    def encoded(self, index: int) -> PublicVector:
        """The vector for the evaluator, 0 in slots that are not occupied."""
        found = self._encoded.get(index)
        if found is None:
            slots = np.zeros(self._evaluator.parameters.slots, dtype=np.int64)
            slots[: self._source.rows] = self._values(index)
            found = self._encoded[index] = self._evaluator.encode_public(slots)
        return found

    def _values(self, index: int) -> Slots:
        found = self._slots.get(index)
        if found is None:
            found = self._slots[index] = self._computed(self._plan.vectors[index])
        return found

    def _computed(self, vector: Vector) -> Slots:
        source = self._source
        if vector.occupied:
            return np.full(source.rows, vector.scale, dtype=np.int64)
        chosen = source.selected
        for index, wanted in vector.literals:
            truth = matches(self._plan.predicates[index], source.batch, self._table)
            chosen = chosen & (truth == wanted)
        if vector.grouped:
            chosen = chosen & (source.members == self._group)
        slots = chosen.astype(np.int64) * vector.scale
        for column_id, limb, bits in vector.values:
            slots *= self._limb(column_id, limb, bits)
        return slots

    def _limb(self, column_id: int, limb: int, bits: int) -> Slots:
        column = self._source.batch.columns[column_id]
        valid = np.asarray(column.valid, dtype=np.bool_)
        if limb == NOT_NULL:
            return valid.astype(np.int64)
        encoding = public_limbs(self._table.column(column_id), bits)
        positions = np.arange(self._source.rows)
        limbs = encoding.encode(column.values, valid, self._source.rows, positions)
        return np.asarray(limbs[limb], dtype=np.int64)
