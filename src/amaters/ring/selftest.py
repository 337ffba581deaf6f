"""A check of the processor and its floating-point mode, run when the tables are imported.

The kernels need round-to-nearest, fused multiply-add and no contraction by the compiler. Libraries
in the same process can change the rounding mode or load code that does; then every result would be
silently wrong.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from amaters.base.errors import fail
from amaters.ring.compile import kernel
from amaters.ring.modular import ROUNDER, mulmod, mulmod2, reduce
from amaters.ring.simd import load, splat, store

_PRIMES = (70335457656833, 15032614913, 281474976710597)


@kernel
def probe(a, b, prime, out):  # type: ignore[no-untyped-def]
    """out = (a b by mulmod, a b by mulmod2, a reduced) in vectors. Shape: (n,), (n,), (3, n)."""
    n = a.shape[0]
    p, pinv, m = splat(prime), splat(1.0 / prime), splat(ROUNDER)
    for j in range(0, n, 4):
        x, w = load(a, j), load(b, j)
        for lane in range(4):
            out[0, j + lane] = b[j + lane] / prime
        store(out, j, mulmod(x, w, load(out, j), p, m))
        store(out, n + j, mulmod2(x, w, p, pinv, m))
        store(out, 2 * n + j, reduce(x, p, pinv, m))


def mismatch(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], prime: int, growth: float
) -> str:
    """What is wrong with the products of these integers modulo ``prime``; empty if nothing is."""
    out = np.empty((3, a.size))
    probe(a, b, float(prime), out)
    for i in range(a.size):
        x, w = int(a[i]), int(b[i])
        if any((int(r) - x * w) % prime for r in out[:2, i]) or (int(out[2, i]) - x) % prime:
            return f"{x} * {w} mod {prime}"
    if np.abs(out[:2]).max() > growth * prime or np.abs(out[2]).max() > 0.51 * prime:
        return f"a residue mod {prime} out of range"
    return ""


def require_exact_arithmetic() -> None:
    """Raises: AM-1000 when this process does not compute exactly."""
    for prime in _PRIMES:
        half = prime // 2
        edge = [half, -half, half - 1, 1, -1, 0, 2**25 + 1, half // 3]
        a = np.array([x * k for x in edge for k in (1, 2, 9)], dtype=np.float64)
        b = np.array([edge[i % 7] for i in range(a.size)], dtype=np.float64)
        what = mismatch(a, b, prime, 0.9)
        if what:
            fail("AM-1000", what=f"this processor or its floating-point mode is inexact ({what})")
