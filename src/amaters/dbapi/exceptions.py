"""PEP 249's exceptions. Which one stands for an error is a column of the one error table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from amaters.base import errors


class Warning(Exception):  # noqa: A001, N818 - PEP 249 names it
    """PEP 249 wants it; AmateRS never raises it."""


class Error(Exception):
    """Base of all errors; ``code``, ``kind``, ``fix`` and ``retry`` as in ``AmatersError``, which
    is its ``__cause__``.
    """

    def __init__(self, text: str, *, code: str = "", kind: str = "", fix: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.kind = kind
        self.fix = fix
        self.retry = errors.TABLE[code].retry if code else "never"


class InterfaceError(Error):
    """The connection or cursor is used wrongly, for example after it was closed."""


class DatabaseError(Error):
    """The database refuses or fails."""


class DataError(DatabaseError):
    """A value does not fit its column."""


class OperationalError(DatabaseError):
    """Not the program's fault: keys, another process, a disk, a race that was lost."""


class IntegrityError(DatabaseError):
    """A key stands twice, or NULL where none may be."""


class InternalError(DatabaseError):
    """Damaged data, an answer that contradicts itself, or a bug."""


class ProgrammingError(DatabaseError):
    """The statement or its parameters are wrong."""


class NotSupportedError(DatabaseError):
    """What was declared or this version does not allow it."""


CLASSES: dict[str, type[Error]] = {
    cls.__name__: cls
    for cls in (
        InterfaceError,
        DatabaseError,
        DataError,
        OperationalError,
        IntegrityError,
        InternalError,
        ProgrammingError,
        NotSupportedError,
    )
}


@contextmanager
def translated() -> Iterator[None]:
    """Turns an ``AmatersError`` into its class here."""
    try:
        yield
    except errors.AmatersError as error:
        cls = CLASSES[errors.TABLE[error.code].dbapi]
        raise cls(str(error), code=error.code, kind=error.kind, fix=error.fix) from error
