"""Sorted runs: what a secondary index knows of one place, and how it is searched.

A place's rows never change, so neither does its run: the entries of all its rows, dead ones
included, in order of their values. Whoever reads applies the liveness of the version it reads, so
one run serves every version. NULL comes after all values.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from amaters.storage.rows import Key
from amaters.wire import blocks

SLOTS = 0  # the column of a run's block that holds the slots; ids of real columns start at 1
_STAMP_BYTES = 8
_VALUE, _NULL, _ABOVE = b"\x01", b"\x02", b"\xff"
_TEXT_END = b"\0\0"
_OFFSET, _WIDTH = 1 << 63, 9  # signed and unsigned 64-bit integers, in one order

Slots = NDArray[np.int64]
_NOWHERE: Slots = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class IndexedField:
    """The values of one column over all rows of a place. Shape: values, valid (rows,)."""

    column: int
    values: blocks.Values
    valid: blocks.Valid

    def behind(self, first: int) -> IndexedField:
        """Without the rows before ``first``."""
        if not first:
            return self
        return IndexedField(self.column, self.values[first:], self.valid[first:])


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a range."""

    value: Key
    inclusive: bool = True


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Entries whose first columns equal ``prefix`` and whose next one lies between the bounds.

    Values are storage values of the columns' types. A NULL equals nothing and lies between no
    bounds; without bounds what follows the prefix may be anything.
    """

    prefix: tuple[Key, ...] = ()
    low: Bound | None = None
    high: Bound | None = None

    def interval(self) -> tuple[bytes, bytes]:
        """The encoded entries in it: from the first up to, not including, the second."""
        start = encode_values(self.prefix)
        if self.low is None and self.high is None:
            return start, start + _ABOVE
        first, last = start + _VALUE, start + _NULL
        if self.low is not None:
            first = start + encode_values((self.low.value,))
            first += b"" if self.low.inclusive else _ABOVE
        if self.high is not None:
            last = start + encode_values((self.high.value,))
            last += _ABOVE if self.high.inclusive else b""
        return first, last


def encode_values(values: Sequence[Key | None]) -> bytes:
    """Bytes in the order of the values, NULL last; none is a prefix of another of its length.

    Integers of 64 bits of either sign are 10 bytes, texts in order of their code points.
    """
    parts = []
    for value in values:
        if value is None:
            parts.append(_NULL)
        elif isinstance(value, str):
            parts.append(_VALUE + value.encode().replace(b"\0", b"\0\xff") + _TEXT_END)
        else:
            parts.append(_VALUE + (value + _OFFSET).to_bytes(_WIDTH, "big"))
    return b"".join(parts)


def encode_rows(fields: Sequence[IndexedField]) -> list[bytes]:
    """``encode_values`` of every row."""
    return [encode_values(values) for values in listed(fields)]


def listed(
    fields: Sequence[IndexedField], rows: Sequence[int] | None = None
) -> list[tuple[Key | None, ...]]:
    """The rows, or some of them, as tuples."""
    if rows is not None:
        at = np.array(rows, dtype=np.int64)
        fields = [IndexedField(f.column, f.values[at], f.valid[at]) for f in fields]
    columns = [
        [
            value if ok else None
            for value, ok in zip(f.values.tolist(), f.valid.tolist(), strict=True)
        ]
        for f in fields
    ]
    return list(zip(*columns, strict=True))


@dataclass(frozen=True, slots=True)
class Run:
    """Entries of one place in order. Shape: slots and each field (rows,)."""

    fields: tuple[IndexedField, ...]
    slots: Slots

    @classmethod
    def of(cls, fields: Sequence[IndexedField], slots: Slots) -> Run:
        """The run of a place whose rows have these slots. Cost: a sort."""
        order = _order(fields)
        made = tuple(IndexedField(f.column, f.values[order], f.valid[order]) for f in fields)
        return cls(made, slots[order])

    @property
    def rows(self) -> int:
        return len(self.slots)

    @property
    def ends(self) -> tuple[bytes, bytes]:
        """The first and the last entry, encoded; there is at least one."""
        first, last = listed(self.fields, [0, self.rows - 1])
        return encode_values(first), encode_values(last)

    def encode(self) -> bytes:
        columns: dict[int, tuple[blocks.Values, blocks.Valid | None]] = {SLOTS: (self.slots, None)}
        columns.update({field.column: (field.values, field.valid) for field in self.fields})
        return blocks.encode_block(columns)

    @classmethod
    def decode(cls, data: bytes, columns: Sequence[int]) -> Run:
        """Raises: AM-3002."""
        block = blocks.decode_block(data)
        fields = tuple(IndexedField(column, *block.columns[column]) for column in columns)
        return cls(fields, block.columns[SLOTS][0])


def stamp_of(data: bytes) -> bytes:
    """Tells the runs apart that one place number may have had."""
    return blake3(data).digest(length=_STAMP_BYTES)


def _order(fields: Sequence[IndexedField]) -> Slots:
    """The rows in order of the fields, rows that are equal in the order they were."""
    keys: list[NDArray[np.int64 | np.uint64 | np.bool_]] = []
    for field in fields:
        values = field.values
        if values.dtype == object:
            values = np.unique(values, return_inverse=True)[1]
        keys.extend((~field.valid, np.where(field.valid, values, values.dtype.type(0))))
    # lexsort takes the most significant key last.
    return np.lexsort(tuple(reversed(keys))).astype(np.int64)


def has_repeats(fields: Sequence[IndexedField], rows: Sequence[int]) -> bool:
    """Whether two of ``rows`` agree in all fields, none of them NULL."""
    whole = [values for values in listed(fields, rows) if None not in values]
    return len(set(whole)) != len(whole)


def total_of(runs: Sequence[Slots]) -> Slots:
    """Slots of several ranges, each once, ascending."""
    found = [slots for slots in runs if len(slots)]
    if len(found) > 1:
        return np.unique(np.concatenate(found))
    return np.sort(found[0]) if found else _NOWHERE


assert all(a < b for a, b in itertools.pairwise((b"", _VALUE, _NULL, _ABOVE)))
