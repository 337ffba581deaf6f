"""Bundles: all ciphertexts of one column encoding in one object, limb-major.

A plan needs its inputs at some level L: limbs 0 .. L-1 of every ciphertext are a *prefix* of the
object, so a reader fetches only those. Layout: header; then for each limb a block of ``count``
16-byte checksums and ``count`` packed rows. A checksum is BLAKE3 over the ciphertext's seed, the
limb and the row, so a row cannot stand in for another. The noop scheme uses the same container with
one block.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import blake3
import numpy as np
from numpy.typing import NDArray

from amaters.base.errors import fail
from amaters.fhe.ciphertext import (
    KEY_ID_BYTES,
    SEED_BYTES,
    Ciphertext,
    SeededCiphertext,
    origin_of,
)
from amaters.fhe.meta import Rules
from amaters.fhe.parameters import Parameters, residue_bytes
from amaters.fhe.serial import (
    ENCODING_BYTES,
    NAME_BYTES,
    SLOT_BOUND_MAX,
    VERSION,
    require_identity,
)

COUNT_MAX = 1 << 16  # the most slices of one encoding: group columns have one per category
_MAGIC = b"AMBU"
_HEADER = struct.Struct(f"<4sHHI{NAME_BYTES}s{KEY_ID_BYTES}s{ENCODING_BYTES}sHHId")
_ENTRY = struct.Struct(f"<{SEED_BYTES}sqq")
CHECK_BYTES = 16
_DIGEST_BYTES = 32
_ALIGNMENT = 64
_NOOP_WIDTH = 4
_SCHEMES = ("noop", "bgv")
_WHAT = "bundle"

Buffer = bytes | bytearray | memoryview


def pack_bundle(cts: Sequence[SeededCiphertext], encoding: str = "") -> bytes:
    """The bundle of fresh ciphertexts of one key, scheme and level (``encoding``: label, <= 24
    ASCII).

    Cost: about 50 us per ciphertext and limb at N = 16384.
    """
    first = cts[0]
    same = all(
        ct.parameters == first.parameters
        and ct.key_id == first.key_id
        and ct.c0.shape == first.c0.shape
        and ct.scheme == first.scheme
        and ct.meta.level == first.meta.level
        for ct in cts
    )
    if not same or len(cts) > COUNT_MAX:
        fail("AM-1204", what="a bundle of ciphertexts that differ in level, key or parameter set")
    entries = b"".join(_ENTRY.pack(ct.seed, ct.meta.lo, ct.meta.hi) for ct in cts)
    header = _HEADER.pack(
        _MAGIC,
        VERSION,
        _SCHEMES.index(first.scheme),
        len(cts),
        first.parameters.name.encode("ascii"),
        first.key_id,
        encoding.encode("ascii"),
        first.meta.level,
        1,
        0,
        first.meta.noise,
    )
    reader = BundleReader(first.parameters, first.key_id, first.scheme)
    head = (header + entries).ljust(reader.header_bytes(len(cts)) - _DIGEST_BYTES, b"\0")
    out = np.empty(reader.prefix_bytes(first.meta.level, len(cts)), dtype=np.uint8)
    view = out.data
    start = len(head) + _DIGEST_BYTES
    view[:start] = head + blake3.blake3(head).digest()
    for limb in range(first.c0.shape[0]):
        size = reader.row_bytes(limb)
        checks, start = start, start + len(cts) * CHECK_BYTES
        for index, ct in enumerate(cts):
            _pack_row(ct, limb, out[start : start + size])
            check = checks + index * CHECK_BYTES
            view[check : check + CHECK_BYTES] = _check(ct.seed, limb, view[start : start + size])
            start += size
    return out.tobytes()


class BundleReader:
    """Reads bundles of one parameter set, key and scheme. Stateless; safe to share between
    threads.
    """

    def __init__(self, parameters: Parameters, key_id: bytes | None, scheme: str = "bgv") -> None:
        self.parameters = parameters
        self.key_id = key_id
        self.scheme = scheme
        self._rules = Rules(parameters)

    def header_bytes(self, count: int) -> int:
        """Size of the header of a bundle of ``count`` ciphertexts: padded, so that rows are
        aligned.
        """
        size = _HEADER.size + count * _ENTRY.size + _DIGEST_BYTES
        return -(-size // _ALIGNMENT) * _ALIGNMENT

    def prefix_bytes(self, level: int, count: int) -> int:
        """How much of a bundle of ``count`` ciphertexts a reader needs for ``level``."""
        return self.header_bytes(count) + sum(
            count * (CHECK_BYTES + self.row_bytes(limb)) for limb in range(self._rows(level))
        )

    def read(
        self,
        buffer: Buffer,
        level: int,
        indices: Sequence[int] | None = None,
        encoding: str | None = None,
    ) -> list[SeededCiphertext]:
        """Ciphertexts (all, or those at ``indices``) truncated to ``level``; only their rows are
        touched.

        ``buffer`` is the bundle or a prefix of at least ``prefix_bytes``. Raises: AM-1204, AM-1206,
        AM-1210, AM-1211, AM-1212 for anything that is not such a bundle, AM-1202 for a level above
        it.
        """
        view, head = self._open(buffer, level, encoding)
        wanted = self._wanted(head.count, indices)
        N = self.parameters.ring_degree
        noop = self.scheme == "noop"
        made = []
        for index in wanted:
            seed, lo, hi = head.entry(index)
            c0: NDArray[np.int64] | NDArray[np.uint64]
            c0 = np.empty((1, N), np.int64) if noop else np.empty((level, N), np.uint64)
            for limb in range(c0.shape[0]):
                row = self._row(view, head, limb, index)
                _unpack_row(row, self.parameters, limb, c0[limb], noop)
            meta = self._rules.fresh(level, lo, hi, origin=origin_of(seed))
            made.append(SeededCiphertext(self.parameters, head.key_id, meta, c0, seed))
        return made

    def expand(
        self,
        buffer: Buffer,
        level: int,
        indices: Sequence[int] | None = None,
        encoding: str | None = None,
    ) -> list[Ciphertext]:
        """Like ``read``, in the real evaluator's form: c1 from the seed, kernel order, centred."""
        from amaters.ring.memory import empty

        view, head = self._open(buffer, level, encoding)
        wanted = self._wanted(head.count, indices)
        made = []
        for index in wanted:
            data = empty((2, level, self.parameters.ring_degree))
            seed, lo, hi = head.entry(index)
            for limb in range(level):
                row = self._row(view, head, limb, index)
                _expand_row(row, seed, self.parameters, limb, data)
            meta = self._rules.fresh(level, lo, hi, origin=origin_of(seed))
            made.append(Ciphertext(self.parameters, head.key_id, meta, data))
        return made

    def head(self, buffer: Buffer, level: int, encoding: str | None = None) -> BundleHead:
        """The checked header alone: where the rows up to ``level`` are. Raises: as ``read``."""
        return self._checked(memoryview(buffer).cast("B"), level, encoding)

    def check_row(self, seed: bytes, limb: int, row: Buffer, check: Buffer, index: int) -> None:
        """Raises: AM-1212 when ``row`` is not what was packed there."""
        if _check(seed, limb, row) != check:
            fail("AM-1212", kind=_WHAT, where=f"slice {index}, limb {limb}")

    def row_bytes(self, limb: int) -> int:
        """Size of one packed row of a limb."""
        if self.scheme == "noop":
            return _NOOP_WIDTH * self.parameters.ring_degree
        return residue_bytes(self.parameters.data_primes[limb]) * self.parameters.ring_degree

    def _rows(self, level: int) -> int:
        return 1 if self.scheme == "noop" else level

    @staticmethod
    def _wanted(count: int, indices: Sequence[int] | None) -> Sequence[int]:
        if indices is None:
            return range(count)
        for index in indices:
            if not 0 <= index < count:
                fail("AM-1210", kind=_WHAT, what=f"it has no slice {index}")
        return indices

    def _open(
        self, buffer: Buffer, level: int, encoding: str | None
    ) -> tuple[memoryview, BundleHead]:
        """The checked header of a buffer that has all rows up to ``level``."""
        view = memoryview(buffer).cast("B")
        head = self._checked(view, level, encoding)
        if len(view) < self.prefix_bytes(level, head.count):
            fail("AM-1210", kind=_WHAT, what="it is shorter than its header says")
        return view, head

    def _checked(self, view: memoryview, level: int, encoding: str | None) -> BundleHead:
        """Every length is compared before anything is read or allocated."""
        if len(view) < _HEADER.size + _DIGEST_BYTES:
            fail("AM-1210", kind=_WHAT, what="it is too short")
        magic, version, scheme, count, name, key_id, label, stored, one, zero, noise = (
            _HEADER.unpack_from(view)
        )
        if (
            magic != _MAGIC
            or version != VERSION
            or scheme >= len(_SCHEMES)
            or (one, zero) != (1, 0)
        ):
            fail("AM-1210", kind=_WHAT, what="it does not start like one of this version")
        if not 1 <= count <= COUNT_MAX:
            fail("AM-1211", kind=_WHAT, size=count, limit=COUNT_MAX)
        start = self.header_bytes(count)
        if len(view) < start:
            fail("AM-1210", kind=_WHAT, what="it is shorter than its header says")
        if (
            blake3.blake3(view[: start - _DIGEST_BYTES]).digest()
            != view[start - _DIGEST_BYTES : start]
        ):
            fail("AM-1212", kind=_WHAT, where="its header")
        require_identity(self.parameters, name, self.key_id, key_id)
        if _SCHEMES[scheme] != self.scheme:
            fail("AM-1204", what=f"a {_SCHEMES[scheme]} bundle where {self.scheme} is used")
        if encoding is not None and label.rstrip(b"\0") != encoding.encode("ascii"):
            fail("AM-1204", what="a bundle of another encoding")
        if not 1 <= level <= min(stored, self.parameters.max_level):
            fail("AM-1202", what="level", level=level, limit=stored)
        if noise != self._rules.fresh(1, 0, 0).noise:
            fail("AM-1210", kind=_WHAT, what="it does not hold fresh encryptions")
        starts = [start]
        for limb in range(self._rows(level) - 1):
            starts.append(starts[-1] + count * (CHECK_BYTES + self.row_bytes(limb)))
        return BundleHead(view, key_id, count, starts)

    def _row(self, view: memoryview, head: BundleHead, limb: int, index: int) -> memoryview:
        size = self.row_bytes(limb)
        start = head.starts[limb]
        check = start + index * CHECK_BYTES
        data = start + head.count * CHECK_BYTES + index * size
        row = view[data : data + size]
        seed = head.entry(index)[0]
        self.check_row(seed, limb, row, view[check : check + CHECK_BYTES], index)
        return row


