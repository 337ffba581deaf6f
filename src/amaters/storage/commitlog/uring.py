"""A small io_uring over ctypes: durable writes in flight at once, no lock of the interpreter held.

Only what the commit log needs: IORING_OP_WRITEV with RWF_DSYNC and a read of an eventfd, which ends
a wait early. One thread, the log's writer, starts and finishes; others only ``wake``.

Source: io_uring_setup(2), io_uring_enter(2); layout of linux/io_uring.h.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import sys
from pathlib import Path

import numpy as np

from amaters.storage.commitlog.devices import Parts
from amaters.storage.commitlog.frames import BLOCK
from amaters.storage.files import failed, without

_SETUP, _ENTER = 425, 426  # the same on all architectures that io_uring is built for here
_GETEVENTS = 1
_SINGLE_MMAP = 1
_OP_WRITEV, _OP_READ = 2, 22
_SQES_OFFSET = 0x10000000
_PARAMS = struct.Struct("<10I8IQ8IQ")
_SQE = struct.Struct("<BBHiQQIIQHHiQQ")
_CQE = struct.Struct("<QiI")
_WAKE = 0  # token of the eventfd


class Ring:
    """Submission and completion queue. Raises OSError where the kernel refuses."""

    def __init__(self, entries: int) -> None:
        if not sys.platform.startswith("linux") or sys.byteorder != "little":
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self._libc = ctypes.CDLL(None, use_errno=True)
        params = bytearray(_PARAMS.size)
        pointer = (ctypes.c_char * len(params)).from_buffer(params)
        self._fd = self._call(_SETUP, entries, ctypes.addressof(pointer))
        fields = _PARAMS.unpack(params)
        if not fields[5] & _SINGLE_MMAP:
            os.close(self._fd)
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self.entries, completions = fields[0], fields[1]
        sq, cq = fields[10:18], fields[19:27]
        size = max(sq[6] + 4 * self.entries, cq[5] + _CQE.size * completions)
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        try:
            self._ring = mmap.mmap(self._fd, size, flags=flags)
            self._sqes = mmap.mmap(
                self._fd, _SQE.size * self.entries, flags=flags, offset=_SQES_OFFSET
            )
        except OSError:
            os.close(self._fd)
            raise
        words = memoryview(self._ring)[: size // 4 * 4].cast("I")
        self._words = words
        self._sq_tail, self._sq_mask, self._sq_array = sq[1] // 4, words[sq[2] // 4], sq[6] // 4
        self._cq_head, self._cq_tail = cq[0] // 4, cq[1] // 4
        self._cq_mask, self._cqes = words[cq[2] // 4], cq[5]
        self._queued = 0

    def _call(self, number: int, *args: int) -> int:
        done = self._libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, args))
        if done < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return int(done)

    def queue(self, opcode: int, fd: int, address: int, length: int, **more: int) -> None:
        """Queue one operation for the next ``enter``; ``more``: offset, flags, token."""
        tail = self._words[self._sq_tail]
        index = tail & self._sq_mask
        offset, flags, token = more["offset"], more["flags"], more["token"]
        _SQE.pack_into(
            self._sqes, index * _SQE.size,
            opcode, 0, 0, fd, offset, address, length, flags, token, 0, 0, 0, 0, 0,
        )  # fmt: skip
        self._words[self._sq_array + index] = index
        self._words[self._sq_tail] = (tail + 1) & 0xFFFFFFFF
        self._queued += 1

    def enter(self, wanted: int) -> None:
        """Submit what is queued and wait for ``wanted`` completions."""
        while True:
            try:
                done = self._call(_ENTER, self._fd, self._queued, wanted, _GETEVENTS, 0, 0)
            except InterruptedError:
                continue
            self._queued -= done
            if not self._queued:
                return

    def reap(self) -> list[tuple[int, int]]:
        """Token and result of what completed."""
        head, tail = self._words[self._cq_head], self._words[self._cq_tail]
        found = []
        while head != tail:
            at = self._cqes + (head & self._cq_mask) * _CQE.size
            token, result, _ = _CQE.unpack_from(self._ring, at)
            found.append((token, result))
            head = (head + 1) & 0xFFFFFFFF
        self._words[self._cq_head] = head
        return found

    def close(self) -> None:
        """Nothing may be in flight."""
        self._words.release()
        self._ring.close()
        self._sqes.close()
        os.close(self._fd)


class _Flight:
    """One write: what is left of it, from where, into what; ``vector`` is read by the kernel."""

    __slots__ = ("fd", "left", "offset", "parts", "path", "vector")

    def __init__(self, fd: int, parts: Parts, offset: int, path: Path) -> None:
        self.fd, self.parts, self.offset, self.path = fd, parts, offset, path
        self.left = parts
        self.vector = np.empty((0, 2), np.uint64)

    def aim(self) -> tuple[int, int]:
        """Address and length of the vector for what is left."""
        addresses = [ctypes.addressof(ctypes.c_char.from_buffer(part)) for part in self.left]
        self.vector = np.array([addresses, [len(p) for p in self.left]], np.uint64).T.copy()
        return self.vector.ctypes.data, len(self.left)


class UringDevice:
    """Up to ``depth`` durable writes in flight, finished in any order."""

    name = "io_uring"

    def __init__(self, depth: int, *, direct: bool) -> None:
        self.depth, self.direct = depth, direct
        self._ring = Ring(1 << depth.bit_length())  # room for the eventfd too
        self._event = os.eventfd(0, os.EFD_CLOEXEC)
        self._count = (ctypes.c_char * 8)()
        self._flights: dict[int, _Flight] = {}
        self._next = _WAKE + 1
        self._listen()

    def _listen(self) -> None:
        address = ctypes.addressof(self._count)
        self._ring.queue(_OP_READ, self._event, address, 8, offset=0, flags=0, token=_WAKE)

    def start(self, fd: int, parts: Parts, offset: int, path: Path) -> None:
        self._flights[self._next] = flight = _Flight(fd, parts, offset, path)
        self._queue(self._next, flight)
        self._next += 1

    def _queue(self, token: int, flight: _Flight) -> None:
        where = {"offset": flight.offset, "flags": os.RWF_DSYNC, "token": token}
        self._ring.queue(_OP_WRITEV, flight.fd, *flight.aim(), **where)

    def finish(self) -> list[Parts]:
        try:
            self._ring.enter(1)
        except OSError as error:
            failed(Path(self.name), error)
        done: list[Parts] = []
        failure: tuple[Path, int] | None = None
        for token, result in self._ring.reap():
            if token == _WAKE:
                self._listen()
                continue
            flight = self._flights.pop(token)
            if result <= 0 or result % BLOCK:
                failure = flight.path, -result if result < 0 else errno.EIO
                continue
            flight.left, flight.offset = without(flight.left, result), flight.offset + result
            if flight.left:
                self._flights[token] = flight
                self._queue(token, flight)
            else:
                done.append(flight.parts)
        if failure is not None:
            failed(failure[0], OSError(failure[1], os.strerror(failure[1])))
        return done

    def wake(self) -> None:
        os.eventfd_write(self._event, 1)

    def close(self) -> None:
        # The kernel writes into our memory until everything is reaped, the eventfd included.
        self.wake()
        listening = True
        while listening or self._flights:
            self._ring.enter(1)
            for token, _ in self._ring.reap():
                listening = listening and token != _WAKE
                self._flights.pop(token, None)
        self._ring.close()
        os.close(self._event)
