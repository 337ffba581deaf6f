"""The one door between client and engine: an async Protocol with typed messages.

In process the client calls the engine's object directly; behind a pipe (``wire.pipe``) or a
socket the same calls travel as frames. Whoever stands behind the door is untrusted: nothing that
passes it may contain a secret key, a plaintext of an encrypted column or an unpadded length of
one.

What the engine learns from each call is said under ``Leaks``. Bulk bytes travel as chunks of at
most ``CHUNK_BYTES_MAX``; in process a chunk may be a ``memoryview`` on the caller's buffer, which
is read before the next chunk is asked for. Every method raises ``amaters.base.errors`` errors,
remade on this side of a pipe.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from amaters.wire import service_pb2 as pb

PROTOCOL = 1
CHUNK_BYTES_MAX = 1 << 20
MESSAGE_BYTES_MAX = 32 << 20

Chunk = bytes | bytearray | memoryview


class Service(Protocol):
    """Everything a client can ask of an engine."""

    async def hello(self, request: pb.HelloRequest) -> pb.HelloReply:
        """Who is there. The client decides on scheme and parameters; the reply can only make it
        refuse.

        Raises: AM-3001 (protocol).
        """

    # ---- keys and schemas --------------------------------------------------------------------

    async def has_keyset(self, request: pb.KeyName) -> pb.HasKeysetReply:
        """Whether the evaluation keys of this secret key are here.

        Raises: AM-3010 when the database belongs to another keyset.
        """

    async def put_keyset(
        self, request: pb.PutKeysetRequest, chunks: AsyncIterable[Chunk]
    ) -> pb.Done:
        """Store the evaluation keys (public: they allow computing, not reading).

        The first keyset claims the database. Keys with ``from_key_id`` begin a rotation to their
        keyset, which is then welcome too. Raises: AM-3010 (foreign keyset), AM-3011 (noop not
        allowed), AM-3120 (it is being rotated to another one).
        """

    async def rekey_segment(self, request: pb.RekeySegmentRequest) -> pb.Done:
        """Switch a segment's ciphertexts to another secret key, beside what they are: nobody sees
        them before ``switch_keys``. Sealed rows and canaries come sealed anew.

        Leaks: nothing that is not known: which segments there are.
        Raises: AM-3012 (no keys lead there), AM-3022, AM-3030, AM-3073 (the segment has left:
        look again), AM-3122 (too many changes of key).
        """

    async def switch_keys(self, request: pb.SwitchKeysRequest) -> pb.CommitReply:
        """A table is under another key from here on: its segments, its schema, and its tail, whose
        rows come sealed anew. A reply with conflicts did nothing.

        Raises: AM-3012, AM-3022, AM-3121 (a segment is not ready), AM-3123 (the tail has other
        rows): look again.
        """

    async def hold_writes(self, request: pb.HoldWritesRequest) -> pb.Done:
        """Commits of a table wait, some seconds at most, so that ``switch_keys`` finds the tail
        that was read; 0 seconds: no longer. Raises: AM-3021.
        """

    async def end_rotation(self, request: pb.EndRotationRequest) -> pb.Done:
        """The keyset that the database was rotated from is forgotten, and what led from it. With
        the keyset that it has, before any table has changed: the rotation is abandoned.

        Raises: AM-3010, AM-3121 (a table is under another key).
        """

    async def create_table(self, request: pb.CreateTableRequest) -> pb.Done:
        """Create a table. Leaks: names, types and capabilities of columns; of bounds the width in
        bits and, for sums, the range of the top limb; not categories, dictionaries.

        Raises: AM-3020 (name taken), AM-3012 (its keys were not put yet).
        """

    async def drop_table(self, request: pb.DropTableRequest) -> pb.Done:
        """Drop a table; its objects go when no snapshot pins them. Raises: AM-3021."""

    async def update_schema(self, request: pb.UpdateSchemaRequest) -> pb.Done:
        """Replace a table's schema record if its version still is ``expected_version`` (new
        dictionary codes, ALTER TABLE). A segment loses the encodings that the new schema does not
        have. Raises: AM-3020, AM-3021, AM-3022 (version moved on), AM-3101 (a segment lacks
        encodings that it has), AM-3102 (the table changed after ``position``).
        """

    async def add_encodings(self, request: pb.AddEncodingsRequest) -> pb.Done:
        """Give a segment encodings that the schema waits for: uploaded bundles, by slot as its rows
        lie. Raises: AM-3022, AM-3032, AM-3100 (the segment has left, or has them).
        """

    def build_index(self, request: pb.BuildIndexRequest) -> AsyncIterator[pb.BuildIndexEvent]:
        """Waits until an index of the schema is ready; building goes on whether anybody waits or
        not. Raises: AM-3090 (not unique: drop it from the schema), AM-3091.
        """

    async def list_tables(self, request: pb.ListTablesRequest) -> pb.ListTablesReply:
        """All schema records. The client checks each MAC before it believes one."""

    # ---- writing -----------------------------------------------------------------------------

    async def forget_history(self, request: pb.ForgetHistoryRequest) -> pb.ForgetHistoryReply:
        """Make snapshots and log anew and delete what they were, so that deleted rows are in no
        file; what still holds them all the same. ``backups`` are addresses as the engine sees them.

        Cost: the state, written thrice. Raises: AM-4003, AM-4008, AM-4011, AM-4013, AM-4028.
        """

    async def reserve(self, request: pb.ReserveRequest) -> pb.ReserveReply:
        """Fresh ids for objects and segments, and a run of integer keys above all keys used or
        reserved so far.
        """

    async def upload(
        self, request: pb.UploadRequest, chunks: AsyncIterable[Chunk]
    ) -> pb.UploadReply:
        """Make one reserved object durable; nobody sees it until a commit names it.

        Raises: AM-3030 (id not reserved or already written), AM-3031 (size differs).
        """

    async def discard(self, request: pb.DiscardRequest) -> pb.Done:
        """Delete uploaded objects that no commit will name, such as those of one that met
        conflicts. Others are left alone; what nobody discards goes when the database is opened.
        """

    async def commit(self, request: pb.CommitRequest) -> pb.CommitReply:
        """Apply a whole batch or nothing; durable when it returns.

        A reply with conflicts did nothing: it names the existing rows of the same keys, so that
        the client, which alone can tell a canary from a row, may repeat the batch (new
        ``request_id``) with the canary in ``removed``.
        Leaks: primary keys, public columns, row counts, padded lengths; which rows are replaced.
        Raises: AM-3021, AM-3022, AM-3032 (object missing or not what the schema needs), AM-3033
        (a key twice in the batch), AM-3034 (tail full: Unavailable).
        """

    async def commit_batch(self, request: pb.BatchRequest) -> pb.BatchReply:
        """Apply commits to several tables, all or none; durable when it returns.

        Conflicts name the part they are in; one anywhere and nothing was done in any part.
        Leaks: what ``commit`` does of each part, and that they belong together.
        Raises: what ``commit`` does; AM-3005 for two parts of one table.
        """

    async def lease(self, request: pb.LeaseRequest) -> pb.LeaseReply:
        """The exchange of a tail, or slots of an open segment, for a while; or renew a lease.

        Refused by an empty ``lease_id`` while another client exchanges the tail.
        Raises: AM-3005 (too few slots), AM-3021, AM-3072 (slots that are no longer lent).
        """

    async def end_lease(self, request: pb.EndLeaseRequest) -> pb.Done:
        """Give a lease back; one that is over is ignored."""

    # ---- reading -----------------------------------------------------------------------------

    async def snapshot(self, request: pb.SnapshotRequest) -> pb.SnapshotReply:
        """Pin one read version of a table, as last committed, without waiting for a writer; every
        later read names its handle. Release it when done. Every use renews its lease.
        """

    async def renew(self, request: pb.RenewRequest) -> pb.RenewReply:
        """Keep snapshots for another lease while nothing is asked of them; names those that have
        expired.
        """

    async def release(self, request: pb.HandleRequest) -> pb.Done:
        """Let go of a snapshot; releasing twice is harmless."""

    def read_tail(self, request: pb.HandleRequest) -> AsyncIterator[pb.RowBlock]:
        """All live tail rows of the snapshot. Leaks: nothing about the query (it is always the
        whole tail).
        """

    async def read_canaries(self, request: pb.CanaryRequest) -> pb.CanaryReply:
        """Sealed canary blocks and liveness of segments. Leaks: nothing when all segments are
        asked for.
        """

    def fetch_rows(self, request: pb.FetchRequest) -> AsyncIterator[pb.RowBlock]:
        """Public columns and sealed rows of live segment rows, in slot order per segment, in
        segment order; with ``keys`` those of tail rows too, with or without a snapshot.

        Leaks: which slots or keys are fetched; with ``plan``, the public predicate and its values.
        Raises: AM-3040 (snapshot expired), AM-3041 (slot out of range), AM-3005 (keys that are
        none of the table's).
        """

    async def table_stats(self, request: pb.TableStatsRequest) -> pb.TableStatsReply:
        """Sizes of the table now, without pinning it."""

    # ---- computing ---------------------------------------------------------------------------

    async def put_constants(
        self, request: pb.PutConstantsRequest, chunks: AsyncIterable[Chunk]
    ) -> pb.Done:
        """Upload and expand a statement's encrypted constants; kept (least recently used goes)
        for repeats.

        Leaks: how many constants; not their values, nor whether two sets are equal.
        """

    def execute(self, request: pb.ExecuteRequest) -> AsyncIterator[pb.ExecuteEvent]:
        """Run a plan over the snapshot's segments: progress, groups, accumulators or masks, then
        stats.

        Closing the iterator cancels the job. Leaks: the plan's shape, its public predicates,
        timing.
        Raises: AM-3040 (snapshot expired), AM-3050 (constants expired: put them again), AM-3051
        (circuit digest differs: other version), AM-3052 (cancelled), AM-3053 (stored data has
        less level or more noise than the plan assumes).
        """

    async def cancel(self, request: pb.CancelRequest) -> pb.Done:
        """Stop a job at its next key switch; its ``execute`` then raises AM-3052."""

    async def close(self) -> None:
        """Finish running work and let go of the database (in process) or of the connection
        (behind a pipe).
        """


@dataclass(frozen=True, slots=True)
class Method:
    """Shape of one call, for transports. ``uploads``: chunks follow the request; ``streams``:
    many replies.
    """

    request: type[Any]
    reply: type[Any]
    uploads: bool = False
    streams: bool = False


METHODS: dict[str, Method] = {
    "hello": Method(pb.HelloRequest, pb.HelloReply),
    "has_keyset": Method(pb.KeyName, pb.HasKeysetReply),
    "put_keyset": Method(pb.PutKeysetRequest, pb.Done, uploads=True),
    "rekey_segment": Method(pb.RekeySegmentRequest, pb.Done),
    "switch_keys": Method(pb.SwitchKeysRequest, pb.CommitReply),
    "hold_writes": Method(pb.HoldWritesRequest, pb.Done),
    "end_rotation": Method(pb.EndRotationRequest, pb.Done),
    "create_table": Method(pb.CreateTableRequest, pb.Done),
    "drop_table": Method(pb.DropTableRequest, pb.Done),
    "update_schema": Method(pb.UpdateSchemaRequest, pb.Done),
    "add_encodings": Method(pb.AddEncodingsRequest, pb.Done),
    "build_index": Method(pb.BuildIndexRequest, pb.BuildIndexEvent, streams=True),
    "list_tables": Method(pb.ListTablesRequest, pb.ListTablesReply),
    "forget_history": Method(pb.ForgetHistoryRequest, pb.ForgetHistoryReply),
    "reserve": Method(pb.ReserveRequest, pb.ReserveReply),
    "upload": Method(pb.UploadRequest, pb.UploadReply, uploads=True),
    "discard": Method(pb.DiscardRequest, pb.Done),
    "commit": Method(pb.CommitRequest, pb.CommitReply),
    "commit_batch": Method(pb.BatchRequest, pb.BatchReply),
    "lease": Method(pb.LeaseRequest, pb.LeaseReply),
    "end_lease": Method(pb.EndLeaseRequest, pb.Done),
    "snapshot": Method(pb.SnapshotRequest, pb.SnapshotReply),
    "renew": Method(pb.RenewRequest, pb.RenewReply),
    "release": Method(pb.HandleRequest, pb.Done),
    "read_tail": Method(pb.HandleRequest, pb.RowBlock, streams=True),
    "read_canaries": Method(pb.CanaryRequest, pb.CanaryReply),
    "fetch_rows": Method(pb.FetchRequest, pb.RowBlock, streams=True),
    "table_stats": Method(pb.TableStatsRequest, pb.TableStatsReply),
    "put_constants": Method(pb.PutConstantsRequest, pb.Done, uploads=True),
    "execute": Method(pb.ExecuteRequest, pb.ExecuteEvent, streams=True),
    "cancel": Method(pb.CancelRequest, pb.Done),
}


def chunked(data: Chunk) -> Iterator[memoryview]:
    """Views of at most ``CHUNK_BYTES_MAX`` bytes on ``data``; nothing is copied."""
    view = memoryview(data).cast("B")
    for start in range(0, len(view), CHUNK_BYTES_MAX):
        yield view[start : start + CHUNK_BYTES_MAX]


async def chunks_of(*parts: Chunk) -> AsyncIterator[Chunk]:
    """The chunk stream of some buffers, as ``upload`` and its siblings take it."""
    for part in parts:
        for chunk in chunked(part):
            yield chunk
