"""Opening: after a crash, and with the state lost, from the log alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from amaters.bench import meter
from amaters.bench.record import Record
from amaters.bench.storage_rows import row, table_schema
from amaters.storage.commitlog.core import SegmentLog
from amaters.storage.directory import LOG, STATE, DirectoryStorage, open_directory
from amaters.storage.files import Disk
from amaters.storage.rowtable import RowTable, row_table
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

_BATCH = 1000
_MIB = 1 << 20


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
    """Open a database of which only the log is left. The log is made of batches of 1,000 rows of
    100 bytes; the plain figure is reading the same files.
    """
    schema = table_schema()
    storage = open_directory(path / "rebuilt")
    storage.append(cb.Command(table_create=cb.TableCreate(schema=schema)))
    storage.abandon()
    rows = _fill(storage, row_table(schema), log_bytes)
    logs = path / "rebuilt" / LOG
    size = sum(file.stat().st_size for file in logs.glob("*.segment"))
    shutil.rmtree(path / "rebuilt" / STATE)
    plain = _read(logs)
    meter.reset_peak()
    begun = meter.CLOCK.monotonic()
    storage = open_directory(path / "rebuilt")
    seconds = meter.CLOCK.monotonic() - begun
    found = storage.tables()[0].tail_rows
    storage.abandon()
    if found != rows:
        raise AssertionError(f"{found} of {rows} rows")
    extra: dict[str, object] = {
        "mib_per_second": size / _MIB / seconds,
        "log_mib": size / _MIB,
        "of_plain": plain / seconds,
    }
    peak = meter.peak_mib()
    return Record("rebuild", rows=rows, wall_seconds=seconds, peak_mib=peak, extra=extra)


def _fill(storage: DirectoryStorage, table: RowTable, log_bytes: int) -> int:
    """Write batches to the log of a database that is not open; returns how many rows."""
    log = SegmentLog(storage.path / LOG, Disk(), storage.database_id)
    for _ in log.replay(0):
        pass
    logged = count = 0
    for payload in _payloads(table):
        log.append(payload)
        logged += len(payload)
        count += _BATCH
        if logged >= log_bytes:
            break
    log.close()
    return count


def _payloads(table: RowTable) -> Iterator[bytes]:
    start = 0
    while True:
        request = pb.CommitRequest(
            table_id=table.table_id, schema_version=table.schema_version, row_version=start + 1
        )
        request.tail.rows = _BATCH
        request.tail.public_block = table.encode([row(start + n) for n in range(_BATCH)])
        batch = cb.Batch(request=request, key_column=table.key_column)
        yield cb.Command(batch=batch).SerializeToString()
        start += _BATCH


def _read(logs: Path) -> float:
    begun = meter.CLOCK.monotonic()
    for file in logs.iterdir():
        np.frombuffer(file.read_bytes(), dtype=np.uint8).sum()
    return meter.CLOCK.monotonic() - begun
