"""The commit log on an object store: put-if-absent, one winner per object, fenced by epoch.

Objects are numbered without gaps; a writer creates the next one and no other. When it is there
already, somebody else is the owner now, and this writer stops for ever. An append is acknowledged
after its object is there *and then* the coordinator still names us: an object that was created by a
paused and deposed writer may lie where the log was cut, where nobody reads. Taking over: acquire
the epoch, read to the end, close it with a fence, and look for snapshots again; one that covers the
fence means that the end was none, and reading starts over.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from amaters.base.errors import AmatersError, fail
from amaters.base.ids import new_id
from amaters.storage.commitlog import object_frames as frames
from amaters.storage.commitlog.core import RECORD_BYTES_MAX
from amaters.storage.commitlog.object_reader import PREFIX, LogReader, name_of
from amaters.storage.commitlog.segments import Record
from amaters.storage.coordinator import Coordinator
from amaters.storage.remote import Blobs, Patience, settle_create

_DEBT_MIN = 16 << 10  # what an object costs to read back, however small
_CUT_BATCH = 256


@dataclass(frozen=True, slots=True)
class ObjectLogOptions:
    """How the log on an object store writes.

    ``batch_size`` and ``batch_bytes``: most records, and about the most bytes, of one object.
    ``channel_capacity``: most appends waiting. ``attempts`` and ``pause_seconds``: how an unclear
    answer of the store is followed up, with growing pauses.
    """

    batch_size: int = 4096
    batch_bytes: int = 8 << 20
    channel_capacity: int = 4096
    attempts: int = 8
    pause_seconds: float = 0.05

    def __post_init__(self) -> None:
        if min(self.batch_size, self.batch_bytes, self.channel_capacity, self.attempts) < 1:
            fail("AM-1002", name="log options", what="sizes must be at least 1")


@dataclass(slots=True)
class _Append:
    payload: bytes
    future: Future[int]


class ObjectLog:
    """One handle for all threads. First ``create`` once, then ``replay`` to its end, then append.

    ``newest_snapshot``: position of the newest snapshot that a new owner could start from; 0: none.
    ``known_snapshot``: the newest that the caller saw before; starting over helps only when there
    is a newer one.
    """

    backend = "object"

    def __init__(
        self,
        blobs: Blobs,
        coordinator: Coordinator,
        database_id: bytes,
        options: ObjectLogOptions | None = None,
        *,
        newest_snapshot: Callable[[], int] = lambda: 0,
        known_snapshot: int = 0,
    ) -> None:
        self.options = options or ObjectLogOptions()
        self.notice: str | None = None
        self.bytes_since_checkpoint = 0
        self.epoch = 0
        self._blobs, self._coordinator, self._database_id = blobs, coordinator, database_id
        self._newest_snapshot, self._known_snapshot = newest_snapshot, known_snapshot
        self._stop = threading.Event()
        self._patience = Patience(
            self.options.attempts, self.options.pause_seconds, self._stop.wait
        )
        self._lock = threading.Lock()
        self._work, self._room = threading.Condition(self._lock), threading.Condition(self._lock)
        self._queue: deque[_Append] = deque()
        self._thread: threading.Thread | None = None
        self._ready = self._closing = False
        self._failed: BaseException | None = None
        self._last = self._sequence = 0
        self._chain = frames.GENESIS
        self._objects: deque[tuple[int, int]] = deque()  # number, position of its last record

    @property
    def last(self) -> int:
        """The highest durable position."""
        return self._last

    # ---- opening -----------------------------------------------------------------------------

    def create(self, first: int = 1) -> None:
        """The first object of a new log, if there is none. Raises: AM-4025, AM-4031."""
        draft = frames.Draft(self._database_id, 1, 0, first, bytes(16), frames.GENESIS)
        settle_create(self._blobs, name_of(1), frames.encode(draft, []), self._patience)

    def replay(self, applied: int) -> Iterator[Record]:
        """Records after ``applied``, all of them and once; then this process owns the log.

        Raises: AM-4001, AM-4006; AM-4010 when somebody else takes over meanwhile; AM-4027 when a
        newer snapshot must be read first; AM-4025.
        """
        self.epoch = self._coordinator.acquire()
        reader = LogReader(
            self._blobs, self._database_id, self._newest_snapshot, self._known_snapshot
        )
        yield from reader.records(applied)
        while True:
            self._sequence, self._last, self._chain = reader.sequence, reader.last, reader.chain
            if reader.epoch >= self.epoch:
                fail("AM-4010", seen=reader.epoch, ours=self.epoch)
            draft = self._draft()
            fence = frames.encode(draft, [])
            other = settle_create(self._blobs, name_of(draft.sequence), fence, self._patience)
            if other is None:
                break
            yield from reader.accept(draft.sequence, other)
        newest = self._newest_snapshot()
        if newest > self._last:
            reader.lost(f"it ends before position {newest}, of which there is a snapshot")
        if self._last < applied:
            what = f"record {self._last + 1}, which was applied before"
            fail("AM-4001", file="the log on the object store", what=what)
        yield from reader.held()
        self._objects = reader.objects
        self.bytes_since_checkpoint = reader.debt if self._last > applied else 0
        self._advance(fence, draft, 0)
        self._ready = True

    def _draft(self) -> frames.Draft:
        return frames.Draft(
            self._database_id,
            self._sequence + 1,
            self.epoch,
            self._last + 1,
            new_id(),
            self._chain,
        )

    def _advance(self, data: bytes, draft: frames.Draft, count: int) -> None:
        name = name_of(draft.sequence)
        head = frames.decode_head(data, name, self._database_id, draft.sequence)
        self._sequence, self._chain = draft.sequence, head.digest
        self._last += count
        self._objects.append((draft.sequence, self._last))

    # ---- appending, on any thread ------------------------------------------------------------

    def append(self, payload: bytes) -> int:
        """Make a record durable and return its position (consecutive).

        Raises: AM-3005 (too large), AM-4026 (nobody knows whether it is durable), AM-4010 (it is
        not, and never will be: somebody else took over); after those only AM-4004 or AM-4010.
        """
        return self.submit(payload).result()

    def append_all(self, payloads: Sequence[bytes]) -> int:
        """Make records durable together and return the position of the last. They go to the writer
        at once, past the channel's limit, and share an object while they fit.

        Raises: as ``append``.
        """
        made = [_checked(payload) for payload in payloads]
        with self._lock:
            self._check_open()
            self._queue.extend(made)
            self._start()
        return [one.future.result() for one in made][-1]

    def submit(self, payload: bytes) -> Future[int]:
        """The position of a record, once it is durable. Waits while the channel is full.

        Raises: AM-3005, AM-4004, AM-4010.
        """
        made = _checked(payload)
        with self._lock:
            self._check_open()
            while len(self._queue) >= self.options.channel_capacity:
                self._room.wait()
                self._check_open()
            self._queue.append(made)
            self._start()
        return made.future

    async def append_async(self, payload: bytes) -> int:
        """``append`` for tasks. Raises: AM-4009 when the channel is full, and as ``append``."""
        made = _checked(payload)
        with self._lock:
            self._check_open()
            if len(self._queue) >= self.options.channel_capacity:
                fail("AM-4009", waiting=len(self._queue))
            self._queue.append(made)
            self._start()
        return await asyncio.wrap_future(made.future)

    def _check_open(self) -> None:
        if isinstance(self._failed, AmatersError) and self._failed.code == "AM-4010":
            fail("AM-4010", **self._failed.fields)
        if self._failed is not None or self._closing or not self._ready:
            fail("AM-4004", path=self._blobs.url)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="amaters-log", daemon=True)
            self._thread.start()
        self._work.notify()

    # ---- writing, on the writer thread -------------------------------------------------------

    def _run(self) -> None:
        while batch := self._take():
            try:
                first = self._write([made.payload for made in batch])
            except BaseException as error:  # noqa: BLE001 - handed to everybody who waits
                self._fail(error, batch)
                return
            for position, made in enumerate(batch, start=first):
                made.future.set_result(position)

    def _take(self) -> list[_Append]:
        """The appends of the next object; none at the end."""
        with self._lock:
            while not self._queue and not self._closing:
                self._work.wait()
            batch: list[_Append] = []
            size = 0
            while self._queue and len(batch) < self.options.batch_size:
                size += len(self._queue[0].payload)
                if batch and size > self.options.batch_bytes:
                    break
                batch.append(self._queue.popleft())
            self._room.notify_all()
            return batch

    def _write(self, payloads: list[bytes]) -> int:
        """Position of the first record, when all are durable and this process was the owner after
        that. Raises: AM-4010, AM-4026.
        """
        draft = self._draft()
        data = frames.encode(draft, payloads)
        name = name_of(draft.sequence)
        try:
            other = settle_create(self._blobs, name, data, self._patience)
        except AmatersError as error:
            fail("AM-4026", what=error.message)
        if other is not None:
            head = frames.decode_head(other, name, self._database_id, draft.sequence)
            fail("AM-4010", seen=head.epoch, ours=self.epoch)
        if not self._owns():
            fail("AM-4026", what="another writer took over before it was acknowledged")
        self.bytes_since_checkpoint += max(len(data), _DEBT_MIN)
        with self._lock:
            self._advance(data, draft, len(payloads))
        return draft.first

    def _owns(self) -> bool:
        try:
            return self._coordinator.holds(self.epoch)
        except AmatersError as error:
            fail("AM-4026", what=error.message)

    def _fail(self, error: BaseException, batch: list[_Append]) -> None:
        with self._lock:
            self._failed = error
            waiting = [*batch, *self._queue]
            self._queue.clear()
            self._room.notify_all()
        for made in waiting:
            made.future.set_exception(error)

    # ---- truncating and closing --------------------------------------------------------------

    def cut(self, position: int) -> None:
        """Delete what a durable snapshot at ``position`` replaces, oldest first, only as the owner;
        the newest object always stays. Any thread may call it. Raises: AM-4010, AM-4025.
        """
        with self._lock:
            covered = 0
            while covered < len(self._objects) - 1 and self._objects[covered][1] <= position:
                covered += 1
            numbers = [number for number, _ in list(self._objects)[:covered]]
        for start in range(0, len(numbers), _CUT_BATCH):
            if not self._coordinator.holds(self.epoch):
                fail("AM-4010", seen=self.epoch + 1, ours=self.epoch)
            part = numbers[start : start + _CUT_BATCH]
            self._blobs.delete([name_of(number) for number in part])
            with self._lock:
                for _ in part:
                    self._objects.popleft()
        self.bytes_since_checkpoint = 0

    def forgetting(self) -> AbstractContextManager[None]:
        """Every write is an object of its own, and a cut deletes it."""
        return nullcontext()

    def close(self) -> None:
        """Finish what was submitted and let go. Nothing is lost without."""
        with self._lock:
            self._closing = True
            self._work.notify()
            self._room.notify_all()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        self._stop.set()
        self._coordinator.release()


def _checked(payload: bytes) -> _Append:
    if len(payload) > RECORD_BYTES_MAX:
        fail("AM-3005", what=f"a command of {len(payload)} bytes")
    future: Future[int] = Future()
    future.set_running_or_notify_cancel()  # what is on its way cannot be called back
    return _Append(payload, future)


__all__ = ["PREFIX", "ObjectLog", "ObjectLogOptions"]
