"""Real and noop scheme do the same, and what is measured never exceeds what was proven."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from amaters.base.errors import AmatersError
from amaters.fhe import encoder
from amaters.fhe.ciphertext import Ciphertext, SeededCiphertext
from amaters.fhe.keys import expansion_exponents, expansion_shapes
from amaters.fhe.noop import NoopEvaluator
from amaters.fhe.parameters import DEFAULT, INSECURE_N1024, INSECURE_N4096
from amaters.fhe.publickey import PublicEncryptor, PublicKey
from amaters.fhe.scheme import ClientScheme, Evaluator, make_evaluator
from amaters.fhe.secret import SecretKey, make_client_scheme
from amaters.fhe.secret.keygen import KeyGenerator

P = INSECURE_N1024
T = 65537
Pair = tuple[Ciphertext, Ciphertext]


class Both:
    """Runs every operation on both schemes and compares everything public."""

    def __init__(self, real: Evaluator, noop: Evaluator) -> None:
        self.real, self.noop = real, noop

    def __call__(self, name: str, *args: object) -> Pair:
        def pick(side: int, arg: object) -> object:
            if isinstance(arg, tuple) and len(arg) == 2 and isinstance(arg[0], Ciphertext):
                return arg[side]
            if isinstance(arg, list):
                return [pick(side, item) for item in arg]
            if isinstance(arg, tuple):
                return tuple(pick(side, item) for item in arg)
            return arg

        results = []
        for side, evaluator in enumerate((self.real, self.noop)):
            try:
                method: Callable[..., Ciphertext] = getattr(evaluator, name)
                results.append(method(*(pick(side, arg) for arg in args)))
            except AmatersError as error:
                results.append(error.code)
        real, noop = results
        if isinstance(real, str) or isinstance(noop, str):
            assert real == noop
            raise RefusedError(str(real))
        same_public(real, noop)
        return real, noop


class RefusedError(Exception):
    """Both schemes refused, with the same code."""


def same_public(real: Ciphertext, noop: Ciphertext) -> None:
    a, b = real.meta, noop.meta
    assert (a.level, a.degree, a.lo, a.hi) == (b.level, b.degree, b.lo, b.hi)
    assert a.noise == pytest.approx(b.noise)
    assert (a.rest is None) == (b.rest is None)
    if a.rest is not None and b.rest is not None:
        assert a.rest == pytest.approx(b.rest)
    assert len(a.factors) == len(b.factors)


@pytest.fixture(scope="module")
def both(evaluator: Evaluator, noop_evaluator: Evaluator) -> Both:
    return Both(evaluator, noop_evaluator)


def draw(
    rng: np.random.Generator, client: ClientScheme, noop_client: ClientScheme, both: Both
) -> list[tuple[Pair, np.ndarray]]:
    """Four fresh inputs with assorted bounds, in both schemes, at one random level."""
    bounds = [(0, 1), (-8, 7), (0, 255), (-128, 127)]
    slots = np.stack([rng.integers(lo, hi + 1, P.slots) for lo, hi in bounds])
    level = int(rng.integers(1, 11))
    pairs = zip(
        client.encrypt(slots, bounds, level), noop_client.encrypt(slots, bounds, level), strict=True
    )
    return [
        ((both.real.expand_seeded(real), both.noop.expand_seeded(noop)), row)
        for (real, noop), row in zip(pairs, slots, strict=True)
    ]


def step(
    rng: np.random.Generator, both: Both, pool: list[tuple[Pair, np.ndarray]]
) -> tuple[Pair, np.ndarray]:
    """One random operation on random members of the pool, and its exact result over the
    integers mod t.
    """
    (a, x), (b, y), (c, z) = (pool[i] for i in rng.integers(0, len(pool), 3))
    k, m = (int(v) for v in rng.integers(-40, 41, 2))
    choices: list[Callable[[], tuple[Pair, np.ndarray]]] = [
        lambda: (both("add", a, b), x + y),
        lambda: (both("sub", a, b), x - y),
        lambda: (both("negate", a), -x),
        lambda: (both("scale", a, k), k * x),
        lambda: (both("offset", a, k), x + k),
        lambda: (both("linear", [(k, a), (m, b), (1, c)], k - m), k * x + m * y + z + k - m),
        lambda: (both("multiply", a, b), x * y),
        lambda: (both("multiply", b, c), y * z),
        lambda: (both("dot", [a, b], [c, a]), x * z + y * x),
        lambda: (both("multiply_accumulate", both("multiply", a, b), b, c), x * y + y * z),
        lambda: (both("relinearize", a), x),
        lambda: (both("switch", a), x),
        lambda: (both("switch", both("multiply", a, b)), x * y),
        lambda: (both("drop", a), x),
        lambda: (both("truncate", a, max(1, a[0].level - 1)), x),
    ]
    result, exact = choices[int(rng.integers(0, len(choices)))]()
    return result, exact % T


def test_a_thousand_random_circuits(
    client: ClientScheme, noop_client: ClientScheme, both: Both
) -> None:
    """Both schemes agree with exact integers wherever the bound proves it; noise and slot values
    never exceed their bounds; refusals are the same. At least 1,000 circuits of several operations.
    """
    rng = np.random.default_rng(20261122)
    checked = refused = unproven = 0
    for _ in range(1000):
        pool = draw(rng, client, noop_client, both)
        for _ in range(6):
            try:
                pool.append(step(rng, both, pool))
            except RefusedError:
                refused += 1
        (real, noop), exact = pool[-1]
        assert (noop.data[0] == exact % T).all()
        if client.rules.headroom(real.meta) <= 0:
            unproven += 1
            with pytest.raises(AmatersError):
                client.decrypt(real)
            continue
        assert client.exact_noise(real) <= real.meta.noise
        widest = (min(real.meta.lo, 0), max(real.meta.hi, T - 1))
        if client.rules.wrapped(real.meta):
            open_meta = client.rules.assert_bound(real.meta, 0, T - 1)
            real = Ciphertext(real.parameters, real.key_id, open_meta, real.data)
        decoded = client.decrypt(real)
        assert widest[0] <= decoded.min()
        assert ((decoded - exact) % T == 0).all()
        checked += 1
    assert checked > 700
    assert refused > 100
    assert unproven > 3


def test_slot_values_stay_inside_their_interval(
    client: ClientScheme, noop_client: ClientScheme, both: Both
) -> None:
    """Without wrapping, the interval contains every slot of the exact integer result."""
    rng = np.random.default_rng(7)
    for _ in range(200):
        pool = draw(rng, client, noop_client, both)
        (a, x), (b, y), (c, z) = (pool[i] for i in rng.integers(0, 4, 3))
        k = int(rng.integers(-5, 6))
        meta = both("linear", [(k, a), (1, both("multiply", b, c))], k)[1].meta
        exact = k * x + y * z + k
        if not client.rules.wrapped(meta):
            assert meta.lo <= exact.min() and exact.max() <= meta.hi


def test_noise_bound_holds_for_correlated_inputs(
    client: ClientScheme, evaluator: Evaluator
) -> None:
    """Squares and power ladders of one ciphertext, where bounds that assume independence fail."""
    ones = np.ones((1, P.slots), dtype=np.int64)
    (made,) = client.encrypt(ones, [(0, 1)])
    ct = evaluator.expand_seeded(made)
    while ct.level > 1:
        ct = evaluator.multiply(ct, ct)
        if client.rules.headroom(ct.meta) > 0:
            assert client.exact_noise(ct) <= ct.meta.noise
        ct = evaluator.switch(ct)
        assert client.exact_noise(ct) <= ct.meta.noise
    assert (client.decrypt(ct) == 1).all()


def test_final_product_bound_holds_and_is_not_wasteful(
    client: ClientScheme, evaluator: Evaluator
) -> None:
    """Triple products with independent fresh values, summed over 30 segments, at two limbs: the
    measured coefficients stay below the coefficient bound and within 2^12 of it.
    """
    rng = np.random.default_rng(8)
    total, expected = None, 0
    mask_slots = rng.integers(0, 2, (2, P.slots))
    m1, m2 = (evaluator.expand_seeded(ct, 3) for ct in client.encrypt(mask_slots, [(0, 1)] * 2))
    mask = evaluator.switch(evaluator.multiply(m1, m2))
    for _ in range(30):
        slots = np.stack([rng.integers(0, 256, P.slots), rng.integers(0, 2, P.slots)])
        made = client.encrypt(slots, [(0, 255), (0, 1)])
        value, onehot = (evaluator.expand_seeded(ct, 2) for ct in made)
        total = evaluator.multiply_accumulate(total, evaluator.multiply(value, onehot), mask)
        expected = expected + slots[0] * slots[1] * mask_slots[0] * mask_slots[1]
    assert total is not None
    assert (client.decrypt(total) == expected).all()
    bound = client.rules.coefficient_bound(total.meta)
    assert bound < total.meta.noise - 5
    measured = client.exact_noise(total) - 0.5 * np.log2(P.ring_degree)  # typical coefficient
    assert measured <= bound < measured + 12


def test_public_operands(both: Both, client: ClientScheme, noop_client: ClientScheme) -> None:
    """Products and sums with public vectors agree, measured norm included."""
    rng = np.random.default_rng(9)
    pool = draw(rng, client, noop_client, both)
    (a, x) = pool[2]
    vector = rng.integers(0, 2, P.slots)
    v = (both.real.encode_public(vector), both.noop.encode_public(vector))
    assert v[0].norm == pytest.approx(v[1].norm)
    for name, exact in (("multiply_public", x * vector), ("add_public", x + vector)):
        real = getattr(both.real, name)(a[0], v[0])
        noop = getattr(both.noop, name)(a[1], v[1])
        same_public(real, noop)
        assert (client.decrypt(real) == exact).all()
        assert (noop_client.decrypt(noop) == exact).all()
        assert client.exact_noise(real) <= real.meta.noise


def test_public_vectors_above_the_assumed_norm_are_refused(
    evaluator: Evaluator, noop_evaluator: Evaluator
) -> None:
    """A polynomial whose coefficients line up at one root: nothing that planning could have
    assumed.
    """
    k = np.arange(P.ring_degree)
    aligned = np.rint(32768 * np.sign(np.cos(np.pi * k / P.ring_degree))).astype(np.int64)
    slots = encoder.to_slots(P, aligned)
    for side in (evaluator, noop_evaluator):
        with pytest.raises(AmatersError) as caught:
            side.encode_public(slots)
        assert caught.value.code == "AM-1205"


def test_shrunk_results_decrypt(
    client: ClientScheme, noop_client: ClientScheme, both: Both
) -> None:
    """The 26-bit download form, for random plaintexts: measured coefficients below the bound."""
    rng = np.random.default_rng(10)
    for _ in range(20):
        slots = rng.integers(0, T, (1, P.slots))
        bounds = [(0, T - 1)]
        pair = tuple(
            side.expand_seeded(scheme.encrypt(slots, bounds)[0], 2)
            for side, scheme in ((both.real, client), (both.noop, noop_client))
        )
        real, noop = both("shrink", both("drop", pair))
        assert client.exact_noise(real) <= real.meta.noise
        assert (client.decrypt(real) == slots[0]).all()
        assert (noop_client.decrypt(noop) == slots[0]).all()


@pytest.fixture(scope="module")
def expanding(secret_key: SecretKey) -> Both:
    """Evaluators with keys to expand up to 16 constants at up to 6 limbs."""
    shapes = expansion_shapes(P, 4, 6)
    keys = KeyGenerator(secret_key).evaluation_keys(shapes).to_bytes()
    return Both(make_evaluator("bgv", P, keys), NoopEvaluator(P))


def test_automorphisms_permute_both_schemes_alike(
    client: ClientScheme, noop_client: ClientScheme, expanding: Both
) -> None:
    """The noop scheme's permutation of slots is what X -> X^g does to a real ciphertext."""
    rng = np.random.default_rng(11)
    for exponent in expansion_exponents(P.ring_degree, 4):
        (a, x) = draw(rng, client, noop_client, expanding)[2]
        pair = expanding("truncate", a, min(a[0].level, 6))
        real, noop = expanding("apply_automorphism", pair, exponent)
        order = encoder.automorphism_permutation(P.ring_degree, exponent)
        assert (noop_client.decrypt(noop) == x[order]).all()
        if client.rules.headroom(real.meta) > 0:
            assert (client.decrypt(real) == x[order]).all()
            assert client.exact_noise(real) <= real.meta.noise


