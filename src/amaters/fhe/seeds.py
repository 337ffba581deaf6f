"""Uniform polynomials from public seeds: the second halves of ciphertexts and evaluation keys.

Format v1: AES-256-CTR with the seed as key; the first counter block is limb (2 bytes), polynomial
(2 bytes), both little-endian, then zeros. The key stream is read as little-endian words of
ceil(bits / 8) bytes, each masked to the prime's bit length and rejected unless below the prime.
Seeds are public; secrecy rests on each being used for one encryption only.
"""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.fhe.ciphertext import SEED_BYTES


def uniform_residues(
    seed: bytes, prime: int, *, limb: int, polynomial: int, count: int
) -> NDArray[np.uint64]:
    """``count`` residues uniform in [0, prime), the same for ever for the same arguments.

    Shape: uint64 (count,), 8 | count. Cost: one AES pass over about count * ceil(bits / 8) bytes.
    """
    from amaters.fhe.residues import keep_below, unpack_into

    if len(seed) != SEED_BYTES:
        fail("AM-1210", kind="seed", what=f"{len(seed)} bytes")
    bits = prime.bit_length()
    width = (bits + 7) // 8
    nonce = limb.to_bytes(2, "little") + polynomial.to_bytes(2, "little") + bytes(12)
    stream = Cipher(algorithms.AES(seed), modes.CTR(nonce)).encryptor()
    out = np.empty(count, dtype=np.uint64)
    filled = 0
    while filled < count:
        # Expected draws plus six standard deviations, in whole groups of eight words.
        accept = prime / 2.0**bits
        missing = (count - filled) / accept
        groups = ceil((missing + 6.0 * sqrt(missing * (1.0 - accept)) + 8.0) / 8.0)
        buffer = bytearray(groups * 8 * width + 16)
        stream.update_into(_zeros(groups * 8 * width), buffer)
        words = np.empty(groups * 8, dtype=np.uint64)
        block = np.frombuffer(buffer, dtype=np.uint8, count=groups * 8 * width)
        unpack_into(block, width, words, bits=bits)
        kept = min(int(keep_below(words, np.uint64(prime))), count - filled)
        out[filled : filled + kept] = words[:kept]
        filled += kept
    return out


_ZEROS = bytes(1 << 18)


def _zeros(count: int) -> bytes | memoryview:
    return memoryview(_ZEROS)[:count] if count <= len(_ZEROS) else bytes(count)
