"""Indexes under the plain row API: what a look at every row finds, and nothing else."""

from __future__ import annotations

import dataclasses
import random
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pytest

from amaters.base.errors import ConflictError, InvalidError
from amaters.columns.declare import Int64, Text, build_table
from amaters.columns.indexes import IndexDefinition
from amaters.columns.records import encode_public
from amaters.storage.database import Storage, open_memory
from amaters.storage.directory import open_directory
from amaters.storage.index_build import (
    build_index,
    next_slice,
    register_index,
    unregister_index,
)
from amaters.storage.index_runs import IndexedField
from amaters.storage.indexes import IndexManager, PublicColumns
from amaters.storage.rowstore import RowStore, WriteBatch
from amaters.wire import blocks
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

BY_TEXT = IndexDefinition(1, "by_text", (2, 3))
BY_N = IndexDefinition(2, "by_n", (3,))
ONE_N = IndexDefinition(3, "one_n", (3,), unique=True)
LOWER = 1002  # what the extractor below makes of column 2
Row = tuple[int, str | None, int | None]


def record(*indexes: IndexDefinition) -> pb.SchemaRecord:
    made = build_table(
        "t",
        {
            "id": Int64(primary_key=True),
            "text": Text(nullable=True),
            "n": Int64(nullable=True),
        },
        parameter_set="insecure_n1024",
        scheme="noop",
        key_id=b"k" * 16,
        table_id=b"t" * 16,
    )
    public = encode_public(dataclasses.replace(made, indexes=indexes).public())
    return pb.SchemaRecord(table_id=made.id, name="t", version=1, public_bytes=public)


