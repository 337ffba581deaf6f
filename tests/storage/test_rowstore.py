"""The plain row API over storages in memory and in a directory: a dictionary, but durable."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amaters.base.errors import ConflictError, InvalidError
from amaters.columns.declare import Int32, Int64, Text, UInt64, build_table
from amaters.columns.records import encode_public
from amaters.columns.schema import Table
from amaters.storage.database import Storage, open_memory
from amaters.storage.directory import open_directory
from amaters.storage.lookup import Lookup
from amaters.storage.publicblocks import PublicBlocks, place_id
from amaters.storage.rowstore import RowStore, WriteBatch
from amaters.storage.rowtable import Row
from amaters.storage.versions import TableVersion, live_slots
from amaters.wire import service_pb2 as pb

KINDS = ("memory", "directory")


def table(name: str = "pairs", *, key: object = None, encrypted: bool = False) -> Table:
    """A key, a text that may be NULL, and a number."""
    number = Int32(encrypt=["sum"], min=0, max=9) if encrypted else Int64()
    columns = {"id": key or Int64(primary_key=True), "text": Text(nullable=True), "n": number}
    return build_table(
        name, columns, parameter_set="insecure_n1024", scheme="noop", key_id=b"k" * 16
    )


def record(made: Table) -> pb.SchemaRecord:
    public = encode_public(made.public())
    return pb.SchemaRecord(
        table_id=made.id, name=made.name, version=made.version, public_bytes=public
    )


def opened(kind: str, path: Path) -> Storage:
    return open_memory() if kind == "memory" else open_directory(path)


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    made = opened(request.param, tmp_path / "db")
    yield made
    made.close()


@pytest.fixture
def store(storage: Storage) -> Iterator[RowStore]:
    made = RowStore.create(storage, record(table()))
    yield made
    made.close()


def row(key: int, n: int = 0) -> Row:
    return (key, None if key % 3 == 0 else f"text {key}", n)


def test_rows_are_put_replaced_deleted_and_ranged(store: RowStore) -> None:
    """What a dictionary would say, in order of key."""
    store.put([row(key) for key in (5, 3, 9, -1)])
    store.put([row(3, 7), row(4)])
    store.delete([9, 100])
    assert store.get([3, 9, 4, 100]) == {3: row(3, 7), 4: row(4)}
    assert list(store.range()) == [row(-1), row(3, 7), row(4), row(5)]
    assert list(store.range(3, 5)) == [row(3, 7), row(4)]
    assert list(store.range(low=5)) == [row(5)]
    assert store.get([]) == {} and list(store.range(50)) == []


def test_a_batch_over_tables_happens_whole_or_not_at_all(storage: Storage) -> None:
    """A version that is not as expected in one table keeps the change out of the other."""
    one = RowStore.create(storage, record(table("one")))
    two = RowStore.create(storage, record(table("two")))
    one.put([row(1)])
    batch = WriteBatch()
    batch.put(two, [row(1), row(2)])
    batch.put(one, [row(1, 5)])
    batch.expect(one, 1, one.get_versioned([1])[1].version)
    assert one.write_batch(batch)
    assert one.get([1]) == {1: row(1, 5)} and two.get([1, 2]) == {1: row(1), 2: row(2)}
    late = WriteBatch()
    late.delete(two, [1, 2])
    late.put(one, [row(1, 6)])
    late.expect(one, 1, 1)
    assert not one.write_batch(late)
    assert one.get([1]) == {1: row(1, 5)} and sorted(two.get([1, 2])) == [1, 2]
    absent = WriteBatch()
    absent.put(one, [row(7)])
    absent.expect(one, 7, 0)
    assert one.write_batch(absent) and not one.write_batch(absent)
    one.close()
    two.close()


def test_updates_of_one_row_by_many_threads_are_all_counted(store: RowStore) -> None:
    """Read-modify-write loses nothing, whoever comes between."""
    each, threads = 15, 6

    def count() -> None:
        for _ in range(each):
            store.atomic_update(1, lambda old: row(1, old[2] + 1 if old else 1))  # type: ignore[operator]

    workers = [threading.Thread(target=count) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert store.get([1]) == {1: row(1, each * threads)}
    assert store.atomic_update(1, lambda _: None) is None
    assert store.get([1]) == {} and store.atomic_update(1, lambda _: None) is None


def test_an_update_that_always_loses_gives_up(store: RowStore) -> None:
    """It says so, and the row is what the others made of it."""

    def disturbed(old: Row | None) -> Row:
        store.put([row(1, 100)])
        return row(1, 1)

    with pytest.raises(ConflictError, match="AM-4021"):
        store.atomic_update(1, disturbed)
    assert store.get([1]) == {1: row(1, 100)}


def test_a_full_tail_becomes_segments(storage: Storage) -> None:
    """The tail stays small however many rows come; each row is found wherever it lies."""
    store = RowStore.create(storage, record(table()))
    small = RowStore(storage, store.table.table_id, segment_rows=100)
    for start in range(0, 1000, 30):
        small.put([row(key) for key in range(start, min(start + 30, 1000))])
        small.put([row(start, 9)])
    small.delete(range(500, 510))
    version = storage.version(store.table.table_id)
    assert version is not None
    assert version.tail_rows < 100 and len(version.segments) >= 8
    expected = [row(key, 9 if key % 30 == 0 else 0) for key in range(1000)]
    del expected[500:510]
    assert list(small.range()) == expected
    assert small.get(range(0, 1000, 7)) == {r[0]: r for r in expected if r[0] % 7 == 0}
    small.close()
    store.close()


def test_readers_see_whole_batches_while_others_write(storage: Storage) -> None:
    """All rows that are always written together have one number in every answer, exchanges or
    not; ranges too.
    """
    store = RowStore.create(storage, record(table()))
    small = RowStore(storage, store.table.table_id, segment_rows=64)
    keys = range(0, 40)
    small.put([row(key, 0) for key in keys])
    done = threading.Event()
    wrong: list[set[object]] = []

    def read() -> None:
        while not done.is_set():
            found = {r[2] for r in small.get(keys).values()}
            ranged = {r[2] for r in small.range()}
            if len(found) != 1 or len(ranged) != 1:
                wrong.append(found | ranged)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 40):
        small.put([row(key, number) for key in keys])
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    small.close()
    store.close()


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        (UInt64(primary_key=True), [0, 1, 2**63 - 1, 2**63, 2**64 - 1]),
        (Text(primary_key=True), ["", "a", "b c", "ä", "日本"]),
    ],
)
def test_keys_of_every_type(storage: Storage, key: object, keys: list[int | str]) -> None:
    """Unsigned keys above 2^63 and texts are found and ordered like Python's."""
    store = RowStore.create(storage, record(table(key=key)))
    rows: list[Row] = [(k, None, number) for number, k in enumerate(keys)]
    store.put(list(reversed(rows)))
    assert list(store.range()) == rows and list(store.range(keys[1], keys[3])) == rows[1:3]
    store.delete(keys[3:4])
    assert store.get(keys) == {r[0]: r for r in rows if r[0] != keys[3]}
    store.close()


