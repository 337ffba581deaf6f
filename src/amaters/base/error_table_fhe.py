"""Rows 12xx and 2301 (parameters, ciphertexts, noise, formats) of the error table."""

from __future__ import annotations

from collections.abc import Callable

from amaters.base import errors as e


def fill(define: Callable[..., None]) -> None:
    """All rows of the engine for encrypted computation."""
    _ciphertexts(define)
    _formats(define)


def _ciphertexts(define: Callable[..., None]) -> None:
    """12xx: parameters, ciphertexts, noise."""
    define(
        "AM-1200",
        e.InvalidError,
        "parameter set {name}: {what}",
        "use 'default' or, for deeper predicates, 'deep'",
    )
    define(
        "AM-1201",
        e.InvalidError,
        "parameter set {name} is not secure: {bits} bits, at most {limit} at degree {ring_degree}",
        "use fewer or smaller primes, or a larger ring",
    )
    define(
        "AM-1202",
        e.InvalidError,
        "{what} {level} is outside 1 .. {limit}",
        "choose another parameter set",
    )
    define(
        "AM-1203",
        e.InvalidError,
        "slot values could span {width}, more than the plaintext modulus {modulus} can tell apart",
        "start a new accumulator, or use finer limbs",
    )
    define(
        "AM-1204",
        e.InvalidError,
        "ciphertexts do not fit together: {what}",
        "bring both to the same parameter set, key, level and degree first",
    )
    define(
        "AM-1205",
        e.InvalidError,
        "a public vector has norm {norm}, plans assume at most {limit}",
        "split the vector into two",
    )
    define(
        "AM-1206",
        e.DeniedError,
        "this belongs to key {found}, not to {expected}",
        "use the keyset this data was encrypted with",
    )
    define(
        "AM-1207",
        e.InvalidError,
        "vector {index} does not fit what was declared: {what}",
        "widen the declared bounds, or correct the value",
    )
    define(
        "AM-1208",
        e.DataError,
        "a decrypted result fails its checks: {what}",
        "do not trust this server's answer; nothing was reported to it",
        dbapi="DatabaseError",
    )


def _formats(define: Callable[..., None]) -> None:
    """1210 to 1219: bytes of ciphertexts and keys; 2301: depth."""
    define(
        "AM-1210",
        e.DataError,
        "these bytes are not a valid {kind}: {what}",
        "restore the object from a backup, or encrypt it again",
        dbapi="DatabaseError",
    )
    define(
        "AM-1211",
        e.DataError,
        "{kind} of {size} bytes is larger than the {limit} that its header allows",
        "restore the object from a backup, or encrypt it again",
        dbapi="DatabaseError",
    )
    define(
        "AM-1212",
        e.DataError,
        "{kind} is damaged: checksum of {where} differs",
        "restore the object from a backup, or encrypt it again",
        dbapi="DatabaseError",
    )
    define(
        "AM-2301",
        e.InvalidError,
        "this computation is too deep: it needs {needed}, {available} is available",
        "use DEPTH = 'deep' for the table, fewer predicates, or narrower columns",
    )
