"""Jobs: a plan checked, its circuit looked up, and its execution turned into a stream of events."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from concurrent.futures import Executor as Pool
from dataclasses import dataclass, field

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from amaters.base.clock import Clock
from amaters.base.errors import fail
from amaters.base.ids import ID_BYTES
from amaters.base.lru import Lru
from amaters.columns.batch import ColumnBatch
from amaters.engine.catalogue import TableEntry, invalid
from amaters.engine.ciphertexts import Constants, Evaluators, Slices, Usage, receive_constants
from amaters.engine.executor import Executor
from amaters.engine.groups import Groups, group_rows
from amaters.engine.rows import RowReader
from amaters.engine.sent import SentVectors
from amaters.engine.snapshots import Snapshot
from amaters.fhe.ciphertext import Ciphertext
from amaters.fhe.scheme import Evaluator
from amaters.fhe.serial import serialize
from amaters.plan.circuit import CompiledPlan, compile_once
from amaters.plan.spec import PlanSpec
from amaters.plan.virtual import extended, is_virtual
from amaters.storage.objects import ObjectStore
from amaters.storage.versions import SegmentRow
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb
from amaters.wire.service import Chunk

CIRCUITS_KEPT = 256
JOBS_MAX = 64
PROGRESS_SECONDS = 0.05
EVENTS_MAX = 16
Emit = Callable[[pb.ExecuteEvent], None]


@dataclass(frozen=True, slots=True)
class SegmentSource:
    """One segment as a circuit sees it.

    ``selected``: live and passing the public filter, per occupied slot; ``members``: public group
    of each occupied slot, -1 where not selected.
    """

    segment: SegmentRow
    batch: ColumnBatch
    selected: NDArray[np.bool_]
    members: NDArray[np.int64]
    load: Callable[[int, str, Sequence[int], int], list[Ciphertext]]

    @property
    def rows(self) -> int:
        """Occupied slots."""
        return self.segment.rows


@dataclass(slots=True)
class Job:
    """One running plan, at most ``EVENTS_MAX`` events ahead of its reader."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _unread: int = 0

    def cancel(self) -> None:
        """Stop soon, also when nobody reads events any more. From any thread."""
        self.cancelled.set()
        with self._changed:
            self._changed.notify_all()

    def sending(self) -> None:
        """Wait until one more event may be sent; for ever only while somebody reads."""
        with self._changed:
            self._changed.wait_for(lambda: self._unread < EVENTS_MAX or self.cancelled.is_set())
            self._unread += 1

    def received(self) -> None:
        """The reader took one event."""
        with self._changed:
            self._unread -= 1
            self._changed.notify_all()


