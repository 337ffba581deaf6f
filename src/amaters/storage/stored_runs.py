"""Runs as they lie in the state, searched without making values of more rows than are looked at."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from amaters.storage.index_runs import SLOTS, Bound, KeyRange, Slots
from amaters.storage.rows import Key
from amaters.wire import blocks

Span = tuple[int, int]


class StoredRun:
    """The sorted entries of one place. Raises: AM-3002 for bytes that are no run."""

    def __init__(self, data: bytes, columns: Sequence[int]) -> None:
        frame = blocks.Frame(data)
        self.size = frame.size
        self.slots: Slots = frame.column(SLOTS)[0]
        self._columns = [_sorted(frame, column) for column in columns]

    def find(self, wanted: KeyRange) -> Slots:
        """The slots of the entries in a range, unordered. Cost: a few binary searches."""
        span = 0, len(self.slots)
        for column, value in zip(self._columns, wanted.prefix, strict=False):
            span = _between(column, span, Bound(value), Bound(value))
        if wanted.low is not None or wanted.high is not None:
            column = self._columns[len(wanted.prefix)]
            span = _between(column, span, wanted.low, wanted.high)
        return self.slots[span[0] : span[1]]

    def holding(self, values: Sequence[Key]) -> NDArray[np.bool_]:
        """Which of ``values`` occur in the first column (a fast first look)."""
        return self._columns[0].holding(values)


class _Column(Protocol):
    """One in the order of its run: where those before it are equal it ascends, NULL last."""

    def whole(self, span: Span) -> int:
        """Where in a span NULL begins."""

    def position(self, span: Span, value: Key, *, right: bool) -> int:
        """Where in a span without NULL a value belongs, before or behind those that equal it."""

    def holding(self, values: Sequence[Key]) -> NDArray[np.bool_]:
        """Which of ``values`` occur, if this is the first column."""


def _sorted(frame: blocks.Frame, column: int) -> _Column:
    array = frame.array(column)
    nulls = None if array.null_count == 0 else array.is_valid().to_numpy(zero_copy_only=False)
    if blocks.is_text(array):
        return _Texts(array, nulls)
    return _Numbers(frame.column(column)[0], nulls)


def _between(column: _Column, span: Span, low: Bound | None, high: Bound | None) -> Span:
    """The part of an ordered span whose values lie between the bounds."""
    span = span[0], column.whole(span)
    first, last = span
    if low is not None:
        first = column.position(span, low.value, right=not low.inclusive)
    if high is not None:
        last = column.position(span, high.value, right=high.inclusive)
    return first, max(first, last)


class _Nullable:
    def __init__(self, valid: blocks.Valid | None) -> None:
        self._valid = valid  # None: all

    def whole(self, span: Span) -> int:
        if self._valid is None:
            return span[1]
        return span[0] + int(np.count_nonzero(self._valid[span[0] : span[1]]))


class _Numbers(_Nullable):
    """64-bit integers of either sign."""

    def __init__(self, values: blocks.Values, valid: blocks.Valid | None) -> None:
        super().__init__(valid)
        self._values = values

    def position(self, span: Span, value: Key, *, right: bool) -> int:
        part = self._values[span[0] : span[1]]
        wanted = np.array([value], dtype=part.dtype)
        return span[0] + int(np.searchsorted(part, wanted, side="right" if right else "left")[0])

    def holding(self, values: Sequence[Key]) -> NDArray[np.bool_]:
        known = self._values[: self.whole((0, len(self._values)))]
        wanted = np.array(values, dtype=known.dtype)
        at = np.searchsorted(known, wanted)
        inside = at < len(known)
        found: NDArray[np.bool_] = inside.copy()
        found[inside] = known[at[inside]] == wanted[inside]
        return found


class _Texts(_Nullable):
    """Texts that stay in Arrow's memory: one becomes a Python object when it is compared."""

    def __init__(self, array: Any, valid: blocks.Valid | None) -> None:
        super().__init__(valid)
        self._array = array

    def __getitem__(self, at: int) -> str:
        return str(self._array[at].as_py())

    def __len__(self) -> int:
        return len(self._array)

    def position(self, span: Span, value: Key, *, right: bool) -> int:
        bisect = bisect_right if right else bisect_left
        return bisect(self, str(value), *span)

    def holding(self, values: Sequence[Key]) -> NDArray[np.bool_]:
        return blocks.texts_in(values, self._array)
