"""Everything that touches the state: one thread, one request at a time, checks before effects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blake3 import blake3
from google.protobuf.message import Message

from amaters.base.errors import fail
from amaters.base.ids import ID_BYTES
from amaters.engine.batches import check_batch, check_rows, check_tail_room
from amaters.engine.catalogue import Catalogue, invalid
from amaters.engine.snapshots import Snapshot, Snapshots
from amaters.engine.uploads import Uploads
from amaters.storage.database import Storage
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

KEYS_MAX = 1 << 40


class Writer:
    """Runs on the engine's single writer thread."""

    def __init__(
        self, database: Storage, uploads: Uploads, snapshots: Snapshots, *, unsafe_scheme: bool
    ) -> None:
        self._database = database
        self._uploads = uploads
        self._snapshots = snapshots
        self._reserved_keys: dict[int, int] = {}
        self._doomed: set[bytes] = set()
        self.catalogue = Catalogue(database.state, unsafe_scheme=unsafe_scheme)

    # ---- keys and schemas --------------------------------------------------------------------

    def keyset_id(self) -> bytes:
        """The keyset this database belongs to."""
        return self._database.state.keyset_id()

    def keyset(self, name: pb.KeyName) -> cb.ObjectRef | None:
        """Evaluation keys of a secret key. Raises: AM-3010 for a foreign keyset."""
        ours = self._database.state.keyset_id()
        if ours and name.keyset_id and name.keyset_id != ours:
            fail("AM-3010", theirs=ours.hex(), ours=name.keyset_id.hex())
        return self._database.state.keyset(name)

    def put_keyset(self, request: pb.PutKeysetRequest, ref: cb.ObjectRef) -> pb.Done:
        """Name uploaded evaluation keys; the first keyset claims the database."""
        if self.keyset(request.name) is not None:
            return pb.Done()
        put = cb.KeysetPut(name=request.name, object=ref)
        reply = self._run(request, lambda: cb.Command(keyset_put=put))
        self._uploads.committed([ref.object_id])
        return reply

    def create_table(self, request: pb.CreateTableRequest) -> pb.Done:
        def command() -> cb.Command:
            entry = self.catalogue.check_new(request.schema)
            if self.keyset(entry.key_name) is None:
                fail("AM-3012", parameter_set=entry.table.parameter_set)
            return cb.Command(table_create=cb.TableCreate(schema=request.schema))

        return self._schema_change(request, command)

    def update_schema(self, request: pb.UpdateSchemaRequest) -> pb.Done:
        def command() -> cb.Command:
            self.catalogue.check_update(request.expected_version, request.schema)
            return cb.Command(schema_update=cb.SchemaUpdate(schema=request.schema))

        return self._schema_change(request, command)

    def drop_table(self, request: pb.DropTableRequest) -> pb.Done:
        doomed: set[bytes] = set()

        def command() -> cb.Command:
            entry = self.catalogue.find(request.table_id)
            for segment in self._database.state.segments(entry.tid):
                doomed.update(ref.object_id for ref in segment.manifest.objects)
            self._snapshots.forget_table(entry.tid)
            return cb.Command(table_drop=cb.TableDrop(table_id=request.table_id))

        reply = self._schema_change(request, command)
        self._doomed |= doomed
        self.collect()
        return reply

    def _schema_change(self, request: Any, command: Callable[[], cb.Command]) -> pb.Done:
        reply = self._run(request, command)
        self.catalogue.refresh(self._database.state)
        return reply

    def _run(self, request: Any, command: Callable[[], cb.Command]) -> pb.Done:
        """The reply of a request: the earlier one if it is a repeat, else of its command."""
        if len(request.request_id) != ID_BYTES:
            invalid("a request without a request id")
        digest = digest_of(request)
        known = self._database.state.reply_of(request.request_id, digest)
        if known is None:
            made = command()
            made.request_id, made.request_digest = request.request_id, digest
            known = self._database.append(made)
        return pb.Done.FromString(known)

    # ---- batches -----------------------------------------------------------------------------

    def reserve_keys(self, table_id: bytes, count: int) -> int:
        """The first of ``count`` integer keys that nobody else gets. Raises: AM-3005, AM-3021."""
        entry = self.catalogue.find(table_id)
        if count > KEYS_MAX:
            invalid("too many keys")
        row = next(t for t in self._database.state.tables() if t.tid == entry.tid)
        first = max(row.top_key, self._reserved_keys.get(entry.tid, 0)) + 1
        if first + count >= 1 << 63:
            invalid("integer keys are used up")
        self._reserved_keys[entry.tid] = first + count - 1
        return first

    def commit(self, request: pb.CommitRequest) -> pb.CommitReply:
        """See ``Service.commit``."""
        digest = digest_of(request)
        state = self._database.state
        known = state.reply_of(request.request_id, digest)
        if known is not None:
            return pb.CommitReply.FromString(known)
        entry = self.catalogue.find(request.table_id, request.schema_version)
        batch = check_batch(request, entry, self._uploads, self._database.objects.open)
        rows = self._database.read_rows(batch)
        check_rows(rows, request, entry)
        conflicts = state.conflicts(entry.tid, rows)
        if conflicts:
            return pb.CommitReply(conflicts=conflicts)
        check_tail_room(state.tail_rows(entry.tid), request, entry)
        command = cb.Command(request_id=request.request_id, request_digest=digest, batch=batch)
        reply = pb.CommitReply.FromString(self._database.append(command, rows))
        self._uploads.committed(ref.object_id for ref in batch.objects)
        self._uploads.committed(segment.segment_id for segment in request.segments)
        return reply

    # ---- reading -----------------------------------------------------------------------------

    def snapshot(self, request: pb.SnapshotRequest) -> Snapshot:
        """Pin the table as it is now."""
        entry = self.catalogue.find(request.table_id, request.schema_version)
        state = self._database.state
        return self._snapshots.hold(
            state.applied, entry, state.segments(entry.tid), state.tail(entry.tid)
        )

    def table_stats(self, request: pb.TableStatsRequest) -> pb.TableStatsReply:
        state = self._database.state
        entry = self.catalogue.find(request.table_id)
        segments = state.segments(entry.tid)
        tail = state.tail(entry.tid)
        return pb.TableStatsReply(
            segments=len(segments),
            rows=sum(segment.live for segment in segments),
            tail_rows=sum(block.live for block in tail),
            segment_bytes=sum(ref.size for row in segments for ref in row.manifest.objects),
            tail_bytes=sum(len(block.public) + len(block.sealed) for block in tail),
        )

    def collect(self) -> None:
        """Delete objects of dropped tables that no snapshot pins."""
        free = self._doomed - self._snapshots.pinned() if self._doomed else set()
        self._database.delete_objects(free)
        self._doomed -= free


def digest_of(request: Message) -> bytes:
    """What a repeat of a request must have in common with it."""
    return blake3(request.SerializeToString(deterministic=True)).digest()
