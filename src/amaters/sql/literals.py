"""Constants: literals, parameters and arithmetic, folded exactly before anything is sent."""

from __future__ import annotations

import calendar
import copy
import datetime
import decimal
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Integral
from typing import Any, NoReturn

from sqlglot import exp

from amaters.base.errors import fail
from amaters.columns import blobs
from amaters.columns.moments import at_midnight
from amaters.columns.moments import parse as parse_moment
from amaters.plan.expressions import Literal, Value
from amaters.sql.parser import Parsed
from amaters.sql.scope import bare, refuse, where, wrong

Parameters = Sequence[object] | Mapping[str, object] | None

ANSWER = "\0"  # begins the names of subqueries, which no :name can
DIGITS_MAX = 76
EXTENT_MAX = 200  # digits before or behind the point: more could cost time to even compare
_EXACT = decimal.Context(
    prec=DIGITS_MAX,
    traps=[
        decimal.Inexact,
        decimal.InvalidOperation,
        decimal.DivisionByZero,
        decimal.Overflow,
    ],
)
_DATE = re.compile(r"(\d{1,4})-(\d{1,2})-(\d{1,2})")
_MONTHS = {"YEAR": 12, "QUARTER": 3, "MONTH": 1}
_DAYS = {"WEEK": 7, "DAY": 1}
_MICROSECONDS = {
    "HOUR": 3_600_000_000,
    "MINUTE": 60_000_000,
    "SECOND": 1_000_000,
    "MILLISECOND": 1000,
    "MICROSECOND": 1,
}
_MOMENTS = (
    exp.DataType.Type.DATE, exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPNTZ,
)  # fmt: skip
_BLOBS = (exp.DataType.Type.BLOB, exp.DataType.Type.VARBINARY)
_CONSTANTS = (
    exp.Column, exp.Star, exp.AggFunc, exp.WithinGroup, exp.Subquery, exp.Select, exp.Window,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Interval:
    """A span of calendar time; only ever added to or taken from a date or a timestamp."""

    months: int
    days: int
    microseconds: int = 0

    @property
    def negated(self) -> _Interval:
        return _Interval(-self.months, -self.days, -self.microseconds)


class Arguments:
    """The values of a statement's parameters, and of its subqueries that are answered already.

    Raises: AM-2206 when they do not fit it.
    """

    def __init__(self, parsed: Parsed, given: Parameters) -> None:
        self._named: dict[str, Value] = {}
        self._positional: list[Value] = []
        if parsed.names and parsed.positional:
            _unfit("both ? and :name are used", "use one of the two")
        if isinstance(given, Mapping):
            self._bind_names(parsed, given)
        else:
            self._bind_positions(parsed, given)

    def _bind_names(self, parsed: Parsed, given: Mapping[str, object]) -> None:
        if parsed.positional:
            _unfit("the statement uses ?, names were given", "pass a list of values")
        missing = [name for name in parsed.names if name not in given]
        if missing:
            _unfit(f"no value for :{missing[0]}", "pass a value for each name")
        extra = [name for name in given if name not in parsed.names]
        if extra:
            _unfit(f"the statement has no :{extra[0]}", "pass only the names it uses")
        self._named = {name: _value(given[name], f":{name}") for name in parsed.names}

    def _bind_positions(self, parsed: Parsed, given: Sequence[object] | None) -> None:
        values = () if given is None else given
        if isinstance(values, str | bytes) or not isinstance(values, Sequence):
            _unfit(f"they came as {type(given).__name__}", "pass a list or a dictionary")
        if parsed.names:
            _unfit(f"no value for :{parsed.names[0]}", "pass a dictionary of names to values")
        if len(values) != parsed.positional:
            what = f"the statement has {parsed.positional}, {len(values)} were given"
            _unfit(what, "pass one value for each ?")
        self._positional = [_value(v, f"parameter {i + 1}") for i, v in enumerate(values)]

    @property
    def answers(self) -> int:
        """How many subqueries are answered."""
        return sum(name.startswith(ANSWER) for name in self._named)

    def answering(self, name: str, value: Value) -> Arguments:
        """These arguments with the answer of one more subquery."""
        made = copy.copy(self)
        made._named = {**self._named, name: value}
        return made

    def value(self, node: exp.Placeholder) -> Value:
        """The value of one ``?`` or ``:name``, or of a subquery."""
        if node.this:
            return self._named[str(node.this)]
        return self._positional[int(node.meta["parameter"])]


def is_constant(node: exp.Expr) -> bool:
    """Whether ``node`` reads no column."""
    return not any(isinstance(inner, _CONSTANTS) for inner in node.walk())


def literal(node: exp.Expr, arguments: Arguments) -> Literal:
    """The constant that ``node`` is, ``public`` when written as ``PUBLIC(...)``.

    Raises: AM-2205 for a function or operator that is not folded, AM-2208 for a wrong operand.
    """
    inner = bare(node)
    if isinstance(inner, exp.Anonymous) and inner.name.upper() == "PUBLIC":
        if len(inner.expressions) != 1:
            wrong(inner, "PUBLIC takes one constant", "write PUBLIC(40)")
        return Literal(_scalar(inner.expressions[0], arguments), public=True)
    origin = tuple(_parameter(found) for found in inner.find_all(exp.Placeholder))
    return Literal(_scalar(inner, arguments), answered=is_answered(inner), origin=origin)


def _parameter(node: exp.Placeholder) -> str:
    """What tells one parameter from the others."""
    return f":{node.this}" if node.this else f"?{node.meta['parameter']}"


def is_answered(node: exp.Expr) -> bool:
    """Whether the answer of a subquery is part of ``node``."""
    return any(str(found.this).startswith(ANSWER) for found in node.find_all(exp.Placeholder))


def _scalar(node: exp.Expr, arguments: Arguments) -> Value:
    value = _fold(node, arguments)
    if isinstance(value, _Interval):
        wrong(node, "an INTERVAL stands alone", "add it to a DATE")
    return value


def _fold(node: exp.Expr, arguments: Arguments) -> Value | _Interval:
    node = bare(node)
    match node:
        case exp.Neg():
            return _negated(node, _fold(node.this, arguments))
        case exp.Cast():
            return _cast(node, _fold(node.this, arguments))
        case exp.Interval():
            return _interval(node, arguments)
        case exp.Add() | exp.Sub() | exp.Mul() | exp.Div():
            left, right = _fold(node.this, arguments), _fold(node.expression, arguments)
            return _arithmetic(node, left, right)
    return _leaf(node, arguments)


def _leaf(node: exp.Expr, arguments: Arguments) -> Value:
    match node:
        case exp.Null():
            return None
        case exp.Boolean():
            return bool(node.this)
        case exp.Placeholder():
            return arguments.value(node)
        case exp.Literal():
            return str(node.this) if node.is_string else _number(node)
        case exp.HexString():
            return bytes.fromhex(str(node.this))
    refuse(node, f"{node.key.upper()} in a constant", "write the constant's value")


def _number(node: exp.Literal) -> int | Decimal:
    text = str(node.this)
    try:
        value = int(text) if text.isdigit() else _EXACT.create_decimal(text)
    except (decimal.DecimalException, ValueError):
        wrong(node, f"a number of more than {DIGITS_MAX} digits", "write a shorter number")
    if not _is_moderate(value):
        wrong(node, f"a number of more than {EXTENT_MAX} digits", "write a shorter number")
    return value


def _is_moderate(value: int | Decimal) -> bool:
    """Whether writing the (finite) number out takes at most ``EXTENT_MAX`` digits on each side."""
    if isinstance(value, int):
        limit: int = 10**EXTENT_MAX
        return abs(value) < limit
    return abs(value.adjusted()) <= EXTENT_MAX and len(value.as_tuple().digits) <= EXTENT_MAX


def _negated(node: exp.Expr, value: Value | _Interval) -> Value | _Interval:
    if value is None:
        return None
    if isinstance(value, _Interval):
        return value.negated
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        wrong(node, "minus before something that is no number", "negate numbers only")
    return -value


def _arithmetic(
    node: exp.Binary, left: Value | _Interval, right: Value | _Interval
) -> Value | _Interval:
    if left is None or right is None:
        return None
    if isinstance(right, datetime.date) and isinstance(node, exp.Add):
        left, right = right, left
    if isinstance(left, datetime.date) and isinstance(node, exp.Add | exp.Sub):
        return _date_sum(node, left, right)
    for value in (left, right):
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            wrong(node, "arithmetic on something that is no number", "compute with numbers only")
    assert isinstance(left, int | Decimal) and isinstance(right, int | Decimal)
    return _numeric(node, left, right)


def _numeric(node: exp.Binary, left: int | Decimal, right: int | Decimal) -> int | Decimal:
    """Exact: integers stay integers (except in a division), everything else is a Decimal."""
    if isinstance(left, int) and isinstance(right, int) and not isinstance(node, exp.Div):
        return _integer(node, left, right)
    try:
        a, b = _EXACT.create_decimal(left), _EXACT.create_decimal(right)
        match node:
            case exp.Add():
                return _EXACT.add(a, b)
            case exp.Sub():
                return _EXACT.subtract(a, b)
            case exp.Mul():
                return _EXACT.multiply(a, b)
        return _EXACT.divide(a, b)
    except decimal.DecimalException:
        what = f"the result of this arithmetic has no exact form of {DIGITS_MAX} digits"
        wrong(node, what, "write the constant's value")


def _integer(node: exp.Binary, left: int, right: int) -> int:
    match node:
        case exp.Add():
            result = left + right
        case exp.Sub():
            result = left - right
        case _:
            result = left * right
    if abs(result) >= 10**DIGITS_MAX:
        wrong(node, f"a number of more than {DIGITS_MAX} digits", "write a shorter number")
    return result


def _date_sum(node: exp.Binary, day: datetime.date, change: Value | _Interval) -> Value:
    sign = -1 if isinstance(node, exp.Sub) else 1
    has_time = isinstance(day, datetime.datetime) or isinstance(change, datetime.datetime)
    if isinstance(change, datetime.date) and sign < 0 and not has_time:
        return (day - change).days
    is_days = isinstance(change, int) and not isinstance(change, bool) and not has_time
    if is_days:
        change = _Interval(0, int(change))  # type: ignore[arg-type]
    if not isinstance(change, _Interval):
        fix = "add an INTERVAL, or to a date a number of days"
        wrong(node, "a date or timestamp plus or minus something else", fix)
    try:
        span = change.negated if sign < 0 else change
        moved = _add_months(at_midnight(day), span.months)
        moved += datetime.timedelta(days=span.days, microseconds=span.microseconds)
    except (OverflowError, ValueError):
        wrong(node, "this date lies outside the years 1 to 9999", "use a date inside them")
    return moved.date() if is_days else moved


def _add_months(day: datetime.datetime, months: int) -> datetime.datetime:
    """The same day ``months`` later, or the last day of a shorter month, like DuckDB."""
    index = day.year * 12 + day.month - 1 + months
    year, month = index // 12, index % 12 + 1
    if not datetime.MINYEAR <= year <= datetime.MAXYEAR:
        raise OverflowError
    last = calendar.monthrange(year, month)[1]
    return day.replace(year=year, month=month, day=min(day.day, last))


def _interval(node: exp.Interval, arguments: Arguments) -> _Interval:
    unit = str(node.args.get("unit") or "").upper().removesuffix("S")
    amount = _fold(node.this, arguments) if node.this is not None else None
    if isinstance(amount, str) and re.fullmatch(r"\s*[+-]?\d{1,9}\s*", amount):
        amount = int(amount)
    if isinstance(amount, bool) or not isinstance(amount, int) or abs(amount) > 10**9:
        refuse(node, "this form of INTERVAL", "write INTERVAL '1' YEAR, MONTH, DAY, HOUR")
    if unit in _MONTHS:
        return _Interval(amount * _MONTHS[unit], 0)
    if unit in _DAYS:
        return _Interval(0, amount * _DAYS[unit])
    if unit in _MICROSECONDS:
        return _Interval(0, 0, amount * _MICROSECONDS[unit])
    units = ", ".join([*_MONTHS, *_DAYS, *_MICROSECONDS])
    refuse(node, f"INTERVAL of {unit or 'no unit'}", f"use {units}")


def _cast(node: exp.Cast, value: Value | _Interval) -> Value:
    """A literal under CAST, DATE '...' or ``::``; refused where it would round."""
    target = node.to.this
    if value is None:
        return None
    if target in _MOMENTS and isinstance(value, str | datetime.date):
        return _moment_cast(node, value)
    if target in _BLOBS and isinstance(value, str | bytes):
        return parse_blob(value, node) if isinstance(value, str) else value
    if target is exp.DataType.Type.TEXT and isinstance(value, str):
        return value
    if target is exp.DataType.Type.BOOLEAN and isinstance(value, bool):
        return value
    if target in exp.DataType.INTEGER_TYPES or target is exp.DataType.Type.DECIMAL:
        return _number_cast(node, value)
    refuse(node, f"a CAST to {node.to.sql('duckdb')} of this constant", "write the value itself")


def _moment_cast(node: exp.Cast, value: str | datetime.date) -> datetime.date:
    if node.to.this is not exp.DataType.Type.DATE:
        return parse_timestamp(value, node) if isinstance(value, str) else at_midnight(value)
    if isinstance(value, str):
        return parse_date(value, node)
    if isinstance(value, datetime.datetime) and value != at_midnight(value.date()):
        refuse(node, "a CAST that cuts off the time of day", "write the date itself")
    return value.date() if isinstance(value, datetime.datetime) else value


def _number_cast(node: exp.Cast, value: Value | _Interval) -> int | Decimal:
    number = as_number(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | Decimal):
        refuse(node, "a CAST to a number of this constant", "write the number itself")
    if node.to.this in exp.DataType.INTEGER_TYPES:
        if int(number) != number:
            refuse(node, "a CAST that rounds", "write the rounded value")
        return int(number)
    sizes = decimal_sizes(node.to)
    scale = sizes[1] if len(sizes) == 2 else (0 if sizes else 3)
    try:
        return _EXACT.quantize(Decimal(number), Decimal(1).scaleb(-scale))
    except decimal.DecimalException:
        refuse(node, "a CAST that rounds", "write the rounded value")


def decimal_sizes(node: exp.DataType) -> list[int]:
    """Precision and scale as far as they are written. Raises: AM-2208."""
    written = [str(size.this.this) for size in node.expressions]
    if len(written) > 2 or not all(word.isascii() and word.isdigit() for word in written):
        wrong(node, "a DECIMAL with sizes that are no numbers", "write DECIMAL(12,2)")
    return [min(int(word[:9]), 1000) for word in written]


def as_number(text: str) -> int | Decimal | None:
    """The number a text literal spells, None if it spells none."""
    try:
        number = _EXACT.create_decimal(text.strip())
    except decimal.DecimalException:
        return None
    if not number.is_finite() or abs(number.adjusted()) > DIGITS_MAX:
        return None
    return int(number) if number == number.to_integral_value() else number


def parse_date(text: str, node: exp.Expr) -> datetime.date:
    """The date in ``YYYY-MM-DD``, leading zeros optional as in DuckDB. Raises: AM-2208."""
    found = _DATE.fullmatch(text.strip())
    if found is not None:
        try:
            return datetime.date(*map(int, found.groups()))
        except ValueError:
            found = None
    wrong(node, "a text that is no date", "write dates as DATE 'YYYY-MM-DD'")


def parse_timestamp(text: str, node: exp.Expr) -> datetime.datetime:
    """The timestamp in ``YYYY-MM-DD[ HH:MM[:SS[.ffffff]]]``. Raises: AM-2208."""
    found = parse_moment(text)
    if found is None:
        fix = "write TIMESTAMP 'YYYY-MM-DD HH:MM:SS.ffffff', without a time zone"
        wrong(node, "a text that is no timestamp", fix)
    return found


def parse_blob(text: str, node: exp.Expr) -> bytes:
    r"""The bytes of a text, as DuckDB casts it to BLOB. Raises: AM-2208."""
    found = blobs.parse(text)
    if found is None:
        wrong(node, "a text that is no BLOB", r"write X'AA', or '\xAA' for what is not ASCII")
    return found


def _value(given: object, label: str) -> Value:
    """A parameter as a literal's value; floats count as their shortest decimal form."""
    value = _plain(given)
    if value is None and given is not None:
        what = f"{label} is of type {type(given).__name__}"
        _unfit(what, "pass int, Decimal, float, str, bytes, bool, date, datetime or None")
    if isinstance(value, datetime.datetime):
        _require_plain(value, label)
    if isinstance(value, Decimal) and not value.is_finite():
        _unfit(f"{label} is not a finite number", "pass a finite number")
    if isinstance(value, int | Decimal) and not _is_moderate(value):
        _unfit(f"{label} has more than {EXTENT_MAX} digits", "pass a shorter number")
    return value


def _require_plain(value: datetime.datetime, label: str) -> None:
    if value.tzinfo is not None:
        _unfit(f"{label} has a time zone", "convert it to UTC and drop tzinfo")
    nanosecond: Any = getattr(value, "nanosecond", None)  # of pandas
    if nanosecond:
        _unfit(f"{label} has nanoseconds", "round it to microseconds")


def _plain(given: object) -> Value:
    """``given`` as one of the types a literal has; None if it is of no such type."""
    if isinstance(given, bool | str | bytes | Decimal | datetime.date):
        return given
    if isinstance(given, bytearray | memoryview):
        return bytes(given)
    if isinstance(given, Integral):
        return int(given)
    if isinstance(given, float):
        return Decimal(repr(float(given)))
    return bool(given) if type(given).__name__ == "bool_" else None


def _unfit(what: str, fix: str) -> NoReturn:
    fail("AM-2206", what=what, fix=fix)


def constant_text(node: exp.Expr, value: Value) -> str:
    """The name DuckDB gives a constant's column."""
    if isinstance(node, exp.Placeholder):
        return f"${node.meta['parameter'] + 1}" if not node.this else f"${node.this}"
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.date):
        kind = "TIMESTAMP" if isinstance(value, datetime.datetime) else "DATE"
        return f"CAST('{value}' AS {kind})"
    if isinstance(value, bytes):
        return f"'{blobs.spelled(value)}'"
    return f"'{value}'" if isinstance(value, str) else str(value)


def integer_at_least_zero(node: exp.Expr, arguments: Arguments, what: str) -> int | None:
    """LIMIT's and OFFSET's number; None for NULL.

    Raises: AM-2205 for the answer of a subquery: how many rows are fetched would show it. AM-2208.
    """
    if is_answered(node):
        refuse(node, f"{what} by the answer of a subquery, which would show", "write the number")
    value = literal(node, arguments).value
    if isinstance(value, str):
        value = as_number(value)
        value = -1 if value is None else value
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        fail(
            "AM-2208", what=f"{what} must be a whole number", where=where(node), fix="use 0 or more"
        )
    return value
