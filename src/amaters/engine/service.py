"""The engine: every request of ``wire.service`` as a method, without sockets.

It holds no secret and could not use one. State is touched by one writer thread; files, expansion
and circuits run in worker threads (the kernels release the GIL); the event loop only waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from amaters.base.clock import Clock, SystemClock
from amaters.base.errors import AmatersError, fail
from amaters.base.ids import ID_BYTES
from amaters.base.progress import ProgressCallback
from amaters.base.settings import cores
from amaters.base.version import VERSION
from amaters.engine import history
from amaters.engine.catalogue import Catalogue, invalid
from amaters.engine.compaction import MERGE_BYTES_PER_SECOND, Merger, Surroundings
from amaters.engine.delivery import Delivery
from amaters.engine.holds import Holds
from amaters.engine.indexer import Indexer
from amaters.engine.jobs import JOBS_MAX, Jobs
from amaters.engine.keysets import Keysets
from amaters.engine.leases import Leases, slow_down
from amaters.engine.rekeying import Rekeying
from amaters.engine.rotation import Rotation
from amaters.engine.rows import RowReader, Rows, listed_slots, sealed_canaries
from amaters.engine.snapshots import LEASE_SECONDS, Snapshot, Snapshots, tail_blocks
from amaters.engine.uploads import Uploads
from amaters.engine.writer import Prepared, Writer
from amaters.plan.check import check_spec
from amaters.plan.spec import PlanSpec
from amaters.storage.backup import backup_to
from amaters.storage.backupset import BackupInfo
from amaters.storage.committer import Committer
from amaters.storage.database import Group, Storage, open_memory
from amaters.storage.directory import open_directory
from amaters.storage.options import StorageOptions
from amaters.storage.verify import VerifyReport, verify
from amaters.storage.versions import SegmentRow, live_slots
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb
from amaters.wire.service import PROTOCOL, Chunk

MEMORY = ":memory:"
CACHE_BYTES = 1536 << 20

T = TypeVar("T")


class Engine:
    """One open database. Made by ``open_engine``; implements ``wire.service.Service``."""

    def __init__(
        self,
        storage: Storage,
        *,
        unsafe_scheme: bool = False,
        cache_bytes: int = CACHE_BYTES,
        threads: int | None = None,
        clock: Clock | None = None,
        lease_seconds: float = LEASE_SECONDS,
        merge_bytes_per_second: float | None = MERGE_BYTES_PER_SECOND,
    ) -> None:
        """``merge_bytes_per_second``: how fast partial segments are merged in the background;
        0: only when asked to, None: as fast as it goes.
        """
        threads, clock = threads or cores(), clock or SystemClock()
        self._storage = storage
        self.notice, self.log_notice = storage.notice, storage.log_notice
        self._unsafe = unsafe_scheme
        self._working = ThreadPoolExecutor(threads + 2, thread_name_prefix="amaters-worker")
        # Jobs wait for their readers; those readers' other calls must not wait for them.
        self._running = ThreadPoolExecutor(JOBS_MAX, thread_name_prefix="amaters-job")
        self._uploads = Uploads(storage.objects, self._working)
        self._catalogue = Catalogue(storage, unsafe_scheme=unsafe_scheme)
        self._snapshots = Snapshots(self._catalogue, clock, lease_seconds=lease_seconds)
        self._leases = Leases(clock)
        self._keysets = Keysets(storage, self._catalogue)
        self._writer = Writer(
            storage,
            self._uploads,
            self._snapshots,
            self._catalogue,
            self._leases,
            keysets=self._keysets,
        )
        self._rows = RowReader(storage)
        self._jobs = Jobs(
            storage.objects, self._rows, cache_bytes=cache_bytes, threads=threads, clock=clock
        )
        self._committer = Committer(storage, upkeep=self._writer.upkeep)
        self._indexer = Indexer(storage, self._committer)
        self._indexer.wake()
        self._merges = merge_bytes_per_second != 0
        around = Surroundings(
            storage, self._catalogue, self._snapshots, self._uploads, self._rows, self._committer
        )
        self._merger = Merger(around, clock, bytes_per_second=merge_bytes_per_second or None)
        self._holds = Holds(clock)
        self._rekeying = Rekeying(around, threads=threads)
        self._rotation = Rotation(
            self._catalogue,
            self._keysets,
            self._rekeying,
            self._holds,
            self._writer,
            write=self._write,
            work=self._work,
            keyset=self._keyset,
        )
        if self._merges:
            self._merger.poke()
        self._delivery = Delivery()
        self._closed = False

    async def _write(
        self, work: Callable[..., T], *arguments: Any, size: int = 0, alone: bool = False
    ) -> T:
        """``work(group, *arguments)`` on the writer's thread: its result, once it is durable.
        ``alone``: in a group of its own, published before the next request is checked.
        """
        self._check_open()
        future, settle = self._delivery.expect()
        call = partial(_with_group, work, arguments)
        self._committer.enqueue(call, settle, size=size, alone=alone)
        return cast(T, await future)

    async def _collect(self) -> None:
        """Delete what nothing needs any more, between two groups. What stays goes another time:
        whoever let go of it is not to be told that it failed.
        """
        future, settle = self._delivery.expect()
        with suppress(AmatersError):
            self._committer.between(self._writer.collect, settle)
            await future

    async def _work(self, work: Callable[..., T], *arguments: Any) -> T:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._working, work, *arguments)

    def _check_open(self) -> None:
        if self._closed:
            fail("AM-3004")

    async def hello(self, request: pb.HelloRequest) -> pb.HelloReply:
        self._check_open()
        if request.protocol != PROTOCOL:
            fail("AM-3001", theirs=request.protocol, ours=PROTOCOL)
        return pb.HelloReply(
            protocol=PROTOCOL,
            version=VERSION,
            unsafe_scheme=self._unsafe,
            database_id=self._storage.database_id,
            keyset_id=self._keysets.ours,
            rotating_to=self._keysets.target,
        )

    # ---- keys and schemas --------------------------------------------------------------------

    async def has_keyset(self, request: pb.KeyName) -> pb.HasKeysetReply:
        return pb.HasKeysetReply(present=await self._keyset(request) is not None)

    async def _keyset(self, name: pb.KeyName) -> cb.ObjectRef | None:
        """Evaluation keys; those of every table are known without asking the writer."""
        self._check_open()
        found = self._keysets.known(name)
        return found or await self._write(self._writer.keyset, name)

    async def put_keyset(
        self, request: pb.PutKeysetRequest, chunks: AsyncIterable[Chunk]
    ) -> pb.Done:
        name = request.name
        if len(name.keyset_id) != ID_BYTES or len(name.key_id) != ID_BYTES:
            invalid("a keyset without ids")
        self._check_scheme(name.scheme)
        if await self._keyset(name) is not None:
            return pb.Done()
        object_id = self._uploads.reserve(1)[0]
        ref = await self._uploads.receive(object_id, request.size, chunks)
        check = self._rekeying.check_keys if name.from_key_id else self._jobs.check_keys
        await self._work(check, name, ref)
        reply = await self._write(self._writer.put_keyset, request, ref, alone=True)
        self._keysets.refresh()
        return reply

    def _check_scheme(self, scheme: str) -> None:
        if scheme == "noop" and not self._unsafe:
            fail("AM-3011")

    # ---- rotation ----------------------------------------------------------------------------

    async def rekey_segment(self, request: pb.RekeySegmentRequest) -> pb.Done:
        return await self._rotation.rekey_segment(request)

    async def switch_keys(self, request: pb.SwitchKeysRequest) -> pb.CommitReply:
        return await self._rotation.switch_keys(request)

    async def hold_writes(self, request: pb.HoldWritesRequest) -> pb.Done:
        self._check_open()
        return self._rotation.hold_writes(request)

    async def end_rotation(self, request: pb.EndRotationRequest) -> pb.Done:
        reply = await self._rotation.end_rotation(request)
        await self._collect()
        return reply

    async def create_table(self, request: pb.CreateTableRequest) -> pb.Done:
        return await self._write(self._writer.create_table, request, alone=True)

    async def drop_table(self, request: pb.DropTableRequest) -> pb.Done:
        reply = await self._write(self._writer.drop_table, request, alone=True)
        await self._collect()
        return reply

    async def update_schema(self, request: pb.UpdateSchemaRequest) -> pb.Done:
        reply = await self._write(self._writer.update_schema, request, alone=True)
        self._indexer.wake()
        return reply

    async def add_encodings(self, request: pb.AddEncodingsRequest) -> pb.Done:
        made = await self._work(self._writer.prepare_encodings, request)
        # Alone, so that it is checked against versions that are published.
        return await self._write(self._writer.add_encodings, request, made, alone=True)

    async def build_index(self, request: pb.BuildIndexRequest) -> AsyncIterator[pb.BuildIndexEvent]:
        self._check_open()
        async for event in self._indexer.follow(request.table_id, request.number):
            yield event

    async def list_tables(self, request: pb.ListTablesRequest) -> pb.ListTablesReply:
        self._check_open()
        entries = self._catalogue.entries()
        return pb.ListTablesReply(tables=[entry.record for entry in entries])

    # ---- writing -----------------------------------------------------------------------------

    async def reserve(self, request: pb.ReserveRequest) -> pb.ReserveReply:
        self._check_open()
        reply = pb.ReserveReply(ids=self._uploads.reserve(request.objects))
        if request.keys:
            reply.first_key = self._writer.reserve_keys(request.table_id, request.keys)
        return reply

    async def upload(
        self, request: pb.UploadRequest, chunks: AsyncIterable[Chunk]
    ) -> pb.UploadReply:
        self._check_open()
        ref = await self._uploads.receive(request.object_id, request.size, chunks)
        self._uploads.keep(ref)
        return pb.UploadReply(size=ref.size)

    async def discard(self, request: pb.DiscardRequest) -> pb.Done:
        self._check_open()
        gone = self._uploads.abandon(request.object_ids)
        await self._work(self._storage.objects.delete_many, gone)
        return pb.Done()

    async def lease(self, request: pb.LeaseRequest) -> pb.LeaseReply:
        self._check_open()
        entry, version = self._catalogue.version(request.table_id)
        return self._leases.grant(entry, version, request)

    async def end_lease(self, request: pb.EndLeaseRequest) -> pb.Done:
        self._check_open()
        self._leases.end(self._catalogue.find(request.table_id).tid, request.lease_id)
        return pb.Done()

    async def commit(self, request: pb.CommitRequest) -> pb.CommitReply:
        await self._slow_down([request])
        prepared = await self._prepared([request])
        size = request.ByteSize()
        reply = await self._write(self._writer.commit, request, prepared, size=size)
        self._look_for_merges([request])
        return reply

    async def commit_batch(self, request: pb.BatchRequest) -> pb.BatchReply:
        await self._slow_down(request.parts)
        prepared = await self._prepared(request.parts)
        size = request.ByteSize()
        reply = await self._write(self._writer.commit_batch, request, prepared, size=size)
        self._look_for_merges(request.parts)
        return reply

    def _look_for_merges(self, parts: Sequence[pb.CommitRequest]) -> None:
        shared = any(segment.open_segment for part in parts for segment in part.segments)
        if shared and self._merges:
            self._merger.poke()

    async def merge(self) -> int:
        """Merge partial segments now, however few of an open segment; how many were made."""
        return await self._work(partial(self._merger.run, least=1))

    async def _slow_down(self, parts: Sequence[pb.CommitRequest]) -> None:
        """Whoever adds to a tail that is too long waits, so that its exchange gets ahead."""
        await self._holds.wait(part.table_id for part in parts)
        adding = [part.table_id for part in parts if part.tail.rows and not part.moved.versions]
        for table_id in adding:
            version = self._storage.version(table_id)
            if version is not None:
                slots = self._catalogue.entry(version).parameters.slots
                pause = slow_down(version.tail_rows, slots)
                if pause:
                    await asyncio.sleep(pause)

    async def _prepared(self, parts: Sequence[pb.CommitRequest]) -> Prepared:
        """Commits with segments are checked before they reach the writer, who would keep others
        waiting; for a few tail rows the way to another thread costs more than the checks.
        """
        if not any(part.segments for part in parts):
            return None
        return await self._work(self._writer.prepare, parts)

    # ---- reading -----------------------------------------------------------------------------

    async def snapshot(self, request: pb.SnapshotRequest) -> pb.SnapshotReply:
        self._check_open()
        snapshot = self._snapshots.hold(request.table_id, request.schema_version)
        return snapshot.manifest(self._snapshots.lease_seconds)

    async def renew(self, request: pb.RenewRequest) -> pb.RenewReply:
        self._check_open()
        gone = self._snapshots.renew(request.handles)
        return pb.RenewReply(lease_seconds=self._snapshots.lease_seconds, expired=gone)

    async def release(self, request: pb.HandleRequest) -> pb.Done:
        self._check_open()
        if self._snapshots.release(request.handle):
            await self._collect()
        return pb.Done()

    async def read_tail(self, request: pb.HandleRequest) -> AsyncIterator[pb.RowBlock]:
        snapshot = self._snapshots.find(request.handle)
        for block in await self._work(tail_blocks, snapshot):
            yield block

    async def read_canaries(self, request: pb.CanaryRequest) -> pb.CanaryReply:
        snapshot = self._snapshots.find(request.handle)
        wanted = [snapshot.segment(item) for item in request.segment_ids]
        reply = pb.CanaryReply()
        for segment in wanted or snapshot.segments:
            reply.segments.append(sealed_canaries(segment))
            reply.segments[-1].live = segment.live_bits
        return reply

    async def fetch_rows(self, request: pb.FetchRequest) -> AsyncIterator[pb.RowBlock]:
        with self._fetched_from(request) as snapshot:
            if request.keys:
                found = self._rows.fetch_keys(snapshot, request)
            else:
                chosen = await self._work(self._chosen, snapshot, request)
                found = self._rows.fetch(snapshot, request, chosen)
            while (block := await self._work(_following, found)) is not None:
                yield block

    def _fetched_from(self, request: pb.FetchRequest) -> AbstractContextManager[Snapshot]:
        if request.keys and not request.handle:
            return self._snapshots.once(request.table_id, request.schema_version)
        return self._snapshots.use(request.handle)

    def _chosen(
        self, snapshot: Snapshot, request: pb.FetchRequest
    ) -> Iterable[tuple[SegmentRow, Rows]]:
        if request.slots:
            return listed_slots(snapshot, request)
        if request.all_rows:
            return [(s, live_slots(s.rows, s.live_bits).nonzero()[0]) for s in snapshot.segments]
        spec = PlanSpec.from_bytes(request.plan)
        table = snapshot.entry.table
        check_spec(spec, table)
        predicate = spec.public_filter
        near = self._rows.candidates(snapshot, predicate)
        return (
            (segment, self._rows.selected(segment, predicate, table, near).nonzero()[0])
            for segment in snapshot.segments
        )

    async def table_stats(self, request: pb.TableStatsRequest) -> pb.TableStatsReply:
        self._check_open()
        reply = self._writer.table_stats(request)
        reply.cache_bytes = self._jobs.cache_bytes
        return reply

    # ---- computing ---------------------------------------------------------------------------

    async def put_constants(
        self, request: pb.PutConstantsRequest, chunks: AsyncIterable[Chunk]
    ) -> pb.Done:
        self._check_open()
        ref = await self._keyset(request.name)
        if ref is None:
            fail("AM-3012", parameter_set=request.name.parameter_set)
        data = await self._jobs.receive_constants(request, chunks)
        await self._work(self._jobs.expand_constants, request, ref, data)
        return pb.Done()

    async def execute(self, request: pb.ExecuteRequest) -> AsyncIterator[pb.ExecuteEvent]:
        self._check_open()
        with self._snapshots.use(request.handle) as snapshot:
            keys = await self._keyset(snapshot.entry.key_name)
            if keys is None:
                fail("AM-3012", parameter_set=snapshot.entry.table.parameter_set)
            events = self._jobs.run(request, snapshot, keys, self._running)
            try:
                async for event in events:
                    yield event
            finally:
                await events.aclose()

    async def cancel(self, request: pb.CancelRequest) -> pb.Done:
        self._jobs.cancel(request.job_id)
        return pb.Done()

    def cancel_jobs(self) -> None:
        """Stop all running jobs soon; from any thread."""
        self._jobs.cancel_all()

    async def forget_history(self, request: pb.ForgetHistoryRequest) -> pb.ForgetHistoryReply:
        self._check_open()
        await self._work(history.check_targets, request.backups)
        erased = self._storage.position  # what is younger never had what is to be forgotten
        await self._work(self._storage.forget_history, self._mark)
        await self._collect()
        return await self._work(self._holders, request, erased)

    def _mark(self) -> object:
        mark = cb.Command(history_mark=cb.HistoryMark())
        return self._committer.submit(lambda group: group.apply(mark), size=0).result()

    def _holders(self, request: pb.ForgetHistoryRequest, erased: int) -> pb.ForgetHistoryReply:
        looked_at = self._storage, self._snapshots, self._uploads
        return history.holders(*looked_at, request.backups, erased)

    # ---- upkeep: for the program that the engine runs in, not for clients ---------------------

    async def backup(
        self, address: str, *, incremental: bool, parent: str | None, progress: ProgressCallback
    ) -> BackupInfo:
        """A backup of the database while it is in use (``storage.backup``)."""
        work = partial(backup_to, incremental=incremental, parent=parent, progress=progress)
        return await self._work(work, self._storage, address)

    async def verify(self, progress: ProgressCallback) -> VerifyReport:
        """Whether the database is whole, while it is in use (``storage.verify``)."""
        return await self._work(partial(verify, progress=progress), self._storage)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.cancel_jobs()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._shut_down)

    def _shut_down(self) -> None:
        self._rekeying.stop()
        self._merger.close()
        self._running.shutdown(wait=True, cancel_futures=True)
        self._working.shutdown(wait=True, cancel_futures=True)
        self._indexer.close()
        self._committer.close()
        self._storage.close()
        self._merger.settle()


def _with_group(work: Callable[..., T], arguments: tuple[Any, ...], group: Group) -> T:
    return work(group, *arguments)


def _following(blocks: Iterator[pb.RowBlock]) -> pb.RowBlock | None:
    return next(blocks, None)


def open_engine(
    location: str | Path,
    *,
    unsafe_scheme: bool = False,
    cache_bytes: int = CACHE_BYTES,
    threads: int | None = None,
    options: StorageOptions | None = None,
) -> Engine:
    """The engine of a database directory (made if it is not there) or of ``:memory:``.

    Raises: AM-4001, AM-4002, AM-4005, AM-4006; on an object store AM-4025 and AM-4027 to AM-4031.
    """
    in_memory = str(location) == MEMORY
    storage = open_memory() if in_memory else open_directory(Path(location), options=options)
    return Engine(storage, unsafe_scheme=unsafe_scheme, cache_bytes=cache_bytes, threads=threads)
