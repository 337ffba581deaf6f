"""Format v1 round-trips exactly, and no bytes whatsoever make its readers do anything but
refuse.
"""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amaters.base.errors import AmatersError
from amaters.fhe.bundle import BundleReader, pack_bundle
from amaters.fhe.ciphertext import Ciphertext, SeededCiphertext
from amaters.fhe.keys import EvaluationKeys
from amaters.fhe.parameters import INSECURE_N1024, INSECURE_N4096
from amaters.fhe.publickey import PublicKey
from amaters.fhe.scheme import ClientScheme, Evaluator
from amaters.fhe.secret import SecretKey
from amaters.fhe.serial import deserialize, deserialize_seeded, serialize

P = INSECURE_N1024
TYPED = {"AM-1200", "AM-1202", "AM-1204", "AM-1206", "AM-1210", "AM-1211", "AM-1212"}


@pytest.fixture(scope="module")
def slots() -> np.ndarray:
    return np.random.default_rng(1).integers(-100, 1000, (4, P.slots))


@pytest.fixture(scope="module")
def cts(client: ClientScheme, slots: np.ndarray) -> list[SeededCiphertext]:
    return client.encrypt(slots, [(-100, 1000)] * 4)


@pytest.fixture(scope="module")
def noop_cts(noop_client: ClientScheme, slots: np.ndarray) -> list[SeededCiphertext]:
    return noop_client.encrypt(slots, [(-100, 1000)] * 4)


def computed(evaluator: Evaluator, cts: list[SeededCiphertext], level: int) -> Ciphertext:
    a, b = (evaluator.expand_seeded(ct, level) for ct in cts[:2])
    return evaluator.multiply(a, b)


@pytest.mark.parametrize("level", [1, 2, 5, 10])
@pytest.mark.parametrize("scheme", ["bgv", "noop"])
def test_seeded_round_trip(scheme: str, level: int, request: pytest.FixtureRequest) -> None:
    """Bytes, residues, seed and everything public are preserved; equal objects give equal bytes."""
    client = request.getfixturevalue("client" if scheme == "bgv" else "noop_client")
    (ct,) = client.encrypt_scalars([7], [(0, 9)], level)
    data = serialize(ct, "digits")
    again = deserialize_seeded(data, P, scheme=scheme, key_id=client.key_id, encoding="digits")
    assert again.meta == ct.meta
    assert again.seed == ct.seed
    assert again.c0.dtype == ct.c0.dtype
    assert (again.c0 == ct.c0).all()
    assert serialize(again, "digits") == data


@pytest.mark.parametrize("level", [1, 2, 6])
@pytest.mark.parametrize("scheme", ["bgv", "noop"])
def test_computed_round_trip(scheme: str, level: int, request: pytest.FixtureRequest) -> None:
    """Degree-2 results: same residues, same bounds, unknown dependences."""
    evaluator = request.getfixturevalue("evaluator" if scheme == "bgv" else "noop_evaluator")
    ct = computed(
        evaluator, request.getfixturevalue("cts" if scheme == "bgv" else "noop_cts"), level
    )
    again = deserialize(serialize(ct), P, scheme=scheme, key_id=ct.key_id)
    assert ((again.data - ct.data) % 1 == 0).all()
    assert serialize(again) == serialize(ct)
    assert (again.meta.level, again.meta.degree) == (ct.meta.level, 2)
    rules = evaluator.rules
    assert rules.coefficient_bound(again.meta) == pytest.approx(rules.coefficient_bound(ct.meta))
    assert not again.meta.factors


def test_shrunk_round_trip_takes_26_bits_per_residue(
    evaluator: Evaluator, client: ClientScheme, cts: list[SeededCiphertext], slots: np.ndarray
) -> None:
    shrunk = evaluator.shrink(evaluator.expand_seeded(cts[0], 1))
    data = serialize(shrunk)
    assert len(data) < 2 * P.ring_degree * 26 // 8 + 256
    again = deserialize(data, P, key_id=client.key_id)
    assert (again.data == shrunk.data).all()
    assert (client.decrypt(again) == slots[0]).all()


