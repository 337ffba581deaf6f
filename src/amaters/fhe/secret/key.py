"""The secret key: a ternary polynomial and the public identifier of everything encrypted
under it.
"""

from __future__ import annotations

import struct

import blake3
import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.base.ids import new_id
from amaters.base.rng import Rng, SystemRng
from amaters.fhe import noise
from amaters.fhe.ciphertext import KEY_ID_BYTES
from amaters.fhe.parameters import Parameters, get_parameters
from amaters.fhe.secret.sampling import KeyStream, canonical_norm, secret_polynomial

_MAGIC = b"AMSK\x01\x00"
_HEADER = struct.Struct("<6s48s16s")
_DIGEST_BYTES = 32


class SecretKey:
    """Never printed, never sent. ``coefficients``: int8 (N,), in {-1, 0, 1}."""

    def __init__(
        self, parameters: Parameters, key_id: bytes, coefficients: NDArray[np.int8]
    ) -> None:
        self.parameters = parameters
        self.key_id = key_id
        self.coefficients = coefficients
        coefficients.setflags(write=False)

    @classmethod
    def generate(cls, parameters: Parameters, rng: Rng | None = None) -> SecretKey:
        """A fresh key from the operating system's randomness."""
        source = rng or SystemRng()
        polynomial = secret_polynomial(KeyStream(source), parameters.ring_degree)
        return cls(parameters, new_id(source), polynomial)

    def __repr__(self) -> str:
        return f"SecretKey({self.parameters.name}, {self.key_id.hex()})"

    def __reduce__(self) -> str:
        fail("AM-1000", what="a secret key must not be pickled")

    def to_bytes(self) -> bytes:
        """Header, two bits per coefficient, BLAKE3: N / 4 + 102 bytes. Secret."""
        symbols = (self.coefficients + 1).astype(np.uint8).reshape(-1, 4)
        packed = symbols @ np.array([1, 4, 16, 64], dtype=np.uint8)
        name = self.parameters.name.encode("ascii")
        body = _HEADER.pack(_MAGIC, name, self.key_id) + packed.astype(np.uint8).tobytes()
        return body + blake3.blake3(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> SecretKey:
        """Inverse of ``to_bytes``. Raises: AM-1210 or AM-1212 for anything else (never
        echoing bytes).
        """
        if len(data) < _HEADER.size + _DIGEST_BYTES:
            fail("AM-1210", kind="secret key", what="it is too short")
        body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
        magic, name, key_id = _HEADER.unpack_from(body)
        if magic != _MAGIC:
            fail("AM-1210", kind="secret key", what="it does not start like one")
        if blake3.blake3(body).digest() != digest:
            fail("AM-1212", kind="secret key", where="the whole file")
        parameters = get_parameters(name.rstrip(b"\0").decode("ascii", "replace"))
        return cls(parameters, key_id, _unpack(body[_HEADER.size :], parameters.ring_degree))


def key_bytes(parameters: Parameters) -> int:
    """Size of ``SecretKey.to_bytes``."""
    return _HEADER.size + parameters.ring_degree // 4 + _DIGEST_BYTES


def _unpack(packed: bytes, ring_degree: int) -> NDArray[np.int8]:
    if len(packed) != ring_degree // 4:
        fail("AM-1210", kind="secret key", what="its length does not fit its parameter set")
    raw = np.frombuffer(packed, dtype=np.uint8)[:, np.newaxis]
    symbols = (raw >> np.array([0, 2, 4, 6], dtype=np.uint8)) & 3
    coefficients = symbols.reshape(-1).astype(np.int8) - np.int8(1)
    limit = noise.SECRET_NORM_FACTOR * ring_degree**0.5
    if int(coefficients.max()) > 1 or canonical_norm(coefficients.astype(np.float64)) > limit:
        fail("AM-1210", kind="secret key", what="it is not a short ternary polynomial")
    return coefficients


assert KEY_ID_BYTES == 16  # fixed by _HEADER
