"""A bulk load of encrypted columns: what it writes for each byte that it stores, and where."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from amaters.bench import meter
from amaters.bench.record import Record
from amaters.bench.workbench import Workbench
from amaters.columns.declare import Declaration, Int64, Text, UInt8, UInt32
from amaters.storage.directory import open_directory
from amaters.storage.files import Disk
from amaters.storage.stats import TableStats, storage_stats

_SEGMENTS = 4
_ROWS_PER_SEGMENT = 250_000  # of the benchmark's rows, for one segment here


def load(bench: Workbench, path: Path, count: int) -> list[Record]:
    """``write_amplification``: bytes this process wrote, log, state and snapshots included, to the
    bytes of the rows' objects. ``of_plain``: speed of a plain copy of those objects with a
    sync each, to that of the load, encryption included. Then ``bytes_per_row`` of each part.
    """
    from amaters.embedded import connect

    slots = bench.parameters.slots
    rows = slots * max(1, min(_SEGMENTS, count // _ROWS_PER_SEGMENT))
    name = bench.parameters.name
    unsafe = name if name.startswith("insecure") else None
    meter.reset_peak()
    with connect(path / "db", keys=path / "keys", unsafe_parameters=unsafe) as database:
        table = database.create_table("loaded", _columns())
        values = _values(rows)
        begun, before = meter.CLOCK.monotonic(), meter.written_bytes()
        inserted = int(table.insert(values))
        seconds = meter.CLOCK.monotonic() - begun
    written = meter.written_bytes() - before
    if inserted != rows:
        raise AssertionError("rows are missing")
    storage = open_directory(path / "db")
    stats = storage_stats(storage)
    storage.abandon()
    (found,) = stats.tables
    plain = _copied(path / "db" / "objects", path / "copy")
    extra: dict[str, object] = {
        "per_second": rows / seconds,
        "stored_mib": found.bytes / (1 << 20),
        "write_amplification": written / found.bytes,
        "of_plain": plain / seconds,
    }
    peak = meter.peak_mib()
    loaded = Record("bulk_load", rows=rows, wall_seconds=seconds, peak_mib=peak, extra=extra)
    return [loaded, *_parts(found)]


def _columns() -> dict[str, Declaration]:
    return {
        "id": Int64(primary_key=True),
        "note": Text(),
        "small": UInt8(encrypt=["eq"]),
        "equal": UInt32(encrypt=["eq"]),
        "ranged": UInt32(encrypt=["range"]),
        "summed": UInt32(encrypt=["sum"]),
    }


def _values(rows: int) -> dict[str, object]:
    draw = np.random.default_rng(13)
    wide = {name: draw.integers(0, 1 << 32, rows) for name in ("equal", "ranged", "summed")}
    notes = [f"{number:016x}" for number in draw.integers(0, 1 << 62, rows).tolist()]
    return {"id": np.arange(rows), "note": notes, "small": draw.integers(0, 256, rows), **wide}


def _parts(found: TableStats) -> list[Record]:
    sizes = {f"{part.column}_{part.encoding}": part.bytes for part in found.encodings}
    sizes["public"], sizes["sealed"] = found.public_bytes, found.sealed_bytes
    rows = found.rows
    return [
        Record(f"bytes_{name}", rows=rows, extra={"bytes_per_row": size / rows})
        for name, size in [*sizes.items(), ("all", found.bytes)]
    ]


def _copied(source: Path, target: Path) -> float:
    """Seconds to write the same objects to plain files, each with a sync."""
    disk = Disk()
    disk.make_directory(target)
    seconds = 0.0
    for file in source.iterdir():
        data = file.read_bytes()
        begun = meter.CLOCK.monotonic()
        fd = disk.create(target / file.name)
        disk.write(fd, data, target / file.name)
        disk.sync(fd, target / file.name)
        disk.close(fd)
        seconds += meter.CLOCK.monotonic() - begun
    return seconds
