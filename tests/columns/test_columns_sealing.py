"""Sealed rows: they open where they belong and nowhere else, and their lengths say little."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from columns_support import KEYS, RNG, TestKeys, full_row, full_table, make_table, quick, thorough
from hypothesis import given
from hypothesis import strategies as st

from amaters.base.errors import DataError
from amaters.columns import declare as am
from amaters.columns import rowcodec, sealing
from amaters.columns.batch import ColumnBatch, ColumnValues
from amaters.columns.rowcodec import padme
from amaters.columns.schema import Table

TABLE = full_table()
ROWS = [full_row(number) for number in range(50)]
BATCH = ColumnBatch.from_rows(TABLE, ROWS)
SECRET = [c for c in TABLE.columns if c.encrypted]


def keys_of(table: Table, batch: ColumnBatch) -> ColumnValues:
    return batch.columns[table.primary_key.id]


def seal(table: Table = TABLE, batch: ColumnBatch = BATCH, version: int = 7) -> list[bytes]:
    return sealing.seal_rows(KEYS, table, batch, row_version=version, rng=RNG)


def test_round_trip() -> None:
    """All encrypted columns come back from the boxes, for every type and NULL."""
    opened = sealing.open_rows(KEYS, TABLE, seal(), keys_of(TABLE, BATCH), row_version=7)
    assert opened.rows(SECRET) == BATCH.rows(SECRET)
    assert set(opened.columns) == {column.id for column in SECRET}


@quick
@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=9),
                          st.none() | st.text(st.characters(codec="utf-8"), max_size=90),
                          st.none() | st.integers(-(2**63), 2**63 - 1)),
                max_size=5, unique_by=lambda row: row[0]))  # fmt: skip
def test_round_trip_with_text_keys(rows: list[Any]) -> None:
    """Text keys and texts of any content and length round-trip."""
    table = make_table(
        {
            "key": am.Text(primary_key=True),
            "note": am.Text(encrypt=[], nullable=True),
            "number": am.Int64(encrypt=["sum"], nullable=True),
        }
    )
    batch = ColumnBatch.from_rows(table, rows)
    versions = np.arange(len(rows), dtype=np.uint64)
    boxes = sealing.seal_rows(KEYS, table, batch, row_version=versions, rng=RNG)
    opened = sealing.open_rows(KEYS, table, boxes, keys_of(table, batch), row_version=versions)
    assert opened.rows(table.encrypted_columns) == [row[1:] for row in rows]


def test_boxes_are_bound_to_their_place() -> None:
    """Another table, key, row version or keyset, swapped or missing boxes: a typed error."""
    boxes, keys = seal(), keys_of(TABLE, BATCH)
    other_keys = ColumnValues(keys.values + 1, keys.valid)
    attempts: list[tuple[Any, ...]] = [
        (KEYS, replace(TABLE, id=b"x" * 16), boxes, keys, 7),
        (KEYS, TABLE, boxes, other_keys, 7),
        (KEYS, TABLE, boxes, keys, 8),
        (TestKeys(sealing_key=b"t" * 32), TABLE, boxes, keys, 7),
        (KEYS, TABLE, boxes[::-1], keys, 7),
        (KEYS, TABLE, boxes[:-1], keys, 7),
    ]
    for who, table, given_boxes, given_keys, version in attempts:
        with pytest.raises(DataError, match="AM-2053"):
            sealing.open_rows(who, table, given_boxes, given_keys, row_version=version)


@thorough
@given(st.data())
def test_any_change_is_noticed(data: st.DataObject) -> None:
    """A flipped bit anywhere, or a cut or longer box, is a typed error."""
    row = BATCH.slice(3, 4)
    (box,) = seal(batch=row)
    change = data.draw(st.sampled_from(["flip", "cut", "extend"]))
    if change == "flip":
        bit = data.draw(st.integers(0, 8 * len(box) - 1))
        changed = bytearray(box)
        changed[bit // 8] ^= 1 << (bit % 8)
        box = bytes(changed)
    elif change == "cut":
        box = box[: data.draw(st.integers(0, len(box) - 1))]
    else:
        box += data.draw(st.binary(min_size=1, max_size=20))
    with pytest.raises(DataError, match="AM-2053"):
        sealing.open_rows(KEYS, TABLE, [box], keys_of(TABLE, row), row_version=7)


def test_nothing_repeats() -> None:
    """The same rows sealed twice share no batch id; within a batch every nonce is new."""
    first, second = seal(), seal()
    assert {box[1:17] for box in first}.isdisjoint(box[1:17] for box in second)
    assert len({box[:21] for box in first}) == len(first)
    assert not {box[21:] for box in first} & {box[21:] for box in second}


def test_labels_separate_uses() -> None:
    """A box of one use does not open as another, even under the same keys and binding."""
    box = sealing.seal_one(KEYS, b"one", b"text", b"place", rng=RNG)
    assert sealing.open_one(KEYS, b"one", box, b"place") == b"text"
    assert sealing.open_one(KEYS, b"two", box, b"place") is None
    assert sealing.open_one(KEYS, b"one", box, b"elsewhere") is None
    assert sealing.open_one(KEYS, b"one", box[:36], b"place") is None


def test_lengths_are_padme() -> None:
    """Rows of equal padded length are indistinguishable; NULL is as long as a number."""
    table = make_table({"id": am.Int64(primary_key=True), "n": am.Text(encrypt=[], nullable=True)})
    texts = [None, "", *("x" * n for n in range(1, 300))]
    batch = ColumnBatch.from_columns(table, {"id": range(len(texts)), "n": texts})
    lengths = [len(box) - sealing.BOX_OVERHEAD_BYTES for box in seal(table, batch)]
    assert all(length == padme(length) for length in lengths)
    assert len(set(lengths)) < 40
    numbers = make_table(
        {"id": am.Int64(primary_key=True), "n": am.Int64(encrypt=[], nullable=True)}
    )
    rows = ColumnBatch.from_rows(numbers, [(1, None), (2, 0), (3, 2**62)])
    assert len({len(box) for box in seal(numbers, rows)}) == 1


@thorough
@given(st.integers(0, 1 << 40))
def test_padme(length: int) -> None:
    """Padding never shortens, adds at most 12 %, is idempotent and monotonic."""
    padded = padme(length)
    assert length <= padded <= length * 1.12 + 1
    assert padme(padded) == padded
    assert padme(length + 1) >= padded


def test_rows_outlive_their_schema() -> None:
    """Columns added later are NULL in old rows, dropped ones are ignored; both kinds mix."""
    old = make_table({"id": am.Int64(primary_key=True), "a": am.Int8(encrypt=["eq"])})
    grown = make_table(
        {
            "id": am.Int64(primary_key=True),
            "a": am.Int8(encrypt=["eq"]),
            "b": am.Text(encrypt=[], nullable=True),
        }
    )
    new = replace(grown, id=old.id)
    boxes = seal(old, ColumnBatch.from_rows(old, [(1, 5)]))
    boxes += seal(new, ColumnBatch.from_rows(new, [(2, 6, "x")]))
    keys = ColumnValues(np.array([1, 2]), np.ones(2, dtype=bool))
    opened = sealing.open_rows(KEYS, new, boxes, keys, row_version=7)
    assert opened.rows(new.encrypted_columns) == [(5, None), (6, "x")]
    shrunk = sealing.open_rows(KEYS, old, boxes, keys, row_version=7)
    assert shrunk.rows(old.encrypted_columns) == [(5,), (6,)]


@thorough
@given(st.data())
def test_row_codec_survives_any_bytes(data: st.DataObject) -> None:
    """Random bytes, and real rows with random changes, decode to valid values or to None."""
    rows = [bytes(row) for row in rowcodec.encode_rows(SECRET, BATCH.slice(0, 4))]
    row = bytearray(data.draw(st.binary(max_size=60) | st.sampled_from(rows)))
    for _ in range(data.draw(st.integers(0, 3))):
        if row:
            row[data.draw(st.integers(0, len(row) - 1))] = data.draw(st.integers(0, 255))
    found = rowcodec.decode_rows(SECRET, [bytes(row), rows[0]])
    if found is not None:
        assert found.rows(SECRET)[1] == BATCH.rows(SECRET)[0]


def test_wrong_layouts_are_refused() -> None:
    """Each header field is checked: format, count, forms, repeated ids, texts that run over."""
    (row,) = (bytes(r) for r in rowcodec.encode_rows(SECRET, BATCH.slice(1, 2)))
    head = 3 + 3 * len(SECRET)
    bad = [
        b"",
        b"\x02" + row[1:],
        row[:1] + b"\xff\xff" + row[3:],
        row[:5] + b"\x03" + row[6:],
        row[:6] + row[3:5] + row[8:],
        row[: head + 2],
        row + bytes(64),
        row[:-1],
    ]
    for changed in bad:
        assert rowcodec.decode_rows(SECRET, [changed]) is None


def test_the_length_of_a_box_tells_no_category() -> None:
    """Categories and dictionary entries of any length, and NULL, give boxes of one length."""
    table = make_table(
        {
            "key": am.Int64(primary_key=True),
            "grade": am.Enum(
                ["a", "very much longer than the others"], encrypt=["group"], nullable=True
            ),
            "city": am.Text(encrypt=["eq"], nullable=True),
        }
    )
    cities = ["Ob", "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch", None]
    (city,) = [column for column in table.columns if column.name == "city"]
    assert city.dictionary is not None
    known = city.dictionary.extended([text for text in cities if text], column="city")
    table = table.with_dictionaries({city.id: known})
    grades = ["a", "very much longer than the others", None]
    rows = [(i, grades[i % 3], cities[i // 3]) for i in range(9)]
    batch = ColumnBatch.from_rows(table, rows)
    boxes = sealing.seal_rows(KEYS, table, batch, row_version=1, rng=RNG)
    assert len({len(box) for box in boxes}) == 1
    opened = sealing.open_rows(KEYS, table, boxes, keys_of(table, batch), row_version=1)
    assert opened.rows(table.encrypted_columns) == [row[1:] for row in rows]
