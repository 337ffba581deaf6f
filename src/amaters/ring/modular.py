"""Exact modular arithmetic in float64: centred residues, one fused multiply-add at the heart.

    h = a w;  q = (a w' + M) - M;  l = fma(a, w, -h);  r = fma(-q, p, h) + l        with w' = w / p

Source: van der Hoeven, Lecerf, Quintin 2016, "Modular SIMD arithmetic in Mathemagix", section 3; D.
Schultz's fft_small in FLINT. The rounding by M = 1.5 * 2^52 is round-to-nearest for |x| < 2^51.

Bounds (u = 2^-53, |a| <= A p, |w| <= p/2). w' has relative error <= u, and fma rounds once, so |q -
a w/p| <= 1/2 + A p u / 2 and |r| <= (1/2 + A p u) p (the factor two is slack). fma(-q, p, h) is
exact: both are integers, their difference is at most |r| + |l| < 2^53. ``growth`` iterates this
over the stages of a transform, whose butterflies add unreduced, and the assertions below are the
proof for 48-bit primes.
"""

from __future__ import annotations

from amaters.ring.compile import kernel
from amaters.ring.simd import add, fma, fms, fnma, mul, sub

PRIME_BITS_MAX = 48
LOG_DEGREE_MAX = 15
ROUNDER = 6755399441055744.0  # 1.5 * 2^52
SUM_TERMS_MAX = 50  # reduced residues of at most 0.6 p that may be added without a reduction


def growth(stages: int, prime_bits: int = PRIME_BITS_MAX, start: float = 0.6) -> float:
    """Largest |value| / p after ``stages`` forward butterflies a' = a + r without reduction."""
    bound, unit = start, 2.0 ** (prime_bits - 53)
    for _ in range(stages):
        bound = bound * (1.0 + unit) + 0.5
    return bound


_WORST = growth(LOG_DEGREE_MAX)
assert _WORST < 12.0
# Sums and differences of integers up to 12 p stay exact, and a w / p stays below 2^51.
assert 2.0 * _WORST * 2.0**PRIME_BITS_MAX < 2.0**53
assert _WORST * 2.0**PRIME_BITS_MAX / 2.0 < 2.0**51
assert SUM_TERMS_MAX * 0.6 * 2.0**46 < 2.0**51  # 46-bit primes are the largest in any chain
assert SUM_TERMS_MAX * 0.6 < 2.0 ** (53 - PRIME_BITS_MAX)


@kernel
def mulmod(a, w, wq, p, m):  # type: ignore[no-untyped-def]
    """a w mod p, |.| <= (1/2 + |a| 2^-53) p; ``wq`` = w / p, ``m`` = ROUNDER; vector or scalar."""
    h = mul(a, w)
    q = sub(fma(a, wq, m), m)
    return add(fnma(q, p, h), fms(a, w, h))


@kernel
def mulmod2(a, b, p, pinv, m):  # type: ignore[no-untyped-def]
    """a b mod p, neither operand prepared: q from the rounded product; (1/2 + |a| 2^-52) p."""
    h = mul(a, b)
    q = sub(fma(h, pinv, m), m)
    return add(fnma(q, p, h), fms(a, b, h))


@kernel
def reduce(a, p, pinv, m):  # type: ignore[no-untyped-def]
    """a mod p, centred, for |a| < 2^51 p (and below 2^53)."""
    return fnma(sub(fma(a, pinv, m), m), p, a)
