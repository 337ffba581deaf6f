"""Hybrid key switching, merged with dropping the top limb, and dropping alone.

One call does, for ciphertext polynomials c0, c1 and the component c2 to be switched:
1. inverse transforms of c2, scaled so that row i is y_i = [c2 (Q_j/q_i)^-1] mod q_i for its digit
j;
2. for every prime p of the chain Q P: each digit converted to p (sum of y_i (Q_j/q_i mod p), within
digit-size
   multiples of Q_j of the digit), transformed, multiplied with the key halves and added to P c0, P
   c1;
3. division by T = P (times the top prime when merged): with x~ = sum of y'_i (T/q_i) over the
primes of T and
   delta = x~ - T [x~]_t, (x - delta)/T = x/T - sum of y'_i/q_i + [sum of y'_i]_t, because all
   primes are 1 mod t.

Targets are handled one prime at a time, so accumulators and tables stay in the level-2 cache and
keys stream.
Sources: Gentry, Halevi, Smart 2012, section 3.1 (special modulus); Han, Ki 2020 (hybrid digits);
Kim, Polyakov, Zucca 2021, section 4 (level-aware, BGV correction mod t); Halevi, Polyakov, Shoup
2019 (fast base conversion).
"""

from __future__ import annotations

from amaters.ring.compile import kernel
from amaters.ring.modular import PRIME_BITS_MAX, ROUNDER, growth, mulmod, mulmod2, reduce
from amaters.ring.simd import add, fma, fms, fnma, load, mul, splat, store, sub
from amaters.ring.transform import forward, inverse_from

_CHUNK = 512  # doubles that stay in the level-1 cache between loops
ROWS_MAX = 6  # primes per digit or in T

# A converted row starts at ROWS_MAX/2 p, grows in the transform, and its product with a key stays
# small.
_CONVERTED = growth(15, start=0.51 * ROWS_MAX + 0.01)
assert 2.0 * _CONVERTED * 2.0**PRIME_BITS_MAX < 2.0**53
assert 0.5 + _CONVERTED * 2.0 ** (PRIME_BITS_MAX - 52) < 1.6  # so three of them stay below 5 p


@kernel
def _convert(y, first, stop, factors, prime, fix, fixed, out):  # type: ignore[no-untyped-def]
    """out = sum of y_i factors[i - first] mod p for rows first .. stop - 1, minus ``fix`` if
    ``fixed``.

    |out| <= (stop - first) 0.51 p + 2^15.
    """
    rows = stop - first
    if rows == 1:
        _convert1(y, first, factors, prime, fix, fixed, out)
    elif rows == 2:
        _convert2(y, first, factors, prime, fix, fixed, out)
    elif rows == 3:
        _convert3(y, first, factors, prime, fix, fixed, out)
    else:
        _convert4(y, first, factors, prime, fix, fixed, out)
        for i in range(4, rows):
            _convert_more(y, first + i, factors[i], prime, out)


@kernel
def _convert1(y, first, factors, prime, fix, fixed, out):  # type: ignore[no-untyped-def]
    p, m, n = splat(prime), splat(ROUNDER), out.shape[0]
    f0, g0, o0 = splat(factors[0]), splat(factors[0] / prime), first * n
    for j in range(0, n, 4):
        total = mulmod(load(y, o0 + j), f0, g0, p, m)
        if fixed:
            total = sub(total, load(fix, j))
        store(out, j, total)


@kernel
def _convert2(y, first, factors, prime, fix, fixed, out):  # type: ignore[no-untyped-def]
    p, m, n = splat(prime), splat(ROUNDER), out.shape[0]
    f0, g0, o0 = splat(factors[0]), splat(factors[0] / prime), first * n
    f1, g1 = splat(factors[1]), splat(factors[1] / prime)
    for j in range(0, n, 4):
        a = mulmod(load(y, o0 + j), f0, g0, p, m)
        total = add(a, mulmod(load(y, o0 + n + j), f1, g1, p, m))
        if fixed:
            total = sub(total, load(fix, j))
        store(out, j, total)


@kernel
def _convert3(y, first, factors, prime, fix, fixed, out):  # type: ignore[no-untyped-def]
    p, m, n = splat(prime), splat(ROUNDER), out.shape[0]
    f0, g0, o0 = splat(factors[0]), splat(factors[0] / prime), first * n
    f1, g1 = splat(factors[1]), splat(factors[1] / prime)
    f2, g2 = splat(factors[2]), splat(factors[2] / prime)
    for j in range(0, n, 4):
        a = mulmod(load(y, o0 + j), f0, g0, p, m)
        b = mulmod(load(y, o0 + n + j), f1, g1, p, m)
        total = add(add(a, b), mulmod(load(y, o0 + 2 * n + j), f2, g2, p, m))
        if fixed:
            total = sub(total, load(fix, j))
        store(out, j, total)


