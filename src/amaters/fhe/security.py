"""How large a modulus may be: the 2024 table, and the refusal of anything above it.

Source: "Security Guidelines for Implementing Homomorphic Encryption", ePrint 2024/463, Table 5.2
(uniform ternary secret, error of standard deviation >= 3.19; ours is sqrt(10.5) = 3.24). The
modulus that counts is the product of *all* primes a key switch works under, data and special
together. The older table of 2018 (218/438/881 bits for these rings), which SEAL enforces, is
looser.
"""

from __future__ import annotations

from types import MappingProxyType

from amaters.base.errors import fail

INSECURE_PREFIX = "insecure_"

# ring degree -> (classical 128, classical 192, classical 256, quantum 128): largest log2(QP)
MODULUS_BITS_MAX = MappingProxyType(
    {
        8192: (214, 147, 114, 203),
        16384: (430, 297, 230, 409),
        32768: (868, 597, 462, 825),
    }
)


def security_bits(ring_degree: int, modulus_bits: float) -> int:
    """The classical security level that the table grants: 256, 192, 128, or 0 for none."""
    row = MODULUS_BITS_MAX.get(ring_degree)
    if row is None:
        return 0
    for bits, limit in ((256, row[2]), (192, row[1]), (128, row[0])):
        if modulus_bits <= limit:
            return bits
    return 0


def quantum_security_bits(ring_degree: int, modulus_bits: float) -> int:
    """128 where the table's quantum column grants it, otherwise 0 (nothing is claimed)."""
    row = MODULUS_BITS_MAX.get(ring_degree)
    return 128 if row is not None and modulus_bits <= row[3] else 0


def require_secure(name: str, ring_degree: int, modulus_bits: float) -> None:
    """Refuse parameters below 128 classical bits unless their name admits it.

    Raises: AM-1201 when ``name`` does not start with ``insecure_`` and the table grants less than
    128 bits.
    """
    if security_bits(ring_degree, modulus_bits) >= 128 or name.startswith(INSECURE_PREFIX):
        return
    row = MODULUS_BITS_MAX.get(ring_degree)
    fail(
        "AM-1201",
        name=name,
        ring_degree=ring_degree,
        bits=f"{modulus_bits:.1f}",
        limit=row[0] if row else 0,
    )
