"""Secret and public draws have the stated distributions, and nothing is drawn twice.

Thresholds: a correct sampler fails a test here with probability below 10^-7.
"""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

from amaters.base.errors import AmatersError
from amaters.base.rng import SystemRng
from amaters.fhe import noise
from amaters.fhe.parameters import DEFAULT, INSECURE_N1024, Parameters
from amaters.fhe.scheme import ClientScheme
from amaters.fhe.secret import SecretKey, sampling
from amaters.fhe.secret.sampling import KeyStream
from amaters.fhe.seeds import uniform_residues

DRAWS = 1 << 20


@pytest.fixture
def stream() -> KeyStream:
    return KeyStream(SystemRng())


def chi_square_excess(counts: np.ndarray, expected: np.ndarray) -> float:
    """Standard deviations by which chi-square exceeds its mean; cells with < 10 expected are
    merged.
    """
    small = expected < 10
    counts = np.append(counts[~small], counts[small].sum())
    expected = np.append(expected[~small], expected[small].sum())
    kept = expected > 0
    chi = (((counts - expected) ** 2)[kept] / expected[kept]).sum()
    freedom = kept.sum() - 1
    return float((chi - freedom) / math.sqrt(2 * freedom))


def test_centred_binomial(stream: KeyStream) -> None:
    """CBD(21) is binomial(42, 1/2) - 21, cell by cell."""
    drawn = sampling.centred_binomial(stream, DRAWS)
    counts = np.bincount(drawn + 21, minlength=43)
    expected = np.array([math.comb(42, k) for k in range(43)]) * (DRAWS / 2.0**42)
    assert counts.size == 43
    assert chi_square_excess(counts, expected) < 8


def test_uniform_ternary(stream: KeyStream) -> None:
    counts = np.bincount(sampling.uniform_ternary(stream, DRAWS) + 1, minlength=3)
    assert chi_square_excess(counts, np.full(3, DRAWS / 3)) < 20


@pytest.mark.parametrize("message", [0, 1, 255, 32768, 65535, 65536])
def test_lifted_plaintext_hides_the_message(stream: KeyStream, message: int) -> None:
    """m or m - t with mean zero; the noise is a multiple of t, so the value is m mod t."""
    values = sampling.noisy_plaintext(stream, np.full(DRAWS, message, dtype=np.int64))
    assert (values % 65537 == message).all()
    deviation = 65537 * math.sqrt(noise.ERROR_VARIANCE + noise.LIFT_VARIANCE)
    assert abs(values.mean()) < 7 * deviation / math.sqrt(DRAWS)
    share = message / 65537
    expected = 65537**2 * (noise.ERROR_VARIANCE + share * (1 - share))
    assert abs(values.var() / expected - 1) < 0.012


@pytest.mark.parametrize("parameters", [INSECURE_N1024, DEFAULT], ids=lambda p: p.name)
def test_secret_keys_stay_inside_the_bounds_that_noise_relies_on(parameters: Parameters) -> None:
    """Canonical norm <= 4 sqrt(N), squared length <= 0.7 N, all three values about equally
    often.
    """
    N = parameters.ring_degree
    for _ in range(20):
        key = SecretKey.generate(parameters).coefficients
        assert set(np.unique(key)) == {-1, 0, 1}
        assert sampling.canonical_norm(key.astype(np.float64)) <= 4 * N**0.5
        assert np.count_nonzero(key) <= 0.7 * N
        assert chi_square_excess(np.bincount(key + 1), np.full(3, N / 3)) < 30


def test_canonical_norm_is_the_largest_embedding() -> None:
    """Against direct evaluation at every odd power of the primitive root."""
    N = 32
    a = np.random.default_rng(5).integers(-9, 9, N).astype(np.float64)
    roots = np.exp(1j * np.pi / N * (2 * np.arange(N) + 1))
    direct = np.abs(np.polynomial.polynomial.polyval(roots, a)).max()
    assert sampling.canonical_norm(a) == pytest.approx(direct)


