"""The log: any thread or task appends, one thread writes, one durable write serves many appends.

An append is acknowledged, in order of positions, when its frame and all before it are durable.
After a failed write or sync nothing is known about the end, so the log closes for good: whoever
waits gets that error, whoever comes later AM-4004. Only opening again, which looks, goes on.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from amaters.base.errors import fail
from amaters.storage.commitlog import frames
from amaters.storage.commitlog.devices import Buffers, Device, LogOptions, open_device
from amaters.storage.commitlog.segments import SEGMENT_BYTES_MIN, Record, Segments
from amaters.storage.files import Disk

RECORD_BYTES_MAX = 64 << 20
_FRAME_BYTES = 1 << 20  # what small records are gathered into
_LARGE = 1 << 16  # from here a record is a frame of its own, laid out by whoever appends it
_BUFFERS_KEPT = 16


class _Append:
    """One append on its way; ``frame`` is laid out already when it is large."""

    __slots__ = ("frame", "future", "loop", "payload")

    def __init__(
        self,
        payload: bytes,
        future: Future[int] | asyncio.Future[int],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.payload, self.future, self.loop = payload, future, loop
        self.frame: _Body | None = None


_Settled = tuple[_Append, int | BaseException]


@dataclass(frozen=True, slots=True)
class _Body:
    """A frame but for its header, at the start of an aligned buffer."""

    buffer: memoryview
    size: int
    digest: bytes
    count: int

    @property
    def length(self) -> int:
        return frames.blocks(frames.HEAD + self.size)


@dataclass(slots=True)
class _Flight:
    """A frame that was handed to the device."""

    body: _Body
    appends: list[_Append]
    last: int
    witness: int
    end: int = 0
    durable: bool = False


class SegmentLog:
    """One handle for all threads. First ``create`` or ``replay`` to its end, then append.

    ``notice`` is what a person should be told once, such as that direct I/O is refused here.
    ``bytes_since_checkpoint``: what of the disk a checkpoint would free, in whole blocks of this
    run and whole segments of earlier ones.
    """

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        database_id: bytes,
        options: LogOptions | None = None,
        *,
        epoch: int | None = None,
        device: Device | None = None,
    ) -> None:
        self.options = options or LogOptions()
        self.notice: str | None = None
        self.bytes_since_checkpoint = 0
        self._disk, self._device, self._wanted_epoch = disk, device, epoch
        self._directory = directory
        spares = self.options.spare_segments
        self._segments = Segments(directory, disk, database_id, spares=spares)
        self._buffers = Buffers(_BUFFERS_KEPT)
        self._lock = threading.Lock()
        self._work, self._room = threading.Condition(self._lock), threading.Condition(self._lock)
        self._files = threading.Lock()  # held while segments are made, recycled or counted
        self._queue: deque[_Append] = deque()
        self._taken: list[_Append] = []  # from the queue, and not in a flight yet
        self._flights: deque[_Flight] = deque()
        self._thread: threading.Thread | None = None
        self._ready = self._closing = self._failed = self._asleep = False
        self._last = self._durable = self._witnessed = 0
        self._fd, self._path = -1, directory
        self._offset = self._durable_end = self._end = 0

    @property
    def last(self) -> int:
        """The highest durable position."""
        return self._durable

    @property
    def epoch(self) -> int:
        """What new records are written under."""
        return self._segments.epoch

    @property
    def backend(self) -> str:
        """The device in use, which is not the one asked for when ``notice`` says why."""
        return self._device.name if self._device else self.options.backend

    # ---- opening -----------------------------------------------------------------------------

    def create(self, first: int = 1) -> None:
        """The first segment of a new log, or of one that continues another format at ``first``."""
        self._segments.create(first, self._wanted_epoch or 1, SEGMENT_BYTES_MIN)

    def replay(self, applied: int) -> Iterator[Record]:
        """Records after ``applied``, all of them and once, before the first append.

        Raises: AM-4001, AM-4006, AM-4010 when a later epoch has written here.
        """
        segments = self._segments
        yield from segments.recover(applied)
        if segments.last > applied:
            self.bytes_since_checkpoint = sum(segment.size for segment in segments.live)
        seen = segments.epoch
        ours = seen if self._wanted_epoch is None else self._wanted_epoch
        if ours < seen:
            fail("AM-4010", seen=seen, ours=ours)
        segments.epoch = ours
        newest = segments.live[-1]
        if self._device is None:
            self._device, self.notice = open_device(self.options, newest.path, self._disk)
        # What was read may be in the page cache alone; it is built upon from here on.
        fd = self._disk.open_segment(newest.path, direct=False)
        try:
            self._disk.sync(fd, newest.path)
        finally:
            self._disk.close(fd)
        self._last = self._durable = self._witnessed = segments.last
        if segments.reusable and newest.header.first == self._last + 1:
            self._open_segment()
        self._ready = True

    # ---- appending, on any thread ------------------------------------------------------------

    def append(self, payload: bytes) -> int:
        """Make a record durable and return its position (consecutive).

        Raises: AM-3005 (too large), AM-4003, AM-4008; after those only AM-4004.
        """
        return self.submit(payload).result()

    def append_all(self, payloads: Sequence[bytes]) -> int:
        """Make records durable together and return the position of the last. They go to the
        writer at once, past the channel's limit, and share frames.

        Raises: as ``append``.
        """
        futures: list[Future[int]] = [Future() for _ in payloads]
        made = [self._prepared(_Append(p, f)) for p, f in zip(payloads, futures, strict=True)]
        for future in futures:
            future.set_running_or_notify_cancel()
        with self._lock:
            self._check_open()
            for one in made:
                self._enqueue(one)
        return [future.result() for future in futures][-1]

    def submit(self, payload: bytes) -> Future[int]:
        """The position of a record, once it is durable. Waits while the channel is full.

        Raises: AM-3005, AM-4004.
        """
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()  # what is on its way cannot be called back
        made = self._prepared(_Append(payload, future))
        with self._lock:
            self._check_open()
            while len(self._queue) >= self.options.channel_capacity:
                self._room.wait()
                self._check_open()
            self._enqueue(made)
        return future

    async def append_async(self, payload: bytes) -> int:
        """``append`` for tasks: all that a frame holds wake up their loop once.

        Raises: AM-4009 when the channel is full, and what ``append`` raises.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        made = self._prepared(_Append(payload, future, loop))
        with self._lock:
            self._check_open()
            if len(self._queue) >= self.options.channel_capacity:
                fail("AM-4009", waiting=len(self._queue))
            self._enqueue(made)
        return await future

    def _prepared(self, made: _Append) -> _Append:
        size = len(made.payload)
        if size > RECORD_BYTES_MAX:
            fail("AM-3005", what=f"a command of {size} bytes")
        if size >= _LARGE:
            made.frame = self._lay_out([made.payload])
        return made

    def _check_open(self) -> None:
        if self._failed or self._closing or not self._ready:
            fail("AM-4004", path=str(self._directory.parent))

    def _enqueue(self, made: _Append) -> None:
        self._queue.append(made)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="amaters-log", daemon=True)
            self._thread.start()
        elif self._asleep and self._device is not None:
            self._asleep = False
            self._device.wake()
        elif len(self._queue) == 1:
            self._work.notify()

    def _lay_out(self, payloads: list[bytes]) -> _Body:
        """Records in an aligned buffer with room for the header. Cost: one copy, one hash."""
        sizes = len(payloads) * frames.RECORD_OVERHEAD
        size = sizes + sum(map(len, payloads))
        start, end = frames.HEAD, frames.HEAD + size
        buffer = self._buffers.take(frames.blocks(end))
        if len(payloads) == 1:  # no join: a large one is copied once, without the lock
            buffer[start : start + sizes] = len(payloads[0]).to_bytes(sizes, "little")
            np.frombuffer(buffer, np.uint8)[start + sizes : end] = np.frombuffer(
                payloads[0], np.uint8
            )
        else:
            buffer[start:end] = frames.encode_body(payloads)
        buffer[end : frames.blocks(end)] = bytes(frames.blocks(end) - end)
        return _Body(buffer, size, frames.digest(buffer[start:end]), len(payloads))

    # ---- writing, on the writer thread -------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except BaseException as error:  # noqa: BLE001 - handed to everybody who waits
            self._fail(error)

    def _step(self) -> bool:
        """Write what waits, or wait; whether there is more to come."""
        batch = self._take()
        if batch:
            self._write(batch)
        elif not self._flights:
            if self._durable > self._witnessed:
                self._start([], None)
            else:
                return False
        if self._flights:
            self._finish()
        return True

    def _take(self) -> list[_Append]:
        """Appends for the next frames. Waits only when nothing is in flight, and no longer than
        until a witness is due.
        """
        with self._lock:
            while not (self._queue or self._flights or self._closing):
                due = self._durable > self._witnessed
                if not self._work.wait(self.options.witness_seconds if due else None) and due:
                    break
            count = min(len(self._queue), self.options.batch_size)
            batch = [self._queue.popleft() for _ in range(count)]
            if batch:
                self._room.notify_all()
            self._taken = list(batch)
            return batch

    def _write(self, batch: list[_Append]) -> None:
        small: list[_Append] = []
        size = 0
        for made in batch:
            large = made.frame is not None
            if small and (large or size + len(made.payload) > _FRAME_BYTES):
                self._start(small, None)
                small, size = [], 0
            if large:
                self._start([made], made.frame)
            else:
                small.append(made)
                size += len(made.payload)
        if small:
            self._start(small, None)

    def _start(self, appends: list[_Append], body: _Body | None) -> None:
        """Hand one frame to the device; without appends it is a witness."""
        device = self._running_device()
        flight = _Flight(
            body or self._lay_out([made.payload for made in appends]),
            appends,
            self._last + len(appends),
            self._durable,
        )
        self._flights.append(flight)
        del self._taken[: len(appends)]
        while sum(not found.durable for found in self._flights) > device.depth:
            self._finish()
        body = flight.body
        if self._offset + body.length > self._end:
            self._next_segment(flight)
        flight.witness, flight.end = self._durable, self._offset + body.length
        header = frames.FrameHeader(
            self._offset,
            body.count,
            self.epoch,
            self._last + 1,
            flight.witness,
            self._durable_end,
            body.size,
            body.digest,
        )
        life = self._segments.live[-1].header.life
        body.buffer[: frames.HEAD] = frames.encode_head(header, life)
        device.start(self._fd, body.buffer[: body.length], self._offset, self._path)
        self._offset, self._last = flight.end, flight.last
        self.bytes_since_checkpoint += body.length

    def _next_segment(self, waiting: _Flight) -> None:
        """A segment with room for a frame; its header vouches for all before, so those first."""
        while self._flights[0] is not waiting:
            self._finish()
        grown = min(self.options.segment_bytes, 2 * self.bytes_since_checkpoint)
        size = max(SEGMENT_BYTES_MIN, grown, frames.BLOCK + waiting.body.length)
        with self._files:
            self._segments.create(self._last + 1, self.epoch, size)
        self._open_segment()

    def _open_segment(self) -> None:
        device = self._running_device()
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1
        segment = self._segments.live[-1]
        self._fd = self._disk.open_segment(segment.path, direct=device.direct)
        self._path = segment.path
        self._offset = self._durable_end = frames.BLOCK
        self._end = segment.size // frames.BLOCK * frames.BLOCK

    def _running_device(self) -> Device:
        if self._device is None:
            fail("AM-4004", path=str(self._directory.parent))
        return self._device

    def _finish(self) -> None:
        """Wait for a write, or for more to do, and acknowledge what is durable, in order."""
        device = self._running_device()
        with self._lock:
            self._asleep = not self._queue
        written = device.finish()
        with self._lock:
            self._asleep = False
        starts = {id(view.obj) for view in written}
        for flight in self._flights:
            flight.durable = flight.durable or id(flight.body.buffer.obj) in starts
        while self._flights and self._flights[0].durable:
            self._acknowledge(self._flights.popleft())

    def _acknowledge(self, flight: _Flight) -> None:
        self._durable, self._durable_end = flight.last, flight.end
        self._witnessed = max(self._witnessed, flight.witness)
        self._buffers.give(flight.body.buffer)
        first = flight.last - len(flight.appends) + 1
        by_loop: defaultdict[asyncio.AbstractEventLoop, list[_Settled]] = defaultdict(list)
        for position, made in enumerate(flight.appends, start=first):
            if made.loop is not None:
                by_loop[made.loop].append((made, position))
            else:
                made.future.set_result(position)
        for loop, settled in by_loop.items():
            _tell(loop, settled)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._failed = True
            waiting = [made for flight in self._flights for made in flight.appends]
            waiting += [*self._taken, *self._queue]
            self._flights.clear()
            self._taken.clear()
            self._queue.clear()
            self._room.notify_all()
        for made in waiting:
            if made.loop is not None:
                _tell(made.loop, [(made, error)])
            else:
                made.future.set_exception(error)

    # ---- truncating and closing --------------------------------------------------------------

    def cut(self, position: int) -> None:
        """Recycle what a durable checkpoint at ``position`` replaces. Any thread may call it."""
        with self._files:
            self._segments.cut(position)
        self.bytes_since_checkpoint = 0

    def close(self) -> None:
        """Finish what was submitted, write a last witness, and let go. Nothing is lost without."""
        with self._lock:
            self._closing = True
            self._work.notify()
            self._room.notify_all()
            if self._asleep and self._device is not None:
                self._asleep = False
                self._device.wake()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        if self._device is not None:
            self._device.close()
            self._device = None
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1


def _tell(loop: asyncio.AbstractEventLoop, settled: list[_Settled]) -> None:
    with suppress(RuntimeError):  # the loop was closed with its tasks: nobody waits any more
        loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: list[_Settled]) -> None:
    for made, result in settled:
        if made.future.done():  # its task was cancelled
            continue
        if isinstance(result, BaseException):
            made.future.set_exception(result)
        else:
            made.future.set_result(result)
