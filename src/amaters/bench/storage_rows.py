"""Rows of a public table: batches, many writers beside many readers, a mix; beside plain files."""

from __future__ import annotations

import os
import threading
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from amaters.base.ids import new_id
from amaters.bench import meter
from amaters.bench.record import Record
from amaters.columns.declare import Int64, Text, build_table
from amaters.columns.records import encode_public
from amaters.fhe.parameters import INSECURE_N1024
from amaters.storage.directory import open_directory
from amaters.storage.files import Disk
from amaters.storage.rowstore import RowStore
from amaters.wire import service_pb2 as pb

BATCH = 1000
ROW_BYTES = 100
_TEXT = ROW_BYTES - 8  # the rest is the key
_CLIENTS = 32
_MIXERS = 8
_POOL = b64encode(os.urandom(1 << 20)).decode()

Row = tuple[int, str]
Work = Callable[[list[int]], object]


def table_schema() -> pb.SchemaRecord:
    """A public table of a number and a text."""
    columns = {"id": Int64(primary_key=True), "note": Text()}
    name = INSECURE_N1024.name
    table = build_table("plain", columns, parameter_set=name, scheme="noop", key_id=bytes(16))
    public = encode_public(table.public())
    return pb.SchemaRecord(table_id=new_id(), name="plain", version=1, public_bytes=public)


def row(key: int, text: int = _TEXT) -> Row:
    """The row of a key: ``text`` bytes that hardly compress, the same whenever they are made."""
    start = key * 7919 % (len(_POOL) - text)
    return key, _POOL[start : start + text]


def rows(path: Path, count: int) -> list[Record]:
    """``put``, ``get``: batches of 1,000 rows of 100 bytes in random order, beside a plain file:
    the same rows appended with a sync per batch, and read one by one at known offsets.
    ``together``: single puts of 32 threads while 32 others get single rows. ``mixed``: 8 threads,
    four gets to a put. ``first_quarter_mib``, ``last_quarter_mib``: highest memory of the process
    during that part of the batches; where memory does not grow with the rows they are alike.
    """
    storage = open_directory(path / "rows")
    store = RowStore.create(storage, table_schema())
    order = np.random.default_rng(11).permutation(count).tolist()
    asked = np.random.default_rng(12).permutation(count).tolist()
    plain = _PlainFile(path / "plain", count)
    try:
        return [
            _batches("put", order, lambda keys: store.put([row(key) for key in keys]), plain.put),
            _batches("get", asked, lambda keys: _check(store.get(keys), keys), plain.get),
            _together(store, count, -(-count * 32 // 100 // _CLIENTS)),
            _mixed(store, count, -(-count // 100 // _MIXERS)),
        ]
    finally:
        plain.close()
        store.close()
        storage.abandon()


class _PlainFile:
    """The same rows in a file, without names, checks or a way back after a crash."""

    def __init__(self, path: Path, count: int) -> None:
        self._disk, self._path = Disk(), path
        self._fd = self._disk.create(path)
        self._reader = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._places = np.zeros(count, dtype=np.int64)
        self._end = 0

    def put(self, keys: list[int]) -> None:
        made = [key.to_bytes(8, "little") + text.encode() for key, text in map(row, keys)]
        self._places[keys] = self._end + ROW_BYTES * np.arange(len(keys))
        self._end += ROW_BYTES * len(keys)
        self._disk.write(self._fd, b"".join(made), self._path)
        self._disk.sync(self._fd, self._path)

    def get(self, keys: list[int]) -> None:
        found = {}
        for place in self._places[keys].tolist():
            data = os.pread(self._reader, ROW_BYTES, place)
            key = int.from_bytes(data[:8], "little")
            found[key] = (key, data[8:].decode())
        _check(found, keys)

    def close(self) -> None:
        os.close(self._reader)
        self._disk.close(self._fd)


def _check(found: object, keys: Sequence[int]) -> None:
    if found != {key: row(key) for key in keys}:
        raise AssertionError("rows are missing or wrong")


def _batches(name: str, keys: list[int], work: Work, plain: Work) -> Record:
    """All keys in batches, by turns with the plain file."""
    starts = range(0, len(keys), BATCH)
    quarter = max(1, len(starts) // 4)
    seconds = plain_seconds = 0.0
    peaks: list[float] = []
    meter.reset_peak()
    for turn, start in enumerate(starts, start=1):
        part = keys[start : start + BATCH]
        seconds += _timed(work, part)
        plain_seconds += _timed(plain, part)
        if turn % quarter == 0 or turn == len(starts):
            peaks.append(meter.peak_mib())
            meter.reset_peak()
    extra: dict[str, object] = {
        "per_second": len(keys) / seconds,
        "of_plain": plain_seconds / seconds,
        "first_quarter_mib": peaks[0],
        "last_quarter_mib": peaks[-1],
    }
    return Record(name, rows=len(keys), wall_seconds=seconds, peak_mib=max(peaks), extra=extra)


def _timed(work: Work, keys: list[int]) -> float:
    begun = meter.CLOCK.monotonic()
    work(keys)
    return meter.CLOCK.monotonic() - begun


def _together(store: RowStore, count: int, each: int) -> Record:
    """Every writer puts ``each`` new rows, one by one; readers get old ones until all are there."""
    over = threading.Event()
    reads = [0] * _CLIENTS

    def write(number: int) -> None:
        for key in range(count + number * each, count + (number + 1) * each):
            store.put([row(key)])

    def read(number: int) -> None:
        draw = np.random.default_rng(number)
        while not over.is_set():
            key = int(draw.integers(count))
            _check(store.get([key]), [key])
            reads[number] += 1

    readers = [threading.Thread(target=read, args=(n,)) for n in range(_CLIENTS)]
    for thread in readers:
        thread.start()
    seconds = _threads(write, _CLIENTS)
    over.set()
    for thread in readers:
        thread.join()
    written = list(range(count, count + _CLIENTS * each))
    for start in range(0, len(written), BATCH):
        part = written[start : start + BATCH]
        _check(store.get(part), part)
    extra: dict[str, object] = {
        "per_second": len(written) / seconds,
        "reads_per_second": sum(reads) / seconds,
    }
    return Record("together", rows=len(written), wall_seconds=seconds, extra=extra)


def _mixed(store: RowStore, count: int, each: int) -> Record:
    """Every thread does ``each`` times one put and four gets, all of single rows."""

    def work(number: int) -> None:
        draw = np.random.default_rng(number)
        for _ in range(each):
            store.put([row(int(draw.integers(count)))])
            for _ in range(4):
                key = int(draw.integers(count))
                _check(store.get([key]), [key])

    seconds = _threads(work, _MIXERS)
    done = 5 * each * _MIXERS
    extra: dict[str, object] = {"per_second": done / seconds}
    return Record("mixed_80_20", rows=done, wall_seconds=seconds, extra=extra)


def _threads(work: Callable[[int], None], count: int) -> float:
    """Seconds until all of ``count`` threads are done; the first error of one is raised."""
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(count)]
    begun = meter.CLOCK.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return meter.CLOCK.monotonic() - begun
