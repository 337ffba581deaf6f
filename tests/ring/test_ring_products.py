"""Products and sums in the evaluation domain against Python integers, worst residues included."""

from __future__ import annotations

import numpy as np
import pytest

from amaters.ring import products

PRIMES = (70335457656833, 15032614913)
N = 64


def rows(rng: np.random.Generator, count: int, *, extreme: bool) -> np.ndarray:
    """Shape: (count, 2 limbs, N); extreme: every residue at +-p/2."""
    out = np.empty((count, len(PRIMES), N))
    for limb, prime in enumerate(PRIMES):
        half = prime // 2
        if extreme:
            out[:, limb] = half * rng.choice([-1.0, 1.0], (count, N))
        else:
            out[:, limb] = rng.integers(-half, half + 1, (count, N))
    return out


def addresses(data: np.ndarray) -> np.ndarray:
    return np.array([x.ctypes.data for x in data], dtype=np.int64)


def exact(x: np.ndarray) -> list[list[int]]:
    return [[int(v) for v in row] for row in x]


def assert_congruent(found: np.ndarray, expected: list[list[int]]) -> None:
    for limb, prime in enumerate(PRIMES):
        assert [int(v) % prime for v in found[limb]] == [v % prime for v in expected[limb]]
        assert np.abs(found[limb]).max() <= 0.51 * prime


def product(a: np.ndarray, b: np.ndarray) -> list[list[int]]:
    return [
        [x * y for x, y in zip(p, q, strict=True)] for p, q in zip(exact(a), exact(b), strict=True)
    ]


def total(parts: list[list[list[int]]]) -> list[list[int]]:
    return [
        [sum(values) for values in zip(*limb, strict=True)] for limb in zip(*parts, strict=True)
    ]


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("terms", [1, 2, 7, 8, 9, 49, 200])
def test_dot_is_exact_for_any_number_of_terms(terms: int, extreme: bool) -> None:
    """The fixed-exponent accumulators neither overflow nor round, even with all residues at p/2."""
    rng = np.random.default_rng(terms)
    a0, a1, b0, b1 = (rows(rng, terms, extreme=extreme) for _ in range(4))
    a = np.stack([addresses(a0), addresses(a1)], axis=1)
    b = np.stack([addresses(b0), addresses(b1)], axis=1)
    out = np.empty((3, len(PRIMES), N))
    products.dot(a, b, out, np.array(PRIMES, dtype=np.float64))
    assert_congruent(out[0], total([product(x, y) for x, y in zip(a0, b0, strict=True)]))
    assert_congruent(out[2], total([product(x, y) for x, y in zip(a1, b1, strict=True)]))
    cross = [product(x, y) for x, y in zip(a0, b1, strict=True)]
    cross += [product(x, y) for x, y in zip(a1, b0, strict=True)]
    assert_congruent(out[1], total(cross))


@pytest.mark.parametrize("degrees", [(1, 1), (2, 1), (1, 2), (0, 2), (3, 0)])
@pytest.mark.parametrize("accumulate", [False, True])
def test_multiply_and_accumulate(degrees: tuple[int, int], accumulate: bool) -> None:
    rng = np.random.default_rng(sum(degrees))
    a, b = (rows(rng, d + 1, extreme=True) for d in degrees)
    out = rows(rng, sum(degrees) + 1, extreme=True)
    before = out.copy()
    primes = np.array(PRIMES, dtype=np.float64)
    products.multiply(addresses(a), addresses(b), out, primes, accumulate)
    if degrees == (1, 1):
        fused = before.copy()
        products.multiply_linear(addresses(a), addresses(b), fused, primes, accumulate)
        for part, limbs in enumerate(fused):
            assert_congruent(limbs, [[int(v) for v in row] for row in out[part]])
    for part in range(out.shape[0]):
        terms = [product(a[i], b[part - i]) for i in range(len(a)) if 0 <= part - i < len(b)]
        if accumulate:
            terms.append(exact(before[part]))
        assert_congruent(out[part], total(terms))


def test_linear_combines_with_absent_polynomials() -> None:
    """Scalars of every size class, more terms than one reduction covers, an offset, degree gaps."""
    rng = np.random.default_rng(9)
    scalars = [1, -1, 32768, -32768, 7, 1, 1, -1, 2, 1, 1, -1, 1, 1, 1, 5, 1, -1, 1, 1]
    x = np.stack([rows(rng, 3, extreme=True) for _ in scalars])
    table = np.array([addresses(parts) for parts in x], dtype=np.int64)
    table[::3, 2] = 0
    out = np.empty((3, len(PRIMES), N))
    primes = np.array(PRIMES, dtype=np.float64)
    products.linear(table, np.array(scalars, dtype=np.float64), -31000.0, out, primes)
    for part in range(3):
        terms = [
            [[k * v for v in row] for row in exact(x[i, part])]
            for i, k in enumerate(scalars)
            if table[i, part]
        ]
        if part == 0:
            terms.append([[-31000] * N for _ in PRIMES])
        assert_congruent(out[part], total(terms))
