"""Compiled loops over secret values. No branch, index or division depends on a secret."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.fhe.residues import from_kernel, to_kernel
from amaters.ring.compile import kernel
from amaters.ring.modular import ROUNDER, mulmod, mulmod2, reduce
from amaters.ring.products import copy_row
from amaters.ring.transform import forward, inverse

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
def slots_to_message(
    slots: NDArray[np.uint64], w: Row, wq: Row, scale: float, out: NDArray[np.int64]
) -> None:  # pragma: no cover
    """Coefficients in [0, t) of the polynomial with these slots (slot order, in [0, t);
    overwritten).
    """
    t = 65537.0
    x = np.empty(slots.size)
    to_kernel(slots, t, x)
    inverse(x, w, wq, t, scale)
    for i in range(x.size):
        value = np.int64(x[i])
        out[i] = value + (np.int64(65537) & (value >> np.int64(63)))


@kernel
def message_to_slots(
    message: NDArray[np.float64], w: Row, wq: Row, out: NDArray[np.uint64]
) -> None:  # pragma: no cover
    """Inverse of ``slots_to_message`` for centred coefficients, which are overwritten."""
    t = 65537.0
    forward(message, w, wq, t)
    for i in range(message.size):
        message[i] = reduce(message[i], t, 1.0 / t, ROUNDER)
    from_kernel(message, t, out)


@kernel
def encrypt_limbs(
    noisy: Row,
    c1: NDArray[np.uint64],
    secret: NDArray[np.float64],
    secret_quotients: NDArray[np.float64],
    w: NDArray[np.float64],
    wq: NDArray[np.float64],
    primes: Row,
    out: NDArray[np.uint64],
) -> None:  # pragma: no cover
    """c0 = noisy - c1 s in every limb.

    Shape: noisy (N,) integer coefficients below q_min / 2; c1, out uint64 (level, N) canonical,
    SEAL's order; secret (>= level, N) in kernel order, reduced.
    """
    n = noisy.size
    x, y = np.empty(n), np.empty(n)
    for limb in range(out.shape[0]):
        p = primes[limb]
        pinv = 1.0 / p
        s, sq = secret[limb], secret_quotients[limb]
        copy_row(noisy, x)
        forward(x, w[limb], wq[limb], p)
        to_kernel(c1[limb], p, y)
        for i in range(n):
            x[i] = reduce(x[i] - mulmod(y[i], s[i], sq[i], p, ROUNDER), p, pinv, ROUNDER)
        from_kernel(x, p, out[limb])


@kernel
def phase(
    data: NDArray[np.float64],
    secret: NDArray[np.float64],
    secret_quotients: NDArray[np.float64],
    w: NDArray[np.float64],
    wq: NDArray[np.float64],
    primes: Row,
    scales: Row,
    out: NDArray[np.float64],
) -> None:  # pragma: no cover
    """Coefficients of c0 + c1 s + c2 s^2 + ... in every limb, times ``scales`` N, reduced (Horner).

    Shape: data (degree + 1, level, N) kernel order; out (level, N), natural order.
    """
    n = data.shape[2]
    for limb in range(data.shape[1]):
        p = primes[limb]
        pinv = 1.0 / p
        s, sq, x = secret[limb], secret_quotients[limb], out[limb]
        copy_row(data[data.shape[0] - 1, limb], x)
        for power in range(data.shape[0] - 2, -1, -1):
            c = data[power, limb]
            for i in range(n):
                x[i] = reduce(mulmod(x[i], s[i], sq[i], p, ROUNDER) + c[i], p, pinv, ROUNDER)
        inverse(x, w[limb], wq[limb], p, scales[limb])


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
def small_product(
    a: Row,
    secret: Row,
    secret_quotients: Row,
    w: Row,
    wq: Row,
    iw: Row,
    iwq: Row,
    prime: float,
    scale: float,
    out: Row,
) -> None:  # pragma: no cover
    """a s over the integers, for a product below prime / 2. All in natural order but ``secret``."""
    copy_row(a, out)
    forward(out, w, wq, prime)
    for i in range(out.size):
        out[i] = mulmod(out[i], secret[i], secret_quotients[i], prime, ROUNDER)
    inverse(out, iw, iwq, prime, scale)


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
