"""Index definitions: declared, authenticated with the schema, read from schemas of every age."""

from __future__ import annotations

import dataclasses

import pytest
from columns_support import KEYS, RNG

import amaters as am
from amaters.base.errors import AmatersError
from amaters.columns.batch import ColumnBatch
from amaters.columns.canaries import distinguishing, plant
from amaters.columns.declare import Declaration, build_table
from amaters.columns.indexes import IndexDefinition, check_indexes
from amaters.columns.records import decode_public, encode_public, open_schema, seal_schema
from amaters.columns.schema import Table
from amaters.wire import schema_pb2 as pb


def table(**columns: Declaration) -> Table:
    return build_table("t", columns, parameter_set="p", scheme="noop", key_id=b"k" * 16)


BASE = {
    "id": am.Int64(primary_key=True),
    "town": am.Text(index=True, nullable=True),
    "mail": am.Text(index="unique"),
    "n": am.Int32(),
    "flag": am.Boolean(),
    "pay": am.Int32(encrypt=["sum"], min=0, max=9),
}


def test_declared_indexes_travel_with_the_sealed_schema() -> None:
    """What was declared comes back authentic, and a later version has what was added."""
    made = table(**BASE)
    assert [(i.name, i.columns, i.unique) for i in made.indexes] == [
        ("t_town_idx", (2,), False),
        ("t_mail_key", (3,), True),
    ]
    newer = made.with_indexes([*made.indexes, IndexDefinition(3, "both", (2, 4), True)])
    opened = open_schema(seal_schema(newer, KEYS, rng=RNG), KEYS)
    assert opened == newer
    assert opened.version == made.version + 1
    assert decode_public(encode_public(newer.public())).indexes == newer.indexes


def test_a_schema_from_before_definitions_has_an_index_per_flag() -> None:
    """Old schemas only flagged a column; nothing else of them changes."""
    message = pb.PublicTable.FromString(encode_public(table(**BASE).public()))
    del message.indexes[:]
    assert decode_public(message.SerializeToString()).indexes == ()
    message.columns[1].index = True
    message.columns[3].index = True
    assert decode_public(message.SerializeToString()).indexes == (
        IndexDefinition(1, "t_town_idx", (2,)),
        IndexDefinition(2, "t_n_idx", (4,)),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        IndexDefinition(1, "x", (6,)),
        IndexDefinition(1, "x", (99,)),
        IndexDefinition(0, "x", (2,)),
        IndexDefinition(1, "x", ()),
        IndexDefinition(1, "x", (2, 2)),
        IndexDefinition(1, " x", (2,)),
    ],
)
def test_impossible_definitions_are_damage(wrong: IndexDefinition) -> None:
    """An encrypted or unknown column, no column, one twice, no number, no name."""
    public = dataclasses.replace(table(**BASE).public(), indexes=(wrong,))
    with pytest.raises(AmatersError, match="AM-2052"):
        decode_public(encode_public(public))
    twice = (IndexDefinition(1, "x", (2,)), IndexDefinition(1, "y", (2,)))
    with pytest.raises(AmatersError, match="AM-2052"):
        decode_public(encode_public(dataclasses.replace(public, indexes=twice)))


def test_limits_and_names() -> None:
    """64 indexes of 8 columns, whose names differ in more than letter case."""
    many = [IndexDefinition(i, f"i{i}", (1,)) for i in range(1, 66)]
    check_indexes("t", many[:64])
    for wrong, code in (
        (many, "AM-2352"),
        ([IndexDefinition(1, "a", tuple(range(9)))], "AM-2352"),
        ([IndexDefinition(1, "a", (1,)), IndexDefinition(2, "A", (2,))], "AM-2350"),
    ):
        with pytest.raises(AmatersError, match=code):
            check_indexes("t", wrong)


def test_canaries_differ_in_unique_columns_and_nowhere_give_themselves_away() -> None:
    """Values of their own where a unique index asks for them, no refused ones, and NULL as often
    as rows have it; the column with most values is chosen, never one beside the primary key.
    """
    made = table(**BASE).with_indexes(
        [
            IndexDefinition(1, "a", (5, 4), True),
            IndexDefinition(2, "b", (1, 3), True),
            IndexDefinition(3, "c", (2,), True),
        ]
    )
    assert [column.name for column in distinguishing(made)] == ["n", "town"]
    rows = [
        {"id": 9 * i, "town": None if i % 2 else f"town {i}", "mail": "m", "n": 50 * i}
        | {"flag": True, "pay": 1}
        for i in range(200)
    ]
    batch = ColumnBatch.from_any(made, rows, None)
    refused = set(range(1, 4000))
    planted = plant(made, batch, rng=RNG, used={4: refused})
    fakes = planted.canaries.rows
    assert fakes.length == 64
    numbers = fakes.columns[4].values.tolist()
    assert len(set(numbers)) == 64
    assert not set(numbers) & (refused | set(range(0, 10_000, 50)))
    towns = fakes.columns[2]
    real = set(batch.columns[2].values[batch.columns[2].valid].tolist())
    drawn = towns.values[towns.valid].tolist()
    assert len(set(drawn)) == len(drawn)
    assert not set(drawn) & real
    assert 10 < len(drawn) < 54


def test_what_was_not_refused_is_taken_again() -> None:
    """Keys and values that an earlier attempt kept come back; only the others are drawn."""
    made = table(**BASE)
    rows = [
        {"id": 9 * i, "town": "x", "mail": f"m{i}", "n": i, "flag": True, "pay": 1}
        for i in range(200)
    ]
    batch = ColumnBatch.from_any(made, rows, None)
    first = plant(made, batch, rng=RNG).canaries.rows
    keys, mails = (first.columns[column].values.tolist() for column in (1, 3))
    kept = {1: keys[:60], 3: mails[5:]}
    used = {3: set(mails)}
    again = plant(made, batch, rng=RNG, taken=set(keys), used=used, kept=kept).canaries.rows
    for column, old, count in ((1, keys, 60), (3, mails, 59)):
        new = again.columns[column].values.tolist()
        assert len(set(new)) == 64
        assert set(new) & set(old) == set(kept[column])
        assert len(kept[column]) == count


def test_a_column_without_free_values_leaves_null_to_canaries() -> None:
    """At most two rows of a unique BOOLEAN have a value: the others, and canaries, have NULL."""
    columns = {"id": am.Int64(primary_key=True), "b": am.Boolean(index="unique", nullable=True)}
    made = table(**columns)
    rows = [{"id": 9 * i, "b": {0: True, 1: False}.get(i)} for i in range(100)]
    fakes = plant(made, ColumnBatch.from_any(made, rows, None), rng=RNG).canaries.rows
    assert fakes.length == 64
    assert not fakes.columns[2].valid.any()
