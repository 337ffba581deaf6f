"""Objects on an S3 server, their cache on disk, and what collects their garbage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from object_support import memory_blobs
from s3 import Bucket, Proxy

from amaters.base.errors import AmatersError, DataError, fail
from amaters.storage.cache import DiskCache
from amaters.storage.collector import Collector
from amaters.storage.files import Buffer, Disk
from amaters.storage.objects import BLOCK_BYTES, FileObjects, ObjectStore
from amaters.storage.remote import Blobs, open_blobs
from amaters.storage.remote_objects import EXTENT_BYTES, RemoteObjects
from amaters.wire import commands_pb2 as cb

ID = bytes(range(16))
MIB = 1 << 20


def content(size: int) -> bytes:
    return bytes(bytearray(i * 31 + i // 251 & 255 for i in range(min(size, 70_000)))) * (
        size // 70_000 + 1
    )


def put(store: ObjectStore, data: bytes, object_id: bytes = ID) -> cb.ObjectRef:
    writer = store.create(object_id, len(data))
    for start in range(0, len(data), 300_001):
        writer.write(data[start : start + 300_001])
    return writer.finish()


def cache_in(path: Path, limit: int = 64 * MIB) -> DiskCache:
    return DiskCache(path, Disk(), limit)


@pytest.mark.parametrize("scheme", ["s3", "file"])
def test_any_part_can_be_read(bucket: Bucket, tmp_path: Path, scheme: str) -> None:
    """Small objects in one request and large ones in parts; whole, prefix and ranges across block
    and extent borders, with a cold cache, a warm one and none.
    """
    url = bucket.url() if scheme == "s3" else f"file://{tmp_path}/store"
    blobs = open_blobs(url)
    cache = cache_in(tmp_path / "cache")
    for number, size in enumerate((0, 1, BLOCK_BYTES, EXTENT_BYTES + 5, 9 * MIB)):
        data = content(size)[:size]
        ref = put(RemoteObjects(blobs), data, bytes([number]) * 16)
        assert ref == put(FileObjects(tmp_path / "files", Disk()), data, bytes([number]) * 16)
        for kept in (None, cache, cache):
            reader = RemoteObjects(blobs, kept).open(ref)
            for offset in (0, BLOCK_BYTES - 2, EXTENT_BYTES - 2, EXTENT_BYTES, size - 3):
                length = min(70_000, size - offset)
                if length >= 0 and offset >= 0:
                    assert reader.read(offset, length) == data[offset : offset + length]
            assert reader.read() == data
            assert reader.read_prefix(size // 2, 10) == data[: size // 2]
        with pytest.raises(DataError, match="AM-4001"):
            reader.read(size, 1)
    assert sorted(RemoteObjects(blobs).ids()) == [bytes([n]) * 16 for n in range(5)]
    RemoteObjects(blobs, cache).delete(bytes(16))
    assert len(RemoteObjects(blobs).ids()) == 4


def test_uploads_survive_a_bad_network(bucket: Bucket, proxy: Proxy) -> None:
    """What only ever says the same is sent again: refused, lost and doubtful requests of small
    objects and of parts of large ones.
    """
    blobs = open_blobs(bucket.url(port=proxy.port), timeout_seconds=5)
    store = RemoteObjects(blobs)
    for number, size in enumerate((1000, 9 * MIB)):
        for kind in ("refuse", "late", "lost"):
            proxy.fail("PUT", "/objects/", kind)
            proxy.fail("POST", "/objects/", "refuse")
        data = content(size)[:size]
        ref = put(store, data, bytes([number]) * 16)
        proxy.fail("GET", "/objects/", "lost")
        assert store.open(ref).read() == data


def test_unfinished_uploads_are_not_objects(bucket: Bucket) -> None:
    """Aborted, wrong-sized and interrupted ones, small and in parts."""
    store = RemoteObjects(open_blobs(bucket.url()))
    store.create(ID, 10).abort()
    for size in (10, 20 * MIB):
        writer = store.create(ID, size)
        writer.write(content(size)[: size - 1])
        with pytest.raises(DataError, match="AM-3031"):
            writer.finish()
        lost = store.create(ID, size)
        lost.write(content(size)[:size])
    assert store.ids() == []


def test_damage_in_the_store_is_an_error() -> None:
    """Flips anywhere, a cut, a missing object, and an older one under the same name."""
    blobs = memory_blobs()
    store = RemoteObjects(blobs)
    data = content(BLOCK_BYTES + 300)[: BLOCK_BYTES + 300]
    ref = put(store, data)
    name = f"objects/{ID.hex()}"
    whole = blobs.get(name)
    assert whole is not None
    reported = 0
    for byte in [*range(0, 40), *range(BLOCK_BYTES, len(whole), 7)]:
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << byte % 8
        blobs.put(name, damaged)
        try:
            assert store.open(ref).read() == data
        except DataError as error:
            assert error.code == "AM-4001"
            reported += 1
    assert reported > 40
    blobs.put(name, whole[:-1])
    with pytest.raises(DataError, match="AM-4001"):
        store.open(ref).read()
    put(store, data[::-1])
    with pytest.raises(DataError, match="AM-4001"):
        store.open(ref).read()
    store.delete(ID)
    with pytest.raises(DataError, match="AM-4007"):
        store.open(ref).read()


class Counting:
    """Blobs that count the ranges that are read."""

    def __init__(self, inner: Blobs) -> None:
        self._inner = inner
        self.ranges = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def read(self, name: str, ranges: list[tuple[int, int]]) -> list[memoryview]:
        self.ranges += len(ranges)
        return self._inner.read(name, ranges)


def test_the_cache_survives_a_restart_and_is_never_believed(tmp_path: Path) -> None:
    """Each extent is fetched once, also over restarts; an entry that is damaged, cut, longer or
    gone is fetched again, and the answer is right.
    """
    blobs = Counting(memory_blobs())
    size = 5 * EXTENT_BYTES - 10
    data = content(size)[:size]
    ref = put(RemoteObjects(blobs), data)  # type: ignore[arg-type]

    def read_again() -> int:
        before = blobs.ranges
        store = RemoteObjects(blobs, cache_in(tmp_path))  # type: ignore[arg-type]
        assert store.open(ref).read() == data
        return blobs.ranges - before

    assert [read_again() for _ in range(3)] == [6, 0, 0]
    entries = sorted(tmp_path.iterdir())
    assert len(entries) == 6
    for path in entries:
        whole = path.read_bytes()
        for bad in (whole[:-1], whole + b"x", bytes([whole[0] ^ 1]) + whole[1:], b""):
            path.write_bytes(bad)
            assert read_again() == 1
            assert path.read_bytes() == whole
        path.unlink()
        assert read_again() == 1
    (tmp_path / "7.tmp").write_bytes(b"left behind")
    assert read_again() == 0 and not (tmp_path / "7.tmp").exists()


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    """Never more bytes than its limit, on disk and by its count; the least recently used entries
    go, also across a restart with a smaller limit; what is larger than all of it is not kept.
    """
    cache = cache_in(tmp_path, 100)
    for n in range(9):
        cache.put(f"e{n}", bytes(20))
        assert cache.get("e0") is not None
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) == cache.bytes <= 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e0", "e5", "e6", "e7", "e8"]
    cache.put("large", bytes(101))
    assert cache.get("large") is None and cache.bytes == 100
    for age, name in enumerate(("e7", "e5", "e8", "e0", "e6")):
        os.utime(tmp_path / name, ns=(age, age))
    smaller = cache_in(tmp_path, 45)
    assert smaller.bytes == 40 and smaller.get("e6") is not None and smaller.get("e0") is not None
    cache_in(tmp_path, 45).drop_all({"e0", "e6"})
    assert list(tmp_path.iterdir()) == []


class FullDisk(Disk):
    """A disk without room."""

    def write(self, fd: int, data: Buffer, path: Path) -> None:
        super().write(fd, data[:3], path)
        fail("AM-4008", file=path.name, what="injected")


class BrokenDisk(Disk):
    """A disk that cannot be read."""

    def read_at(self, fd: int, offset: int, length: int, path: Path) -> memoryview:
        fail("AM-4001", file=path.name, what="injected")


@pytest.mark.parametrize("disk", [FullDisk(), BrokenDisk()])
def test_a_bad_disk_only_costs_the_cache(tmp_path: Path, disk: Disk) -> None:
    """Reads are right from the store when nothing can be kept or read back."""
    store = RemoteObjects(memory_blobs(), DiskCache(tmp_path, disk, MIB))
    ref = put(store, b"content" * 100)
    for _ in range(2):
        assert store.open(ref).read() == b"content" * 100
    assert not list(tmp_path.glob("*.tmp"))


class Hours:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.hours = 0.0

    def now(self) -> float:
        return self.monotonic()

    def monotonic(self) -> float:
        return self.hours * 3600

    def cpu(self) -> float:
        return 0.0


def test_garbage_is_seen_twice_before_it_goes() -> None:
    """Named objects stay; unnamed ones go at the second look after the grace period; one that was
    named in between starts again; a deposed owner deletes nothing.
    """
    blobs = memory_blobs()
    store, clock = RemoteObjects(blobs), Hours()
    ids = [bytes([n]) * 16 for n in range(4)]
    for one in ids:
        put(RemoteObjects(blobs), b"x", one)  # by an earlier process
    owner = [True]
    collector = Collector(store, lambda: owner[0], clock)
    named = {ids[0], ids[1]}
    assert collector.look(lambda: named) == 0
    clock.hours = 0.9
    assert collector.look(lambda: named | {ids[2]}) == 0
    clock.hours = 1.0
    owner[0] = False
    assert collector.look(lambda: named) == 0
    owner[0] = True
    assert collector.look(lambda: named) == 1
    assert sorted(store.ids()) == ids[:3]
    clock.hours = 2.0
    assert collector.look(lambda: named) == 1
    assert sorted(store.ids()) == ids[:2]


def test_what_is_named_after_the_listing_stays() -> None:
    """A commit between the listing and the look at the names is respected, and so is what this
    process made, named or not.
    """
    blobs = memory_blobs()
    put(RemoteObjects(blobs), b"x")
    store, clock = RemoteObjects(blobs), Hours()
    put(store, b"y", b"y" * 16)
    collector = Collector(store, lambda: True, clock)
    collector.look(set)
    clock.hours = 5
    named: set[bytes] = set()

    def commit() -> set[bytes]:
        named.add(ID)
        return named

    assert collector.look(commit) == 0
    assert store.ids() == [ID, b"y" * 16] and store.reserved == {b"y" * 16}


def test_urls_that_are_no_store() -> None:
    """A typed error says what is wrong with them."""
    for url in ("ftp://x/y", "s3://", "s3://bucket/x?colour=red", "az://container/x"):
        with pytest.raises(AmatersError, match="AM-4028"):
            open_blobs(url)
