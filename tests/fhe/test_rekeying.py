"""Another secret key for stored ciphertexts: what decrypts, with how much noise, what is told."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from seal_support import SealOracle

from amaters.base import errors
from amaters.base.rng import SystemRng
from amaters.fhe import encoder
from amaters.fhe.bundle import pack_bundle
from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.keys import EvaluationKeys, stored_bytes
from amaters.fhe.merged import MergedReader
from amaters.fhe.merging import Shape, Source, merge_bundles
from amaters.fhe.meta import REKEYS_MAX, Rules
from amaters.fhe.noise import REKEY_BASE_BITS
from amaters.fhe.parameters import DEEP, DEFAULT, INSECURE_N1024, Parameters
from amaters.fhe.rekeying import Rekeyer, make_rekeyer, rekey_bundle, rekey_shapes
from amaters.fhe.scheme import ClientScheme, make_evaluator
from amaters.fhe.secret import SecretKey, make_client_scheme
from amaters.fhe.secret.keygen import KeyGenerator

SMALL = INSECURE_N1024


@dataclass
class Bytes:
    """A bundle in memory."""

    data: bytes

    def read(self, offset: int = 0, length: int | None = None) -> memoryview:
        view = memoryview(self.data)
        return view[offset : None if length is None else offset + length]


@dataclass
class Party:
    secret: SecretKey
    scheme: ClientScheme


def party(parameters: Parameters, kind: str = "bgv") -> Party:
    secret = SecretKey.generate(parameters)
    return Party(secret, make_client_scheme(kind, parameters, secret))


def rekeyer(old: Party, new: Party, kind: str = "bgv") -> Rekeyer:
    data = b""
    if kind == "bgv":
        data = KeyGenerator(new.secret).rekeying_keys(old.secret).to_bytes()
    parameters = old.secret.parameters
    return make_rekeyer(kind, parameters, old.secret.key_id, new.secret.key_id, data)


def drawn(parameters: Parameters, count: int) -> np.ndarray:
    words = np.frombuffer(SystemRng().bytes(8 * count * parameters.slots), dtype=np.uint64)
    return (words % np.uint64(256)).astype(np.int64).reshape(count, -1) - 128


def test_slots_stay_and_noise_keeps_its_bound() -> None:
    """Through as many changes of key as are allowed: exact slots, measured noise below the proven
    bound and close to it, one more is refused.
    """
    parties = [party(SMALL) for _ in range(3)]
    steps = [rekeyer(a, b) for a, b in zip(parties, parties[1:] + parties[:1], strict=True)]
    slots = drawn(SMALL, 4)
    evaluator = make_evaluator("bgv", SMALL, parties[0].scheme.evaluation_keys())
    held = [evaluator.expand_seeded(c) for c in parties[0].scheme.encrypt(slots, [(-128, 127)] * 4)]
    for times in range(1, REKEYS_MAX + 1):
        held = [steps[(times - 1) % 3].rekey(ct) for ct in held]
        now = parties[times % 3].scheme
        for ct, row in zip(held, slots, strict=True):
            assert (now.decrypt(ct) == row).all()
            stated = Rules(SMALL).stored(1, times, SMALL.max_level, -128, 127)
            assert ct.meta.noise == pytest.approx(stated.noise)
        if times in (1, 2, REKEYS_MAX):
            assert ct.meta.noise - 12 < now.exact_noise(ct) <= ct.meta.noise
    with pytest.raises(errors.AmatersError, match="AM-1204"):
        Rules(SMALL).stored(1, REKEYS_MAX + 1, 1, 0, 1)


def test_the_noise_of_real_parameters() -> None:
    """At full size measured noise is below the bound, which is far below one key per prime's."""
    old, new = party(DEFAULT), party(DEFAULT)
    made = rekeyer(old, new)
    (fresh,) = old.scheme.encrypt(drawn(DEFAULT, 1), [(-128, 127)])
    evaluator = make_evaluator("bgv", DEFAULT, old.scheme.evaluation_keys())
    moved = made.rekey(evaluator.expand_seeded(fresh))
    assert new.scheme.exact_noise(moved) <= moved.meta.noise
    for parameters in (DEFAULT, DEEP):
        rules = Rules(parameters)
        start = rules.fresh(parameters.max_level, 0, 1)
        assert rules.rekey(start).noise < min(36, rules.automorphism(start).noise - 3)


