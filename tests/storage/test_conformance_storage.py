"""What every storage promises, in a directory and in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import state_support as support
from state_support import OTHER, TABLE, append, apply, batch, contents, create, drop, put, table_of

from amaters.base.errors import AmatersError
from amaters.storage.database import Storage, open_memory
from amaters.storage.directory import open_directory
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb


@pytest.fixture(params=["directory", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """An empty table in an empty database."""
    opened: Storage = open_memory()
    if request.param == "directory":
        opened = open_directory(tmp_path / "db")
    append(opened, create())
    yield opened
    opened.close()


def test_rows_come_change_and_go(storage: Storage) -> None:
    """Tail and segments, removed and moved rows, integers and texts, in one table."""
    put(storage, 1, tail=[1, 2, 3], segments=[[10, 11, 12], [20, 21]])
    assert contents(storage) == dict.fromkeys([1, 2, 3, 10, 11, 12, 20, 21], 1)
    put(storage, 2, tail=[2, 11], removed={2: 1, 11: 1, 20: 1})
    assert contents(storage) == {1: 1, 2: 2, 3: 1, 10: 1, 11: 2, 12: 1, 21: 1}
    put(storage, 3, segments=[[1, 2, 3]], moved={1: 1, 2: 2, 3: 1})
    assert contents(storage) == {1: 3, 2: 3, 3: 3, 10: 1, 11: 2, 12: 1, 21: 1}
    assert [block.live for block in table_of(storage).tail] == [1]
    assert table_of(storage).top_key == 21 and table_of(storage).tail_rows == 1
    put(storage, 4, segments=[[3, 11]], moved={3: 1, 11: 2})
    assert contents(storage)[3] == 3, "a row that changed since stays where it is"
    append(storage, create(OTHER))
    put(storage, 5, tail=["a", "ü"], segments=[["b", ""]], table_id=OTHER)
    put(storage, 6, tail=["b", "nul\0"], removed={"b": 5}, table_id=OTHER)
    assert contents(storage, OTHER) == {"a": 5, "ü": 5, "b": 6, "": 5, "nul\0": 6}
    put(storage, 7, removed={"nul\0": 6, "": 5}, table_id=OTHER)
    assert contents(storage, OTHER) == {"a": 5, "ü": 5, "b": 6}


def test_a_segment_of_rows_that_all_changed_since_does_not_stay(storage: Storage) -> None:
    """Its objects are garbage at once; the rows that changed are where they were."""
    put(storage, 1, tail=[1, 2])
    put(storage, 2, tail=[1, 2], removed={1: 1, 2: 1})
    put(storage, 3, segments=[[1, 2]], moved={1: 1, 2: 1})
    assert contents(storage) == {1: 2, 2: 2} and table_of(storage).segments == ()
    assert len(storage.state.garbage(storage.position)) == 2


def test_removing_what_is_not_there_is_refused(storage: Storage) -> None:
    """A command that nobody checked changes nothing."""
    put(storage, 1, tail=[1])
    with pytest.raises(AmatersError, match="AM-4012"):
        put(storage, 2, tail=[3], removed={1: 1, 2: 1})
    assert contents(storage) == {1: 1} and storage.failed is None


def test_unsigned_keys_and_versions_keep_their_value(storage: Storage) -> None:
    """The highest row version, and its conflict, come back as they were given."""
    high = (1 << 64) - 1
    put(storage, high, tail=[-(1 << 63), (1 << 63) - 1])
    assert contents(storage) == {-(1 << 63): high, (1 << 63) - 1: high}
    command = batch(storage, 1, tail=[-(1 << 63)])
    rows = storage.read_rows(command.batch)
    conflict = storage.state.conflicts(table_of(storage).tid, rows)[0]
    assert (conflict.new_row, conflict.version, conflict.slot) == (0, high, 0)


def test_conflicts_say_which_row_is_in_the_way(storage: Storage) -> None:
    """New rows whose key is there, removed ones that are gone or changed; others pass."""
    put(storage, 1, tail=[1, 2], segments=[[10, 11]])
    tid = table_of(storage).tid

    def conflicts(**parts: object) -> list[pb.KeyConflict]:
        command = batch(storage, 9, **parts)  # type: ignore[arg-type]
        return storage.state.conflicts(tid, storage.read_rows(command.batch))

    assert conflicts(tail=[3], segments=[[12]], removed={1: 1, 10: 1}) == []
    assert conflicts(tail=[1, 10], removed={1: 1, 10: 1}) == []
    found = conflicts(tail=[7, 1], segments=[[11]])
    assert {(c.new_segment, c.new_row, c.slot, c.version) for c in found} == {
        (-1, 1, 0, 1),
        (0, 0, 1, 1),
    }
    segment = table_of(storage).segments[0].segment_id
    assert {c.segment_id for c in found} == {b"", segment}
    found = conflicts(removed={1: 2, 5: 1, 10: 1})
    assert [(c.new_segment, c.new_row, c.version) for c in found] == [(-2, 0, 1), (-2, 1, 0)]
    assert contents(storage) == {1: 1, 2: 1, 10: 1, 11: 1}, "asking changes nothing"


def test_a_group_is_published_as_a_whole(storage: Storage) -> None:
    """Later commands of a group see earlier ones, readers none before the group has ended; what a
    failed command did is undone, the rest of its group stays.
    """
    before = storage.position
    with storage.group() as group:
        apply(group, storage, batch(storage, 1, tail=[1]))
        twice = batch(storage, 2, tail=[2], segments=[[3], [1]])
        with pytest.raises(AmatersError, match="AM-4012"):
            apply(group, storage, twice)
        apply(group, storage, batch(storage, 3, segments=[[1, 5]], removed={1: 1}))
        assert contents_unpublished(storage) == [] and storage.position == before
    assert storage.position == before + 2
    assert contents(storage) == {1: 3, 5: 3}
    assert storage.failed is None


def contents_unpublished(storage: Storage) -> list[object]:
    version = table_of(storage)
    return [*version.segments, *version.tail]


def test_a_group_that_is_given_up_leaves_nothing(storage: Storage) -> None:
    """An error of whoever fills the group undoes all of it, and the next one goes on from there."""
    before = storage.position
    with pytest.raises(ZeroDivisionError), storage.group() as group:
        apply(group, storage, batch(storage, 1, tail=[1]))
        raise ZeroDivisionError
    assert storage.position == before and contents(storage) == {}
    with storage.group():
        """Nothing to do is no position."""
    assert storage.position == before
    put(storage, 2, tail=[1])
    assert storage.position == before + 1 and contents(storage) == {1: 2}


def test_a_group_inside_a_group_is_refused(storage: Storage) -> None:
    """The outer one is not touched by the attempt."""
    with storage.group() as group:
        apply(group, storage, batch(storage, 1, tail=[1]))
        with pytest.raises(AmatersError, match="AM-1000"):
            put(storage, 2, tail=[2])
        apply(group, storage, batch(storage, 3, tail=[3]))
    assert contents(storage) == {1: 1, 3: 3} and storage.failed is None


def test_versions_are_immutable(storage: Storage) -> None:
    """A version that somebody holds says the same whatever is written later."""
    put(storage, 1, tail=[1, 2], segments=[[10, 11]])
    held = table_of(storage)
    shown = (held.segments, held.tail, held.top_key)
    others = storage.tables()
    put(storage, 2, tail=[3], removed={1: 1, 10: 1})
    append(storage, create(OTHER))
    append(storage, drop())
    assert (held.segments, held.tail, held.top_key) == shown
    assert [row.live_bits for row in held.segments] == [b""]
    assert others == (held,) and storage.version(TABLE) is None
    assert [version.table_id for version in storage.tables()] == [OTHER]


def test_replies_are_kept_for_repeats(storage: Storage) -> None:
    """A request id finds its reply; the same id of another request is refused."""
    command = batch(storage, 1, tail=[1])
    reply = append(storage, command)
    assert storage.state.reply_of(command.request_id, b"d") == reply
    assert storage.state.reply_of(b"n" * 16, b"d") is None
    with pytest.raises(AmatersError, match="AM-3035"):
        storage.state.reply_of(command.request_id, b"e")


def test_dropping_leaves_no_rows_and_its_objects_as_garbage(storage: Storage) -> None:
    """Nothing of a dropped table stays in the state; its objects go when nobody pins them."""
    append(storage, create(OTHER))
    put(storage, 1, segments=[[1, 2]], tail=[3])
    put(storage, 1, segments=[[1, 2]], table_id=OTHER)
    mine = table_of(storage).object_ids()
    append(storage, drop())
    for table, left in {"keys": 2, "segments": 1, "tails": 0, "liveness": 1, "tables": 1}.items():
        assert storage.state.db.one(f"SELECT count(*) FROM {table}") == (left,)
    pinned = {next(iter(mine))}
    for n in range(2):
        append(storage, create(bytes([n]) * 16))
        storage.snapshot()
    with storage.keeping_objects():
        assert storage.collect(set()) == 0
    assert storage.collect(pinned) == len(mine) - 1
    assert mine & set(storage.objects.ids()) == pinned
    assert storage.collect(set()) == 1 and storage.collect(set()) == 0
    assert set(storage.objects.ids()) == table_of(storage, OTHER).object_ids()
    assert contents(storage, OTHER) == {1: 1, 2: 1}


def test_a_command_that_is_too_large_harms_nobody(storage: Storage) -> None:
    """It is refused before anything is written; its group goes on."""
    huge = cb.Command(keyset_put=cb.KeysetPut(object=cb.ObjectRef(digest=bytes((64 << 20) + 1))))
    with storage.group() as group:
        with pytest.raises(AmatersError, match="AM-3005"):
            group.apply(huge)
        apply(group, storage, batch(storage, 1, tail=[1]))
    assert contents(storage) == {1: 1}


def test_readers_see_whole_groups_while_others_write(storage: Storage) -> None:
    """Two threads read versions and keys while pairs of rows come and go: never half a pair."""
    tid = table_of(storage).tid
    done = threading.Event()

    def read() -> set[tuple[int, ...]]:
        seen = set()
        while not done.is_set():
            there = storage.places(tid, [1, 2])
            assert len(there) in (0, 2), there
            version = table_of(storage)
            assert {block.rows for block in version.tail} <= {2}
            seen.add(tuple(block.version for block in version.tail))
        return seen

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for version in range(1, 40):
                removed = {1: version - 1, 2: version - 1} if version % 2 == 0 else {}
                put(storage, version, tail=() if removed else [1, 2], removed=removed)
        finally:
            done.set()
        assert all(len(reader.result()) > 1 for reader in readers)


def test_writers_of_many_threads_take_turns(storage: Storage) -> None:
    """Groups of concurrent threads are applied one after the other; positions are consecutive."""
    positions: list[int] = []

    def write(first: int) -> None:
        for n in range(20):
            with storage.group() as group:
                apply(group, storage, batch(storage, 1, tail=[first + n]))
                positions.append(group.position)

    threads = [threading.Thread(target=write, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert positions == list(range(2, 82))
    assert contents(storage) == {100 * n + m: 1 for n in range(4) for m in range(20)}


def test_closed_storage_says_so(storage: Storage) -> None:
    """After a failure writes are refused with one message; reads go on."""
    put(storage, 1, tail=[1])
    storage.failed = AmatersError("AM-4008", file="log", what="full")
    with pytest.raises(AmatersError, match="AM-4004"):
        put(storage, 2, tail=[2])
    assert contents(storage) == {1: 1}
    assert storage.collect(set()) == 0
    assert support.table_of(storage).top_key == 1