class Jobs:
    """Runs plans; its caches serve all of them."""

    def __init__(
        self,
        objects: ObjectStore,
        rows: RowReader,
        *,
        cache_bytes: int,
        threads: int,
        clock: Clock,
    ) -> None:
        self._rows = rows
        self._threads = threads
        self._clock = clock
        self._evaluators = Evaluators(objects)
        self._slices = Slices(objects, cache_bytes)
        self._constants = Constants()
        self._circuits: Lru[bytes, CompiledPlan] = Lru(CIRCUITS_KEPT)
        self._running: dict[bytes, Job] = {}

    @property
    def cache_bytes(self) -> int:
        """Expanded ciphertexts in memory."""
        return self._slices.cached_bytes

    def check_keys(self, name: pb.KeyName, ref: cb.ObjectRef) -> None:
        """Whether uploaded evaluation keys are some, before they are named. Raises: AM-12xx."""
        self._evaluators.get(name, ref)

    async def receive_constants(
        self, request: pb.PutConstantsRequest, chunks: AsyncIterable[Chunk]
    ) -> bytearray:
        """The uploaded bytes of constants."""
        return await receive_constants(request, chunks)

    def expand_constants(
        self, request: pb.PutConstantsRequest, keys: cb.ObjectRef, data: bytearray
    ) -> None:
        """Keep constants, expanded. Cost: about 0.1 ms per constant and limb."""
        evaluator = self._evaluators.get(request.name, keys)
        self._constants.expand(request, data, evaluator, self._threads)

    def cancel(self, job_id: bytes) -> None:
        """Stop a job soon; unknown ids are ignored."""
        job = self._running.get(job_id)
        if job is not None:
            job.cancel()

    def cancel_all(self) -> None:
        """Stop everything."""
        for job in list(self._running.values()):
            job.cancel()

    async def run(
        self, request: pb.ExecuteRequest, snapshot: Snapshot, keys: cb.ObjectRef, pool: Pool
    ) -> AsyncGenerator[pb.ExecuteEvent, None]:
        """Events of one job, as they happen. Closing the iterator stops it."""
        if len(request.job_id) != ID_BYTES or request.job_id in self._running:
            invalid("a job without an id of its own")
        if len(self._running) >= JOBS_MAX:
            invalid("too many jobs at once")
        job = self._running[request.job_id] = Job()
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[pb.ExecuteEvent | None] = asyncio.Queue()

        def emit(event: pb.ExecuteEvent) -> None:
            job.sending()
            loop.call_soon_threadsafe(queue.put_nowait, event)

        def work() -> None:
            try:
                self._run(request, snapshot, keys, job, emit)
            finally:
                loop.call_soon_threadsafe(queue.put_nowait, None)

        running = loop.run_in_executor(pool, work)
        try:
            while (event := await queue.get()) is not None:
                job.received()
                yield event
            await running
        finally:
            job.cancel()
            await asyncio.wait([running])
            del self._running[request.job_id]

    def _run(
        self,
        request: pb.ExecuteRequest,
        snapshot: Snapshot,
        keys: cb.ObjectRef,
        job: Job,
        emit: Emit,
    ) -> None:
        cpu, wall = self._clock.cpu(), self._clock.monotonic()
        entry, usage = snapshot.entry, Usage()
        spec = PlanSpec.from_bytes(request.plan)
        circuit = self.circuit(spec, request.plan, entry)
        constants = self._constants.find(request.constants_id)
        evaluator = self._evaluators.get(entry.key_name, keys)
        self._slices.begin_job()
        count = len(circuit.constant_levels)
        vectors = SentVectors(circuit, request.vector_segments, constants[count:], evaluator)
        sources, groups = self._sources(spec, snapshot, evaluator, usage, vectors)
        if spec.output == "aggregate":
            event = pb.GroupsEvent(groups=groups.count, block=groups.block, rows=groups.rows)
            emit(pb.ExecuteEvent(groups=event))
        table = extended(entry.table, spec.virtual)
        runner = Executor(circuit, table, evaluator, constants[:count])
        threads = min(request.threads or self._threads, self._threads)
        switches = self._execute(runner, sources, threads, job, emit)
        stats = pb.StatsEvent(
            cpu_seconds=self._clock.cpu() - cpu,
            wall_seconds=self._clock.monotonic() - wall,
            bytes_read=usage.bytes_read,
            bytes_cached=usage.bytes_cached,
            key_switches=switches,
            segments=len(sources),
        )
        emit(pb.ExecuteEvent(stats=stats))

    def _execute(
        self,
        runner: Executor,
        sources: Sequence[SegmentSource],
        threads: int,
        job: Job,
        emit: Emit,
    ) -> int:
        """Run the circuit and tell its results; returns its key switches."""

        told = self._clock.monotonic()

        def progress(done: int, total: int) -> None:
            # Every event wakes the loop and crosses the wire: a few per second are enough.
            nonlocal told
            now = self._clock.monotonic()
            if done < total and now - told < PROGRESS_SECONDS:
                return
            told = now
            emit(pb.ExecuteEvent(progress=pb.ProgressEvent(done=done, total=total)))

        outcome = runner.run(
            sources,
            threads=threads,
            progress=progress,
            is_cancelled=job.cancelled.is_set,
        )
        for total in outcome.totals:
            event = pb.AccumulatorEvent(
                output=total.accumulator,
                group=total.group,
                part=total.part,
                ciphertext=serialize(total.ciphertext),
            )
            emit(pb.ExecuteEvent(accumulator=event))
        for pack in outcome.masks:
            ids = [sources[index].segment.segment_id for index in pack.sources]
            mask = pb.MaskEvent(
                segment_ids=ids, ciphertext=serialize(pack.ciphertext), output=pack.output
            )
            emit(pb.ExecuteEvent(mask=mask))
        return outcome.key_switches

    def circuit(self, spec: PlanSpec, plan: bytes, entry: TableEntry) -> CompiledPlan:
        """The compiled plan, which must be what the client compiled. Raises: AM-3051, AM-3005."""
        table = entry.table
        if (spec.table_id, spec.schema_version) != (table.id, table.version):
            invalid("a plan for another table or version")
        key = blake3(entry.record.public_bytes).update(plan).digest()
        found = self._circuits.get(key)
        if found is None:
            found = compile_once(spec, table, entry.parameters)
            if found.digest != spec.digest:
                fail("AM-3051")
            self._circuits.put(key, found, 1)
        return found

    def _sources(
        self,
        spec: PlanSpec,
        snapshot: Snapshot,
        evaluator: Evaluator,
        usage: Usage,
        vectors: SentVectors,
    ) -> tuple[list[SegmentSource], Groups]:
        """Segments with something selected, and the public groups of their rows."""
        entry = snapshot.entry
        table = entry.table
        kept, batches, masks = [], [], []
        near = self._rows.candidates(snapshot, spec.public_filter)
        for segment in snapshot.segments:
            selected = self._rows.selected(segment, spec.public_filter, table, near)
            if selected.any():
                kept.append(segment)
                masks.append(selected)
                batches.append(self._rows.batch(segment, table))
        groups = group_rows(spec.public_groups, batches, masks)

        def loader(
            segment: SegmentRow,
        ) -> Callable[[int, str, Sequence[int], int], list[Ciphertext]]:
            def load(
                column_id: int, kind: str, indices: Sequence[int], level: int
            ) -> list[Ciphertext]:
                if is_virtual(column_id):
                    return vectors.load(segment.segment_id, column_id, kind, indices, level)
                wanted = (column_id, kind, indices, level)
                return self._slices.load(evaluator, entry, segment, wanted, usage)

            return load

        sources = [
            SegmentSource(segment, batch, mask, members, loader(segment))
            for segment, batch, mask, members in zip(
                kept, batches, masks, groups.members, strict=True
            )
        ]
        return sources, groups