@pytest.mark.parametrize("count", [1, 2, 3, 7, 13, 16])
def test_packed_constants_expand(
    client: ClientScheme, noop_client: ClientScheme, expanding: Both, count: int
) -> None:
    """One uploaded ciphertext becomes one per constant, in order, on both schemes."""
    values = [(7 * i) % 11 - 5 for i in range(count)]
    packed = [side.encrypt_packed(values, (-5, 5), 6) for side in (client, noop_client)]
    for evaluator, scheme, seeded in zip(
        (expanding.real, expanding.noop), (client, noop_client), packed, strict=True
    ):
        made = evaluator.expand(evaluator.expand_seeded(seeded), count)
        assert len(made) == count
        for ct, value in zip(made, values, strict=True):
            assert (scheme.decrypt(ct) == value).all()
            assert scheme.exact_noise(ct) <= ct.meta.noise
    for side in (client, noop_client):
        with pytest.raises(AmatersError) as caught:
            side.encrypt_packed([6], (-5, 5))
        assert caught.value.code == "AM-1207"


def test_public_key_encryption(client: ClientScheme, evaluator: Evaluator) -> None:
    """Decrypts at every level, within its bound, and multiplies with symmetric ciphertexts."""
    key = PublicKey.from_bytes(client.public_key().to_bytes(), P, client.key_id)
    rng = np.random.default_rng(12)
    slots = rng.integers(0, 256, (2, P.slots))
    for level in (1, 3, 10):
        made = PublicEncryptor(key).encrypt(slots, [(0, 255)] * 2, level)
        for ct, row in zip(made, slots, strict=True):
            assert (client.decrypt(ct) == row).all()
            assert client.exact_noise(ct) <= ct.meta.noise
    (fresh,) = client.encrypt(slots[:1], [(0, 255)])
    product = evaluator.multiply(made[1], evaluator.expand_seeded(fresh))
    assert (client.decrypt(evaluator.switch(product)) == slots[0] * slots[1]).all()


