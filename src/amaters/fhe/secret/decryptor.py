"""Decryption of ciphertexts of degree 1 to 3 at any level, and the exact measurement of noise."""

from __future__ import annotations

from functools import lru_cache
from math import log2, prod

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.fhe import encoder
from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.meta import DEGREE_MAX, Rules
from amaters.fhe.parameters import Parameters
from amaters.fhe.secret import kernels, sampling
from amaters.fhe.secret.key import SecretKey
from amaters.fhe.secret.transformed import TransformedKey
from amaters.ring.transform import forward, inverse

Row = NDArray[np.float64]


class Decryptor:
    """Decrypts under one key. Thread-safe."""

    def __init__(self, key: SecretKey, transformed: TransformedKey) -> None:
        self._parameters = key.parameters
        self._key_id = key.key_id
        self._key = transformed
        self._rules = Rules(key.parameters)

    def decrypt(self, ct: Ciphertext) -> NDArray[np.int64]:
        """See ``ClientScheme.decrypt``."""
        self._require_ours(ct)
        self._rules.check_decodable(ct.meta)
        message, fraction = self._message(ct)
        # The proven bound keeps |x| / Q below 1/2; float sums know it to 2^-48.
        proven = self._rules.coefficient_bound(ct.meta) - self._parameters.log_modulus(ct.level)
        if fraction > 2.0**proven + 2.0**-40:
            fail("AM-1208", what="its noise exceeds the proven bound")
        return encoder.decode_slots(self._parameters, self._key.slots_of(message), ct.meta)

    def exact_noise(self, ct: Ciphertext) -> float:
        """See ``ClientScheme.exact_noise``. Exact integers: slow, for tests and calibration."""
        self._require_ours(ct)
        rows = self._centred_rows(ct)
        if ct.level == 0:
            return log2(max(1.0, float(np.abs(rows).max())))
        modulus = self._parameters.modulus(ct.level)
        total = np.zeros(rows.shape[1], dtype=object)
        for row, prime in zip(rows, self._parameters.data_primes[: ct.level], strict=True):
            total += row.astype(np.int64).astype(object) * (modulus // prime)
        total = (total + modulus // 2) % modulus - modulus // 2
        return log2(max(1.0, sampling.canonical_norm(total.astype(np.float64))))

    def _require_ours(self, ct: Ciphertext) -> None:
        if ct.key_id != self._key_id:
            fail("AM-1206", found=ct.key_id.hex(), expected=self._key_id.hex())
        N = self._parameters.ring_degree
        shape = (ct.degree + 1, max(ct.level, 1), N)
        if ct.parameters != self._parameters or ct.data.shape != shape or ct.degree > DEGREE_MAX:
            fail("AM-1204", what=f"data of shape {ct.data.shape}, expected {shape}")

    def _message(self, ct: Ciphertext) -> tuple[Row, float]:
        """Centred plaintext coefficients and the largest |noisy plaintext| / Q."""
        rows = self._centred_rows(ct)
        out = np.empty(rows.shape[1])
        if ct.level == 0:
            primes = np.array([float(self._parameters.download_modulus)])
        else:
            primes = self._key.tables.primes
        return out, float(kernels.recombine(rows, primes, out))

    def _centred_rows(self, ct: Ciphertext) -> Row:
        """y_i of ``kernels.recombine``. Shape: (level, N), one row when shrunk."""
        if ct.level == 0:
            return self._shrunk_phase(ct)
        key, tables = self._key, self._key.tables
        scales = _crt_scales(self._parameters, ct.level)
        out: Row = ct.data[-1].copy()
        for limb, x in enumerate(out):
            prime, s, sq = tables.primes[limb], key.secret[limb], key.quotients[limb]
            for power in range(ct.degree - 1, -1, -1):  # Horner: c0 + s (c1 + s (c2 + ...))
                kernels.multiply_add(x, s, sq, ct.data[power, limb], prime)
            w, wq = tables.inverse[limb], tables.inverse_quotients[limb]
            inverse(x, w, wq, prime, scales[limb])
        return out

    def _shrunk_phase(self, ct: Ciphertext) -> Row:
        """c0 + c1 s mod the download modulus.

        That modulus has no transform; the product with a ternary polynomial is below N q' / 2 < q_0
        / 2, so the first prime's transform computes it exactly.
        """
        tables, key, prime = self._key.tables, self._key, self._key.tables.primes[0]
        x: Row = ct.data[1, 0].copy()
        forward(x, tables.forward[0], tables.forward_quotients[0], prime)
        kernels.multiply_add(x, key.secret[0], key.quotients[0], np.zeros_like(x), prime)
        scale = tables.inverse_degree[0]
        inverse(x, tables.inverse[0], tables.inverse_quotients[0], prime, scale)
        x += ct.data[0, 0]
        kernels.reduce_row(x, float(self._parameters.download_modulus))
        return x[np.newaxis]


@lru_cache(maxsize=64)
def _crt_scales(parameters: Parameters, level: int) -> Row:
    """(Q/q_i)^-1 / N mod q_i, centred: the transform's own scaling carries the recombination."""
    primes = parameters.data_primes[:level]
    scales = []
    for q in primes:
        others = prod(p for p in primes if p != q)
        value = pow(others * parameters.ring_degree, -1, q)
        scales.append(float(value - q if value > q // 2 else value))
    return np.array(scales)
