"""Merged bundles: ciphertexts of partial segments added up, without keys, limb by limb. Also
bundles that were moved to another key (``fhe.rekeying``), whatever they sum.

Each part is zero outside slots of its own, so the sum holds every part's values. Two fresh
encryptions keep their seeds and only c0 is stored; of more, c1 is stored as well, because reading
it is cheaper than expanding it; after a change of key there are no seeds at all. Layout: header;
then for each limb a block of ``count`` 16-byte checksums and for each ciphertext its row of c0, and
of c1 where that is stored. A checksum is BLAKE3 over the ciphertext's entry, the limb and its rows.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import blake3
import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.fhe.bundle import CHECK_BYTES, COUNT_MAX, BundleReader
from amaters.fhe.ciphertext import KEY_ID_BYTES, SEED_BYTES, Ciphertext
from amaters.fhe.meta import Meta, Rules
from amaters.fhe.parameters import Parameters, residue_bytes
from amaters.fhe.serial import (
    ENCODING_BYTES,
    NAME_BYTES,
    SLOT_BOUND_MAX,
    VERSION,
    require_identity,
)

SEEDS_KEPT = 2
_MAGIC, _REKEYED_MAGIC = b"AMBM", b"AMBK"
_REKEYS_SHIFT = 16  # the header's field for stored polynomials also counts changes of key
_HEADER = struct.Struct(f"<4sHHI{NAME_BYTES}s{KEY_ID_BYTES}s{ENCODING_BYTES}sHHId")
_ENTRY = struct.Struct(f"<{SEEDS_KEPT * SEED_BYTES}s8sqq")
_DIGEST_BYTES = 32
_ALIGNMENT = 64
_SCHEMES = ("noop", "bgv")
_WHAT = "merged bundle"

Buffer = bytes | bytearray | memoryview
Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Entry:
    """One merged ciphertext: its seeds (none when c1 is stored), origin and slot bound."""

    seeds: tuple[bytes, ...]
    origin: bytes
    lo: int
    hi: int

    def pack(self) -> bytes:
        return _ENTRY.pack(b"".join(self.seeds), self.origin, self.lo, self.hi)

    @property
    def name(self) -> int:
        """What ``Meta`` calls it."""
        return int.from_bytes(self.origin, "little")


def keeps_seeds(parts: int) -> bool:
    """Whether a sum of so many encryptions is stored as c0 and seeds."""
    return parts <= SEEDS_KEPT


class MergedReader:
    """Reads bundles of one parameter set, key and scheme that sum ``parts`` encryptions and were
    moved to another key ``rekeys`` times.

    It has the shape of ``fhe.bundle.BundleReader`` where both are used. Stateless; safe to share
    between threads.
    """

    def __init__(
        self,
        parameters: Parameters,
        key_id: bytes,
        scheme: str = "bgv",
        *,
        parts: int,
        rekeys: int = 0,
    ) -> None:
        self.parameters = parameters
        self.key_id = key_id
        self.scheme = scheme
        self.parts = parts
        self.rekeys = rekeys
        self._fresh = BundleReader(parameters, key_id, scheme)
        self._rules = Rules(parameters)

    @property
    def polynomials(self) -> int:
        """How many polynomials of a ciphertext are stored."""
        return 1 if self._has_seeds or self.scheme == "noop" else 2

    @property
    def _has_seeds(self) -> bool:
        return keeps_seeds(self.parts) and not self.rekeys

    @property
    def _form(self) -> tuple[bytes, int]:
        """Magic, and the field for stored polynomials."""
        magic = _REKEYED_MAGIC if self.rekeys else _MAGIC
        return magic, self.polynomials | self.rekeys << _REKEYS_SHIFT

    @property
    def _noise(self) -> float:
        return self._rules.stored(self.parts, self.rekeys, 1, 0, 0).noise

    def header_bytes(self, count: int) -> int:
        """Size of the header of a bundle of ``count`` ciphertexts, padded."""
        size = _HEADER.size + count * _ENTRY.size + _DIGEST_BYTES
        return -(-size // _ALIGNMENT) * _ALIGNMENT

    def block_bytes(self, limb: int, count: int) -> int:
        """Size of one limb of all ciphertexts with their checksums."""
        return count * (CHECK_BYTES + self.polynomials * self._fresh.row_bytes(limb))

    def prefix_bytes(self, level: int, count: int) -> int:
        """How much of a bundle of ``count`` ciphertexts a reader needs for ``level``."""
        rows = 1 if self.scheme == "noop" else level
        return self.header_bytes(count) + sum(self.block_bytes(i, count) for i in range(rows))

    def header(self, encoding: str, level: int, entries: Sequence[Entry]) -> bytes:
        """The header with its digest."""
        magic, polynomials = self._form
        head = _HEADER.pack(
            magic,
            VERSION,
            _SCHEMES.index(self.scheme),
            len(entries),
            self.parameters.name.encode("ascii"),
            self.key_id,
            encoding.encode("ascii"),
            level,
            self.parts,
            polynomials,
            self._noise,
        )
        head += b"".join(entry.pack() for entry in entries)
        head = head.ljust(self.header_bytes(len(entries)) - _DIGEST_BYTES, b"\0")
        return head + blake3.blake3(head).digest()

    def entries(self, head: Buffer, count: int, level: int) -> list[Entry]:
        """The entries of a checked header. Raises: AM-1202, AM-1204, AM-1206, AM-1210, AM-1212."""
        view = memoryview(head).cast("B")
        size = self.header_bytes(count)
        if not 1 <= count <= COUNT_MAX or len(view) < size:
            fail("AM-1210", kind=_WHAT, what="it is shorter than its header says")
        magic, version, scheme, found, name, key_id, _, stored, parts, polynomials, bound = (
            _HEADER.unpack_from(view)
        )
        if (magic, version, found) != (self._form[0], VERSION, count) or scheme >= len(_SCHEMES):
            fail("AM-1210", kind=_WHAT, what="it does not start like one of this version")
        if (
            blake3.blake3(view[: size - _DIGEST_BYTES]).digest()
            != view[size - _DIGEST_BYTES : size]
        ):
            fail("AM-1212", kind=_WHAT, where="its header")
        require_identity(self.parameters, name, self.key_id, key_id)
        if _SCHEMES[scheme] != self.scheme:
            fail("AM-1204", what=f"a {_SCHEMES[scheme]} bundle where {self.scheme} is used")
        if (parts, polynomials) != (self.parts, self._form[1]):
            fail("AM-1210", kind=_WHAT, what="it does not sum what its segment says")
        if bound != self._noise:
            fail("AM-1210", kind=_WHAT, what="its noise bound is not that of its parts")
        if not 1 <= level <= min(stored, self.parameters.max_level):
            fail("AM-1202", what="level", level=level, limit=stored)
        return [self._entry(view, index) for index in range(count)]

    def _entry(self, view: memoryview, index: int) -> Entry:
        seeds, origin, lo, hi = _ENTRY.unpack_from(view, _HEADER.size + index * _ENTRY.size)
        if not -SLOT_BOUND_MAX <= lo <= hi <= SLOT_BOUND_MAX:
            fail("AM-1210", kind=_WHAT, what="a slot bound is not one")
        kept = self.parts if self._has_seeds else 0
        found = tuple(seeds[i * SEED_BYTES : (i + 1) * SEED_BYTES] for i in range(kept))
        return Entry(found, origin, lo, hi)

    def meta(self, entry: Entry, level: int) -> Meta:
        """What is public about a ciphertext, truncated to ``level``."""
        return self._rules.stored(
            self.parts, self.rekeys, level, entry.lo, entry.hi, origin=entry.name
        )

    def load(
        self, buffer: Buffer, level: int, indices: Sequence[int], count: int
    ) -> list[Ciphertext]:
        """Ciphertexts at ``indices`` in the evaluator's form; only their rows are touched.

        ``buffer`` is the bundle or a prefix of at least ``prefix_bytes``. Raises: as ``entries``.
        """
        view = memoryview(buffer).cast("B")
        entries = self.entries(view, count, level)
        if len(view) < self.prefix_bytes(level, count):
            fail("AM-1210", kind=_WHAT, what="it is shorter than its header says")
        made = [self._empty(level) for _ in indices]
        start = self.header_bytes(count)
        for limb in range(1 if self.scheme == "noop" else level):
            size = self.block_bytes(limb, count)
            block = view[start : start + size]
            start += size
            for data, index in zip(made, indices, strict=True):
                rows = self.rows(block, (count, limb, index), entries[index])
                self._expand(rows, limb, entries[index], data)
        return [
            Ciphertext(self.parameters, self.key_id, self.meta(entries[index], level), data)
            for data, index in zip(made, indices, strict=True)
        ]

    def rows(self, block: memoryview, place: tuple[int, int, int], entry: Entry) -> memoryview:
        """The checked rows of one ciphertext in a limb's block; ``place``: count, limb, index."""
        count, limb, index = place
        if not 0 <= index < count:
            fail("AM-1210", kind=_WHAT, what=f"it has no slice {index}")
        size = self.polynomials * self._fresh.row_bytes(limb)
        start = count * CHECK_BYTES + index * size
        found = block[start : start + size]
        check = block[index * CHECK_BYTES : (index + 1) * CHECK_BYTES]
        self.check_rows(entry, limb, found, check, index)
        return found

    def check_rows(self, entry: Entry, limb: int, rows: Buffer, check: Buffer, index: int) -> None:
        """Raises: AM-1212 when ``rows`` are not what was packed there."""
        if check_of(entry, limb, rows) != check:
            fail("AM-1212", kind=_WHAT, where=f"slice {index}, limb {limb}")

    def _empty(self, level: int) -> NDArray[Any]:
        N = self.parameters.ring_degree
        if self.scheme == "noop":
            return np.empty((1, N), dtype=np.int64)
        from amaters.ring.memory import empty

        return empty((2, level, N))

    def _expand(self, rows: memoryview, limb: int, entry: Entry, data: NDArray[Any]) -> None:
        if self.scheme == "noop":
            data[0] = np.frombuffer(rows, dtype="<u4")
            if int(data.max()) >= self.parameters.plaintext_modulus:
                fail("AM-1210", kind=_WHAT, what="a slot is not below t")
            return
        from amaters.fhe.residues import to_kernel, unpack_into

        prime = self.parameters.data_primes[limb]
        raw = np.frombuffer(rows, dtype=np.uint8).reshape(self.polynomials, -1)
        words = data[:, limb].view(np.uint64)
        for polynomial in range(self.polynomials):
            unpack_into(raw[polynomial], residue_bytes(prime), words[polynomial])
        if self.polynomials == 1:
            sum_of_seeds(entry.seeds, prime, limb, words[1])
        for polynomial in range(2):
            to_kernel(words[polynomial], float(prime), data[polynomial, limb])


def sum_of_seeds(seeds: Sequence[bytes], prime: int, limb: int, out: Words) -> None:
    """The sum of the second halves that these seeds stand for, canonical. Shape: uint64 (N,)."""
    from amaters.fhe.seeds import fill_uniform

    fill_uniform(seeds[0], prime, limb, 0, out)
    if len(seeds) == 1:
        return
    drawn = np.empty_like(out)
    for seed in seeds[1:]:
        fill_uniform(seed, prime, limb, 0, drawn)
        out += drawn
    np.remainder(out, np.uint64(prime), out=out)


def check_of(entry: Entry, limb: int, rows: Buffer) -> bytes:
    """The checksum of one ciphertext's rows of a limb."""
    digest = blake3.blake3(entry.pack() + limb.to_bytes(2, "little"))
    digest.update(rows)
    return digest.digest()[:CHECK_BYTES]