def test_rows_that_do_not_fit_are_refused(store: RowStore, storage: Storage) -> None:
    """Wrong length, type or range, NULL where it is not allowed, a key twice: nothing is done."""
    for rows in (
        [(1, "a")],
        [(1, 2, 3)],
        [(None, "a", 1)],
        [("1", "a", 1)],
        [(1, "a", None)],
        [(1, "a", 1 << 63)],
        [(1 << 63, "a", 1)],
        [row(1), row(1)],
    ):
        with pytest.raises(InvalidError, match="AM-4022"):
            store.put(rows)  # type: ignore[arg-type]
    assert list(store.range()) == []
    with pytest.raises(InvalidError, match="AM-4022"):
        RowStore.create(storage, record(table("secret", encrypted=True)))
    with pytest.raises(InvalidError, match="AM-3021"):
        RowStore(storage, b"x" * 16)


def test_rows_are_there_after_opening_again(tmp_path: Path) -> None:
    """Closed or abandoned like a dying process."""
    made = table()
    storage = open_directory(tmp_path / "db")
    store = RowStore.create(storage, record(made))
    store.put([row(key) for key in range(50)])
    store.close()
    storage.close()
    storage = open_directory(tmp_path / "db")
    store = RowStore(storage, made.id, segment_rows=40)
    store.delete([0])
    store.put([row(50), row(7, 7)])
    store.close()
    storage.abandon()
    storage = open_directory(tmp_path / "db")
    store = RowStore(storage, made.id)
    expected = [row(key, 7 if key == 7 else 0) for key in range(1, 51)]
    assert list(store.range()) == expected
    store.close()
    storage.close()


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["put", "delete", "update"]),
        st.lists(st.integers(0, 25), max_size=12, unique=True),
        st.integers(0, 99),
    ),
    max_size=12,
)


