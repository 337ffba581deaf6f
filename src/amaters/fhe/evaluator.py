"""The real evaluator: BGV over RNS in float64 kernels. Server side; knows no secret."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.fhe import encoder
from amaters.fhe.ciphertext import (
    Ciphertext,
    PublicVector,
    SeededCiphertext,
    require_same,
)
from amaters.fhe.keys import RELINEARIZE, EvaluationKeys, expansion_exponents
from amaters.fhe.keyswitch import Switcher, evaluations, monomial, tables_of
from amaters.fhe.meta import Meta, Rules
from amaters.fhe.parameters import Parameters
from amaters.fhe.residues import to_kernel
from amaters.fhe.seeds import uniform_row
from amaters.ring import products
from amaters.ring.memory import empty
from amaters.ring.order import automorphism

if TYPE_CHECKING:
    from amaters.fhe.bundle import BundleReader

Array = NDArray[np.float64]
Addresses = NDArray[np.int64]


class BgvEvaluator:
    """``Evaluator`` of the real scheme. Immutable; thread-safe; kernels release the GIL."""

    def __init__(self, parameters: Parameters, keys: EvaluationKeys) -> None:
        self.parameters = parameters
        self.rules = Rules(parameters)
        self._keys = keys
        self._switcher = Switcher(parameters)
        self._primes = tables_of(parameters).primes

    @classmethod
    def from_bytes(cls, parameters: Parameters, keys: bytes) -> BgvEvaluator:
        """An evaluator from serialised evaluation keys. Raises: AM-1210, AM-1212."""
        return cls(parameters, EvaluationKeys.from_bytes(parameters, keys))

    @property
    def key_id(self) -> bytes:
        """The key whose ciphertexts this evaluator can switch."""
        return self._keys.key_id

    # linear

    def add(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        return self._linear([(1, a), (1, b)], 0, self.rules.add(a.meta, b.meta))

    def sub(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        return self._linear([(1, a), (-1, b)], 0, self.rules.sub(a.meta, b.meta))

    def negate(self, a: Ciphertext) -> Ciphertext:
        return self._linear([(-1, a)], 0, self.rules.negate(a.meta))

    def scale(self, a: Ciphertext, k: int) -> Ciphertext:
        """k times every slot; k is taken mod t, centred."""
        return self._linear([(k, a)], 0, self.rules.scale(a.meta, k))

    def offset(self, a: Ciphertext, k: int) -> Ciphertext:
        """k added to every slot; k is taken mod t, centred."""
        return self._linear([(1, a)], k, self.rules.offset(a.meta, k))

    def linear(self, terms: Sequence[tuple[int, Ciphertext]], offset: int = 0) -> Ciphertext:
        """sum of k_i a_i + offset in one pass over memory."""
        meta = self.rules.linear([(k, ct.meta) for k, ct in terms], offset)
        return self._linear(terms, offset, meta)

    def _linear(
        self, terms: Sequence[tuple[int, Ciphertext]], offset: int, meta: Meta
    ) -> Ciphertext:
        first = terms[0][1]
        for _, ct in terms:
            require_same(first, ct)
        addresses = np.zeros((len(terms), meta.degree + 1), dtype=np.int64)
        for k, (_, ct) in enumerate(terms):
            addresses[k, : ct.degree + 1] = _starts(ct.data)
        scalars = np.array([float(self._centred(k)) for k, _ in terms])
        out = self._empty(meta)
        primes = self._primes[: meta.level]
        products.linear(addresses, scalars, float(self._centred(offset)), out, primes)
        return self._made(first, meta, out)

    def _centred(self, k: int) -> int:
        t = self.parameters.plaintext_modulus
        return (k + t // 2) % t - t // 2

    # products

    def multiply(self, a: Ciphertext, b: Ciphertext) -> Ciphertext:
        """Degrees add (at most 3); not relinearised."""
        require_same(a, b)
        meta = self.rules.multiply(a.meta, b.meta)
        out = self._empty(meta)
        self._multiply(a, b, out, accumulate=False)
        return self._made(a, meta, out)

    def dot(self, xs: Sequence[Ciphertext], ys: Sequence[Ciphertext]) -> Ciphertext:
        """Sum of degree-1 products in one pass. Cost: reads every operand once; memory-bound."""
        if not xs or len(xs) != len(ys):
            fail("AM-1204", what=f"a dot product of {len(xs)} and {len(ys)} operands")
        meta = self.rules.dot((x.meta, y.meta) for x, y in zip(xs, ys, strict=True))
        if any(ct.degree != 1 for ct in (*xs, *ys)):
            fail("AM-1204", what="a dot product of operands that are not of degree 1")
        for ct in (*xs, *ys):
            require_same(xs[0], ct)
        out = self._empty(meta)
        a = np.array([_starts(x.data) for x in xs], dtype=np.int64)
        b = np.array([_starts(y.data) for y in ys], dtype=np.int64)
        products.dot(a, b, out, self._primes[: meta.level])
        return self._made(xs[0], meta, out)

    def multiply_accumulate(
        self, acc: Ciphertext | None, a: Ciphertext, b: Ciphertext
    ) -> Ciphertext:
        """``acc + a b``, written into ``acc`` when given."""
        if acc is None:
            return self.multiply(a, b)
        require_same(a, b)
        require_same(acc, a)
        product = self.rules.multiply(a.meta, b.meta)
        meta = self.rules.accumulate(acc.meta, product)
        if acc.degree != product.degree:
            fail("AM-1204", what=f"adding degree {product.degree} to degree {acc.degree}")
        acc.data = np.ascontiguousarray(acc.data)  # a truncated accumulator is a view
        self._multiply(a, b, acc.data, accumulate=True)
        acc.meta = meta
        return acc

    def _multiply(self, a: Ciphertext, b: Ciphertext, out: Array, *, accumulate: bool) -> None:
        x, y = _addresses(a.data), _addresses(b.data)
        primes = self._primes[: a.level]
        if a.degree == b.degree == 1:
            products.multiply_linear(x, y, out, primes, accumulate)
        else:
            products.multiply(x, y, out, primes, accumulate)

    # public operands

    def encode_public(self, slots: NDArray[np.int64]) -> PublicVector:
        """Public slots (signed or mod t) for every level, with their exact canonical norm."""
        if slots.shape != (self.parameters.slots,):
            fail("AM-1204", what=f"a vector of shape {slots.shape}")
        values = np.asarray(slots, dtype=np.int64)
        norm = encoder.public_norm(self.parameters, values)
        self.rules.require_public_norm(norm)
        message = encoder.centred(encoder.to_coefficients(self.parameters, values))
        rows = evaluations(self.parameters, message.astype(np.float64))
        return PublicVector(self.parameters, norm, int(values.min()), int(values.max()), rows)

    def add_public(self, a: Ciphertext, v: PublicVector) -> Ciphertext:
        meta = self.rules.public_add(a.meta, v.norm, v.lo, v.hi)
        out = self._empty(meta)
        addresses = np.zeros((2, a.degree + 1), dtype=np.int64)
        addresses[0] = _starts(a.data)
        addresses[1, 0] = _address(v.data)
        products.linear(addresses, np.ones(2), 0.0, out, self._primes[: a.level])
        return self._made(a, meta, out)

    def multiply_public(self, a: Ciphertext, v: PublicVector) -> Ciphertext:
        meta = self.rules.public_product(a.meta, v.norm, v.lo, v.hi)
        out = self._empty(meta)
        factor = np.array([_address(v.data)], dtype=np.int64)
        products.multiply(_addresses(a.data), factor, out, self._primes[: a.level], False)
        return self._made(a, meta, out)

    # key switches and levels

    def relinearize(self, a: Ciphertext) -> Ciphertext:
        """Degree 2 to 1 at the same level. Cost: one unmerged key switch."""
        meta = self.rules.relinearize(a.meta)
        if a.degree == 1:
            return a
        return self._made(a, meta, self._switched(a, a.data, RELINEARIZE, merged=False))

    def switch(self, a: Ciphertext) -> Ciphertext:
        """Relinearise if degree 2, merged with dropping the top limb."""
        meta = self.rules.switch(a.meta)
        if a.degree == 1:
            return self._made(a, meta, self._switcher.drop(a.data))
        return self._made(a, meta, self._switched(a, a.data, RELINEARIZE, merged=True))

    def drop(self, a: Ciphertext) -> Ciphertext:
        return self._made(a, self.rules.drop(a.meta), self._switcher.drop(a.data))

    def truncate(self, a: Ciphertext, level: int) -> Ciphertext:
        """Forget limbs: a view, no copy."""
        return self._made(a, self.rules.truncate(a.meta, level), a.data[:, :level])

    def apply_automorphism(self, a: Ciphertext, exponent: int) -> Ciphertext:
        """X -> X^exponent, then a key switch back to the secret."""
        meta = self.rules.automorphism(a.meta)
        N = self.parameters.ring_degree
        kind = exponent % (2 * N)
        if kind % 2 == 0:
            fail("AM-1204", what=f"an automorphism with the even exponent {exponent}")
        order = automorphism(N, kind)
        moved = empty((3, a.level, N))
        moved[1] = 0.0
        products.permute(a.data[0], order, moved[0])
        products.permute(a.data[1], order, moved[2])
        return self._made(a, meta, self._switched(a, moved, kind, merged=False))

    def _switched(self, a: Ciphertext, data: Array, kind: int, *, merged: bool) -> Array:
        if a.key_id != self._keys.key_id:
            fail("AM-1206", found=a.key_id.hex(), expected=self._keys.key_id.hex())
        level = data.shape[1]
        alpha = self.parameters.key_switch(level, merged=merged).alpha
        key = self._keys.get(kind, alpha, level)
        return self._switcher.key_switch(data, key, merged=merged)

    def expand(self, a: Ciphertext, count: int) -> list[Ciphertext]:
        """``count`` ciphertexts, each with one of the first coefficients of ``a``, times 2^rounds,
        in all slots.

        The other coefficients of ``a`` must be zero. Cost: count - 1 key switches.
        Leaks: nothing. Source: Angel, Chen, Laine, Setty 2018, algorithm 3 (SealPIR).
        """
        metas = self.rules.expand(a.meta, count)
        rounds = (count - 1).bit_length()
        made = [a]
        for i, exponent in enumerate(expansion_exponents(self.parameters.ring_degree, rounds)):
            moved = [self.apply_automorphism(ct, exponent) for ct in made]
            pairs = list(zip(made, moved, strict=True))
            even = [self._linear([(1, x), (1, y)], 0, y.meta) for x, y in pairs]
            odd = [
                self._shifted(self._linear([(1, x), (-1, y)], 0, y.meta), 1 << i)
                for x, y in pairs[: count - (1 << i)]
            ]
            made = even + odd
        return [self._made(ct, meta, ct.data) for ct, meta in zip(made, metas, strict=True)]

    def _shifted(self, a: Ciphertext, power: int) -> Ciphertext:
        """a X^-power: the canonical norm stays."""
        factor = monomial(self.parameters, -power)
        out = self._empty(a.meta)
        address = np.array([_address(factor)], dtype=np.int64)
        products.multiply(_addresses(a.data), address, out, self._primes[: a.level], False)
        return self._made(a, a.meta, out)

    def shrink(self, a: Ciphertext) -> Ciphertext:
        """A degree-1, level-1 ciphertext rounded to the download modulus; coefficient domain."""
        meta = self.rules.shrink(a.meta)
        return self._made(a, meta, self._switcher.shrink(a.data))

    # loading

    def expand_seeded(self, a: SeededCiphertext, level: int | None = None) -> Ciphertext:
        """The evaluator's form of a fresh ciphertext. Cost: one AES pass over c1."""
        chosen = a.meta.level if level is None else level
        meta = self.rules.truncate(a.meta, chosen)
        N = self.parameters.ring_degree
        data = empty((2, chosen, N))
        for limb in range(chosen):
            prime = self.parameters.data_primes[limb]
            to_kernel(a.c0[limb].copy(), float(prime), data[0, limb])
            uniform_row(a.seed, prime, limb, 0, data[1, limb])
        return Ciphertext(self.parameters, a.key_id, meta, data)

    def load(
        self,
        reader: BundleReader,
        buffer: bytes | memoryview,
        level: int,
        indices: Sequence[int] | None = None,
    ) -> list[Ciphertext]:
        """Ciphertexts of a bundle, expanded and truncated to ``level``."""
        return reader.expand(buffer, level, indices)

    # internals

    def _empty(self, meta: Meta) -> Array:
        return empty((meta.degree + 1, meta.level, self.parameters.ring_degree))

    def _made(self, like: Ciphertext, meta: Meta, data: NDArray[Any]) -> Ciphertext:
        return Ciphertext(self.parameters, like.key_id, meta, data)


def _address(polynomial: Array) -> int:
    """Where a C-contiguous (level, N) polynomial starts; the caller keeps the array alive."""
    return _starts(polynomial[np.newaxis])[0]


def _addresses(data: Array) -> Addresses:
    """Addresses of the polynomials of one ciphertext, truncated views included."""
    return np.array(_starts(data), dtype=np.int64)


def _starts(data: Array) -> list[int]:
    """Like ``_addresses``, without the array: a dot product asks a hundred times."""
    step, row, item = data.strides
    if data.dtype != np.float64 or item != 8 or row != 8 * data.shape[2]:
        fail("AM-1204", what="a polynomial that is not contiguous float64")
    start = data.__array_interface__["data"][0]
    return [start + i * step for i in range(data.shape[0])]
