"""Products, sums and linear maps of polynomials in the evaluation domain, limb by limb.

Operands arrive as *addresses* of C-contiguous (level, N) blocks, one per polynomial: any number of ciphertexts,
truncated views included, without copies and with one compilation. The caller keeps the arrays alive. All inputs
are residues with |x| <= 0.6 p, all outputs are reduced to |x| <= 0.51 p.

Sums of products are exact without a reduction per term (``_fold``): with H in [2^100, 2^101), whose unit is 2^48,
    H' = fma(a, b, H);  s = H' - H;  low += fma(a, b, -s)
adds a b to H + low exactly: s is a multiple of 2^48, |a b - s| <= 2^47. Source: Ogita, Rump, Oishi 2005,
"Accurate sum and dot product" (error-free transformation), here with a fixed exponent.
"""

from __future__ import annotations

from amaters.ring.compile import kernel
from amaters.ring.modular import PRIME_BITS_MAX, ROUNDER, mulmod, mulmod2, reduce
from amaters.ring.simd import add, fma, fms, load, load_from, prefetch, splat, store, sub

BLOCK = 1024
ROOM = BLOCK + 24  # from one accumulator to the next: addresses that differ by a page multiple stall
GROUP = 8  # terms between two foldings
_HIGH = 1.5 * 2.0**100
_UNIT = 2.0**48

# GROUP terms put at most 2 GROUP products of (0.6 p)^2 into one accumulator.
assert 2 * GROUP * 0.36 * 2.0 ** (2 * PRIME_BITS_MAX) < 2.0**99  # H stays within its binade
assert 2 * GROUP * _UNIT / 2 < 2.0**52  # low stays exact


@kernel
def _fold(high, low, p, pinv, m, base):  # type: ignore[no-untyped-def]
    """high - base + low mod p, centred."""
    return reduce(add(reduce(sub(high, base), p, pinv, m), low), p, pinv, m)


@kernel
def _absorb(a0, a1, b0, b1, acc, j):  # type: ignore[no-untyped-def]
    """Adds (a0 + a1 s)(b0 + b1 s) to the six accumulators of a block."""
    h = load(acc, j)
    n = fma(a0, b0, h)
    store(acc, j, n)
    store(acc, ROOM + j, add(load(acc, ROOM + j), fms(a0, b0, sub(n, h))))
    h = load(acc, 4 * ROOM + j)
    n = fma(a1, b1, h)
    store(acc, 4 * ROOM + j, n)
    store(acc, 5 * ROOM + j, add(load(acc, 5 * ROOM + j), fms(a1, b1, sub(n, h))))
    h = load(acc, 2 * ROOM + j)
    n = fma(a0, b1, h)
    o = fma(a1, b0, n)
    store(acc, 2 * ROOM + j, o)
    low = add(fms(a0, b1, sub(n, h)), fms(a1, b0, sub(o, n)))
    store(acc, 3 * ROOM + j, add(load(acc, 3 * ROOM + j), low))


@kernel
def _absorb_term(a, b, k, ahead, offset, size, acc):  # type: ignore[no-untyped-def]
    """Term k of one block, while the lines of term ``ahead`` are fetched: memory is the bottleneck."""
    a0, a1, b0, b1 = a[k, 0], a[k, 1], b[k, 0], b[k, 1]
    p0, p1, q0, q1 = a[ahead, 0], a[ahead, 1], b[ahead, 0], b[ahead, 1]
    for j in range(0, size, 8):
        at = offset + j
        prefetch(p0, at)
        prefetch(p1, at)
        prefetch(q0, at)
        prefetch(q1, at)
        x0, x1 = load_from(a0, at), load_from(a1, at)
        _absorb(x0, x1, load_from(b0, at), load_from(b1, at), acc, j)
        x0, x1 = load_from(a0, at + 4), load_from(a1, at + 4)
        _absorb(x0, x1, load_from(b0, at + 4), load_from(b1, at + 4), acc, j + 4)


