"""Sorted runs and encoded entries: the same order and the same answers as a plain list."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from amaters.storage.index_runs import (
    Bound,
    IndexedField,
    KeyRange,
    Run,
    encode_values,
    has_repeats,
)
from amaters.storage.stored_runs import StoredRun

SIGNED = st.integers(-(1 << 63), (1 << 63) - 1)
UNSIGNED = st.integers(0, (1 << 64) - 1)
FEW = st.integers(-3, 3)
TEXTS = st.text(alphabet=st.sampled_from("\0\1aé\U0001f600\ud7ff\uffff"), max_size=4)
KINDS = {
    "signed": (SIGNED, np.dtype(np.int64)),
    "unsigned": (UNSIGNED, np.dtype(np.uint64)),
    "few": (FEW, np.dtype(np.int64)),
    "text": (TEXTS, np.dtype(object)),
}


def field(column: int, dtype: np.dtype, values: list) -> IndexedField:
    filled = ["" if dtype.kind == "O" else 0] * len(values)
    kept = [empty if value is None else value for value, empty in zip(values, filled, strict=True)]
    made = np.empty(len(values), dtype=dtype)
    made[:] = kept
    return IndexedField(column, made, np.array([value is not None for value in values]))


def order(values: tuple) -> tuple:
    """Python's order with NULL last."""
    return tuple((value is None, 0 if value is None else value) for value in values)


def holds(wanted: KeyRange, values: tuple) -> bool:
    """What a range means, row by row."""
    for known, value in zip(wanted.prefix, values, strict=False):
        if value is None or value != known:
            return False
    if wanted.low is None and wanted.high is None:
        return True
    value = values[len(wanted.prefix)]
    if value is None:
        return False
    low, high = wanted.low, wanted.high
    above = low is None or value > low.value or (low.inclusive and value == low.value)
    below = high is None or value < high.value or (high.inclusive and value == high.value)
    return above and below


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[tuple]]:
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3))
    cell = [st.none() | KINDS[kind][0] for kind in kinds]
    return kinds, draw(st.lists(st.tuples(*cell), min_size=1, max_size=40))


@st.composite
def ranges(draw: st.DrawFn, kinds: list[str], rows: list[tuple]) -> KeyRange:
    """A range near what the rows hold."""
    length = draw(st.integers(0, len(kinds)))

    def near(column: int) -> object:
        known = [row[column] for row in rows if row[column] is not None]
        values = KINDS[kinds[column]][0]
        return draw(st.sampled_from(known) | values if known else values)

    prefix = tuple(near(column) for column in range(length))
    if length == len(kinds):
        return KeyRange(prefix)
    low = Bound(near(length), draw(st.booleans())) if draw(st.booleans()) else None
    high = Bound(near(length), draw(st.booleans())) if draw(st.booleans()) else None
    return KeyRange(prefix, low, high)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_ranges_find_what_a_look_at_every_row_finds(data: st.DataObject) -> None:
    """A stored run and the encoded interval agree with
    the row-by-row meaning, for integers of both signs, texts with every awkward character, NULLs.
    """
    kinds, rows = data.draw(tables())
    columns = [
        field(10 + i, KINDS[kind][1], [row[i] for row in rows]) for i, kind in enumerate(kinds)
    ]
    slots = np.arange(7, 7 + len(rows))
    run = Run.of(columns, slots)
    wanted = data.draw(ranges(kinds, rows))
    expected = {7 + at for at, row in enumerate(rows) if holds(wanted, row)}
    stored = StoredRun(run.encode(), [f.column for f in columns])
    assert set(stored.find(wanted).tolist()) == expected
    first, end = wanted.interval()
    encoded = {7 + at for at, row in enumerate(rows) if first <= encode_values(row) < end}
    assert encoded == expected


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_encoded_entries_have_the_order_of_their_values(data: st.DataObject) -> None:
    """Bytes compare as the values do, NULL last, and a run is in that order with its ends."""
    kinds, rows = data.draw(tables())
    assert sorted(rows, key=order) == sorted(rows, key=encode_values)
    columns = [field(1 + i, KINDS[kind][1], [r[i] for r in rows]) for i, kind in enumerate(kinds)]
    made = Run.of(columns, np.arange(len(rows)))
    run = Run.decode(made.encode(), [f.column for f in columns])
    listed = [encode_values(rows[slot]) for slot in run.slots.tolist()]
    assert listed == sorted(listed)
    assert run.ends == (listed[0], listed[-1])
    whole = [row for row in rows if None not in row]
    assert has_repeats(columns, range(len(rows))) == (len(set(whole)) != len(whole))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_first_look_never_misses(data: st.DataObject) -> None:
    """``holding`` is exactly membership in the first column."""
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    values, dtype = KINDS[kind]
    rows = data.draw(st.lists(st.none() | values, min_size=1, max_size=30))
    asked = data.draw(st.lists(values, min_size=1, max_size=10)) + [
        r for r in rows if r is not None
    ]
    run = Run.of([field(1, dtype, rows)], np.arange(len(rows)))
    stored = StoredRun(run.encode(), [1])
    assert stored.holding(asked).tolist() == [value in rows for value in asked]