def test_encryption_in_threads_is_the_same_encryption(
    client: ClientScheme, evaluator: Evaluator
) -> None:
    rng = np.random.default_rng(13)
    slots = rng.integers(-128, 128, (40, P.slots))
    made = client.encrypt(slots, [(-128, 127)] * 40, 3, threads=4)
    for ct, row in zip(made, slots, strict=True):
        assert (client.decrypt(evaluator.expand_seeded(ct)) == row).all()


def test_values_outside_their_bounds_are_refused_without_naming_them(
    client: ClientScheme, noop_client: ClientScheme
) -> None:
    slots = np.zeros((2, P.slots), dtype=np.int64)
    slots[1, 17] = 4711
    for scheme in (client, noop_client):
        with pytest.raises(AmatersError) as caught:
            scheme.encrypt(slots, [(0, 1)] * 2)
        assert caught.value.code == "AM-1207"
        assert "4711" not in str(caught.value)
        with pytest.raises(AmatersError) as caught:
            scheme.encrypt_scalars([2], [(0, 1)])
        assert caught.value.code == "AM-1207"


@pytest.mark.parametrize("scheme", ["bgv", "noop"])
def test_foreign_keys_and_parameters_are_refused(
    scheme: str, client: ClientScheme, request: pytest.FixtureRequest
) -> None:
    """Decrypting or combining what belongs to another key, or another ring, is a typed error."""
    ours = request.getfixturevalue("client" if scheme == "bgv" else "noop_client")
    evaluator = request.getfixturevalue("evaluator" if scheme == "bgv" else "noop_evaluator")
    stranger = make_client_scheme(scheme, P, SecretKey.generate(P))
    a, b = (
        evaluator.expand_seeded(side.encrypt_scalars([1], [(0, 1)], 2)[0])
        for side in (ours, stranger)
    )
    for call in (lambda: ours.decrypt(b), lambda: evaluator.add(a, b)):
        with pytest.raises(AmatersError) as caught:
            call()
        assert caught.value.code == "AM-1206"
    with pytest.raises(AmatersError) as caught:
        make_client_scheme(scheme, INSECURE_N4096, SecretKey.generate(P))
    assert caught.value.code == "AM-1204"