class BundleHead:
    """A checked header: where everything is."""

    def __init__(self, view: memoryview, key_id: bytes, count: int, starts: list[int]) -> None:
        self._view = view
        self.key_id = key_id
        self.count = count
        self.starts = starts

    def entry(self, index: int) -> tuple[bytes, int, int]:
        """Seed and slot bound of one ciphertext. Raises: AM-1210 for a bound that is none."""
        seed, lo, hi = _ENTRY.unpack_from(self._view, _HEADER.size + index * _ENTRY.size)
        if not -SLOT_BOUND_MAX <= lo <= hi <= SLOT_BOUND_MAX:
            fail("AM-1210", kind=_WHAT, what="a slot bound is not one")
        return seed, lo, hi


def _check(seed: bytes, limb: int, row: Buffer) -> bytes:
    digest = blake3.blake3(seed + limb.to_bytes(2, "little"))
    digest.update(row)
    return digest.digest()[:CHECK_BYTES]


def _pack_row(ct: SeededCiphertext, limb: int, out: NDArray[np.uint8]) -> None:
    if ct.scheme == "noop":
        out.view("<u4")[:] = ct.c0[limb]
        return
    from amaters.fhe.residues import pack_into

    pack_into(ct.c0[limb], residue_bytes(ct.parameters.data_primes[limb]), out)


def _unpack_row(
    row: memoryview, parameters: Parameters, limb: int, out: NDArray[Any], noop: bool
) -> None:
    if noop:
        out[:] = np.frombuffer(row, dtype="<u4")
        limit = parameters.plaintext_modulus
    else:
        from amaters.fhe.residues import unpack_into

        limit = parameters.data_primes[limb]
        unpack_into(np.frombuffer(row, dtype=np.uint8), residue_bytes(limit), out)
    if int(out.max()) >= limit:
        fail("AM-1210", kind=_WHAT, what="a residue is not below its prime")


def _expand_row(
    row: memoryview, seed: bytes, parameters: Parameters, limb: int, data: NDArray[np.float64]
) -> None:
    """c0 and c1 of one limb as kernel rows; the row's checksum vouches for its residues."""
    from amaters.fhe.residues import to_kernel, unpack_into
    from amaters.fhe.seeds import uniform_row

    prime = parameters.data_primes[limb]
    words = data[0, limb].view(np.uint64)
    unpack_into(np.frombuffer(row, dtype=np.uint8), residue_bytes(prime), words)
    to_kernel(words, float(prime), data[0, limb])
    uniform_row(seed, prime, limb, 0, data[1, limb])
