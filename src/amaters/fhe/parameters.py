"""Parameter sets: ring, plaintext modulus and the chain of primes.

The chain is ordered q_0 .. q_{L-1}; the *top* limb (the last) is dropped first, so the small primes
are spent on the levels and the two 46-bit primes remain for the final product. All primes are 1 mod
2N (the transforms exist) and 1 mod t (switching the modulus never changes the plaintext). Source:
FHE design section 2; Kim, Polyakov, Zucca 2021 (RNS-BGV) for q = 1 mod t.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import log2, prod

from amaters.base.errors import fail
from amaters.fhe.security import require_secure

PLAINTEXT_MODULUS = 65537
PRIME_BITS_MAX = 48  # the proven range of the float64 kernels (FHE section 3)


def residue_bytes(modulus: int) -> int:
    """Bytes of one packed residue."""
    return (modulus.bit_length() + 7) // 8


@dataclass(frozen=True)
class KeySwitchShape:
    """How one key switch decomposes its input at one level.

    ``digits`` are half-open ranges of limb indices; ``special`` is the modulus P the key carries in
    addition, made of the last ``alpha`` primes of the whole chain (dropped data primes serve
    again).
    """

    alpha: int
    digits: tuple[tuple[int, int], ...]
    special: tuple[int, ...]


@dataclass(frozen=True)
class Parameters:
    """One immutable parameter set; two sets are the same exactly if all fields are."""

    name: str
    ring_degree: int
    data_primes: tuple[int, ...]
    special_prime: int
    download_modulus: int
    plaintext_modulus: int = PLAINTEXT_MODULUS

    def __post_init__(self) -> None:
        N, t = self.ring_degree, self.plaintext_modulus
        chain = (*self.data_primes, self.special_prime)
        sound = (
            N >= 16
            and N & (N - 1) == 0
            and (t - 1) % (2 * N) == 0
            and len(set(chain)) == len(chain)
            and len(self.data_primes) >= 1
            and all(q % (2 * N) == 1 and q % t == 1 for q in chain)
            and all(q < 1 << PRIME_BITS_MAX for q in chain)
            and self.download_modulus % t == 1
        )
        if not sound:
            fail("AM-1200", name=self.name, what="its primes do not fit its ring")
        require_secure(self.name, N, self.modulus_bits)

    @property
    def slots(self) -> int:
        """Slots per ciphertext: t splits completely, so there is one per coefficient."""
        return self.ring_degree

    @property
    def max_level(self) -> int:
        """The number of data limbs of a freshly encrypted ciphertext."""
        return len(self.data_primes)

    @cached_property
    def modulus_bits(self) -> float:
        """log2(QP), the figure that decides security."""
        return log2(prod(self.data_primes) * self.special_prime)

    def modulus(self, level: int) -> int:
        """The exact ciphertext modulus at ``level``; level 0 is the download modulus of a shrunk
        result.
        """
        if level == 0:
            return self.download_modulus
        return prod(self.data_primes[:level])

    def log_modulus(self, level: int) -> float:
        """log2 of ``modulus(level)``."""
        return self._log_moduli[level]

    @cached_property
    def _log_moduli(self) -> tuple[float, ...]:
        return tuple(log2(self.modulus(level)) for level in range(self.max_level + 1))

    def residue_bytes(self, level: int) -> tuple[int, ...]:
        """Bytes per packed residue of each limb at ``level`` (format v1: whole bytes, little-
        endian).
        """
        primes = self.data_primes[:level] if level else (self.download_modulus,)
        return tuple(residue_bytes(q) for q in primes)

    def key_switch(self, level: int, *, merged: bool) -> KeySwitchShape:
        """The decomposition used at ``level``: one function for evaluator, planner and noise rules.

        ``merged`` switches also drop the top limb; their noise is divided by it, so alpha is chosen
        for speed: the fewest transforms (ceil(L/alpha) + 2)(L + alpha). The others use alpha = 1,
        which adds the least noise.
        """
        if not 1 <= level <= self.max_level:
            fail("AM-1202", what="level", level=level, limit=self.max_level)
        alpha = 1
        if merged:
            choices = range(1, min(ALPHA_MAX, self.max_level - level + 1) + 1)
            alpha = min(choices, key=lambda a: ((-(-level // a) + 2) * (level + a), a))
        return self.key_switch_shape(level, alpha)

    def key_switch_shape(self, level: int, alpha: int) -> KeySwitchShape:
        """The digits and special primes for a given ``alpha``."""
        digits = tuple((start, min(start + alpha, level)) for start in range(0, level, alpha))
        chain = (*self.data_primes, self.special_prime)
        return KeySwitchShape(alpha=alpha, digits=digits, special=chain[-alpha:])


ALPHA_MAX = 4

_Q0, _Q1 = 70335457656833, 70320425041921  # the largest 46-bit primes of the form
_LADDER = (
    15032614913,
    53687910401,
    96638238721,
    98785755137,
    118113402881,
    122408435713,
    246964387841,
    272734584833,
)  # 33.81 35.64 36.49 36.52 36.78 36.83 37.85 37.99 bits: all that exist below 2^38
_SPECIAL = 17588159447041  # 44 bits
_DEEP_LADDER = (
    98785755137,
    292062232577,
    360782757889,
    369372823553,
    476748644353,
    489633742849,
    592714530817,
    678615187457,
    807466172417,
    1005037682689,
    1095233372161,
    1430245933057,
    1464606195713,
    1516146589697,
    1584867115009,
    1610637312001,
    1700833001473,
    1851159150593,
)  # the 18 smallest primes = 1 mod 65536 * 65537: 36.52 .. 40.75 bits

DEFAULT = Parameters(
    name="bgv_n16384_q427_t65537",
    ring_degree=16384,
    data_primes=(_Q0, _Q1, *_LADDER),
    special_prime=_SPECIAL,
    download_modulus=66454519,
)
DEEP = Parameters(
    name="bgv_n32768_q848_t65537",
    ring_degree=32768,
    data_primes=(_Q0, 70283917262849, *_DEEP_LADDER),
    special_prime=70262442098689,
    download_modulus=132646889,
)


def _insecure(ring_degree: int, chain: Parameters) -> Parameters:
    """A real chain over a small ring: fast, exact, and without any security (tests only)."""
    _, _, bits, modulus = chain.name.split("_")
    return replace(
        chain,
        name=f"insecure_bgv_n{ring_degree}_{bits}_{modulus}",
        ring_degree=ring_degree,
    )


INSECURE_N1024 = _insecure(1024, DEFAULT)
INSECURE_N4096 = _insecure(4096, DEFAULT)
INSECURE_DEEP_N2048 = _insecure(2048, DEEP)
INSECURE_DEEP_N8192 = _insecure(8192, DEEP)

_SETS = {
    p.name: p
    for p in (
        DEFAULT,
        DEEP,
        INSECURE_N1024,
        INSECURE_N4096,
        INSECURE_DEEP_N2048,
        INSECURE_DEEP_N8192,
    )
}
_ALIASES = {
    "default": DEFAULT,
    "deep": DEEP,
    "insecure_n1024": INSECURE_N1024,
    "insecure_n4096": INSECURE_N4096,
}
_DEEPER = {
    DEFAULT.name: DEEP,
    INSECURE_N1024.name: INSECURE_DEEP_N2048,
    INSECURE_N4096.name: INSECURE_DEEP_N8192,
}


def get_parameters(name: str) -> Parameters:
    """The parameter set called ``name`` (an identifier, or one of the aliases default, deep,
    insecure_n...).

    Raises: AM-1200 for an unknown name.
    """
    found = _SETS.get(name) or _ALIASES.get(name)
    if found is None:
        fail("AM-1200", name=name[:80], what="there is no such parameter set")
    return found


def deeper(parameters: Parameters) -> Parameters:
    """What tables with DEPTH = 'deep' use where others use ``parameters``: twice the slots, twice
    the levels, the same security. A set that is deep already is its own.
    """
    return _DEEPER.get(parameters.name, parameters)
