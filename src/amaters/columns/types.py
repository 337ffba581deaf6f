"""SQL types and their *storage values*: the plain integers and strings everything below works on.

========= ======================================= =====================================
kind      storage value                           Python value a user gives and gets
========= ======================================= =====================================
INT       the integer                             ``int``
DECIMAL   integer scaled by 10^scale              ``decimal.Decimal``
DATE      days since 1970-01-01                   ``datetime.date``
TIMESTAMP microseconds since 1970-01-01 00:00     ``datetime.datetime`` without a time zone
BOOLEAN   0 or 1                                  ``bool``
TEXT      ``str``                                 ``str``
BLOB      ``str``, one character per byte         ``bytes``
========= ======================================= =====================================

``None`` is NULL in both.
"""

from __future__ import annotations

import datetime
import decimal
import re
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from numbers import Integral
from typing import NoReturn

from amaters.base.errors import fail
from amaters.columns import blobs, moments

Storage = int | str
PythonValue = int | Decimal | datetime.date | bool | str | bytes

TEXT_BYTES_MAX = 1 << 20
DECIMAL_PRECISION_MAX = 18  # storage values of every DECIMAL then fit into an int64
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_EXACT = decimal.Context(prec=400, traps=[decimal.Inexact, decimal.InvalidOperation])
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_DECIMAL = re.compile(r"[+-]?([0-9]{1,60}\.?[0-9]{0,60}|\.[0-9]{1,60})([eE][+-]?[0-9]{1,2})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BOOLEANS = {"true": 1, "t": 1, "1": 1, "yes": 1, "false": 0, "f": 0, "0": 0, "no": 0}


class TypeKind(Enum):
    """The families of types; the value is the name on the wire."""

    INT = "int"
    DECIMAL = "decimal"
    DATE = "date"
    BOOLEAN = "boolean"
    TEXT = "text"
    TIMESTAMP = "timestamp"
    BLOB = "blob"


_INT_NAMES = {8: "TINYINT", 16: "SMALLINT", 32: "INTEGER", 64: "BIGINT"}
_UINT_NAMES = {bits: f"U{name}" for bits, name in _INT_NAMES.items()}


@dataclass(frozen=True, slots=True)
class SqlType:
    """A type; ``bits`` and ``signed`` matter for INT, ``precision`` and ``scale`` for DECIMAL."""

    kind: TypeKind
    bits: int = 0
    signed: bool = True
    precision: int = 0
    scale: int = 0

    def __post_init__(self) -> None:
        if self.kind is TypeKind.INT and self.bits not in _INT_NAMES:
            fail("AM-2029", type=f"INT of {self.bits} bits", fix="use 8, 16, 32 or 64 bits")
        if self.kind is TypeKind.DECIMAL and not (
            1 <= self.precision <= DECIMAL_PRECISION_MAX and 0 <= self.scale <= self.precision
        ):
            fail(
                "AM-2029",
                type=f"DECIMAL({self.precision},{self.scale})",
                fix=f"use DECIMAL(p,s) with 0 <= s <= p and 1 <= p <= {DECIMAL_PRECISION_MAX}",
            )

    @property
    def sql_name(self) -> str:
        """The type as DDL writes it."""
        if self.kind is TypeKind.INT:
            return (_INT_NAMES if self.signed else _UINT_NAMES)[self.bits]
        if self.kind is TypeKind.DECIMAL:
            return f"DECIMAL({self.precision},{self.scale})"
        return self.kind.name

    @property
    def is_numeric(self) -> bool:
        """Whether values can be added."""
        return self.kind in (TypeKind.INT, TypeKind.DECIMAL)

    @property
    def is_text(self) -> bool:
        """Whether storage values are texts: of TEXT, and of BLOB."""
        return self.kind in (TypeKind.TEXT, TypeKind.BLOB)

    @property
    def minimum(self) -> int:
        """Smallest storage value of a type whose values are numbers."""
        return _limits(self)[0]

    @property
    def maximum(self) -> int:
        """Largest storage value of a type whose values are numbers."""
        return _limits(self)[1]


def _limits(type_: SqlType) -> tuple[int, int]:
    match type_.kind:
        case TypeKind.INT if type_.signed:
            return -(1 << (type_.bits - 1)), (1 << (type_.bits - 1)) - 1
        case TypeKind.INT:
            return 0, (1 << type_.bits) - 1
        case TypeKind.DECIMAL:
            return 1 - 10**type_.precision, 10**type_.precision - 1
        case TypeKind.DATE:
            return datetime.date.min.toordinal() - _EPOCH, datetime.date.max.toordinal() - _EPOCH
        case TypeKind.TIMESTAMP:
            return moments.FIRST, moments.LAST
        case TypeKind.BOOLEAN:
            return 0, 1
    fail("AM-1000", what=f"{type_.sql_name} has no bounds")


def integer(bits: int, signed: bool = True) -> SqlType:
    """INT of 8, 16, 32 or 64 bits."""
    return SqlType(TypeKind.INT, bits=bits, signed=signed)


def decimal_type(precision: int, scale: int) -> SqlType:
    """DECIMAL(precision, scale), at most 18 digits."""
    return SqlType(TypeKind.DECIMAL, precision=precision, scale=scale)


DATE = SqlType(TypeKind.DATE)
BOOLEAN = SqlType(TypeKind.BOOLEAN)
TEXT = SqlType(TypeKind.TEXT)
TIMESTAMP = SqlType(TypeKind.TIMESTAMP)
BLOB = SqlType(TypeKind.BLOB)
BIGINT = integer(64)


def to_storage(  # noqa: PLR0911 - one per kind
    type_: SqlType, value: object, *, where: str = "value"
) -> Storage | None:
    """The storage value of a Python value. ``where`` names the place in error messages.

    Integral floats and Decimals are accepted for INT, finite floats (by their shortest decimal
    form) for DECIMAL, ISO texts for DATE and TIMESTAMP, dates for TIMESTAMP and midnights for DATE,
    texts as DuckDB casts them for BLOB. Nothing is ever rounded.
    Raises: AM-2002 wrong type, AM-2003 out of range, AM-2005 inexact decimal, AM-2008 too long or
    bad text.
    """
    if value is None:
        return None
    match type_.kind:
        case TypeKind.INT:
            return _in_range(type_, _integer_of(type_, value, where), where)
        case TypeKind.DECIMAL:
            return _in_range(type_, _scaled_of(type_, value, where), where)
        case TypeKind.DATE:
            return _days_of(type_, value, where)
        case TypeKind.BOOLEAN:
            return _bit_of(type_, value, where)
        case TypeKind.TEXT:
            return _text_of(type_, value, where)
        case TypeKind.TIMESTAMP:
            return _moment_of(type_, value, where)
        case TypeKind.BLOB:
            return _blob_of(type_, value, where)


def from_storage(  # noqa: PLR0911 - one per kind
    type_: SqlType, value: Storage | None
) -> PythonValue | None:
    """The Python value of a storage value."""
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode(blobs.CODEC) if type_.kind is TypeKind.BLOB else value
    match type_.kind:
        case TypeKind.TIMESTAMP:
            return moments.of_microseconds(int(value))
        case TypeKind.DECIMAL:
            return Decimal(int(value)).scaleb(-type_.scale, _EXACT)
        case TypeKind.DATE:
            return datetime.date.fromordinal(int(value) + _EPOCH)
        case TypeKind.BOOLEAN:
            return bool(value)
    return int(value)


def from_text(  # noqa: PLR0911 - one per kind
    type_: SqlType, text: str, *, where: str = "value"
) -> Storage:
    """The storage value of a value written as text, as in a CSV cell (NULL is the caller's
    business).

    Raises: as ``to_storage``; text that is not a value of the type is AM-2002.
    """
    stripped = text.strip()
    match type_.kind:
        case TypeKind.INT if _INTEGER.fullmatch(stripped):
            return _in_range(type_, int(stripped), where)
        case TypeKind.DECIMAL if _DECIMAL.fullmatch(stripped):
            return _in_range(type_, _scaled_of(type_, Decimal(stripped), where), where)
        case TypeKind.DATE:
            return _days_of(type_, stripped, where)
        case TypeKind.BOOLEAN if stripped.lower() in _BOOLEANS:
            return _BOOLEANS[stripped.lower()]
        case TypeKind.TEXT:
            return _text_of(type_, text, where)
        case TypeKind.TIMESTAMP:
            return _moment_of(type_, stripped, where)
        case TypeKind.BLOB:
            return _blob_of(type_, text, where)
    fail("AM-2002", where=where, expected=type_.sql_name, got="other text")


def _wrong(type_: SqlType, value: object, where: str) -> NoReturn:
    fail("AM-2002", where=where, expected=type_.sql_name, got=type(value).__name__)


def _in_range(type_: SqlType, value: int, where: str) -> int:
    low, high = _limits(type_)
    if not low <= value <= high:
        fail("AM-2003", where=where, expected=type_.sql_name)
    return value


def _integer_of(type_: SqlType, value: object, where: str) -> int:
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        _wrong(type_, value, where)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Decimal) and value.is_finite():
        return _scaled_of(type_, value, where)
    _wrong(type_, value, where)


