"""Canaries: secret uniform places, plausible rows, and blocks that open only where they belong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from columns_support import KEYS, RNG, TestKeys, full_row, full_table, make_table, quick, thorough
from hypothesis import given
from hypothesis import strategies as st

from amaters.base.errors import DataError, InternalError
from amaters.columns import canaries, draw, types
from amaters.columns import declare as am
from amaters.columns.batch import ColumnBatch
from amaters.columns.canaries import CANARIES, Planted, plant
from amaters.columns.fakekeys import fake_keys
from amaters.columns.schema import Table

TABLE = full_table()
SPARSE = [full_row(number) for number in range(0, 3000, 3)]
BATCH = ColumnBatch.from_rows(TABLE, SPARSE)
SEGMENT = b"segment-id------"


def plain_block() -> bytes:
    """What a sealed block of three canaries holds, opened without being parsed."""
    block = plant(TABLE, BATCH.slice(0, 9), rng=RNG, count=3).canaries
    sealed = canaries.seal_canaries(KEYS, TABLE, SEGMENT, block, rng=RNG)
    plain = canaries.open_one(KEYS, canaries._LABEL, sealed, TABLE.id + SEGMENT)
    assert plain is not None
    return plain


PLAIN_BLOCK = plain_block()


def real_rows(table: Table, planted: Planted) -> list[Any]:
    is_real = np.ones(planted.rows.length, dtype=bool)
    is_real[planted.canaries.positions] = False
    return planted.rows.take(is_real).rows(table.columns)


def test_real_rows_are_all_there_in_order() -> None:
    """Taking the canaries out leaves the batch; putting them in kept the order of the keys."""
    planted = plant(TABLE, BATCH, rng=RNG)
    assert real_rows(TABLE, planted) == SPARSE
    assert planted.rows.length == len(SPARSE) + CANARIES
    keys = planted.rows.columns[1].values
    assert (np.diff(keys) > 0).all()
    block = planted.canaries
    assert planted.rows.take(block.positions).rows(TABLE.columns) == block.rows.rows(TABLE.columns)
    assert (np.diff(block.positions) > 0).all() and len(block.positions) == CANARIES


def test_canaries_obey_the_table() -> None:
    """They pass the validation of inserts, and their public columns are those of real rows."""
    planted = plant(TABLE, BATCH, rng=RNG)
    rows = planted.canaries.rows.rows(TABLE.columns)
    ColumnBatch.from_rows(TABLE, rows)
    public = {(row[1], row[11]) for row in SPARSE}
    assert {(row[1], row[11]) for row in rows} <= public
    assert {row[6] for row in rows} <= {row[6] for row in SPARSE}, "eq TEXT has known codes only"


def test_values_are_spread() -> None:
    """Half of the values cover the domain evenly, though real values crowd in one corner of it."""
    table = make_table({"id": am.Int64(primary_key=True), "x": am.Int32(encrypt=["range"])})
    batch = ColumnBatch.from_rows(table, [(3 * n, n % 5) for n in range(500)])
    values = plant(table, batch, rng=RNG).canaries.rows.columns[2].values.tolist()
    eighths = Counter((value + 2**31) * 8 // 2**32 for value in values if not 0 <= value < 5)
    assert set(eighths) == set(range(8)) and min(eighths.values()) >= 3
    assert sum(0 <= value < 5 for value in values) == CANARIES // 2


def test_positions_are_uniform() -> None:
    """Chi-square over 16 parts of the segment, with rowids and with keys that leave even gaps."""
    table = make_table({"x": am.Int8(encrypt=["eq"])})
    dense = ColumnBatch.from_rows(table, [(n % 100,) for n in range(960)])
    keyed = ColumnBatch.from_rows(TABLE, SPARSE[:960])
    for make in (
        lambda: plant(table, dense, rng=RNG, first_key=1),
        lambda: plant(TABLE, keyed, rng=RNG),
    ):
        found = np.concatenate([make().canaries.positions for _ in range(40)])
        counts = np.bincount(found * 16 // 1024, minlength=16)
        expected = 40 * CANARIES / 16
        # 15 degrees of freedom: above 60 with probability 2e-7.
        assert float(((counts - expected) ** 2 / expected).sum()) < 60


def test_positions_are_fresh() -> None:
    """Two segments of the same rows have other canaries at other places."""
    first, second = (plant(TABLE, BATCH, rng=RNG).canaries for _ in range(2))
    assert first.positions.tolist() != second.positions.tolist()
    assert first.rows.rows(TABLE.columns) != second.rows.rows(TABLE.columns)


def test_rowids_leave_no_trace() -> None:
    """With the hidden rowid, keys are consecutive through canaries and real rows."""
    table = make_table({"x": am.Int8(encrypt=["eq"])})
    batch = ColumnBatch.from_rows(table, [(n % 100,) for n in range(300)])
    planted = plant(table, batch, rng=RNG, first_key=1000)
    keys = planted.rows.columns[table.primary_key.id].values
    assert keys.tolist() == list(range(1000, 1000 + 300 + CANARIES))
    with pytest.raises(InternalError):
        plant(table, batch, rng=RNG)


def test_few_rows_and_no_rows() -> None:
    """A dense, tiny or full key space gives as many canaries as it has room for."""
    table = make_table({"id": am.UInt8(primary_key=True), "x": am.Int8(encrypt=["eq"])})
    full = ColumnBatch.from_rows(table, [(n, 1) for n in range(250)])
    assert len(plant(table, full, rng=RNG).canaries.positions) == 6
    assert plant(table, full.slice(0, 0), rng=RNG).rows.length == 0
    one = plant(table, full.slice(7, 8), rng=RNG)
    assert real_rows(table, one) == [(7, 1)]
    assert len({row[0] for row in one.rows.rows(table.columns)}) == 1 + CANARIES


@quick
@given(
    st.lists(st.integers(-128, 127), min_size=1, unique=True),
    st.sets(st.integers(-128, 127), max_size=30),
    st.integers(0, 20),
)
def test_fake_numbers_are_free(keys: list[int], taken: set[int], count: int) -> None:
    """Never a used or refused key, ascending, and as many as asked for while any are free."""
    found = fake_keys(types.integer(8), keys, count, taken=taken, rng=RNG)
    assert found == sorted(set(found))
    assert not {*keys, *taken} & set(found)
    assert all(-128 <= key <= 127 for key in found)
    assert len(found) <= count


@quick
@given(st.lists(st.text(max_size=4), min_size=1, unique=True), st.sets(st.text(max_size=2)))
def test_fake_texts_are_free(keys: list[str], taken: set[str]) -> None:
    """Text keys: never used, never refused, ascending, always enough."""
    found = fake_keys(types.TEXT, keys, 9, taken=taken, rng=RNG)
    assert len(set(found)) == 9 and found == sorted(found)
    assert not {*keys, *taken} & set(found)


def test_keys_that_count_on_meet_no_canary() -> None:
    """Behind keys without gaps there is room: the next million keys take no canary's place."""
    found = fake_keys(types.BIGINT, list(range(1, 1001)), 64, taken=(), rng=RNG)
    assert len(found) == 64 and found[0] > 1_001_000
    small = fake_keys(types.integer(16), list(range(100)), 64, taken=(), rng=RNG)
    assert len(small) == 64 and small[0] > 10_000 and small[-1] <= 2**15 - 1