@pytest.mark.parametrize("scheme", ["bgv", "noop"])
def test_bundle_prefix_is_enough_for_its_level(
    scheme: str, request: pytest.FixtureRequest, slots: np.ndarray
) -> None:
    """A prefix yields all slices, or some of them, truncated to its level."""
    real = scheme == "bgv"
    client = request.getfixturevalue("client" if real else "noop_client")
    evaluator = request.getfixturevalue("evaluator" if real else "noop_evaluator")
    made = request.getfixturevalue("cts" if real else "noop_cts")
    data = pack_bundle(made, "limbs")
    reader = BundleReader(P, client.key_id, scheme)
    assert len(data) == reader.prefix_bytes(10, 4)
    for level in (1, 4, 10):
        prefix = data[: reader.prefix_bytes(level, 4)]
        loaded = evaluator.load(reader, prefix, level)
        assert [ct.level for ct in loaded] == [level] * 4
        for ct, row in zip(loaded, slots, strict=True):
            assert (client.decrypt(ct) == row).all()
        (third,) = reader.read(prefix, level, [2], encoding="limbs")
        assert third.seed == made[2].seed
        assert (client.decrypt(evaluator.expand_seeded(third)) == slots[2]).all()
        if real:
            with pytest.raises(AmatersError) as caught:
                reader.read(prefix[:-1], level)
            assert caught.value.code == "AM-1210"


def test_bundle_and_single_expansion_agree(
    evaluator: Evaluator, client: ClientScheme, cts: list[SeededCiphertext]
) -> None:
    reader = BundleReader(P, client.key_id)
    for loaded, ct in zip(reader.expand(pack_bundle(cts), 3), cts, strict=True):
        single = evaluator.expand_seeded(ct, 3)
        assert (loaded.data == single.data).all()
        assert loaded.meta == single.meta


def test_rows_of_a_bundle_cannot_be_swapped(
    client: ClientScheme, cts: list[SeededCiphertext]
) -> None:
    """Checksums bind a row to its seed and limb."""
    reader = BundleReader(P, client.key_id)
    data = bytearray(pack_bundle(cts))
    start = reader.header_bytes(4)
    row = 6 * P.ring_degree
    first, second = start + 64, start + 64 + row
    data[first : first + row], data[second : second + row] = (
        data[second : second + row],
        data[first : first + row],
    )
    data[start : start + 16], data[start + 16 : start + 32] = (
        data[start + 16 : start + 32],
        data[start : start + 16],
    )
    with pytest.raises(AmatersError) as caught:
        reader.read(data, 1)
    assert caught.value.code == "AM-1212"


def test_bundles_of_ciphertexts_that_differ_are_refused(client: ClientScheme) -> None:
    a = client.encrypt_scalars([1], [(0, 1)], 2)
    b = client.encrypt_scalars([1], [(0, 1)], 3)
    with pytest.raises(AmatersError) as caught:
        pack_bundle([*a, *b])
    assert caught.value.code == "AM-1204"


def test_mixing_is_a_typed_error(
    client: ClientScheme, noop_client: ClientScheme, cts: list[SeededCiphertext]
) -> None:
    """Another key, parameter set, scheme, encoding, kind or level."""
    data, bundle = serialize(cts[0], "digits"), pack_bundle(cts, "digits")
    other = bytes(16)
    cases: list[tuple[str, Callable[[], object]]] = [
        ("AM-1206", lambda: deserialize_seeded(data, P, key_id=other)),
        ("AM-1204", lambda: deserialize_seeded(data, INSECURE_N4096)),
        ("AM-1204", lambda: deserialize_seeded(data, P, scheme="noop")),
        ("AM-1204", lambda: deserialize_seeded(data, P, encoding="limbs")),
        ("AM-1210", lambda: deserialize(data, P)),
        ("AM-1206", lambda: BundleReader(P, other).read(bundle, 1)),
        ("AM-1204", lambda: BundleReader(INSECURE_N4096, None).read(bundle, 1)),
        ("AM-1204", lambda: BundleReader(P, None, "noop").read(bundle, 1)),
        ("AM-1204", lambda: BundleReader(P, None).read(bundle, 1, encoding="limbs")),
        ("AM-1202", lambda: BundleReader(P, None).read(bundle, 11)),
        ("AM-1210", lambda: BundleReader(P, None).read(bundle, 1, [4])),
    ]
    for code, call in cases:
        with pytest.raises(AmatersError) as caught:
            call()
        assert caught.value.code == code


