"""Directories of older formats become directories of this one when they are opened.

    0   log of one sync per record (``*.log``), checkpoints
    1   log of recycled segments, checkpoints
    2   log of recycled segments, state in pages, incremental snapshots

A new format is a new step in ``_steps`` and a database of the old one in ``tests/data/formats``.
"""

from __future__ import annotations

from pathlib import Path

from amaters.base.errors import fail
from amaters.storage.files import Disk
from amaters.storage.marker import FORMAT_VERSION, MARKER, read_marker
from amaters.storage.migrations.context import MigrationContext, finish
from amaters.storage.migrations.registry import Migration, MigrationPlan, MigrationRegistry

__all__ = [
    "Migration",
    "MigrationContext",
    "MigrationPlan",
    "MigrationRegistry",
    "bring_up_to_date",
    "directory_format",
    "registry",
]


def registry() -> MigrationRegistry:
    """Every step this program knows."""
    from amaters.storage.migrations import paged_state, segmented_log

    steps = MigrationRegistry()
    steps.register(Migration(0, 1, "log of recycled segments", segmented_log.run))
    steps.register(Migration(1, 2, "state in pages with checksums", paged_state.run))
    return steps


def directory_format(path: Path, disk: Disk) -> int:
    """The format of a database directory. Raises: AM-4001, AM-4005, AM-4006."""
    found = read_marker(path, disk).version
    if found > FORMAT_VERSION:
        fail("AM-4006", file=MARKER, found=found, known=FORMAT_VERSION)
    # Both first formats called themselves 1; the names of their log files tell them apart.
    if found == 1 and any((path / "log").glob("*.log")):
        return 0
    return found


def bring_up_to_date(path: Path, disk: Disk) -> str | None:
    """Migrate the directory, which has a marker and is locked by the caller, to this program's
    format; returns what a person should be told, or None if there was nothing to do.

    Raises: AM-4001, AM-4005, AM-4006 when a newer program wrote it, AM-4040.
    """
    finish(path, disk)
    found = directory_format(path, disk)
    if found == FORMAT_VERSION:
        return None
    plan = registry().plan(found, FORMAT_VERSION)
    plan.run(MigrationContext(path, disk))
    return f"the database was brought from format {found} to format {FORMAT_VERSION}"
