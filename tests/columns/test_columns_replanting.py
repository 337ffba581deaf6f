"""Canaries that outlive their segment: carried along by a rewrite, or lying in a shared segment."""

from __future__ import annotations

import numpy as np
import pytest
from columns_support import KEYS, RNG, full_row, full_table

from amaters.columns import canaries
from amaters.columns.batch import ColumnBatch, empty
from amaters.columns.canaries import (
    CANARIES,
    in_window,
    joined_canaries,
    open_canaries,
    plant,
    replant,
    seal_canaries,
    with_witnesses,
)

TABLE = full_table()
BATCH = ColumnBatch.from_rows(TABLE, [full_row(number) for number in range(0, 900, 3)])
SEGMENT = b"segment-id------"


@pytest.mark.parametrize("carried", [0, 20, CANARIES, CANARIES + 30])
def test_carried_canaries_stay_canaries(carried: int) -> None:
    """Old ones keep their values and keys, fresh ones fill up to 64, real rows are all there, and
    everything is in the order of its keys.
    """
    old = plant(TABLE, BATCH, rng=RNG, count=carried).canaries.rows
    made = replant(TABLE, BATCH, old, rng=RNG)
    block = made.canaries
    assert len(block.positions) == max(carried, CANARIES)
    fakes = block.rows.rows(TABLE.columns)
    assert set(old.rows(TABLE.columns)) <= set(fakes)
    assert made.rows.take(block.positions).rows(TABLE.columns) == fakes
    real = np.setdiff1d(np.arange(made.rows.length), block.positions)
    assert made.rows.take(real).rows(TABLE.columns) == BATCH.rows(TABLE.columns)
    assert (np.diff(made.rows.columns[1].values) > 0).all()


def test_a_shared_segment_has_the_canaries_of_its_parts() -> None:
    """Positions are slots of the whole segment; what a part stands for is sealed with it."""
    first = in_window(plant(TABLE, BATCH.slice(0, 50), rng=RNG, count=4).canaries, 0, 54)
    second = in_window(plant(TABLE, BATCH.slice(50, 90), rng=RNG, count=3).canaries, 54, 43)
    opened = [
        open_canaries(KEYS, TABLE, SEGMENT, seal_canaries(KEYS, TABLE, SEGMENT, block, rng=RNG))
        for block in (second, first)
    ]
    assert [block.window for block in opened] == [(54, 43), (0, 54)]
    joined = joined_canaries(opened)
    assert joined.positions.tolist() == [*first.positions, *second.positions]
    both = [*first.rows.rows(TABLE.columns), *second.rows.rows(TABLE.columns)]
    assert joined.rows.rows(TABLE.columns) == both


def test_witnesses_are_real_rows_that_travel_with_the_canaries() -> None:
    """64 of the real rows, drawn anew each time, sealed beside the canaries; damage is no block."""
    first, second = (replant(TABLE, BATCH, empty(TABLE.columns), rng=RNG) for _ in range(2))
    assert first.canaries.witnesses is not None and second.canaries.witnesses is not None
    slots, rows = first.canaries.witnesses
    assert len(slots) == CANARIES and set(slots).isdisjoint(first.canaries.positions)
    assert first.rows.take(slots).rows(TABLE.columns) == rows.rows(TABLE.columns)
    assert slots.tolist() != second.canaries.witnesses[0].tolist()
    sealed = seal_canaries(KEYS, TABLE, SEGMENT, first.canaries, rng=RNG)
    opened = open_canaries(KEYS, TABLE, SEGMENT, sealed)
    assert opened.window is None and opened.witnesses is not None
    assert opened.positions.tolist() == first.canaries.positions.tolist()
    assert opened.rows.rows(TABLE.columns) == first.canaries.rows.rows(TABLE.columns)
    assert opened.witnesses[0].tolist() == slots.tolist()
    assert opened.witnesses[1].rows(TABLE.columns) == rows.rows(TABLE.columns)
    plain = canaries.open_one(KEYS, canaries._LABEL, sealed, TABLE.id + SEGMENT)
    assert plain is not None
    end = len(plain.rstrip(b"\0"))
    assert all(canaries.decode_block(TABLE, plain[:cut]) is None for cut in range(0, end - 8, 97))


def test_few_rows_are_all_witnesses() -> None:
    """There are never more witnesses than real rows."""
    made = with_witnesses(plant(TABLE, BATCH.slice(0, 5), rng=RNG), rng=RNG)
    assert made.canaries.witnesses is not None and len(made.canaries.witnesses[0]) == 5


def test_a_window_cannot_be_left_out() -> None:
    """A block that says it is a part's but is too short for its window is no block."""
    block = in_window(plant(TABLE, BATCH.slice(0, 0), rng=RNG, count=0).canaries, 7, 9)
    sealed = seal_canaries(KEYS, TABLE, SEGMENT, block, rng=RNG)
    plain = canaries.open_one(KEYS, canaries._LABEL, sealed, TABLE.id + SEGMENT)
    assert plain is not None
    for length in range(13):
        assert canaries.decode_block(TABLE, plain[:length]) is None
