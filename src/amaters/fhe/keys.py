"""Evaluation keys: what the server holds to relinearise and to apply automorphisms. Public data.

A ``SwitchingKey`` moves a polynomial from a secret s' (s^2, or s(X^g)) to s. For digit j it is the
pair (b_j, a_j) with b_j = P g_j s' + t e_j - a_j s modulo every prime of its rows, g_j = 1 on the
limbs of digit j and 0 on the others, P the product of the last alpha primes of the chain. g_j does
not depend on the level, so one key serves all of them. The a_j are expanded from a seed
(``seeds``), so only the b_j are stored. Sources: Gentry, Halevi, Smart 2012; Han, Ki 2020, section
3; Kim, Polyakov, Zucca 2021, section 4.3.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import blake3
import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.fhe.ciphertext import KEY_ID_BYTES, SEED_BYTES
from amaters.fhe.parameters import Parameters

RELINEARIZE = (
    2  # the kind of the key for s^2; automorphism keys have their (odd, > 2) exponent as kind
)
# Kinds of the keys that lead from another secret to this one: see ``fhe.rekeying``.
REKEY_LOW, REKEY_HIGH = 4, 6

_MAGIC = b"AMEK\x01\x00"
_HEADER = struct.Struct("<6s48s16sI")
_ENTRY = struct.Struct("<IBB32s")
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class KeyShape:
    """Which key: its kind, digit size alpha, and the highest level it serves."""

    kind: int
    alpha: int
    level: int

    def digits(self) -> tuple[tuple[int, int], ...]:
        """Half-open limb ranges of the digits."""
        a = self.alpha
        return tuple((i, min(i + a, self.level)) for i in range(0, self.level, a))

    def chain(self, parameters: Parameters) -> tuple[int, ...]:
        """Chain indices of the key's rows: the data limbs of its level, then the special primes."""
        total = parameters.max_level + 1
        return (*range(self.level), *range(total - self.alpha, total))


def chain_of(parameters: Parameters) -> tuple[int, ...]:
    """All primes: data limbs, then the special prime."""
    return (*parameters.data_primes, parameters.special_prime)


def relinearization_shapes(parameters: Parameters) -> tuple[KeyShape, ...]:
    """The keys for s^2: one per alpha that any level uses, each for all levels it can serve."""
    top = parameters.max_level
    alphas = {
        parameters.key_switch(level, merged=merged).alpha
        for level in range(1, top + 1)
        for merged in (False, True)
        if level > 1 or not merged
    }
    return tuple(KeyShape(RELINEARIZE, alpha, top + 1 - alpha) for alpha in sorted(alphas))


def stored_bytes(parameters: Parameters, shapes: Iterable[KeyShape]) -> int:
    """Size of ``EvaluationKeys.to_bytes`` with keys of these shapes, before they are made."""
    primes = chain_of(parameters)
    size = _HEADER.size + _DIGEST_BYTES
    for shape in shapes:
        row = sum(
            residue_bytes(primes[c]) * parameters.ring_degree for c in shape.chain(parameters)
        )
        size += _ENTRY.size + len(shape.digits()) * row
    return size


def expansion_exponents(ring_degree: int, rounds: int) -> tuple[int, ...]:
    """The automorphisms of an oblivious expansion: X -> X^(N / 2^i + 1) in round i."""
    return tuple((ring_degree >> i) + 1 for i in range(rounds))


def expansion_shapes(parameters: Parameters, rounds: int, level: int) -> tuple[KeyShape, ...]:
    """The keys that expand up to 2^rounds packed constants at levels up to ``level``."""
    alpha = parameters.key_switch(level, merged=False).alpha
    exponents = expansion_exponents(parameters.ring_degree, rounds)
    return tuple(KeyShape(exponent, alpha, level) for exponent in exponents)


@dataclass
class SwitchingKey:
    """One key. ``rows``: packed canonical residues of b, by (digit, row), format v1."""

    parameters: Parameters
    shape: KeyShape
    seed: bytes
    rows: list[list[NDArray[np.uint8]]]
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _expanded: NDArray[np.float64] | None = field(default=None, repr=False)

    def expanded(self) -> NDArray[np.float64]:
        """Both halves for the kernels, made on first use and kept.

        Shape: (digits, 2, rows, N), kernel order. Cost: about 0.15 ms per row at N = 16384, once.
        Raises: AM-1210 for a residue that is not below its prime.
        """
        with self._lock:
            if self._expanded is None:
                self._expanded = self._expand()
            return self._expanded

    @cached_property
    def key_rows(self) -> NDArray[np.int64]:
        """The row of each chain prime, -1 where this key has none."""
        result = np.full(self.parameters.max_level + 1, -1, dtype=np.int64)
        for row, chain in enumerate(self.shape.chain(self.parameters)):
            result[chain] = row
        return result

    def _expand(self) -> NDArray[np.float64]:
        from amaters.fhe.residues import to_kernel, unpack
        from amaters.fhe.seeds import uniform_row
        from amaters.ring.memory import empty

        N = self.parameters.ring_degree
        chain = self.shape.chain(self.parameters)
        primes = chain_of(self.parameters)
        out = empty((len(self.rows), 2, len(chain), N))
        for digit, rows in enumerate(self.rows):
            for row, (index, packed) in enumerate(zip(chain, rows, strict=True)):
                prime = primes[index]
                b = unpack(packed, residue_bytes(prime), N)
                if int(b.max()) >= prime:
                    fail("AM-1210", kind="evaluation key", what="a residue exceeds its prime")
                to_kernel(b, float(prime), out[digit, 0, row])
                uniform_row(self.seed, prime, index, digit, out[digit, 1, row])
        return out


