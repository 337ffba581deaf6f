"""Key switching, drops and keys: exact at every level, noise below the stated bound, formats
checked.
"""

from __future__ import annotations

from dataclasses import replace

import blake3
import numpy as np
import pytest

from amaters.base.errors import AmatersError
from amaters.fhe import encoder
from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.evaluator import BgvEvaluator
from amaters.fhe.keys import (
    RELINEARIZE,
    EvaluationKeys,
    KeyShape,
    expansion_shapes,
    relinearization_shapes,
)
from amaters.fhe.parameters import DEFAULT, INSECURE_N4096, Parameters
from amaters.fhe.scheme import ClientScheme
from amaters.fhe.secret import SecretKey, make_client_scheme
from amaters.fhe.secret.keygen import KeyGenerator

LEVELS = range(2, 11)


@pytest.fixture(scope="module")
def keys(secret_key: SecretKey, parameters: Parameters) -> EvaluationKeys:
    extra = (*expansion_shapes(parameters, 4, 6), KeyShape(3, 1, 10))
    return KeyGenerator(secret_key).evaluation_keys(extra)


@pytest.fixture(scope="module")
def real(parameters: Parameters, keys: EvaluationKeys) -> BgvEvaluator:
    return BgvEvaluator(parameters, keys)


def fresh(
    client: ClientScheme, real: BgvEvaluator, values: np.ndarray, level: int
) -> list[Ciphertext]:
    bounds = [(int(row.min()), int(row.max())) for row in values]
    return [real.expand_seeded(ct, level) for ct in client.encrypt(values, bounds, level=level)]


def test_merged_switches_are_exact_at_every_level(
    client: ClientScheme, real: BgvEvaluator, parameters: Parameters
) -> None:
    """A product relinearised and dropped in one go: same slots, noise below the rule's bound."""
    rng = np.random.default_rng(1)
    for level in LEVELS:
        values = rng.integers(-12, 12, (2, parameters.slots))
        a, b = fresh(client, real, values, level)
        switched = real.switch(real.multiply(a, b))
        assert (switched.level, switched.degree) == (level - 1, 1)
        assert client.exact_noise(switched) <= switched.meta.noise
        assert np.array_equal(client.decrypt(switched), values[0] * values[1])


def test_relinearisation_keeps_the_level(
    client: ClientScheme, real: BgvEvaluator, parameters: Parameters
) -> None:
    rng = np.random.default_rng(2)
    for level in LEVELS:
        values = rng.integers(0, 16, (2, parameters.slots))
        a, b = fresh(client, real, values, level)
        product = real.multiply(a, b)
        found = real.relinearize(product)
        assert (found.level, found.degree) == (level, 1)
        # The sum of product and switch noise is dominated by the product: measure the difference.
        difference = real.sub(found, product)
        bound = real.rules.relinearize(product.meta).noise
        assert client.exact_noise(difference) < bound
        assert np.array_equal(client.decrypt(found), values[0] * values[1])


def test_drops_at_degree_one_and_two(
    client: ClientScheme, real: BgvEvaluator, parameters: Parameters
) -> None:
    rng = np.random.default_rng(3)
    for level in LEVELS[1:]:
        values = rng.integers(-9, 9, (2, parameters.slots))
        a, b = fresh(client, real, values, level)
        for ct, expected in ((a, values[0]), (real.multiply(a, b), values[0] * values[1])):
            dropped = real.drop(ct)
            assert dropped.level == level - 1
            assert client.exact_noise(dropped) <= dropped.meta.noise
            assert np.array_equal(client.decrypt(dropped), expected)


def test_a_chain_of_products_down_to_the_last_limb(
    client: ClientScheme, real: BgvEvaluator, parameters: Parameters
) -> None:
    """Nine products of signs, each switched: every level meets a ciphertext at the noise floor."""
    rng = np.random.default_rng(4)
    values = rng.choice([-1, 1], (10, parameters.slots))
    total, *rest = fresh(client, real, values, 10)
    expected = values[0]
    for factor, ct in zip(values[1:], rest, strict=True):
        total = real.switch(real.multiply(total, real.truncate(ct, total.level)))
        expected = expected * factor
        assert client.exact_noise(total) <= total.meta.noise
        assert np.array_equal(client.decrypt(total), expected)
    assert total.level == 1
    small = real.shrink(total)
    assert client.exact_noise(small) <= small.meta.noise
    assert np.array_equal(client.decrypt(small), expected)


def test_automorphisms_permute_slots(
    client: ClientScheme, real: BgvEvaluator, parameters: Parameters
) -> None:
    rng = np.random.default_rng(5)
    values = rng.integers(-100, 100, (1, parameters.slots))
    for level in (10, 4, 1):
        (a,) = fresh(client, real, values, level)
        moved = real.apply_automorphism(a, 3)
        order = encoder.automorphism_permutation(parameters.ring_degree, 3)
        assert client.exact_noise(moved) <= moved.meta.noise
        assert np.array_equal(client.decrypt(moved), values[0][order])


