"""Format v1: ciphertexts as bytes, for the wire and the disk.

Every object is a *frame*: magic, version, kind, parameter set, key id, body length, body, BLAKE3.
Residues are canonical, packed (``amaters.fhe.residues``), limbs in ascending order. Nothing is
allocated before the length that the header claims has been compared with the length that the
parameter set implies and the buffer has.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
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
from amaters.fhe.meta import DEGREE_MAX, Meta, Rules
from amaters.fhe.parameters import Parameters

VERSION = 1
DIGEST_BYTES = 32
NAME_BYTES = 48
ENCODING_BYTES = 24
SLOT_BOUND_MAX = 1 << 40
_FRAME = struct.Struct(f"<4sHH{NAME_BYTES}s{KEY_ID_BYTES}sQ")
_META = struct.Struct(f"<BBHI{ENCODING_BYTES}sddqq")
_SCHEMES = ("noop", "bgv")
CIPHERTEXT, SEEDED = 1, 2  # kinds; keys.py and publickey.py have more
_NAMES = {CIPHERTEXT: "ciphertext", SEEDED: "seeded ciphertext"}
_MAGIC = b"AMFV"

Buffer = bytes | bytearray | memoryview


# frames


def write_frame(kind: int, parameters: Parameters, key_id: bytes, body: Buffer) -> bytes:
    """The frame around ``body``."""
    name = parameters.name.encode("ascii")
    header = _FRAME.pack(_MAGIC, VERSION, kind, name, key_id, len(body))
    digest = blake3.blake3(header)
    digest.update(body)
    return b"".join((header, body, digest.digest()))


def read_frame(
    data: Buffer,
    kind: int,
    parameters: Parameters,
    *,
    what: str,
    body_bytes_max: int,
    key_id: bytes | None = None,
) -> tuple[bytes, memoryview]:
    """Key id and body of a checked frame; no copy.

    Raises: AM-1210 (not such a frame), AM-1211 (too long), AM-1212 (damaged), AM-1206 (key),
    AM-1204 (parameter set).
    """
    view = memoryview(data).cast("B")
    if len(view) < _FRAME.size + DIGEST_BYTES:
        fail("AM-1210", kind=what, what="it is too short")
    magic, version, found, name, found_key, length = _FRAME.unpack_from(view)
    if magic != _MAGIC or version != VERSION or found != kind:
        fail("AM-1210", kind=what, what="it does not start like one of this version")
    if length > body_bytes_max:
        fail("AM-1211", kind=what, size=length, limit=body_bytes_max)
    if len(view) != _FRAME.size + length + DIGEST_BYTES:
        fail("AM-1210", kind=what, what="its length differs from its header")
    if blake3.blake3(view[:-DIGEST_BYTES]).digest() != bytes(view[-DIGEST_BYTES:]):
        fail("AM-1212", kind=what, where="the whole object")
    require_identity(parameters, name, key_id, found_key)
    return found_key, view[_FRAME.size : -DIGEST_BYTES]


def require_identity(
    parameters: Parameters, name: bytes, key_id: bytes | None, found_key: bytes
) -> None:
    """Refuse another parameter set (AM-1204) or, if ``key_id`` is given, another key (AM-1206)."""
    if name.rstrip(b"\0") != parameters.name.encode("ascii"):
        fail("AM-1204", what=f"these bytes are not of parameter set {parameters.name}")
    if key_id is not None and found_key != key_id:
        fail("AM-1206", found=found_key.hex(), expected=key_id.hex())


# ciphertexts


@dataclass(frozen=True, slots=True)
class _Head:
    """The part of a body before its residues."""

    scheme: str
    meta: Meta
    coefficient_bound: float
    encoding: str


def serialize(ct: Ciphertext | SeededCiphertext, encoding: str = "") -> bytes:
    """Bytes of a ciphertext; ``encoding`` is a label (at most 24 ASCII characters) checked on
    reading.

    Cost: about 10 us per limb and polynomial at N = 16384. A shrunk ciphertext of 16 masks has 106
    KB.
    """
    body = bytearray(_write_head(ct, encoding))
    if isinstance(ct, SeededCiphertext):
        body += ct.seed
        body += _pack_seeded(ct)
        return write_frame(SEEDED, ct.parameters, ct.key_id, body)
    if ct.data.dtype == np.int64:
        body += ct.data.astype("<u4").tobytes()
    elif ct.level == 0:
        body += _pack_bits(ct.data, ct.parameters.download_modulus)
    else:
        body += _pack_rows(ct)
    return write_frame(CIPHERTEXT, ct.parameters, ct.key_id, body)


def deserialize(
    data: Buffer,
    parameters: Parameters,
    *,
    scheme: str = "bgv",
    key_id: bytes | None = None,
    encoding: str | None = None,
) -> Ciphertext:
    """A computed ciphertext. Its stated bounds are taken over; what it depends on is unknown.

    Raises: AM-1204, AM-1206, AM-1210, AM-1211, AM-1212 for anything but a ciphertext of this
    parameter set, scheme, key and encoding (the last two if given).
    """
    limit = ciphertext_bytes_max(parameters)
    found_key, body = read_frame(
        data,
        CIPHERTEXT,
        parameters,
        what=_NAMES[CIPHERTEXT],
        body_bytes_max=limit,
        key_id=key_id,
    )
    head = _read_head(body, parameters, scheme, encoding, CIPHERTEXT)
    rest = body[_META.size :]
    if scheme == "noop":
        values: NDArray[Any] = _unpack_noop(rest, parameters, CIPHERTEXT)
    elif head.meta.level == 0:
        values = _unpack_bits(rest, parameters)
    else:
        values = _unpack_rows(rest, parameters, head.meta)
    meta = Rules(parameters).received(head.meta, head.coefficient_bound)
    return Ciphertext(parameters, found_key, meta, values)


def deserialize_seeded(
    data: Buffer,
    parameters: Parameters,
    *,
    scheme: str = "bgv",
    key_id: bytes | None = None,
    encoding: str | None = None,
) -> SeededCiphertext:
    """A fresh encryption. Raises: like ``deserialize``; its noise must be that of a fresh
    encryption.
    """
    found_key, body = read_frame(
        data,
        SEEDED,
        parameters,
        what=_NAMES[SEEDED],
        body_bytes_max=ciphertext_bytes_max(parameters),
        key_id=key_id,
    )
    head = _read_head(body, parameters, scheme, encoding, SEEDED)
    if len(body) < _META.size + SEED_BYTES:
        fail("AM-1210", kind=_NAMES[SEEDED], what="it has no seed")
    seed = bytes(body[_META.size : _META.size + SEED_BYTES])
    rest = body[_META.size + SEED_BYTES :]
    rules = Rules(parameters)
    meta = rules.fresh(head.meta.level, head.meta.lo, head.meta.hi, origin=origin_of(seed))
    if head.meta.noise != meta.noise or head.meta.degree != 1:
        fail("AM-1210", kind=_NAMES[SEEDED], what="it is not a fresh encryption")
    if scheme == "noop":
        c0: NDArray[Any] = _unpack_noop(rest, parameters, SEEDED)
    else:
        c0 = unpack_canonical(rest, parameters, meta.level, what=_NAMES[SEEDED])
    return SeededCiphertext(parameters, found_key, meta, c0, seed)


def ciphertext_bytes_max(parameters: Parameters) -> int:
    """Upper bound of any body: degree 3 at the highest level."""
    row = sum(parameters.residue_bytes(parameters.max_level)) * parameters.ring_degree
    return _META.size + SEED_BYTES + (DEGREE_MAX + 1) * row


def _write_head(ct: Ciphertext | SeededCiphertext, encoding: str) -> bytes:
    meta = ct.meta
    return _META.pack(
        _SCHEMES.index(ct.scheme),
        meta.degree,
        meta.level,
        0,
        encoding.encode("ascii"),
        meta.noise,
        Rules(ct.parameters).coefficient_bound(meta),
        meta.lo,
        meta.hi,
    )


def _read_head(
    body: memoryview, parameters: Parameters, scheme: str, encoding: str | None, kind: int
) -> _Head:
    what = _NAMES[kind]
    if len(body) < _META.size:
        fail("AM-1210", kind=what, what="it is too short")
    number, degree, level, reserved, label, noise, bound, lo, hi = _META.unpack_from(body)
    if number >= len(_SCHEMES) or reserved:
        fail("AM-1210", kind=what, what="unknown scheme or flags")
    if _SCHEMES[number] != scheme:
        fail("AM-1204", what=f"a {_SCHEMES[number]} ciphertext where {scheme} is used")
    if encoding is not None and label.rstrip(b"\0") != encoding.encode("ascii"):
        fail("AM-1204", what="a ciphertext of another encoding")
    shrunk = level == 0
    if not (1 <= degree <= DEGREE_MAX and level <= parameters.max_level):
        fail("AM-1210", kind=what, what="its degree or level does not exist")
    if shrunk and (degree != 1 or kind == SEEDED):
        fail("AM-1210", kind=what, what="its degree or level does not exist")
    if not all(math.isfinite(x) and 0.0 <= x <= 2048.0 for x in (noise, bound)) or bound > noise:
        fail("AM-1210", kind=what, what="its noise bound is not one")
    if not -SLOT_BOUND_MAX <= lo <= hi <= SLOT_BOUND_MAX:
        fail("AM-1210", kind=what, what="its slot bound is not one")
    meta = Meta(level, degree, noise, lo, hi)
    return _Head(scheme, meta, bound, label.rstrip(b"\0").decode("ascii", "replace"))


# residues


def pack_canonical(values: NDArray[np.uint64], widths: tuple[int, ...]) -> bytes:
    """Packed limbs. Shape: uint64 (limbs, N), one width per limb."""
    from amaters.fhe.residues import pack

    return b"".join(pack(row, width).tobytes() for row, width in zip(values, widths, strict=True))


def unpack_canonical(
    data: Buffer, parameters: Parameters, level: int, *, what: str
) -> NDArray[np.uint64]:
    """Limbs of one polynomial, each residue checked. Shape: uint64 (level, N).

    Raises: AM-1210 for a wrong length or a residue that is not below its prime.
    """
    from amaters.fhe.residues import unpack_into

    N, widths = parameters.ring_degree, parameters.residue_bytes(level)
    raw = np.frombuffer(data, dtype=np.uint8)
    if raw.size != N * sum(widths):
        fail("AM-1210", kind=what, what="its length does not fit its level")
    out = np.empty((level, N), dtype=np.uint64)
    start = 0
    for limb, width in enumerate(widths):
        unpack_into(raw[start : start + N * width], width, out[limb])
        start += N * width
        if int(out[limb].max()) >= parameters.data_primes[limb]:
            fail("AM-1210", kind=what, what="a residue is not below its prime")
    return out


def _pack_seeded(ct: SeededCiphertext) -> bytes:
    if ct.scheme == "noop":
        return ct.c0.astype("<u4").tobytes()
    return pack_canonical(ct.c0, ct.parameters.residue_bytes(ct.meta.level))


def _pack_rows(ct: Ciphertext) -> bytes:
    from amaters.fhe.residues import from_kernel, pack

    words = np.empty(ct.parameters.ring_degree, dtype=np.uint64)
    widths = ct.parameters.residue_bytes(ct.level)
    parts = []
    for polynomial in ct.data:
        for row, prime, width in zip(polynomial, ct.parameters.data_primes, widths, strict=False):
            from_kernel(row, float(prime), words)
            parts.append(pack(words, width).tobytes())
    return b"".join(parts)


def _unpack_rows(body: memoryview, parameters: Parameters, meta: Meta) -> NDArray[np.float64]:
    from amaters.fhe.residues import to_kernel, unpack_into

    N, what = parameters.ring_degree, _NAMES[CIPHERTEXT]
    widths = parameters.residue_bytes(meta.level)
    raw = np.frombuffer(body, dtype=np.uint8)
    if raw.size != (meta.degree + 1) * N * sum(widths):
        fail("AM-1210", kind=what, what="its length does not fit its degree and level")
    out = np.empty((meta.degree + 1, meta.level, N))
    words = np.empty(N, dtype=np.uint64)
    start = 0
    for polynomial in out:
        for row, prime, width in zip(polynomial, parameters.data_primes, widths, strict=False):
            unpack_into(raw[start : start + N * width], width, words)
            start += N * width
            if int(words.max()) >= prime:
                fail("AM-1210", kind=what, what="a residue is not below its prime")
            to_kernel(words, float(prime), row)
    return out


def _pack_bits(data: NDArray[np.float64], modulus: int) -> bytes:
    """Canonical residues in exactly bits(modulus) bits each: what makes a download small."""
    values = data.astype(np.int64).reshape(-1) % modulus
    shifts = np.arange(modulus.bit_length(), dtype=np.int64)
    bits = ((values[:, np.newaxis] >> shifts) & 1).astype(np.uint8)
    return np.packbits(bits, bitorder="little").tobytes()


def _unpack_bits(body: memoryview, parameters: Parameters) -> NDArray[np.float64]:
    modulus, count = parameters.download_modulus, 2 * parameters.ring_degree
    width = modulus.bit_length()
    if len(body) * 8 != count * width:
        fail("AM-1210", kind=_NAMES[CIPHERTEXT], what="its length does not fit its level")
    bits = np.unpackbits(np.frombuffer(body, dtype=np.uint8), bitorder="little")
    values = bits.reshape(count, width).astype(np.int64) @ (1 << np.arange(width, dtype=np.int64))
    if int(values.max()) >= modulus:
        fail("AM-1210", kind=_NAMES[CIPHERTEXT], what="a residue is not below its modulus")
    centred: NDArray[np.float64] = values - float(modulus) * (values > modulus // 2)
    return centred.reshape(2, 1, parameters.ring_degree)


def _unpack_noop(body: memoryview, parameters: Parameters, kind: int) -> NDArray[np.int64]:
    if len(body) != 4 * parameters.slots:
        fail("AM-1210", kind=_NAMES[kind], what="its length does not fit its ring")
    values = np.frombuffer(body, dtype="<u4").astype(np.int64)
    if int(values.max()) >= parameters.plaintext_modulus:
        fail("AM-1210", kind=_NAMES[kind], what="a slot is not below t")
    return values.reshape(1, -1)
