"""The rows of the error table, grouped by code range (see ``amaters.base.errors``)."""

from __future__ import annotations

from collections.abc import Callable

from amaters.base import errors as e


def fill(define: Callable[..., None]) -> None:
    """Define every error once, in order of code."""
    _base(define)
    _keys(define)
    _ciphertexts(define)
    _schema(define)
    _planning(define)
    _sql(define)
    _engine(define)
    _storage(define)
    _client(define)


def _base(define: Callable[..., None]) -> None:
    define("AM-1000", e.InternalError, "internal error: {what}", "report this with the statement's EXPLAIN")
    define("AM-1001", e.UsageError, "{what}", "{fix}")
    define(
        "AM-1002",
        e.UsageError,
        "setting {name}: {what}",
        "correct it in the configuration file, the AMATERS_* environment or the call",
    )


def _keys(define: Callable[..., None]) -> None:
    """11xx: keysets and keyrings."""
    define(
        "AM-1101",
        e.DeniedError,
        "{database} is encrypted under keyset {key_id}, which is not in {keyring}",
        "pass keys= (or AMATERS_KEYRING) with the keyring that holds it; a lost keyset is lost data",
    )
    define(
        "AM-1102",
        e.DataError,
        "keyset file {path} is damaged: {what}",
        "restore it from your copy of the keyring; nothing was changed",
    )
    define(
        "AM-1103",
        e.DeniedError,
        "keyset file {path} can be read by other users (mode {mode})",
        "chmod 600 {path}, and make new keys if somebody may have read it",
    )
    define(
        "AM-1104",
        e.DeniedError,
        "keyset {path} does not open: {what}",
        "pass passphrase= (or --passphrase-file) with the passphrase it was created with",
    )
    define(
        "AM-1105",
        e.DeniedError,
        "the keyring {keyring} lies inside the database directory {database}",
        "keep keys elsewhere: whoever copies the database must not get them",
    )
    define(
        "AM-1106",
        e.DeniedError,
        "{database} uses {scheme} with {parameters}, which this call did not allow",
        "{fix}",
    )
    define(
        "AM-1107",
        e.ConflictError,
        "keyset file {path} exists already",
        "choose another name: an existing keyset is never overwritten",
    )


def _ciphertexts(define: Callable[..., None]) -> None:
    """12xx: parameters, ciphertexts, noise."""


def _schema(define: Callable[..., None]) -> None:
    """20xx: schema, types and values."""


def _planning(define: Callable[..., None]) -> None:
    """21xx: binding and planning."""


def _sql(define: Callable[..., None]) -> None:
    """22xx: SQL text."""


def _engine(define: Callable[..., None]) -> None:
    """30xx: engine, wire and service."""


def _storage(define: Callable[..., None]) -> None:
    """40xx: storage."""


def _client(define: Callable[..., None]) -> None:
    """50xx: client, results and files."""
    define(
        "AM-5001",
        e.DataError,
        "the engine's answer for table {table} contradicts {count} canary rows: nothing was fetched",
        "the engine is faulty or hostile: do not send it more queries; run amaters doctor",
    )
    define(
        "AM-5002",
        e.ClosedError,
        "the database is closed",
        "connect again",
        dbapi="InterfaceError",
    )
    define(
        "AM-5003",
        e.InvalidError,
        "{url} is not a database this version can open: {what}",
        "use ':memory:' or a directory path",
    )
    define("AM-5004", e.InvalidError, "cannot read {path}: {what}", "check the path and its rights")
    define(
        "AM-5005",
        e.InvalidError,
        "{path}, line {line}: {what}",
        "correct the file; nothing of it was inserted",
    )
    define(
        "AM-5006",
        e.DataError,
        "row data of table {table} does not open: {what}",
        "restore the database directory from a backup; nothing was returned",
    )
    define(
        "AM-5007",
        e.InvalidError,
        "{what}",
        "{fix}",
    )
    define(
        "AM-5008",
        e.UnavailableError,
        "{what} needs {package}, which is not installed",
        "pip install {package}",
        dbapi="NotSupportedError",
    )
