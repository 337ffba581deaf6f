"""Public-key encryption: whoever holds the public key can encrypt, only the keyset can decrypt.

The key is an encryption of zero: b = t e - a s, a from a seed. A ciphertext is (b u + t e1 +
lift(m), a u + t e2) with a ternary u: more noise than a symmetric encryption, and no seed, so twice
the bytes. Source: Lyubashevsky, Peikert, Regev 2010; Kim, Polyakov, Zucca 2021, section 2.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.base.rng import Rng, SystemRng
from amaters.fhe import encoder
from amaters.fhe.ciphertext import SEED_BYTES, Ciphertext, SeededCiphertext, origin_of
from amaters.fhe.meta import Rules
from amaters.fhe.parameters import Parameters
from amaters.fhe.residues import to_kernel
from amaters.fhe.secret import kernels, sampling
from amaters.fhe.secret.transformed import SlotTransform, transform_small
from amaters.fhe.seeds import uniform_row
from amaters.fhe.serial import Buffer, pack_canonical, read_frame, unpack_canonical, write_frame
from amaters.ring.tables import get_tables

_KIND = 3
_HEAD = struct.Struct(f"<HH{SEED_BYTES}s")
_WHAT = "public key"


@dataclass(frozen=True)
class PublicKey:
    """Shape of ``b``: uint64 (max_level, N), canonical, SEAL's order. Made from an encryption
    of zero.
    """

    parameters: Parameters
    key_id: bytes
    seed: bytes
    b: NDArray[np.uint64]

    @classmethod
    def from_zero(cls, zero: SeededCiphertext) -> PublicKey:
        """The key made of a fresh encryption of zero at the highest level, which nobody else
        may use.
        """
        return cls(zero.parameters, zero.key_id, zero.seed, zero.c0)

    def to_bytes(self) -> bytes:
        """A frame of format v1: 0.9 MB at the default parameters."""
        level = self.parameters.max_level
        body = _HEAD.pack(level, 0, self.seed)
        body += pack_canonical(self.b, self.parameters.residue_bytes(level))
        return write_frame(_KIND, self.parameters, self.key_id, body)

    @classmethod
    def from_bytes(
        cls, data: Buffer, parameters: Parameters, key_id: bytes | None = None
    ) -> PublicKey:
        """Inverse of ``to_bytes``. Raises: AM-1204, AM-1206, AM-1210, AM-1211, AM-1212."""
        level = parameters.max_level
        size = _HEAD.size + sum(parameters.residue_bytes(level)) * parameters.ring_degree
        found_key, body = read_frame(
            data, _KIND, parameters, what=_WHAT, body_bytes_max=size, key_id=key_id
        )
        if len(body) != size:
            fail("AM-1210", kind=_WHAT, what="its length does not fit its parameter set")
        stored, reserved, seed = _HEAD.unpack_from(body)
        if stored != level or reserved:
            fail("AM-1210", kind=_WHAT, what="it is not at the highest level")
        b = unpack_canonical(body[_HEAD.size :], parameters, level, what=_WHAT)
        return cls(parameters, found_key, seed, b)


class PublicEncryptor:
    """Encrypts under a public key. Holds no secret; its randomness is secret all the same."""

    def __init__(self, key: PublicKey, rng: Rng | None = None) -> None:
        self._parameters = key.parameters
        self._key_id = key.key_id
        self._rng = rng or SystemRng()
        self._rules = Rules(key.parameters)
        self._slots = SlotTransform(key.parameters)
        self._tables = get_tables(key.parameters.ring_degree, key.parameters.data_primes)
        self._b, self._a = np.empty(key.b.shape), np.empty(key.b.shape)
        for limb, prime in enumerate(key.parameters.data_primes):
            to_kernel(key.b[limb].copy(), float(prime), self._b[limb])
            uniform_row(key.seed, prime, limb, 0, self._a[limb])

    def encrypt(
        self,
        slots: NDArray[np.int64],
        bounds: Sequence[tuple[int, int]],
        level: int | None = None,
    ) -> list[Ciphertext]:
        """One ciphertext per row of ``slots``; see ``ClientScheme.encrypt``."""
        encoder.require_bounds(self._parameters, slots, bounds)
        chosen = self._parameters.max_level if level is None else level
        residues = (slots % self._parameters.plaintext_modulus).astype(np.uint64)
        return [self._one(row, bound, chosen) for row, bound in zip(residues, bounds, strict=True)]

    def _one(self, row: NDArray[np.int64], bound: tuple[int, int], level: int) -> Ciphertext:
        parameters = self._parameters
        name = origin_of(self._rng.bytes(SEED_BYTES))
        meta = self._rules.public_key_fresh(level, *bound, origin=name)
        tables = get_tables(parameters.ring_degree, parameters.data_primes[:level])
        stream = sampling.KeyStream(self._rng)
        N = parameters.ring_degree
        mask = sampling.uniform_ternary(stream, N).astype(np.float64)
        error = sampling.noisy_plaintext(stream, np.zeros(N, dtype=np.int64))
        residues = encoder.residues(parameters, row, bound)
        message = sampling.noisy_plaintext(stream, self._slots.message_of(residues))
        u = transform_small(mask, tables)
        data = np.stack((transform_small(message, tables), transform_small(error, tables)))
        for limb, prime in enumerate(tables.primes):
            kernels.add_product(data[0, limb], self._b[limb], u[limb], prime)
            kernels.add_product(data[1, limb], self._a[limb], u[limb], prime)
        return Ciphertext(parameters, self._key_id, meta, data)
