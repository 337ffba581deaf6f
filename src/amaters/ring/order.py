"""Kernel order against SEAL's bit-reversed order, and automorphisms as permutations. Pure NumPy.

Position k of the bit-reversed order holds the evaluation at psi^(2 rev(k) + 1), psi the smallest
primitive 2N-th root. Kernel order transposes each group of 16 as a 4 x 4 matrix, so the permutation
is its own inverse.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


def kernel_position(index: IntArray) -> IntArray:
    """Where kernel order keeps the value at ``index`` of the bit-reversed order, and the other way
    round.
    """
    return (index & ~15) | ((index & 3) << 2) | ((index >> 2) & 3)


@lru_cache(maxsize=8)
def bit_reversed(degree: int) -> IntArray:
    """The bit reversal of 0 .. degree - 1. Shape: (N,)."""
    bits = degree.bit_length() - 1
    index = np.arange(degree, dtype=np.int64)
    result = np.zeros(degree, dtype=np.int64)
    for bit in range(bits):
        result |= ((index >> bit) & 1) << (bits - 1 - bit)
    result.setflags(write=False)
    return result


@lru_cache(maxsize=8)
def exponents(degree: int) -> IntArray:
    """The odd e such that kernel position k holds the evaluation at psi^e. Shape: (N,)."""
    result = 2 * bit_reversed(degree)[kernel_position(np.arange(degree))] + 1
    result.setflags(write=False)
    return result


@lru_cache(maxsize=64)
def automorphism(degree: int, exponent: int) -> npt.NDArray[np.int32]:
    """The permutation ``g`` with (a(X^exponent))[k] = a[g[k]] in kernel order. Shape: (N,)."""
    where = np.empty(2 * degree, dtype=np.int64)
    where[exponents(degree)] = np.arange(degree)
    result = where[exponents(degree) * exponent % (2 * degree)].astype(np.int32)
    result.setflags(write=False)
    return result
