"""Compiled loops over secret values. No branch, index or division depends on a secret.

Transforms are called from Python, limb by limb: inlined into these loops they would be compiled
again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.ring.compile import kernel
from amaters.ring.modular import ROUNDER, mulmod, mulmod2, reduce

Row = NDArray[np.float64]

_M1 = np.uint64(0x5555555555555555)
_M2 = np.uint64(0x3333333333333333)
_M4 = np.uint64(0x0F0F0F0F0F0F0F0F)
_H01 = np.uint64(0x0101010101010101)
_LOW21 = np.uint64((1 << 21) - 1)


@kernel
def _popcount(x: Any) -> Any:  # pragma: no cover
    x = x - ((x >> np.uint64(1)) & _M1)
    x = (x & _M2) + ((x >> np.uint64(2)) & _M2)
    x = (x + (x >> np.uint64(4))) & _M4
    return (x * _H01) >> np.uint64(56)


@kernel
def centred_binomial(words: NDArray[np.uint64], out: NDArray[np.int64]) -> None:  # pragma: no cover
    """CBD(21): the difference of two sums of 21 fair coins, from the low 42 bits of each word."""
    for i in range(out.size):
        heads = _popcount(words[i] & _LOW21)
        tails = _popcount((words[i] >> np.uint64(21)) & _LOW21)
        out[i] = np.int64(heads) - np.int64(tails)


@kernel
def noisy_plaintext(
    message: NDArray[np.int64],
    words: NDArray[np.uint64],
    coins: NDArray[np.uint32],
    out: NDArray[np.float64],
) -> None:  # pragma: no cover
    """lift(m) + t e per coefficient: e from CBD(21), lift(m) = m - t with probability m / t, else
    m.

    So lift(m) has mean zero whatever m is (up to t 2^-32), and variance at most t^2 / 4.
    """
    t = np.int64(65537)
    for i in range(out.size):
        heads = _popcount(words[i] & _LOW21)
        tails = _popcount((words[i] >> np.uint64(21)) & _LOW21)
        error = np.int64(heads) - np.int64(tails)
        # coin t / 2^32 is uniform in [0, t): below m with probability m / t.
        drawn = np.int64((np.uint64(coins[i]) * np.uint64(65537)) >> np.uint64(32))
        down = (drawn - message[i]) >> np.int64(63)  # -1 where drawn < m, else 0
        out[i] = np.float64(message[i] + t * (error + down))


@kernel
def recombine(rows: NDArray[np.float64], primes: Row, out: Row) -> float:  # pragma: no cover
    """The integer below Q/2 with these scaled residues, mod t, centred; returns the largest |x| /
    Q.

    With y_i = x (Q/q_i)^-1 mod q_i the integer is sum y_i Q/q_i - k Q, k the nearest integer to
    sum y_i / q_i, and all moduli are 1 mod t: so it is sum y_i - k mod t.
    """
    t = 65537.0
    largest = 0.0
    for i in range(out.size):
        fraction = 0.0
        total = 0.0
        for limb in range(rows.shape[0]):
            fraction += rows[limb, i] / primes[limb]
            total += reduce(rows[limb, i], t, 1.0 / t, ROUNDER)
        k = np.rint(fraction)
        largest = max(largest, abs(fraction - k))
        out[i] = reduce(total - k, t, 1.0 / t, ROUNDER)
    return largest


@kernel
def reduce_row(x: Row, prime: float) -> None:  # pragma: no cover
    """x mod p in place, centred."""
    pinv = 1.0 / prime
    for i in range(x.size):
        x[i] = reduce(x[i], prime, pinv, ROUNDER)


@kernel
def add_product(total: Row, a: Row, b: Row, prime: float) -> None:  # pragma: no cover
    """total + a b mod p, in place; reduced operands."""
    pinv = 1.0 / prime
    for i in range(total.size):
        product = mulmod2(a[i], b[i], prime, pinv, ROUNDER)
        total[i] = reduce(total[i] + product, prime, pinv, ROUNDER)


@kernel
def key_row(
    a: Row, secret: Row, error: Row, source: Row, factor: float, prime: float, out: Row
) -> None:  # pragma: no cover
    """out = factor source + error - a secret mod p, reduced: one row of a switching key."""
    pinv = 1.0 / prime
    for i in range(out.size):
        value = error[i] + mulmod(source[i], factor, factor / prime, prime, ROUNDER)
        value -= mulmod2(a[i], secret[i], prime, pinv, ROUNDER)
        out[i] = reduce(value, prime, pinv, ROUNDER)


@kernel
def nonnegative(x: Row, out: NDArray[np.int64]) -> None:  # pragma: no cover
    """Centred residues mod t as integers in [0, t)."""
    for i in range(x.size):
        value = np.int64(x[i])
        out[i] = value + (np.int64(65537) & (value >> np.int64(63)))


@kernel
def subtract_product(
    x: Row, c: Row, secret: Row, secret_quotients: Row, prime: float
) -> None:  # pragma: no cover
    """x = x - c s mod p in place, reduced; |x| below 12 p, c and s reduced."""
    pinv = 1.0 / prime
    for i in range(x.size):
        product = mulmod(c[i], secret[i], secret_quotients[i], prime, ROUNDER)
        x[i] = reduce(x[i] - product, prime, pinv, ROUNDER)


@kernel
def multiply_add(
    x: Row, secret: Row, secret_quotients: Row, c: Row, prime: float
) -> None:  # pragma: no cover
    """x = x s + c mod p in place, reduced; operands below 12 p."""
    pinv = 1.0 / prime
    for i in range(x.size):
        product = mulmod(x[i], secret[i], secret_quotients[i], prime, ROUNDER)
        x[i] = reduce(product + c[i], prime, pinv, ROUNDER)