def test_the_kernels_halves_are_the_polynomial() -> None:
    """The low half is below 2^22 in every coefficient, and low + 2^23 high is what was cut."""
    from amaters.fhe.keyswitch import tables_of
    from amaters.fhe.rekeying import BgvRekeyer
    from amaters.ring.transform import inverse

    old, new = party(SMALL), party(SMALL)
    made = rekeyer(old, new)
    assert isinstance(made, BgvRekeyer)
    evaluator = make_evaluator("bgv", SMALL, old.scheme.evaluation_keys())
    ct = evaluator.expand_seeded(old.scheme.encrypt(drawn(SMALL, 1), [(-128, 127)])[0])
    tables = tables_of(SMALL)
    for limb in (0, SMALL.max_level - 1):
        rows = [made._halves(ct.data[1])[half, limb].copy() for half in (0, 1)]
        rows.append(ct.data[1, limb].copy())
        for row in rows:
            w, wq = tables.inverse[limb], tables.inverse_quotients[limb]
            inverse(row, w, wq, tables.primes[limb], tables.inverse_degree[limb])
        low, high, whole = (row.astype(np.int64) for row in rows)
        assert (low + (high << REKEY_BASE_BITS) == whole).all()
        assert np.abs(low).max() <= 1 << (REKEY_BASE_BITS - 1) and high.any()


@pytest.mark.parametrize("kind", ["noop", "bgv"])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_bundles_of_every_kind_move(kind: str, parts: int) -> None:
    """Fresh ones, sums with seeds and without, and bundles that moved before."""
    parties = [party(SMALL, kind) for _ in range(3)]
    count, width = 3, SMALL.slots // parts
    slots = drawn(SMALL, count)
    sources = []
    for part in range(parts):
        only = np.zeros_like(slots)
        only[:, part * width : (part + 1) * width] = slots[:, part * width : (part + 1) * width]
        bundle = pack_bundle(parties[0].scheme.encrypt(only, [(-128, 127)] * count), "limbs")
        sources.append(Source(Bytes(bundle), 1))
    slots[:, parts * width :] = 0

    def shape(key: Party) -> Shape:
        return Shape(SMALL, key.secret.key_id, kind, "limbs", count, SMALL.max_level)

    source = sources[0]
    if parts > 1:
        source = Source(Bytes(joined(merge_bundles(shape(parties[0]), sources))), parts)
    told: list[int] = []
    for times, (a, b) in enumerate(itertools.pairwise(parties), start=1):
        data = joined(rekey_bundle(shape(a), source, rekeyer(a, b, kind), told.append))
        source = Source(Bytes(data), parts, times)
        reader = MergedReader(SMALL, b.secret.key_id, kind, parts=parts, rekeys=times)
        for level in (2, SMALL.max_level):
            found = reader.load(data, level, range(count), count)
            for ct, row in zip(found, slots, strict=True):
                assert (b.scheme.decrypt(ct) == row).all()
                assert ct.meta.noise == Rules(SMALL).stored(parts, times, level, 0, 1).noise
        damaged = bytearray(data)
        damaged[-1] ^= 1
        with pytest.raises(errors.DataError, match="AM-1212"):
            reader.load(bytes(damaged), SMALL.max_level, range(count), count)
        other = MergedReader(SMALL, b.secret.key_id, kind, parts=parts, rekeys=times + 1)
        with pytest.raises(errors.AmatersError, match="AM-1210"):
            other.load(data, 2, [0], count)
    assert len(told) == 2 * count and min(told) > 0


def joined(made: tuple[int, Iterable[bytes]]) -> bytes:
    size, chunks = made
    data = b"".join(chunks)
    assert len(data) == size
    return data


