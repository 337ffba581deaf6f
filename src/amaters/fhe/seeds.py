"""Uniform polynomials from public seeds: the second halves of ciphertexts and evaluation keys.

Format v1: AES-256-CTR with the seed as key; the first counter block is limb (2 bytes), polynomial
(2 bytes), both little-endian, then zeros. The key stream is read as little-endian words of
ceil(bits / 8) bytes, each masked to the prime's bit length and rejected unless below the prime.
Seeds are public; secrecy rests on each being used for one encryption only.
"""

from __future__ import annotations

import threading
from math import ceil, sqrt

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.fhe.ciphertext import SEED_BYTES
from amaters.fhe.residues import sieve, to_kernel

Words = NDArray[np.uint64]


class _Scratch(threading.local):
    """Buffers of one thread: fresh ones of this size would cost a page fault every 4 KB."""

    def __init__(self) -> None:
        self.stream = bytearray(0)
        self.zeros = bytes(0)

    def require(self, stream_bytes: int) -> None:
        if len(self.stream) < stream_bytes + 16:
            self.stream = bytearray(stream_bytes + 16)
            self.zeros = bytes(stream_bytes)


_SCRATCH = _Scratch()


def fill_uniform(seed: bytes, prime: int, limb: int, polynomial: int, out: Words) -> None:
    """Fills ``out`` with residues uniform in [0, prime), the same for ever for the same arguments.

    Shape: uint64 (count,), 8 | count. Cost: 40 us for 16,384 residues, half of it AES.
    """
    if len(seed) != SEED_BYTES:
        fail("AM-1210", kind="seed", what=f"{len(seed)} bytes")
    bits = prime.bit_length()
    width = (bits + 7) // 8
    accept = prime / 2.0**bits
    nonce = limb.to_bytes(2, "little") + polynomial.to_bytes(2, "little") + bytes(12)
    stream = Cipher(algorithms.AES(seed), modes.CTR(nonce)).encryptor()
    filled = 0
    while filled < out.size:
        # Expected draws plus six standard deviations, in whole groups of eight words.
        missing = (out.size - filled) / accept
        words = 8 * ceil((missing + 6.0 * sqrt(missing * (1.0 - accept)) + 8.0) / 8.0)
        scratch = _SCRATCH
        scratch.require(words * width)
        stream.update_into(memoryview(scratch.zeros)[: words * width], scratch.stream)
        block = np.frombuffer(scratch.stream, dtype=np.uint8, count=words * width)
        filled += sieve(block, width, bits, prime, out[filled:])


def uniform_residues(seed: bytes, prime: int, *, limb: int, polynomial: int, count: int) -> Words:
    """``fill_uniform`` of a new array."""
    out = np.empty(count, dtype=np.uint64)
    fill_uniform(seed, prime, limb, polynomial, out)
    return out


def uniform_row(
    seed: bytes, prime: int, limb: int, polynomial: int, out: NDArray[np.float64]
) -> None:
    """``fill_uniform`` as a kernel row: centred, kernel order. Shape: float64 (N,), contiguous."""
    words = out.view(np.uint64)
    fill_uniform(seed, prime, limb, polynomial, words)
    to_kernel(words, float(prime), out)
