"""Moving stored ciphertexts to another secret key, without any secret: rotation of keys.

(c0, c1) under s becomes (c0, 0) plus c1 switched from s to s': the same operation as
relinearisation, with keys that encrypt s under s'. It happens at the highest level, where the only
special prime is smaller than some data primes; the polynomials of c1 modulo each prime are cut into
a low half of ``BASE_BITS`` bits and a high half, each switched with a key of its own, so that the
noise stays at the floor of one rounding per half (``noise.rekey``) instead of 2^40. The result's
c1 has no seed, so both polynomials are stored. Sources: as ``fhe.keys``; digits in a base within an
RNS digit: Gentry, Halevi, Smart 2012, section 3.1 and appendix A.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import blake3
import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.fhe.bundle import CHECK_BYTES, BundleReader
from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.keys import REKEY_HIGH, REKEY_LOW, EvaluationKeys, KeyShape
from amaters.fhe.merged import Entry, MergedReader, check_of
from amaters.fhe.merging import Shape, Source
from amaters.fhe.meta import Rules
from amaters.fhe.noise import REKEY_BASE_BITS
from amaters.fhe.parameters import Parameters, residue_bytes

SPOOL_BYTES = 256 << 20  # of rewritten rows in memory; more wait in a temporary file
_ORIGIN_BYTES = 8


def rekey_shapes(parameters: Parameters) -> tuple[KeyShape, ...]:
    """The keys that move ciphertexts of the highest level to another secret: low and high half."""
    top = parameters.max_level
    return KeyShape(REKEY_LOW, 1, top), KeyShape(REKEY_HIGH, 1, top)


class Rekeyer(Protocol):
    """Moves ciphertexts of one secret key to another."""

    parameters: Parameters
    key_id: bytes  # of the secret key it leads to

    def rekey(self, a: Ciphertext) -> Ciphertext:
        """The same slots under the other key. Shape: degree 1, highest level. Cost: two key
        switches and 3 L transforms, about 25 ms at N = 16384. Raises: AM-1204, AM-1206.
        """


class NoopRekeyer:
    """Changes the name of the key."""

    def __init__(self, parameters: Parameters, source_id: bytes, key_id: bytes) -> None:
        self.parameters, self.key_id = parameters, key_id
        self._source_id = source_id
        self._rules = Rules(parameters)

    def rekey(self, a: Ciphertext) -> Ciphertext:
        _require(a, self._source_id)
        return Ciphertext(a.parameters, self.key_id, self._rules.rekey(a.meta), a.data)


class BgvRekeyer:
    """``Rekeyer`` of the real scheme. Thread-safe."""

    def __init__(self, parameters: Parameters, source_id: bytes, keys: EvaluationKeys) -> None:
        from amaters.fhe.keyswitch import Switcher

        self.parameters, self.key_id = parameters, keys.key_id
        self._source_id = source_id
        self._rules = Rules(parameters)
        self._switcher = Switcher(parameters)
        low, high = (keys.get(s.kind, s.alpha, s.level) for s in rekey_shapes(parameters))
        self._keys = low, high

    def rekey(self, a: Ciphertext) -> Ciphertext:
        from amaters.ring.memory import empty

        _require(a, self._source_id)
        meta = self._rules.rekey(a.meta)
        data = empty((3, a.level, self.parameters.ring_degree))
        data[0], data[1] = a.data[0], 0.0
        halves = self._halves(a.data[1])
        for half, key in zip(halves, self._keys, strict=True):
            data[2] = half
            data[:2] = self._switcher.key_switch(data, key, merged=False)
        return Ciphertext(self.parameters, self.key_id, meta, data[:2].copy())

    def _halves(self, polynomial: NDArray[np.float64]) -> NDArray[np.float64]:
        """Low and high half of every limb's coefficients, each as that limb's residues: their sum,
        the second times 2^BASE_BITS, is the polynomial. Shape: (L, N) to (2, L, N).
        """
        from amaters.fhe.keyswitch import tables_of
        from amaters.ring.memory import empty
        from amaters.ring.products import reduce_row
        from amaters.ring.transform import forward, inverse

        tables, base = tables_of(self.parameters), 2.0**REKEY_BASE_BITS
        made = empty((2, *polynomial.shape))
        for limb, row in enumerate(polynomial):
            prime = tables.primes[limb]
            x = row.copy()
            scale = tables.inverse_degree[limb]
            inverse(x, tables.inverse[limb], tables.inverse_quotients[limb], prime, scale)
            np.rint(x / base, out=made[1, limb])
            np.subtract(x, made[1, limb] * base, out=made[0, limb])
            for half in made[:, limb]:
                forward(half, tables.forward[limb], tables.forward_quotients[limb], prime)
                reduce_row(half, prime)
        return made


def _require(a: Ciphertext, source_id: bytes) -> None:
    if a.key_id != source_id:
        fail("AM-1206", found=a.key_id.hex(), expected=source_id.hex())


def make_rekeyer(
    scheme: str, parameters: Parameters, source_id: bytes, key_id: bytes, keys: bytes
) -> Rekeyer:
    """From serialised keys. Raises: AM-1204, AM-1206, AM-1210, AM-1212 for keys that are none."""
    if scheme == "noop":
        if keys:
            fail("AM-1210", kind="noop evaluation key", what="it is not empty")
        return NoopRekeyer(parameters, source_id, key_id)
    found = EvaluationKeys.from_bytes(parameters, keys)
    if found.key_id != key_id:
        fail("AM-1206", found=found.key_id.hex(), expected=key_id.hex())
    return BgvRekeyer(parameters, source_id, found)


# bundles

Pace = Callable[[int], None]  # told of bytes that were made; may wait, or raise to stop


def rekey_bundle(
    shape: Shape, source: Source, rekeyer: Rekeyer, pace: Pace
) -> tuple[int, Iterator[bytes]]:
    """(size, chunks) of a stored bundle under the other key: both polynomials of each ciphertext.

    ``shape.key_id``: the key the source is under. Cost: ``Rekeyer.rekey`` per ciphertext; one limb
    takes twice what a fresh one takes on disk. Memory: the source and its rows, or ``SPOOL_BYTES``.
    Raises: AM-12xx as the readers do, and what ``pace`` raises.
    """
    made = MergedReader(
        shape.parameters,
        rekeyer.key_id,
        shape.scheme,
        parts=source.parts,
        rekeys=source.rekeys + 1,
    )
    return made.prefix_bytes(shape.level, shape.count), _chunks(shape, source, rekeyer, made, pace)


def _chunks(
    shape: Shape, source: Source, rekeyer: Rekeyer, made: MergedReader, pace: Pace
) -> Iterator[bytes]:
    limbs = 1 if shape.scheme == "noop" else shape.level
    sizes = [made.block_bytes(limb, shape.count) // shape.count for limb in range(limbs)]
    starts = np.cumsum([0, *sizes]).tolist()
    entries = []
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
        for index, stored in _ciphertexts(shape, source):
            moved = rekeyer.rekey(stored)
            entries.append(_entry(index, stored))
            for limb in range(limbs):
                row = _packed(shape, limb, moved.data)
                spool.write(check_of(entries[-1], limb, row) + row)
            pace(starts[-1])
        yield made.header(shape.kind, shape.level, entries)
        for limb, size in enumerate(sizes):
            checks, rows = [], []
            for index in range(shape.count):
                spool.seek(index * starts[-1] + starts[limb])
                piece = spool.read(size)
                checks.append(piece[:CHECK_BYTES])
                rows.append(piece[CHECK_BYTES:])
            yield b"".join([*checks, *rows])


def _ciphertexts(shape: Shape, source: Source) -> Iterator[tuple[int, Ciphertext]]:
    """Every ciphertext of a stored bundle, in the evaluator's form, one at a time."""
    buffer = source.reader.read()
    fresh = BundleReader(shape.parameters, shape.key_id, shape.scheme)
    summed = MergedReader(
        shape.parameters, shape.key_id, shape.scheme, parts=source.parts, rekeys=source.rekeys
    )
    for index in range(shape.count):
        if source.is_sum:
            (found,) = summed.load(buffer, shape.level, [index], shape.count)
        elif shape.scheme == "noop":
            (seeded,) = fresh.read(buffer, shape.level, [index], shape.kind)
            found = Ciphertext(seeded.parameters, seeded.key_id, seeded.meta, seeded.c0)
        else:
            (found,) = fresh.expand(buffer, shape.level, [index], shape.kind)
        yield index, found


def _entry(index: int, stored: Ciphertext) -> Entry:
    origins = b"".join(o.to_bytes(8, "little") for o in sorted(stored.meta.origins))
    origin = blake3.blake3(index.to_bytes(4, "little") + origins).digest(_ORIGIN_BYTES)
    return Entry((), origin, stored.meta.lo, stored.meta.hi)


def _packed(shape: Shape, limb: int, data: NDArray[Any]) -> bytes:
    """The rows of one limb, canonical. Shape: (2, L, N), noop (1, N)."""
    if shape.scheme == "noop":
        return bytes(data[0].astype("<u4").tobytes())
    from amaters.fhe.residues import from_kernel, pack

    prime = shape.parameters.data_primes[limb]
    words = np.empty(shape.parameters.ring_degree, dtype=np.uint64)
    rows = []
    for polynomial in range(2):
        from_kernel(data[polynomial, limb].copy(), float(prime), words)
        rows.append(pack(words, residue_bytes(prime)).tobytes())
    return b"".join(rows)
