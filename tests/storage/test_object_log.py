"""The log on an object store: one winner per object, and no deposed writer acknowledges."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from object_support import (
    DATABASE,
    LocalOwnership,
    PausedOwner,
    memory_blobs,
    opened,
    options,
    payloads_of,
    store_owner,
)
from s3 import Bucket, Proxy

from amaters.base.errors import AmatersError, DataError
from amaters.storage.commitlog import object_frames as frames
from amaters.storage.commitlog.object import ObjectLog
from amaters.storage.commitlog.object_reader import name_of
from amaters.storage.remote import BlobInfo, Blobs, check_conditions, open_blobs

TIMEOUT = 0.25  # of requests that are left hanging


def test_one_winner_per_object(bucket: Bucket) -> None:
    """Six writers that take over from each other at every turn: each acknowledged record is
    there once, at its position, and no position twice.
    """
    told: dict[int, bytes] = {}
    barrier = threading.Barrier(6)

    def work(writer: int) -> None:
        blobs = open_blobs(bucket.url())
        barrier.wait()
        for turn in range(2):
            try:
                log, _ = opened(blobs)
            except AmatersError as error:
                assert error.code == "AM-4010"
                continue
            try:
                for n in range(3):
                    payload = b"%d %d %d" % (writer, turn, n)
                    position = log.append(payload)
                    assert told.setdefault(position, payload) == payload
            except AmatersError as error:
                assert error.code in ("AM-4010", "AM-4026")
            finally:
                log.close()

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(work, n) for n in range(6)]:
            done.result()
    found = payloads_of(open_blobs(bucket.url()))
    assert {position: found[position - 1] for position in told} == told
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("kind", ["refuse", "late", "lost"])
def test_unclear_answers_are_resolved(bucket: Bucket, proxy: Proxy, kind: str) -> None:
    """503 before and after success, and lost responses, twice per write: each record is there
    once, at the position that was told.
    """
    blobs = open_blobs(bucket.url(port=proxy.port), timeout_seconds=5)
    log, _ = opened(blobs)
    for n in range(4):
        proxy.fail("PUT", "/log/", kind, times=2)
        assert log.append(b"%d" % n) == n + 1
    log.close()
    assert payloads_of(open_blobs(bucket.url())) == [b"0", b"1", b"2", b"3"]


def test_the_client_sends_a_write_once(bucket: Bucket, proxy: Proxy) -> None:
    """The library underneath repeats nothing that creates: this side decides what a failure
    means.
    """
    blobs = open_blobs(bucket.url(port=proxy.port), timeout_seconds=5)
    proxy.fail("PUT", "/once", "refuse", times=9)
    with pytest.raises(AmatersError, match="AM-4025"):
        blobs.create("once", b"1")
    assert [method for method, path in proxy.requests if "/once" in path] == ["PUT"]


def test_a_request_that_arrives_late(bucket: Bucket, proxy: Proxy) -> None:
    """A write that timed out and was sent again is there once, although the first one arrives
    after all, when the log has long gone on.
    """
    blobs = open_blobs(bucket.url(port=proxy.port), timeout_seconds=TIMEOUT)
    log, _ = opened(blobs)
    stalled = proxy.fail("PUT", "/log/", "stall")
    assert log.append(b"a") == 1
    assert log.append(b"b") == 2
    stalled.go.set()
    assert stalled.done.wait(10)
    assert log.append(b"c") == 3
    log.close()
    assert payloads_of(open_blobs(bucket.url())) == [b"a", b"b", b"c"]


def test_a_late_request_after_a_cut_is_not_acknowledged(bucket: Bucket, proxy: Proxy) -> None:
    """A paused writer's object lands where the log was cut: the write succeeds, the owner is
    another, so nobody is told that it counts, and nobody reads it.
    """
    slow = open_blobs(bucket.url(port=proxy.port), timeout_seconds=30)
    fast = open_blobs(bucket.url())
    old, _ = opened(slow)
    assert old.append(b"before") == 1
    stalled = proxy.fail("PUT", "/log/", "stall")
    zombie = old.submit(b"zombie")
    assert stalled.seen.wait(10)
    new, found = opened(fast)
    assert [record.payload for record in found] == [b"before"]
    assert [new.append(b"%d" % n) for n in range(3)] == [2, 3, 4]
    new.cut(4)
    stalled.go.set()
    error = zombie.exception(30)
    assert isinstance(error, AmatersError) and error.code == "AM-4026"
    assert new.append(b"after") == 5
    new.close()
    old.close()
    names = [info.name for info in fast.list("log/")]
    assert name_of(4) in names, "the zombie's object did not land where this test wants it"
    assert payloads_of(fast, applied=4) == [b"after"]


def test_a_paused_owner_never_acknowledges(bucket: Bucket) -> None:
    """Its object was there before the new owner came: the record stays, but the old owner says
    unknown, and refuses from then on.
    """
    blobs = open_blobs(bucket.url())
    owner = PausedOwner(store_owner(blobs))
    old, _ = opened(blobs, owner=owner)
    owner.pause = True
    written = old.submit(b"written")
    assert owner.paused.wait(10)
    new, found = opened(blobs)
    assert [record.payload for record in found] == [b"written"]
    owner.go.set()
    error = written.exception(10)
    assert isinstance(error, AmatersError) and error.code == "AM-4026"
    with pytest.raises(AmatersError, match="AM-4004"):
        old.append(b"more")
    assert new.append(b"new") == 2
    new.close()
    old.close()


def test_a_deposed_owner_stops_for_ever() -> None:
    """It meets the fence, says that its record is not there, and refuses all that follows; it
    cuts nothing either.
    """
    blobs = memory_blobs()
    ownership = LocalOwnership()
    old, _ = opened(blobs, owner=ownership.coordinator(DATABASE))
    old.append(b"1")
    old.append(b"2")
    new, _ = opened(blobs, owner=ownership.coordinator(DATABASE))
    for _ in range(2):
        with pytest.raises(AmatersError, match="AM-4010"):
            old.append(b"late")
    with pytest.raises(AmatersError, match="AM-4010"):
        old.cut(1)
    assert new.append(b"3") == 3
    new.close()
    log, found = opened(blobs, owner=ownership.coordinator(DATABASE))
    assert [record.payload for record in found] == [b"1", b"2", b"3"]
    log.close()


def test_an_unreachable_store_ends_in_unknown(bucket: Bucket, proxy: Proxy) -> None:
    """When neither write nor look succeeds, whoever waits is told that nobody knows; the log is
    closed, and opening again finds the record or not, but never half of it.
    """
    blobs = open_blobs(bucket.url(port=proxy.port), timeout_seconds=TIMEOUT, retries=0)
    log, _ = opened(blobs, attempts=2)
    log.append(b"1")
    proxy.fail("PUT", "/log/", "lost", times=1)
    proxy.fail("PUT", "/log/", "refuse", times=9)
    proxy.fail("GET", "/log/", "refuse", times=99)
    with pytest.raises(AmatersError, match="AM-4026"):
        log.append(b"2")
    with pytest.raises(AmatersError, match="AM-4004"):
        log.append(b"3")
    log.close()
    assert payloads_of(open_blobs(bucket.url())) == [b"1", b"2"]


def test_an_unreachable_coordinator_ends_in_unknown(bucket: Bucket, proxy: Proxy) -> None:
    """A record that is there is not acknowledged while ownership cannot be read."""
    blobs = open_blobs(bucket.url(port=proxy.port), timeout_seconds=TIMEOUT, retries=0)
    log, _ = opened(blobs, attempts=2)
    proxy.fail("GET", "/owners/", "lost", times=99)
    with pytest.raises(AmatersError, match="AM-4026"):
        log.append(b"1")
    log.close()
    assert payloads_of(open_blobs(bucket.url())) == [b"1"]


class Overtaken:
    """Blobs of a slow reader: ``meanwhile`` happens once, after it listed or got from the log."""

    def __init__(self, inner: Blobs, after: str, meanwhile: Callable[[], object]) -> None:
        self.inner, self._after, self._meanwhile = inner, after, meanwhile
        self.url = inner.url

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        found = list(self.inner.list(prefix))
        self._did("list", prefix)
        return iter(found)

    def get(self, name: str) -> bytes | None:
        found = self.inner.get(name)
        self._did("get", name)
        return found

    def _did(self, what: str, name: str) -> None:
        if what == self._after and name.startswith("log/"):
            self._after = ""
            self._meanwhile()


def filled(blobs: Blobs, count: int) -> None:
    log, _ = opened(blobs)
    for n in range(count):
        log.append(b"%d" % n)
    log.close()


def cut(blobs: Blobs, position: int) -> None:
    log, _ = opened(blobs, applied=position)
    log.cut(position)
    log.close()


def test_a_stale_listing_of_snapshots_starts_over() -> None:
    """A reader that saw no snapshot finds the log cut: it is told to start over, and does from
    the snapshot that replaced it.
    """
    blobs = memory_blobs()
    filled(blobs, 9)
    cut(blobs, 9)
    with pytest.raises(AmatersError, match="AM-4027"):
        opened(blobs, newest_snapshot=lambda: 9)
    log, found = opened(blobs, applied=9, newest_snapshot=lambda: 9)
    assert found == [] and log.append(b"next") == 10
    log.close()


def test_a_fence_below_a_snapshot_does_not_count() -> None:
    """The log was cut behind a reader's back so that its end looked like the end: after its
    fence it looks for snapshots again, finds one that covers it and starts over; the fence in
    the cut part harms nobody.
    """
    blobs = memory_blobs()
    filled(blobs, 3)

    def others_go_on() -> None:
        log, _ = opened(blobs, applied=3)
        for n in range(9):
            log.append(b"more %d" % n)
        log.cut(12)
        log.close()
        snapshots.append(12)

    snapshots = [3]
    slow = Overtaken(blobs, "get", others_go_on)
    with pytest.raises(AmatersError, match="AM-4027"):
        opened(slow, applied=3, newest_snapshot=lambda: snapshots[-1])  # type: ignore[arg-type]
    assert name_of(6) in [info.name for info in blobs.list("log/")], "there is no such fence"
    log, found = opened(blobs, applied=12, newest_snapshot=lambda: 12)
    assert found == [] and log.append(b"next") == 13
    log.close()
    assert payloads_of(blobs, applied=12) == [b"next"]


def test_a_hole_is_noticed(bucket: Bucket) -> None:
    """Objects that vanish while a reader is on its way: start over when a snapshot replaces them,
    damage when none does.
    """
    blobs = open_blobs(bucket.url())
    filled(blobs, 6)
    slow = Overtaken(blobs, "list", lambda: blobs.delete([name_of(4)]))
    with pytest.raises(AmatersError, match="AM-4027"):
        opened(slow, newest_snapshot=lambda: 6)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="AM-4001"):
        opened(blobs, newest_snapshot=lambda: 0)


def test_cutting_is_ascending_and_keeps_the_newest() -> None:
    """What a crash in the middle leaves is the end of the log, whole; a next cut finishes."""
    blobs = memory_blobs()
    filled(blobs, 6)
    log, _ = opened(blobs, applied=6)
    calls: list[Sequence[str]] = []
    inner = blobs.delete
    blobs.delete = lambda names: (calls.append(names), inner(names))[1]  # type: ignore[method-assign]
    log.cut(6)
    assert [name for names in calls for name in names] == [name_of(n) for n in range(1, 9)]
    assert [info.name for info in blobs.list("log/")] == [name_of(9)]
    log.close()
    assert payloads_of(blobs, applied=6) == []


def test_cutting_keeps_what_an_older_snapshot_needs() -> None:
    """An owner that read only the end does not take what lies before it for useless: everything
    after the position that is cut stays, whoever cuts.
    """
    for applied in (0, 3, 6, 8):
        for position in (0, 2, 5, 8):
            blobs = memory_blobs()
            filled(blobs, 8)
            log, _ = opened(blobs, applied=applied)
            log.cut(position)
            log.close()
            assert payloads_of(blobs, applied=position) == [b"%d" % n for n in range(position, 8)]


def unread(blobs: Blobs, newest: int) -> ObjectLog:
    """A log that was not read yet, beside a snapshot."""
    return ObjectLog(blobs, store_owner(blobs), DATABASE, options(), newest_snapshot=lambda: newest)


def draft(sequence: int, epoch: int, first: int, previous: bytes) -> frames.Draft:
    return frames.Draft(DATABASE, sequence, epoch, first, b"n" * 16, previous)


def digest_of(data: bytes, sequence: int) -> bytes:
    return frames.decode_head(data, "", DATABASE, sequence).digest


def test_lower_epochs_behind_a_fence_are_void() -> None:
    """A deposed writer's objects behind the fence take a number and no position."""
    blobs = memory_blobs()
    log, _ = opened(blobs)
    log.append(b"one")
    log.close()
    three = blobs.get(name_of(3))
    assert three is not None
    fence = frames.encode(draft(4, 7, 2, digest_of(three, 3)), [])
    zombie = frames.encode(draft(5, 1, 2, digest_of(three, 3)), [b"zombie"])
    new = frames.encode(draft(6, 7, 2, digest_of(fence, 4)), [b"two"])
    for number, data in enumerate((fence, zombie, new), start=4):
        blobs.create(name_of(number), data)
    ownership = LocalOwnership()
    for _ in range(7):
        ownership.take(DATABASE)
    for applied, expected in ((0, [b"one", b"two"]), (1, [b"two"]), (2, [])):
        owner = ownership.coordinator(DATABASE)
        log, found = opened(blobs, applied, owner=owner)
        assert [record.payload for record in found] == expected
        log.close()