def _scaled_of(type_: SqlType, value: object, where: str) -> int:
    """``value`` times 10^scale, exactly."""
    number = value
    if isinstance(value, float):
        number = Decimal(repr(float(value)))
    elif isinstance(value, Integral) and not isinstance(value, bool):
        number = Decimal(int(value))
    if not isinstance(number, Decimal) or not number.is_finite():
        _wrong(type_, value, where)
    if number.adjusted() > 60:
        fail("AM-2003", where=where, expected=type_.sql_name)
    try:
        scaled = _EXACT.quantize(number.scaleb(type_.scale, _EXACT), Decimal(1))
    except (decimal.Inexact, decimal.InvalidOperation):
        fail("AM-2005", where=where, expected=type_.sql_name)
    return int(scaled)


def _days_of(type_: SqlType, value: object, where: str) -> int:
    if isinstance(value, str):
        if not _DATE.fullmatch(value):
            fail("AM-2002", where=where, expected="DATE as YYYY-MM-DD", got="other text")
        try:
            value = datetime.date.fromisoformat(value)
        except ValueError:
            fail("AM-2002", where=where, expected="DATE as YYYY-MM-DD", got="no such day")
    if not isinstance(value, datetime.date):
        _wrong(type_, value, where)
    if isinstance(value, datetime.datetime) and value != datetime.datetime.combine(
        value, datetime.time.min
    ):
        fail("AM-2002", where=where, expected="DATE", got="a timestamp that is no midnight")
    return value.toordinal() - _EPOCH


