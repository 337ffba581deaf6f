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


def _keys(define: Callable[..., None]) -> None:
    """11xx: keysets and keyrings."""


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
