"""Unbiased draws from a CSPRNG: numbers below a bound, subsets, permutations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amaters.base.rng import Rng


def below(rng: Rng, bound: int) -> int:
    """A uniform integer in [0, bound), bound >= 1, by rejection."""
    count = max((bound - 1).bit_length(), 1)
    size, mask = (count + 7) // 8, (1 << count) - 1
    while True:
        number = int.from_bytes(rng.bytes(size), "little") & mask
        if number < bound:
            return number


def distinct_below(rng: Rng, bound: int, count: int) -> NDArray[np.int64]:
    """A uniform subset of [0, bound) with ``count`` <= bound members, ascending.

    Source: R. Floyd's sampling, Bentley 1987, "A sample of brilliance".
    """
    chosen: set[int] = set()
    for top in range(bound - count, bound):
        number = below(rng, top + 1)
        chosen.add(top if number in chosen else number)
    return np.array(sorted(chosen), dtype=np.int64)


def permutation(rng: Rng, count: int) -> list[int]:
    """A uniform permutation of range(count). Source: Fisher-Yates."""
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        other = below(rng, last + 1)
        order[last], order[other] = order[other], order[last]
    return order
