"""Polynomials that are zero at 0 .. d-1 and not at d: a count of equal digits becomes equality.

With y = c (c - (d - 1)), c and d - 1 - c give the same y, so d/2 roots remain; z = y + shift has
roots that sum to zero. They are split into quartics whose roots have the smallest possible sums s
(zero up to d = 16), so that z^4 - s z^3 + ... = z2 (z2 - s z) + square z2 + linear z + constant is
one product with a small scalar; all other scalars multiply what is switched already, below the
noise of the product they are added to.
Source: FHE section 6 (2c - 15 there is c (c - 15) here, which keeps scalars small).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import factorial

PLAINTEXT_MODULUS = 65537
SUPPORTED = (4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Quartic:
    """z^4 + cube z^3 + square z^2 + linear z + constant, integers."""

    cube: int
    square: int
    linear: int
    constant: int

    def __call__(self, z: int) -> int:
        return z**4 + self.cube * z**3 + self.square * z * z + self.linear * z + self.constant


@dataclass(frozen=True, slots=True)
class EqualityPolynomial:
    """For counts 0 .. d, d = ``size``: the product of ``quartics`` at z = c (c - d + 1) +
    ``shift``.

    ``size`` 4 has no quartic: z^2 - 1. ``factor`` is the value at c = d, mod t.
    """

    size: int
    shift: int
    quartics: tuple[Quartic, ...]
    factor: int

    def __call__(self, count: int) -> int:
        """The value at ``count``, mod t."""
        z = count * (count - self.size + 1) + self.shift
        value = 1 if self.quartics else z * z - 1
        for quartic in self.quartics:
            value *= quartic(z)
        return value % PLAINTEXT_MODULUS


def size_for(digits: int) -> int:
    """The smallest supported size >= ``digits``; the count is shifted up by the difference."""
    return next(size for size in SUPPORTED if size >= digits)


@lru_cache(maxsize=8)
def equality_polynomial(size: int) -> EqualityPolynomial:
    """The polynomial for ``size`` in ``SUPPORTED``.

    The value at c = d is d!: never 0 mod t, since all primes dividing it are below t.
    """
    roots = [c * (c - size + 1) for c in range(size // 2)]
    shift = -sum(roots) // len(roots)
    centred = tuple(root + shift for root in roots)
    quartics = () if size == 4 else tuple(_quartic(part) for part in _partition(centred))
    polynomial = EqualityPolynomial(size, shift, quartics, factorial(size) % PLAINTEXT_MODULUS)
    if any(polynomial(count) for count in range(size)) or polynomial(size) != polynomial.factor:
        raise AssertionError("equality polynomial has wrong roots")
    return polynomial


def _quartic(roots: tuple[int, ...]) -> Quartic:
    second = sum(a * b for a, b in combinations(roots, 2))
    third = sum(a * b * c for a, b, c in combinations(roots, 3))
    product = roots[0] * roots[1] * roots[2] * roots[3]
    return Quartic(-sum(roots), second, -third, product)


def _partition(roots: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The roots in groups of four whose sums are as close to zero as possible."""
    for limit in range(sum(abs(root) for root in roots) + 1):
        found = _groups(roots, limit)
        if found is not None:
            return found
    raise AssertionError("unreachable: the last limit admits every partition")


def _groups(roots: tuple[int, ...], limit: int) -> list[tuple[int, ...]] | None:
    if not roots:
        return []
    for others in combinations(roots[1:], 3):
        part = (roots[0], *others)
        if abs(sum(part)) > limit:
            continue
        rest = _groups(tuple(root for root in roots if root not in part), limit)
        if rest is not None:
            return [part, *rest]
    return None