def test_a_result_with_more_noise_than_proven_is_not_returned(
    client: ClientScheme, evaluator: Evaluator
) -> None:
    """A server that returns something else: noise above the claimed bound is noticed."""
    (made,) = client.encrypt_scalars([1], [(0, 1)], 2)
    ct = evaluator.expand_seeded(made)
    noise = np.random.default_rng(14).integers(-(2**45), 2**45, ct.data.shape)
    broken = Ciphertext(P, ct.key_id, ct.meta, noise.astype(np.float64))
    with pytest.raises(AmatersError) as caught:
        client.decrypt(broken)
    assert caught.value.code == "AM-1208"


def test_unknown_schemes_are_refused(secret_key: SecretKey) -> None:
    for call in (
        lambda: make_evaluator("rot13", P, b""),
        lambda: make_client_scheme("rot13", P, secret_key),
    ):
        with pytest.raises(AmatersError) as caught:
            call()
        assert caught.value.code == "AM-1204"
    assert isinstance(make_evaluator("noop", P, b""), NoopEvaluator)


def test_the_noop_scheme_compiles_nothing() -> None:
    """Plans, bundles and messages on noop run without Numba, in a fresh interpreter."""
    program = """
import sys
from amaters.fhe.bundle import BundleReader, pack_bundle
from amaters.fhe.noop import NoopClientScheme
from amaters.fhe.parameters import INSECURE_N1024 as P
from amaters.fhe.scheme import make_evaluator
from amaters.fhe.serial import deserialize, serialize
client, evaluator = NoopClientScheme(P, bytes(16)), make_evaluator("noop", P, b"")
cts = client.encrypt_scalars([2, 3], [(0, 3)] * 2)
x, y = evaluator.load(BundleReader(P, bytes(16), "noop"), pack_bundle(cts), 3)
product = deserialize(serialize(evaluator.switch(evaluator.multiply(x, y))), P, scheme="noop")
assert (client.decrypt(product) == 6).all()
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_secret_keys_are_neither_printed_nor_pickled(secret_key: SecretKey) -> None:
    import pickle

    assert "coefficients" not in repr(secret_key)
    with pytest.raises(AmatersError):
        pickle.dumps(secret_key)


def test_default_parameters_work_end_to_end() -> None:
    """The production ring: encrypt, multiply, switch, shrink, decrypt; measured noise within
    bounds.
    """
    client = make_client_scheme("bgv", DEFAULT, SecretKey.generate(DEFAULT))
    evaluator = make_evaluator("bgv", DEFAULT, client.evaluation_keys())
    slots = np.random.default_rng(15).integers(0, 2, (2, DEFAULT.slots))
    made: list[SeededCiphertext] = client.encrypt(slots, [(0, 1)] * 2)
    a, b = (evaluator.expand_seeded(ct, 3) for ct in made)
    mask = evaluator.switch(evaluator.multiply(a, b))
    assert client.exact_noise(mask) <= mask.meta.noise < 34.5
    small = evaluator.shrink(evaluator.drop(mask))
    assert client.exact_noise(small) <= small.meta.noise < client.parameters.log_modulus(0) - 1
    assert (client.decrypt(small) == slots[0] * slots[1]).all()
