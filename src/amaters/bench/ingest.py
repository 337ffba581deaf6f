"""Loading: one 32-bit column encrypted alone, and rows inserted through the whole database."""

from __future__ import annotations

import tempfile

import numpy as np

from amaters.bench import meter
from amaters.bench.record import Record
from amaters.bench.workbench import Workbench
from amaters.columns.declare import Int64, UInt32
from amaters.columns.schema import Table

ROWS = 65536


def ingest(bench: Workbench, rows: int | None) -> list[Record]:
    """``encrypt_column``: encoding and encryption on one core. ``insert``: into a database in
    memory, with sealing, canaries and storage, all threads. ``rows_per_second``: CPU, then wall.
    """
    count = rows or ROWS
    values = np.random.default_rng(7).integers(0, (1 << 32) - 1, count)
    return [_column(bench, values), _insert(bench, values)]


def _column(bench: Workbench, values: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Record:
    meter.reset_peak()
    table = bench.table("loaded", {"x": UInt32(encrypt=["eq", "range"])})
    slots = bench.parameters.slots
    parts = [values[start : start + slots] for start in range(0, len(values), slots)]
    _encrypt(bench, table, parts[0])

    def all_parts() -> None:
        for part in parts:
            _encrypt(bench, table, part)

    _, core, wall = meter.best_of(1, all_parts)
    return Record(
        "encrypt_column",
        32,
        len(values),
        limbs=bench.parameters.max_level,
        client_us_per_row=core * 1e6 / len(values),
        wall_seconds=wall,
        peak_mib=meter.peak_mib(),
        extra={"rows_per_second": len(values) / core},
    )


def _encrypt(
    bench: Workbench, table: Table, part: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> None:
    column = table.column("x")
    valid, positions = np.ones(len(part), dtype=np.bool_), np.arange(len(part))
    made = column.encode(part, valid, slots=bench.parameters.slots, positions=positions)
    for shape, encoded in zip(column.encodings, made, strict=True):
        bench.client.encrypt(encoded, list(shape.bounds))


def _insert(bench: Workbench, values: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Record:
    from amaters.embedded import connect

    columns = {
        "id": Int64(primary_key=True),
        "x": UInt32(encrypt=["eq", "range"]),
    }
    meter.reset_peak()
    with tempfile.TemporaryDirectory() as keyring, connect(":memory:", keys=keyring) as database:
        table = database.create_table("loaded", columns)
        wall = meter.CLOCK.monotonic()
        rows = {"id": np.arange(len(values)), "x": values}
        inserted, core = meter.cpu(lambda: int(table.insert(rows)))
        wall = meter.CLOCK.monotonic() - wall
        counted = database.sql("SELECT count(*) FROM loaded WHERE x >= 0").scalar()
    if (inserted, counted) != (len(values), len(values)):
        raise AssertionError("rows are missing")
    return Record(
        "insert",
        32,
        len(values),
        client_us_per_row=core * 1e6 / len(values),
        wall_seconds=wall,
        peak_mib=meter.peak_mib(),
        extra={"rows_per_second": len(values) / wall},
    )
