"""Codes of an ``eq`` TEXT column: 0, 1, 2, ... in order of first use, known to clients only.

A dictionary is part of the sealed schema, so it changes by compare-and-set on the schema's
version: the client that loses the race opens the newer schema and assigns its missing codes again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from amaters.base.errors import fail

DICTIONARY_BITS = 16
DICTIONARY_VALUES_MAX = 1 << DICTIONARY_BITS
DICTIONARY_BYTES_MAX = 8 << 20  # sealed into the schema, which travels as one message


@dataclass(frozen=True)
class Dictionary:
    """Immutable list of values; the code of a value is its position."""

    values: tuple[str, ...]

    @cached_property
    def codes(self) -> Mapping[str, int]:
        """Code of each value."""
        return {value: code for code, value in enumerate(self.values)}

    def code(self, value: str) -> int | None:
        """The code of ``value``, or None if it was never stored (an equality then never
        matches).
        """
        return self.codes.get(value)

    def extended(self, values: Iterable[str], *, column: str) -> Dictionary:
        """This dictionary with codes for all ``values``; itself when none is new.

        Raises: AM-2013 when more than 65,536 values or 8 MiB of text would be stored.
        """
        new = [value for value in dict.fromkeys(values) if value not in self.codes]
        if not new:
            return self
        if len(self.values) + len(new) > DICTIONARY_VALUES_MAX:
            fail("AM-2013", column=column, limit=f"{DICTIONARY_VALUES_MAX} different values")
        if self._bytes + sum(len(value.encode()) for value in new) > DICTIONARY_BYTES_MAX:
            fail("AM-2013", column=column, limit=f"{DICTIONARY_BYTES_MAX} bytes of text")
        return Dictionary(self.values + tuple(new))

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest value."""
        return max((len(value.encode()) for value in self.values), default=0)

    @cached_property
    def _bytes(self) -> int:
        return sum(len(value.encode()) for value in self.values)