def test_fake_keys_over_64_bits() -> None:
    """Keys at both ends of an int64 leave the whole type between them."""
    keys = [-(2**63), 2**63 - 1]
    found = fake_keys(types.BIGINT, keys, 50, taken=(), rng=RNG)
    assert len(set(found)) == 50 and keys[0] < found[0] and found[-1] < keys[1]


def test_block_round_trip_and_binding() -> None:
    """A block opens for its table and segment under its keyset, and for nothing else."""
    block = plant(TABLE, BATCH, rng=RNG).canaries
    sealed = canaries.seal_canaries(KEYS, TABLE, SEGMENT, block, rng=RNG)
    opened = canaries.open_canaries(KEYS, TABLE, SEGMENT, sealed)
    assert opened.positions.tolist() == block.positions.tolist()
    assert opened.rows.rows(TABLE.columns) == block.rows.rows(TABLE.columns)
    other = replace(TABLE, id=b"o" * 16)
    attempts: list[tuple[Any, ...]] = [
        (KEYS, other, SEGMENT, sealed),
        (KEYS, TABLE, b"segment-id-other", sealed),
        (TestKeys(sealing_key=b"t" * 32), TABLE, SEGMENT, sealed),
        (KEYS, TABLE, SEGMENT, sealed[:-1]),
        (KEYS, TABLE, SEGMENT, b""),
        (KEYS, TABLE, SEGMENT, sealed[:99] + bytes([sealed[99] ^ 1]) + sealed[100:]),
    ]
    for attempt in attempts:
        with pytest.raises(DataError, match="AM-2054"):
            canaries.open_canaries(*attempt)


def test_block_without_canaries() -> None:
    """An empty block is a block."""
    block = plant(TABLE, BATCH, rng=RNG, count=0).canaries
    sealed = canaries.seal_canaries(KEYS, TABLE, SEGMENT, block, rng=RNG)
    assert len(canaries.open_canaries(KEYS, TABLE, SEGMENT, sealed).positions) == 0


@thorough
@given(st.data())
def test_block_parser_survives_any_bytes(data: st.DataObject) -> None:
    """Random plaintexts, and a real one with random changes: a block or None."""
    plain = bytearray(data.draw(st.binary(max_size=80) | st.just(PLAIN_BLOCK)))
    for _ in range(data.draw(st.integers(0, 3))):
        if plain:
            plain[data.draw(st.integers(0, len(plain) - 1))] = data.draw(st.integers(0, 255))
    found = canaries.decode_block(TABLE, bytes(plain))
    if found is not None:
        assert found.rows.length == len(found.positions)


def test_draws_are_uniform() -> None:
    """below, distinct_below and permutation: chi-square over small spaces."""
    counts = Counter(draw.below(RNG, 6) for _ in range(6000))
    subsets = Counter(tuple(draw.distinct_below(RNG, 4, 2).tolist()) for _ in range(6000))
    orders = Counter(tuple(draw.permutation(RNG, 3)) for _ in range(6000))
    for found in (counts, subsets, orders):
        assert len(found) == 6
        # 5 degrees of freedom: above 40 with probability 1.5e-7.
        assert sum((count - 1000) ** 2 / 1000 for count in found.values()) < 40
    assert draw.below(RNG, 1) == 0
    assert draw.distinct_below(RNG, 5, 5).tolist() == [0, 1, 2, 3, 4]
