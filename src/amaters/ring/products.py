"""Products, sums and linear maps of polynomials in the evaluation domain, limb by limb.

Operands arrive as *addresses* of C-contiguous (level, N) blocks, one per polynomial: any number of
ciphertexts, truncated views included, without copies and with one compilation. The caller keeps the
arrays alive. All inputs are residues with |x| <= 0.6 p, all outputs are reduced to |x| <= 0.51 p.

Sums of products are exact without a reduction per term (``_fold``): with H in [2^100, 2^101), whose
unit is 2^48,
    H' = fma(a, b, H);  s = H' - H;  low += fma(a, b, -s)
adds a b to H + low exactly: s is a multiple of 2^48, |a b - s| <= 2^47. Source: Ogita, Rump, Oishi
2005, "Accurate sum and dot product" (error-free transformation), here with a fixed exponent.
"""

from __future__ import annotations

from amaters.ring.compile import kernel
from amaters.ring.modular import PRIME_BITS_MAX, ROUNDER, mulmod, mulmod2, reduce
from amaters.ring.simd import add, fma, fms, load, load_from, splat, store, sub

_LINEAR_BLOCK = 512  # 4 KiB of the result stay in the level-1 cache while the terms are added
TOGETHER = 3  # terms in one pass: twelve streams, more than that evict each other
_HIGH = 1.5 * 2.0**100
_UNIT = 2.0**48

# One pass puts at most 2 TOGETHER products of (0.6 p)^2 into one accumulator.
assert 2 * TOGETHER * 0.36 * 2.0 ** (2 * PRIME_BITS_MAX) < 2.0**99  # H stays within its binade
assert 2 * TOGETHER * _UNIT / 2 + 2.0**PRIME_BITS_MAX < 2.0**52  # low stays exact


@kernel
def _fold(high, low, p, pinv, m, base):  # type: ignore[no-untyped-def]
    """high - base + low mod p, centred."""
    return reduce(add(reduce(sub(high, base), p, pinv, m), low), p, pinv, m)


@kernel
def _dot_row(a, b, first, stop, row, out, prime):  # type: ignore[no-untyped-def]
    """Adds terms first .. stop - 1 to one row of the three results; term 0 starts them."""
    rows, n = out.shape[1], out.shape[2]
    half, full = rows * n, 2 * rows * n
    base, zero, m = splat(_HIGH), splat(0.0), splat(ROUNDER)
    p, pinv = splat(prime), splat(1.0 / prime)
    for at in range(row * n, row * n + n, 4):
        h0, h1, h2, l0, l1, l2 = base, base, base, zero, zero, zero
        if first > 0:
            l0, l1, l2 = load(out, at), load(out, half + at), load(out, full + at)
        for k in range(first, stop):
            x0, x1 = load_from(a[k, 0], at), load_from(a[k, 1], at)
            y0, y1 = load_from(b[k, 0], at), load_from(b[k, 1], at)
            g0, g1, g2 = fma(x0, y0, h0), fma(x0, y1, h1), fma(x1, y1, h2)
            f1 = fma(x1, y0, g1)
            l0 = add(l0, fms(x0, y0, sub(g0, h0)))
            l1 = add(l1, add(fms(x0, y1, sub(g1, h1)), fms(x1, y0, sub(f1, g1))))
            l2 = add(l2, fms(x1, y1, sub(g2, h2)))
            h0, h1, h2 = g0, f1, g2
        store(out, at, _fold(h0, l0, p, pinv, m, base))
        store(out, half + at, _fold(h1, l1, p, pinv, m, base))
        store(out, full + at, _fold(h2, l2, p, pinv, m, base))


@kernel
def dot(a, b, out, primes):  # type: ignore[no-untyped-def]
    """out = sum over k of (a_k0 + a_k1 s)(b_k0 + b_k1 s), degree 2.

    Shape: a, b int64 (K, 2) addresses of (L, N); out (3, L, N). Cost: reads every operand once, as
    fast as memory delivers: whole rows of a few operands at a time are what its prefetchers follow.
    """
    for row in range(out.shape[1]):
        for first in range(0, a.shape[0], TOGETHER):
            _dot_row(a, b, first, min(first + TOGETHER, a.shape[0]), row, out, primes[row])


