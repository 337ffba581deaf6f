"""Masked values as the client takes them: decoded by encoding, and what an engine cannot send."""

from __future__ import annotations

import numpy as np
import pytest

from amaters.base.errors import DataError
from amaters.client.guard import SegmentGuard
from amaters.client.rows import OpenedRows
from amaters.client.selection import Packed, real_rows, selected_rows, with_public
from amaters.columns import declare
from amaters.columns.batch import ColumnBatch
from amaters.columns.declare import build_table
from amaters.plan.expressions import Compare, Literal
from amaters.plan.values import PRESENT

TABLE = build_table(
    "t",
    {
        "id": declare.Int64(primary_key=True),
        "a": declare.Int32(encrypt=["range"], min=-10, max=200_000, nullable=True),
        "g": declare.Enum(["x", "y"], encrypt=["group"]),
    },
    parameter_set="insecure_n1024",
    scheme="noop",
    key_id=b"k" * 16,
)
A, G = TABLE.column("a").id, TABLE.column("g").id
SEGMENT = b"segment of tests"
ROWS = [(0, 5, "x"), (1, None, "y"), (2, 150_000, "y"), (3, -10, "x"), (4, 199_000, "y")]
FAKE = 4  # the slot of the only canary
WHERE = Compare(">=", TABLE.column("id").id, Literal(0))


def guard() -> SegmentGuard:
    batch = ColumnBatch.from_rows(TABLE, ROWS, ["id", "a", "g"])
    positions = np.array([FAKE])
    live = np.ones(len(ROWS), dtype=np.bool_)
    return SegmentGuard(len(ROWS), live, positions, positions, batch.take(positions), len(ROWS))


def packed() -> Packed:
    """What an honest engine returns; the numbers of NULL mean nothing."""
    codes = [0 if a is None else a + 10 for _, a, _ in ROWS]
    made = Packed()
    numbers = {
        None: [1] * len(ROWS),
        (A, 1): [
            code % 65536 if ok else 65535 for code, (_, ok, _) in zip(codes, ROWS, strict=True)
        ],
        (A, 65536): [code // 65536 for code in codes],
        (A, PRESENT): [int(a is not None) for _, a, _ in ROWS],
        (G, 1): ["xy".index(g) for _, _, g in ROWS],
    }
    for part, values in numbers.items():
        made.add(part, SEGMENT, np.array([*values, 0, 0]))
    return made


def taken(what: Packed, guards: SegmentGuard | None = None) -> ColumnBatch:
    found = selected_rows(TABLE, [A, G], what, {SEGMENT: guards or guard()}, WHERE)
    return real_rows(TABLE, found, [A, G])


def test_numbers_become_values() -> None:
    """Offsets, 16-bit parts, NULL and categories; the canary is left out."""
    columns = [TABLE.column(A), TABLE.column(G)]
    assert taken(packed()).rows(columns) == [(a, g) for _, a, g in ROWS[:FAKE]]


def code_of(what: Packed) -> str:
    with pytest.raises(DataError) as caught:
        taken(what)
    return caught.value.code


def test_a_canary_with_another_value_is_noticed() -> None:
    for part in ((A, 1), (G, 1)):
        lie = packed()
        lie.parts[part][SEGMENT][FAKE] ^= 1
        assert code_of(lie) == "AM-5001"
    lie = packed()
    lie.parts[A, PRESENT][SEGMENT][FAKE] = 0
    assert code_of(lie) == "AM-5001"


def test_values_that_cannot_be_are_noticed() -> None:
    """Beyond the bounds, no category, or left out for a segment."""
    lie = packed()
    lie.parts[A, 65536][SEGMENT][0] = 60_000
    assert code_of(lie) == "AM-5012"
    lie = packed()
    lie.parts[G, 1][SEGMENT][0] = 2
    assert code_of(lie) == "AM-5012"
    lie = packed()
    del lie.parts[A, 1][SEGMENT]
    assert code_of(lie) == "AM-5012"


def test_public_columns_are_joined_by_slot() -> None:
    """In whatever order blocks come; a row that matches and is not among them is noticed."""
    key = TABLE.column("id").id
    batch = ColumnBatch.from_rows(TABLE, ROWS, ["id", "a", "g"]).select([key])
    versions = np.zeros(2, dtype=np.uint64)
    selected = selected_rows(TABLE, [A], packed(), {SEGMENT: guard()}, WHERE)
    blocks = [
        OpenedRows(SEGMENT, np.array(slots), batch.take(np.array(slots)), versions)
        for slots in ([3, 4], [0, 1, 2])
    ]
    joined = real_rows(TABLE, with_public(TABLE, selected, blocks, [key]), [key, A])
    assert joined.rows([TABLE.column(key), TABLE.column(A)]) == [row[:2] for row in ROWS[:FAKE]]
    for missing in (blocks[:1], blocks[1:], []):
        with pytest.raises(DataError) as caught:
            with_public(TABLE, selected, missing, [key])
        assert caught.value.code == "AM-5012"