@pytest.mark.parametrize("count", [1, 2, 3, 11, 16])
def test_expansion_yields_each_packed_constant(
    client: ClientScheme, real: BgvEvaluator, parameters: Parameters, count: int
) -> None:
    """The client packs 2^-rounds times each constant; each result carries one in every slot."""
    t, rounds = parameters.plaintext_modulus, (count - 1).bit_length()
    constants = np.random.default_rng(count).integers(0, 2, count)
    packed = np.zeros(parameters.slots, dtype=np.int64)
    packed[:count] = constants * pow(1 << rounds, -1, t) % t
    slots = encoder.to_slots(parameters, packed)
    (ct,) = client.encrypt(slots[np.newaxis], [(0, t - 1)], level=6)
    made = real.expand(real.expand_seeded(ct), count)
    assert len(made) == count
    for one, constant in zip(made, constants, strict=True):
        assert client.exact_noise(one) <= one.meta.noise
        assert np.all(client.decrypt(one) == constant)


def test_keys_survive_serialisation_and_fit_the_limit(
    client: ClientScheme, keys: EvaluationKeys, parameters: Parameters
) -> None:
    data = keys.to_bytes()
    again = EvaluationKeys.from_bytes(parameters, data)
    assert again.to_bytes() == data
    first, second = keys.get(RELINEARIZE, 2, 4), again.get(RELINEARIZE, 2, 4)
    assert np.array_equal(first.expanded(), second.expanded())
    sizes = 0
    for shape in (*relinearization_shapes(DEFAULT), *expansion_shapes(DEFAULT, 7, 8)):
        primes = (*DEFAULT.data_primes, DEFAULT.special_prime)
        row = sum((primes[c].bit_length() + 7) // 8 for c in shape.chain(DEFAULT))
        sizes += len(shape.digits()) * row * DEFAULT.ring_degree
    assert sizes <= 100_000_000


def test_damaged_or_foreign_keys_are_typed_errors(
    keys: EvaluationKeys, parameters: Parameters
) -> None:
    data = bytearray(keys.to_bytes())
    cases = [bytes(data[:50]), bytes(data[:-1]), b"x" + bytes(data[1:])]
    for position in (100, len(data) // 2, len(data) - 1):
        flipped = bytearray(data)
        flipped[position] ^= 1
        cases.append(bytes(flipped))
    for case in cases:
        with pytest.raises(AmatersError) as raised:
            EvaluationKeys.from_bytes(parameters, case)
        assert raised.value.kind == "Data"
    with pytest.raises(AmatersError, match="another parameter set"):
        EvaluationKeys.from_bytes(INSECURE_N4096, bytes(data))


@pytest.mark.parametrize("seed", range(4))
def test_fuzzed_keys_are_refused_or_checked_on_expansion(
    keys: EvaluationKeys, parameters: Parameters, seed: int
) -> None:
    """Random damage under a correct checksum, as an attacker would send it: typed errors only."""
    rng = np.random.default_rng(seed)
    original = keys.to_bytes()[:-32]
    for _ in range(12):
        data = bytearray(original)
        spots = rng.integers(0, len(data), 3).tolist() + rng.integers(0, 120, 2).tolist()
        for spot in spots:
            data[spot] = int(rng.integers(256))
        if rng.integers(3) == 0:
            del data[int(rng.integers(len(data))) :]
        sealed = bytes(data) + blake3.blake3(bytes(data)).digest()
        try:
            parsed = EvaluationKeys.from_bytes(parameters, sealed)
            for key in parsed:
                key.expanded()
        except AmatersError as error:
            assert error.kind == "Data"


def test_a_missing_key_is_a_typed_error(
    client: ClientScheme, real: BgvEvaluator, parameters: Parameters
) -> None:
    (a,) = fresh(client, real, np.ones((1, parameters.slots), dtype=np.int64), 3)
    with pytest.raises(AmatersError, match="AM-1204"):
        real.apply_automorphism(a, 7)
    with pytest.raises(AmatersError, match="AM-1204"):
        real.apply_automorphism(a, 4)


def test_keys_of_another_secret_are_refused_and_would_not_help(
    parameters: Parameters, real: BgvEvaluator
) -> None:
    """The switch depends on the key: under a forged key id the exact noise fills the modulus."""
    stranger = make_client_scheme("bgv", parameters, SecretKey.generate(parameters))
    values = np.ones((2, parameters.slots), dtype=np.int64)
    a, b = fresh(stranger, real, values, 4)
    product = real.multiply(a, b)
    with pytest.raises(AmatersError, match="AM-1206"):
        real.switch(product)
    forged = replace(product, key_id=real.key_id)
    switched = replace(real.switch(forged), key_id=stranger.key_id)
    assert stranger.exact_noise(switched) > switched.meta.noise + 40
