"""Secret draws: a key stream from the operating system's randomness, and the distributions on top.

Nothing here accepts a seed from outside: the ``Rng`` of ``amaters.base`` has no such door either.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from amaters.base.rng import Rng
from amaters.fhe import noise
from amaters.fhe.secret import kernels

_CHUNK = bytes(1 << 16)


class KeyStream:
    """AES-256-CTR under a key drawn once from the operating system; never rewound, never shared."""

    def __init__(self, rng: Rng) -> None:
        self._stream = Cipher(algorithms.AES(rng.bytes(32)), modes.CTR(bytes(16))).encryptor()

    def bytes(self, count: int) -> bytearray:
        """The next ``count`` bytes."""
        out = bytearray(count + 16)
        view = memoryview(out)
        for start in range(0, count, len(_CHUNK)):
            step = min(len(_CHUNK), count - start)
            self._stream.update_into(memoryview(_CHUNK)[:step], view[start:])
        view.release()
        del out[count:]
        return out

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next ``count`` uniform 64-bit words."""
        return np.frombuffer(self.bytes(8 * count), dtype=np.uint64)

    def half_words(self, count: int) -> NDArray[np.uint32]:
        """The next ``count`` uniform 32-bit words."""
        return np.frombuffer(self.bytes(4 * count), dtype=np.uint32)


def centred_binomial(stream: KeyStream, count: int) -> NDArray[np.int64]:
    """CBD(21): variance 10.5, |value| <= 21. Constant time."""
    out = np.empty(count, dtype=np.int64)
    kernels.centred_binomial(stream.words(count), out)
    return out


def noisy_plaintext(stream: KeyStream, message: NDArray[np.int64]) -> NDArray[np.float64]:
    """A random lift of ``message`` (coefficients in [0, t)) plus t times a fresh error."""
    out = np.empty(message.size, dtype=np.float64)
    count = message.size
    kernels.noisy_plaintext(message, stream.words(count), stream.half_words(count), out)
    return out


def uniform_ternary(stream: KeyStream, count: int) -> NDArray[np.int8]:
    """``count`` values uniform in {-1, 0, 1}, by rejecting one of four two-bit draws."""
    kept = np.empty(0, dtype=np.int8)
    while kept.size < count:
        drawn = np.frombuffer(stream.bytes(count), dtype=np.uint8)
        pairs = np.concatenate([(drawn >> shift) & 3 for shift in (0, 2, 4, 6)]).astype(np.int8)
        kept = np.concatenate([kept, pairs[pairs < 3] - np.int8(1)])
    return kept[:count].copy()


def secret_polynomial(stream: KeyStream, ring_degree: int) -> NDArray[np.int8]:
    """A uniform ternary polynomial inside the bounds that ``amaters.fhe.noise`` relies on.

    Canonical norm at most 4 sqrt(N) (refused with probability < 2^-20) and squared length at most
    0.7 N (refused about once in 50,000 at N = 1024, never at N >= 8192).
    """
    while True:
        secret = uniform_ternary(stream, ring_degree)
        weight = int(np.count_nonzero(secret))
        if weight > noise.SECRET_WEIGHT_FACTOR * ring_degree:
            continue
        if canonical_norm(secret.astype(np.float64)) <= noise.SECRET_NORM_FACTOR * ring_degree**0.5:
            return secret


def canonical_norm(coefficients: NDArray[np.float64]) -> float:
    """The largest absolute value at a primitive 2N-th root of unity; one complex transform."""
    N = coefficients.size
    twist = np.exp(1j * np.pi / N * np.arange(N))
    return float(np.abs(np.fft.fft(coefficients * twist)).max())
