"""Merged bundles: sums of partial segments hold every part's rows, within the stated noise."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

import numpy as np
import pytest

from amaters.base.errors import AmatersError
from amaters.fhe import noise
from amaters.fhe.bundle import pack_bundle
from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.merged import MergedReader
from amaters.fhe.merging import Shape, Source, merge_bundles
from amaters.fhe.meta import PARTS_MAX, Rules
from amaters.fhe.parameters import Parameters
from amaters.fhe.scheme import ClientScheme, Evaluator

SLICES = 3
BOUNDS = [(0, 1), (-128, 127), (0, 255)]


@dataclass
class Bytes:
    """A bundle in memory."""

    data: bytes

    def read(self, offset: int = 0, length: int | None = None) -> memoryview:
        stop = len(self.data) if length is None else offset + length
        return memoryview(self.data)[offset:stop]


@pytest.fixture(params=["noop", "bgv"])
def scheme(
    request: pytest.FixtureRequest, noop_client: ClientScheme, client: ClientScheme
) -> ClientScheme:
    return noop_client if request.param == "noop" else client


def shape_of(scheme: ClientScheme, name: str) -> Shape:
    parameters = scheme.parameters
    return Shape(parameters, scheme.key_id, name, "digits", SLICES, parameters.max_level)


def name_of(scheme: ClientScheme) -> str:
    return "noop" if "Noop" in type(scheme).__name__ else "bgv"


def parts_of(
    scheme: ClientScheme, count: int, rng: np.random.Generator
) -> tuple[list[Source], np.ndarray]:
    """Bundles of disjoint slot ranges, and the slots of their sum. Shape: (slices, N)."""
    slots = scheme.parameters.slots
    edges = np.linspace(0, slots, count + 1, dtype=np.int64)
    total = np.zeros((SLICES, slots), dtype=np.int64)
    sources = []
    for start, stop in itertools.pairwise(edges.tolist()):
        part = np.zeros_like(total)
        for index, (lo, hi) in enumerate(BOUNDS):
            part[index, start:stop] = rng.integers(lo, hi + 1, stop - start)
        total += part
        sources.append(Source(Bytes(pack_bundle(scheme.encrypt(part, BOUNDS), "digits")), 1))
    return sources, total


def merged(shape: Shape, sources: Sequence[Source]) -> Source:
    size, chunks = merge_bundles(shape, sources)
    data = b"".join(chunks)
    assert len(data) == size
    return Source(Bytes(data), sum(source.parts for source in sources))


def loaded(shape: Shape, source: Source, level: int) -> list[Ciphertext]:
    reader = MergedReader(shape.parameters, shape.key_id, shape.scheme, parts=source.parts)
    data = source.reader.read(0, reader.prefix_bytes(level, SLICES))
    return reader.load(data, level, range(SLICES), SLICES)


@pytest.mark.parametrize("parts", [2, 3, 16])
def test_a_sum_holds_the_rows_of_every_part(scheme: ClientScheme, parts: int) -> None:
    """Decrypted at several levels; the true noise is below what is stated, the slot bound holds."""
    shape = shape_of(scheme, name_of(scheme))
    sources, expected = parts_of(scheme, parts, np.random.default_rng(parts))
    made = merged(shape, sources)
    for level in (1, shape.level):
        for ciphertext, slots, bounds in zip(
            loaded(shape, made, level), expected, BOUNDS, strict=True
        ):
            assert np.array_equal(scheme.decrypt(ciphertext), slots)
            assert (ciphertext.meta.lo, ciphertext.meta.hi) == bounds
            assert scheme.exact_noise(ciphertext) <= ciphertext.meta.noise
            assert ciphertext.meta.noise == noise.merged(shape.parameters, parts)


def test_a_sum_can_be_added_to_again(scheme: ClientScheme) -> None:
    """Seeds of two, then c1 of five, then all of it with one more: always the same rows."""
    shape = shape_of(scheme, name_of(scheme))
    sources, expected = parts_of(scheme, 6, np.random.default_rng(9))
    two = merged(shape, sources[:2])
    five = merged(shape, [two, *sources[2:5]])
    six = merged(shape, [sources[5], five])
    assert (two.parts, five.parts, six.parts) == (2, 5, 6)
    for ciphertext, slots in zip(loaded(shape, six, shape.level), expected, strict=True):
        assert np.array_equal(scheme.decrypt(ciphertext), slots)


def test_a_merge_is_the_same_twice(scheme: ClientScheme) -> None:
    """No randomness: a merge that a crash threw away can be made again."""
    shape = shape_of(scheme, name_of(scheme))
    sources, _ = parts_of(scheme, 3, np.random.default_rng(3))
    assert merged(shape, sources).reader == merged(shape, sources).reader


def test_products_of_sums_keep_their_proof(client: ClientScheme, evaluator: Evaluator) -> None:
    """A merged ciphertext counts as one independent factor: the bound of a product with it is the
    fresh one plus half the bits of its parts, and the product decrypts.
    """
    shape = shape_of(client, "bgv")
    sources, expected = parts_of(client, 4, np.random.default_rng(4))
    first = loaded(shape, merged(shape, sources), 2)[1]
    [other] = client.encrypt(expected[:1], BOUNDS[:1])
    product = evaluator.multiply(first, evaluator.expand_seeded(other, 2))
    rules = evaluator.rules
    fresh = rules.fresh(2, -128, 127, origin=1)
    plain = rules.multiply(fresh, rules.fresh(2, 0, 1, origin=2))
    more = rules.coefficient_bound(product.meta) - rules.coefficient_bound(plain)
    assert 0 < more <= 0.5 * log2(4) + 1e-3
    assert np.array_equal(client.decrypt(product), expected[0] * expected[1])


@pytest.mark.parametrize("parts", [2, 4])
def test_a_flipped_bit_anywhere_is_noticed(scheme: ClientScheme, parts: int) -> None:
    """In the header, a checksum, c0 or c1: AM-12xx, never another value."""
    shape = shape_of(scheme, name_of(scheme))
    sources, _ = parts_of(scheme, parts, np.random.default_rng(5))
    data = merged(shape, sources).reader.read()
    for place in np.random.default_rng(6).integers(0, len(data), 60).tolist():
        broken = bytearray(data)
        broken[place] ^= 1 << (place % 8)
        with pytest.raises(AmatersError, match="AM-12"):
            loaded(shape, Source(Bytes(bytes(broken)), parts), shape.level)


def test_sums_that_say_something_else_are_refused(scheme: ClientScheme) -> None:
    """Another number of parts than the manifest's, or too many for the noise bound."""
    shape = shape_of(scheme, name_of(scheme))
    sources, _ = parts_of(scheme, 3, np.random.default_rng(7))
    made = merged(shape, sources)
    with pytest.raises(AmatersError, match="AM-1210"):
        loaded(shape, Source(made.reader, 4), 1)
    with pytest.raises(AmatersError, match="AM-1204"):
        merge_bundles(shape, [made] * (PARTS_MAX // 3 + 1))


def test_the_bound_grows_by_half_a_bit_per_doubling(parameters: Parameters) -> None:
    """What the planner adds to every input; at most three bits in all."""
    bounds = [Rules(parameters).merged(1 << k, 1, 0, 1).noise for k in range(7)]
    assert all(abs(b - a - 0.5) < 1e-3 for a, b in itertools.pairwise(bounds))
    assert bounds[-1] - bounds[0] < 3.01