@pytest.mark.parametrize("prime", [DEFAULT.data_primes[0], DEFAULT.data_primes[2], 66454519])
def test_uniform_residues(prime: int) -> None:
    """Uniform below the prime: 64 equal cells, and the low bits too."""
    drawn = uniform_residues(os.urandom(32), prime, limb=1, polynomial=0, count=DRAWS)
    assert int(drawn.max()) < prime
    cells = (drawn.astype(np.float64) * (64.0 / prime)).astype(np.int64)
    assert chi_square_excess(np.bincount(cells, minlength=64), np.full(64, DRAWS / 64)) < 8
    low = (drawn & np.uint64(63)).astype(np.int64)
    assert chi_square_excess(np.bincount(low, minlength=64), np.full(64, DRAWS / 64)) < 8


def test_expansion_matches_its_definition() -> None:
    """Format v1, computed here byte by byte with another AES interface."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    seed, prime = bytes(range(32)), DEFAULT.data_primes[2]  # 34 bits: 12 % rejections, 5 bytes
    aes = Cipher(algorithms.AES(seed), modes.ECB()).encryptor()
    first = int.from_bytes(b"\x02\x00\x07\x00" + bytes(12), "big")
    blocks = (aes.update((first + i).to_bytes(16, "big")) for i in range(1000))
    raw = b"".join(blocks)
    words = (int.from_bytes(raw[i : i + 5], "little") for i in range(0, 15_000, 5))
    accepted = [w for w in (word & ((1 << 34) - 1) for word in words) if w < prime]
    drawn = uniform_residues(seed, prime, limb=2, polynomial=7, count=1024)
    assert drawn.tolist() == accepted[:1024]


def test_expansion_is_a_prefix_for_every_length() -> None:
    """The buffer size never shows: shorter requests are prefixes of longer ones."""
    seed, prime = os.urandom(32), DEFAULT.data_primes[2]
    long = uniform_residues(seed, prime, limb=0, polynomial=0, count=16384)
    for count in (8, 64, 1000, 4096):
        short = uniform_residues(seed, prime, limb=0, polynomial=0, count=count)
        assert (short == long[:count]).all()


def test_limbs_and_polynomials_of_one_seed_are_unrelated() -> None:
    seed, prime = os.urandom(32), DEFAULT.data_primes[0]
    rows = [
        uniform_residues(seed, prime, limb=limb, polynomial=polynomial, count=64).tobytes()
        for limb in range(8)
        for polynomial in range(8)
    ]
    assert len(set(rows)) == 64


def test_seed_of_wrong_length_is_refused() -> None:
    with pytest.raises(AmatersError) as caught:
        uniform_residues(b"short", 97, limb=0, polynomial=0, count=8)
    assert caught.value.code == "AM-1210"


def test_seeds_never_repeat(client: ClientScheme) -> None:
    """A thousand encryptions of the same value: all seeds and all c0 differ."""
    cts = client.encrypt_scalars([1] * 1000, [(0, 1)] * 1000, level=1)
    assert len({ct.seed for ct in cts}) == 1000
    assert len({ct.c0.tobytes() for ct in cts}) == 1000
    assert len({ct.origin for ct in cts}) == 1000


def test_key_streams_never_repeat() -> None:
    """Neither between streams nor within one."""
    rng = SystemRng()
    blocks = set()
    for _ in range(50):
        stream = KeyStream(rng)
        blocks |= {bytes(stream.bytes(32)) for _ in range(50)}
    assert len(blocks) == 2500


def test_key_stream_is_one_stream() -> None:
    """Requests larger than the internal chunk return distinct data, and exactly as much as
    asked.
    """
    stream = KeyStream(SystemRng())
    data = bytes(stream.bytes(200_001))
    assert len(data) == 200_001
    blocks = {data[i : i + 16] for i in range(0, 200_000, 16)}
    assert len(blocks) == 12_500