@kernel
def _fold_block(acc, out, row, start, size, primes, first):  # type: ignore[no-untyped-def]
    prime = primes[row]
    p, pinv, m, base = splat(prime), splat(1.0 / prime), splat(ROUNDER), splat(_HIGH)
    zero = splat(0.0)
    rows, n = out.shape[1], out.shape[2]
    for part in range(3):
        position = (part * rows + row) * n + start
        for j in range(0, size, 4):
            high, low = load(acc, 2 * part * ROOM + j), load(acc, (2 * part + 1) * ROOM + j)
            value = _fold(high, low, p, pinv, m, base)
            if not first:
                value = reduce(add(value, load(out, position + j)), p, pinv, m)
            store(out, position + j, value)
            store(acc, 2 * part * ROOM + j, base)
            store(acc, (2 * part + 1) * ROOM + j, zero)


@kernel
def dot(a, b, out, primes, acc):  # type: ignore[no-untyped-def]
    """out = sum over k of (a_k0 + a_k1 s)(b_k0 + b_k1 s), degree 2.

    Shape: a, b int64 (K, 2) addresses of (L, N); out (3, L, N); acc (6 ROOM,) scratch. Cost: reads every
    operand once; memory-bound.
    """
    terms, rows, n = a.shape[0], out.shape[1], out.shape[2]
    size = min(BLOCK, n)
    for part in range(3):
        for j in range(BLOCK):
            acc[2 * part * ROOM + j] = _HIGH
            acc[(2 * part + 1) * ROOM + j] = 0.0
    for row in range(rows):
        for start in range(0, n, size):
            for k in range(terms):
                _absorb_term(a, b, k, min(k + 1, terms - 1), row * n + start, size, acc)
                if (k + 1) % GROUP == 0 or k + 1 == terms:
                    _fold_block(acc, out, row, start, size, primes, k < GROUP)


@kernel
def multiply(a, b, out, primes, accumulate):  # type: ignore[no-untyped-def]
    """out (+)= a b for any degrees. Shape: a (da + 1,), b (db + 1,) addresses; out (da + db + 1, L, N)."""
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
def linear(x, scalars, offset, out, primes):  # type: ignore[no-untyped-def]
    """out = sum of k_i x_i + offset. Shape: x int64 (K, D) addresses, 0 for an absent polynomial; out (D, L, N).

    ``scalars`` are integers with |k| <= 2^16; ``offset`` is added to every evaluation of polynomial 0.
    """
    rows, n = out.shape[1], out.shape[2]
    for row in range(rows):
        prime = primes[row]
        p, pinv, m = splat(prime), splat(1.0 / prime), splat(ROUNDER)
        for part in range(out.shape[0]):
            position = (part * rows + row) * n
            start = splat(offset if part == 0 else 0.0)
            for j in range(0, n, 4):
                total = start
                for k in range(x.shape[0]):
                    if x[k, part] == 0:
                        continue
                    value = load_from(x[k, part], row * n + j)
                    if scalars[k] == 1.0:
                        total = add(total, value)
                    elif scalars[k] == -1.0:
                        total = sub(total, value)
                    else:
                        c = splat(scalars[k])
                        total = add(total, mulmod(value, c, splat(scalars[k] / prime), p, m))
                    if k & 7 == 7:
                        total = reduce(total, p, pinv, m)
                store(out, position + j, reduce(total, p, pinv, m))


@kernel
def multiply_rows(x, row_factor, out, primes):  # type: ignore[no-untyped-def]
    """out = x times one polynomial. Shape: x int64 (D,) addresses; row_factor address (L, N); out (D, L, N)."""
    rows, n = out.shape[1], out.shape[2]
    for part in range(out.shape[0]):
        for row in range(rows):
            prime = primes[row]
            p, pinv, m = splat(prime), splat(1.0 / prime), splat(ROUNDER)
            for j in range(0, n, 4):
                at = row * n + j
                value = mulmod2(load_from(x[part], at), load_from(row_factor, at), p, pinv, m)
                store(out, part * rows * n + at, value)


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
