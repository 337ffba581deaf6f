"""Format 0 to 1: the log of one sync per record becomes one of recycled segments."""

from __future__ import annotations

from collections import deque

from amaters.storage.commitlog.core import SegmentLog
from amaters.storage.commitlog.devices import LogOptions
from amaters.storage.migrations.context import MigrationContext
from amaters.storage.migrations.first_log import FirstLog
from amaters.storage.migrations.first_state import read_checkpoint


def run(context: MigrationContext) -> None:
    """Write the records that no checkpoint holds into new segments, under their positions."""
    position, _ = read_checkpoint(context.path, context.disk, context.database_id)
    directory, staged = context.path / "log", context.staging / "log"
    old = FirstLog(directory, context.disk, context.database_id)
    options = LogOptions(backend="buffered")
    new = SegmentLog(staged, context.disk, context.database_id, options)
    try:
        new.create(position + 1)
        deque(new.replay(position), maxlen=0)
        payloads = [record.payload for record in old.replay(position)]
        if payloads:
            new.append_all(payloads)
    finally:
        new.close()
    patterns = ("*.log", "*.segment", "*.spare")
    context.commit(path for pattern in patterns for path in directory.glob(pattern))
