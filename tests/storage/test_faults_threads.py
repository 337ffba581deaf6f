"""Many threads on one database whose disk fails somewhere: nobody hangs, whoever was told that a
write happened finds it, and money that moves between accounts is never made or lost.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from faults.failing import FailingDisk, FailingVfs, Faults
from faults.lives import QUICK, quick_directory
from faults.workload import make_table, schema_of

from amaters.base.errors import AmatersError
from amaters.storage.database import Storage
from amaters.storage.directory import open_directory
from amaters.storage.rowstore import RowStore, WriteBatch
from amaters.storage.verify import verify

ACCOUNTS, MONEY = 12, 100
COUNTERS = 1000  # keys of the counters, one per thread
OPERATIONS = 120
REFUSED = {"AM-4003", "AM-4004", "AM-4008", "AM-4011", "AM-4013", "AM-4020", "AM-4021"}
TABLE = b"b" * 16


@pytest.fixture
def home() -> Iterator[Path]:
    with quick_directory() as made:
        yield made


@dataclass
class Bank:
    """Accounts and counters over one storage; what each thread was told."""

    storage: Storage
    counted: dict[int, int] = field(default_factory=dict)
    codes: set[str] = field(default_factory=set)
    wrong: list[BaseException] = field(default_factory=list)
    sums: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if self.storage.version(TABLE) is None:
            RowStore.create(self.storage, schema_of(make_table("bank", TABLE))).close()
        self.rows = RowStore(self.storage, TABLE, segment_rows=40)

    def fill(self) -> None:
        self.rows.put([(n, MONEY, "") for n in range(ACCOUNTS)])

    def transfer(self, rng: Random) -> None:
        """Money from one account to another, if nobody wrote either meanwhile."""
        first, second = rng.sample(range(ACCOUNTS), 2)
        there = self.rows.get_versioned([first, second])
        amount = rng.randrange(1, 20)
        batch = WriteBatch()
        batch.put(self.rows, [(first, there[first].row[1] - amount, "from")])
        batch.put(self.rows, [(second, there[second].row[1] + amount, "to")])
        for key in (first, second):
            batch.expect(self.rows, key, there[key].version)
        self.rows.write_batch(batch)

    def count(self, thread: int) -> None:
        """A counter goes up by one, for good."""
        key = COUNTERS + thread
        self.rows.atomic_update(key, lambda row: (key, row[1] + 1 if row else 1, "n" * thread))
        self.counted[thread] = self.counted.get(thread, 0) + 1

    def total(self) -> int:
        return sum(row[1] for row in self.rows.range(0, ACCOUNTS))

    def run(self, thread: int) -> None:
        rng = Random(thread)
        for n in range(OPERATIONS):
            if (n + thread) % 3:
                self.transfer(rng)
            else:
                self.count(thread)

    def look(self) -> None:
        while not self.done.is_set():
            assert self.total() == ACCOUNTS * MONEY
            self.sums += 1

    def tend(self) -> None:
        while not self.done.is_set():
            self.storage.snapshot()
            self.storage.collect(set())

    def guarded(self, work: Callable[..., None], *arguments: int) -> None:
        """Typed refusals end a thread; whatever else is wrong."""
        try:
            work(*arguments)
        except AmatersError as error:
            self.codes.add(error.code)
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            self.wrong.append(error)

    def busy(self, writers: int) -> None:
        """All at once, until the writers are done."""
        jobs = [threading.Thread(target=self.guarded, args=(self.run, n)) for n in range(writers)]
        others = [
            threading.Thread(target=self.guarded, args=(self.look,)),
            threading.Thread(target=self.guarded, args=(self.tend,)),
        ]
        for thread in (*jobs, *others):
            thread.start()
        for thread in jobs:
            thread.join()
        self.done.set()
        for thread in others:
            thread.join()
        if self.wrong:
            raise self.wrong[0]


def check(path: Path, told: dict[int, int], writers: int) -> None:
    """On a healthy disk everything told is there; one more of each thread may be."""
    storage = open_directory(path, options=QUICK)
    bank = Bank(storage)
    assert bank.total() == ACCOUNTS * MONEY
    counters = {row[0] - COUNTERS: row[1] for row in bank.rows.range(COUNTERS)}
    for thread in range(writers):
        assert counters.get(thread, 0) - told.get(thread, 0) in (0, 1)
    assert verify(storage).findings == []
    bank.rows.close()
    storage.close()


def test_nothing_fails(home: Path) -> None:
    """Every operation happens, and readers see whole transfers only."""
    storage = open_directory(home / "db", options=QUICK)
    bank = Bank(storage)
    bank.fill()
    bank.busy(4)
    assert bank.sums > 0 and sum(bank.counted.values()) == 4 * OPERATIONS // 3
    assert bank.codes <= {"AM-4021"}
    bank.rows.close()
    storage.close()
    check(home / "db", bank.counted, 4)


@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize(
    ("kind", "code", "times"),
    [
        ("write", errno.EIO, 1),
        ("write", errno.ENOSPC, 1 << 30),
        ("sync", errno.EIO, 1),
    ],
)
def test_something_fails(home: Path, kind: str, code: int, times: int, state: bool) -> None:
    """A call fails in the middle of it all, in the log and objects or in the state's files: every
    thread comes to an end, no file stays open.
    """
    hits = 0
    descriptors = Path("/proc/self/fd")
    for number, first in enumerate((3, 60, 250)):
        path = home / f"{number}"
        faults = Faults()
        before = len(list(descriptors.iterdir()))
        vfs = FailingVfs(faults if state else Faults())
        disk = FailingDisk(Faults() if state else faults)
        storage = open_directory(path, disk, QUICK, state_vfs=vfs.name)
        bank = Bank(storage)
        bank.fill()
        faults.arm(kind, first=first if kind == "write" else first // 20, times=times, code=code)
        bank.busy(4)
        assert bank.codes <= REFUSED
        hits += faults.hits
        faults.disarm()
        bank.rows.close()
        storage.abandon()
        vfs.unregister()
        assert len(list(descriptors.iterdir())) == before
        check(path, bank.counted, 4)
    assert hits > 0
