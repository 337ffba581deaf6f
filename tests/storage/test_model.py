"""A database against a dictionary: whatever is done to it, in whatever order, they agree."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest
from faults.contents import Tables, contents
from faults.images import crash_images
from faults.journal import Journal
from faults.lives import QUICK, quick_directory
from faults.recording import RecordingDisk, RecordingVfs
from faults.workload import Step, Workload
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from amaters.storage import directory, recovery
from amaters.storage.backup import backup
from amaters.storage.backupset import open_target
from amaters.storage.database import Storage
from amaters.storage.directory import open_directory
from amaters.storage.restore import restore

NAMES = ("a", "b", "c")
KEYS = st.sets(st.integers(0, 40), min_size=1, max_size=12)
STEPS = 50


class Model(RuleBasedStateMachine):
    """Tables are a dictionary of dictionaries; a crash keeps what was acknowledged."""

    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self._quick = quick_directory()
        self.home = self._quick.__enter__()
        self.number = 0
        self.root = self.home / "0"
        self.root.mkdir()
        self.rng = Random(1)
        self.target = open_target(str(self.home / "backups"))
        self.backups: dict[str, tuple[Tables, dict[str, bytes]]] = {}
        self.vfs = RecordingVfs(Journal(self.root))
        self.work = Workload(self.rng, self._opened())

    def teardown(self) -> None:
        self.storage.abandon()
        self.vfs.unregister()
        self._quick.__exit__(None, None, None)

    @property
    def storage(self) -> Storage:
        return self.work.storage

    def _opened(self) -> Storage:
        self.journal = Journal.of(self.root)
        self.disk, self.vfs.journal = RecordingDisk(self.journal), self.journal
        return open_directory(self.root, self.disk, QUICK, state_vfs=self.vfs.name)

    def _elsewhere(self, make: Callable[[Path], Any]) -> None:
        """Go on in another directory."""
        self.storage.abandon()
        self.number += 1
        old, self.root = self.root, self.home / str(self.number)
        make(self.root)
        shutil.rmtree(old)
        self.work.storage = self._opened()

    @initialize()
    def tables(self) -> None:
        for name in NAMES:
            self.work.run(self.work.create(name))

    @invariant()
    def agrees(self) -> None:
        Model.steps += 1
        assert contents(self.storage) == self.work.tables

    # ---- rows ----------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), keys=KEYS, segment=st.booleans())
    def put(self, name: str, keys: set[int], segment: bool) -> None:
        self.work.run(self.work.put(name, sorted(keys), segment=segment))

    @rule(name=st.sampled_from(NAMES), keys=KEYS)
    def delete(self, name: str, keys: set[int]) -> None:
        there = sorted(keys & self.work.tables[name].keys())
        if there:
            self.work.run(self.work.delete(name, there))

    @rule(names=st.sets(st.sampled_from(NAMES), min_size=2), keys=KEYS)
    def batch(self, names: set[str], keys: set[int]) -> None:
        self.work.run(self.work.several(sorted(names), sorted(keys)))

    @rule(name=st.sampled_from(NAMES))
    def exchange(self, name: str) -> None:
        step = self.work.exchange(name)
        if step is not None:
            self.work.run(step)

    @rule(name=st.sampled_from(NAMES))
    def index(self, name: str) -> None:
        self.work.run(self.work.index(name))

    @rule(name=st.sampled_from(NAMES))
    def make_anew(self, name: str) -> None:
        self.work.run(self.work.drop(name))
        self.work.run(self.work.create(name))

    @rule(name=st.sampled_from(NAMES), keys=KEYS, count=st.integers(2, 5))
    def group(self, name: str, keys: set[int], count: int) -> None:
        with self.storage.group() as group:
            for _ in range(count):
                step: Step = self.work.put(name, sorted(keys), segment=False)
                group.apply(step.command, step.rows)
                self.work.tables = step.after

    # ---- upkeep --------------------------------------------------------------------------------

    @rule()
    def snapshot(self) -> None:
        info = self.storage.snapshot()
        assert info.position == self.storage.position
        assert info.bytes_written >= 0 and info.bytes_total > 0

    @rule()
    def collect(self) -> None:
        self.storage.collect(set())

    @rule()
    def reopen(self) -> None:
        self.storage.snapshot()
        self.storage.close()
        self.work.storage = self._opened()

    @rule()
    def die(self) -> None:
        self.storage.abandon()
        self.work.storage = self._opened()

    @rule(seed=st.integers(0, 1 << 16))
    def crash(self, seed: int) -> None:
        """Power goes when nothing is on its way."""
        self._lose_power(Random(seed), len(self.journal.events))

    @precondition(lambda self: self.work.tables.keys() == set(NAMES))
    @rule(seed=st.integers(0, 1 << 16), name=st.sampled_from(NAMES), keys=KEYS)
    def crash_while_writing(self, seed: int, name: str, keys: set[int]) -> None:
        """Power goes somewhere in a write or a snapshot: it is there whole, or not at all."""
        before, first = self.work.tables, len(self.journal.events)
        self.work.run(self.work.put(name, sorted(keys), segment=seed % 3 == 0))
        written = len(self.journal.events)
        if seed % 2:
            self.storage.snapshot()
        point = Random(seed).randrange(first, len(self.journal.events) + 1)
        may_hold = [self.work.tables] if point >= written else [before, self.work.tables]
        self._lose_power(Random(seed), point)
        self._found_one_of(may_hold)

    @rule(full=st.booleans())
    def backup(self, full: bool) -> None:
        names = list(self.backups)
        parent = None if full or not names else names[-1]
        made = backup(self.storage, self.target, parent=parent)
        self.backups[made.name] = self.work.tables, dict(self.work.ids)

    @precondition(lambda self: self.backups)
    @rule(number=st.integers(0, 100), replace=st.booleans())
    def restore(self, number: int, replace: bool) -> None:
        """Back to what it was, in place or elsewhere; later backups stay what they are."""
        name = list(self.backups)[number % len(self.backups)]

        def make(path: Path) -> None:
            if replace:
                shutil.copytree(self.home / str(self.number - 1), path)
            restore(self.target, path, name=name, replace=replace)

        self._elsewhere(make)
        self.work.tables, ids = self.backups[name]
        self.work.ids = dict(ids)

    def _lose_power(self, rng: Random, point: int) -> None:
        image = next(crash_images(self.journal, rng, 1, first=point, last=point))
        self._elsewhere(image.write)

    def _found_one_of(self, may_hold: list[Tables]) -> None:
        found = contents(self.storage)
        assert found in may_hold
        self.work.tables = found


def agree(examples: int) -> int:
    """Compare over so many sequences; the steps taken."""
    Model.steps = 0
    chosen = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        phases=(Phase.generate,),  # shrinking takes minutes, and a seed repeats the failure
    )
    run_state_machine_as_test(Model, settings=chosen)
    return Model.steps


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What usually happens once in a long while happens all the time."""
    monkeypatch.setattr(directory, "WAL_PAGES", 12)
    monkeypatch.setattr(recovery, "WAL_PAGES", 12)
    monkeypatch.setattr(recovery, "_REPLAY_BYTES", 3000)
    monkeypatch.setattr(directory, "SNAPSHOT_DEBT", 20_000)


def test_a_dictionary() -> None:
    """Two thousand steps."""
    assert agree(51) >= 2000


@pytest.mark.stress
def test_a_dictionary_for_longer() -> None:
    """Forty thousand steps."""
    assert agree(1200) >= 40_000
