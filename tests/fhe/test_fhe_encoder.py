"""Slots and polynomials: the transform is evaluation, and the compiled one is the same."""

from __future__ import annotations

import numpy as np
import pytest

from amaters.base.errors import AmatersError
from amaters.fhe import encoder
from amaters.fhe.meta import Meta
from amaters.fhe.parameters import DEEP, DEFAULT, INSECURE_N1024, Parameters
from amaters.fhe.secret.transformed import SlotTransform

T = 65537


def random_slots(parameters: Parameters, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, T, parameters.slots)


def test_slots_are_evaluations_at_the_documented_points() -> None:
    N = INSECURE_N1024.ring_degree
    slots = random_slots(INSECURE_N1024)
    coefficients = encoder.to_coefficients(INSECURE_N1024, slots).tolist()
    psi, reversal = encoder.slot_root(N), encoder.bit_reversal(N)
    assert pow(psi, N, T) == T - 1
    for j in (0, 1, 2, 511, 1023):
        x = pow(psi, int(2 * reversal[j] + 1), T)
        assert sum(c * pow(x, k, T) for k, c in enumerate(coefficients)) % T == slots[j]


@pytest.mark.parametrize("parameters", [INSECURE_N1024, DEFAULT, DEEP], ids=lambda p: p.name)
def test_transforms_invert_each_other_and_match_the_kernels(parameters: Parameters) -> None:
    slots = random_slots(parameters)
    coefficients = encoder.to_coefficients(parameters, slots)
    assert (encoder.to_slots(parameters, coefficients) == slots).all()
    compiled = SlotTransform(parameters)
    assert (compiled.message_of(slots.astype(np.uint64)) == coefficients).all()
    centred = encoder.centred(coefficients).astype(np.float64)
    assert (compiled.slots_of(centred) == slots).all()


def test_slotwise_product_is_negacyclic_convolution() -> None:
    N = INSECURE_N1024.ring_degree
    a, b = random_slots(INSECURE_N1024, 2), random_slots(INSECURE_N1024, 3)
    x = encoder.to_coefficients(INSECURE_N1024, a).astype(object)
    y = encoder.to_coefficients(INSECURE_N1024, b).astype(object)
    full = np.zeros(2 * N, dtype=object)
    for i in range(N):
        full[i : i + N] += x[i] * y
    product = ((full[:N] - full[N:]) % T).astype(np.int64)
    assert (encoder.to_slots(INSECURE_N1024, product) == a * b % T).all()


def test_constant_polynomial_fills_every_slot() -> None:
    constant = np.zeros(INSECURE_N1024.ring_degree, dtype=np.int64)
    constant[0] = 77
    assert (encoder.to_slots(INSECURE_N1024, constant) == 77).all()


@pytest.mark.parametrize("exponent", [3, 5, 2047, 1025])
def test_automorphism_permutes_slots(exponent: int) -> None:
    N = INSECURE_N1024.ring_degree
    slots = random_slots(INSECURE_N1024)
    coefficients = encoder.to_coefficients(INSECURE_N1024, slots)
    moved = np.zeros(N, dtype=np.int64)
    for k, c in enumerate(coefficients):
        power = k * exponent % (2 * N)
        moved[power % N] += c if power < N else -c
    order = encoder.automorphism_permutation(N, exponent)
    assert (encoder.to_slots(INSECURE_N1024, moved) == slots[order]).all()


def test_public_norm_is_the_largest_embedding_of_the_centred_polynomial() -> None:
    small = INSECURE_N1024
    slots = random_slots(small)
    coefficients = encoder.centred(encoder.to_coefficients(small, slots)).astype(np.float64)
    N = small.ring_degree
    k = np.arange(N)
    direct = max(
        abs((coefficients * np.exp(1j * np.pi / N * (2 * j + 1) * k)).sum()) for j in range(N)
    )
    assert encoder.public_norm(small, slots) == pytest.approx(np.log2(direct), abs=1e-6)
    assert encoder.public_norm(small, np.ones(N, dtype=np.int64)) == pytest.approx(0.0, abs=1e-6)
    assert encoder.public_norm(small, np.zeros(N, dtype=np.int64)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("lo", "hi"), [(0, 65536), (-128, 127), (-65536, 0), (60000, 100000)])
def test_decoding_into_the_bound(lo: int, hi: int) -> None:
    values = np.random.default_rng(4).integers(lo, hi + 1, INSECURE_N1024.slots)
    decoded = encoder.decode_slots(INSECURE_N1024, values % T, Meta(1, 1, 0.0, lo, hi))
    assert (decoded == values).all()


def test_a_slot_outside_its_bound_is_not_returned() -> None:
    values = np.zeros(INSECURE_N1024.slots, dtype=np.int64)
    values[3] = 2
    with pytest.raises(AmatersError) as caught:
        encoder.decode_slots(INSECURE_N1024, values, Meta(1, 1, 0.0, 0, 1))
    assert caught.value.code == "AM-1208"
