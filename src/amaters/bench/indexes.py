"""Indexes on public columns: what they cost writers, and lookups beside scans of the same rows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from amaters.bench import meter
from amaters.bench.record import Record
from amaters.bench.workbench import Workbench
from amaters.columns.declare import Int64, Text, build_table
from amaters.columns.indexes import IndexDefinition
from amaters.columns.records import encode_public
from amaters.engine.catalogue import Catalogue
from amaters.engine.rows import RowReader
from amaters.engine.snapshots import Snapshot, Snapshots
from amaters.fhe.parameters import INSECURE_N1024
from amaters.plan.expressions import Between, Compare, Literal, Predicate
from amaters.storage.database import Storage
from amaters.storage.directory import open_directory
from amaters.storage.index_build import build_index
from amaters.storage.indexes import IndexManager
from amaters.storage.rowstore import SEGMENT_ROWS, RowStore
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

ROWS = 500_000
BATCH = 1000
_WRITES = 40_000
_TOWNS = 1000
_REPEATS = 5
NUMBER, TOWN = IndexDefinition(1, "by_n", (2,)), IndexDefinition(2, "by_town", (3,))
UNIQUE = IndexDefinition(1, "one_n", (2,), unique=True)
Row = tuple[int, int, str, str]


def indexes(_: Workbench, rows: int | None) -> list[Record]:
    """``put_*``: batches of 1,000 rows of 100 bytes, by turns into tables without an index, with
    one of a random 64-bit column and with a unique one; ``of_plain``: rows per second as a share
    of those without. ``build_*``: of an index over all rows; ``stored_bytes_per_row``: its runs.
    The others find rows by a public condition: ``index_ms`` and ``scan_ms`` with what was read in
    memory, ``cold_index_ms`` and ``cold_scan_ms`` with nothing in memory of this process.
    """
    count = rows or ROWS
    values = np.random.default_rng(3).permutation(count).tolist()
    with tempfile.TemporaryDirectory(prefix="amaters-bench-") as folder:
        storage = open_directory(Path(folder) / "db")
        try:
            made = _puts(storage, values)
            return made + _lookups(storage, values)
        finally:
            storage.abandon()


def _row(key: int, values: list[int]) -> Row:
    return key, 3 * values[key], f"town{values[key] % _TOWNS}", "x" * 70


def _schema(name: str, *defined: IndexDefinition, version: int = 1) -> pb.SchemaRecord:
    columns = {"id": Int64(primary_key=True), "n": Int64(), "town": Text(), "note": Text()}
    table = build_table(
        name,
        columns,
        parameter_set=INSECURE_N1024.name,
        scheme="noop",
        key_id=bytes(16),
        table_id=name.encode().ljust(16, b"\0"),
    )
    public = encode_public(replace(table, indexes=defined, version=version).public())
    return pb.SchemaRecord(table_id=table.id, name=name, version=version, public_bytes=public)


# ---- writing -------------------------------------------------------------------------------------


def _puts(storage: Storage, values: list[int]) -> list[Record]:
    """Batch by batch into each table in turn, so that a slow moment meets all of them."""
    kinds = {"put_plain": (), "put_indexed": (NUMBER,), "put_unique": (UNIQUE,)}
    stores = {name: RowStore.create(storage, _schema(name, *ix)) for name, ix in kinds.items()}
    seconds = dict.fromkeys(kinds, 0.0)
    count = min(_WRITES, len(values))
    for start in range(0, count, BATCH):
        batch = [_row(key, values) for key in range(start, min(start + BATCH, count))]
        for name, store in stores.items():
            begun = meter.CLOCK.monotonic()
            store.put(batch)
            seconds[name] += meter.CLOCK.monotonic() - begun
    for store in stores.values():
        store.close()
    plain = seconds["put_plain"]
    return [
        Record(
            name,
            rows=count,
            wall_seconds=taken,
            extra={"per_second": count / taken, "of_plain": plain / taken},
        )
        for name, taken in seconds.items()
    ]


# ---- reading -------------------------------------------------------------------------------------


def _lookups(storage: Storage, values: list[int]) -> list[Record]:
    store = RowStore.create(storage, _schema("t"))
    for start in range(0, len(values), SEGMENT_ROWS):
        stop = min(start + SEGMENT_ROWS, len(values))
        store.put([_row(key, values) for key in range(start, stop)])
    store.close()
    schema = _schema("t", NUMBER, TOWN, version=2)
    storage.append(cb.Command(schema_update=cb.SchemaUpdate(schema=schema)))
    builds = [_build(storage, schema.table_id, index, len(values)) for index in (NUMBER, TOWN)]
    snapshots = Snapshots(Catalogue(storage, unsafe_scheme=True), meter.CLOCK)
    snapshot = snapshots.hold(schema.table_id, 2)
    known = 3 * values[len(values) // 2]
    questions: dict[str, Predicate] = {
        "number": Compare("=", NUMBER.columns[0], Literal(known)),
        "no_number": Compare("=", NUMBER.columns[0], Literal(known + 1)),
        "range_of_100": Between(NUMBER.columns[0], Literal(known), Literal(known + 299)),
        "town": Compare("=", TOWN.columns[0], Literal("town7")),
        "no_town": Compare("=", TOWN.columns[0], Literal("nowhere")),
    }
    return builds + [_question(storage, snapshot, *item) for item in questions.items()]


def _build(storage: Storage, table_id: bytes, index: IndexDefinition, rows: int) -> Record:
    begun = meter.CLOCK.monotonic()
    build_index(storage, table_id, index.number)
    seconds = meter.CLOCK.monotonic() - begun
    version = storage.version(table_id)
    assert version is not None
    with storage.reading() as db:
        entries, size = IndexManager().attach(db).stats(version.tid, index.number)
    extra: dict[str, object] = {
        "per_second": rows / seconds,
        "stored_bytes_per_row": size / entries,
    }
    return Record(f"build_{index.name}", rows=rows, wall_seconds=seconds, extra=extra)


def _question(storage: Storage, snapshot: Snapshot, name: str, asked: Predicate) -> Record:
    found: dict[str, int] = {}
    extra: dict[str, object] = {}
    for way in ("index", "scan"):
        cold, warm = [], []
        for _ in range(_REPEATS):
            reader = RowReader(storage)
            storage.state.indexes.reader.forget()
            ask = partial(_ask, reader, snapshot, asked, way)
            cold.append(_milliseconds(ask))
            warm.append(_milliseconds(ask))
        found[way] = _ask(reader, snapshot, asked, way)
        extra[f"{way}_ms"], extra[f"cold_{way}_ms"] = median(warm), median(cold)
    if found["index"] != found["scan"]:
        raise AssertionError("an index and a scan find other rows")
    rows = sum(segment.rows for segment in snapshot.segments)
    return Record(name, rows=rows, extra={"found": found["index"], **extra})


def _ask(reader: RowReader, snapshot: Snapshot, asked: Predicate, way: str) -> int:
    """How many rows of segments match."""
    table = snapshot.entry.table
    near = reader.candidates(snapshot, asked) if way == "index" else None
    return sum(
        int(reader.selected(segment, asked, table, near).sum()) for segment in snapshot.segments
    )


def _milliseconds(work: Callable[[], object]) -> float:
    begun = meter.CLOCK.monotonic()
    work()
    return 1000 * (meter.CLOCK.monotonic() - begun)
