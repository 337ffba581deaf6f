"""Storage, beside plain files in the same run: log, rows, recovery, bulk loads."""

from __future__ import annotations

import tempfile
from pathlib import Path

from amaters.bench import storage_load, storage_log, storage_recovery, storage_rows
from amaters.bench.record import Record
from amaters.bench.workbench import Workbench

ROWS = 1_000_000
_LOG_BYTES_PER_ROW = 1000


def storage(bench: Workbench, rows: int | None) -> list[Record]:
    """``rows``: how many rows are put and got, 1,000,000 by default; all else scales with it: 0.32
    single puts and 1 KiB of log to rebuild from per row. The directory is the system's for
    temporary files, and takes about 3 KiB per row.
    """
    count = rows or ROWS
    made: list[Record] = []
    for part in (_appends, _rows, _rebuild):
        with tempfile.TemporaryDirectory(prefix="amaters-bench-") as name:
            made += part(Path(name), count)
    with tempfile.TemporaryDirectory(prefix="amaters-bench-") as name:
        made += storage_load.load(bench, Path(name), count)
    return made


def _appends(path: Path, count: int) -> list[Record]:
    return storage_log.appends(path, min(count, 20_000), min(-(-count // 1000), 128))


def _rows(path: Path, count: int) -> list[Record]:
    return [*storage_rows.rows(path, count), storage_recovery.after_crash(path, count)]


def _rebuild(path: Path, count: int) -> list[Record]:
    return [storage_recovery.rebuild(path, count * _LOG_BYTES_PER_ROW)]