@kernel
def multiply_linear(a, b, out, primes, accumulate):  # type: ignore[no-untyped-def]
    """``multiply`` for two operands of degree 1: everything is read and written once."""
    rows, n = out.shape[1], out.shape[2]
    half, full = rows * n, 2 * rows * n
    a0, a1, b0, b1 = a[0], a[1], b[0], b[1]
    for row in range(rows):
        prime = primes[row]
        p, pinv, m = splat(prime), splat(1.0 / prime), splat(ROUNDER)
        for at in range(row * n, row * n + n, 4):
            x0, x1, y0, y1 = (
                load_from(a0, at),
                load_from(a1, at),
                load_from(b0, at),
                load_from(b1, at),
            )
            c0 = mulmod2(x0, y0, p, pinv, m)
            c2 = mulmod2(x1, y1, p, pinv, m)
            c1 = add(mulmod2(x0, y1, p, pinv, m), mulmod2(x1, y0, p, pinv, m))
            if accumulate:
                c0 = reduce(add(c0, load(out, at)), p, pinv, m)
                c1 = add(c1, load(out, half + at))
                c2 = reduce(add(c2, load(out, full + at)), p, pinv, m)
            store(out, at, c0)
            store(out, half + at, reduce(c1, p, pinv, m))
            store(out, full + at, c2)


@kernel
def multiply(a, b, out, primes, accumulate):  # type: ignore[no-untyped-def]
    """out (+)= a b for any degrees. Shape: a (da + 1,), b (db + 1,) addresses; out (da + db + 1, L,
    N).
    """
    rows, n = out.shape[1], out.shape[2]
    for row in range(rows):
        prime = primes[row]
        p, pinv, m = splat(prime), splat(1.0 / prime), splat(ROUNDER)
        for part in range(out.shape[0]):
            position = (part * rows + row) * n
            for j in range(0, n, 4):
                total = load(out, position + j) if accumulate else splat(0.0)
                for i in range(max(0, part - b.shape[0] + 1), min(part + 1, a.shape[0])):
                    x = load_from(a[i], row * n + j)
                    y = load_from(b[part - i], row * n + j)
                    total = add(total, mulmod2(x, y, p, pinv, m))
                store(out, position + j, reduce(total, p, pinv, m))


@kernel
def _add_scaled(address, at, size, scalar, out, position, prime):  # type: ignore[no-untyped-def]
    """out[position ..] += scalar x[at ..], unreduced by at most 0.6 p."""
    if scalar == 1.0:
        for j in range(0, size, 4):
            store(out, position + j, add(load(out, position + j), load_from(address, at + j)))
    elif scalar == -1.0:
        for j in range(0, size, 4):
            store(out, position + j, sub(load(out, position + j), load_from(address, at + j)))
    else:
        p, m, c, cq = splat(prime), splat(ROUNDER), splat(scalar), splat(scalar / prime)
        for j in range(0, size, 4):
            term = mulmod(load_from(address, at + j), c, cq, p, m)
            store(out, position + j, add(load(out, position + j), term))


@kernel
def linear(x, scalars, offset, out, primes):  # type: ignore[no-untyped-def]
    """out = sum of k_i x_i + offset.

    Shape: x int64 (K, D) addresses, 0 for an absent polynomial; out (D, L, N). ``scalars`` are
    integers with |k| <= 2^16; ``offset`` is added to every evaluation of polynomial 0. Every 24
    terms are reduced.
    """
    rows, n = out.shape[1], out.shape[2]
    size = min(n, _LINEAR_BLOCK)
    for part in range(out.shape[0]):
        start = splat(offset if part == 0 else 0.0)
        for row in range(rows):
            prime = primes[row]
            p, pinv, m = splat(prime), splat(1.0 / prime), splat(ROUNDER)
            for at in range(row * n, row * n + n, size):
                position = part * rows * n + at
                for j in range(position, position + size, 4):
                    store(out, j, start)
                for k in range(x.shape[0]):
                    if x[k, part] != 0:
                        _add_scaled(x[k, part], at, size, scalars[k], out, position, prime)
                    if k % 24 == 23 or k + 1 == x.shape[0]:
                        for j in range(position, position + size, 4):
                            store(out, j, reduce(load(out, j), p, pinv, m))


@kernel
def permute(x, order, out):  # type: ignore[no-untyped-def]
    """out[i, k] = x[i, order[k]]: an automorphism in the evaluation domain. Shape: (L, N)."""
    for row in range(x.shape[0]):
        for k in range(x.shape[1]):
            out[row, k] = x[row, order[k]]


@kernel
def reduce_row(x, prime):  # type: ignore[no-untyped-def]
    """x mod p in place, centred, for |x| < 2^52."""
    p, pinv, m = splat(prime), splat(1.0 / prime), splat(ROUNDER)
    for j in range(0, x.shape[0], 4):
        store(x, j, reduce(load(x, j), p, pinv, m))


@kernel
def copy_row(source, out):  # type: ignore[no-untyped-def]
    """out = source. A slice assignment compiles Numba's shape errors into the kernel: seconds."""
    for j in range(out.shape[0]):
        out[j] = source[j]