def test_late_objects_where_the_log_was_cut_are_ignored() -> None:
    """One that lands directly before what is left of the log, which is one object or several."""
    for kept in (1, 4):
        blobs = memory_blobs()
        filled(blobs, 3)
        filled(blobs, 6)
        names = [info.name for info in blobs.list("log/")]
        zombie = len(names) - kept
        blobs.delete(names[:zombie])
        blobs.create(name_of(zombie), frames.encode(draft(zombie, 1, 4, b"x" * 32), [b"zombie"]))
        applied = 9 - kept
        assert payloads_of(blobs, applied) == [b"%d" % n for n in range(6 - kept, 6)]
        assert payloads_of(blobs, 9) == []
        given: list[object] = []
        with pytest.raises(AmatersError, match="AM-4027"):
            for record in unread(blobs, 9).replay(3):
                given.append(record)
        assert given == [], "what the log holds no more was given to a reader from an old snapshot"


def test_objects_of_another_past_are_damage() -> None:
    """A consistent object that does not follow the one before it, an epoch that rises without a
    fence, and an epoch below one that wrote, are refused.
    """
    for epoch, previous in ((1, b"x" * 32), (2, None)):
        blobs = memory_blobs()
        log, _ = opened(blobs)
        log.append(b"one")
        log.close()
        last = blobs.get(name_of(3))
        assert last is not None
        chain = previous or digest_of(last, 3)
        blobs.create(name_of(4), frames.encode(draft(4, epoch, 2, chain), [b"other"]))
        with pytest.raises(DataError, match="AM-4001"):
            opened(blobs)
    blobs = memory_blobs()
    for _ in range(3):
        filled(blobs, 1)
    with pytest.raises(AmatersError, match="AM-4010"):
        opened(blobs, owner=LocalOwnership().coordinator(DATABASE))


