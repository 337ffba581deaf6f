"""Arithmetic of residues: exact for the worst operands that the kernels can meet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amaters.ring import modular, selftest
from amaters.ring.primes import centred, is_prime, smallest_root

PRIMES = (70335457656833, 15032614913, 17588159447041, 65537, 281474976710597)


def check(prime: int, a: list[int], b: list[int]) -> None:
    pad = -len(a) % 4
    x = np.array(a + [0] * pad, dtype=np.float64)
    w = np.array(b + [0] * pad, dtype=np.float64)
    assert selftest.mismatch(x, w, prime, 0.5 + 24 * prime * 2.0**-52 + 1e-6) == ""


@pytest.mark.parametrize("prime", PRIMES)
def test_random_products_of_unreduced_operands_are_exact(prime: int) -> None:
    """100,000 products with |a| up to 12 p, as between the stages of a transform."""
    rng = np.random.default_rng(prime % 1000)
    a = rng.integers(-12 * prime, 12 * prime, 20000)
    b = rng.integers(-(prime // 2), prime // 2 + 1, 20000)
    check(prime, a.tolist(), b.tolist())


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(PRIMES),
    st.integers(-12, 12),
    st.integers(-3, 3),
    st.integers(-3, 3),
    st.integers(1, 40),
)
def test_products_near_rounding_ties_are_exact(
    prime: int, k: int, da: int, db: int, part: int
) -> None:
    """Adversarial: a w / p near a half-integer, where the rounded quotient may go either way."""
    w = centred(pow(2 * part + 1, -1, prime) * (prime // 2 + db), prime)
    a = centred(2 * part + 1 + da, prime) + k * prime
    check(prime, [a, -a, a + 1, a - 1], [w, w, -w, -w])


def test_growth_covers_the_largest_transform() -> None:
    """The recurrence behind the assertions: 14 stages stay under 9.4 p for 48 bits, as in the
    design.
    """
    assert modular.growth(14, 48) < 11.0
    assert modular.growth(15, 48) < 12.0
    assert modular.growth(15, 50) * 2.0**51 > 2.0**53  # 50-bit primes would overflow


def test_primes_and_roots() -> None:
    assert [n for n in range(60) if is_prime(n)] == [
        2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59,
    ]  # fmt: skip
    assert not is_prime(3215031751)  # a strong pseudoprime to bases 2, 3, 5, 7
    for prime in PRIMES[:2]:
        root = smallest_root(prime, 128)
        roots = [pow(root, e, prime) for e in range(1, 128, 2)]
        assert pow(root, 64, prime) == prime - 1
        assert root == min(roots)
