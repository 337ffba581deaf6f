"""Primes and roots of unity, in exact Python integers."""

from __future__ import annotations

_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)


def is_prime(n: int) -> bool:
    """Deterministic for n < 3.3 * 10^24. Source: Sorenson, Webster 2015 (Miller-Rabin, first 12
    primes).
    """
    if n < 2:
        return False
    for prime in _WITNESSES:
        if n % prime == 0:
            return n == prime
    shift = ((n - 1) & (1 - n)).bit_length() - 1
    return all(_passes(n, witness, shift) for witness in _WITNESSES)


def _passes(n: int, witness: int, shift: int) -> bool:
    x = pow(witness, (n - 1) >> shift, n)
    if x in (1, n - 1):
        return True
    for _ in range(shift - 1):
        x = x * x % n
        if x == n - 1:
            return True
    return False


def smallest_root(prime: int, order: int) -> int:
    """The smallest primitive ``order``-th root of unity modulo ``prime`` (``order`` a power of
    two), as SEAL.
    """
    candidate = 2
    exponent = (prime - 1) // order
    while pow(candidate, exponent * (order // 2), prime) != prime - 1:
        candidate += 1
    root = pow(candidate, exponent, prime)
    square = root * root % prime
    best = power = root
    for _ in range(order // 2 - 1):
        power = power * square % prime
        best = min(best, power)
    return best


def centred(value: int, modulus: int) -> int:
    """The representative of ``value`` in (-modulus/2, modulus/2]."""
    value %= modulus
    return value - modulus if value > modulus // 2 else value
