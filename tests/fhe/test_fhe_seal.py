"""Microsoft SEAL and we decrypt each other: fresh, multiplied, relinearised, switched, at many
levels.

SEAL shares no code with us, so agreement checks the scheme itself: residues, order, primes, signs,
plaintext space.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tenseal.sealapi as seal
from seal_support import SealOracle

from amaters.fhe import encoder
from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.meta import Meta
from amaters.fhe.parameters import DEFAULT, INSECURE_N1024, Parameters
from amaters.fhe.publickey import PublicEncryptor
from amaters.fhe.scheme import ClientScheme, Evaluator, make_evaluator
from amaters.fhe.secret import SecretKey, make_client_scheme

T = 65537


class Pair:
    """One key in both libraries."""

    def __init__(self, parameters: Parameters, folder: Path) -> None:
        key = SecretKey.generate(parameters)
        self.parameters = parameters
        self.client: ClientScheme = make_client_scheme("bgv", parameters, key)
        self.evaluator: Evaluator = make_evaluator("bgv", parameters, self.client.evaluation_keys())
        self.seal = SealOracle(key, folder)
        rng = np.random.default_rng(6)
        self.slots = rng.integers(0, 181, (3, parameters.slots))

    def fresh(self, level: int) -> list[Ciphertext]:
        made = self.client.encrypt(self.slots, [(0, 180)] * 3, level)
        return [self.evaluator.expand_seeded(ct) for ct in made]

    def seal_reads(self, ct: Ciphertext, slots: np.ndarray) -> None:
        """SEAL decrypts our ciphertext to these slots."""
        coefficients = self.seal.decrypt(self.seal.to_seal(ct))
        assert (encoder.to_slots(self.parameters, coefficients) == slots % T).all()

    def coefficients(self, index: int) -> np.ndarray:
        return encoder.to_coefficients(self.parameters, self.slots[index])

    def we_read(self, made: object, level: int, degree: int, slots: np.ndarray) -> None:
        """We decrypt SEAL's ciphertext to these slots; 2^50 bounds what SEAL's operations leave."""
        meta = Meta(level, degree, 35.0 if level == 1 else 60.0, 0, T - 1)
        ours = self.seal.from_seal(made, meta)
        assert (self.client.decrypt(ours) == slots % T).all()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(INSECURE_N1024, tmp_path_factory.mktemp("seal"))


@pytest.mark.parametrize("level", [1, 2, 3, 6, 9, 10])
def test_seal_decrypts_our_fresh_ciphertexts(pair: Pair, level: int) -> None:
    pair.seal_reads(pair.fresh(level)[0], pair.slots[0])


def test_seal_decrypts_truncated_and_scalar_ciphertexts(pair: Pair) -> None:
    pair.seal_reads(pair.evaluator.truncate(pair.fresh(10)[0], 2), pair.slots[0])
    (constant,) = pair.client.encrypt_scalars([-3], [(-5, 5)], 4)
    pair.seal_reads(pair.evaluator.expand_seeded(constant), np.full(pair.parameters.slots, -3))


def test_seal_decrypts_our_public_key_ciphertexts(pair: Pair) -> None:
    made = PublicEncryptor(pair.client.public_key()).encrypt(pair.slots, [(0, 180)] * 3, 5)
    pair.seal_reads(made[1], pair.slots[1])


@pytest.mark.parametrize("level", [3, 6, 10])
def test_seal_decrypts_our_products(pair: Pair, level: int) -> None:
    """Degree 2 and degree 3, sums of products, linear combinations."""
    a, b, c = pair.fresh(level)
    x, y, z = pair.slots
    ev = pair.evaluator
    pair.seal_reads(ev.multiply(a, b), x * y)
    pair.seal_reads(ev.multiply(ev.multiply(a, b), c), x * y % T * z)
    pair.seal_reads(ev.multiply_accumulate(ev.multiply(a, b), b, c), x * y + y * z)
    pair.seal_reads(ev.linear([(3, a), (-5, b)], 7), 3 * x - 5 * y + 7)


@pytest.mark.parametrize("level", [2, 3, 5, 6, 8, 9, 10])
def test_seal_decrypts_our_switched_ciphertexts(pair: Pair, level: int) -> None:
    """Relinearised at its level, relinearised and dropped in one, dropped alone."""
    a, b, _ = pair.fresh(level)
    x, y, _ = pair.slots
    ev = pair.evaluator
    product = ev.multiply(a, b)
    pair.seal_reads(ev.relinearize(product), x * y)
    pair.seal_reads(ev.switch(product), x * y)
    pair.seal_reads(ev.drop(a), x)


def test_seal_decrypts_a_ladder_of_our_switches(pair: Pair) -> None:
    """Nine merged switches in a row, from ten limbs to one."""
    ct, slots = pair.fresh(10)[0], pair.slots[0]
    while ct.level > 1:
        ct = pair.evaluator.switch(pair.evaluator.multiply(ct, ct))
        slots = slots * slots % T
        pair.seal_reads(ct, slots)


def test_we_decrypt_what_seal_encrypted(pair: Pair) -> None:
    made = pair.seal.encrypt(pair.coefficients(0))
    pair.we_read(made, 10, 1, pair.slots[0])


def test_we_decrypt_what_seal_multiplied_relinearised_and_switched(pair: Pair) -> None:
    x, y = pair.slots[0], pair.slots[1]
    ev = pair.seal.evaluator
    product = seal.Ciphertext(pair.seal.context)
    ev.multiply(
        pair.seal.encrypt(pair.coefficients(0)), pair.seal.encrypt(pair.coefficients(1)), product
    )
    pair.we_read(product, 10, 2, x * y)
    ev.relinearize_inplace(product, pair.seal.relin)
    pair.we_read(product, 10, 1, x * y)
    for level in range(9, 0, -1):
        ev.mod_switch_to_next_inplace(product)
        pair.we_read(product, level, 1, x * y)


def test_mixed_computation(pair: Pair) -> None:
    """We multiply what SEAL encrypted, SEAL relinearises our product, we switch SEAL's result."""
    x, y = pair.slots[0], pair.slots[1]
    meta = Meta(10, 1, 40.0, 0, 180)
    a = pair.seal.from_seal(pair.seal.encrypt(pair.coefficients(0)), meta)
    b = pair.seal.from_seal(pair.seal.encrypt(pair.coefficients(1)), meta)
    product = pair.seal.to_seal(pair.evaluator.multiply(a, b))
    pair.seal.evaluator.relinearize_inplace(product, pair.seal.relin)
    ours = pair.seal.from_seal(product, Meta(10, 1, 90.0, 0, T - 1))
    dropped = pair.evaluator.drop(ours)
    assert (pair.client.decrypt(dropped) == x * y % T).all()


def test_default_parameters_agree_with_seal(tmp_path: Path) -> None:
    """The production ring once: fresh, product, switched, and back."""
    pair = Pair(DEFAULT, tmp_path)
    a, b, _ = pair.fresh(4)
    x, y, _ = pair.slots
    pair.seal_reads(a, x)
    product = pair.evaluator.multiply(a, b)
    pair.seal_reads(product, x * y)
    pair.seal_reads(pair.evaluator.switch(product), x * y)
    pair.we_read(pair.seal.encrypt(pair.coefficients(2)), 10, 1, pair.slots[2])
