"""Key generation: evaluation keys and the public key, from the secret key."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.base.rng import Rng, SystemRng
from amaters.fhe.ciphertext import SEED_BYTES
from amaters.fhe.keys import (
    RELINEARIZE,
    EvaluationKeys,
    KeyShape,
    SwitchingKey,
    chain_of,
    relinearization_shapes,
    residue_bytes,
)
from amaters.fhe.noise import REKEY_BASE_BITS
from amaters.fhe.rekeying import rekey_shapes
from amaters.fhe.residues import from_kernel, pack
from amaters.fhe.secret import kernels, sampling
from amaters.fhe.secret.key import SecretKey
from amaters.fhe.secret.transformed import transform_small
from amaters.fhe.seeds import uniform_row
from amaters.ring.order import automorphism
from amaters.ring.primes import centred
from amaters.ring.tables import get_tables

Row = NDArray[np.float64]


class KeyGenerator:
    """Makes keys for one secret key; every key draws its own seed and errors."""

    def __init__(self, key: SecretKey, rng: Rng | None = None) -> None:
        self._key = key
        self._parameters = key.parameters
        self._rng = rng or SystemRng()
        self._tables = get_tables(key.parameters.ring_degree, chain_of(key.parameters))
        self._secret = transform_small(key.coefficients.astype(np.float64), self._tables)

    def evaluation_keys(self, extra: Sequence[KeyShape] = ()) -> EvaluationKeys:
        """Relinearisation for every level and alpha in use, and ``extra`` keys
        (``keys.expansion_shapes``).

        Cost at N = 16384: about 0.3 s and 19 MB; each automorphism up to level 8 adds 6 MB.
        """
        shapes = (*relinearization_shapes(self._parameters), *extra)
        keys = {(shape.kind, shape.alpha): self.switching_key(shape) for shape in shapes}
        return EvaluationKeys(self._parameters, self._key.key_id, keys)

    def rekeying_keys(self, old: SecretKey) -> EvaluationKeys:
        """What moves ciphertexts from ``old`` to this key: the old secret and 2^23 times it, under
        this one (``fhe.rekeying``). Public, like all switching keys.

        Cost at N = 16384: about 0.2 s and 18 MB. Raises: AM-1204 for a key of another set.
        """
        if old.parameters != self._parameters or old.key_id == self._key.key_id:
            fail("AM-1204", what="a change of key within one parameter set needs two keys of it")
        source = transform_small(old.coefficients.astype(np.float64), self._tables)
        keys = {}
        for shape, bits in zip(rekey_shapes(self._parameters), (0, REKEY_BASE_BITS), strict=True):
            keys[(shape.kind, shape.alpha)] = self._key_from(source, shape, 1 << bits)
        return EvaluationKeys(self._parameters, self._key.key_id, keys)

    def switching_key(self, shape: KeyShape) -> SwitchingKey:
        """The key of one shape: from s^2 or s(X^g) to s."""
        return self._key_from(self._source(shape.kind), shape, 1)

    def _key_from(self, source: Row, shape: KeyShape, times: int) -> SwitchingKey:
        """The key from ``times`` the secret ``source`` (rows of the whole chain) to s."""
        seed = self._rng.bytes(SEED_BYTES)
        chain = shape.chain(self._parameters)
        primes = chain_of(self._parameters)
        special = prod(primes[-shape.alpha :])
        stream = sampling.KeyStream(self._rng)
        rows = []
        for digit, (first, stop) in enumerate(shape.digits()):
            error = self._error(stream)
            row = []
            for index in chain:
                factor = special * times % primes[index] if first <= index < stop else 0
                b = self._half(seed, digit, index)
                self._complete(b, index, factor, error[index], source[index])
                row.append(self._packed(b, index))
            rows.append(row)
        return SwitchingKey(self._parameters, shape, seed, rows)

    def _source(self, kind: int) -> Row:
        if kind != RELINEARIZE:
            return self._secret[:, automorphism(self._parameters.ring_degree, kind)].copy()
        square = np.empty_like(self._secret)
        zero = np.zeros(self._secret.shape[1])
        for row, prime in enumerate(self._tables.primes):
            s = self._secret[row]
            kernels.key_row(-s, s, zero, zero, 0.0, prime, square[row])
        return square

    def _error(self, stream: sampling.KeyStream) -> Row:
        error = sampling.centred_binomial(stream, self._parameters.ring_degree)
        scaled = error.astype(np.float64) * self._parameters.plaintext_modulus
        return transform_small(scaled, self._tables)

    def _half(self, seed: bytes, digit: int, index: int) -> Row:
        """The uniform half of one row, for the prime with this index in the chain."""
        row: Row = np.empty(self._parameters.ring_degree)
        uniform_row(seed, chain_of(self._parameters)[index], index, digit, row)
        return row

    def _complete(self, row: Row, index: int, factor: int, error: Row, source: Row) -> None:
        """``row`` (a) becomes b = factor source + error - a s."""
        prime = chain_of(self._parameters)[index]
        scale = float(centred(factor, prime))
        kernels.key_row(row, self._secret[index], error, source, scale, float(prime), row)

    def _packed(self, row: Row, index: int) -> NDArray[np.uint8]:
        prime = chain_of(self._parameters)[index]
        out = np.empty(self._parameters.ring_degree, dtype=np.uint64)
        from_kernel(row, float(prime), out)
        return pack(out, residue_bytes(prime))
