"""The parameter set of DEPTH = 'deep' at its true size: N = 32768, 20 + 1 primes.

Most properties are tested over a small ring with the same chain elsewhere; here is what only the
full size shows: fifteen stages of transforms, every drop from the top to the last limb, proven
bounds above measured noise, and agreement with Microsoft SEAL.
"""

from __future__ import annotations

from math import log2
from pathlib import Path

import numpy as np
import pytest
from seal_support import SealOracle

from amaters.fhe import encoder
from amaters.fhe.keys import chain_of, relinearization_shapes, stored_bytes
from amaters.fhe.meta import Meta
from amaters.fhe.parameters import (
    DEEP,
    DEFAULT,
    INSECURE_DEEP_N2048,
    INSECURE_N1024,
    PRIME_BITS_MAX,
)
from amaters.fhe.scheme import ClientScheme, Evaluator, make_evaluator
from amaters.fhe.secret import SecretKey, make_client_scheme
from amaters.fhe.security import MODULUS_BITS_MAX
from amaters.ring.modular import LOG_DEGREE_MAX, growth
from amaters.ring.primes import is_prime

T = 65537


@pytest.fixture(scope="module")
def key() -> SecretKey:
    return SecretKey.generate(DEEP)


@pytest.fixture(scope="module")
def client(key: SecretKey) -> ClientScheme:
    return make_client_scheme("bgv", DEEP, key)


@pytest.fixture(scope="module")
def evaluator(client: ClientScheme) -> Evaluator:
    keys = client.evaluation_keys()
    assert len(keys) == stored_bytes(DEEP, relinearization_shapes(DEEP))
    return make_evaluator("bgv", DEEP, keys)


def test_the_ladder_is_every_small_prime_that_exists_and_no_more_would_fit() -> None:
    """All primes = 1 mod 65536 * 65537 in the ladder's range are in it, ascending, and the next one
    would exceed the security table.
    """
    step = 2 * DEEP.ring_degree * T
    ladder = DEEP.data_primes[2:]
    found = [q for q in range(step + 1, ladder[-1] + 1, step) if is_prime(q)]
    assert tuple(found) == ladder
    following = ladder[-1] + step
    while not is_prime(following):
        following += step
    assert DEEP.modulus_bits <= MODULUS_BITS_MAX[DEEP.ring_degree][0]
    assert DEEP.modulus_bits + log2(following) > MODULUS_BITS_MAX[DEEP.ring_degree][0]


def test_fifteen_stages_stay_in_the_proven_range() -> None:
    """The kernels' recurrence for N = 32768 and the largest prime of the chain, exactly: below 12
    p, and far from where a double stops being exact.
    """
    stages = DEEP.ring_degree.bit_length() - 1
    assert stages == LOG_DEGREE_MAX == 15
    bits = max(prime.bit_length() for prime in chain_of(DEEP))
    assert bits <= PRIME_BITS_MAX
    assert growth(stages, bits) <= growth(stages) < 12.0
    assert 2.0 * growth(stages, bits) * 2.0**bits < 2.0**53


def test_small_rings_for_tests_use_the_real_chains() -> None:
    assert INSECURE_DEEP_N2048.data_primes == DEEP.data_primes
    assert INSECURE_DEEP_N2048.name == "insecure_bgv_n2048_q848_t65537"
    assert INSECURE_N1024.data_primes == DEFAULT.data_primes
    assert INSECURE_N1024.name == "insecure_bgv_n1024_q427_t65537"


def test_products_are_exact_at_every_level(client: ClientScheme, evaluator: Evaluator) -> None:
    """A chain of 19 products from the top to the last limb against integers, in all 32,768 slots;
    the proven bound is above the measured noise all the way.
    """
    rng = np.random.default_rng(15)
    slots = rng.integers(-3, 4, (2, DEEP.slots))
    running, factor = (
        evaluator.expand_seeded(ct) for ct in client.encrypt(slots, [(-3, 3), (-3, 3)])
    )
    expected = slots[0] % T
    for level in range(DEEP.max_level, 1, -1):
        running = evaluator.switch(evaluator.multiply(running, evaluator.truncate(factor, level)))
        expected = expected * slots[1] % T
        assert client.exact_noise(running) <= running.meta.noise
    assert running.level == 1
    exact = evaluator.rules.assert_bound(running.meta, 0, T - 1)
    running = type(running)(running.parameters, running.key_id, exact, running.data)
    assert (client.decrypt(running) == expected).all()


def test_seal_agrees(
    key: SecretKey, client: ClientScheme, evaluator: Evaluator, tmp_path: Path
) -> None:
    """SEAL, which enforces the table of 2018, accepts the set; it reads our fresh and switched
    ciphertexts, and we read what it encrypted.
    """
    seal = SealOracle(key, tmp_path)
    rng = np.random.default_rng(16)
    slots = rng.integers(0, 181, (2, DEEP.slots))
    a, b = (evaluator.expand_seeded(ct) for ct in client.encrypt(slots, [(0, 180)] * 2))
    switched = evaluator.switch(evaluator.multiply(a, b))
    for ours, theirs in ((a, slots[0]), (switched, slots[0] * slots[1])):
        coefficients = seal.decrypt(seal.to_seal(ours))
        assert (encoder.to_slots(DEEP, coefficients) == theirs % T).all()
    made = seal.encrypt(encoder.to_coefficients(DEEP, slots[1]))
    read = seal.from_seal(made, Meta(DEEP.max_level, 1, 60.0, 0, T - 1))
    assert (client.decrypt(read) == slots[1]).all()
