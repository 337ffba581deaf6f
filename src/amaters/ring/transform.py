"""The negacyclic number-theoretic transform of one limb, forward and inverse, in place.

Radix 4 on vectors of four lanes; between stages nothing is reduced (``modular.growth``). Passes of
stride above 256 run over the whole row (level-2 cache), the others block by block (level 1). The
last two passes (strides 4 and 1) are one: 16 values in four registers, transposed between the
passes and *not* transposed back. So the evaluation domain is in **kernel order**: position 16 g + 4
r + l holds what SEAL's bit-reversed order has at 16 g + 4 l + r (``order``). Sources: Longa,
Naehrig 2016 (merged twiddles, bit-reversed order); Bailey 1990 (blocking).
"""

from __future__ import annotations

from amaters.ring.compile import kernel
from amaters.ring.modular import ROUNDER, mulmod, reduce
from amaters.ring.simd import add, even, high, load, low, odd, splat, store, sub

_BLOCK_STRIDE = 256  # four rows of 256 doubles: a quarter of a 32 KiB level-1 cache


@kernel
def _forward4(x0, x1, x2, x3, w1, w2, w3, v1, v2, v3, p, m):  # type: ignore[no-untyped-def]
    a = mulmod(x2, w1, v1, p, m)
    b = mulmod(x3, w1, v1, p, m)
    y0, y2 = add(x0, a), sub(x0, a)
    y1, y3 = add(x1, b), sub(x1, b)
    c = mulmod(y1, w2, v2, p, m)
    d = mulmod(y3, w3, v3, p, m)
    return add(y0, c), sub(y0, c), add(y2, d), sub(y2, d)


@kernel
def _forward_pass(x, base, s, w, wq, k, p, m):  # type: ignore[no-untyped-def]
    w1, w2, w3 = splat(w[k]), splat(w[k + 1]), splat(w[k + 2])
    v1, v2, v3 = splat(wq[k]), splat(wq[k + 1]), splat(wq[k + 2])
    for j in range(base, base + s, 4):
        x0, x1, x2, x3 = _forward4(
            load(x, j),
            load(x, j + s),
            load(x, j + 2 * s),
            load(x, j + 3 * s),
            w1,
            w2,
            w3,
            v1,
            v2,
            v3,
            p,
            m,
        )
        store(x, j, x0)
        store(x, j + s, x1)
        store(x, j + 2 * s, x2)
        store(x, j + 3 * s, x3)


@kernel
def _forward_fours(x, base, count, w, wq, k, p, m):  # type: ignore[no-untyped-def]
    """Stride 4: ``count`` groups of 16 values from ``base``, one register each row."""
    for j in range(base, base + 16 * count, 16):
        x0, x1, x2, x3 = _forward4(
            load(x, j),
            load(x, j + 4),
            load(x, j + 8),
            load(x, j + 12),
            splat(w[k]),
            splat(w[k + 1]),
            splat(w[k + 2]),
            splat(wq[k]),
            splat(wq[k + 1]),
            splat(wq[k + 2]),
            p,
            m,
        )
        store(x, j, x0)
        store(x, j + 4, x1)
        store(x, j + 8, x2)
        store(x, j + 12, x3)
        k += 3


@kernel
def _forward_ones(x, base, count, w, wq, k, p, m):  # type: ignore[no-untyped-def]
    """Stride 1: groups are transposed, so that every lane is one butterfly; kernel order out."""
    for j in range(base, base + 16 * count, 16):
        t0, t1, t2, t3 = load(x, j), load(x, j + 4), load(x, j + 8), load(x, j + 12)
        e0, o0, e1, o1 = even(t0, t1), odd(t0, t1), even(t2, t3), odd(t2, t3)
        x0, x1, x2, x3 = _forward4(
            low(e0, e1),
            low(o0, o1),
            high(e0, e1),
            high(o0, o1),
            load(w, k),
            load(w, k + 4),
            load(w, k + 8),
            load(wq, k),
            load(wq, k + 4),
            load(wq, k + 8),
            p,
            m,
        )
        store(x, j, x0)
        store(x, j + 4, x1)
        store(x, j + 8, x2)
        store(x, j + 12, x3)
        k += 12


