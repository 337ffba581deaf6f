"""Twiddle tables for one ring degree and a list of primes, in the order in which the kernels read
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from amaters.ring import selftest
from amaters.ring.memory import empty
from amaters.ring.modular import LOG_DEGREE_MAX, PRIME_BITS_MAX
from amaters.ring.order import bit_reversed
from amaters.ring.primes import smallest_root

FloatArray = npt.NDArray[np.float64]

selftest.require_exact_arithmetic()


@dataclass(frozen=True)
class Tables:
    """Shape: ``primes``, ``inverse_degree`` (P,); the others (P, N): twiddles and twiddles / p."""

    degree: int
    moduli: tuple[int, ...]
    primes: FloatArray
    inverse_degree: FloatArray
    forward: FloatArray
    forward_quotients: FloatArray
    inverse: FloatArray
    inverse_quotients: FloatArray


@lru_cache(maxsize=16)
def get_tables(degree: int, moduli: tuple[int, ...]) -> Tables:
    """The tables for R = Z[X]/(X^N + 1) modulo each of ``moduli`` (primes = 1 mod 2N).

    Cost: about 10 ms and 0.5 MB per prime at N = 16384; kept for the life of the process.
    """
    if not 6 <= degree.bit_length() - 1 <= LOG_DEGREE_MAX or degree & (degree - 1):
        raise ValueError(f"ring degree {degree}")
    if any(p.bit_length() > PRIME_BITS_MAX or p % (2 * degree) != 1 for p in moduli):
        raise ValueError("a modulus is too large or has no transform")
    layout = _layout(degree)
    primes = np.array(moduli, dtype=np.float64)
    forward = empty((len(moduli), degree))
    inverse = empty((len(moduli), degree))
    for row, p in enumerate(moduli):
        root = smallest_root(p, 2 * degree)
        forward[row] = _powers(root, degree, p)[layout]
        inverse[row] = _powers(pow(root, -1, p), degree, p)[layout]
    tables = Tables(
        degree=degree,
        moduli=moduli,
        primes=primes,
        inverse_degree=np.array([centred_inverse(degree, p) for p in moduli]),
        forward=forward,
        forward_quotients=_quotients(forward, primes),
        inverse=inverse,
        inverse_quotients=_quotients(inverse, primes),
    )
    for array in vars(tables).values():
        if isinstance(array, np.ndarray):
            array.setflags(write=False)
    return tables


def _quotients(table: FloatArray, primes: FloatArray) -> FloatArray:
    result = empty((table.shape[0], table.shape[1]))
    np.divide(table, primes[:, None], out=result)
    return result


def centred_inverse(value: int, prime: int) -> float:
    """1 / value mod prime, centred, as a double."""
    result = pow(value, -1, prime)
    return float(result - prime if result > prime // 2 else result)


def _powers(root: int, degree: int, prime: int) -> FloatArray:
    """root^rev(k) for k = 0 .. N - 1, centred."""
    power, powers = 1, []
    for _ in range(degree):
        powers.append(power - prime if power > prime // 2 else power)
        power = power * root % prime
    return np.array(powers, dtype=np.float64)[bit_reversed(degree)]


def _layout(degree: int) -> npt.NDArray[np.int64]:
    """For each table position the index of its twiddle in bit-reversed order.

    A pass over B blocks starts at position B with (w1, w2, w3) per block; the last pass (B = N/4)
    holds them four blocks at a time: w1 of four, w2 of four, w3 of four.
    """
    parts: list[npt.NDArray[np.int64]] = [np.array([0])]  # unused: N - 1 twiddles in all
    blocks = 1
    if (degree.bit_length() - 1) % 2:
        parts.append(np.array([1]))
        blocks = 2
    while blocks <= degree // 4:
        i = np.arange(blocks)
        triples = np.stack([blocks + i, 2 * (blocks + i), 2 * (blocks + i) + 1], axis=1)
        if blocks == degree // 4:
            triples = triples.reshape(-1, 4, 3).transpose(0, 2, 1)
        parts.append(triples.reshape(-1))
        blocks *= 4
    return np.concatenate(parts)
