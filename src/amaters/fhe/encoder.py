"""Slots and polynomials mod t: t splits completely, so a polynomial mod X^N + 1 is N independent
slots.

Order (format v1): slot j is the value at psi^(2 r(j) + 1), r the reversal of log2(N) bits and psi
the smallest primitive 2N-th root of unity mod t. A constant polynomial has its constant in every
slot. This module is NumPy only; the client's bulk path runs the same transform as a compiled
kernel. Source: Smart, Vercauteren 2014 (slots); Longa, Naehrig 2016 (the transform).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log2

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.fhe.meta import Meta
from amaters.fhe.parameters import PLAINTEXT_MODULUS, Parameters

Slots = NDArray[np.int64]

assert PLAINTEXT_MODULUS == (1 << 16) + 1  # _reduce relies on 2^16 = -1 mod t


def bit_reversal(ring_degree: int) -> NDArray[np.int64]:
    """The permutation j -> j with its log2(N) bits reversed (its own inverse)."""
    bits = ring_degree.bit_length() - 1
    index = np.arange(ring_degree, dtype=np.int64)
    out = np.zeros_like(index)
    for i in range(bits):
        out |= ((index >> i) & 1) << (bits - 1 - i)
    return out


@lru_cache(maxsize=8)
def slot_root(ring_degree: int) -> int:
    """The smallest primitive 2N-th root of unity mod t."""
    t = PLAINTEXT_MODULUS
    step = pow(3, (t - 1) // (2 * ring_degree), t)  # 3 generates the units of the Fermat prime
    square = step * step % t
    best, power = step, step
    for _ in range(ring_degree - 1):
        power = power * square % t
        best = min(best, power)
    return best


@lru_cache(maxsize=8)
def _root_powers(ring_degree: int) -> tuple[Slots, Slots]:
    """psi^r(i) and psi^-r(i) for i = 0 .. N-1."""
    t, psi = PLAINTEXT_MODULUS, slot_root(ring_degree)
    powers = np.ones(ring_degree, dtype=np.int64)
    inverses = np.ones(ring_degree, dtype=np.int64)
    inverse = pow(psi, -1, t)
    for i in range(1, ring_degree):
        powers[i] = powers[i - 1] * psi % t
        inverses[i] = inverses[i - 1] * inverse % t
    order = bit_reversal(ring_degree)
    return powers[order], inverses[order]


def _reduce(x: Slots) -> Slots:
    """x mod t up to small multiples: |result| < 2^17 for |x| < 2^33."""
    return (x & 0xFFFF) - (x >> 16)


def to_slots(parameters: Parameters, coefficients: Slots) -> Slots:
    """Values of one polynomial in [0, t): forward transform, natural order in, slot order out."""
    N = parameters.ring_degree
    roots, _ = _root_powers(N)
    a = np.asarray(coefficients, dtype=np.int64) % PLAINTEXT_MODULUS
    blocks = 1
    while blocks < N:
        pair = a.reshape(blocks, 2, N // (2 * blocks))
        low = pair[:, 0]
        high = _reduce(_reduce(pair[:, 1] * roots[blocks : 2 * blocks, np.newaxis]))
        a = _reduce(np.stack((low + high, low - high), axis=1)).reshape(N)
        blocks *= 2
    return a % PLAINTEXT_MODULUS


def to_coefficients(parameters: Parameters, slots: Slots) -> Slots:
    """The polynomial in [0, t) with these slot values: inverse of ``to_slots``."""
    N, t = parameters.ring_degree, PLAINTEXT_MODULUS
    _, roots = _root_powers(N)
    a = np.asarray(slots, dtype=np.int64) % t
    blocks = N // 2
    while blocks >= 1:
        pair = a.reshape(blocks, 2, N // (2 * blocks))
        low, high = pair[:, 0], pair[:, 1]
        product = _reduce(_reduce((low - high) * roots[blocks : 2 * blocks, np.newaxis]))
        a = _reduce(np.stack((low + high, product), axis=1)).reshape(N)
        blocks //= 2
    return a * pow(N, -1, t) % t


def centred(values: Slots) -> Slots:
    """Representatives mod t in [-t/2, t/2]."""
    t = PLAINTEXT_MODULUS
    return (values + t // 2) % t - t // 2


def public_norm(parameters: Parameters, slots: Slots) -> float:
    """log2 of the exact canonical norm of the centred polynomial with these slots (0.0 for all
    zero).

    One complex transform: X = exp(i pi k / N) runs over the odd powers of the primitive root.
    """
    coefficients = centred(to_coefficients(parameters, slots))
    N = parameters.ring_degree
    twist = np.exp(1j * np.pi / N * np.arange(N))
    norm = float(np.abs(np.fft.fft(coefficients * twist)).max())
    return log2(max(norm, 1.0)) + 1e-9


def automorphism_permutation(ring_degree: int, exponent: int) -> NDArray[np.int64]:
    """``order`` such that slots[order] are the slots of p(X^exponent) (``exponent`` odd)."""
    reversal = bit_reversal(ring_degree)
    power = (2 * reversal + 1) * (exponent % (2 * ring_degree)) % (2 * ring_degree)
    return reversal[(power - 1) // 2]


def packed_message(parameters: Parameters, values: Sequence[int], bound: tuple[int, int]) -> Slots:
    """Coefficients of a packed plaintext: value i divided by 2^ceil(log2 count) mod t at X^i.

    Oblivious expansion multiplies by that power. Raises: AM-1207 for a value outside ``bound``.
    """
    t = parameters.plaintext_modulus
    if not 1 <= len(values) <= parameters.ring_degree:
        fail("AM-1207", index=0, what=f"{len(values)} values for one packed ciphertext")
    for index, value in enumerate(values):
        if not bound[0] <= value <= bound[1]:
            fail("AM-1207", index=index, what=f"a value outside [{bound[0]}, {bound[1]}]")
    divisor = pow(1 << (len(values) - 1).bit_length(), -1, t)
    message = np.zeros(parameters.ring_degree, dtype=np.int64)
    message[: len(values)] = [value * divisor % t for value in values]
    return message


def decode_slots(parameters: Parameters, residues: Slots, meta: Meta) -> Slots:
    """Slots mod t as the integers in [lo, lo + t). Raises: AM-1208 for one above the bound's hi."""
    values = (residues - meta.lo) % parameters.plaintext_modulus + meta.lo
    if int(values.max()) > meta.hi:
        fail("AM-1208", what="a slot lies outside its proven bound")
    return values


def residues(parameters: Parameters, row: Slots, bound: tuple[int, int]) -> NDArray[np.uint64]:
    """A new array of one row of slots mod t; division only for values beyond one t."""
    t = parameters.plaintext_modulus
    if bound[0] >= 0 and bound[1] < t:
        return row.astype(np.uint64)
    if bound[0] > -t and bound[1] < t:
        return (row + t * (row < 0)).astype(np.uint64)
    return (row % t).astype(np.uint64)


def require_bounds(parameters: Parameters, slots: Slots, bounds: Sequence[tuple[int, int]]) -> None:
    """Refuse slots of the wrong shape or outside their bounds (AM-1207; values are not named)."""
    if slots.ndim != 2 or slots.shape[1] != parameters.slots or slots.dtype != np.int64:
        fail("AM-1207", index=0, what=f"shape {slots.shape}, type {slots.dtype}")
    if len(bounds) != slots.shape[0]:
        fail("AM-1207", index=0, what=f"{len(bounds)} bounds for {slots.shape[0]} vectors")
    for index, (lo, hi) in enumerate(bounds):
        if int(slots[index].min()) < lo or int(slots[index].max()) > hi:
            fail("AM-1207", index=index, what=f"a slot outside [{lo}, {hi}]")