@kernel
def forward(x, w, wq, prime):  # type: ignore[no-untyped-def]
    """Coefficients (|x| <= 0.6 p, natural order) to evaluations (kernel order), unreduced: below 12
    p.

    Shape: x (N,) contiguous; w, wq the row's forward table (``tables``). N is 64 .. 32768.
    """
    n = x.shape[0]
    p, m = splat(prime), splat(ROUNDER)
    blocks, s = 1, n // 4
    if (n & 0x5555555555555555) == 0:  # odd log2(N): one radix-2 pass first
        w1, v1 = splat(w[1]), splat(wq[1])
        for j in range(0, n // 2, 4):
            a = load(x, j)
            b = mulmod(load(x, j + n // 2), w1, v1, p, m)
            store(x, j, add(a, b))
            store(x, j + n // 2, sub(a, b))
        blocks, s = 2, n // 8
    while s > _BLOCK_STRIDE:
        for b in range(blocks):
            _forward_pass(x, 4 * s * b, s, w, wq, blocks + 3 * b, p, m)
        blocks, s = 4 * blocks, s // 4
    for b in range(blocks):
        base, inner, stride = 4 * s * b, 1, s
        while stride > 4:
            k = blocks * inner + 3 * b * inner
            for i in range(inner):
                _forward_pass(x, base + 4 * stride * i, stride, w, wq, k + 3 * i, p, m)
            inner, stride = 4 * inner, stride // 4
        k = blocks * inner + 3 * b * inner
        _forward_fours(x, base, inner, w, wq, k, p, m)
        k = 4 * blocks * inner + 12 * b * inner
        _forward_ones(x, base, inner, w, wq, k, p, m)


@kernel
def _inverse4(x0, x1, x2, x3, w1, w2, w3, v1, v2, v3, p, m):  # type: ignore[no-untyped-def]
    y0, y1 = add(x0, x1), mulmod(sub(x0, x1), w2, v2, p, m)
    y2, y3 = add(x2, x3), mulmod(sub(x2, x3), w3, v3, p, m)
    z2 = mulmod(sub(y0, y2), w1, v1, p, m)
    z3 = mulmod(sub(y1, y3), w1, v1, p, m)
    return add(y0, y2), add(y1, y3), z2, z3


@kernel
def _inverse_pass(x, base, s, w, wq, k, p, pinv, m):  # type: ignore[no-untyped-def]
    w1, w2, w3 = splat(w[k]), splat(w[k + 1]), splat(w[k + 2])
    v1, v2, v3 = splat(wq[k]), splat(wq[k + 1]), splat(wq[k + 2])
    for j in range(base, base + s, 4):
        x0, x1, x2, x3 = _inverse4(
            load(x, j),
            load(x, j + s),
            load(x, j + 2 * s),
            load(x, j + 3 * s),
            w1,
            w2,
            w3,
            v1,
            v2,
            v3,
            p,
            m,
        )
        store(x, j, reduce(x0, p, pinv, m))
        store(x, j + s, x1)
        store(x, j + 2 * s, x2)
        store(x, j + 3 * s, x3)


@kernel
def _inverse_ones(source, x, base, count, w, wq, k, p, pinv, m):  # type: ignore[no-untyped-def]
    """Stride 1 of ``count`` groups of 16 values in kernel order, transposed back on the way out."""
    for j in range(base, base + 16 * count, 16):
        t0, t1, t2, t3 = _inverse4(
            load(source, j),
            load(source, j + 4),
            load(source, j + 8),
            load(source, j + 12),
            load(w, k),
            load(w, k + 4),
            load(w, k + 8),
            load(wq, k),
            load(wq, k + 4),
            load(wq, k + 8),
            p,
            m,
        )
        t0 = reduce(t0, p, pinv, m)
        e0, o0, e1, o1 = even(t0, t1), odd(t0, t1), even(t2, t3), odd(t2, t3)
        store(x, j, low(e0, e1))
        store(x, j + 4, low(o0, o1))
        store(x, j + 8, high(e0, e1))
        store(x, j + 12, high(o0, o1))
        k += 12


@kernel
def _inverse_fours(x, base, count, w, wq, k, p, pinv, m):  # type: ignore[no-untyped-def]
    """Stride 4 of ``count`` groups of 16 values."""
    for j in range(base, base + 16 * count, 16):
        x0, x1, x2, x3 = _inverse4(
            load(x, j),
            load(x, j + 4),
            load(x, j + 8),
            load(x, j + 12),
            splat(w[k]),
            splat(w[k + 1]),
            splat(w[k + 2]),
            splat(wq[k]),
            splat(wq[k + 1]),
            splat(wq[k + 2]),
            p,
            m,
        )
        store(x, j, reduce(x0, p, pinv, m))
        store(x, j + 4, x1)
        store(x, j + 8, x2)
        store(x, j + 12, x3)
        k += 3


@kernel
def _inverse_last(x, w, wq, scale, prime):  # type: ignore[no-untyped-def]
    """The pass of stride N/4 with the scaling folded in; ``scale`` includes 1/N."""
    n = x.shape[0]
    s = n // 4
    scaled = mulmod(w[1], scale, scale / prime, prime, ROUNDER)
    p, m = splat(prime), splat(ROUNDER)
    c, cq, d, dq = splat(scale), splat(scale / prime), splat(scaled), splat(scaled / prime)
    w2, w3, v2, v3 = splat(w[2]), splat(w[3]), splat(wq[2]), splat(wq[3])
    for j in range(0, s, 4):
        x0, x1, x2, x3 = load(x, j), load(x, j + s), load(x, j + 2 * s), load(x, j + 3 * s)
        y0, y1 = add(x0, x1), mulmod(sub(x0, x1), w2, v2, p, m)
        y2, y3 = add(x2, x3), mulmod(sub(x2, x3), w3, v3, p, m)
        store(x, j, mulmod(add(y0, y2), c, cq, p, m))
        store(x, j + s, mulmod(add(y1, y3), c, cq, p, m))
        store(x, j + 2 * s, mulmod(sub(y0, y2), d, dq, p, m))
        store(x, j + 3 * s, mulmod(sub(y1, y3), d, dq, p, m))


@kernel
def _inverse_last2(x, w, wq, scale, prime):  # type: ignore[no-untyped-def]
    """The final radix-2 pass for odd log2(N), scaling folded in."""
    half = x.shape[0] // 2
    scaled = mulmod(w[1], scale, scale / prime, prime, ROUNDER)
    p, m = splat(prime), splat(ROUNDER)
    c, cq, d, dq = splat(scale), splat(scale / prime), splat(scaled), splat(scaled / prime)
    for j in range(0, half, 4):
        a, b = load(x, j), load(x, j + half)
        store(x, j, mulmod(add(a, b), c, cq, p, m))
        store(x, j + half, mulmod(sub(a, b), d, dq, p, m))


@kernel
def inverse(x, w, wq, prime, scale):  # type: ignore[no-untyped-def]
    """``inverse_from`` in place."""
    inverse_from(x, x, w, wq, prime, scale)


@kernel
def inverse_from(source, x, w, wq, prime, scale):  # type: ignore[no-untyped-def]
    """x = ``scale`` N times the coefficients of evaluations (kernel order, |source| <= 4.2 p),
    reduced.

    ``scale`` = c / N mod p, centred, multiplies the coefficients by c at no cost. Only the sum of
    four grows; it is reduced, so no value exceeds 4.2 p (x1 + x3 of two residues: 1.1 p).
    """
    n = x.shape[0]
    pinv = 1.0 / prime
    p, m, pi = splat(prime), splat(ROUNDER), splat(pinv)
    odd_log = (n & 0x5555555555555555) == 0
    top = n // 8 if odd_log else n // 16  # largest stride of an ordinary radix-4 pass
    s = min(top, _BLOCK_STRIDE)
    blocks = n // (4 * s)
    for b in range(blocks):
        base, inner, stride = 4 * s * b, s // 4, 4
        k = blocks * inner + 3 * b * inner
        kl = 4 * blocks * inner + 12 * b * inner
        _inverse_ones(source, x, base, inner, w, wq, kl, p, pi, m)
        _inverse_fours(x, base, inner, w, wq, k, p, pi, m)
        while stride < s:
            inner, stride = inner // 4, 4 * stride
            k = blocks * inner + 3 * b * inner
            for i in range(inner):
                _inverse_pass(x, base + 4 * stride * i, stride, w, wq, k + 3 * i, p, pi, m)
    while s < top:
        blocks, s = blocks // 4, 4 * s
        for b in range(blocks):
            _inverse_pass(x, 4 * s * b, s, w, wq, blocks + 3 * b, p, pi, m)
    if odd_log:
        _inverse_last2(x, w, wq, scale, prime)
    else:
        _inverse_last(x, w, wq, scale, prime)