def _moment_of(type_: SqlType, value: object, where: str) -> int:
    if isinstance(value, str):
        value = moments.parse(value)
        if value is None:
            expected = "TIMESTAMP as YYYY-MM-DD HH:MM:SS[.ffffff] without a time zone"
            fail("AM-2002", where=where, expected=expected, got="other text")
    if not isinstance(value, datetime.date):
        _wrong(type_, value, where)
    if getattr(value, "tzinfo", None) is not None:
        expected = "TIMESTAMP without a time zone (convert to UTC and drop tzinfo)"
        fail("AM-2002", where=where, expected=expected, got="one with a time zone")
    if getattr(value, "nanosecond", 0):  # of pandas, which DuckDB would cut off
        fail("AM-2005", where=where, expected=type_.sql_name)
    return moments.microseconds(value)


def as_moment(type_: SqlType, value: str | datetime.date) -> Fraction:
    """A constant in units of the storage values of a DATE or TIMESTAMP, exactly: a timestamp lies
    between two days. Raises: AM-2002, AM-2005.
    """
    if type_.kind is TypeKind.DATE and isinstance(value, datetime.datetime):
        return Fraction(_moment_of(TIMESTAMP, value, "constant"), moments.DAY_MICROSECONDS)
    return Fraction(int(to_storage(type_, value) or 0))


def _bit_of(type_: SqlType, value: object, where: str) -> int:
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return int(bool(value))
    _wrong(type_, value, where)


def _text_of(type_: SqlType, value: object, where: str) -> str:
    if not isinstance(value, str):
        _wrong(type_, value, where)
    if not text_fits(value):
        fail("AM-2008", where=where, limit=TEXT_BYTES_MAX)
    return str(value)


def _blob_of(type_: SqlType, value: object, where: str) -> str:
    if isinstance(value, str):
        value = blobs.parse(value)
        if value is None:
            expected = r"BLOB as ASCII text with other bytes as \xAA"
            fail("AM-2002", where=where, expected=expected, got="other text")
    if not isinstance(value, bytes | bytearray | memoryview):
        _wrong(type_, value, where)
    data = bytes(value)
    if len(data) > blobs.BYTES_MAX:
        fail("AM-2070", where=where, limit=blobs.BYTES_MAX)
    return data.decode(blobs.CODEC)


def text_fits(text: str) -> bool:
    """Whether ``text`` can be written as UTF-8 within ``TEXT_BYTES_MAX`` bytes."""
    try:
        return len(text.encode()) <= TEXT_BYTES_MAX
    except UnicodeEncodeError:
        return False
