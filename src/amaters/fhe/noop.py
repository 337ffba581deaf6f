"""The noop scheme: slots in the clear, everything else as in the real scheme. NOT ENCRYPTION.

It computes mod t with the same ``Rules``, the same ciphertext forms and the same errors, so any
plan runs in milliseconds and can be compared with the real scheme and with a plaintext engine.
Databases refuse it unless both sides pass an explicit flag.

Automorphisms permute slots; here slot j of X -> X^g follows ``encoder.automorphism_permutation``,
the same as for real ciphertexts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log2
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.base.rng import Rng, SystemRng
from amaters.fhe import encoder
from amaters.fhe.ciphertext import (
    KEY_ID_BYTES,
    SEED_BYTES,
    Ciphertext,
    PublicVector,
    SeededCiphertext,
    origin_of,
    require_same,
)
from amaters.fhe.meta import Meta, Rules
from amaters.fhe.parameters import Parameters

if TYPE_CHECKING:
    from amaters.fhe.bundle import BundleReader
    from amaters.fhe.scheme import ClientScheme

Slots = NDArray[np.int64]


class NoopEvaluator:
    """``Evaluator`` of the noop scheme."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.rules = Rules(parameters)
        self._t = parameters.plaintext_modulus

    @classmethod
    def from_bytes(cls, parameters: Parameters, keys: bytes) -> NoopEvaluator:
        """An evaluator; the noop scheme's evaluation keys are empty. Raises: AM-1210 if they are
        not.
        """
        if keys:
            fail("AM-1210", kind="noop evaluation key", what="it is not empty")
        return cls(parameters)

    def add(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        require_same(a, b)
        return self._made(a, self.rules.add(a.meta, b.meta), a.data + b.data)

    def sub(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        require_same(a, b)
        return self._made(a, self.rules.sub(a.meta, b.meta), a.data - b.data)

    def negate(self, a: Ciphertext) -> Ciphertext:
        return self._made(a, self.rules.negate(a.meta), -a.data)

    def scale(self, a: Ciphertext, k: int) -> Ciphertext:
        return self._made(a, self.rules.scale(a.meta, k), a.data * (k % self._t))

    def offset(self, a: Ciphertext, k: int) -> Ciphertext:
        return self._made(a, self.rules.offset(a.meta, k), a.data + k % self._t)

    def linear(self, terms: Sequence[tuple[int, Ciphertext]], offset: int = 0) -> Ciphertext:
        meta = self.rules.linear([(k, ct.meta) for k, ct in terms], offset)
        factor, first = terms[0]
        total = first.data * (factor % self._t) + offset % self._t
        for k, ct in terms[1:]:  # below 2^33 each: reducing once is enough for 2^30 terms
            require_same(first, ct)
            total += ct.data * (k % self._t)
        return self._made(first, meta, total)

    def multiply(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        require_same(a, b)
        return self._made(a, self.rules.multiply(a.meta, b.meta), a.data * b.data)

    def dot(self, xs: Sequence[Ciphertext], ys: Sequence[Ciphertext]) -> Ciphertext:
        if not xs or len(xs) != len(ys):
            fail("AM-1204", what=f"a dot product of {len(xs)} and {len(ys)} operands")
        meta = self.rules.dot((x.meta, y.meta) for x, y in zip(xs, ys, strict=True))
        require_same(xs[0], ys[0])
        total = xs[0].data * ys[0].data
        for x, y in zip(xs[1:], ys[1:], strict=True):
            require_same(xs[0], x)
            require_same(xs[0], y)
            total += x.data * y.data
        return self._made(xs[0], meta, total)

    def multiply_accumulate(
        self, acc: Ciphertext | None, a: Ciphertext, b: Ciphertext
    ) -> Ciphertext:
        if acc is None:
            return self.multiply(a, b)
        require_same(a, b)
        require_same(acc, a)
        meta = self.rules.accumulate(acc.meta, self.rules.multiply(a.meta, b.meta))
        acc.data += a.data * b.data
        acc.data %= self._t
        acc.meta = meta
        return acc

    def encode_public(self, slots: Slots) -> PublicVector:
        values = _checked_slots(self.parameters, slots)
        norm = encoder.public_norm(self.parameters, values)
        self.rules.require_public_norm(norm)
        lo, hi = int(slots.min()), int(slots.max())
        return PublicVector(self.parameters, norm, lo, hi, values[np.newaxis])

    def add_public(self, a: Ciphertext, v: PublicVector) -> Ciphertext:
        meta = self.rules.public_add(a.meta, v.norm, v.lo, v.hi)
        return self._made(a, meta, a.data + v.data)

    def multiply_public(self, a: Ciphertext, v: PublicVector) -> Ciphertext:
        meta = self.rules.public_product(a.meta, v.norm, v.lo, v.hi)
        return self._made(a, meta, a.data * v.data)

    def relinearize(self, a: Ciphertext) -> Ciphertext:
        return self._moved(a, self.rules.relinearize)

    def switch(self, a: Ciphertext) -> Ciphertext:
        return self._moved(a, self.rules.switch)

    def drop(self, a: Ciphertext) -> Ciphertext:
        return self._moved(a, self.rules.drop)

    def truncate(self, a: Ciphertext, level: int) -> Ciphertext:
        return self._moved(a, lambda meta: self.rules.truncate(meta, level))

    def shrink(self, a: Ciphertext) -> Ciphertext:
        return self._moved(a, self.rules.shrink)

    def apply_automorphism(self, a: Ciphertext, exponent: int) -> Ciphertext:
        meta = self.rules.automorphism(a.meta)
        order = encoder.automorphism_permutation(self.parameters.ring_degree, exponent)
        return self._made(a, meta, a.data[:, order])

    def expand(self, a: Ciphertext, count: int) -> list[Ciphertext]:
        metas = self.rules.expand(a.meta, count)
        coefficients = encoder.to_coefficients(self.parameters, a.data[0])
        scaled = coefficients[:count] * (1 << (count - 1).bit_length())
        return [
            self._made(a, meta, np.full_like(a.data, int(value) % self._t))
            for meta, value in zip(metas, scaled, strict=True)
        ]

    def expand_seeded(self, a: SeededCiphertext, level: int | None = None) -> Ciphertext:
        meta = a.meta if level is None else self.rules.truncate(a.meta, level)
        return Ciphertext(a.parameters, a.key_id, meta, a.c0)

    def load(
        self,
        reader: BundleReader,
        buffer: bytes | memoryview,
        level: int,
        indices: Sequence[int] | None = None,
    ) -> list[Ciphertext]:
        return [self.expand_seeded(ct) for ct in reader.read(buffer, level, indices)]

    def _made(self, like: Ciphertext, meta: Meta, data: NDArray[Any]) -> Ciphertext:
        return Ciphertext(self.parameters, like.key_id, meta, data % self._t)

    def _moved(self, a: Ciphertext, rule: Callable[[Meta], Meta]) -> Ciphertext:
        return Ciphertext(a.parameters, a.key_id, rule(a.meta), a.data)


class NoopClientScheme:
    """``ClientScheme`` of the noop scheme. It has a key id and no key."""

    def __init__(self, parameters: Parameters, key_id: bytes, rng: Rng | None = None) -> None:
        if len(key_id) != KEY_ID_BYTES:
            fail("AM-1210", kind="key id", what=f"{len(key_id)} bytes")
        self.parameters = parameters
        self.key_id = key_id
        self.rules = Rules(parameters)
        self._rng = rng or SystemRng()

    def encrypt(
        self,
        slots: Slots,
        bounds: Sequence[tuple[int, int]],
        level: int | None = None,
        threads: int = 1,
    ) -> list[SeededCiphertext]:
        encoder.require_bounds(self.parameters, slots, bounds)
        level = self.parameters.max_level if level is None else level
        made = []
        for row, (lo, hi) in zip(slots, bounds, strict=True):
            seed = self._rng.bytes(SEED_BYTES)
            meta = self.rules.fresh(level, lo, hi, origin=origin_of(seed))
            data = (row % self.parameters.plaintext_modulus)[np.newaxis]
            made.append(SeededCiphertext(self.parameters, self.key_id, meta, data, seed))
        return made

    def encrypt_scalars(
        self,
        values: Sequence[int],
        bounds: Sequence[tuple[int, int]],
        level: int | None = None,
    ) -> list[SeededCiphertext]:
        columns = np.array(values, dtype=np.int64).reshape(-1, 1)
        return self.encrypt(np.repeat(columns, self.parameters.slots, axis=1), bounds, level)

    def encrypt_packed(
        self, values: Sequence[int], bound: tuple[int, int], level: int | None = None
    ) -> SeededCiphertext:
        message = encoder.packed_message(self.parameters, values, bound)
        seed = self._rng.bytes(SEED_BYTES)
        chosen = self.parameters.max_level if level is None else level
        meta = self.rules.fresh(chosen, *bound, origin=origin_of(seed))
        data = encoder.to_slots(self.parameters, message)[np.newaxis]
        return SeededCiphertext(self.parameters, self.key_id, meta, data, seed)

    def decrypt(self, ct: Ciphertext) -> Slots:
        if ct.key_id != self.key_id:
            fail("AM-1206", found=ct.key_id.hex(), expected=self.key_id.hex())
        self.rules.check_decodable(ct.meta)
        return encoder.decode_slots(self.parameters, ct.data[0], ct.meta)

    def evaluation_keys(self) -> bytes:
        return b""

    def rekeying_keys(self, old: ClientScheme) -> bytes:
        return b""

    def public_key(self) -> bytes:
        return b""

    def exact_noise(self, ct: Ciphertext) -> float:
        """There is no noise: log2 of the smallest possible norm."""
        return log2(1.0)


def _checked_slots(parameters: Parameters, slots: Slots) -> Slots:
    if slots.shape != (parameters.slots,):
        fail("AM-1204", what=f"a vector of shape {slots.shape} for {parameters.slots} slots")
    return np.asarray(slots, dtype=np.int64) % parameters.plaintext_modulus
