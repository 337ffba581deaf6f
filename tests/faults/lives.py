"""A database that lives, crashes, is opened from what the crash left, lives on, and so forth."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from amaters.storage.commitlog.devices import LogOptions
from amaters.storage.database import Storage
from amaters.storage.directory import open_directory
from amaters.storage.files import Disk
from amaters.storage.verify import verify
from faults.contents import Tables, contents
from faults.images import Image, crash_images, final_files
from faults.journal import Journal
from faults.recording import RecordingDisk, RecordingVfs
from faults.workload import Workload

QUICK = LogOptions(backend="buffered", witness_seconds=3600.0, spare_segments=1)
Recorder = Callable[[Journal], Disk]


@contextmanager
def quick_directory() -> Iterator[Path]:
    """A directory where syncs cost nothing; images of crashes need no disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


def small_database(path: Path, seed: int) -> Tables:
    """A small database with two snapshots, closed; what it holds."""
    storage = open_directory(path, options=QUICK)
    work = Workload(Random(seed), storage)
    for n in range(25):
        work.run(work.choose())
        if n in (8, 16):
            storage.snapshot()
    storage.close()
    return work.tables


def held(path: Path) -> Tables:
    """What a database holds, in which verifying finds nothing."""
    storage = open_directory(path, options=QUICK)
    try:
        found = contents(storage)
        assert verify(storage).findings == []
    finally:
        storage.close()
    return found


@dataclass
class Life:
    """A run of a database under a journal. ``states[n]``: what it holds after n steps of it."""

    root: Path
    rng: Random
    ids: dict[str, bytes]
    options: LogOptions = QUICK
    recorder: Recorder = RecordingDisk
    states: list[Tables] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal = Journal.of(self.root)
        self.born = len(self.journal.events)
        self.disk = self.recorder(self.journal)
        self.vfs = RecordingVfs(self.journal)

    def open(self) -> Storage:
        return open_directory(self.root, self.disk, self.options, state_vfs=self.vfs.name)

    def live(self, steps: int, tables: Tables, version: int) -> int:
        """Take steps, with snapshots, closing and dying in between; the last row version used."""
        storage = self.open()
        try:
            assert contents(storage) == tables
            self.states = [tables]
            workload = Workload(self.rng, storage, tables, self.ids, version)
            for _ in range(steps):
                step = workload.choose()
                self.journal.mark(("begun", len(self.states)))
                self.states.append(step.after)
                workload.run(step)
                self.journal.mark(("acknowledged", len(self.states) - 1))
                storage = workload.storage = self._between(storage)
            assert contents(storage) == workload.tables
            return workload.version
        finally:
            storage.abandon()
            self.vfs.unregister()

    def _between(self, storage: Storage) -> Storage:
        match self.rng.randrange(40):
            case 0 | 1 | 5 | 6:
                storage.snapshot()
            case 2:
                storage.collect(set())
            case 3:
                storage.close()
                return self.open()
            case 4:
                storage.abandon()
                return self.open()
        return storage

    def recorded_all(self) -> None:
        """The journal leads to the directory as it is: no change went past the recorders."""
        found = {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and path.name != "LOCK" and not path.name.endswith("-shm")
        }
        assert {n: c for n, c in final_files(self.journal).items() if n != "LOCK"} == found

    def images(self, count: int) -> Iterator[Image]:
        return crash_images(self.journal, self.rng, count, first=self.born)

    def recovered(self, image: Image, path: Path) -> Tables:
        """What a database holds that is opened from an image; the acknowledged is all there, and
        no step is there in part.
        """
        image.write(path)
        storage = open_directory(path, options=QUICK)
        try:
            found = contents(storage)
        finally:
            storage.abandon()
        assert (
            found in self.states[self._last(image, "acknowledged") : self._last(image, "begun") + 1]
        )
        return found

    @staticmethod
    def _last(image: Image, what: str) -> int:
        return max((n for said, n in image.marks if said == what), default=0)


def generations(
    home: Path, rng: Random, count: int, images: int, recorder: Recorder = RecordingDisk
) -> int:
    """Lives one after another, each from a crash of the one before; how many images were opened."""
    ids: dict[str, bytes] = {}
    tables: Tables = {}
    version, opened = 1, 0
    root = home / "0"
    root.mkdir()
    for generation in range(count):
        backend = ("buffered", "direct")[generation % 2]
        witness = rng.choice((0.001, 3600.0))
        options = LogOptions(backend=backend, witness_seconds=witness, spare_segments=1)
        life = Life(root, rng, ids, options, recorder)
        version = life.live(25, tables, version)
        if generation % 3 == 0:
            life.recorded_all()
        heir = rng.randrange(images)
        for number, image in enumerate(life.images(images)):
            path = home / f"{generation}.{number}"
            found = life.recovered(image, path)
            opened += 1
            shutil.rmtree(path)
            if number == heir:
                tables = found
                image.write(home / f"{generation + 1}")
        shutil.rmtree(root)
        root = home / f"{generation + 1}"
    return opened