@given(CHANGES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_store_is_a_dictionary(changes: list[tuple[str, list[int], int]]) -> None:
    """Any sequence of changes, with a tail of four rows so that exchanges come all the time."""
    storage = open_memory()
    first = RowStore.create(storage, record(table()))
    store = RowStore(storage, first.table.table_id, segment_rows=4)
    model: dict[int, Row] = {}
    for kind, keys, n in changes:
        if kind == "put":
            store.put([row(key, n) for key in keys])
            model.update({key: row(key, n) for key in keys})
        elif kind == "delete":
            store.delete(keys)
            model = {key: r for key, r in model.items() if key not in keys}
        else:
            for key in keys[:2]:
                store.atomic_update(key, lambda old, k=key, v=n: None if old else row(k, v))  # type: ignore[misc]
                if model.pop(key, None) is None:
                    model[key] = row(key, n)
        assert store.get(range(26)) == model
    assert list(store.range()) == [model[key] for key in sorted(model)]
    store.close()
    first.close()
    storage.close()


@pytest.mark.stress
def test_keys_are_found_at_pinned_versions_while_others_write(storage: Storage) -> None:
    """At a version pinned a while ago, and at the newest: what a scan of that version says."""
    store = RowStore.create(storage, record(table()))
    writing = RowStore(storage, store.table.table_id, segment_rows=150)
    public = PublicBlocks(storage.objects)
    lookup = Lookup(storage, public)
    done = threading.Event()
    wrong: list[object] = []

    def write(seed: int) -> None:
        draw = random.Random(seed)
        while not done.is_set():
            keys = draw.sample(range(400), draw.randrange(1, 80))
            if draw.random() < 0.3:
                writing.delete(keys)
            else:
                writing.put([row(key, draw.randrange(9)) for key in keys])

    def scanned(version: TableVersion) -> dict[int, tuple[int, int]]:
        found = {}
        for place in (*version.segments, *version.tail):
            keys = public.keys(place, 1).tolist()
            for slot in np.flatnonzero(live_slots(place.rows, place.live_bits)).tolist():
                assert keys[slot] not in found
                found[keys[slot]] = (place_id(place), slot)
        return found

    def read(seed: int) -> None:
        draw = random.Random(seed)
        older: list[tuple[TableVersion, dict[int, tuple[int, int]]]] = []
        for _ in range(1500):
            keys = draw.sample(range(450), 60)
            version, found = lookup.find_now(store.table.table_id, keys, 1)
            older.append((version, scanned(version)))
            pinned, expected = older.pop(0) if len(older) > 5 else older[-1]
            for answer, said in (
                (found, older[-1][1]),
                (lookup.find(pinned, keys, 1), expected),
            ):
                places = {key: (place_id(place), slot) for key, (place, slot) in answer.items()}
                if places != {key: said[key] for key in keys if key in said}:
                    wrong.append(places)

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(3)]
    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for thread in (*writers, *readers):
        thread.start()
    for thread in readers:
        thread.join()
    done.set()
    for thread in writers:
        thread.join()
    assert not wrong
    writing.close()
    store.close()
