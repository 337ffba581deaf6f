"""Ciphertexts: data for the kernels plus everything public about it.

Three forms. ``SeededCiphertext`` is what a client makes and what is stored: c0 as canonical
residues and the seed of c1. ``Ciphertext`` is what the evaluator works on. ``PublicVector`` is a
plaintext operand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.fhe.meta import Meta
from amaters.fhe.parameters import Parameters

KEY_ID_BYTES = 16
SEED_BYTES = 32


@dataclass(slots=True)
class Ciphertext:
    """An operand of the evaluator. Treat as immutable; only ``multiply_accumulate`` writes to its
    ``acc``.

    Shape of ``data``: float64 (degree + 1, level, N), centred residues, evaluation domain, internal
    order; shrunk (level 0): float64 (2, 1, N), centred residues mod the download modulus,
    *coefficient* domain; noop scheme: int64 (1, N), slots in [0, t).
    """

    parameters: Parameters
    key_id: bytes
    meta: Meta
    data: NDArray[Any]

    @property
    def scheme(self) -> str:
        return "noop" if self.data.dtype == np.int64 else "bgv"

    @property
    def level(self) -> int:
        return self.meta.level

    @property
    def degree(self) -> int:
        return self.meta.degree


@dataclass(slots=True)
class SeededCiphertext:
    """A fresh encryption as made, sent and stored.

    Shape of ``c0``: uint64 (level, N), canonical residues in SEAL's bit-reversed order (noop: one
    row of slots in [0, t)). c1 is ``sampling.expand_seed(seed, ...)``: a seed is used for one
    encryption only.
    """

    parameters: Parameters
    key_id: bytes
    meta: Meta
    c0: NDArray[Any]
    seed: bytes

    @property
    def scheme(self) -> str:
        return "noop" if self.c0.dtype == np.int64 else "bgv"

    @property
    def origin(self) -> int:
        """The name of this encryption in ``Meta``: 64 bits of its seed."""
        return origin_of(self.seed)


@dataclass(slots=True)
class PublicVector:
    """Public slots ready for products and sums with ciphertexts.

    ``norm`` is log2 of the exact canonical norm of the centred polynomial; [lo, hi] its slots.
    ``data`` is the evaluator's own form (float64 (max_level, N) residues; noop: int64 (1, N)).
    """

    parameters: Parameters
    norm: float
    lo: int
    hi: int
    data: NDArray[Any]


def origin_of(seed: bytes) -> int:
    """64 bits of a seed as the name of its encryption; equal names only for equal seeds (2^-64)."""
    return int.from_bytes(seed[:8], "little")


def require_same(a: Ciphertext, b: Ciphertext) -> None:
    """Refuse operands of different parameter sets (AM-1204) or keys (AM-1206)."""
    if a.parameters is not b.parameters and a.parameters != b.parameters:
        fail("AM-1204", what=f"parameter sets {a.parameters.name} and {b.parameters.name}")
    if a.key_id != b.key_id:
        fail("AM-1206", found=b.key_id.hex(), expected=a.key_id.hex())
