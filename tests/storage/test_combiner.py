"""Small writes of many threads: one command for all that waits, and each caller hears its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from amaters.base.errors import AmatersError, make
from amaters.columns.declare import Int64, Text, build_table
from amaters.columns.records import encode_public
from amaters.storage.combiner import Changes, Combiner
from amaters.storage.committer import Committer
from amaters.storage.database import Group, open_memory
from amaters.storage.directory import DirectoryStorage, open_directory
from amaters.storage.rowstore import RowStore
from amaters.wire import service_pb2 as pb

THREADS = 12


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[DirectoryStorage]:
    made = open_directory(tmp_path / "db")
    yield made
    made.close()


def store_of(storage: DirectoryStorage) -> RowStore:
    columns = {"id": Int64(primary_key=True), "text": Text()}
    key_id = b"k" * 16
    made = build_table("t", columns, parameter_set="insecure_n1024", scheme="noop", key_id=key_id)
    public = encode_public(made.public())
    record = pb.SchemaRecord(table_id=made.id, name="t", version=1, public_bytes=public)
    return RowStore.create(storage, record)


def in_threads(work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_share_commands(storage: DirectoryStorage, tmp_path: Path) -> None:
    """All rows are there, also after a crash, of fewer commands than puts; a row that does not fit
    is refused alone, however many it was combined with.
    """
    store = store_of(storage)
    before = storage.position
    refused: list[str] = []

    def work(n: int) -> None:
        for i in range(20):
            if n == 0:
                try:
                    store.put([(-1 - i, 5)])
                except AmatersError as error:
                    refused.append(error.code)
            else:
                store.put([(100 * n + i, f"{n} {i}")])

    in_threads(work)
    assert refused == ["AM-4022"] * 20
    expected = [(100 * n + i, f"{n} {i}") for n in range(1, THREADS) for i in range(20)]
    assert list(store.range()) == sorted(expected)
    assert storage.position - before < 20 * (THREADS - 1)
    store.close()
    storage.abandon()
    again = open_directory(tmp_path / "db")
    version = again.tables()[0]
    reopened = RowStore(again, version.table_id)
    assert list(reopened.range()) == sorted(expected)
    reopened.close()
    again.close()


def test_everybody_hears_of_a_failed_group() -> None:
    """An error of the group, one of the batch, and a refused group end every caller's wait."""
    storage = open_memory()
    committer = Committer(storage)
    failure = make("AM-4003", {"file": "segment", "what": "injected"})

    def apply(group: Group, changes: Changes) -> None:
        if 1 in changes:
            raise ZeroDivisionError
        storage.state.db.broken = failure

    combiner = Combiner(committer, apply)
    with pytest.raises(ZeroDivisionError):
        combiner.write({1: None})
    for code in ("AM-4003", "AM-4004", "AM-4004"):
        with pytest.raises(AmatersError, match=code):
            combiner.write({2: None})
    committer.close()
    with pytest.raises(AmatersError, match="AM-4004"):
        combiner.write({3: None})
    storage.close()
