"""The log: any thread or task appends, one thread writes, one durable write serves many appends.

An append is acknowledged, in order of positions, when its frame and all before it are durable.
After a failed write or sync nothing is known about the end, so the log closes for good: whoever
waits gets that error, whoever comes later AM-4004. Only opening again, which looks, goes on.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from amaters.base.errors import fail
from amaters.storage.commitlog import frames
from amaters.storage.commitlog.appends import Append, Body, Flight, Told
from amaters.storage.commitlog.devices import Buffers, Device, LogOptions, open_device
from amaters.storage.commitlog.segments import SEGMENT_BYTES_MIN, Record, Segments
from amaters.storage.files import Disk

RECORD_BYTES_MAX = 64 << 20
_FRAME_BYTES = 1 << 20  # what small records are gathered into
_WRITE_BYTES = 5 << 20  # frames that wait become one write up to here: a sync for all of them
_LARGE = 1 << 16  # from here a record is a frame of its own, laid out by whoever appends it
_BUFFERS_KEPT = 16


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
        self._queue: deque[Append] = deque()
        self._capacity = self.options.channel_capacity
        self._taken: list[Append] = []  # from the queue, and not in a flight yet
        self._flights: deque[Flight] = deque()  # all that is not acknowledged, in order
        self._staged: list[Flight] = []  # the last of them, for the next write
        self._writes: dict[int, list[Flight]] = {}  # what the device was given
        self._thread: threading.Thread | None = None
        self._ready = self._closing = self._failed = self._asleep = False
        self._busy = False  # somebody writes: the writer thread, or who found nobody writing
        self._mine = self._timed = False  # of the writer thread: it is busy; it waits for a while
        self._last = self._durable = self._witnessed = 0
        self._fd, self._path = -1, directory
        self._rolls = False  # the next frame begins a segment
        self._offset = self._begun = self._durable_end = self._end = 0

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
        made = self._prepared([payload])
        position = self._written_here(made)
        return self._queued(made[0]).result() if position is None else position

    def append_all(self, payloads: Sequence[bytes]) -> int:
        """Make records durable together and return the position of the last. They go to the
        writer at once, past the channel's limit, and share frames and writes.

        Raises: as ``append``.
        """
        made = self._prepared(payloads)
        position = self._written_here(made)
        if position is not None:
            return position
        last: Future[int] = Future()
        last.set_running_or_notify_cancel()
        made[-1] = (*made[-1][:3], last, None)
        with self._lock:
            self._check_open()
            for one in made:
                self._enqueue(one)
        return last.result()  # told in order: all others are durable too

    def submit(self, payload: bytes) -> Future[int]:
        """The position of a record, once it is durable. Waits while the channel is full.

        Raises: AM-3005, AM-4004.
        """
        return self._queued(self._prepared([payload])[0])

    def _prepared(self, payloads: Sequence[bytes]) -> list[Append]:
        """Appends that nobody waits for yet."""
        return [
            (records, size, self._laid_out(records, size), None, None)
            for records, size in self._grouped(payloads)
        ]

    def _written_here(self, made: list[Append]) -> int | None:
        """The position of the last, written on this thread if nobody else has anything to write:
        to the writer thread and back would take as long as the write does.
        """
        with self._lock:
            self._check_open()
            if self._queue or self._busy:
                return None
            self._busy = True
            self._start_thread()  # a witness will be due
        try:
            self._write(made)
            while self._flights:
                self._finish()
            return self._last
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            with self._lock:
                self._busy = False
                if self._queue or self._closing or not self._timed:
                    self._work.notify()

    def _queued(self, made: Append) -> Future[int]:
        """The position of a prepared append, which the writer thread gets when there is room."""
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()  # what is on its way cannot be called back
        with self._lock:
            self._check_open()
            while len(self._queue) >= self._capacity:
                self._room.wait()
                self._check_open()
            self._enqueue((*made[:3], future, None))
        return future

    async def append_async(self, payload: bytes) -> int:
        """``append`` for tasks: all that a frame holds wake up their loop once.

        Raises: AM-4009 when the channel is full, and what ``append`` raises.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        size = len(payload)
        body = self._laid_out((payload,), size) if size >= _LARGE else None
        with self._lock:
            self._check_open()
            if len(self._queue) >= self._capacity:
                fail("AM-4009", waiting=len(self._queue))
            self._enqueue(((payload,), size, body, future, loop))
        return await future

    def _grouped(self, payloads: Sequence[bytes]) -> Iterator[tuple[list[bytes], int]]:
        """Runs of records that fit one frame, and their bytes."""
        group: list[bytes] = []
        size = 0
        for payload in payloads:
            full = size + len(payload) > _FRAME_BYTES or len(group) == self.options.batch_size
            if group and (full or max(len(payload), len(group[-1])) >= _LARGE):
                yield group, size
                group, size = [], 0
            group.append(payload)
            size += len(payload)
        if group:
            yield group, size

    def _laid_out(self, payloads: Sequence[bytes], size: int) -> Body | None:
        """The frame of records that are large enough for one of their own."""
        if size > RECORD_BYTES_MAX:
            fail("AM-3005", what=f"a command of {size} bytes")
        return self._lay_out(payloads) if size >= _LARGE else None

    def _check_open(self) -> None:
        if self._failed or self._closing or not self._ready:
            fail("AM-4004", path=str(self._directory.parent))

    def _enqueue(self, made: Append) -> None:
        self._queue.append(made)
        if len(self._queue) == 1 or self._asleep:
            self._wake_up()

    def _wake_up(self) -> None:
        self._start_thread()
        if self._asleep and self._device is not None:
            self._asleep = False
            self._device.wake()
        else:
            self._work.notify()

    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="amaters-log", daemon=True)
            self._thread.start()

    def _lay_out(self, payloads: Sequence[bytes]) -> Body:
        """Records in an aligned buffer with room for the header. Cost: one copy, one hash."""
        sizes = len(payloads) * frames.RECORD_OVERHEAD
        size = sizes + sum(map(len, payloads))
        start, end = frames.HEAD, frames.HEAD + size
        whole = frames.blocks(end)
        buffer = self._buffers.take(whole)
        if len(payloads) == 1:  # no join: a large one is copied once, without the lock
            buffer[start : start + sizes] = len(payloads[0]).to_bytes(sizes, "little")
            np.frombuffer(buffer, np.uint8)[start + sizes : end] = np.frombuffer(
                payloads[0], np.uint8
            )
        else:
            buffer[start:end] = frames.encode_body(payloads)
        buffer[end:whole] = bytes(whole - end)
        return Body(buffer, size, frames.digest(buffer[start:end]), len(payloads))

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
            if self._durable > self._witnessed and not self._failed:
                self._stage([], self._lay_out([]))
                self._start()
            else:
                return False
        if self._flights:
            self._finish()
        return True

    def _take(self) -> list[Append]:
        """Appends for the next frames. Waits only when nothing of this thread's is in flight, and
        no longer than until a witness is due.
        """
        with self._lock:
            if self._mine and not self._flights:
                self._busy = self._mine = False
            while not self._mine and (self._busy or not (self._queue or self._closing)):
                before = self._durable
                self._timed = before > self._witnessed
                told = self._work.wait(self.options.witness_seconds if self._timed else None)
                due, self._timed = self._timed and not told, False
                if due and self._durable == before and not self._busy:
                    break
            self._busy = self._mine = True
            count = min(len(self._queue), self.options.batch_size)
            batch = [self._queue.popleft() for _ in range(count)]
            if batch:
                self._room.notify_all()
            self._taken = list(batch)
            return batch

    def _write(self, batch: list[Append]) -> None:
        """Gather small records to frames, and frames to writes."""
        small: list[Append] = []
        records: list[bytes] = []
        size = 0
        for made in batch:
            payloads, more, body, _, _ = made
            full = size + more > _FRAME_BYTES
            full = full or len(records) + len(payloads) > self.options.batch_size
            if small and (full or body is not None):
                self._stage(small, self._lay_out(records))
                small, records, size = [], [], 0
            if body is not None:
                self._stage([made], body)
            else:
                small.append(made)
                records += payloads
                size += more
        if small:
            self._stage(small, self._lay_out(records))
        self._start()

    def _stage(self, appends: Sequence[Append], body: Body) -> None:
        """A frame for the next write; without appends it is a witness."""
        if self._offset + body.length > self._end or self._rolls:
            self._rolls = False
            self._next_segment(body.length)
        elif self._offset + body.length > self._begun + _WRITE_BYTES:
            self._start()
        flight = Flight(body, appends, self._last + 1, self._offset)
        self._flights.append(flight)
        self._staged.append(flight)
        del self._taken[: len(appends)]
        self._offset, self._last = flight.offset + body.length, self._last + body.count
        self.bytes_since_checkpoint += body.length

    def _start(self) -> None:
        """Hand what is staged to the device, as one write."""
        if not self._staged:
            return
        device = self._running_device()
        while len(self._writes) >= device.depth:
            self._finish()
        life = self._segments.live[-1].header.life
        for flight in self._staged:
            body = flight.body
            flight.witness = self._durable
            header = frames.FrameHeader(
                flight.offset,
                body.count,
                self.epoch,
                flight.first,
                flight.witness,
                self._durable_end,
                body.size,
                body.digest,
            )
            body.buffer[: frames.HEAD] = frames.encode_head(header, life)
        parts = [flight.body.buffer[: flight.body.length] for flight in self._staged]
        self._writes[id(parts)] = self._staged
        begun, self._begun, self._staged = self._begun, self._offset, []
        device.start(self._fd, parts, begun, self._path)

    def _next_segment(self, wanted: int) -> None:
        """A segment with room for a frame; its header vouches for all before, so those first."""
        self._start()
        while self._flights:
            self._finish()
        grown = min(self.options.segment_bytes, 2 * self.bytes_since_checkpoint)
        size = max(SEGMENT_BYTES_MIN, grown, frames.BLOCK + wanted)
        with self._files:
            direct = self._running_device().direct
            self._segments.create(self._last + 1, self.epoch, size, direct=direct)
        self._open_segment()

    def _open_segment(self) -> None:
        device = self._running_device()
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1
        segment = self._segments.live[-1]
        self._fd = self._disk.open_segment(segment.path, direct=device.direct)
        self._path = segment.path
        self._offset = self._begun = self._durable_end = frames.BLOCK
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
        for parts in written:
            for flight in self._writes.pop(id(parts)):
                flight.durable = True
        told = Told()
        while self._flights and self._flights[0].durable:
            self._acknowledge(self._flights.popleft(), told)
        told.send()

    def _acknowledge(self, flight: Flight, told: Told) -> None:
        self._durable = flight.first + flight.body.count - 1
        self._durable_end = flight.offset + flight.body.length
        self._witnessed = max(self._witnessed, flight.witness)
        self._buffers.give(flight.body.buffer)
        told.add_all(flight.appends, flight.first)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._failed = True
            waiting = [made for flight in self._flights for made in flight.appends]
            waiting += [*self._taken, *self._queue]
            self._flights.clear()
            self._taken.clear()
            self._queue.clear()
            self._room.notify_all()
        told = Told()
        for made in waiting:
            told.add(made, error)
        told.send()

    # ---- truncating and closing --------------------------------------------------------------

    def cut(self, position: int) -> None:
        """Recycle what a durable checkpoint at ``position`` replaces. Any thread may call it."""
        with self._files:
            self._segments.cut(position)
        self.bytes_since_checkpoint = 0

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        """What is appended inside goes to new files, and files that are cut are deleted at once:
        recycled ones would keep the bytes of what was in them. Any thread may use it.
        """
        with self._files:
            self._segments.recycles = False
            self._segments.remove_spares()
        self._rolls = True
        try:
            yield
        finally:
            with self._files:
                self._segments.recycles = True

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
