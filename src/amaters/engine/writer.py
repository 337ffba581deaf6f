"""Everything that changes the state: checks a request against it, then applies its command.

Runs on the writer's thread, on a group of requests that become durable together; what a method
returns is told to its caller once they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from blake3 import blake3
from google.protobuf.message import Message

from amaters.base.errors import AmatersError, fail
from amaters.base.ids import ID_BYTES
from amaters.engine.batches import (
    Checked,
    check_batch,
    check_encodings,
    check_rows,
    check_tail_room,
)
from amaters.engine.catalogue import Catalogue, invalid
from amaters.engine.keysets import Keysets
from amaters.engine.leases import Leases
from amaters.engine.rekeying import check_end, check_rekey, check_switch
from amaters.engine.snapshots import Snapshots
from amaters.engine.uploads import Uploads
from amaters.storage.database import Group, Storage
from amaters.storage.rekeying import require_whole_tail
from amaters.wire import commands_pb2 as cb
from amaters.wire import service_pb2 as pb

KEYS_MAX = 1 << 40
PARTS_MAX = 64
Prepared = list[Checked] | AmatersError | None  # None: to be checked by the writer itself


class Writer:
    """The methods with a ``group`` run on the writer's thread, the others on any."""

    def __init__(
        self,
        storage: Storage,
        uploads: Uploads,
        snapshots: Snapshots,
        catalogue: Catalogue,
        leases: Leases,
        *,
        keysets: Keysets,
    ) -> None:
        self._storage = storage
        self._leases = leases
        self._uploads = uploads
        self._snapshots = snapshots
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._reserved_keys: dict[int, int] = {}
        self._collected_to = 0
        self._keysets = keysets

    # ---- keys and schemas --------------------------------------------------------------------

    def keyset(self, group: Group, name: pb.KeyName) -> cb.ObjectRef | None:
        """Evaluation keys of a secret key. Raises: AM-3010 for a foreign keyset, AM-3120."""
        return self._keysets.find(name)

    def put_keyset(self, group: Group, request: pb.PutKeysetRequest, ref: cb.ObjectRef) -> pb.Done:
        """Name uploaded keys. The first keyset claims the database; keys that lead from its secret
        key to another's begin a rotation. Raises: AM-3005, AM-3010, AM-3120.
        """
        name = request.name
        if self._keysets.find(name) is not None:
            return pb.Done()
        if name.from_key_id:
            source = pb.KeyName(
                key_id=name.from_key_id, parameter_set=name.parameter_set, scheme=name.scheme
            )
            if self._keysets.find(source) is None or name.keyset_id == self._keysets.ours:
                invalid("keys that lead from a secret key that is not this database's")
        put = cb.KeysetPut(name=name, object=ref)
        reply = self._run(group, request, lambda: cb.Command(keyset_put=put))
        self._uploads.committed([ref.object_id])
        return reply

    def create_table(self, group: Group, request: pb.CreateTableRequest) -> pb.Done:
        def command() -> cb.Command:
            entry = self._catalogue.check_new(request.schema)
            if self.keyset(group, entry.key_name) is None:
                fail("AM-3012", parameter_set=entry.table.parameter_set)
            return cb.Command(table_create=cb.TableCreate(schema=request.schema))

        return self._run(group, request, command)

    def update_schema(self, group: Group, request: pb.UpdateSchemaRequest) -> pb.Done:
        def command() -> cb.Command:
            if request.has_position:
                self._catalogue.require_unchanged(request.schema.table_id, request.position)
            self._catalogue.check_update(request.expected_version, request.schema)
            return cb.Command(schema_update=cb.SchemaUpdate(schema=request.schema))

        return self._run(group, request, command)

    def add_encodings(
        self,
        group: Group,
        request: pb.AddEncodingsRequest,
        made: cb.SegmentEncode | AmatersError,
    ) -> pb.Done:
        """See ``Service.add_encodings``; ``made`` was checked against ``schema_version``."""

        def command() -> cb.Command:
            if isinstance(made, AmatersError):
                raise made
            _, version = self._catalogue.version(request.table_id, request.schema_version)
            ids = [ref.object_id for ref in made.objects]
            self._uploads.require(ids)
            found = [row for row in version.segments if row.segment_id == request.segment_id]
            there = [item for row in found for item in row.manifest.segment.encodings]
            known = {(item.column_id, item.encoding) for item in there}
            given = {(item.column_id, item.encoding) for item in made.encodings}
            if not found or known & given:
                fail("AM-3100", table=version.schema.name)
            return cb.Command(segment_encode=made)

        reply = self._run(group, request, command)
        if isinstance(made, cb.SegmentEncode):
            self._uploads.committed([ref.object_id for ref in made.objects])
        return reply

    def drop_table(self, group: Group, request: pb.DropTableRequest) -> pb.Done:
        def command() -> cb.Command:
            entry = self._catalogue.find(request.table_id)
            self._snapshots.forget_table(entry.tid)
            return cb.Command(table_drop=cb.TableDrop(table_id=request.table_id))

        return self._run(group, request, command)

    def _run(self, group: Group, request: Any, command: Callable[[], cb.Command]) -> pb.Done:
        """The reply of a request: the earlier one if it is a repeat, else of its command."""
        if len(request.request_id) != ID_BYTES:
            invalid("a request without a request id")
        digest = digest_of(request)
        known = self._storage.state.reply_of(request.request_id, digest)
        if known is None:
            made = command()
            made.request_id, made.request_digest = request.request_id, digest
            known = group.apply(made)
        return pb.Done.FromString(known)

    # ---- rotation ----------------------------------------------------------------------------

    def rekey_segment(
        self, group: Group, request: pb.RekeySegmentRequest, made: cb.SegmentRekey
    ) -> pb.Done:
        """See ``Service.rekey_segment``. Raises: AM-3022, AM-3073."""

        def command() -> cb.Command:
            check_rekey(self._catalogue, made, request.schema_version)
            return cb.Command(segment_rekey=made)

        reply = self._run(group, request, command)
        self._uploads.committed([ref.object_id for ref in made.rekeyed.objects])
        return reply

    def switch_keys(
        self, group: Group, request: pb.SwitchKeysRequest, prepared: Prepared
    ) -> pb.CommitReply:
        """See ``Service.switch_keys``."""
        state, digest = self._storage.state, digest_of(request)
        known = state.reply_of(request.request_id, digest)
        if known is not None:
            return pb.CommitReply.FromString(known)
        entry, key_id = check_switch(self._catalogue, request)
        if self.keyset(group, self._catalogue.new_entry(request.schema).key_name) is None:
            fail("AM-3012", parameter_set=entry.table.parameter_set)
        command = cb.Command(request_id=request.request_id, request_digest=digest)
        command.key_switch.schema.CopyFrom(request.schema)
        command.key_switch.key_id = key_id
        rows = None
        if request.HasField("tail"):
            (part,) = self._ready(prepared, [request.tail])
            rows = part.rows
            check_rows(rows, request.tail, entry)
            conflicts = state.conflicts(entry.tid, rows)
            if conflicts:
                return pb.CommitReply(conflicts=conflicts)
            command.key_switch.tail.CopyFrom(part.batch)
        require_whole_tail(rows, state.tail_rows(entry.tid))
        return pb.CommitReply.FromString(group.apply(command, rows))

    def end_rotation(self, group: Group, request: pb.EndRotationRequest) -> pb.Done:
        """See ``Service.end_rotation``. Raises: AM-3010, AM-3121."""

        def command() -> cb.Command:
            check_end(self._catalogue, self._storage.state.db, request.keyset_id)
            return cb.Command(rotation_end=cb.RotationEnd(keyset_id=request.keyset_id))

        if self._keysets.ours == request.keyset_id and not self._keysets.target:
            return pb.Done()
        if request.keyset_id not in (self._keysets.target, self._keysets.ours):
            fail("AM-3010", theirs=self._keysets.ours.hex(), ours=request.keyset_id.hex())
        return self._run(group, request, command)

    # ---- batches -----------------------------------------------------------------------------

    def reserve_keys(self, table_id: bytes, count: int) -> int:
        """The first of ``count`` integer keys that nobody else gets. Raises: AM-3005, AM-3021."""
        entry, version = self._catalogue.version(table_id)
        if count > KEYS_MAX:
            invalid("too many keys")
        with self._lock:
            first = max(version.top_key, self._reserved_keys.get(entry.tid, 0)) + 1
            if first + count >= 1 << 63:
                invalid("integer keys are used up")
            self._reserved_keys[entry.tid] = first + count - 1
        return first

    def prepare(self, parts: Iterable[pb.CommitRequest]) -> list[Checked] | AmatersError:
        """What can be checked without the state; a refusal is kept for later, because a repeat of
        a request that was done is answered although its objects are no longer waiting.
        """
        try:
            return [self._checked(request) for request in parts]
        except AmatersError as refusal:
            return refusal

    def prepare_encodings(self, request: pb.AddEncodingsRequest) -> cb.SegmentEncode | AmatersError:
        """The same for encodings of a segment that is there."""
        try:
            entry = self._catalogue.find(request.table_id, request.schema_version)
            return check_encodings(request, entry, self._uploads, self._storage)
        except AmatersError as refusal:
            return refusal

    def _checked(self, request: pb.CommitRequest) -> Checked:
        entry = self._catalogue.find(request.table_id, request.schema_version)
        return check_batch(request, entry, self._uploads, self._storage)

    def commit(self, group: Group, request: pb.CommitRequest, prepared: Prepared) -> pb.CommitReply:
        """See ``Service.commit``."""
        if len(request.request_id) != ID_BYTES:
            invalid("a batch without a request id")
        digest = digest_of(request)
        known = self._storage.state.reply_of(request.request_id, digest)
        if known is not None:
            return pb.CommitReply.FromString(known)
        (part,) = self._ready(prepared, [request])
        conflicts = self._conflicts(part)
        if conflicts:
            return pb.CommitReply(conflicts=conflicts)
        command = cb.Command(request_id=request.request_id, request_digest=digest, batch=part.batch)
        reply = pb.CommitReply.FromString(group.apply(command, part.rows))
        self._uploads.committed(part.ids())
        self._leases.used(part.entry, request)
        return reply

    def commit_batch(
        self, group: Group, request: pb.BatchRequest, prepared: Prepared
    ) -> pb.BatchReply:
        """See ``Service.commit_batch``."""
        if len(request.request_id) != ID_BYTES:
            invalid("a batch without a request id")
        digest = digest_of(request)
        known = self._storage.state.reply_of(request.request_id, digest)
        if known is not None:
            return pb.BatchReply.FromString(known)
        tables = {part.table_id for part in request.parts}
        if not 0 < len(tables) == len(request.parts) <= PARTS_MAX:
            invalid("a batch that is not one part for each of its tables")
        if any(part.request_id for part in request.parts):
            invalid("a part with a request id of its own")
        parts = self._ready(prepared, request.parts)
        named = [object_id for part in parts for object_id in part.ids()]
        if len(set(named)) != len(named):
            invalid("one object in two parts")
        reply = pb.BatchReply()
        for index, part in enumerate(parts):
            for conflict in self._conflicts(part):
                conflict.part = index
                reply.conflicts.append(conflict)
        if reply.conflicts:
            return reply
        batches = cb.MultiBatch(parts=[part.batch for part in parts])
        command = cb.Command(
            request_id=request.request_id, request_digest=digest, multi_batch=batches
        )
        done = group.apply(command, tuple(part.rows for part in parts))
        self._uploads.committed(named)
        for part in parts:
            self._leases.used(part.entry, part.batch.request)
        return pb.BatchReply.FromString(done)

    def _ready(self, prepared: Prepared, parts: Iterable[pb.CommitRequest]) -> list[Checked]:
        """Checked parts whose table and objects still are what they were when they were checked.

        Raises: AM-3021, AM-3022, AM-3030 and what ``check_batch`` raises.
        """
        fresh = prepared is None
        checked = self.prepare(parts) if prepared is None else prepared
        if isinstance(checked, AmatersError):
            raise checked
        if not fresh:
            for part in checked:
                self._catalogue.find(part.entry.record.table_id, part.entry.record.version)
                self._uploads.require(part.ids())
        return checked

    def _conflicts(self, part: Checked) -> list[pb.KeyConflict]:
        """Rows in the way of a part. Raises: AM-3032, AM-3034, AM-3036, AM-3071, AM-3072."""
        state, request = self._storage.state, part.batch.request
        self._leases.require(part.entry, request)
        check_rows(part.rows, request, part.entry)
        conflicts = state.conflicts(part.entry.tid, part.rows)
        if not conflicts:
            check_tail_room(state.tail_rows(part.entry.tid), request, part.entry)
        return conflicts

    # ---- reading -----------------------------------------------------------------------------

    def table_stats(self, request: pb.TableStatsRequest) -> pb.TableStatsReply:
        _, version = self._catalogue.version(request.table_id)
        segments = version.segments
        return pb.TableStatsReply(
            segments=len(segments),
            rows=sum(segment.live for segment in segments),
            tail_rows=version.tail_rows,
            segment_bytes=sum(ref.size for row in segments for ref in row.manifest.objects),
            tail_bytes=version.tail_bytes,
        )

    def collect(self) -> int:
        """Between groups: delete objects that left the state and that no snapshot pins."""
        return self._storage.collect(self._snapshots.pinned())

    def upkeep(self) -> None:
        """After a group: collect when more may go than the last time."""
        position = self._storage.rebuilt_from()
        if position > self._collected_to:
            self._collected_to = position
            self.collect()


def digest_of(request: Message) -> bytes:
    """What a repeat of a request must have in common with it."""
    return blake3(request.SerializeToString(deterministic=True)).digest()
