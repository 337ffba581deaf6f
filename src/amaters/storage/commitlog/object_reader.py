"""Reading the log on an object store: from a position to the end, while others write and cut.

A hole in the numbers, or an object that does not follow the one before, means that this reader
started from an old snapshot and somebody cut meanwhile (AM-4027: start over), or, when there is no
newer snapshot, that the log is damaged (AM-4001).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import NoReturn

from amaters.base.errors import AmatersError, fail
from amaters.storage.commitlog import object_frames as frames
from amaters.storage.commitlog.segments import Record
from amaters.storage.remote import BlobInfo, Blobs

PREFIX = "log/"
_DIGITS = 20
_AT_ONCE = 8
_DEBT_MIN = 16 << 10


def name_of(sequence: int) -> str:
    """The blob of an object of the log."""
    return f"{PREFIX}{sequence:0{_DIGITS}d}"


class LogReader:
    """After ``records``: the number, chain digest and epoch of the last object that counts, the
    last position, and all ``objects`` with the position each ends at.
    """

    def __init__(
        self,
        blobs: Blobs,
        database_id: bytes,
        newest_snapshot: Callable[[], int],
        known_snapshot: int,
    ) -> None:
        self.sequence = self.last = self.epoch = self.debt = 0
        self.chain = b""
        self.objects: deque[tuple[int, int]] = deque()
        self._blobs, self._database_id = blobs, database_id
        self._newest_snapshot, self._known_snapshot = newest_snapshot, known_snapshot
        self._applied = 0
        self._sure = False
        self._held: list[Record] = []
        self._heads: dict[int, frames.ObjectHead] = {}

    def records(self, applied: int) -> Iterator[Record]:
        """Records after ``applied`` that are there now. Raises: AM-4001, AM-4006, AM-4027."""
        self._applied = applied
        listed = list(self._blobs.list(PREFIX))
        if not listed:
            self.lost("the log is missing")
        numbers = [self._number(info) for info in listed]
        start = max((i for i, (a, b) in enumerate(pairwise(numbers), 1) if b != a + 1), default=0)
        begin = self._locate(numbers[start:])
        # Nobody looked into those before, but they end where the first one read starts.
        end = self._head(begin).first - 1
        self.objects.extend((number, end) for number in numbers if number < begin)
        sizes = dict(zip(numbers, (info.size for info in listed), strict=True))
        self.debt = sum(max(sizes[n], _DEBT_MIN) for n in numbers if n >= begin)
        for sequence, data in self._fetch(range(begin, numbers[-1] + 1)):
            yield from self.accept(sequence, data)

    def accept(self, sequence: int, data: bytes) -> Iterator[Record]:
        """The records of the object with the next number, as far as they count and are new; those
        of the first one wait until another follows it, or for ``held``.
        """
        name = name_of(sequence)
        head = frames.decode_head(data, name, self._database_id, sequence)
        payloads = frames.decode_body(data, head, name)
        if self._sure and head.epoch < self.epoch:
            payloads = []  # of a deposed writer, behind the fence of its successor: void
        else:
            self._follow(head)
        self.sequence = sequence
        self.objects.append((sequence, self.last))
        numbered = enumerate(payloads, start=head.first)
        self._held += [Record(n, p, head.epoch) for n, p in numbered if n > self._applied]
        if self._sure:
            yield from self.held()

    def held(self) -> list[Record]:
        """Records that were kept back, once nobody doubts where the log starts."""
        held, self._held = self._held, []
        return held

    def _follow(self, head: frames.ObjectHead) -> None:
        """Go on to an object. The first one is believed: it was found by its position. Nothing is
        void before one more has followed: the first may itself be of a past that was cut.
        """
        name = name_of(head.sequence)
        if self.chain:
            fence = head.kind == frames.FENCE
            if (
                head.previous != self.chain
                or head.first != self.last + 1
                or (head.epoch > self.epoch) != fence
            ):
                self.lost(f"{name} does not follow the object before it")
            self._sure = True
        elif head.first > self._applied + 1:
            self.lost(f"{name} starts at position {head.first}")
        self.last, self.epoch, self.chain = head.last, head.epoch, head.digest

    def _number(self, info: BlobInfo) -> int:
        digits = info.name.rpartition("/")[2]
        if len(digits) != _DIGITS or not digits.isdecimal():
            fail("AM-4001", file=info.name, what="it does not belong into a log")
        return int(digits)

    def _locate(self, run: Sequence[int]) -> int:
        """The number to start at: the last object that starts at or before the wanted position and
        counts. Cost: a header per halving.
        """
        low, high = 0, len(run) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self._head(run[middle]).first <= self._applied + 1:
                low = middle
            else:
                high = middle - 1
        while low and not self._follows(run, low) and self._is_void(run, low):
            low -= 1
        self._sure = self._follows(run, low)
        return run[low]

    def _follows(self, run: Sequence[int], index: int) -> bool:
        if index in (0, len(run)):
            return False
        return self._head(run[index]).previous == self._head(run[index - 1]).digest

    def _is_void(self, run: Sequence[int], index: int) -> bool:
        """Whether an object that does not follow the one before is itself of a deposed writer. Else
        the one before is: it arrived late, where the log had been cut.
        """
        if self._follows(run, index + 1):
            return False
        return self._head(run[index]).epoch < self._head(run[index - 1]).epoch

    def _head(self, sequence: int) -> frames.ObjectHead:
        if sequence in self._heads:
            return self._heads[sequence]
        name = name_of(sequence)
        try:
            (data,) = self._blobs.read(name, [(0, frames.HEAD)])
        except AmatersError as error:
            if error.code != "AM-4007":
                raise
            self.lost(f"{name} was deleted meanwhile")
        head = frames.decode_head(data, name, self._database_id, sequence)
        self._heads[sequence] = head
        return head

    def _fetch(self, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Objects in order, some fetched ahead."""
        ahead: deque[tuple[int, Future[bytes | None]]] = deque()
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="amaters-log-read") as pool:
            left = iter(numbers)
            while True:
                while len(ahead) < _AT_ONCE and (number := next(left, None)) is not None:
                    ahead.append((number, pool.submit(self._blobs.get, name_of(number))))
                if not ahead:
                    return
                number, future = ahead.popleft()
                data = future.result()
                if data is None:
                    self.lost(f"{name_of(number)} was deleted meanwhile")
                yield number, data

    def lost(self, what: str) -> NoReturn:
        """Raises: AM-4027 when there is a newer snapshot to start from, else AM-4001."""
        if self._newest_snapshot() > max(self._applied, self._known_snapshot):
            fail("AM-4027", position=self._applied + 1, what=what)
        fail("AM-4001", file="the log on the object store", what=what)
