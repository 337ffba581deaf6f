"""Whether threads are as good as processes: one scan of eight segments by two of each."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier

import numpy as np

from amaters.bench.meter import CLOCK
from amaters.bench.record import Record
from amaters.bench.workbench import Asked, Segment, Stored, Workbench
from amaters.columns.declare import UInt16
from amaters.columns.schema import PublicTable
from amaters.engine.executor import Executor
from amaters.fhe.bundle import BundleReader
from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.parameters import Parameters
from amaters.fhe.scheme import make_evaluator
from amaters.plan.circuit import CompiledPlan
from amaters.plan.expressions import ColumnRef, Compare, Literal, OutputItem, Select

SEGMENTS = 8
WORKERS = 2
ROUNDS = 4


@dataclass(frozen=True, slots=True)
class _Job:
    """What one process needs to scan its share; ciphertexts and public things only."""

    parameters: Parameters
    key_id: bytes
    keys: bytes
    plan: CompiledPlan
    table: PublicTable
    constants: list[Ciphertext]
    bundles: list[tuple[int, dict[tuple[int, str], tuple[bytes, int]]]]


def scan(bench: Workbench, rows: int | None) -> list[Record]:
    """Records ``scan_threads`` and ``scan_processes``; the first has their ratio, ``of_processes``.

    Rounds of both alternate and the best counts, so that a busy neighbour harms neither more.
    """
    count = min(rows or SEGMENTS * bench.parameters.slots, SEGMENTS * bench.parameters.slots)
    values = np.random.default_rng(16).integers(0, 1 << 16, count)
    table = bench.table("scanned", {"x": UInt16(encrypt=["range"])})
    stored = bench.store(table, {"x": values})
    column = table.column("x").id
    items = (OutputItem("x", ColumnRef(column)),)
    select = Select(table, Compare("<", column, Literal(1 << 15)), items)
    asked = bench.ask(select)
    if not np.array_equal(_threads(bench, asked, stored)[1], values < 1 << 15):
        raise AssertionError("a scan by threads is wrong")
    threads, processes = _alternate(bench, asked, stored)
    made = []
    for name, seconds in (("scan_threads", threads), ("scan_processes", processes)):
        record = Record(name, 16, count, public=False, limbs=asked.plan.level)
        record.wall_seconds = seconds
        record.extra = {"workers": WORKERS, "rows_per_second": count / seconds}
        made.append(record)
    made[0].extra["of_processes"] = processes / threads
    return made


def _threads(
    bench: Workbench, asked: Asked, stored: Stored
) -> tuple[float, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    before = CLOCK.monotonic()
    outcome = bench.execute(asked, stored, threads=WORKERS)
    seconds = CLOCK.monotonic() - before
    return seconds, bench.matching(asked, stored, outcome)


def _alternate(bench: Workbench, asked: Asked, stored: Stored) -> tuple[float, float]:
    """Best wall seconds of threads and of processes."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(WORKERS + 1)
    pipes, workers = [], []
    for worker in range(WORKERS):
        ours, theirs = context.Pipe()
        job = _job(bench, asked, stored.segments[worker::WORKERS], stored)
        process = context.Process(target=_worker, args=(barrier, theirs))
        process.start()
        ours.send(job)
        pipes.append(ours)
        workers.append(process)
    threads, processes = [], []
    for _ in range(ROUNDS):
        barrier.wait()
        processes.append(max(pipe.recv() for pipe in pipes))
        threads.append(_threads(bench, asked, stored)[0])
    for process in workers:
        process.join()
    return min(threads), min(processes)


def _job(bench: Workbench, asked: Asked, segments: list[Segment], stored: Stored) -> _Job:
    return _Job(
        bench.parameters,
        bench.client.key_id,
        bench.keys,
        asked.plan,
        stored.table.public(),
        asked.constants,
        [(segment.rows, dict(segment.bundles)) for segment in segments],
    )


def _worker(barrier: Barrier, pipe: Connection) -> None:
    """One process: its segments, made hot, then one scan per round."""
    job: _Job = pipe.recv()
    evaluator = make_evaluator("bgv", job.parameters, job.keys)
    reader = BundleReader(job.parameters, job.key_id)
    segments = [Segment(rows, bundles, evaluator, reader) for rows, bundles in job.bundles]

    def once() -> float:
        before = CLOCK.monotonic()
        Executor(job.plan, job.table, evaluator, job.constants).run(segments)
        return CLOCK.monotonic() - before

    once()
    for _ in range(ROUNDS):
        barrier.wait()
        pipe.send(once())
