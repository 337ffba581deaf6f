"""What all peers measure: the same columns, the same circuit, the same report.

Equality of a 32-bit column with one constant, both encrypted. Packed libraries evaluate the
circuit that AmateRS evaluates: sixteen base-4 digits, one-hot, an inner product that counts
equal digits, and a polynomial that is nonzero at 16 and zero below. Answers are checked.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

MODULUS = 65537
SLOTS = 16384
DIGITS = 16
C = TypeVar("C")


class Packed(Protocol[C]):
    """A library's ciphertexts as the circuit needs them. ``product`` relinearises and drops."""

    def dot(self, pairs: Sequence[tuple[C, C]]) -> C: ...
    def product(self, a: C, b: C) -> C: ...
    def sub(self, a: C, b: C) -> C: ...
    def scale(self, a: C, factor: int) -> C: ...
    def shift(self, a: C, constant: int) -> C: ...


def column(seed: int = 7) -> tuple[np.ndarray, int]:
    """32-bit values, one in ten of them the constant, others differing from it in one digit."""
    rng = np.random.default_rng(seed)
    constant = int(rng.integers(0, 1 << 32))
    values = rng.integers(0, 1 << 32, SLOTS)
    values[::10] = constant
    values[1::10] = constant ^ (1 << rng.integers(0, 32, len(values[1::10])))
    return values, constant


def indicators(values: np.ndarray) -> list[np.ndarray]:
    """64 vectors of 0 and 1: digit i equals v."""
    digits = [(values >> 2 * i) & 3 for i in range(DIGITS)]
    return [(digit == v).astype(np.int64) for digit in digits for v in range(4)]


def equality(library: Packed[C], data: Sequence[C], constant: Sequence[C]) -> tuple[C, int]:
    """(mask times a factor, the factor): 64 products, one relinearisation, then five products.

    The polynomial is that of ``amaters.plan.polynomials`` at 16 digits: with z = (2c - 15)^2 - 85
    and z2 = z^2 it is (z2 - 7056)(z2 - 1296) (z2 (z2 - 14496) - 696320 z - 2553600).
    """
    count = library.dot(list(zip(data, constant, strict=True)))
    centred = library.shift(library.scale(count, 2), -15)
    z = library.shift(library.product(centred, centred), -85)
    z2 = library.product(z, z)
    first = library.product(library.shift(z2, -7056), library.shift(z2, -1296))
    second = library.product(z2, library.shift(z2, -14496))
    second = library.shift(library.sub(second, library.scale(z, 696320 % MODULUS)), -2553600)
    return library.product(first, second), _polynomial(DIGITS)


def _polynomial(count: int) -> int:
    z = (2 * count - 15) ** 2 - 85
    z2 = z * z
    value = (z2 - 7056) * (z2 - 1296) * (z2 * (z2 - 14496) - 696320 * z - 2553600)
    return value % MODULUS


def check(slots: Sequence[int], factor: int, values: np.ndarray, constant: int) -> None:
    """Ends the program when one row is wrong."""
    mask = np.asarray(slots[: len(values)]) % MODULUS * pow(factor, -1, MODULUS) % MODULUS
    if not np.array_equal(mask, (values == constant).astype(np.int64)):
        sys.exit("wrong answer: nothing is reported")


def seconds(call: Callable[[], Any], rounds: int = 5) -> float:
    """CPU seconds of one call, the best of some: neighbours only ever add."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return best


def report(library: str, records: Sequence[dict[str, Any]]) -> None:
    """Prints the records as one JSON list."""
    print(json.dumps([{"library": library, **record} for record in records]))


def record(operation: str, rows: int, spent: float, note: str) -> dict[str, Any]:
    """One measurement: CPU microseconds per row on one core."""
    return {
        "operation": operation,
        "rows": rows,
        "core_us_per_row": spent * 1e6 / rows,
        "note": note,
    }
