"""The negacyclic transform: inverse law, convolution, order, bounds and automorphisms."""

from __future__ import annotations

import numpy as np
import pytest

from amaters.ring.order import automorphism, bit_reversed, exponents, kernel_position
from amaters.ring.primes import smallest_root
from amaters.ring.tables import get_tables
from amaters.ring.transform import forward, inverse, inverse_from

PRIMES = (70335457656833, 15032614913, 17588159447041)
DEGREES = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


def forward_row(x: np.ndarray, degree: int, row: int) -> np.ndarray:
    tables = get_tables(degree, primes_for(degree))
    out = x.copy()
    forward(out, tables.forward[row], tables.forward_quotients[row], tables.primes[row])
    return out


def inverse_row(x: np.ndarray, degree: int, row: int) -> np.ndarray:
    tables = get_tables(degree, primes_for(degree))
    out = np.empty_like(x)
    inverse_from(
        x, out, tables.inverse[row], tables.inverse_quotients[row], tables.primes[row],
        tables.inverse_degree[row],
    )  # fmt: skip
    return out


def primes_for(degree: int) -> tuple[int, ...]:
    return PRIMES if degree <= 16384 else (70335457656833, 98785755137, 70262442098689)


def reduced(x: np.ndarray, prime: int) -> np.ndarray:
    return x - prime * np.rint(x / prime)


def inputs(prime: int, degree: int) -> list[np.ndarray]:
    """Random and extreme rows: all at +-p/2, alternating, one spike."""
    half = float(prime // 2)
    rng = np.random.default_rng(degree)
    sign = rng.choice([-1.0, 1.0], degree)
    spike = np.zeros(degree)
    spike[-1] = -half
    return [
        rng.integers(-(prime // 2), prime // 2 + 1, degree).astype(np.float64),
        np.full(degree, half),
        half * sign,
        half * (1.0 - 2.0 * (np.arange(degree) % 2)),
        spike,
    ]


@pytest.mark.parametrize("degree", DEGREES)
def test_inverse_undoes_forward_and_bounds_hold(degree: int) -> None:
    """Every size, edge residues included; values between stages stay below the proven 12 p."""
    for row, prime in enumerate(primes_for(degree)):
        for x in inputs(prime, degree):
            y = forward_row(x, degree, row)
            assert np.abs(y).max() < 12.0 * prime
            back = inverse_row(reduced(y, prime), degree, row)
            assert np.abs(back).max() <= 0.51 * prime
            assert not reduced(back - x, prime).any()


@pytest.mark.parametrize("degree", [64, 128, 1024])
def test_pointwise_products_are_negacyclic_convolutions(degree: int) -> None:
    """Against Python integers: a b mod (X^N + 1, p)."""
    for row, prime in enumerate(PRIMES):
        rng = np.random.default_rng(row)
        a = rng.integers(-(prime // 2), prime // 2 + 1, degree)
        b = rng.integers(-(prime // 2), prime // 2 + 1, degree)
        if degree == 1024:
            b[40:] = 0
        expected = [0] * degree
        for j in np.flatnonzero(b).tolist():
            for i in range(degree):
                sign = 1 if i + j < degree else -1
                expected[(i + j) % degree] += sign * int(a[i]) * int(b[j])
        fa = forward_row(a.astype(np.float64), degree, row)
        fb = forward_row(b.astype(np.float64), degree, row)
        product = [int(x) * int(y) % prime for x, y in zip(fa, fb, strict=True)]
        back = inverse_row(reduced(np.array(product, dtype=np.float64), prime), degree, row)
        assert [int(v) % prime for v in back] == [v % prime for v in expected]


@pytest.mark.parametrize("degree", [64, 128, 2048])
def test_kernel_order_is_seals_order_within_groups_of_sixteen(degree: int) -> None:
    """Position k of the bit-reversed order is the value at psi^(2 rev(k) + 1)."""
    prime = PRIMES[0]
    root = smallest_root(prime, 2 * degree)
    x = np.random.default_rng(3).integers(0, prime // 2, degree)
    y = forward_row(x.astype(np.float64), degree, 0)
    for k in (0, 1, 5, 18, degree - 2):
        point = pow(root, 2 * int(bit_reversed(degree)[k]) + 1, prime)
        value = 0
        for coefficient in reversed(x.tolist()):
            value = (value * point + coefficient) % prime
        assert int(y[kernel_position(np.array([k]))[0]]) % prime == value


def test_kernel_position_is_its_own_inverse() -> None:
    index = np.arange(4096)
    assert np.array_equal(kernel_position(kernel_position(index)), index)
    assert np.array_equal(np.sort(exponents(1024)), np.arange(1, 2048, 2))


@pytest.mark.parametrize("exponent", [3, 5, 1025, 2047])
def test_automorphisms_permute_evaluations(exponent: int) -> None:
    """X -> X^g on coefficients equals the permutation in kernel order."""
    degree, prime = 1024, PRIMES[1]
    x = np.random.default_rng(5).integers(-1000, 1000, degree).astype(np.float64)
    moved = np.zeros(degree)
    for i in range(degree):
        j = i * exponent % (2 * degree)
        moved[j % degree] += x[i] if j < degree else -x[i]
    expected = reduced(forward_row(moved, degree, 1), prime)
    found = reduced(forward_row(x, degree, 1), prime)[automorphism(degree, exponent)]
    assert np.array_equal(found, expected)


def test_scale_of_the_inverse_multiplies_the_coefficients() -> None:
    """The 1/N slot of the inverse can carry any constant at no cost."""
    degree, prime = 256, PRIMES[0]
    tables = get_tables(degree, PRIMES)
    x = np.random.default_rng(6).integers(-(10**9), 10**9, degree).astype(np.float64)
    y = reduced(forward_row(x, degree, 0), prime)
    scale = pow(degree, -1, prime) * 12345 % prime
    inverse(y, tables.inverse[0], tables.inverse_quotients[0], tables.primes[0], float(scale))
    assert [int(v) % prime for v in y] == [int(v) * 12345 % prime for v in x]


def test_tables_refuse_what_the_proof_does_not_cover() -> None:
    for degree, moduli in ((1000, PRIMES), (32, PRIMES), (65536, PRIMES), (1024, (2**50 - 27,))):
        with pytest.raises(ValueError, match=r"degree|modulus"):
            get_tables(degree, moduli)
