"""A whole database on an S3 server: objects alone, or log and snapshots too."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from s3 import Bucket, Proxy
from test_rowstore import record, row, table

from amaters.base.errors import AmatersError, UsageError
from amaters.storage.commitlog.devices import LogOptions
from amaters.storage.directory import DirectoryStorage, open_directory
from amaters.storage.options import StorageOptions
from amaters.storage.remote import Blobs, open_blobs
from amaters.storage.rowstore import RowStore
from amaters.wire import commands_pb2 as cb

TABLE = table()
KINDS = ("refuse", "late", "lost")


def everything(bucket: Bucket, **more: int) -> StorageOptions:
    """Objects, log and snapshots on the server."""
    return StorageOptions(objects_url=bucket.url(port=more.get("port")), log_on_store=True)


def opened(path: Path, options: StorageOptions | None = None) -> tuple[DirectoryStorage, RowStore]:
    storage = open_directory(path, options=options)
    if storage.version(TABLE.id) is None:
        return storage, RowStore.create(storage, record(TABLE))
    return storage, RowStore(storage, TABLE.id)


def keys_of(store: RowStore) -> list[int]:
    return [found[0] for found in store.range(None, None)]


def shut(storage: DirectoryStorage, store: RowStore, *, dies: bool = False) -> None:
    store.close()
    storage.abandon() if dies else storage.close()


def test_a_lost_directory_costs_nothing(bucket: Bucket, tmp_path: Path) -> None:
    """Rows, their segments and deletions are all there in a new directory, after a snapshot and
    without, after a clean end and a death; the directory itself holds no log and no objects.
    """
    options = everything(bucket)
    expected: list[int] = []
    for run in range(4):
        storage, store = opened(tmp_path / "db", options)
        assert keys_of(store) == expected
        store.put([row(n) for n in range(1000 * run, 1000 * run + 500)])
        store.delete([1000 * run])
        expected += range(1000 * run + 1, 1000 * run + 500)
        if run in (1, 2):
            storage.snapshot()
            store.put([row(10**6 + run)])
            store.delete([10**6 + run])
        assert not (tmp_path / "db" / "log").exists()
        assert not (tmp_path / "db" / "objects").exists()
        shut(storage, store, dies=run % 2 == 0)
        if run != 3:
            shutil.rmtree(tmp_path / "db")
    storage, store = opened(tmp_path / "db")
    assert keys_of(store) == expected, "the directory forgot where its log is"
    shut(storage, store)


def test_the_later_owner_wins(bucket: Bucket, tmp_path: Path) -> None:
    """A second machine opens the database of the first: it sees all that was acknowledged; the
    first is refused from then on, keeps serving reads, and finds all when it opens again.
    """
    options = everything(bucket)
    first, rows = opened(tmp_path / "a", options)
    rows.put([row(1)])
    second, others = opened(tmp_path / "b", options)
    others.put([row(2)])
    with pytest.raises(AmatersError) as caught:
        rows.put([row(3)])
    assert caught.value.code in ("AM-4010", "AM-4026")
    with pytest.raises(AmatersError):
        first.snapshot()
    assert keys_of(rows) == [1] and keys_of(others) == [1, 2]
    others.put([row(4)])
    shut(first, rows)
    shut(second, others)
    first, rows = opened(tmp_path / "a", options)
    assert keys_of(rows) == [1, 2, 4]
    shut(first, rows)


def test_snapshots_cut_the_log(bucket: Bucket, tmp_path: Path) -> None:
    """Two snapshots are kept on the store, the log is cut below the older, and a directory that
    is behind them is made again from them.
    """
    options = everything(bucket)
    blobs = open_blobs(bucket.url())
    storage, store = opened(tmp_path / "db", options)
    store.put([row(1)])
    shut(storage, store)
    shutil.copytree(tmp_path / "db", tmp_path / "old")
    storage, store = opened(tmp_path / "db", options)
    lengths = []
    for n in range(2, 8):
        for key in range(10 * n, 10 * n + 5):
            store.put([row(key)])
        storage.snapshot()
        lengths.append(len(list(blobs.list("log/"))))
    assert lengths[-1] == lengths[-2] < 20
    names = [info.name for info in blobs.list("snapshots/")]
    assert sum(name.endswith(".snapshot") for name in names) == 2
    expected = keys_of(store)
    shut(storage, store)
    storage, store = opened(tmp_path / "old", options)
    assert keys_of(store) == expected and "snapshot" in str(storage.notice)
    shut(storage, store)


def test_damage_on_the_store_is_noticed(bucket: Bucket, tmp_path: Path) -> None:
    """The newest snapshot damaged: the one before and the log give the same rows. A log object
    damaged that no snapshot replaces: an error, never fewer rows.
    """
    options = everything(bucket)
    blobs = open_blobs(bucket.url())
    storage, store = opened(tmp_path / "db", options)
    for n in range(3):
        store.put([row(n)])
        storage.snapshot()
    store.put([row(9)])
    shut(storage, store)
    shutil.rmtree(tmp_path / "db")
    newest = max(n.name for n in blobs.list("snapshots/") if n.name.endswith(".snapshot"))
    whole = blobs.get(newest)
    assert whole is not None
    blobs.put(newest, bytes([whole[0] ^ 1]) + whole[1:])
    storage, store = opened(tmp_path / "db", options)
    assert keys_of(store) == [0, 1, 2, 9]
    shut(storage, store)
    shutil.rmtree(tmp_path / "db")
    last = [info.name for info in blobs.list("log/")][-2]
    whole = blobs.get(last)
    assert whole is not None
    blobs.put(last, whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(AmatersError, match="AM-4001"):
        opened(tmp_path / "db", options)


class Forgetful:
    """Blobs that keep something else of a snapshot than what was sent."""

    def __init__(self, inner: Blobs) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def read(self, name: str, ranges: list[tuple[int, int]]) -> list[memoryview]:
        return [memoryview(bytes(len(view))) for view in self._inner.read(name, ranges)]


def test_a_snapshot_is_read_back_before_the_log_is_cut(bucket: Bucket, tmp_path: Path) -> None:
    """A store that did not keep it is noticed; the log stays whole and the rows are there."""
    options = everything(bucket)
    storage, store = opened(tmp_path / "db", options)
    for n in range(4):
        store.put([row(n)])
        storage.snapshot()
    files = storage._parts.snapshots
    files._blobs = Forgetful(files._blobs)  # type: ignore[attr-defined, arg-type]
    before = [info.name for info in open_blobs(bucket.url()).list("log/")]
    store.put([row(9)])
    with pytest.raises(AmatersError, match="AM-4001"):
        storage.snapshot()
    after = [info.name for info in open_blobs(bucket.url()).list("log/")]
    assert set(before) < set(after)
    shut(storage, store, dies=True)
    storage, store = opened(tmp_path / "new", options)
    assert keys_of(store) == [0, 1, 2, 3, 9]
    shut(storage, store)


def test_writers_on_a_bad_network(bucket: Bucket, proxy: Proxy, tmp_path: Path) -> None:
    """Refused, doubtful and lost requests of log, objects, owners and snapshots while four threads
    write: what is acknowledged is there, in a new directory as well.
    """
    storage, store = opened(tmp_path / "db", everything(bucket, port=proxy.port))
    told: list[int] = []

    def work(thread: int) -> None:
        for n in range(6):
            proxy.fail(("PUT", "GET")[n % 2], "/(log|owners)/", KINDS[n % 3])
            key = 100 * thread + n
            store.put([row(key)])
            told.append(key)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for kind in KINDS:
        proxy.fail("PUT", "/snapshots/", kind)
    storage.snapshot()
    for thread in threads:
        thread.join()
    proxy.faults.clear()
    assert len(told) == 24 and keys_of(store) == sorted(told)
    shut(storage, store, dies=True)
    storage, store = opened(tmp_path / "new", everything(bucket))
    assert keys_of(store) == sorted(told)
    shut(storage, store)


def test_garbage_waits_for_the_store(bucket: Bucket, proxy: Proxy, tmp_path: Path) -> None:
    """Objects of a dropped table go once no kept snapshot wants them; while the store is away they
    stay listed, and nobody's request fails for it.
    """
    storage, store = opened(tmp_path / "db", everything(bucket, port=proxy.port))
    store.put([row(n) for n in range(20_000)])
    store.close()
    there = set(storage.objects.ids())
    storage.append(cb.Command(table_drop=cb.TableDrop(table_id=TABLE.id)))
    for name in ("one", "two"):
        assert storage.collect(set()) == 0
        RowStore.create(storage, record(table(name))).close()
        storage.snapshot()
    refused = proxy.fail("POST", "delete", "refuse", times=99)
    assert storage.collect(set()) == 0 and set(storage.objects.ids()) == there
    refused.times = 0
    assert storage.collect(set()) == len(there) > 0
    assert storage.objects.ids() == [] and storage.failed is None
    storage.close()


def test_objects_alone_on_the_store(bucket: Bucket, tmp_path: Path) -> None:
    """Log and state in the directory, segments on the server, found again without options; another
    database is kept off that place.
    """
    options = StorageOptions(LogOptions("buffered"), objects_url=bucket.url())
    storage, store = opened(tmp_path / "db", options)
    store.put([row(n) for n in range(20_000)])
    shut(storage, store)
    assert (tmp_path / "db" / "log").is_dir() and not (tmp_path / "db" / "objects").exists()
    assert list(open_blobs(bucket.url()).list("objects/")), "nothing became a segment"
    storage, store = opened(tmp_path / "db")
    assert len(keys_of(store)) == 20_000
    assert any((tmp_path / "db" / "cache").iterdir())
    shut(storage, store)
    with pytest.raises(AmatersError, match="AM-4030"):
        opened(tmp_path / "other", options)


def test_what_does_not_belong_together(bucket: Bucket, tmp_path: Path) -> None:
    """A local database is not taken for one on a store, a directory not for another database's,
    and options that contradict each other are refused.
    """
    storage, store = opened(tmp_path / "local")
    shut(storage, store)
    with pytest.raises(AmatersError, match="AM-4028"):
        opened(tmp_path / "local", everything(bucket))
    storage, store = opened(tmp_path / "db", everything(bucket))
    shut(storage, store)
    elsewhere = bucket.url("elsewhere")
    with pytest.raises(AmatersError, match="AM-4028"):
        opened(
            tmp_path / "file", StorageOptions(objects_url=f"file://{tmp_path}", log_on_store=True)
        )
    storage, store = opened(
        tmp_path / "b", StorageOptions(objects_url=elsewhere, log_on_store=True)
    )
    shut(storage, store)
    with pytest.raises(AmatersError, match="AM-4030"):
        opened(tmp_path / "db", StorageOptions(objects_url=elsewhere, log_on_store=True))
    with pytest.raises(UsageError):
        StorageOptions(log_on_store=True)
    with pytest.raises(UsageError):
        StorageOptions(log_url="s3://x/y")


def test_left_over_objects_are_collected(bucket: Bucket, tmp_path: Path) -> None:
    """What an interrupted upload of an earlier process left goes after the grace period; what is
    named, and what this process uploads, stays.
    """
    options = everything(bucket)
    storage, store = opened(tmp_path / "db", options)
    store.put([row(n) for n in range(20_000)])
    writer = storage.objects.create(b"o" * 16, 3)
    writer.write(b"abc")
    writer.finish()
    assert storage.collect_shared() == 0
    shut(storage, store)
    storage, store = opened(tmp_path / "db", options)
    writer = storage.objects.create(b"p" * 16, 3)
    writer.write(b"abc")
    writer.finish()
    collector = storage._parts.collector
    assert collector is not None
    collector._grace = 0.0
    assert storage.collect_shared() == 1
    assert b"o" * 16 not in storage.objects.ids() and b"p" * 16 in storage.objects.ids()
    assert len(keys_of(store)) == 20_000
    shut(storage, store)