def residue_bytes(prime: int) -> int:
    """Bytes of one packed residue."""
    return (prime.bit_length() + 7) // 8


class EvaluationKeys:
    """All switching keys of one secret key. Cost: about 20 MB for s^2 at the default parameters."""

    def __init__(
        self, parameters: Parameters, key_id: bytes, keys: dict[tuple[int, int], SwitchingKey]
    ) -> None:
        self.parameters = parameters
        self.key_id = key_id
        self._keys = keys

    def get(self, kind: int, alpha: int, level: int) -> SwitchingKey:
        """The key for s^2 (kind 2) or an automorphism (its exponent). Raises: AM-1204 if
        there is none.
        """
        found = self._keys.get((kind, alpha))
        if found is None or found.shape.level < level:
            what = "relinearisation" if kind == RELINEARIZE else f"automorphism {kind}"
            fail("AM-1204", what=f"there is no key for {what} at level {level}")
        return found

    def __iter__(self) -> Iterator[SwitchingKey]:
        return iter(self._keys.values())

    def to_bytes(self) -> bytes:
        """Format v1: header, then per key its shape, seed and packed rows; BLAKE3 at the end."""
        name = self.parameters.name.encode("ascii")
        parts = [_HEADER.pack(_MAGIC, name, self.key_id, len(self._keys))]
        for key in self:
            shape = key.shape
            parts.append(_ENTRY.pack(shape.kind, shape.alpha, shape.level, key.seed))
            parts.extend(row.tobytes() for rows in key.rows for row in rows)
        body = b"".join(parts)
        return body + blake3.blake3(body).digest()

    @classmethod
    def from_bytes(cls, parameters: Parameters, data: bytes) -> EvaluationKeys:
        """Inverse of ``to_bytes``; rows are checked when they are expanded.

        Raises: AM-1210 (not evaluation keys of this parameter set), AM-1212 (damaged).
        """
        if len(data) < _HEADER.size + _DIGEST_BYTES:
            fail("AM-1210", kind="evaluation key", what="it is too short")
        body = memoryview(data)[:-_DIGEST_BYTES]
        magic, name, key_id, count = _HEADER.unpack_from(body)
        if magic != _MAGIC:
            fail("AM-1210", kind="evaluation key", what="it does not start like one")
        if blake3.blake3(body).digest() != data[-_DIGEST_BYTES:]:
            fail("AM-1212", kind="evaluation key", where="the whole file")
        if name.rstrip(b"\0") != parameters.name.encode("ascii"):
            fail("AM-1210", kind="evaluation key", what="it is of another parameter set")
        keys: dict[tuple[int, int], SwitchingKey] = {}
        offset = _HEADER.size
        for _ in range(count):
            key, offset = _parse_entry(parameters, body, offset)
            if (key.shape.kind, key.shape.alpha) in keys:
                fail("AM-1210", kind="evaluation key", what="it holds one key twice")
            keys[(key.shape.kind, key.shape.alpha)] = key
        if offset != len(body):
            fail("AM-1210", kind="evaluation key", what="its length does not fit its header")
        return cls(parameters, key_id, keys)


def _parse_entry(parameters: Parameters, body: memoryview, offset: int) -> tuple[SwitchingKey, int]:
    if offset + _ENTRY.size > len(body):
        fail("AM-1210", kind="evaluation key", what="an entry is cut off")
    kind, alpha, level, seed = _ENTRY.unpack_from(body, offset)
    offset += _ENTRY.size
    known = kind in (RELINEARIZE, REKEY_LOW, REKEY_HIGH) or (
        kind % 2 == 1 and 1 < kind < 2 * parameters.ring_degree
    )
    if not (known and alpha >= 1 and 1 <= level <= parameters.max_level + 1 - alpha):
        fail("AM-1210", kind="evaluation key", what="an entry has an impossible shape")
    shape = KeyShape(kind, alpha, level)
    primes = chain_of(parameters)
    sizes = [residue_bytes(primes[c]) * parameters.ring_degree for c in shape.chain(parameters)]
    if offset + sum(sizes) * len(shape.digits()) > len(body):
        fail("AM-1210", kind="evaluation key", what="an entry is cut off")
    rows: list[list[NDArray[np.uint8]]] = []
    for _ in shape.digits():
        row = []
        for size in sizes:
            row.append(np.frombuffer(body, dtype=np.uint8, count=size, offset=offset))
            offset += size
        rows.append(row)
    return SwitchingKey(parameters, shape, seed, rows), offset


assert KEY_ID_BYTES == 16 and SEED_BYTES == 32  # fixed by the structs above
