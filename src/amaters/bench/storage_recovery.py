"""Opening: after a crash, and with the state lost, from the log alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from amaters.bench import meter
from amaters.bench.record import Record
from amaters.bench.storage_rows import BATCH, row, table_schema
from amaters.storage.directory import LOG, STATE, DirectoryStorage, open_directory
from amaters.storage.rowstore import RowStore

_ROW_BYTES = 1000


def after_crash(path: Path, rows: int) -> Record:
    """Open the database that the row benchmarks left in ``path`` as a dying process leaves it."""
    meter.reset_peak()
    begun = meter.CLOCK.monotonic()
    storage = open_directory(path / "rows")
    seconds = meter.CLOCK.monotonic() - begun
    storage.abandon()
    extra: dict[str, object] = {"notice": storage.notice or "-"}
    peak = meter.peak_mib()
    return Record("open_after_crash", rows=rows, wall_seconds=seconds, peak_mib=peak, extra=extra)


def rebuild(path: Path, log_bytes: int) -> Record:
    """Open a database of which only log and objects are left. The log is what puts of batches of
    1,000 rows of 1,000 bytes leave, exchanges of full tails included, when no snapshot is taken;
    counted are the bytes of the rows. The plain figure is reading the same files.
    """
    storage = open_directory(path / "rebuilt")
    storage.snapshot_debt = 1 << 62
    rows = _fill(storage, log_bytes)
    storage.abandon()
    logs = path / "rebuilt" / LOG
    size = rows * _ROW_BYTES
    shutil.rmtree(path / "rebuilt" / STATE)
    plain = _read(logs)
    meter.reset_peak()
    begun = meter.CLOCK.monotonic()
    storage = open_directory(path / "rebuilt")
    seconds = meter.CLOCK.monotonic() - begun
    (version,) = storage.tables()
    found = version.tail_rows + sum(segment.live for segment in version.segments)
    storage.abandon()
    if found != rows:
        raise AssertionError(f"{found} of {rows} rows")
    extra: dict[str, object] = {
        "mb_per_second": size / 1e6 / seconds,
        "log_mb": size / 1e6,
        "of_plain": plain / seconds,
    }
    peak = meter.peak_mib()
    return Record("rebuild", rows=rows, wall_seconds=seconds, peak_mib=peak, extra=extra)


def _fill(storage: DirectoryStorage, log_bytes: int) -> int:
    """Put rows until the log has so many bytes of them; returns how many."""
    store = RowStore.create(storage, table_schema())
    batches = -(-log_bytes // (_ROW_BYTES * BATCH))
    for start in range(0, batches * BATCH, BATCH):
        store.put([row(key, _ROW_BYTES - 8) for key in range(start, start + BATCH)])
    store.close()
    return batches * BATCH


def _read(logs: Path) -> float:
    begun = meter.CLOCK.monotonic()
    for file in logs.iterdir():
        np.frombuffer(file.read_bytes(), dtype=np.uint8).sum()
    return meter.CLOCK.monotonic() - begun
