"""Keys, a table with every type, and strategies shared by the tests of this layer."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from amaters.base.rng import SystemRng
from amaters.columns import blobs, declare
from amaters.columns.schema import Table
from amaters.columns.types import SqlType, TypeKind

RNG = SystemRng()
quick = settings(deadline=None, max_examples=60)
thorough = settings(deadline=None, max_examples=200)


@dataclass(frozen=True)
class TestKeys:
    """A keyset's symmetric keys."""

    __test__ = False
    sealing_key: bytes = b"s" * 32
    mac_key: bytes = b"m" * 32


KEYS = TestKeys()


def make_table(declarations: dict[str, declare.Declaration], name: str = "pay") -> Table:
    """A table under a fixed keyset."""
    return declare.build_table(
        name, declarations, parameter_set="test", scheme="noop", key_id=b"k" * 16
    )


def full_table() -> Table:
    """One column of each kind and capability."""
    return make_table(
        {
            "id": declare.Int64(primary_key=True),
            "dept": declare.Text(index=True),
            "age": declare.UInt8(max=120, encrypt=["eq", "range"]),
            "salary": declare.Int32(min=0, max=1_000_000, encrypt=["range", "sum"], nullable=True),
            "grade": declare.Enum(["A", "B", "C"], encrypt=["group"]),
            "notes": declare.Text(encrypt=[], nullable=True),
            "city": declare.Text(encrypt=["eq"], nullable=True),
            "rate": declare.Decimal(10, 2, encrypt=["sum"], nullable=True),
            "flag": declare.Boolean(encrypt=["eq", "group"], nullable=True),
            "day": declare.Date(encrypt=["range"]),
            "big": declare.UInt64(encrypt=["eq", "sum"]),
            "open": declare.Int16(nullable=True),
            "seen": declare.Timestamp(encrypt=["eq", "range"], nullable=True),
            "photo": declare.Blob(encrypt=[], nullable=True),
            "made": declare.Timestamp(nullable=True),
            "hash": declare.Blob(),
        }
    )


def full_row(number: int) -> tuple[Any, ...]:
    """A row of ``full_table``; NULLs come and go with ``number``."""
    return (
        number,
        f"dept{number % 7}",
        number % 121,
        (number * 37) % 1_000_000 if number % 9 else None,
        "ABC"[number % 3],
        f"note {number}" * (number % 5) if number % 4 else None,
        f"city{number % 11}" if number % 6 else None,
        Decimal(number) / 4 if number % 5 else None,
        bool(number % 2) if number % 3 else None,
        datetime.date(2000, 1, 1) + datetime.timedelta(number % 5000),
        2**64 - 1 - number,
        number % 300 if number % 8 else None,
        datetime.datetime(2020, 1, 1) + datetime.timedelta(0, number, number)
        if number % 7
        else None,
        bytes([number % 256, 255, 0]) * (number % 4) if number % 5 else None,
        datetime.datetime(1950, 1, 1) + datetime.timedelta(number) if number % 3 else None,
        number.to_bytes(8, "little"),
    )


def as_text(value: Any) -> str:
    """A value as a CSV cell has it."""
    return blobs.spelled(value) if isinstance(value, bytes) else str(value)


def python_values(type_: SqlType) -> st.SearchStrategy[Any]:
    """Python values of a type, extremes included."""
    match type_.kind:
        case TypeKind.INT:
            return st.integers(type_.minimum, type_.maximum)
        case TypeKind.DECIMAL:
            scaled = st.integers(type_.minimum, type_.maximum)
            return scaled.map(lambda number: Decimal(number).scaleb(-type_.scale))
        case TypeKind.DATE:
            return st.dates()
        case TypeKind.BOOLEAN:
            return st.booleans()
        case TypeKind.TIMESTAMP:
            return st.datetimes()
        case TypeKind.BLOB:
            return st.binary(max_size=40)
    return st.text(st.characters(codec="utf-8"), max_size=40)
