"""One database: commit log, state and objects joined.

A command is durable in the log before its effects are published; what nothing names is swept at
open. Writing is for one thread at a time, which ``group`` sees to; versions and keys are read by
any thread and wait for nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from amaters.base.errors import AmatersError, fail, make
from amaters.base.ids import new_id
from amaters.storage.apply import apply
from amaters.storage.commitlog.core import RECORD_BYTES_MAX
from amaters.storage.indexes import IndexExtractor, IndexManager
from amaters.storage.log import Log, MemoryLog
from amaters.storage.objects import MemoryObjects, ObjectStore
from amaters.storage.places import Place
from amaters.storage.rows import BatchRows, CommandRows, Key, read_rows
from amaters.storage.sqlite import Connection
from amaters.storage.state import State
from amaters.storage.versions import TableVersion
from amaters.wire import blocks
from amaters.wire import commands_pb2 as cb

ROW_DEBT = 64  # what making one row again costs, in bytes of log
_STORE_AWAY = frozenset({"AM-4025", "AM-4031"})


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A snapshot that was taken: where in the log, and what it cost."""

    position: int
    bytes_written: int
    bytes_total: int


class Group:
    """Commands that become durable together. Made by ``Storage.group``."""

    def __init__(self, state: State, position: int) -> None:
        self._state = state
        self.position = position  # of the last command applied
        self.payloads: list[bytes] = []
        self.logged = 0

    def apply(self, command: cb.Command, rows: CommandRows | None = None) -> bytes:
        """Apply a checked command and return its serialised reply, which is to be sent once the
        group has ended without an error. After an error this command has no effect; others stay.

        Raises: AM-3005 (too large for the log), AM-4012, and what ends the whole group: AM-4003,
        AM-4008, AM-4011, AM-4013.
        """
        if self._state.broken is not None:
            raise self._state.broken
        payload = command.SerializeToString()
        if len(payload) > RECORD_BYTES_MAX:
            fail("AM-3005", what=f"a command of {len(payload)} bytes")
        reply = apply(self._state, self.position + 1, command, rows)
        self.position += 1
        self.payloads.append(payload)
        self.logged += debt(payload, rows)
        return reply


def debt(payload: bytes, rows: CommandRows | None) -> int:
    """What a command adds to the work of making the state again, in bytes of log."""
    listed = rows if isinstance(rows, tuple) else (rows,) if rows else ()
    keys = sum(len(part.keys) for batch in listed for part in batch.parts)
    return len(payload) + ROW_DEBT * keys


