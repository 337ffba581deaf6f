"""Every error AmateRS can raise: one table, from which classes, docs and mappings are made.

A caller acts on the *kind* (seven of them, each says what to do), a program on the *code*, a person
on message and fix. Templates name their fields; a field may carry a name, a count or a bound, never
a value of an encrypted column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn


class AmatersError(Exception):
    """Base of all errors: ``code``, ``kind``, ``message``, ``fix`` and ``retry`` are always set."""

    kind = "Internal"
    exit_code = 1

    def __init__(self, code: str, **fields: object) -> None:
        row = TABLE[code]
        self.code = code
        self.fields = fields
        self.retry = row.retry
        self.message = row.message.format(**fields)
        self.fix = row.fix.format(**fields)
        super().__init__(code, fields)

    def __str__(self) -> str:
        text = f"error[{self.code}] {self.message}"
        return f"{text}\n  hint: {self.fix}" if self.fix else text

    def __reduce__(self) -> tuple[Any, ...]:
        return (make, (self.code, self.fields))


class InvalidError(AmatersError):
    """The request can never succeed as it stands: change it."""

    kind = "Invalid"


class UsageError(InvalidError):
    """The command line or the call is wrong."""

    exit_code = 2


class DeniedError(AmatersError):
    """Keys, identity or policy do not allow this."""

    kind = "Denied"
    exit_code = 4


class UnavailableError(AmatersError):
    """Nothing is wrong with the request: try again later."""

    kind = "Unavailable"
    exit_code = 3


class ConflictError(AmatersError):
    """Somebody else changed or holds what this needs: look again, then decide."""

    kind = "Conflict"


class ClosedError(AmatersError):
    """The database, session or result was closed."""

    kind = "Closed"


class DataError(AmatersError):
    """Stored or received bytes are damaged or are not what they claim to be."""

    kind = "Data"
    exit_code = 6


class InternalError(AmatersError):
    """A bug in AmateRS: please report it."""


DBAPI_OF_KIND = {
    "Invalid": "ProgrammingError",
    "Denied": "OperationalError",
    "Unavailable": "OperationalError",
    "Conflict": "OperationalError",
    "Closed": "InterfaceError",
    "Data": "InternalError",
    "Internal": "InternalError",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``retry`` is never | same | backoff | reconnect; ``dbapi`` is the
    class of ``amaters.dbapi`` that stands for it, by default its kind's.
    """

    cls: type[AmatersError]
    message: str
    fix: str = ""
    retry: str = "never"
    dbapi: str = ""


# Code ranges: 10xx base and usage, 11xx keys, 12xx parameters and ciphertexts, 20xx schema and
# values, 21xx binding and planning, 22xx SQL text, 30xx engine and wire, 40xx storage, 50xx client.
TABLE: dict[str, Row] = {}


def define(code: str, cls: type[AmatersError], message: str, fix: str = "", **more: str) -> None:
    """Add one row; called only by the table modules beside this file."""
    if code in TABLE:
        raise ValueError(f"error code {code} is defined twice")
    more.setdefault("dbapi", DBAPI_OF_KIND[cls.kind])
    TABLE[code] = Row(cls, message, fix, **more)


def make(code: str, fields: dict[str, object]) -> AmatersError:
    """The error for ``code``, not raised yet (used when an error arrives over the wire)."""
    return TABLE[code].cls(code, **fields)


def fail(code: str, **fields: object) -> NoReturn:
    """Raise the error for ``code``; ``fields`` fill its message and fix."""
    raise make(code, fields)


def _fill() -> None:
    from amaters.base import error_table

    error_table.fill(define)


_fill()