@kernel
def _convert4(y, first, factors, prime, fix, fixed, out):  # type: ignore[no-untyped-def]
    p, m, n = splat(prime), splat(ROUNDER), out.shape[0]
    f0, g0, o0 = splat(factors[0]), splat(factors[0] / prime), first * n
    f1, g1 = splat(factors[1]), splat(factors[1] / prime)
    f2, g2 = splat(factors[2]), splat(factors[2] / prime)
    f3, g3 = splat(factors[3]), splat(factors[3] / prime)
    for j in range(0, n, 4):
        a = mulmod(load(y, o0 + j), f0, g0, p, m)
        b = mulmod(load(y, o0 + n + j), f1, g1, p, m)
        c = mulmod(load(y, o0 + 2 * n + j), f2, g2, p, m)
        d = mulmod(load(y, o0 + 3 * n + j), f3, g3, p, m)
        total = add(add(a, b), add(c, d))
        if fixed:
            total = sub(total, load(fix, j))
        store(out, j, total)


@kernel
def _convert_more(y, row, factor, prime, out):  # type: ignore[no-untyped-def]
    p, m, n = splat(prime), splat(ROUNDER), out.shape[0]
    f, g = splat(factor), splat(factor / prime)
    for j in range(0, n, 4):
        store(out, j, add(load(out, j), mulmod(load(y, row * n + j), f, g, p, m)))


@kernel
def _one_digit(d, k0, k1, c0, c1, factor, acc, prime):  # type: ignore[no-untyped-def]
    """acc (2, N) = factor c + d k, both halves, reduced; ``factor`` is 0 on the special primes."""
    n = d.shape[0]
    p, pinv, m = splat(prime), splat(1.0 / prime), splat(ROUNDER)
    f, g = splat(factor), splat(factor / prime)
    for j in range(0, n, 4):
        x = load(d, j)
        u = mulmod2(x, load(k0, j), p, pinv, m)
        v = mulmod2(x, load(k1, j), p, pinv, m)
        if factor != 0.0:
            u = add(u, mulmod(load(c0, j), f, g, p, m))
            v = add(v, mulmod(load(c1, j), f, g, p, m))
        store(acc, j, reduce(u, p, pinv, m))
        store(acc, n + j, reduce(v, p, pinv, m))


@kernel
def _two_digits(d, e, keys, row, c0, c1, factor, acc, prime):  # type: ignore[no-untyped-def]
    """acc (2, N) = factor c + d k + e l, reduced; k, l: row ``row`` of the first two digits."""
    n = d.shape[0]
    low, high, other = row * n, (keys.shape[2] + row) * n, 2 * keys.shape[2] * n
    p, pinv, m = splat(prime), splat(1.0 / prime), splat(ROUNDER)
    f, g = splat(factor), splat(factor / prime)
    for j in range(0, n, 4):
        x, y = load(d, j), load(e, j)
        u = add(
            mulmod2(x, load(keys, low + j), p, pinv, m),
            mulmod2(y, load(keys, other + low + j), p, pinv, m),
        )
        v = add(
            mulmod2(x, load(keys, high + j), p, pinv, m),
            mulmod2(y, load(keys, other + high + j), p, pinv, m),
        )
        if factor != 0.0:
            u = add(u, mulmod(load(c0, j), f, g, p, m))
            v = add(v, mulmod(load(c1, j), f, g, p, m))
        store(acc, j, reduce(u, p, pinv, m))
        store(acc, n + j, reduce(v, p, pinv, m))


@kernel
def _more_digits(d, k0, k1, acc, prime):  # type: ignore[no-untyped-def]
    """acc += d k, reduced."""
    n = d.shape[0]
    p, pinv, m = splat(prime), splat(1.0 / prime), splat(ROUNDER)
    for j in range(0, n, 4):
        x = load(d, j)
        u = add(load(acc, j), mulmod2(x, load(k0, j), p, pinv, m))
        v = add(load(acc, n + j), mulmod2(x, load(k1, j), p, pinv, m))
        store(acc, j, reduce(u, p, pinv, m))
        store(acc, n + j, reduce(v, p, pinv, m))


@kernel
def _correction(y, rows, t, out):  # type: ignore[no-untyped-def]
    """out = [sum of the first ``rows`` rows of y] mod t, centred. Exact: the sum is below 2^52."""
    n = out.shape[0]
    tt, tinv, m = splat(t), splat(1.0 / t), splat(ROUNDER)
    for start in range(0, n, _CHUNK):
        stop = min(n, start + _CHUNK)
        for i in range(1, rows):
            for j in range(start, stop, 4):
                before = load(y, j) if i == 1 else load(out, j)
                store(out, j, add(before, load(y, i * n + j)))
        for j in range(start, stop, 4):
            total = load(y, j) if rows == 1 else load(out, j)
            store(out, j, reduce(total, tt, tinv, m))


@kernel
def _divide(acc, factor, d, prime, out):  # type: ignore[no-untyped-def]
    """out = acc factor - d mod p, reduced."""
    p, pinv, m = splat(prime), splat(1.0 / prime), splat(ROUNDER)
    f, fq = splat(factor), splat(factor / prime)
    for j in range(0, acc.shape[0], 4):
        value = sub(mulmod(load(acc, j), f, fq, p, m), load(d, j))
        store(out, j, reduce(value, p, pinv, m))