class Storage:
    """A database; ``DirectoryStorage`` and ``MemoryStorage`` are the ones there are.

    ``state`` is for the thread inside ``group``; ``position`` is the last command whose effects
    are published. ``failed``: why writes are refused; reads go on. ``notice``: what a person should
    know of how it was opened; ``log_notice``: that the log cannot write as it was asked to.
    """

    def __init__(self, database_id: bytes, log: Log, objects: ObjectStore, state: State) -> None:
        self.database_id = database_id
        self.objects = objects
        self.state = state
        self.notice: str | None = None
        self.log_notice: str | None = None
        self.failed: AmatersError | None = None
        self.position = 0
        self._log = log
        self._writing = threading.RLock()
        self._tables: dict[bytes, TableVersion] = {}
        self._keeping = 0
        self._publish_all()

    # ---- writing -----------------------------------------------------------------------------

    @contextmanager
    def group(self) -> Iterator[Group]:
        """A group of commands: applied one by one, durable in one write, then published at once.

        Raises: AM-4003, AM-4008, AM-4011, AM-4013 (nothing of the group is acknowledged, and
        writes are refused from here on), afterwards AM-4004. AM-1000 inside another group.
        """
        with self._writing:
            self._check_writable()
            if self.state.db.in_transaction:
                fail("AM-1000", what="a group inside a group")
            group = Group(self.state, self._log.last)
            try:
                self.state.begin()
                yield group
                self._keep(group)
            except BaseException as error:
                self.state.rollback()
                self._stop_if_broken(error)
                raise

    def _keep(self, group: Group) -> None:
        if self.state.broken is not None:
            raise self.state.broken
        if not group.payloads:
            self.state.rollback()
            return
        try:
            last = self._log.append_all(group.payloads)
            if last != group.position:
                fail("AM-4001", file="log", what=f"position {last} where {group.position} belongs")
            group.logged = self.state.commit(group.position, group.logged)
            self._publish(group.position)
        except BaseException as error:
            # Whether the group is durable is not known, or it is and its effects are not here.
            self._stop(error)
            raise

    def append(self, command: cb.Command, rows: CommandRows | None = None) -> bytes:
        """A group of one command; its reply."""
        with self.group() as group:
            reply = group.apply(command, rows)
        return reply

    def _check_writable(self) -> None:
        if self.failed is not None or self.state.broken is not None:
            fail("AM-4004", path=self.location)

    @property
    def location(self) -> str:
        """What messages call this database."""
        return "the database"

    def _stop_if_broken(self, error: BaseException) -> None:
        if self.state.broken is not None:
            self._stop(error)

    def _stop(self, error: BaseException) -> None:
        """Refuse writes from here on."""
        if self.failed is None and isinstance(error, AmatersError):
            self.failed = error
        self.failed = self.failed or make("AM-4004", {"path": self.location})

    def _publish(self, position: int) -> None:
        touched = self.state.changes.tables
        if touched:
            tables = {version.tid: version for version in self._tables.values()}
            for tid in touched:
                version = self.state.version(tid, position, tables.pop(tid, None))
                if version is not None:
                    tables[tid] = version
            self._tables = {tables[tid].table_id: tables[tid] for tid in sorted(tables)}
        self.position = position

    def _publish_all(self) -> None:
        """Publish every table anew."""
        position = self.state.applied
        self._tables = {}
        self.state.changes.clear()
        self.state.changes.tables.update(row.tid for row in self.state.tables())
        self._publish(position)

    # ---- reading, on any thread --------------------------------------------------------------

    def version(self, table_id: bytes) -> TableVersion | None:
        """A table as last published; None when there is none of this id."""
        return self._tables.get(table_id)

    def tables(self) -> tuple[TableVersion, ...]:
        """All tables, of one position."""
        return tuple(self._tables.values())

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """The state as last committed, for queries; it stays the same meanwhile. Not for long:
        snapshots wait for it.
        """
        with self._writing:
            yield self.state.db

    def places(self, tid: int, keys: Sequence[Key]) -> dict[Key, Place]:
        """Place and slot of those of ``keys`` that have a live row, as last committed."""
        return self.places_at(tid, keys)[1]

    def places_at(self, tid: int, keys: Sequence[Key]) -> tuple[int, dict[Key, Place]]:
        """``places``, and the position at which they were read; it may not be published yet."""
        with self._writing:
            return self.position, self.state.places(tid, keys)

    def read_rows(
        self, batch: cb.Batch, decoded: Mapping[bytes, blocks.Block] | None = None
    ) -> BatchRows:
        """The keys of a batch, from its blocks, which stay decoded if the table has indexes: then
        the batch says so. ``decoded``: see ``rows.read_rows``. Raises: AM-3032, AM-3033.
        """
        version = self.version(batch.request.table_id)
        batch.indexed = version is not None and bool(version.indexes)
        return read_rows(batch, batch.key_column, self.read_object, decoded)

    def with_index_manager(self, manager: IndexManager) -> Self:
        """Let another manager keep the indexes. Before anything else is done."""
        self.state.indexes = manager.attach(self.state.db)
        return self

    def with_index_extractor(self, extractor: IndexExtractor) -> Self:
        """Let something else decide what of a block is indexed. Before anything else is done."""
        self.state.indexes.extractor = extractor
        return self

    def read_object(self, ref: cb.ObjectRef) -> memoryview:
        """A whole object. Raises: AM-4001, AM-4007."""
        return self.objects.open(ref).read()

    # ---- upkeep ------------------------------------------------------------------------------

    def snapshot(self) -> SnapshotInfo:
        """Write the state down, so that the log before it can go."""
        return SnapshotInfo(self.position, 0, 0)

    @contextmanager
    def keeping_objects(self) -> Iterator[None]:
        """No object is deleted meanwhile."""
        with self._writing:
            self._keeping += 1
        try:
            yield
        finally:
            with self._writing:
                self._keeping -= 1

    def collect(self, pinned: set[bytes]) -> int:
        """Delete objects that left the state, are not ``pinned`` and are not needed to make the
        state again; how many went. Nothing goes once writes are refused.
        """
        with self._writing:
            if self._keeping or self.failed is not None or self.state.broken is not None:
                return 0
            if self.state.db.in_transaction:
                fail("AM-1000", what="collecting inside a group")
            waiting = self.state.garbage(self.rebuilt_from())
            if not waiting:
                return 0
            named = set().union(*(table.object_ids() for table in self._tables.values()))
            free = [found for found, _ in waiting if found not in pinned and found not in named]
            try:
                self.objects.delete_many(free)
            except AmatersError as error:
                if error.code not in _STORE_AWAY:
                    raise
                return 0  # they stay listed, and a later look tries again
            self.state.forget_garbage(free)
        return len(free)

    def forget_history(self, mark: Callable[[], object]) -> None:
        """Let go of all that only serves to make an older state again, so that what was deleted is
        in no file but objects that ``collect`` deletes. ``mark`` makes a ``HistoryMark`` durable.
        """

    def rebuilt_from(self) -> int:
        """The lowest position from which the state may have to be made again."""
        return self.position

    def close(self) -> None:
        """Let go of everything. Nothing is lost without it. Closing twice is harmless."""
        self.abandon()

    def abandon(self) -> None:
        """Let go of everything as a dying process does: nothing more is written."""
        self.failed = self.failed or make("AM-4004", {"path": self.location})
        self._log.close()
        self.state.close()


class MemoryStorage(Storage):
    """A database that ends with its process."""

    def __init__(self) -> None:
        super().__init__(new_id(), MemoryLog(), MemoryObjects(), State.memory())


def open_memory() -> MemoryStorage:
    """A database that ends with its process."""
    return MemoryStorage()