def test_a_residue_above_its_prime_is_refused(cts: list[SeededCiphertext]) -> None:
    """Even with a correct checksum."""
    bad = SeededCiphertext(P, cts[0].key_id, cts[0].meta, cts[0].c0.copy(), cts[0].seed)
    bad.c0[2, 5] = P.data_primes[2]
    with pytest.raises(AmatersError) as caught:
        deserialize_seeded(serialize(bad), P)
    assert caught.value.code == "AM-1210"
    with pytest.raises(AmatersError) as caught:
        BundleReader(P, None).read(pack_bundle([bad]), 3)
    assert caught.value.code == "AM-1210"


# fuzzing

Reader = Callable[[bytes], object]


@pytest.fixture(scope="module")
def readers(
    client: ClientScheme,
    evaluator: Evaluator,
    cts: list[SeededCiphertext],
    noop_cts: list[SeededCiphertext],
    secret_key: SecretKey,
) -> list[tuple[bytes, Reader]]:
    """A valid object and its reader, for every deserialiser."""
    reader, noop_reader = BundleReader(P, client.key_id), BundleReader(P, client.key_id, "noop")
    product = computed(evaluator, cts, 2)
    shrunk = evaluator.shrink(evaluator.expand_seeded(cts[0], 1))
    return [
        (serialize(cts[0]), lambda b: deserialize_seeded(b, P)),
        (serialize(noop_cts[0]), lambda b: deserialize_seeded(b, P, scheme="noop")),
        (serialize(product), lambda b: deserialize(b, P)),
        (serialize(shrunk), lambda b: deserialize(b, P)),
        (pack_bundle(cts), lambda b: reader.read(b, 10)),
        (pack_bundle(cts), lambda b: reader.expand(b, 10)),
        (pack_bundle(noop_cts), lambda b: noop_reader.read(b, 10)),
        (client.public_key().to_bytes(), lambda b: PublicKey.from_bytes(b, P)),
        (secret_key.to_bytes(), SecretKey.from_bytes),
        (client.evaluation_keys(), lambda b: EvaluationKeys.from_bytes(P, b)),
    ]


def refuses(read: Reader, data: bytes) -> None:
    try:
        read(data)
    except AmatersError as error:
        assert error.code in TYPED
        return
    raise AssertionError("damaged bytes were accepted")


def test_every_truncation_and_extension_is_refused(readers: list[tuple[bytes, Reader]]) -> None:
    rng = np.random.default_rng(2)
    for data, read in readers:
        read(data)
        for cut in {0, 1, 15, len(data) - 1, *rng.integers(0, len(data), 40).tolist()}:
            refuses(read, data[:cut])


def test_every_flipped_bit_is_noticed(readers: list[tuple[bytes, Reader]]) -> None:
    """Everywhere in the header, and at random places behind it."""
    rng = np.random.default_rng(3)
    for data, read in readers:
        places = [*range(0, 8 * 160), *rng.integers(8 * 160, 8 * len(data), 60).tolist()]
        for place in places[::7]:
            damaged = bytearray(data)
            damaged[place // 8] ^= 1 << (place % 8)
            refuses(read, bytes(damaged))


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=600), start=st.integers(0, 200))
def test_random_bytes_are_refused(
    readers: list[tuple[bytes, Reader]], data: bytes, start: int
) -> None:
    """Pure noise, and noise behind a valid beginning."""
    for valid, read in readers:
        refuses(read, data)
        refuses(read, valid[:start] + data)


def test_absurd_lengths_do_not_allocate(readers: list[tuple[bytes, Reader]]) -> None:
    """2^32 slices or 2^60 bytes in a header cost nothing: less than 1 MB is allocated on the
    way.
    """
    (frame, read_frame), (bundle, read_bundle) = readers[0], readers[4]
    length_at = struct.calcsize("<4sHH48s16s")
    huge = bytearray(frame)
    struct.pack_into("<Q", huge, length_at, 1 << 60)
    crowd = bytearray(bundle)
    struct.pack_into("<I", crowd, 8, (1 << 32) - 1)
    full = bytearray(bundle)
    struct.pack_into("<I", full, 8, 1 << 16)
    tracemalloc.start()
    refuses(read_frame, bytes(huge[:500]))
    refuses(read_bundle, bytes(crowd[:500]))
    refuses(read_bundle, bytes(full[:500]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
