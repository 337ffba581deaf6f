"""Timestamps: microseconds since 1970-01-01 00:00, without a time zone, in the years 1 to 9999."""

from __future__ import annotations

import datetime
import re

DAY_MICROSECONDS = 86_400_000_000
_EPOCH = datetime.datetime(1970, 1, 1)
_UNIT = datetime.timedelta(microseconds=1)
_TEXT = re.compile(
    r"([0-9]{1,4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:(?:T| +)([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2})(?:\.([0-9]{1,9}))?)?)?"
)
_FRACTION_DIGITS = 6
FIRST = (datetime.datetime.min - _EPOCH) // _UNIT
LAST = (datetime.datetime.max - _EPOCH) // _UNIT


def microseconds(moment: datetime.date) -> int:
    """The storage value of a timestamp; of a date that of its midnight."""
    return (at_midnight(moment) - _EPOCH) // _UNIT


def at_midnight(moment: datetime.date) -> datetime.datetime:
    """A date as the timestamp that DuckDB compares it as; a timestamp as it is."""
    if isinstance(moment, datetime.datetime):
        return moment
    return datetime.datetime(moment.year, moment.month, moment.day)


def of_microseconds(value: int) -> datetime.datetime:
    """The timestamp of a storage value."""
    return _EPOCH + datetime.timedelta(microseconds=value)


def parse(text: str) -> datetime.datetime | None:
    """The timestamp that ``YYYY-MM-DD[ HH:MM[:SS[.ffffff]]]`` spells, T for the blank allowed.

    None for anything else: also for a seventh digit of the fraction and for a time zone, which
    DuckDB drops.
    """
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        return None
    *fields, fraction = found.groups()
    fraction = fraction or ""
    if fraction[_FRACTION_DIGITS:].strip("0"):
        return None
    micro = int(fraction[:_FRACTION_DIGITS].ljust(_FRACTION_DIGITS, "0"))
    year, month, day, hour, minute, second = (int(field or 0) for field in fields)
    try:
        return datetime.datetime(year, month, day, hour, minute, second, micro)
    except ValueError:
        return None