def test_a_moved_ciphertext_computes_with_the_new_key() -> None:
    """Products and switches under the new evaluation keys, beside fresh encryptions."""
    old, new = party(SMALL), party(SMALL)
    made = rekeyer(old, new)
    evaluator = make_evaluator("bgv", SMALL, new.scheme.evaluation_keys())
    slots = drawn(SMALL, 2)
    a = made.rekey(evaluator.expand_seeded(old.scheme.encrypt(slots[:1], [(-128, 127)])[0]))
    b = evaluator.expand_seeded(new.scheme.encrypt(slots[1:], [(-128, 127)])[0])
    product = evaluator.switch(evaluator.multiply(a, b))
    assert (new.scheme.decrypt(product) == slots[0] * slots[1]).all()
    assert new.scheme.exact_noise(product) <= product.meta.noise


def test_seal_decrypts_what_changed_keys(tmp_path: Path) -> None:
    """Microsoft SEAL, which holds the new secret key only, reads the slots, before and after a
    product that we switched; with the old key it reads something else.
    """
    old, new = party(SMALL), party(SMALL)
    made = rekeyer(old, new)
    evaluator = make_evaluator("bgv", SMALL, new.scheme.evaluation_keys())
    slots = drawn(SMALL, 1)
    (fresh,) = old.scheme.encrypt(slots, [(-128, 127)])
    moved = made.rekey(evaluator.expand_seeded(fresh))
    t = SMALL.plaintext_modulus

    def read(key: SecretKey, ct: Ciphertext) -> np.ndarray:
        folder = tmp_path / key.key_id.hex()
        folder.mkdir(exist_ok=True)
        oracle = SealOracle(key, folder)
        return encoder.to_slots(SMALL, oracle.decrypt(oracle.to_seal(ct)))

    assert (read(new.secret, moved) == slots[0] % t).all()
    squared = evaluator.switch(evaluator.multiply(moved, moved))
    assert (read(new.secret, squared) == slots[0] ** 2 % t).all()
    assert (read(old.secret, moved) != slots[0] % t).sum() > SMALL.slots // 2


def test_other_keys_are_refused() -> None:
    """A ciphertext of another key, keys of another set, keys that are none."""
    old, new, other = (party(SMALL) for _ in range(3))
    made = rekeyer(old, new)
    evaluator = make_evaluator("bgv", SMALL, old.scheme.evaluation_keys())
    foreign = evaluator.expand_seeded(other.scheme.encrypt(drawn(SMALL, 1), [(-128, 127)])[0])
    with pytest.raises(errors.AmatersError, match="AM-1206"):
        made.rekey(foreign)
    mine = evaluator.expand_seeded(old.scheme.encrypt(drawn(SMALL, 1), [(-128, 127)])[0])
    with pytest.raises(errors.AmatersError, match="AM-1204"):
        made.rekey(evaluator.truncate(mine, 3))
    with pytest.raises(errors.AmatersError, match="AM-1204"):
        KeyGenerator(new.secret).rekeying_keys(new.secret)
    relinearisation = old.scheme.evaluation_keys()
    with pytest.raises(errors.AmatersError, match="AM-1204"):
        make_rekeyer("bgv", SMALL, b"x" * 16, old.secret.key_id, relinearisation)
    with pytest.raises(errors.AmatersError, match="AM-1206"):
        make_rekeyer("bgv", SMALL, b"x" * 16, b"y" * 16, relinearisation)


def test_sizes_are_known_before_keys_are_made() -> None:
    """What ``keys plan`` says is what is made."""
    old, new = party(SMALL), party(SMALL)
    keys = KeyGenerator(new.secret).rekeying_keys(old.secret)
    assert len(keys.to_bytes()) == stored_bytes(SMALL, rekey_shapes(SMALL))
    assert isinstance(EvaluationKeys.from_bytes(SMALL, keys.to_bytes()), EvaluationKeys)


def test_the_rekeying_keys_hide_the_old_secret() -> None:
    """Two of the same secrets share no row: every key draws its own seed and errors."""
    old, new = party(SMALL), party(SMALL)
    generator = KeyGenerator(new.secret)
    one, two = generator.rekeying_keys(old.secret), generator.rekeying_keys(old.secret)
    seen: set[bytes] = set()
    for key in (*one, *two):
        assert key.seed not in seen
        seen.add(key.seed)
        for rows in key.rows:
            for row in rows:
                assert row.tobytes() not in seen
                seen.add(row.tobytes())