@kernel
def _accumulate(  # type: ignore[no-untyped-def]
    data, y, chain, digits, factors, keys, key_row, p_factor, acc, buffers, primes, fw, fq
):
    """acc (2, N) = P (c0, c1) + sum over digits of digit times key, for one prime of the chain;
    reduced.
    """
    prime = primes[chain]
    own = chain if chain < data.shape[1] else 0
    c0, c1, row = data[0, own], data[1, own], data[2, own]
    factor = p_factor if chain < data.shape[1] else 0.0
    count = digits.shape[0] - 1
    first = row
    for digit in range(count):
        d = row
        if not digits[digit] <= chain < digits[digit + 1]:
            d = buffers[1 if digit == 1 else 0]
            start, stop = digits[digit], digits[digit + 1]
            _convert(y, start, stop, factors[digit], prime, d, False, d)
            forward(d, fw, fq, prime)
        if digit == 0:
            first = d
            if count == 1:
                k0, k1 = keys[0, 0, key_row], keys[0, 1, key_row]
                _one_digit(d, k0, k1, c0, c1, factor, acc, prime)
        elif digit == 1:
            _two_digits(first, d, keys, key_row, c0, c1, factor, acc, prime)
        else:
            _more_digits(d, keys[digit, 0, key_row], keys[digit, 1, key_row], acc, prime)


@kernel
def key_switch(data, keys, key_rows, plan, tables, scratch, out):  # type: ignore[no-untyped-def]
    """out = (c0, c1) plus c2 switched to the secret, divided by T.

    Shape: data (3, L, N) reduced residues; keys (digits, 2, rows, N), the row of each chain prime
    in ``key_rows``; out (2, L', N), L' = L, or L - 1 when merged. ``plan``, ``tables``, ``scratch``
    as ``fhe.keyswitch`` builds them. Cost: about (digits + 2)(L + alpha) transforms.
    """
    digits, targets, input_scale, digit_factors, p_factor, t_scale, t_factors, t_inverse = plan
    primes, fw, fq, iw, iq, t = tables
    y, special, acc, buffers, fix = scratch
    buffer = buffers[0]
    for i in range(data.shape[1]):
        inverse_from(data[2, i], y[i], iw[i], iq[i], primes[i], input_scale[i])
    for k in range(targets.shape[0]):
        c = targets[k]
        _accumulate(
            data, y, c, digits, digit_factors[c], keys, key_rows[c], p_factor[c], acc, buffers,
            primes, fw[c], fq[c],
        )  # fmt: skip
        for part in range(2):
            inverse_from(acc[part], special[part, k], iw[c], iq[c], primes[c], t_scale[k])
    for part in range(2):
        _correction(special[part], targets.shape[0], t, fix[part])
    for c in range(out.shape[1]):
        _accumulate(
            data, y, c, digits, digit_factors[c], keys, key_rows[c], p_factor[c], acc, buffers,
            primes, fw[c], fq[c],
        )  # fmt: skip
        for part in range(2):
            _convert(
                special[part], 0, targets.shape[0], t_factors[c], primes[c], fix[part], True, buffer
            )
            forward(buffer, fw[c], fq[c], primes[c])
            _divide(acc[part], t_inverse[c], buffer, primes[c], out[part, c])


@kernel
def drop(data, plan, tables, scratch, out):  # type: ignore[no-untyped-def]
    """out = data divided by its top prime with the same plaintext. Shape: data (D, L, N), out (D, L
    - 1, N).

    Cost: D L transforms. Here T is one prime, so the base conversion is exact.
    """
    scale, factors = plan
    primes, fw, fq, iw, iq, t = tables
    y, buffer, fix = scratch
    top = data.shape[1] - 1
    for part in range(data.shape[0]):
        inverse_from(data[part, top], y[0], iw[top], iq[top], primes[top], scale)
        _correction(y, 1, t, fix)
        for c in range(top):
            _convert(y, 0, 1, factors[c : c + 1], primes[c], fix, True, buffer)
            forward(buffer, fw[c], fq[c], primes[c])
            _divide(data[part, c], factors[c], buffer, primes[c], out[part, c])


@kernel
def shrink(x, prime, modulus, t, tables, out):  # type: ignore[no-untyped-def]
    """out = round(modulus / prime x) with out = x mod t, centred, in the coefficient domain.

    ``prime`` = ``modulus`` = 1 mod t. With k = round(modulus x / prime) and d = modulus x - k
    prime, the integer k + [d]_t equals x mod t and differs from modulus x / prime by at most (t +
    1)/2. Shape: x (N,) one limb.
    """
    iw, iq, scale = tables
    inverse_from(x, out, iw, iq, prime, scale)
    p, m, f, fq = splat(prime), splat(ROUNDER), splat(modulus), splat(modulus / prime)
    tt, tinv, mm, minv = splat(t), splat(1.0 / t), splat(modulus), splat(1.0 / modulus)
    for j in range(0, x.shape[0], 4):
        c = load(out, j)
        k = sub(fma(c, fq, m), m)
        h = mul(c, f)
        d = add(fnma(k, p, h), fms(c, f, h))
        store(out, j, reduce(add(k, reduce(d, tt, tinv, m)), mm, minv, m))