@pytest.fixture(params=["memory", "directory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    made = open_memory() if request.param == "memory" else open_directory(tmp_path / "db")
    yield made
    made.close()


def within(value: int | None, low: int | None, high: int | None) -> bool:
    if low is None and high is None:
        return True
    return value is not None and (low is None or value >= low) and (high is None or value < high)


def compare(store: RowStore, rows: dict[int, Row], draw: random.Random) -> None:
    """Points, ranges and prefixes of two indexes against the dictionary."""
    low, high = (draw.choice([None, draw.randrange(-5, 25)]) for _ in range(2))
    found = store.find("by_n", low=low, high=high)
    assert sorted(found, key=str) == sorted(
        (row for row in rows.values() if within(row[2], low, high)), key=str
    )
    numbers = [row[2] for row in found if row[2] is not None]
    assert numbers == sorted(numbers)
    text = draw.choice(["a", "b", "", "zz"])
    found = store.find("BY_TEXT", text, low=low, high=high)
    expected = [row for row in rows.values() if row[1] == text and within(row[2], low, high)]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert len(store.find("by_n", 7)) == sum(row[2] == 7 for row in rows.values())


def test_puts_deletes_and_exchanges_against_a_dictionary(storage: Storage) -> None:
    """Rows are replaced and deleted while the tail turns into segments again and again."""
    draw = random.Random(5)
    store = RowStore.create(storage, record(BY_TEXT, BY_N))
    store.close()
    store = RowStore(storage, b"t" * 16, segment_rows=64)
    rows: dict[int, Row] = {}
    for _ in range(60):
        new = [
            (key, draw.choice(["a", "b", "", None]), draw.choice([None, draw.randrange(20)]))
            for key in draw.sample(range(150), draw.randrange(1, 30))
        ]
        store.put(new)
        rows.update({row[0]: row for row in new})
        gone = draw.sample(range(150), draw.randrange(4))
        store.delete(gone)
        for key in gone:
            rows.pop(key, None)
        compare(store, rows, draw)
    version = storage.version(b"t" * 16)
    assert version is not None
    assert version.segments
    store.close()


def test_readers_meet_no_half_written_batch(storage: Storage) -> None:
    """While a writer moves all rows from one value to another, in one batch each time, a reader
    finds all of them under one value.
    """
    store = RowStore.create(storage, record(BY_N))
    store.put([(key, None, 0) for key in range(50)])
    stop = threading.Event()

    def write() -> None:
        value = 0
        while not stop.is_set():
            value = 1 - value
            store.put([(key, None, value) for key in range(50)])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(150):
            assert len(store.find("by_n", low=0, high=2)) == 50
            assert len({row[2] for row in store.find("by_n")}) == 1
    finally:
        stop.set()
        writer.join()
        store.close()


def test_a_unique_index_is_kept_by_every_way_of_writing(storage: Storage) -> None:
    """Put, batch and read-modify-write are refused when they would repeat a value; a row may keep
    its value, give it away in one batch, and NULL repeats.
    """
    store = RowStore.create(storage, record(ONE_N))
    store.put([(1, "a", 10), (2, "b", None), (3, "c", None)])
    store.put([(1, "new", 10)])
    with pytest.raises(ConflictError, match="AM-3094"):
        store.put([(4, "d", 10)])
    with pytest.raises(InvalidError, match="AM-3093"):
        store.put([(5, "d", 11), (6, "d", 11)])
    with pytest.raises(ConflictError, match="AM-3094"):
        store.atomic_update(2, lambda _: (2, "b", 10))
    swap = WriteBatch()
    swap.put(store, [(2, "b", 10), (1, "new", 12)])
    assert store.write_batch(swap)
    with pytest.raises(InvalidError, match="AM-3091"):
        store.find("nope", 1)
    assert store.find("one_n", 10) == [(2, "b", 10)]
    store.delete([2])
    store.put([(7, "x", 10)])
    assert store.get([1, 4, 5, 6, 7]) == {1: (1, "new", 12), 7: (7, "x", 10)}
    store.close()


class LowerCase(PublicColumns):
    """Columns as they are, and one more: the text in lower case."""

    def extract(self, block: blocks.Block, columns: Collection[int]) -> tuple[IndexedField, ...]:
        found = super().extract(block, columns)
        if LOWER not in columns:
            return found
        values, valid = block.columns[2]
        lower = np.array([value.lower() for value in values.tolist()], dtype=object)
        return (*found, IndexedField(LOWER, lower, valid))


def test_an_embedding_program_adds_indexes_of_its_own(tmp_path: Path) -> None:
    """What an extractor computes is indexed, kept over a restart, and built again for rows that
    came while the program had no extractor.
    """
    path = tmp_path / "db"

    def opened(*, own: bool = True) -> Storage:
        made = open_directory(path)
        return made.with_index_manager(IndexManager(LowerCase())) if own else made

    first = opened()
    store = RowStore.create(first, record())
    store.put([(1, "Nara", 1), (2, "nara", 2), (3, None, 3)])
    number = register_index(first, b"t" * 16, "lower", (LOWER,))
    assert [row[0] for row in store.find("lower", "nara")] == [1, 2]
    store.put([(4, "NARA", 4)])
    store.close()
    first.close()

    without = opened(own=False)
    store = RowStore(without, b"t" * 16)
    store.put([(5, "nARA", 5)])
    with pytest.raises(InvalidError, match="AM-3091"):
        store.find("lower", "nara")
    store.close()
    without.close()

    again = opened().with_index_extractor(LowerCase())
    assert register_index(again, b"t" * 16, "lower", (LOWER,)) == number
    store = RowStore(again, b"t" * 16)
    assert sorted(row[0] for row in store.find("lower", "nara")) == [1, 2, 4, 5]
    with pytest.raises(ConflictError, match="AM-3090"):
        register_index(again, b"t" * 16, "one", (LOWER,), unique=True)
    unregister_index(again, b"t" * 16, number)
    version = again.version(b"t" * 16)
    assert version is not None
    assert version.indexes == ()
    store.close()
    again.close()


def test_a_value_that_is_repeated_while_an_index_is_built(storage: Storage) -> None:
    """A row may take a value of one that the index does not know yet; the build finds both, fails,
    and the index refuses nothing any more. Of rows it knows already it refuses the value at once.
    """
    store = RowStore.create(storage, record())
    store.close()
    store = RowStore(storage, b"t" * 16, segment_rows=10)
    store.put([(key, None, key) for key in range(10)])
    store.put([(key, None, key) for key in range(10, 13)])
    store.close()
    schema = record(ONE_N)
    schema.version = 2
    storage.append(cb.Command(schema_update=cb.SchemaUpdate(schema=schema)))
    step = next_slice(storage, b"t" * 16, 3)
    assert step.left
    storage.append(step.command, step.rows)
    store = RowStore(storage, b"t" * 16)
    with pytest.raises(ConflictError, match="AM-3094"):
        store.put([(100, None, 5)])
    store.put([(100, None, 11)])
    with pytest.raises(ConflictError, match="AM-3090"):
        build_index(storage, b"t" * 16, 3)
    store.put([(101, None, 5)])
    with pytest.raises(InvalidError, match="AM-3091"):
        store.find("one_n", 5)
    store.close()
