"""PEP 249's type objects and constructors."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

Date = datetime.date
Time = datetime.time
Timestamp = datetime.datetime
Binary = bytes


def DateFromTicks(ticks: float) -> datetime.date:  # noqa: N802 - PEP 249 names it
    """The local day of a time in seconds since 1970."""
    return datetime.date.fromtimestamp(ticks)


def TimeFromTicks(ticks: float) -> datetime.time:  # noqa: N802
    """The local time of day of a time in seconds since 1970."""
    return datetime.datetime.fromtimestamp(ticks).time()


def TimestampFromTicks(ticks: float) -> datetime.datetime:  # noqa: N802
    """The local time of a time in seconds since 1970."""
    return datetime.datetime.fromtimestamp(ticks)


@dataclass(frozen=True, slots=True, eq=False)
class TypeGroup:
    """Equal to every type code of the group: ``cursor.description[0][1] == NUMBER``."""

    names: frozenset[str]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return other.split("(")[0] in self.names
        return isinstance(other, TypeGroup) and other.names == self.names

    def __hash__(self) -> int:
        return hash(self.names)


def _group(*names: str) -> TypeGroup:
    return TypeGroup(frozenset(names))


STRING = _group("VARCHAR", "TEXT")
BINARY = _group("BLOB")
NUMBER = _group(
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "HUGEINT", "DECIMAL", "DOUBLE", "BOOLEAN",
)  # fmt: skip
DATETIME = _group("DATE", "TIMESTAMP")
ROWID = _group()
