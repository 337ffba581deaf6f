"""Writers that depose each other over a store that loses, refuses and delays at random."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from object_support import DATABASE, memory_blobs, options

from amaters.base.errors import AmatersError, fail
from amaters.storage.commitlog.object import ObjectLog
from amaters.storage.coordinator import StoreCoordinator
from amaters.storage.files import Buffer
from amaters.storage.remote import BlobInfo, Blobs, Patience

PATIENCE = Patience(5, 0.0, lambda _: False)
EXPECTED = frozenset({"AM-4004", "AM-4010", "AM-4025", "AM-4026", "AM-4027"})


class Chaos:
    """A store behind a bad network. ``archive`` keeps the first content of what was deleted."""

    url = "chaos"

    def __init__(self, seed: int) -> None:
        self._inner = memory_blobs()
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._delayed: list[Callable[[], object]] = []
        self.archive: dict[str, bytes] = {}

    def _draw(self) -> float:
        with self._lock:
            if self._delayed and self._rng.random() < 0.2:
                self._delayed.pop(self._rng.randrange(len(self._delayed)))()
            return self._rng.random()

    def create(self, name: str, data: Buffer) -> bool:
        draw = self._draw()
        if draw < 0.06:
            fail("AM-4025", what="refused")
        if draw < 0.12:
            with self._lock:
                self._delayed.append(lambda: self._inner.create(name, data))
            fail("AM-4025", what="timed out")
        done = self._inner.create(name, data)
        if draw < 0.22:
            fail("AM-4025", what="the answer was lost")
        return done

    def get(self, name: str) -> bytes | None:
        if self._draw() < 0.08:
            fail("AM-4025", what="refused")
        return self._inner.get(name)

    def read(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        return self._inner.read(name, ranges)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        self._draw()
        return self._inner.list(prefix)

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            found = self._inner.get(name)
            if found is not None:
                self.archive.setdefault(name, found)
            self._inner.delete([name])
            self._draw()

    def whole(self) -> Blobs:
        """The store as if nothing had ever been deleted."""
        blobs = memory_blobs()
        names = [info.name for info in self._inner.list("log/")]
        for name in sorted({*self.archive, *names}):
            data = self.archive.get(name) or self._inner.get(name)
            assert data is not None
            blobs.create(name, data)
        return blobs


class Machine:
    """One writer: a state (all records it knows to count), and what it was told."""

    def __init__(
        self, number: int, chaos: Chaos, snapshots: list[list[bytes]], turn: threading.Lock
    ) -> None:
        self.turn = turn
        self.number, self.chaos, self.snapshots = number, chaos, snapshots
        self.rng = random.Random(number)
        self.state: list[bytes] = []
        self.told: list[tuple[int, bytes]] = []
        self.count = 0

    def newest(self) -> int:
        return len(self.snapshots[-1])

    def open(self) -> ObjectLog:
        self.newest_known = self.newest()
        if self.rng.random() < 0.2 and len(self.snapshots) > 1:
            self.state = list(self.snapshots[-2])  # the newest is damaged, and so is the state
        elif len(self.state) < self.newest_known:
            self.state = list(self.snapshots[-1])
        owner = StoreCoordinator(self.chaos, PATIENCE)
        log = ObjectLog(
            self.chaos,
            owner,
            DATABASE,
            options(attempts=5),
            newest_snapshot=self.newest,
            known_snapshot=self.newest_known,
        )
        self.owner = owner
        found = [record.payload for record in log.replay(len(self.state))]
        self.state += found
        return log

    def work(self, log: ObjectLog) -> None:
        for _ in range(self.rng.randrange(1, 12)):
            payloads = [self.payload() for _ in range(self.rng.choice((1, 1, 3)))]
            last = log.append_all(payloads)
            assert last == len(self.state) + len(payloads)
            self.state += payloads
            self.told += enumerate(payloads, start=last - len(payloads) + 1)
            if self.rng.random() < 0.2 and self.owner.holds(log.epoch):
                self.snapshots.append(list(self.state))
                self.snapshots.sort(key=len)
                log.cut(len(self.snapshots[-2]))

    def payload(self) -> bytes:
        self.count += 1
        return b"%d.%d" % (self.number, self.count)

    def run(self) -> None:
        """Most turns are taken one after the other; the others depose whoever is at work."""
        for _ in range(15):
            with self.turn if self.rng.random() < 0.8 else nullcontext():
                log = None
                try:
                    log = self.open()
                    self.work(log)
                except AmatersError as error:
                    assert error.code in EXPECTED, error
                finally:
                    if log is not None:
                        log.close()


def check(seed: int) -> int:
    """Run three machines against each other; how many records were acknowledged."""
    chaos = Chaos(seed)
    snapshots: list[list[bytes]] = [[]]
    turn = threading.Lock()
    machines = [Machine(10 * seed + n, chaos, snapshots, turn) for n in range(3)]
    ObjectLog(chaos, StoreCoordinator(chaos, PATIENCE), DATABASE, options()).create()
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(machine.run) for machine in machines]:
            done.result()
    blobs = chaos.whole()
    owner = StoreCoordinator(chaos, Patience(50, 0.0, lambda _: False))
    log = ObjectLog(blobs, owner, DATABASE, options())
    truth = [record.payload for record in log.replay(0)]
    log.close()
    assert len(set(truth)) == len(truth), "a record counts twice"
    for machine in machines:
        assert machine.state == truth[: len(machine.state)], "two pasts"
        for position, payload in machine.told:
            assert truth[position - 1] == payload, "an acknowledged record is lost"
    return sum(len(machine.told) for machine in machines)


def test_machines_that_depose_each_other() -> None:
    """Takeovers, cuts, lost answers and requests that arrive long after: there is one past, every
    acknowledged record is in it at its position, and no record twice.
    """
    assert sum(check(seed) for seed in range(8)) > 100


@pytest.mark.stress
def test_machines_for_long() -> None:
    """The same with other seeds, many times."""
    assert sum(check(seed) for seed in range(100, 1100)) > 10_000
