"""Vectors that came with a statement: ciphertexts of virtual columns, by segment."""

from __future__ import annotations

from collections.abc import Sequence

from amaters.engine.catalogue import invalid
from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.scheme import Evaluator
from amaters.plan.circuit import CompiledPlan


class SentVectors:
    """The vectors of one job, sent in the order of its segments and its circuit's inputs.

    Raises: AM-3005 when they are more or fewer than segments times vectors.
    """

    def __init__(
        self,
        plan: CompiledPlan,
        segment_ids: Sequence[bytes],
        ciphertexts: Sequence[Ciphertext],
        evaluator: Evaluator,
    ) -> None:
        wanted = plan.vectors_sent
        if len(segment_ids) * len(wanted) != len(ciphertexts) or (segment_ids and not wanted):
            invalid("vectors for other segments than it names")
        if len(set(segment_ids)) != len(segment_ids):
            invalid("vectors that name a segment twice")
        self._evaluator = evaluator
        self._first = {segment: at * len(wanted) for at, segment in enumerate(segment_ids)}
        self._place = {(item.column_id, item.kind, item.index): i for i, item in enumerate(wanted)}
        self._ciphertexts = ciphertexts

    def load(
        self, segment_id: bytes, column_id: int, kind: str, indices: Sequence[int], level: int
    ) -> list[Ciphertext]:
        """The vectors of one encoding for one segment, at ``level``. Raises: AM-3005."""
        first = self._first.get(segment_id)
        if first is None:
            invalid("no vectors for a segment that it reads")
        found = [
            self._ciphertexts[first + self._place[column_id, kind, index]] for index in indices
        ]
        return [ct if ct.level <= level else self._evaluator.truncate(ct, level) for ct in found]
