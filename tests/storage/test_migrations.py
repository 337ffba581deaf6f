"""Migrations: the shortest chain, and a directory that is never between two formats."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dying_disk import DyingDisk, Killed, tree
from formats_support import unpacked

from amaters.base.errors import DataError
from amaters.storage.files import Disk
from amaters.storage.marker import FORMAT_VERSION, read_marker, write_marker
from amaters.storage.migrations import (
    Migration,
    MigrationContext,
    MigrationRegistry,
    bring_up_to_date,
    directory_format,
)
from amaters.storage.migrations.context import JOURNAL, finish
from amaters.wire import commands_pb2 as cb


def nothing(_: MigrationContext) -> None:
    """A step that does nothing."""


def chain(steps: list[tuple[int, int]], source: int, target: int) -> list[tuple[int, int]]:
    registry = MigrationRegistry()
    for start, end in steps:
        registry.register(Migration(start, end, "step", nothing))
    plan = registry.plan(source, target)
    return [(step.source, step.target) for step in plan.steps]


def test_plans_are_the_shortest_chains() -> None:
    """Breadth first: a shortcut is taken, a loop is not walked, the same format needs no step."""
    steps = [(0, 1), (1, 2), (2, 3), (3, 4), (1, 3), (3, 1), (4, 0)]
    assert chain(steps, 0, 4) == [(0, 1), (1, 3), (3, 4)]
    assert chain(steps, 2, 2) == []
    assert chain(steps, 2, 0) == [(2, 3), (3, 4), (4, 0)]


def test_no_chain_is_an_error() -> None:
    """A format that nothing leads to is refused by name."""
    with pytest.raises(DataError) as caught:
        chain([(0, 1), (2, 3)], 0, 3)
    assert caught.value.code == "AM-4040"


def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    """An older program must not touch what it does not understand."""
    marker = cb.DatabaseFormat(version=FORMAT_VERSION + 1, database_id=b"d" * 16)
    write_marker(tmp_path, Disk(), marker)
    (tmp_path / "future").write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        bring_up_to_date(tmp_path, Disk())
    assert caught.value.code == "AM-4006"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["AMATERS", "future"]


def swap(context: MigrationContext) -> None:
    """A step that replaces one file, adds one in a new folder and removes one."""
    (context.staging / "changed").write_bytes(b"new")
    context.disk.make_directory(context.staging / "folder")
    (context.staging / "folder" / "added").write_bytes(b"added")
    context.commit([context.path / "old", context.path / "changed"])


@pytest.mark.parametrize("after", [False, True])
def test_death_at_any_operation_leaves_one_format_or_the_other(tmp_path: Path, after: bool) -> None:
    """Before the journal everything is as it was; after it the next open finishes the step, also
    when that one dies at any of its operations.
    """
    source = tmp_path / "source"
    source.mkdir()
    write_marker(source, Disk(), cb.DatabaseFormat(version=0, database_id=b"d" * 16))
    (source / "changed").write_bytes(b"old")
    (source / "old").write_bytes(b"old")
    before, ends = tree(source), []
    for at in range(1, 100):
        home = tmp_path / f"at{at}"
        shutil.copytree(source, home)
        disk = DyingDisk(at, after=after)
        try:
            context = MigrationContext(home, disk)
            context.begin(1)
            swap(context)
        except Killed:
            for again in range(1, 30, 3):
                try:
                    finish(home, DyingDisk(again, after=after))
                except Killed:
                    continue
                break
        finish(home, Disk())
        shutil.rmtree(home / "migration", ignore_errors=True)
        found = tree(home)
        found.pop("AMATERS.tmp", None)
        found.pop(f"{JOURNAL}.tmp", None)
        migrated = read_marker(home, Disk()).version == 1
        ends.append(migrated)
        assert migrated or found == before
        if migrated:
            marker = found.pop("AMATERS")
            assert found == {"changed": b"new", "folder/added": b"added"}
            assert marker != before["AMATERS"]
        if disk.count < at:
            break
    assert ends == sorted(ends) and ends.count(True) > 3 and ends.count(False) > 3


def test_a_damaged_journal_is_reported(tmp_path: Path) -> None:
    """A flipped bit in the journal is damage, never another list of files."""
    write_marker(tmp_path, Disk(), cb.DatabaseFormat(version=1, database_id=b"d" * 16))
    (tmp_path / JOURNAL).write_bytes(bytes(40))
    with pytest.raises(DataError) as caught:
        bring_up_to_date(tmp_path, Disk())
    assert caught.value.code == "AM-4001"


def test_the_log_of_the_first_format_is_taken_over_whenever_it_is_killed(tmp_path: Path) -> None:
    """Killed at operations spread over the whole way, and opened again: the format is the newest,
    and no file of the old one is left.
    """
    source = unpacked("log-1", tmp_path / "source")
    assert directory_format(source, Disk()) == 0
    for number, at in enumerate((1, 3, 5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 36, 40)):
        home = tmp_path / f"at{at}"
        shutil.copytree(source, home)
        try:
            bring_up_to_date(home, DyingDisk(at, after=number % 2 == 0))
        except Killed:
            bring_up_to_date(home, Disk())
        assert directory_format(home, Disk()) == FORMAT_VERSION
        assert not list(home.glob("log/*.log")) and not (home / JOURNAL).exists()
