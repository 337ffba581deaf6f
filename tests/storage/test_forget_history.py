"""Forgetting history: what was deleted is in no file of log, snapshots and objects, and all that is
there survives it, whoever writes meanwhile.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from s3 import Bucket
from test_remote_database import everything, keys_of, opened, shut
from test_rowstore import row

from amaters.storage.commitlog.devices import BACKENDS, LogOptions
from amaters.storage.directory import DirectoryStorage
from amaters.storage.options import StorageOptions
from amaters.storage.remote import open_blobs
from amaters.storage.rowstore import RowStore
from amaters.storage.verify import verify
from amaters.wire import commands_pb2 as cb

SECRET = "a text that is nowhere else"


def forget(storage: DirectoryStorage) -> None:
    mark = cb.Command(history_mark=cb.HistoryMark())
    storage.forget_history(lambda: storage.append(mark))
    storage.collect(set())


def written(path: Path, options: StorageOptions) -> tuple[DirectoryStorage, RowStore]:
    """Rows of which some go: in the log's old files, its recycled ones, and a segment."""
    for run in range(4):  # each run begins a file of the log
        storage, store = opened(path, options)
        store.put([(n, SECRET, n) for n in range(1000 * run, 1000 * run + 50)])
        storage.snapshot()
        shut(storage, store)
    storage, store = opened(path, options)
    store.exchange(storage.tables()[0])
    store.put([row(n) for n in range(5000, 5050)])
    store.delete(range(4000))
    return storage, store


def holding(path: Path) -> set[str]:
    """Files with the text in them, compressed or not; those of the state are encrypted."""
    files = (file for file in path.rglob("*") if file.is_file() and "state" not in file.parts)
    return {str(file.relative_to(path)) for file in files if SECRET.encode() in file.read_bytes()}


@pytest.mark.parametrize("backend", BACKENDS)
def test_deleted_rows_leave_the_directory(tmp_path: Path, backend: str) -> None:
    """The log begins with the newer of two marks; old files are gone, recycled ones too."""
    options = StorageOptions(log=LogOptions(backend=backend))
    storage, store = written(tmp_path / "db", options)
    before = holding(tmp_path)
    assert any("log" in name for name in before)
    stop = threading.Event()
    added: list[int] = []

    def write() -> None:
        for n in range(10_000, 11_000):
            if stop.is_set():
                return
            store.put([row(n)])
            added.append(n)

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(2):
        forget(storage)
    stop.set()
    thread.join()
    assert holding(tmp_path) == set()
    assert storage.snapshots.rebuilt_from > 0
    expected = [*range(5000, 5050), *added]
    assert keys_of(store) == expected
    shut(storage, store, dies=True)
    storage, store = opened(tmp_path / "db", options)
    assert keys_of(store) == expected
    assert verify(storage).ok
    shut(storage, store)


def test_deleted_rows_leave_an_object_store(bucket: Bucket, tmp_path: Path) -> None:
    """Objects, log and snapshots of a store, and the state made again from them."""
    options = everything(bucket)
    storage, store = written(tmp_path / "db", options)
    forget(storage)
    expected = list(range(5000, 5050))
    assert keys_of(store) == expected
    shut(storage, store)
    blobs = open_blobs(bucket.url())
    kept = {info.name: blobs.get(info.name) or b"" for info in blobs.list("")}
    assert kept
    assert not [name for name, data in kept.items() if SECRET.encode() in data]
    storage, store = opened(tmp_path / "other", options)
    assert keys_of(store) == expected
    shut(storage, store)