def test_every_flipped_bit_is_damage() -> None:
    """Of any object but for those before the applied position."""
    blobs = memory_blobs()
    filled(blobs, 3)
    for number in (3, 5):
        name = name_of(number)
        whole = blobs.get(name)
        assert whole is not None
        for byte in range(len(whole)):
            damaged = bytearray(whole)
            damaged[byte] ^= 1 << byte % 8
            blobs.put(name, damaged)
            with pytest.raises(DataError, match="AM-4001"):
                opened(blobs)
        for short in (b"", whole[:-1], whole + b"x"):
            blobs.put(name, short)
            with pytest.raises(DataError, match="AM-4001"):
                opened(blobs)
        blobs.put(name, whole)
    assert payloads_of(blobs) == [b"0", b"1", b"2"]


def test_a_group_is_one_object() -> None:
    """Records that are appended together are one write; many appends at once are few."""
    blobs = memory_blobs()
    log, _ = opened(blobs)
    before = len(list(blobs.list("log/")))
    assert log.append_all([b"%d" % n for n in range(1000)]) == 1000
    assert len(list(blobs.list("log/"))) == before + 1
    futures: list[Future[int]] = [log.submit(b"x") for _ in range(500)]
    assert [future.result() for future in futures] == list(range(1001, 1501))
    assert len(list(blobs.list("log/"))) < before + 400
    log.close()


def test_a_store_that_overwrites_is_refused(bucket: Bucket) -> None:
    """The protocol rests on If-None-Match: a store that ignores it is noticed before it is used;
    the S3 server here passes.
    """
    blobs = open_blobs(bucket.url())
    check_conditions(blobs)
    assert list(blobs.list("probe/")) == []
    careless = memory_blobs()
    careless.create = lambda name, data: (careless.put(name, data), True)[1]  # type: ignore[method-assign]
    with pytest.raises(AmatersError, match="AM-4029"):
        check_conditions(careless)
