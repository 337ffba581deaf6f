"""Constants of key switches and drops for each level, and thread-local scratch for their kernels.

All constants are exact integers reduced and centred here, once per (parameters, level, alpha). See
``amaters.ring.switching`` for the algorithm and its sources, ``fhe.noise`` for what each operation
adds.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amaters.fhe.keys import SwitchingKey, chain_of
from amaters.fhe.parameters import Parameters
from amaters.ring import switching
from amaters.ring.memory import empty
from amaters.ring.primes import centred
from amaters.ring.products import reduce_row
from amaters.ring.tables import Tables, get_tables
from amaters.ring.transform import forward

Array = NDArray[np.float64]
Plan = tuple[Any, ...]


def tables_of(parameters: Parameters) -> Tables:
    """The tables of the whole chain, special prime included."""
    return get_tables(parameters.ring_degree, chain_of(parameters))


def evaluations(parameters: Parameters, coefficients: Array) -> Array:
    """Kernel rows of a small polynomial modulo every data prime. Shape: (N,) to (max_level, N)."""
    tables = tables_of(parameters)
    rows = np.repeat(coefficients[np.newaxis], parameters.max_level, axis=0)
    for limb, row in enumerate(rows):
        forward(row, tables.forward[limb], tables.forward_quotients[limb], tables.primes[limb])
        reduce_row(row, tables.primes[limb])
    return rows


@lru_cache(maxsize=32)
def monomial(parameters: Parameters, power: int) -> Array:
    """Kernel rows of X^power for -N < power < N. Shape: (max_level, N)."""
    coefficients = np.zeros(parameters.ring_degree)
    coefficients[power] = 1.0 if power >= 0 else -1.0  # X^-k = -X^(N - k)
    rows = evaluations(parameters, coefficients)
    rows.setflags(write=False)
    return rows


def _inverse(value: int, prime: int) -> float:
    return float(centred(pow(value, -1, prime), prime))


@lru_cache(maxsize=256)
def switch_plan(parameters: Parameters, level: int, *, merged: bool) -> Plan:
    """The constants of one key switch at ``level``; merged: divided by the top prime as well."""
    shape = parameters.key_switch(level, merged=merged)
    N, chain = parameters.ring_degree, chain_of(parameters)
    total = len(chain)
    digits = np.array([0, *(stop for _, stop in shape.digits)], dtype=np.int64)
    special = list(range(total - shape.alpha, total))
    targets = [*special, level - 1] if merged else special
    width = max(stop - first for first, stop in shape.digits)
    input_scale = np.zeros(level)
    factors = np.zeros((total, len(shape.digits), width))
    for j, (first, stop) in enumerate(shape.digits):
        digit = prod(chain[first:stop])
        for i in range(first, stop):
            input_scale[i] = _inverse(digit // chain[i] * N, chain[i])
            for c in range(total):
                factors[c, j, i - first] = float(centred(digit // chain[i], chain[c]))
    p = prod(chain[c] for c in special)
    divisor = prod(chain[c] for c in targets)
    remaining = level - 1 if merged else level
    return (
        digits,
        np.array(targets, dtype=np.int64),
        input_scale,
        factors,
        np.array([float(centred(p, q)) for q in chain]),
        np.array([_inverse(divisor // chain[k] * N, chain[k]) for k in targets]),
        np.array([[_inverse(chain[k], chain[c]) for k in targets] for c in range(remaining)]),
        np.array([_inverse(divisor, chain[c]) for c in range(remaining)]),
    )


@lru_cache(maxsize=64)
def drop_plan(parameters: Parameters, level: int) -> Plan:
    """The constants for dropping the top limb of ``level``."""
    chain, top = chain_of(parameters), level - 1
    scale = _inverse(parameters.ring_degree, chain[top])
    return scale, np.array([_inverse(chain[top], q) for q in chain[:top]])


class Switcher:
    """Key switches and drops for one parameter set. Thread-safe: scratch is per thread."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        tables = tables_of(parameters)
        self.primes = tables.primes
        self._tables = (
            tables.primes,
            tables.forward,
            tables.forward_quotients,
            tables.inverse,
            tables.inverse_quotients,
            float(parameters.plaintext_modulus),
        )
        self._local = threading.local()

    def key_switch(self, data: Array, key: SwitchingKey, *, merged: bool) -> Array:
        """(c0, c1, c2) to two polynomials. Shape: (3, L, N) to (2, L, N), or (2, L - 1, N)
        merged.
        """
        level, N = data.shape[1], self._parameters.ring_degree
        plan = switch_plan(self._parameters, level, merged=merged)
        out = empty((2, level - merged, N))
        contiguous = np.ascontiguousarray(data)
        switching.key_switch(
            contiguous, key.expanded(), key.key_rows, plan, self._tables, self._scratch(), out
        )
        return out

    def drop(self, data: Array) -> Array:
        """Shape: (D, L, N) to (D, L - 1, N)."""
        plan = drop_plan(self._parameters, data.shape[1])
        out = empty((data.shape[0], data.shape[1] - 1, data.shape[2]))
        y, _, _, buffers, fix = self._scratch()
        scratch = (y, buffers[0], fix[0])
        switching.drop(np.ascontiguousarray(data), plan, self._tables, scratch, out)
        return out

    def shrink(self, data: Array) -> Array:
        """Shape: (2, 1, N) evaluations to (2, 1, N) coefficients mod the download modulus."""
        out = empty((2, 1, data.shape[2]))
        primes, _, _, inverse, quotients, t = self._tables
        scale = _inverse(self._parameters.ring_degree, self._parameters.data_primes[0])
        tables = (inverse[0], quotients[0], scale)
        modulus = float(self._parameters.download_modulus)
        for part in range(2):
            switching.shrink(data[part, 0], primes[0], modulus, t, tables, out[part, 0])
        return out

    def _scratch(self) -> Plan:
        """y (levels, N), special (2, rows, N), acc (2, N), buffers (2, N), fix (2, N): 3 MB at N
        = 16384.
        """
        found: Plan | None = getattr(self._local, "scratch", None)
        if found is None:
            N, rows = self._parameters.ring_degree, self._parameters.max_level
            found = (
                empty((rows, N)),
                empty((2, switching.ROWS_MAX, N)),
                empty((2, N)),
                empty((2, N)),
                empty((2, N)),
            )
            self._local.scratch = found
        return found
